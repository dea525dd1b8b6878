//! `drydock points list`: what the store holds, and whether that is enough.

use std::collections::HashMap;

use drydock_machine::Exit;
use drydock_recovery::Time;
use drydock_recovery::backup::clock;
use drydock_recovery::catalogue::{Catalogue, Listing};
use drydock_recovery::manifest::PointId;
use drydock_step::{Millis, StepError};
use drydock_steps::point::catalogue::Found;
use drydock_steps::point::rpo::{Protection, protected};
use serde_json::{Value, json};

use super::words::{age, bytes, seconds, span};
use super::{Store, now};
use crate::commands::print;
use crate::formats::Format;
use crate::points_args::ListArgs;
use crate::session::{Refusal, Session};

pub(super) fn list(session: &Session, store: &Store, args: &ListArgs) -> Result<Exit, Refusal> {
    let objective = args.rpo.as_deref().map(|text| span("rpo", text)).transpose()?;
    let (mut found, now) = (store.found()?, now(session));
    let rpo = objective.map(|objective| Rpo::of(store, &found, objective, now)).transpose()?;
    let catalogue = found.taken_catalogue();
    let gone = if args.rebuild { gone(store, &catalogue)? } else { HashMap::new() };
    let listed = catalogue.list(now);
    if session.common.format == Format::Json {
        print(&in_json(&listed, &gone, rpo.as_ref(), now));
    } else {
        let mut text = rpo.as_ref().map_or(String::new(), Rpo::line);
        if rpo.is_none() || !session.common.quiet {
            text.push_str(&in_text(&listed, &gone, &found, now));
        }
        print(&text);
        for why in rpo.iter().flat_map(|rpo| &rpo.protection.passed_over) {
            eprintln!("does not count: {why}");
        }
    }
    let is_damaged = args.rebuild && (!gone.is_empty() || !found.unreadable.is_empty());
    // The process ends here, and to give back ten thousand points piece by piece takes longer than to list them.
    std::mem::forget((catalogue, listed));
    Ok(match rpo {
        Some(rpo) if !rpo.is_met() => Exit::ObjectiveMissed,
        _ if is_damaged => Exit::ValidationFailed,
        _ => Exit::Done,
    })
}

/// Whether the newest point that needs no server is young enough.
struct Rpo {
    objective: Millis,
    protection: Protection,
    now: Time,
}

impl Rpo {
    fn of(store: &Store, found: &Found, objective: Millis, now: Time) -> Result<Self, Refusal> {
        let protection = store.ask(async |connection| {
            let files = connection.store().ok_or_else(|| StepError::internal("it is no artifact store"))?;
            protected(files, found, now).await
        })?;
        Ok(Self { objective, protection, now })
    }

    fn age_s(&self) -> Option<i64> {
        self.protection.newest.as_ref().map(|newest| (self.now - newest.at).num_seconds())
    }

    fn is_met(&self) -> bool {
        let objective_s = i64::try_from(self.objective.0 / 1000).unwrap_or(i64::MAX);
        self.age_s().is_some_and(|age| age <= objective_s)
    }

    /// What a monitor shows.
    fn line(&self) -> String {
        let verdict = if self.is_met() { "met" } else { "MISSED" };
        let why = match (&self.protection.newest, self.age_s()) {
            (Some(newest), Some(seconds)) => format!(
                "the newest that can be restored without the servers is {} {} of {}, {} old",
                newest.kind,
                newest.id,
                clock(newest.at),
                age(seconds)
            ),
            _ => "nothing can be restored without the servers".to_owned(),
        };
        format!("rpo {} {verdict}: {why}\n", self.objective)
    }

    fn in_json(&self) -> Value {
        json!({
            "objective_s": self.objective.0 / 1000,
            "met": self.is_met(),
            "newest": self.protection.newest,
            "age_s": self.age_s(),
            "passed_over": self.protection.passed_over,
        })
    }
}

