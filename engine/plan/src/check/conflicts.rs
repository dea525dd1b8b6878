//! Steps that change the same thing while nothing says which of them comes first: [`conflicts`].

use std::collections::{BTreeMap, HashSet};

use crate::catalog::{Reach, Touched};
use crate::codes;
use crate::expr::{Expr, Together};
use crate::finding::{Finding, Findings};
use crate::model::Step;

use super::proving::{restores, takes_away};
use super::table::StepTable;

/// Of so many steps that change one thing, each is compared with each; of more, each with the next one.
const MOST_COMPARED: usize = 32;
/// The kind that brings a database to the application's version, after it was restored.
const MIGRATES: &str = "ef.update";

/// One step that changes something.
#[derive(Debug, Clone, Copy)]
struct Change {
    step: usize,
    reach: Reach,
}

/// Found: steps that change one thing in no order, and migrations that a restore throws away.
pub(super) fn conflicts(
    steps: &[Option<Step>],
    touched: &[Vec<Touched>],
    table: &StepTable<'_>,
    findings: &mut Findings,
) {
    let mut pairs: Vec<(usize, usize, Reach, String)> = Vec::new();
    for (what, changes) in &things(touched, table) {
        for (a, b) in pairs_of(changes) {
            pairs.push((a.step, b.step, a.reach.max(b.reach), what.clone()));
        }
    }
    let asked: Vec<(usize, usize)> = pairs.iter().flat_map(|(a, b, ..)| [(*a, *b), (*b, *a)]).collect();
    let answers = table.graph.needs(&asked);
    let pairs = pairs.into_iter().zip(answers.chunks(2)).filter_map(|((a, b, reach, what), answer)| {
        let (one, other) = (steps[a].as_ref()?, steps[b].as_ref()?);
        let order = match answer {
            [true, _] => Order::Second,
            [_, true] => Order::First,
            _ => Order::None,
        };
        (one.finally == other.finally).then_some(Pair {
            numbers: [a, b],
            steps: [one, other],
            reach,
            what,
            order,
        })
    });
    let pairs: Vec<Pair<'_>> = pairs.collect();
    // A database that is restored, migrated and restored once more is nobody's mistake.
    let is_late: HashSet<(usize, &str)> = pairs.iter().filter_map(Pair::migrated_after).collect();
    let mut told = vec![false; steps.len()];
    for pair in pairs.iter().filter(|pair| pair.may_meet()) {
        let [a, b] = pair.numbers;
        if let Some((migration, restore)) = pair.migration_and_restore() {
            if !is_late.contains(&(migration, pair.what.as_str())) {
                findings.push(lost_migration(migration, restore, table, pair.order, &pair.what));
            }
        } else if pair.order == Order::None && !std::mem::replace(&mut told[b], true) {
            // One finding a step is enough to make somebody look at it.
            findings.push(unordered(a.min(b), a.max(b), table, pair.is_surely_wrong(), &pair.what));
        }
    }
}

/// Which of two steps comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    None,
    First,
    Second,
}

/// Two steps that change one thing.
struct Pair<'a> {
    numbers: [usize; 2],
    steps: [&'a Step; 2],
    /// The worse of the two.
    reach: Reach,
    /// The thing, in words.
    what: String,
    order: Order,
}

impl Pair<'_> {
    fn conditions(&self) -> [Option<&Expr>; 2] {
        self.steps.map(|step| step.when.as_ref().map(|when| &when.expr))
    }

    /// Whether both run in one run and are in each other's way; where that is not clear nothing is said.
    fn may_meet(&self) -> bool {
        // What is gone already is no loss to who takes it away.
        if self.steps.iter().all(|step| takes_away(step)) {
            return false;
        }
        match self.conditions() {
            [Some(a), Some(b)] => a.together(b) == Together::Possible,
            _ => true,
        }
    }

    /// Whether what one of them writes may be gone, in every run in which the other runs.
    fn is_surely_wrong(&self) -> bool {
        self.reach == Reach::Destroys && self.conditions().iter().flatten().count() < 2
    }

    /// Where one migrates what the other restores, and does not come after it: their numbers.
    fn migration_and_restore(&self) -> Option<(usize, usize)> {
        let (migration, restore) = self.migrates()?;
        (self.first() != Some(restore)).then_some((migration, restore))
    }

    /// Where one migrates what the other has restored before: its number, and the thing.
    fn migrated_after(&self) -> Option<(usize, &str)> {
        let (migration, restore) = self.migrates()?;
        (self.first() == Some(restore)).then_some((migration, self.what.as_str()))
    }

    fn migrates(&self) -> Option<(usize, usize)> {
        let is = |at: usize| self.steps[at].call.kind == MIGRATES && restores(self.steps[1 - at]);
        let [a, b] = self.numbers;
        if is(0) { Some((a, b)) } else { is(1).then_some((b, a)) }
    }

    fn first(&self) -> Option<usize> {
        match self.order {
            Order::None => None,
            Order::First => Some(self.numbers[0]),
            Order::Second => Some(self.numbers[1]),
        }
    }
}

