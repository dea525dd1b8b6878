//! What a drill adds to a plan: steps of `finally` that take away what its steps made, so that the next drill begins with nothing.
//! Main function: [`with_clean_up`].

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::catalog::{Catalog, CleanUp, From, TargetNeed};
use crate::source::Place;
use crate::syntax::tree::{Entry, Node, Style, Text, Value};

/// What the names of the steps begin with that a drill adds.
const PREFIX: &str = "clean_up_";

/// The plan with a step of `finally` for each step whose kind makes something that a drill must not leave behind. What cannot be read is
/// left as it is, for whoever reads it next.
pub(super) fn with_clean_up(plan: &Node, catalog: &Catalog) -> Node {
    let steps = entries_of(plan, "steps");
    let taken: BTreeSet<&str> =
        steps.iter().chain(entries_of(plan, "finally")).map(|entry| &*entry.key).collect();
    let added: Vec<Entry> = steps.iter().filter_map(|entry| clean_up(entry, catalog, &taken)).collect();
    let mut plan = plan.clone();
    let Value::Map(entries) = &mut plan.value else { return plan };
    if added.is_empty() {
        return plan;
    }
    match entries.iter_mut().find(|entry| &*entry.key == "finally") {
        Some(Entry { value: Node { value: Value::Map(finally), .. }, .. }) => finally.extend(added),
        // A `finally` that is no mapping is a finding of its own.
        Some(Entry { value: Node { value, .. }, .. }) if *value != Value::Null => {}
        Some(Entry { value, .. }) => value.value = Value::Map(added),
        None => {
            let place = plan.place;
            entries.push(entry("finally", place, Value::Map(added)));
        }
    }
    plan
}

fn entries_of<'n>(node: &'n Node, key: &str) -> &'n [Entry] {
    find(node, key).and_then(Node::map).unwrap_or_default()
}

fn find<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    node.map()?.iter().find(|entry| &*entry.key == key).map(|entry| &entry.value)
}

fn entry(key: &str, place: Place, value: Value) -> Entry {
    Entry { key: key.into(), key_place: place, value: Node { place, value } }
}

fn text(text: impl Into<Arc<str>>) -> Value {
    Value::Text(Text { text: text.into(), style: Style::Plain })
}

/// The step that takes away what a step makes.
fn clean_up(step: &Entry, catalog: &Catalog, taken: &BTreeSet<&str>) -> Option<Entry> {
    let uses = find(&step.value, "uses")?.text()?;
    let CleanUp { kind, inputs } = catalog.kinds.get(uses)?.clean_up?;
    let (place, written) = (step.key_place, find(&step.value, "with"));
    let given = |name: &&str| written.and_then(|with| find(with, name));
    let with: Vec<Entry> = inputs
        .iter()
        .filter_map(|(name, from)| match from {
            From::First(names) => {
                let value = names.iter().find_map(given)?.clone();
                Some(Entry { key: (*name).into(), key_place: place, value })
            }
            From::True => Some(entry(name, place, Value::Boolean(true))),
        })
        .collect();
    let mut keys = vec![entry("uses", place, text(kind))];
    let takes_target = catalog.kinds.get(kind).is_some_and(|shape| shape.target != TargetNeed::None);
    keys.extend(copied(&step.value, "target").filter(|_| takes_target));
    keys.extend(["foreach", "key"].into_iter().filter_map(|key| copied(&step.value, key)));
    let mut read = BTreeSet::new();
    for node in ["foreach", "key", "when"].into_iter().filter_map(|key| find(&step.value, key)) {
        steps_read(node, &mut read);
    }
    with.iter().for_each(|entry| steps_read(&entry.value, &mut read));
    let own = find(&step.value, "when").and_then(Node::text);
    keys.push(entry("when", place, text(condition(&step.key, &read, own))));
    keys.push(entry("undoes", place, Value::List(vec![Node { place, value: text(step.key.clone()) }])));
    keys.push(entry("with", place, Value::Map(with)));
    let mut name = format!("{PREFIX}{}", step.key);
    while taken.contains(name.as_str()) {
        name.push('_');
    }
    Some(entry(&name, place, Value::Map(keys)))
}

fn copied(step: &Node, key: &str) -> Option<Entry> {
    step.map()?.iter().find(|entry| &*entry.key == key).cloned()
}

