//! Other names for collections, for drills beside what is there: [`Rename`].

use drydock_step::{Field, Shape, StepError};
use serde::Deserialize;

/// The shape of a [`Rename`].
pub(super) const RENAME: Shape = Shape::Record(&[
    Field::required(
        "pattern",
        Shape::Text,
        "The names that are meant, with `*` for any text and `?` for one character.",
    ),
    Field::required(
        "to",
        Shape::Text,
        "The new name; each `*` is what the same `*` of the pattern stood for.",
    ),
]);

/// `agent_*` to `drill_agent_*`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rename {
    pattern: String,
    to: String,
}

impl Rename {
    /// Nothing, when no two collections can get one name.
    ///
    /// # Errors
    /// `input`.
    pub(super) fn judge(&self) -> Result<(), StepError> {
        let stars = |text: &str| text.matches('*').count();
        let refused = |why: &str| Err(StepError::new("input", format!("`rename` {why}")));
        if self.pattern.is_empty() || self.to.is_empty() {
            return refused("needs a `pattern` and a name `to` which it becomes");
        }
        if self.to.contains('?') || stars(&self.pattern) != stars(&self.to) {
            return refused(
                "must have as many `*` in `to` as in `pattern`, and no `?` in `to`: else two collections could get one name",
            );
        }
        if self.pattern == self.to {
            return refused("gives every collection the name that it has");
        }
        Ok(())
    }

    /// The new name of a collection.
    ///
    /// # Errors
    /// `input` when the pattern does not mean it: a drill never recovers over what it did not mean.
    pub(super) fn of(&self, name: &str) -> Result<String, StepError> {
        self.judge()?;
        let stood_for = stars_of(&self.pattern, name).ok_or_else(|| {
            let message =
                format!("`rename` has no name for collection {name}, which does not fit {}", self.pattern);
            StepError::new("input", message).help("a `pattern` of `*` means every collection")
        })?;
        let mut stood_for = stood_for.iter();
        let mut new = String::new();
        for (at, part) in self.to.split('*').enumerate() {
            if at > 0 {
                new.push_str(stood_for.next().map_or("", String::as_str));
            }
            new.push_str(part);
        }
        if new == name {
            let message = format!("`rename` gives collection {name} the name that it has");
            return Err(StepError::new("input", message));
        }
        Ok(new)
    }
}

/// What each `*` stands for, the first ones for as little as they can; nothing where the name does not fit.
fn stars_of(pattern: &str, name: &str) -> Option<Vec<String>> {
    let parts: Vec<Vec<char>> = pattern.split('*').map(|part| part.chars().collect()).collect();
    let name: Vec<char> = name.chars().collect();
    let fits = |part: &[char], at: usize| {
        name.get(at..at + part.len())
            .is_some_and(|found| part.iter().zip(found).all(|(want, is)| *want == '?' || want == is))
    };
    let (first, rest) = parts.split_first()?;
    if !fits(first, 0) {
        return None;
    }
    let Some((last, middle)) = rest.split_last() else {
        return (first.len() == name.len()).then(Vec::new);
    };
    let end = name.len().checked_sub(last.len())?;
    let (mut at, mut found) = (first.len(), Vec::new());
    for part in middle {
        let begin = (at..=end.checked_sub(part.len())?).find(|begin| fits(part, *begin))?;
        found.push(name.get(at..begin)?.iter().collect());
        at = begin + part.len();
    }
    if at > end || !fits(last, end) {
        return None;
    }
    found.push(name.get(at..end)?.iter().collect());
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rename(pattern: &str, to: &str) -> Rename {
        Rename { pattern: pattern.into(), to: to.into() }
    }

    #[test]
    fn a_new_name_keeps_what_the_stars_stood_for() {
        let check = |pattern: &str, to: &str, name: &str, expected: Option<&str>| {
            assert_eq!(rename(pattern, to).of(name).ok().as_deref(), expected, "{pattern} to {to} of {name}");
        };
        check("agent_*", "drill_agent_*", "agent_7f3a", Some("drill_agent_7f3a"));
        check("*", "*_drill", "ü", Some("ü_drill"));
        check("agent_*_v*", "d_*_w*", "agent_a_v1_v2", Some("d_a_w1_v2"));
        check("a?c*", "x*", "abcd", Some("xd"));
        check("docs", "drill", "docs", Some("drill"));
        check("docs", "drill", "docs2", None);
        check("agent_*", "drill_*", "docs", None);
        check("a*a", "x*x", "a", None);
        check("a*b*c", "x*y*z", "abc", Some("xyz"));
    }

    #[test]
    fn names_that_could_meet_are_refused() {
        for (pattern, to) in
            [("agent_*", "drill"), ("docs", "drill_*"), ("a*", "a*"), ("*", "?*"), ("", "x"), ("x", "")]
        {
            assert_eq!(rename(pattern, to).judge().unwrap_err().code, "input", "{pattern} to {to}");
        }
        let error = rename("*", "*").of("x").unwrap_err();
        assert_eq!(error.message, "`rename` gives every collection the name that it has");
    }
}