/// The things that are changed by more than one step, in words, each with the steps that change it in the order in which they come.
fn things(touched: &[Vec<Touched>], table: &StepTable<'_>) -> BTreeMap<String, Vec<Change>> {
    let mut place = vec![0; touched.len()];
    for (at, step) in table.order.iter().enumerate() {
        place[*step] = at;
    }
    let mut things: BTreeMap<(&str, &str), Vec<Change>> = BTreeMap::new();
    for (step, touches) in touched.iter().enumerate() {
        for touch in touches.iter().filter(|touch| touch.reach > Reach::Reads && is_one_thing(touch)) {
            let target = touch.target.as_deref().unwrap_or_default();
            let changes = things.entry((target, &touch.resource)).or_default();
            match changes.last_mut().filter(|last| last.step == step) {
                Some(last) => last.reach = last.reach.max(touch.reach),
                None => changes.push(Change { step, reach: touch.reach }),
            }
        }
    }
    // Who changes a whole cluster changes each of its databases.
    let clusters: Vec<(&str, Vec<Change>)> = things
        .iter()
        .filter(|((_, resource), _)| *resource == "cluster")
        .map(|((target, _), changes)| (*target, changes.clone()))
        .collect();
    for ((target, resource), changes) in &mut things {
        for (_, whole) in clusters.iter().filter(|(of, _)| of == target && resource.starts_with("database "))
        {
            changes.extend(whole.iter().copied());
        }
    }
    let named = |((target, resource), mut changes): ((&str, &str), Vec<Change>)| {
        changes.sort_by_key(|change| place[change.step]);
        (changes.len() > 1).then(|| (in_words(target, resource), changes))
    };
    things.into_iter().filter_map(named).collect()
}

/// Whether a touch is of one thing that bears no two hands: a database, a collection, a cluster, a certificate. Folders, stores and the
/// paths of an application are written into by many at once, and what is not known before the run is nobody's fault yet.
fn is_one_thing(touch: &Touched) -> bool {
    let one = ["database ", "collection ", "certificate "];
    let is_known = !touch.resource.contains(['?', '*']);
    let of_target = touch.target.is_some() && one.iter().any(|kind| touch.resource.starts_with(kind));
    is_known && (of_target || touch.target.is_some() && touch.resource == "cluster")
}

fn in_words(target: &str, resource: &str) -> String {
    match resource.split_once(' ') {
        Some((kind, name)) => format!("the {kind} `{name}` of `{target}`"),
        None => format!("the {resource} of `{target}`"),
    }
}

fn pairs_of(changes: &[Change]) -> Vec<(Change, Change)> {
    if changes.len() > MOST_COMPARED {
        return changes.windows(2).map(|pair| (pair[0], pair[1])).collect();
    }
    let from = |at: usize| changes[at + 1..].iter().map(move |later| (changes[at], *later));
    (0..changes.len()).flat_map(from).filter(|(a, b)| a.step != b.step).collect()
}

fn unordered(first: usize, second: usize, table: &StepTable<'_>, sure: bool, what: &str) -> Finding {
    let [one, other] = [first, second].map(|step| table.steps[step].name);
    let message = format!("`{}` and `{}` both change {what}, in no order", one.value, other.value);
    let make = if sure { Finding::error } else { Finding::warning };
    make(codes::NO_ORDER, other.place, message)
        .label("neither needs the other")
        .help(format!("say which comes first, for example `needs: [{}]` at `{}`", one.value, other.value))
        .related(one.place, "may run at the same time")
}

fn lost_migration(
    migration: usize,
    restore: usize,
    table: &StepTable<'_>,
    order: Order,
    what: &str,
) -> Finding {
    let (own, other) = (table.steps[migration].name, table.steps[restore].name);
    let (words, label) = match order {
        Order::None => ("may migrate", format!("does not wait for `{}`", other.value)),
        _ => ("migrates", format!("`{}` comes after it and throws the migration away", other.value)),
    };
    let message = format!("`{}` {words} {what} before it is restored", own.value);
    let mut help = format!("write `needs: [{}]` at `{}`", other.value, own.value);
    if order != Order::None {
        help.push_str(&format!(", and let `{}` no longer wait for it", other.value));
    }
    Finding::error(codes::MIGRATION_LOST, own.place, message)
        .label(label)
        .help(help)
        .related(other.place, "restores it")
}
