//! `{{ name }}` in a requests file: [`Known`], the captures and variables that fill it. No expressions: a scenario says what it sends.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// The values that may be named, by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Known(pub(super) Map<String, Value>);

impl Known {
    /// The value with every `{{ name }}` filled. A text that is one whole `{{ name }}` takes the value's own type.
    ///
    /// # Errors
    /// In words, when a name is not known.
    pub(super) fn fill(&self, value: &Value) -> Result<Value, String> {
        Ok(match value {
            Value::String(text) => match whole(text) {
                Some(name) => self.value(name)?.clone(),
                None => Value::String(self.fill_text(text)?),
            },
            Value::Array(items) => items.iter().map(|item| self.fill(item)).collect::<Result<_, _>>()?,
            Value::Object(map) => Value::Object(self.fill_map(map)?),
            scalar => scalar.clone(),
        })
    }

    /// The mapping with every `{{ name }}` filled, in keys too.
    ///
    /// # Errors
    /// In words, when a name is not known.
    pub(super) fn fill_map(&self, map: &Map<String, Value>) -> Result<Map<String, Value>, String> {
        map.iter().map(|(key, value)| Ok((self.fill_text(key)?, self.fill(value)?))).collect()
    }

    /// The text with every `{{ name }}` filled.
    ///
    /// # Errors
    /// In words, when a name is not known.
    pub(super) fn fill_text(&self, text: &str) -> Result<String, String> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after
                .split_once("}}")
                .ok_or_else(|| format!("`{text}` has a `{{{{` that is never closed"))?;
            filled.push_str(before);
            filled.push_str(&words(self.value(name)?));
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }

    fn value(&self, name: &str) -> Result<&Value, String> {
        let name = name.trim();
        self.0.get(name).ok_or_else(|| {
            let known: Vec<_> = self.0.keys().map(|name| format!("`{name}`")).collect();
            let known = if known.is_empty() {
                "nothing is known yet".to_owned()
            } else {
                format!("known are {}", known.join(", "))
            };
            format!("`{{{{ {name} }}}}` is neither captured before nor given in `vars`; {known}")
        })
    }
}

/// The name in a text that is one whole `{{ name }}`.
fn whole(text: &str) -> Option<&str> {
    let name = text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    (!name.contains("{{") && !name.contains("}}")).then_some(name)
}

fn words(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn known() -> Known {
        Known(json!({"id": 7, "name": "Ada"}).as_object().unwrap().clone())
    }

    #[test]
    fn names_are_filled() {
        let check = |value: Value, expected: Value| assert_eq!(known().fill(&value), Ok(expected));
        check(json!("{{ id }}"), json!(7));
        check(json!("/agents/{{id}}/{{ name }}"), json!("/agents/7/Ada"));
        check(json!({"{{ name }}": ["{{ id }}", "x", null]}), json!({"Ada": [7, "x", null]}));
        check(json!("{{ id }}{{ id }}"), json!("77"));
        check(json!("} {"), json!("} {"));
    }

    #[test]
    fn names_that_are_not_known_are_refused() {
        let error = known().fill(&json!("{{ params.x }}")).unwrap_err();
        assert_eq!(
            error,
            "`{{ params.x }}` is neither captured before nor given in `vars`; known are `id`, `name`"
        );
        let error = Known::default().fill_text("a{{ b }}").unwrap_err();
        assert!(error.ends_with("nothing is known yet"), "{error}");
        assert_eq!(known().fill_text("a {{ b").unwrap_err(), "`a {{ b` has a `{{` that is never closed");
    }
}
