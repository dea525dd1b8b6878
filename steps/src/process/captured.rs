//! What a step keeps of a program's output: [`Capture`].

use drydock_step::StepError;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The form in which a program's standard output is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Capture {
    /// As text, without its last newline.
    Text,
    /// As the JSON value that it is.
    Json,
    /// As a list of lines.
    Lines,
    /// Not at all.
    None,
}

impl Capture {
    /// The outputs that the kept bytes become.
    ///
    /// # Errors
    /// `process.json`, when the output was to be JSON and is not.
    pub(super) fn outputs(self, stdout: &[u8]) -> Result<Map<String, Value>, StepError> {
        let text = String::from_utf8_lossy(stdout);
        let (name, value) = match self {
            Self::Text => ("stdout", json!(without_last_newline(&text))),
            Self::Lines => ("stdout", text.lines().collect()),
            Self::Json => ("json", parsed(&text)?),
            Self::None => return Ok(Map::new()),
        };
        Ok(Map::from_iter([(name.to_owned(), value)]))
    }
}

/// The text without one newline at its end.
pub(super) fn without_last_newline(text: &str) -> &str {
    let cut = text.strip_suffix('\n').unwrap_or(text);
    if cut.len() < text.len() { cut.strip_suffix('\r').unwrap_or(cut) } else { cut }
}

fn parsed(text: &str) -> Result<Value, StepError> {
    serde_json::from_str(text).map_err(|error| {
        let beginning: String = text.chars().take(80).collect();
        StepError::new(
            "process.json",
            format!("its output is not JSON ({error}); it begins with {beginning:?}"),
        )
        .help("`capture: text` keeps what is not JSON; logs belong on the standard error")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_keeps_its_own() {
        let check = |capture: Capture, stdout: &str, expected: Value| {
            assert_eq!(
                Value::Object(capture.outputs(stdout.as_bytes()).unwrap()),
                expected,
                "{capture:?} {stdout:?}"
            );
        };
        check(Capture::Text, "a\nb\n", json!({"stdout": "a\nb"}));
        check(Capture::Text, "a\n\n", json!({"stdout": "a\n"}));
        check(Capture::Text, "a\r\n", json!({"stdout": "a"}));
        check(Capture::Text, "a\r", json!({"stdout": "a\r"}));
        check(Capture::Text, "", json!({"stdout": ""}));
        check(Capture::Lines, "a\nb\n", json!({"stdout": ["a", "b"]}));
        check(Capture::Lines, "a\n\n", json!({"stdout": ["a", ""]}));
        check(Capture::Lines, "", json!({"stdout": []}));
        check(Capture::Json, " {\"n\": 1}\n", json!({"json": {"n": 1}}));
        check(Capture::None, "a", json!({}));
    }

    #[test]
    fn what_is_not_json_is_shown() {
        let error = Capture::Json.outputs(b"Done.\n").unwrap_err();
        assert_eq!(error.code, "process.json");
        assert!(error.message.ends_with("it begins with \"Done.\\n\""), "{error}");
    }
}
