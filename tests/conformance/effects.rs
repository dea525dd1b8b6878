//! What a run did, counted where it did it: [`Effects`].

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::case::{Case, RUNNER, Seen};
use crate::masked;
use crate::postgres_world::inside;
use crate::world::World;

/// Requests that write and may be made again, by the beginnings of their names. The list is short, and each says why.
const HARMLESS: &[(&str, &str)] = &[
    ("exec sp_getapplock", "a lock is held by a connection and goes with it"),
    ("commit", "the end of a transaction; what was changed in it is counted by itself"),
];

/// Objects that are put again on purpose, by the ends of their paths, each with the reason.
const REWRITTEN: &[(&str, &str)] =
    &[("/streaming.json", "who streams WAL says every few seconds that it does")];

/// Counts of effects, by what they are.
pub(crate) type Counts = BTreeMap<String, usize>;

/// Everything that a run has done so far, its step under test and what it needed before.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Effects {
    /// Requests that wrote, by step, server and name.
    pub(crate) ledger: Counts,
    /// Objects in the artifact store.
    pub(crate) store: Counts,
    /// Lines that programs appended to `effects`.
    pub(crate) file: Counts,
    /// Ends of steps and answers of people in the journals of the run and of the runs inside it.
    pub(crate) journal: Counts,
    /// What a recovered PostgreSQL has on the runner.
    pub(crate) runner: Counts,
    /// What is inside the PostgreSQL that the case begins with.
    pub(crate) inside: Counts,
}

/// A file of the store: a second put of its path gives it another identity.
type Put = (u64, u64, std::time::SystemTime);

/// The objects of the store with their identities.
pub(crate) type Puts = BTreeMap<String, Put>;

impl Effects {
    /// Of the run `r`.
    pub(crate) fn of(world: &World) -> Self {
        let mut found = Self { ledger: written(ledger(world)), ..Self::default() };
        puts(world).keys().for_each(|path| add(&mut found.store, masked::text(path)));
        world.text("effects").lines().for_each(|line| add(&mut found.file, line.to_owned()));
        RUNNER
            .iter()
            .filter(|path| world.path(path).exists())
            .for_each(|path| add(&mut found.runner, (*path).into()));
        inside(world).iter().for_each(|line| add(&mut found.inside, masked::text(line)));
        for event in journals(world) {
            if let name @ ("step_ended" | "approved") = event["event"].as_str().unwrap_or_default() {
                let key = event["key"].as_str().map_or(String::new(), |key| format!("[{key}]"));
                let status = event["status"].as_str().unwrap_or_default();
                let line = format!("{name} {}{key} {status}", event["step"].as_str().unwrap_or("?"));
                add(&mut found.journal, line.trim_end().to_owned());
            }
        }
        found
    }

    /// The same, of the ledger only what first attempts wrote: an attempt that was killed may go on at the server for a while, and what it
    /// did there is only to be known at the end.
    pub(crate) fn with_ledger_of_first_attempts(mut self, world: &World) -> Self {
        let mut lines = ledger(world);
        lines.retain(|line| line["attempt"].as_str().is_some_and(|attempt| attempt.ends_with("/1")));
        self.ledger = written(lines);
        self
    }

    /// How many of them are the step's own, in the place where its case says that they are seen; with a key, those of that instance,
    /// where the place tells instances apart.
    pub(crate) fn seen(&self, seen: Seen, key: Option<&str>) -> usize {
        let count = |counts: &Counts, fits: &dyn Fn(&str) -> bool| {
            counts.iter().filter(|(name, _)| fits(name)).map(|(_, times)| times).sum()
        };
        match seen {
            Seen::Ledger => count(&self.ledger, &|name| {
                is_of_step(name) && key.is_none_or(|key| name.starts_with(&format!("step[{key}] ")))
            }),
            Seen::Store(begins, ends) => {
                count(&self.store, &|path| path.starts_with(begins) && path.ends_with(ends))
            }
            Seen::Lost(begins, ends) => {
                let left = count(&self.store, &|path| path.starts_with(begins) && path.ends_with(ends));
                usize::from(left == 0)
            }
            Seen::File => count(&self.file, &|_| true),
            Seen::Runner(path) => count(&self.runner, &|name| name == path),
            Seen::Inside(name) => count(&self.inside, &|line| line == name),
            Seen::Gone(path) => usize::from(!self.runner.contains_key(path)),
            Seen::Journal(event) => count(&self.journal, &|line| line.starts_with(&format!("{event} step"))),
        }
    }

    /// Complains where they are not those of a run that nobody killed.
    #[track_caller]
    pub(crate) fn assert_same(&self, uncut: &Self, case: &Case, when: &str) {
        let may_repeat = |name: &String| case.repeats.iter().any(|(repeats, _)| repeats == name);
        let mut wrong = Vec::new();
        for (place, found, expected) in [
            ("the ledger", &self.ledger, &uncut.ledger),
            ("the artifact store", &self.store, &uncut.store),
            ("the file", &self.file, &uncut.file),
            ("the journal", &self.journal, &uncut.journal),
            ("the runner", &self.runner, &uncut.runner),
            ("the PostgreSQL", &self.inside, &uncut.inside),
        ] {
            let names: std::collections::BTreeSet<&String> = found.keys().chain(expected.keys()).collect();
            for name in names {
                let count = |counts: &Counts| counts.get(name).copied().unwrap_or(0);
                let (found, expected) = (count(found), count(expected));
                if found != expected && !(found == expected + 1 && may_repeat(name)) {
                    wrong.push(format!("  {place} has `{name}` {found} times; uncut {expected} times"));
                }
            }
        }
        assert!(wrong.is_empty(), "{when}, then resumed: not each effect once\n{}", wrong.join("\n"));
    }

