//! A place in a JSON value: [`JsonPath`], such as `answers[0].text`, `answers.0.text`, `["a.b"]` or `$` for the whole.

use serde_json::Value;

/// Keys and indices, from the top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonPath {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Key(String),
    Index(usize),
}

impl JsonPath {
    /// The path that this text is: keys with dots between them, `[0]` or `.0` for an item of a list, `["any key"]`, and `$` at the
    /// beginning where one likes.
    ///
    /// # Errors
    /// In words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not a path; write for example `answers[0].text`");
        let mut parts = Vec::new();
        let mut rest = text.strip_prefix('$').unwrap_or(text);
        while !rest.is_empty() {
            let (part, after) = if let Some(quoted) = rest.strip_prefix("[\"") {
                let (key, after) = quoted.split_once("\"]").ok_or_else(bad)?;
                (Part::Key(key.to_owned()), after)
            } else if let Some(bracket) = rest.strip_prefix('[') {
                let (index, after) = bracket.split_once(']').ok_or_else(bad)?;
                (Part::Index(index.parse().map_err(|_| bad())?), after)
            } else {
                let first = parts.is_empty() && !text.starts_with('$');
                let key = if first { rest } else { rest.strip_prefix('.').ok_or_else(bad)? };
                let end = key.find(['.', '[']).unwrap_or(key.len());
                let (key, after) = key.split_at(end);
                if key.is_empty() {
                    return Err(bad());
                }
                (Part::Key(key.to_owned()), after)
            };
            parts.push(part);
            rest = after;
        }
        if text.is_empty() { Err(bad()) } else { Ok(Self { text: text.to_owned(), parts }) }
    }

    /// What stands there.
    pub fn find<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        self.parts.iter().try_fold(value, |value, part| match part {
            Part::Key(key) => match value {
                Value::Array(items) => items.get(key.parse::<usize>().ok()?),
                _ => value.get(key),
            },
            Part::Index(index) => value.get(index),
        })
    }
}

impl std::fmt::Display for JsonPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn places_are_found() {
        let value = json!({"a": [{"b": 1}, [2]], "c.d": {"e": 3}, "": 4});
        let check = |path: &str, expected: Option<Value>| {
            assert_eq!(JsonPath::parse(path).unwrap().find(&value).cloned(), expected, "{path}");
        };
        check("a[0].b", Some(json!(1)));
        check("$.a[1][0]", Some(json!(2)));
        check("a.1.0", Some(json!(2)));
        check("[\"c.d\"].e", Some(json!(3)));
        check("[\"\"]", Some(json!(4)));
        check("$", Some(value.clone()));
        check("a[2]", None);
        check("a.b", None);
        check("c.d", None);
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in ["", "a..b", ".a", "a.", "a[", "a[x]", "a[-1]", "a[0]b", "[\"a", "$a", "a[\"b\"]c"] {
            let error = JsonPath::parse(text).unwrap_err();
            assert!(error.starts_with(&format!("`{text}` is not a path")), "{error}");
        }
    }
}
