//! What was chosen and what that costs, in lines that people read before they agree: [`priced`].

use drydock_step::Millis;
use serde_json::Value;

use crate::bytes;

/// Lines about the outputs of `point.select`. What is not known is said as well.
pub(super) fn priced(outputs: &Value) -> Vec<String> {
    let text = |pointer: &str| outputs.pointer(pointer).and_then(Value::as_str).unwrap_or("?").to_owned();
    let number = |pointer: &str| outputs.pointer(pointer).and_then(Value::as_f64);
    let list = |pointer: &str| outputs.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    let mut lines = vec![format!("{} {} of {}", text("/kind"), text("/id"), text("/at"))];
    for (name, chain) in outputs["sqlserver"].as_object().into_iter().flatten() {
        let kinds: Vec<&str> = chain["backups"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|stored| stored.pointer("/backup/type").and_then(Value::as_str))
            .collect();
        let to = chain["recovers_to"].as_str().unwrap_or("?");
        lines.push(format!("database {name}: {} lead to {to}", in_words(&kinds)));
        let problems = chain["problems"].as_array().into_iter().flatten().filter_map(Value::as_str);
        lines.extend(problems.map(|problem| format!("database {name}: {problem}")));
    }
    if let Some(lost) = number("/price/lost_s") {
        lines.push(format!("{} of work in the truth are lost", span(lost)));
    }
    if let Some(skew) = number("/skew_s") {
        lines.push(format!("skew {}", span(skew)));
    }
    match (number("/price/documents"), outputs.pointer("/price/documents_unknown").and_then(Value::as_str)) {
        (Some(documents), _) => {
            lines.push(format!("{documents} documents have to be indexed again, at least"))
        }
        (None, Some(why)) => {
            lines.push(format!("how many documents have to be indexed again is not known: {why}"));
        }
        (None, None) => {}
    }
    lines.push(format!("orphans to expect: {}", text("/price/orphans")));
    lines.push(match outputs.pointer("/price/expected") {
        Some(expected) => expected_line(expected),
        None => format!("how long it takes is not known: {}", text("/price/expected_unknown")),
    });
    lines.extend(list("/incomplete").filter_map(Value::as_str).map(|name| format!("it lacks {name}")));
    lines.extend(list("/passed_over").filter_map(Value::as_str).map(|why| format!("passed over: {why}")));
    lines
}

fn expected_line(expected: &Value) -> String {
    let number = |key: &str| expected[key].as_f64().unwrap_or_default();
    let (least, most) = (span(number("least_s")), span(number("most_s")));
    format!(
        "expected to take {} (median of the last {}, {least} to {most}, in {}; they came from about {}, this comes from {})",
        span(number("seconds")),
        expected["restores"],
        expected["environment"].as_str().unwrap_or("?"),
        bytes::size(number("from_bytes")),
        bytes::size(number("bytes")),
    )
}

/// How many of which, in restore order: `1 full, 3 log`.
fn in_words(kinds: &[&str]) -> String {
    let mut runs: Vec<(&str, usize)> = Vec::new();
    for kind in kinds {
        match runs.last_mut() {
            Some((last, count)) if last == kind => *count += 1,
            _ => runs.push((kind, 1)),
        }
    }
    let words: Vec<String> = runs.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    words.join(", ")
}

/// A span as people read it: to the tenth of a second below a minute.
fn span(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    // A span of time is far below what a float counts exactly, and none is negative.
    Millis((seconds.round() as u64).saturating_mul(1_000)).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_restore_costs_is_said_in_lines() {
        let stored = |kind: &str| json!({ "backup": { "type": kind } });
        let outputs = json!({
            "id": "01K0", "kind": "log", "at": "2026-07-14T03:00:00Z",
            "sqlserver": { "octopus": {
                "recovers_to": "2026-07-14T03:00:00Z",
                "backups": [stored("full"), stored("log"), stored("log")],
                "problems": ["the clock of SQL01 was 3600 s ahead"],
            } },
            "skew_s": 2.04,
            "price": {
                "lost_s": 1_234.4, "documents": 3, "orphans": "none: nobody wrote",
                "expected": { "seconds": 91.0, "least_s": 7.0, "most_s": 120.0, "restores": 3, "from_bytes": 2_048, "bytes": 4_096, "environment": "drill" },
            },
            "incomplete": ["agent_7"],
            "passed_over": ["01K1 of 04:00: it is marked bad"],
        });
        assert_eq!(
            priced(&outputs),
            [
                "log 01K0 of 2026-07-14T03:00:00Z",
                "database octopus: 1 full, 2 log lead to 2026-07-14T03:00:00Z",
                "database octopus: the clock of SQL01 was 3600 s ahead",
                "20m34s of work in the truth are lost",
                "skew 2.0 s",
                "3 documents have to be indexed again, at least",
                "orphans to expect: none: nobody wrote",
                "expected to take 1m31s (median of the last 3, 7.0 s to 2m, in drill; they came from about 2.0 KiB, this comes from 4.0 KiB)",
                "it lacks agent_7",
                "passed over: 01K1 of 04:00: it is marked bad",
            ]
        );
        let unknown = json!({ "price": { "expected_unknown": "no restore has left its time", "documents_unknown": "the server does not answer" } });
        let lines = priced(&unknown);
        assert!(
            lines.contains(&"how long it takes is not known: no restore has left its time".to_owned()),
            "{lines:?}"
        );
        assert!(
            lines.contains(
                &"how many documents have to be indexed again is not known: the server does not answer"
                    .to_owned()
            ),
            "{lines:?}"
        );
    }
}
