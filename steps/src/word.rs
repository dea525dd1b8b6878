//! Text that a plan may also write as a number or a boolean: [`Word`], for arguments, variables, headers and query values.

use drydock_step::Shape;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// What a plan may write for a [`Word`].
pub const WORD: Shape = Shape::Either(&Shape::Text, &Shape::Either(&Shape::Number, &Shape::Boolean));

/// One text: `5432` and `"5432"` are the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Word(pub String);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self(text)),
            value @ (Value::Number(_) | Value::Bool(_)) => Ok(Self(value.to_string())),
            Value::Null => Err(D::Error::custom("null is no text")),
            Value::Array(_) => Err(D::Error::custom("a list is no text")),
            Value::Object(_) => Err(D::Error::custom("a mapping is no text")),
        }
    }
}

impl std::fmt::Display for Word {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scalars_are_words_and_nothing_else_is() {
        let read = |value: Value| serde_json::from_value::<Word>(value);
        assert_eq!(read(json!("a b")).unwrap().0, "a b");
        assert_eq!(read(json!(5432)).unwrap().0, "5432");
        assert_eq!(read(json!(true)).unwrap().0, "true");
        assert_eq!(read(json!(null)).unwrap_err().to_string(), "null is no text");
        assert_eq!(read(json!(["a"])).unwrap_err().to_string(), "a list is no text");
    }
}