/// What is missing of each point that lacks a file, in words.
fn gone(store: &Store, catalogue: &Catalogue) -> Result<HashMap<PointId, String>, Refusal> {
    let listed = store.ask(async |connection| {
        let files = connection.store().ok_or_else(|| StepError::internal("it is no artifact store"))?;
        files.list("").await
    })?;
    let sizes: HashMap<&str, u64> = listed.iter().map(|file| (file.path.as_str(), file.size)).collect();
    let mut gone = HashMap::new();
    for record in catalogue.records() {
        let files = record.artifacts();
        let lost: Vec<&str> = files
            .iter()
            .filter(|file| sizes.get(file.path.as_str()) != Some(&file.size))
            .map(|file| file.path.as_str())
            .collect();
        if let Some(first) = lost.first() {
            let words = format!("{} of {} files gone or changed: {first}", lost.len(), files.len());
            gone.insert(record.id().clone(), words);
        }
    }
    Ok(gone)
}

fn in_json(listed: &[Listing], gone: &HashMap<PointId, String>, rpo: Option<&Rpo>, now: Time) -> String {
    let mut entries = Vec::with_capacity(listed.len());
    for entry in listed {
        let mut value = json!(entry);
        value["age_s"] = json!((now - entry.at).num_seconds());
        value["state"] = json!(state(entry));
        if let Some(gone) = gone.get(&entry.id) {
            value["gone"] = json!(gone);
        }
        entries.push(value);
    }
    let entries = Value::Array(entries);
    let shown = match rpo {
        Some(rpo) => json!({ "rpo": rpo.in_json(), "points": entries }),
        None => entries,
    };
    format!("{shown:#}\n")
}

fn in_text(listed: &[Listing], gone: &HashMap<PointId, String>, found: &Found, now: Time) -> String {
    let mut text: String = listed.iter().map(|entry| line(entry, gone.get(&entry.id), now)).collect();
    if listed.is_empty() {
        text.push_str("no points yet\n");
    }
    for id in found.pruning.keys() {
        text.push_str(&format!("{id}  being removed\n"));
    }
    for id in &found.unsealed {
        text.push_str(&format!("{id}  opened, not sealed\n"));
    }
    text
}

/// What is to be said of a point, in words.
fn state(entry: &Listing) -> Vec<String> {
    let mut words = vec!["sealed".to_owned()];
    if !entry.incomplete.is_empty() {
        words.push(format!("incomplete: {}", entry.incomplete.join(", ")));
    }
    words.extend(entry.verified_at.map(|at| format!("verified {}", clock(at))));
    if entry.held {
        words.push("held".to_owned());
    }
    words.extend(entry.bad.as_ref().map(|why| format!("bad: {why}")));
    words.extend(entry.untrusted.clone());
    words.extend(entry.doubted.iter().cloned());
    if !entry.current {
        words.push("abandoned history".to_owned());
    }
    words
}

fn line(entry: &Listing, gone: Option<&String>, now: Time) -> String {
    let skew = entry.skew_s.map_or("-".to_owned(), seconds);
    let vectors = match (entry.clusters, entry.collections) {
        (0, collections) => format!("{collections:>4} collections"),
        (1, 0) => "   1 cluster    ".to_owned(),
        (clusters, 0) => format!("{clusters:>4} clusters   "),
        (clusters, collections) => format!("{collections:>4} collections, {clusters} clusters"),
    };
    let words: Vec<String> = state(entry).into_iter().chain(gone.cloned()).collect();
    format!(
        "{}  {:<12}  {}  {:>7} old  {:<20}  {vectors}  {:>10}  skew {skew:>7}  {}\n",
        entry.id,
        entry.kind,
        clock(entry.at).get(..19).unwrap_or_default(),
        age((now - entry.at).num_seconds()),
        entry.databases.join(", "),
        bytes(entry.size),
        words.join(", "),
    )
}
