//! What a reviewed dry run binds a run to: [`Bound`], each step's actions and the answers that it went by, and how to tell that something
//! is otherwise now: [`as_reviewed`], [`in_words`].

use std::collections::BTreeMap;

use drydock_step::Action;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The most characters that are shown of a value that differs.
const SHOWN: usize = 200;

/// What a text shows that only the run knows begins with this and ends with a bracket.
const AFTER: &str = "(known after ";

/// A step that a run is bound to, by its instance's name, through inner plans with theirs: `outer/inner[key]`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct BoundStep {
    /// What its body does.
    pub actions: Vec<Action>,
    /// Whether that goes by what its server said, and no step before it changes what that is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub facts: bool,
    /// What it answered, where a dry run asks it. The run goes by that answer and by no newer one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Value>,
}

/// All steps that a run is bound to.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bound(BTreeMap<String, BoundStep>);

/// Something that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What differs: a step, a server, a file.
    pub at: String,
    /// What was reviewed; nothing where there was none.
    pub was: Option<String>,
    /// What is there now; nothing where it is gone.
    pub is: Option<String>,
}

impl Bound {
    /// With one step more.
    pub(crate) fn insert(&mut self, instance: &str, step: BoundStep) {
        self.0.insert(instance.to_owned(), step);
    }

    /// With what a step does, and whether that goes by what its server said.
    pub(crate) fn acts(&mut self, instance: &str, actions: Vec<Action>, facts: bool) {
        if let Some(step) = self.0.get_mut(instance) {
            (step.actions, step.facts) = (actions, facts);
        }
    }

    /// With what a step answered.
    pub(crate) fn answered(&mut self, instance: &str, answer: Value) {
        if let Some(step) = self.0.get_mut(instance) {
            step.answer = Some(answer);
        }
    }

    /// With the steps of a plan that a step runs.
    pub(crate) fn insert_inner(&mut self, outer: &str, inner: Self) {
        self.0.extend(inner.0.into_iter().map(|(name, step)| (format!("{outer}/{name}"), step)));
    }

    /// What an instance is bound to. One whose list was not known when it was reviewed is bound as its step is.
    pub(crate) fn of(&self, instance: &str) -> Option<&BoundStep> {
        let step = || instance.split_once('[').and_then(|(step, _)| self.0.get(step));
        self.0.get(instance).or_else(step)
    }

    /// What the steps of the plan are bound to that a step runs.
    #[must_use]
    pub fn within(&self, step: &str) -> Self {
        let own = |(name, bound): (&String, &BoundStep)| {
            let name = name.strip_prefix(step)?.strip_prefix('/')?;
            Some((name.to_owned(), bound.clone()))
        };
        let exact: BTreeMap<_, _> = self.0.iter().filter_map(own).collect();
        match step.split_once('[') {
            Some((unlisted, _)) if exact.is_empty() => self.within(unlisted),
            _ => Self(exact),
        }
    }
}

/// What of an answer is not what it was, below `at`. A list may have grown, and a mapping too: a backup that was taken since changes nothing
/// of those that were chosen. `moving` are JSON pointers to parts that always move.
pub(crate) fn differences(at: &str, was: &Value, is: &Value, moving: &[&str]) -> Vec<Difference> {
    let mut found = Vec::new();
    let without_moving = |value: &Value| {
        let mut value = value.clone();
        for pointer in moving {
            let (above, key) = pointer.rsplit_once('/').unwrap_or_default();
            if let Some(above) = value.pointer_mut(above).and_then(Value::as_object_mut) {
                above.shift_remove(key);
            }
        }
        value
    };
    compare(at, &without_moving(was), &without_moving(is), &mut found);
    found
}

fn compare(at: &str, was: &Value, is: &Value, found: &mut Vec<Difference>) {
    match (was, is) {
        (Value::Object(was), Value::Object(now)) => {
            for (key, value) in was {
                let at = format!("{at}.{key}");
                match now.get(key) {
                    Some(now) => compare(&at, value, now, found),
                    None => found.push(Difference { at, was: Some(shown(value)), is: None }),
                }
            }
        }
        (Value::Array(was), Value::Array(now)) if was.len() != now.len() => {
            let mut rest = now.iter();
            for (n, value) in was.iter().enumerate() {
                if !rest.any(|one| holds(value, one)) {
                    let at = format!("{at}[{n}]");
                    found.push(Difference { at, was: Some(shown(value)), is: None });
                    return;
                }
            }
        }
        (Value::Array(was), Value::Array(now)) => {
            for (n, (was, now)) in was.iter().zip(now).enumerate() {
                compare(&format!("{at}[{n}]"), was, now, found);
            }
        }
        _ if was == is => {}
        _ => found.push(Difference { at: at.to_owned(), was: Some(shown(was)), is: Some(shown(is)) }),
    }
}

