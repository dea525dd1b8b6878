//! What two runs of one plan may differ in: times, positions, ids and what follows from them. Main functions: [`text`], [`value`].

use serde_json::Value;

/// What is measured or drawn anew in every run, by the names of outputs.
const DRAWN: &[&str] = &[
    "size",
    "compressed_size",
    "skew_s",
    "ms",
    "bytes",
    "database_bytes",
    "seconds",
    "files",
    "port",
    "lsn",
    "start_lsn",
    "end_lsn",
    "proved_lsn",
    "flushed_lsn",
    "rpo_s",
    "max_rpo_s",
];

/// A text without what differs: each run of digits, each id, each digest is a `#`.
pub(crate) fn text(text: &str) -> String {
    let mut masked = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let guid = rest.get(..36).is_some_and(is_guid);
        let word = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let len = if guid { 36 } else { word.max(first.len_utf8()) };
        let (token, after) = rest.split_at(len);
        if guid || is_drawn(token) {
            masked.push('#');
        } else {
            masked.push_str(&without_digits(token));
        }
        rest = after;
    }
    // A time at the very beginning of a second is written without its fraction.
    masked.replace("#:#:#.#", "#:#:#")
}

/// A value without what differs.
pub(crate) fn value(found: &Value) -> Value {
    match found {
        Value::String(found) => Value::String(text(found)),
        Value::Array(items) => items.iter().map(value).collect(),
        Value::Object(fields) => {
            let field = |(name, found): (&String, &Value)| {
                let drawn = DRAWN.contains(&name.as_str()) && !found.is_null();
                (name.clone(), if drawn { Value::from("#") } else { value(found) })
            };
            Value::Object(fields.iter().map(field).collect())
        }
        other => other.clone(),
    }
}

/// Where a value is not as expected, a line each.
pub(crate) fn differences(found: &Value, expected: &Value, at: &str, lines: &mut Vec<String>) {
    match (found, expected) {
        (Value::Object(here), Value::Object(there)) => {
            let names: std::collections::BTreeSet<&String> = here.keys().chain(there.keys()).collect();
            for name in names {
                let of =
                    |fields: &serde_json::Map<String, Value>| fields.get(name).cloned().unwrap_or_default();
                differences(&of(here), &of(there), &format!("{at}.{name}"), lines);
            }
        }
        (Value::Array(here), Value::Array(there)) if here.len() == there.len() => {
            for (n, (found, expected)) in here.iter().zip(there).enumerate() {
                differences(found, expected, &format!("{at}[{n}]"), lines);
            }
        }
        _ if found == expected => {}
        _ => lines.push(format!("  {at} is {found}; uncut {expected}")),
    }
}

fn is_guid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
        && parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// ULIDs and digests: long words with a digit in them.
fn is_drawn(word: &str) -> bool {
    word.len() >= 16 && word.bytes().any(|byte| byte.is_ascii_digit())
}

fn without_digits(word: &str) -> String {
    let mut masked = String::new();
    for c in word.chars() {
        if !c.is_ascii_digit() {
            masked.push(c);
        } else if !masked.ends_with('#') {
            masked.push('#');
        }
    }
    masked
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs_is_masked_and_nothing_else() {
        for (found, expected) in [
            ("backup database OctopusDB", "backup database OctopusDB"),
            ("mark dd_01K0ZZZZZZZZZZZZZZZZZZZZZZ", "mark dd_#"),
            (
                "DELETE /collections/agent_aa/snapshots/agent_aa-123-2026-11-22-06-46-22.snapshot",
                "DELETE /collections/agent_aa/snapshots/agent_aa-#-#-#-#-#-#-#.snapshot",
            ),
            ("OctopusDB_full_20261122T064622Z_r_step_1.bak", "OctopusDB_full_#_r_step_#.bak"),
            ("0d0c0000-0000-4000-8000-0000000000a1!", "#!"),
            ("é 2", "é #"),
        ] {
            assert_eq!(text(found), expected);
        }
        assert_eq!(
            value(
                &json!({ "size": 5, "points": 3, "at": ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.25Z"], "skew_s": null })
            ),
            json!({ "size": "#", "points": 3, "at": ["#-#-#T#:#:#Z", "#-#-#T#:#:#Z"], "skew_s": null })
        );
    }
}
