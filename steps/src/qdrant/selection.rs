//! Which collections a plan means: [`Selection`], names and globs.

use drydock_step::{Shape, StepError};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// What a plan may write for a [`Selection`].
pub(super) const SELECTION: Shape = Shape::Either(&Shape::Text, &Shape::List(&Shape::Text));

/// How the names of collections begin that exist only while a recovery proves a snapshot.
const SCRATCH: &str = "drydock_scratch_";

/// The collection that an attempt proves a snapshot in before it recovers it as `name`.
pub(super) fn scratch(name: &str, attempt: &str) -> String {
    // A name has at most 255 bytes.
    let name: String = name.chars().take(50).collect();
    format!("{SCRATCH}{name}_{attempt}")
}

/// Collections by name, by alias, or by globs with `*` and `?`, which no name can have in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection(Vec<String>);

impl<'de> Deserialize<'de> for Selection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let patterns = match Value::deserialize(deserializer)? {
            Value::String(one) => vec![one],
            list @ Value::Array(_) => serde_json::from_value(list).map_err(D::Error::custom)?,
            other => return Err(D::Error::custom(format!("{other} is no name, glob or list of those"))),
        };
        if patterns.iter().any(String::is_empty) {
            return Err(D::Error::custom("an empty text names no collection; `*` means all"));
        }
        Ok(Self(patterns))
    }
}

impl std::fmt::Display for Selection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

impl Selection {
    /// What was written.
    pub(super) fn patterns(&self) -> &[String] {
        &self.0
    }

    /// The collections that are meant, sorted, an alias being its collection.
    ///
    /// # Errors
    /// `qdrant.absent` when a name is neither that of a collection nor an alias.
    pub(super) fn of(
        &self,
        names: &[String],
        aliases: &[(String, String)],
    ) -> Result<Vec<String>, StepError> {
        let mut found: Vec<String> = names.iter().filter(|name| self.holds(name)).cloned().collect();
        for pattern in self.0.iter().filter(|pattern| !is_glob(pattern)) {
            if let Some((_, collection)) = aliases.iter().find(|(alias, _)| alias == pattern) {
                found.push(collection.clone());
            } else if !names.contains(pattern) {
                let message = format!("there is no collection and no alias {pattern}");
                return Err(StepError::new("qdrant.absent", message).help(format!(
                    "there are: {}",
                    if names.is_empty() { "none".into() } else { names.join(", ") }
                )));
            }
        }
        found.sort();
        found.dedup();
        Ok(found)
    }

    /// Whether a collection of this name is meant, aliases aside.
    fn holds(&self, name: &str) -> bool {
        let fits = |pattern: &String| {
            if is_glob(pattern) {
                !name.starts_with(SCRATCH) && glob_fits(pattern, name)
            } else {
                pattern == name
            }
        };
        self.0.iter().any(fits)
    }
}

fn is_glob(pattern: &str) -> bool {
    pattern.contains(['*', '?'])
}

/// Whether `name` fits `glob`: `*` is any text, `?` any one character.
fn glob_fits(glob: &str, name: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    // The lengths of the beginnings of `name` that what was read of the glob fits.
    let mut ends = vec![0];
    for wanted in glob.chars() {
        ends = match wanted {
            '*' => ends.first().map_or(Vec::new(), |least| (*least..=name.len()).collect()),
            one => {
                let fits = |end: &&usize| name.get(**end).is_some_and(|found| one == '?' || *found == one);
                ends.iter().filter(fits).map(|end| end + 1).collect()
            }
        };
    }
    ends.contains(&name.len())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn chosen(written: Value) -> Result<Vec<String>, StepError> {
        let names = ["agent_a", "agent_b", "docs", "drydock_scratch_docs"].map(String::from);
        let aliases = [("current".to_owned(), "agent_b".to_owned())];
        serde_json::from_value::<Selection>(written).unwrap().of(&names, &aliases)
    }

    #[test]
    fn names_globs_and_aliases_are_collections() {
        let check = |written: Value, expected: &[&str]| assert_eq!(chosen(written).unwrap(), expected);
        check(json!("agent_*"), &["agent_a", "agent_b"]);
        check(json!("*"), &["agent_a", "agent_b", "docs"]);
        check(json!("agent_?"), &["agent_a", "agent_b"]);
        check(json!(["docs", "current", "agent_*"]), &["agent_a", "agent_b", "docs"]);
        check(json!("drydock_scratch_docs"), &["drydock_scratch_docs"]);
        check(json!("nothing*"), &[]);
        check(json!([]), &[]);
    }

    #[test]
    fn what_is_not_there_is_told() {
        let error = chosen(json!(["agent_*", "agent_c"])).unwrap_err();
        assert_eq!(
            (error.code.as_str(), error.message.as_str()),
            ("qdrant.absent", "there is no collection and no alias agent_c")
        );
        for written in [json!(""), json!(7), json!(["a", ""])] {
            assert!(serde_json::from_value::<Selection>(written).is_err());
        }
    }

    #[test]
    fn globs() {
        let cases = [
            ("a*c", "abbc", true),
            ("a*c", "abb", false),
            ("*", "", true),
            ("*x*y", "axbxy", true),
            ("a?", "a", false),
            ("ü*", "über", true),
        ];
        for (glob, name, expected) in cases {
            assert_eq!(glob_fits(glob, name), expected, "{glob} on {name}");
        }
    }
}
