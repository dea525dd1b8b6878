//! What a JSON answer must say: [`Claim`], one thing that the `expect` of a request says about a place in it.

use serde_json::{Map, Value};

use super::json_path::JsonPath;

/// The words for claims, as a requests file has them.
const WORDS: &str = "`equals`, `contains`, `exists` and `at_least`";

/// One thing that must hold of the value at a path.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    path: JsonPath,
    holds: Holds,
}

#[derive(Debug, Clone, PartialEq)]
enum Holds {
    /// It is this value.
    Equals(Value),
    /// It is text with this part, a list with this item, or a mapping with this key.
    Contains(Value),
    /// It is there, or not.
    Exists(bool),
    /// It is a number not below this, or a list or text of at least this length.
    AtLeast(f64),
}

impl Claim {
    /// The claims of one mapping: a `path`, and what is said about it with `equals`, `contains`, `exists` and `at_least`.
    ///
    /// # Errors
    /// In words.
    pub fn parse(map: &Map<String, Value>) -> Result<Vec<Self>, String> {
        let path = map.get("path").and_then(Value::as_str).ok_or("an expectation of `json` has no `path`")?;
        let path = JsonPath::parse(path)?;
        let claim = |holds| Self { path: path.clone(), holds };
        if map.len() < 2 {
            return Err(format!("nothing is said about `{path}`; {WORDS} may stand there"));
        }
        map.iter()
            .filter(|(word, _)| *word != "path")
            .map(|(word, value)| match (word.as_str(), value) {
                ("equals", value) => Ok(claim(Holds::Equals(value.clone()))),
                ("contains", value) => Ok(claim(Holds::Contains(value.clone()))),
                ("exists", Value::Bool(exists)) => Ok(claim(Holds::Exists(*exists))),
                ("at_least", Value::Number(least)) => least
                    .as_f64()
                    .map(|least| claim(Holds::AtLeast(least)))
                    .ok_or_else(|| format!("{least} is too large")),
                ("exists" | "at_least", other) => Err(format!("`{word}` of `{path}` cannot be {other}")),
                _ => Err(format!("`{word}` is nothing that can be said about `{path}`; {WORDS} are")),
            })
            .collect()
    }

    /// Why it does not hold of an answer; `None` when it does.
    pub fn denied(&self, answer: &Value) -> Option<String> {
        let path = &self.path;
        let found = self.path.find(answer);
        let expected = match (&self.holds, found) {
            (Holds::Exists(expected), found) if *expected == found.is_some() => return None,
            (Holds::Exists(true), _) => return Some(format!("`{path}` is not there")),
            (Holds::Exists(false), Some(found)) => {
                return Some(format!("`{path}` is {}, expected nothing there", short(found)));
            }
            (Holds::Equals(expected), Some(found)) if equal(expected, found) => return None,
            (Holds::Contains(part), Some(found)) if contains(found, part) => return None,
            (Holds::AtLeast(least), Some(found))
                if measure(found).is_some_and(|measure| measure >= *least) =>
            {
                return None;
            }
            (Holds::Exists(false), None) => return None,
            (Holds::Equals(expected), _) => short(expected),
            (Holds::Contains(part), _) => format!("something with {}", short(part)),
            (Holds::AtLeast(least), _) => format!("at least {least}"),
        };
        Some(match found {
            Some(found) => format!("`{path}` is {}, expected {expected}", short(found)),
            None => format!("`{path}` is not there, expected {expected}"),
        })
    }
}

/// Numbers are equal when their values are: `1` is `1.0`.
fn equal(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::Number(expected), Value::Number(found)) => {
            expected == found || expected.as_f64() == found.as_f64()
        }
        _ => expected == found,
    }
}

fn contains(found: &Value, part: &Value) -> bool {
    match (found, part) {
        (Value::String(text), Value::String(part)) => text.contains(part.as_str()),
        (Value::Array(items), part) => items.iter().any(|item| equal(part, item)),
        (Value::Object(map), Value::String(key)) => map.contains_key(key),
        _ => false,
    }
}

/// How much it is: of a number its value, of a list, mapping or text its length.
#[allow(clippy::cast_precision_loss, reason = "no length that is compared has more than 53 bits")]
fn measure(found: &Value) -> Option<f64> {
    match found {
        Value::Number(number) => number.as_f64(),
        Value::Array(items) => Some(items.len() as f64),
        Value::Object(map) => Some(map.len() as f64),
        Value::String(text) => Some(text.chars().count() as f64),
        Value::Null | Value::Bool(_) => None,
    }
}

/// The value in at most 120 characters.
fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(120) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(path: &str, claim: Value) -> Result<Vec<Claim>, String> {
        let mut map = claim.as_object().unwrap().clone();
        map.insert("path".into(), path.into());
        Claim::parse(&map)
    }

    #[test]
    fn what_holds_and_what_does_not() {
        let answer =
            json!({"text": "I recall Vienna", "hits": [1, {"id": "a"}], "score": 0.5, "n": 2, "none": null});
        let check = |path: &str, claim: Value, expected: Option<&str>| {
            let claims = parsed(path, claim.clone()).unwrap();
            let denied: Vec<_> = claims.iter().filter_map(|claim| claim.denied(&answer)).collect();
            assert_eq!(denied.first().map(String::as_str), expected, "{path} {claim}");
        };
        check("text", json!({"contains": "Vienna"}), None);
        check(
            "text",
            json!({"contains": "Rome"}),
            Some("`text` is \"I recall Vienna\", expected something with \"Rome\""),
        );
        check("text", json!({"equals": "I recall Vienna"}), None);
        check("n", json!({"equals": 2.0}), None);
        check("n", json!({"equals": 3}), Some("`n` is 2, expected 3"));
        check("hits", json!({"contains": {"id": "a"}}), None);
        check("hits", json!({"at_least": 2, "exists": true}), None);
        check("hits", json!({"at_least": 3}), Some("`hits` is [1,{\"id\":\"a\"}], expected at least 3"));
        check("score", json!({"at_least": 0.5}), None);
        check("none", json!({"at_least": 0}), Some("`none` is null, expected at least 0"));
        check("none", json!({"exists": true}), None);
        check("gone", json!({"exists": false}), None);
        check("gone", json!({"exists": true}), Some("`gone` is not there"));
        check("n", json!({"exists": false}), Some("`n` is 2, expected nothing there"));
        check("gone", json!({"equals": 1}), Some("`gone` is not there, expected 1"));
        check("$", json!({"contains": "n"}), None);
    }

    #[test]
    fn what_cannot_be_said_is_refused() {
        for (path, claim, words) in [
            ("a", json!({"equal": 1}), "`equal` is nothing that can be said about `a`"),
            ("a", json!({"exists": "yes"}), "`exists` of `a` cannot be \"yes\""),
            ("a", json!({"at_least": "1"}), "`at_least` of `a` cannot be \"1\""),
            ("a", json!({}), "nothing is said about `a`"),
            ("a[", json!({"exists": true}), "`a[` is not a path"),
        ] {
            let error = parsed(path, claim).unwrap_err();
            assert!(error.starts_with(words), "{error}");
        }
        assert_eq!(Claim::parse(&Map::new()).unwrap_err(), "an expectation of `json` has no `path`");
    }
}