/// Where it runs: once the step has begun whose work it takes away, and all is known that says what that was. A run that was interrupted
/// is gone on with, and keeps what it has.
fn condition(step: &str, read: &BTreeSet<String>, own: Option<&str>) -> String {
    let mut all = vec![
        "run.status != 'interrupted'".to_owned(),
        format!("steps.{step}.status in ['succeeded', 'failed', 'partial', 'cancelled']"),
    ];
    all.extend(read.iter().map(|name| format!("steps.{name}.status == 'succeeded'")));
    all.extend(own.map(|own| format!("({own})")));
    all.join(" and ")
}

/// The steps that expressions in a value read.
fn steps_read(node: &Node, read: &mut BTreeSet<String>) {
    match &node.value {
        Value::Text(text) => {
            for (at, _) in text.text.match_indices("steps.") {
                let before = text.text[..at].chars().next_back();
                let name: String = text.text[at + "steps.".len()..]
                    .chars()
                    .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                    .collect();
                if !name.is_empty() && !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '.') {
                    read.insert(name);
                }
            }
        }
        Value::List(items) => items.iter().for_each(|item| steps_read(item, read)),
        Value::Map(entries) => entries.iter().for_each(|entry| steps_read(&entry.value, read)),
        Value::Null | Value::Boolean(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Effect, KindShape};
    use crate::finding::Findings;
    use crate::shape::Shape;
    use crate::source::SourceFile;
    use crate::syntax::yaml;

    fn kind(name: &'static str, target: TargetNeed, clean_up: Option<CleanUp>) -> KindShape {
        KindShape {
            name,
            docs: "A kind for tests.",
            target,
            inputs: &[],
            target_inputs: &[],
            outputs: Shape::Record(&[]),
            effect: Effect::Writes,
            answers_in_dry_run: false,
            runs_plan: None,
            clean_up,
            reconciles: true,
            permissions: &[],
            example: "",
        }
    }

    /// The `finally` of a plan, once it is a drill.
    #[track_caller]
    fn check(plan: &str, finally: &str) {
        let drop = CleanUp {
            kind: "drop",
            inputs: &[("name", From::First(&["into", "name"])), ("all", From::True)],
        };
        let kinds = [
            kind("make", TargetNeed::Any, Some(drop)),
            kind("drop", TargetNeed::Any, None),
            kind("look", TargetNeed::Any, None),
        ];
        let catalog = Catalog::new(kinds, []);
        let source = SourceFile::new("plan.yaml", plan);
        let node = yaml::read(&source, 0, &mut Findings::new()).unwrap();
        let drill = with_clean_up(&node, &catalog).json();
        let expected: serde_json::Value = serde_json::from_str(finally).unwrap();
        assert_eq!(drill["finally"], expected);
    }

    #[test]
    fn what_a_step_makes_is_taken_away_after_it() {
        check(
            "steps:\n  a: { uses: make, target: t, with: { name: x, into: y, other: z } }\n  b: { uses: look, target: t }\n",
            r#"{ "clean_up_a": { "uses": "drop", "target": "t",
                "when": "run.status != 'interrupted' and steps.a.status in ['succeeded', 'failed', 'partial', 'cancelled']",
                "undoes": ["a"], "with": { "name": "y", "all": true } } }"#,
        );
    }

    #[test]
    fn lists_and_conditions_are_those_of_the_step_once_they_are_known() {
        check(
            "steps:\n  a: { uses: make, target: t, foreach: steps.p.outputs.all, key: item.id, when: item.id != 'x', with: { name: \"{{ steps.q.outputs.n }}\" } }\nfinally:\n  clean_up_a: { uses: look, target: t }\n",
            r#"{ "clean_up_a": { "uses": "look", "target": "t" },
                "clean_up_a_": { "uses": "drop", "target": "t", "foreach": "steps.p.outputs.all", "key": "item.id",
                "when": "run.status != 'interrupted' and steps.a.status in ['succeeded', 'failed', 'partial', 'cancelled'] and steps.p.status == 'succeeded' and steps.q.status == 'succeeded' and (item.id != 'x')",
                "undoes": ["a"], "with": { "name": "{{ steps.q.outputs.n }}", "all": true } } }"#,
        );
    }

    #[test]
    fn a_plan_that_makes_nothing_stays_as_it_is() {
        check("steps: { b: { uses: look } }\n", "null");
        check("steps: []\nfinally: 3\n", "3");
    }
}