/// Whether everything of `was` is in `is`.
fn holds(was: &Value, is: &Value) -> bool {
    let mut found = Vec::new();
    compare("", was, is, &mut found);
    found.is_empty()
}

fn shown(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// What of the actions of a step is not what was reviewed. What was known only during the run may be anything; there may be more or fewer of
/// such actions too, one for each thing of a list.
pub fn as_reviewed(at: &str, was: &[Action], is: &[Action]) -> Vec<Difference> {
    let paired = was.len() == is.len() && was.iter().zip(is).all(|(was, is)| fits(was, is));
    if paired || (was.iter().any(is_open) && fit_loosely(was, is)) {
        return Vec::new();
    }
    let line = |action: &Action| match &action.target {
        Some(target) => format!("{target}: {}", action.text),
        None => action.text.clone(),
    };
    let found = (0..was.len().max(is.len())).filter_map(|n| {
        let (was, is) = (was.get(n), is.get(n));
        let same = was.zip(is).is_some_and(|(was, is)| fits(was, is));
        (!same).then(|| Difference { at: at.to_owned(), was: was.map(line), is: is.map(line) })
    });
    found.collect()
}

fn fits(was: &Action, is: &Action) -> bool {
    is_of_one_kind(was, is) && matches(&was.text, &is.text)
}

fn is_of_one_kind(was: &Action, is: &Action) -> bool {
    (was.kind, &was.target, was.writes) == (is.kind, &is.target, is.writes)
}

/// Whether a part of it was known only during the run.
fn is_open(action: &Action) -> bool {
    action.text.contains(AFTER)
}

/// Whether all actions that were known are among these in their order, and the others are of the kind of one that was not.
fn fit_loosely(was: &[Action], is: &[Action]) -> bool {
    let mut known = was.iter().filter(|action| !is_open(action)).peekable();
    let all = is.iter().all(|action| {
        if known.next_if(|known| fits(known, action)).is_some() {
            return true;
        }
        was.iter().filter(|was| is_open(was)).any(|open| is_of_one_kind(open, action))
    });
    all && known.next().is_none()
}

/// Whether a text is the one that was shown, with anything where that was known only during the run.
fn matches(shown: &str, text: &str) -> bool {
    let Some((first, mut rest)) = shown.split_once(AFTER) else { return shown == text };
    let Some(mut left) = text.strip_prefix(first) else { return false };
    loop {
        let Some((_, following)) = rest.split_once(')') else { return false };
        let Some((between, more)) = following.split_once(AFTER) else { return left.ends_with(following) };
        let Some(found) = left.find(between) else { return false };
        left = &left[found + between.len()..];
        rest = more;
    }
}

/// Differences in words, what was reviewed and what is there now below each other.
pub fn in_words(found: &[Difference]) -> String {
    let mut text = String::new();
    let mut last = None;
    for Difference { at, was, is } in found {
        if last != Some(at) {
            text.push_str(&format!("  {at}\n"));
            last = Some(at);
        }
        for (sign, line) in [('-', was), ('+', is)] {
            if let Some(line) = line {
                let lines: Vec<&str> = line.lines().collect();
                text.push_str(&format!("    {sign} {}\n", lines.join(&format!("\n    {sign} "))));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use drydock_step::ActionKind;
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(was: &Value, is: &Value, expected: &[&str]) {
        let found = differences("a", was, is, &["/moves", "/deep/moves"]);
        let told: Vec<String> =
            found.iter().map(|one| format!("{} {:?} {:?}", one.at, one.was, one.is)).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn an_answer_may_grow_and_not_change() {
        check(&json!({ "x": 1, "moves": 1 }), &json!({ "x": 1, "y": 2, "moves": 2 }), &[]);
        check(&json!({ "deep": { "moves": 1, "x": [] } }), &json!({ "deep": { "x": [] } }), &[]);
        check(&json!({ "x": [1, 2] }), &json!({ "x": [0, 1, 2, 3] }), &[]);
        check(&json!({ "x": [1, 2] }), &json!({ "x": [2, 1, 0] }), &["a.x[1] Some(\"2\") None"]);
        check(&json!({ "x": [1, 2] }), &json!({ "x": [1, 3] }), &["a.x[1] Some(\"2\") Some(\"3\")"]);
        check(&json!({ "x": { "y": "t" } }), &json!({ "x": {} }), &["a.x.y Some(\"t\") None"]);
        check(&json!({ "x": [{ "a": 1 }] }), &json!({ "x": [{ "b": 1 }, { "a": 1, "b": 2 }] }), &[]);
        let long = "ä".repeat(SHOWN + 1);
        let found = differences("a", &json!(long), &json!(1), &[]);
        assert_eq!(found[0].was, Some(format!("{}…", "ä".repeat(SHOWN))));
    }

    #[test]
    fn what_only_the_run_knows_may_be_anything() {
        for (shown, text, fits) in [
            ("BACKUP x", "BACKUP x", true),
            ("BACKUP x", "BACKUP y", false),
            ("GET (known after a)", "GET /x", true),
            ("GET (known after a)", "PUT /x", false),
            ("m (known after a) n (known after b) o", "m 1 n 2 o", true),
            ("m (known after a) n (known after b) o", "m 1 x 2 o", false),
            ("m (known after a) n", "m 1 nx", false),
            ("m (known after a", "m 1", false),
        ] {
            assert_eq!(matches(shown, text), fits, "{shown} / {text}");
        }
    }

    #[test]
    fn actions_are_compared_one_by_one() {
        let action = |text: &str| Action::writes(ActionKind::Sql, Some("sql"), text);
        let reads = Action::reads(ActionKind::Sql, Some("sql"), "a");
        assert_eq!(as_reviewed("s", &[action("a")], &[action("a")]), []);
        for (was, is, lines) in [
            (vec![action("a")], vec![action("b")], (Some("sql: a"), Some("sql: b"))),
            (vec![action("a")], vec![reads], (Some("sql: a"), Some("sql: a"))),
            (vec![action("a")], vec![], (Some("sql: a"), None)),
            (vec![], vec![action("b")], (None, Some("sql: b"))),
        ] {
            let found = as_reviewed("s", &was, &is);
            let told: Vec<_> = found.iter().map(|one| (one.was.as_deref(), one.is.as_deref())).collect();
            assert_eq!(told, [lines]);
        }
    }

    #[test]
    fn a_list_that_was_not_known_has_any_number_of_actions() {
        let get = |text: &str| Action::reads(ActionKind::Http, Some("q"), text);
        let put = |text: &str| Action::writes(ActionKind::Artifact, Some("s"), text);
        let was = [get("GET /all"), get("GET each of (known after a)"), put("store (known after a)")];
        for (is, differences) in [
            (vec![get("GET /all"), get("GET 1"), put("x"), get("GET 2"), put("y")], 0),
            (vec![get("GET /all")], 0),
            (vec![get("GET 1")], 3),
            (vec![get("GET /all"), put("x"), Action::writes(ActionKind::Sql, Some("s"), "y")], 2),
        ] {
            assert_eq!(as_reviewed("s", &was, &is).len(), differences, "{is:?}");
        }
    }

    #[test]
    fn instances_and_inner_steps_are_found() {
        let step = |text: &str| BoundStep {
            actions: vec![Action::reads(ActionKind::Flow, None, text)],
            ..BoundStep::default()
        };
        let mut inner = Bound::default();
        inner.insert("x[k]", step("inner"));
        let mut bound = Bound::default();
        bound.insert("each", step("any"));
        bound.insert("each[a]", step("a"));
        bound.insert_inner("run", inner);
        assert_eq!(bound.of("each[a]"), Some(&step("a")));
        assert_eq!(bound.of("each[b]"), Some(&step("any")));
        assert_eq!(bound.of("other"), None);
        assert_eq!(bound.within("run").of("x[k]"), Some(&step("inner")));
        assert_eq!(bound.within("run[1]").of("x[k]"), Some(&step("inner")));
        assert_eq!(bound.within("ru"), Bound::default());
    }
}
