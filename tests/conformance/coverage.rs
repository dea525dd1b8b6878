//! The suite has a case for every kind of the program.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::case::{Acting, Case, Seen};
use crate::world::World;
use crate::{artifacts, points, postgres, qdrant, readers, runner, sqlserver};

fn all_cases() -> Vec<Case> {
    [sqlserver::all(), qdrant::all(), postgres::all(), points::all(), artifacts::all(), runner::all()]
        .concat()
}

/// The kinds of the program itself, each with its effect.
fn kinds() -> Vec<(String, String)> {
    let world = World::plan("");
    let told: Value =
        serde_json::from_str(&world.drydock("kinds --format json").with_exit(0).stdout).unwrap();
    let text = |kind: &Value, key: &str| {
        kind[key].as_str().unwrap_or_else(|| panic!("no {key} in {kind}")).to_owned()
    };
    told.as_array().unwrap().iter().map(|kind| (text(kind, "name"), text(kind, "effect"))).collect()
}

/// What is wrong with a suite of these cases and readers for these kinds.
fn gaps(kinds: &[(String, String)], cases: &[(&str, Acting)], readers: &[&str]) -> Vec<String> {
    let mut gaps = Vec::new();
    let known: BTreeSet<&str> = kinds.iter().map(|(name, _)| name.as_str()).collect();
    for (kind, effect) in kinds {
        if effect != "reads" && !cases.iter().any(|(name, _)| name == kind) {
            gaps.push(format!(
                "{kind} writes and has no case: add a function to a file of tests/conformance"
            ));
        }
        if effect != "writes" && !readers.contains(&kind.as_str()) {
            gaps.push(format!("{kind} may only read and has no step in tests/conformance/readers.rs"));
        }
        if effect == "reads" && cases.iter().any(|(name, _)| name == kind) {
            gaps.push(format!("{kind} only reads and has a case of kinds that write"));
        }
    }
    let named = cases.iter().map(|(kind, _)| *kind).chain(readers.iter().copied());
    gaps.extend(named.filter(|kind| !known.contains(kind)).map(|kind| format!("there is no kind {kind}")));
    let without_act =
        cases.iter().filter(|(_, acting)| matches!(acting, Acting::Held([]) | Acting::HeldAndMiddle([])));
    gaps.extend(
        without_act
            .map(|(kind, _)| format!("{kind} is never killed while it acts, and the case does not say why")),
    );
    gaps
}

#[test]
fn the_suite_has_every_kind() {
    let (kinds, cases, readers) = (kinds(), all_cases(), readers::steps());
    assert!(kinds.len() > 20, "the program tells of {} kinds alone", kinds.len());
    let cases: Vec<(&str, Acting)> = cases.iter().map(|case| (case.kind, case.acting)).collect();
    let readers: Vec<&str> = readers.iter().map(|(_, kind)| kind.as_str()).collect();
    let gaps = gaps(&kinds, &cases, &readers);
    assert!(gaps.is_empty(), "{}", gaps.join("\n"));
}

#[test]
fn a_gap_is_named() {
    let kinds = [("a.writes", "writes"), ("a.reads", "reads"), ("a.both", "by_input")];
    let kinds = kinds.map(|(name, effect)| (name.to_owned(), effect.to_owned()));
    let held = Acting::Held(&[("x", 1)]);
    assert_eq!(gaps(&kinds, &[("a.writes", held), ("a.both", held)], &["a.reads", "a.both"]), [""; 0]);
    let found = gaps(&kinds, &[("a.reads", held), ("a.gone", Acting::Held(&[]))], &[]);
    for words in [
        "a.writes writes and has no case",
        "a.both writes and has no case",
        "a.both may only read and has no step",
        "a.reads may only read and has no step",
        "a.reads only reads and has a case of kinds that write",
        "there is no kind a.gone",
        "a.gone is never killed while it acts",
    ] {
        assert!(found.iter().any(|gap| gap.starts_with(words)), "no `{words}` in {found:?}");
    }
    assert_eq!(found.len(), 7);
}

#[test]
fn a_case_says_where_its_own_effect_is_seen() {
    for case in all_cases() {
        if case.data.is_none() && case.postgres.is_none() {
            assert!(
                !matches!(case.seen, Seen::Ledger | Seen::Store(..) | Seen::Lost(..)),
                "{} has no servers",
                case.kind
            );
        }
        let on_a_ledger = matches!(case.acting, Acting::Held(_));
        assert!(
            !on_a_ledger || case.data.is_some(),
            "{} has no server that could hold an answer back",
            case.kind
        );
    }
}
