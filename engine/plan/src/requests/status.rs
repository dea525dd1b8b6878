//! Which HTTP statuses are expected: [`StatusSet`], such as `200`, `2xx` or a list of those.

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::shape::Shape;

const ONE: Shape = Shape::Either(&Shape::Integer, &Shape::Text);

/// What may be written for a [`StatusSet`].
pub const STATUS_SET: Shape = Shape::Either(&ONE, &Shape::List(&ONE));

/// Statuses and classes of statuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusSet(Vec<Expected>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Exactly(u16),
    /// The first digit: 2 for `2xx`.
    Class(u16),
}

impl StatusSet {
    /// The statuses that this value names.
    ///
    /// # Errors
    /// In words.
    pub fn parse(value: &Value) -> Result<Self, String> {
        let one = |value: &Value| {
            Expected::parse(value)
                .ok_or_else(|| format!("{value} is no HTTP status; write for example 200 or 2xx"))
        };
        match value {
            Value::Array(items) if items.is_empty() => {
                Err("an empty list holds no HTTP status, so no answer could be right".to_owned())
            }
            Value::Array(items) => items.iter().map(one).collect::<Result<_, _>>().map(Self),
            value => Ok(Self(vec![one(value)?])),
        }
    }

    /// `2xx`.
    pub fn success() -> Self {
        Self(vec![Expected::Class(2)])
    }

    /// Whether this status is expected.
    pub fn holds(&self, status: u16) -> bool {
        self.0.iter().any(|expected| match *expected {
            Expected::Exactly(exactly) => exactly == status,
            Expected::Class(class) => class == status / 100,
        })
    }
}

impl Expected {
    fn parse(value: &Value) -> Option<Self> {
        if let Some(number) = value.as_u64() {
            return u16::try_from(number)
                .ok()
                .filter(|number| (100..=599).contains(number))
                .map(Self::Exactly);
        }
        let text = value.as_str()?;
        match text.strip_suffix("xx") {
            Some(class) => class.parse().ok().filter(|class| (1..=5).contains(class)).map(Self::Class),
            None => Self::parse(&Value::from(text.parse::<u64>().ok()?)),
        }
    }
}

impl<'de> Deserialize<'de> for StatusSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl std::fmt::Display for StatusSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words: Vec<String> = self
            .0
            .iter()
            .map(|expected| match expected {
                Expected::Exactly(status) => status.to_string(),
                Expected::Class(class) => format!("{class}xx"),
            })
            .collect();
        f.write_str(&words.join(" or "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn statuses_and_classes_are_read() {
        let check = |written: Value, words: &str, status: u16, expected: bool| {
            let set: StatusSet = serde_json::from_value(written).unwrap();
            assert_eq!((set.to_string().as_str(), set.holds(status)), (words, expected));
        };
        check(json!(200), "200", 200, true);
        check(json!("2xx"), "2xx", 204, true);
        check(json!("2xx"), "2xx", 301, false);
        check(json!([200, "404", "5xx"]), "200 or 404 or 5xx", 404, true);
    }

    #[test]
    fn what_is_no_status_is_refused() {
        for written in [json!("2x"), json!("ok"), json!(42), json!("9xx"), json!([200, true]), json!("xx")] {
            let error = serde_json::from_value::<StatusSet>(written.clone()).unwrap_err();
            assert!(error.to_string().contains("is no HTTP status"), "{written}: {error}");
        }
        assert!(StatusSet::parse(&json!([])).unwrap_err().starts_with("an empty list holds no HTTP status"));
    }
}