    /// Whether an effect is there more often than in another run.
    pub(crate) fn has_more(&self, name: &str, than: &Self) -> bool {
        let count = |of: &Self| {
            [&of.ledger, &of.store, &of.file].iter().filter_map(|counts| counts.get(name)).sum::<usize>()
        };
        count(self) > count(than)
    }
}

fn add(counts: &mut Counts, name: String) {
    *counts.entry(name).or_default() += 1;
}

/// Counts of what was written and is no harmless repetition.
fn written(lines: Vec<Value>) -> Counts {
    let mut counts = Counts::new();
    for (attempt, server, op) in lasting(lines) {
        let op = masked::text(&op);
        if !HARMLESS.iter().any(|(begins, _)| op.starts_with(begins)) {
            add(&mut counts, format!("{} {server} {op}", step_of(&attempt)));
        }
    }
    counts
}

/// What was written and not taken back, each with its attempt and its server. What an attempt changed since the last end of a transaction
/// is undone by its `rollback`.
fn lasting(lines: Vec<Value>) -> Vec<(String, String, String)> {
    let mut written: Vec<(String, String, String)> = Vec::new();
    for line in lines {
        let text = |key: &str| line[key].as_str().map(str::to_owned);
        let (Some(attempt), Some(server), Some(op)) = (text("attempt"), text("server"), text("op")) else {
            continue;
        };
        let ends = |op: &str| op == "commit" || op.starts_with("mark ");
        if op == "rollback" {
            let own = |(of, at, _): &(String, String, String)| *of == attempt && *at == server;
            let last = written.iter().rposition(|one| own(one) && ends(&one.2)).map_or(0, |last| last + 1);
            let mut at = 0;
            written.retain(|one| {
                at += 1;
                // A lock is no change, and nothing of it comes back.
                at <= last || !own(one) || one.2.starts_with("exec ")
            });
        } else if line["writes"] == true {
            written.push((attempt, server, op));
        }
    }
    written
}

/// The step of an attempt's id `run/step[key]/n`; below it, the step of a run inside the run, whose id ends with the outer step.
fn step_of(attempt: &str) -> String {
    let mut parts = attempt.split('/');
    let (run, instance) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    run.split_once('-').map_or(instance.to_owned(), |(_, outer)| format!("{outer}/{instance}"))
}

/// Whether a line of the ledger's counts is about the step under test, an instance of it or a run inside it.
fn is_of_step(name: &str) -> bool {
    name.strip_prefix("step").is_some_and(|rest| rest.starts_with([' ', '[', '/']))
}

/// Whether anything at a server was asked for by an attempt of the step under test.
pub(crate) fn step_asked(world: &World) -> bool {
    let of_step =
        |line: &Value| line["attempt"].as_str().is_some_and(|attempt| is_of_step(&(step_of(attempt) + " ")));
    ledger(world).iter().any(of_step)
}

/// The ledger's lines.
pub(crate) fn ledger(world: &World) -> Vec<Value> {
    whole_lines(&world.text("ledger.jsonl"))
}

/// The lines of a file that grows, or whose writer was killed: what stands behind the last end of a line is none yet.
fn whole_lines(text: &str) -> Vec<Value> {
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The events of the run `r` and of runs inside it.
fn journals(world: &World) -> Vec<Value> {
    let journals = ["r", "r-step"].map(|run| world.text(&format!(".drydock/{run}/journal.jsonl")));
    journals.iter().flat_map(|text| whole_lines(text)).collect()
}

/// The files of the artifact store as they are now, unfinished ones too.
pub(crate) fn puts(world: &World) -> Puts {
    let mut found = Puts::new();
    walk(&world.path("artifacts"), "", &mut found);
    found
}

fn walk(folder: &Path, path: &str, found: &mut Puts) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if path.is_empty() { name } else { format!("{path}/{name}") };
        let facts = entry.metadata().unwrap();
        if facts.is_dir() {
            walk(&entry.path(), &path, found);
        } else {
            found.insert(path, (identity(&facts), facts.len(), facts.modified().unwrap()));
        }
    }
}

#[cfg(unix)]
fn identity(facts: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(facts)
}

#[cfg(not(unix))]
fn identity(_facts: &std::fs::Metadata) -> u64 {
    0
}

/// Complains of objects that were there at the kill and have been put again, or are gone.
#[track_caller]
pub(crate) fn assert_put_once(at_kill: &Puts, now: &Puts, seen: Seen, when: &str) {
    let is_rewritten = |path: &str| REWRITTEN.iter().any(|(ends, _)| path.ends_with(ends));
    let put_once = |path: &str| !path.ends_with(".drydock-part") && !is_rewritten(path);
    // What a step is there to remove may be gone, and is not put again.
    let may_go = |path: &&String| matches!(seen, Seen::Lost(..)) && !now.contains_key(*path);
    for (path, put) in at_kill.iter().filter(|(path, _)| put_once(path) && !may_go(path)) {
        assert_eq!(now.get(path), Some(put), "{when}: {path} was there, and was put again or removed");
    }
    let left: Vec<&String> = now.keys().filter(|path| path.ends_with(".drydock-part")).collect();
    assert!(left.is_empty(), "{when}: unfinished objects are left: {left:?}");
}
