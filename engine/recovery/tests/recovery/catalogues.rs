//! Random pasts of a model server that is backed up, marked, returned to earlier states, and loses records: whatever `select` says can be
//! restored, the model really restores, by the server's rules, to the very state that was marked. And after a pruning all of it still can,
//! from the files that are left.
//!
//! `DRYDOCK_SEED=N` repeats one past, `DRYDOCK_CATALOGUES=N` looks at so many (`scripts/catalogues`).
#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    reason = "a test fails by a panic, and which pasts are looked at is said from outside"
)]

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use drydock_recovery::backup::{Backup, BackupType};
use drydock_recovery::catalogue::{Catalogue, Record, Selection, To, select};
use drydock_recovery::guid::Guid;
use drydock_recovery::manifest::{
    BackupProof, DatabaseEvidence, Evidence, LogPoint, LogPointKind, Manifest, MarkPlace, Marked, Opened,
    Origin, PlanRef, PointId, PointMark, PointMarkKind, SealTerms, ServerPart, StoredBackup, seal,
    seal_log_point,
};
use drydock_recovery::retention::{Keep, Retention, decide, freed};

use crate::model::{Change, Medium, Restoring, Server, Until, apply, block, restore_full};
use crate::world::artifact;

/// How many pasts are looked at where nothing else is said.
const CATALOGUES: u64 = 1_000;

/// A server's past with what was sealed of it.
struct Past {
    server: Server,
    points: Vec<Manifest>,
    logs: Vec<LogPoint>,
    marks: Vec<PointMark>,
    /// What the database held at each mark.
    truth: BTreeMap<PointId, Vec<Change>>,
    ids: usize,
}

fn stored(backup: &Backup) -> StoredBackup {
    let path = format!("sql/{}", backup.media[0]);
    StoredBackup {
        backup: Backup { family_guid: Some(Guid::new("family")), media_count: Some(1), ..backup.clone() },
        artifacts: vec![artifact(&path, 4096)],
        proof: BackupProof::Hashed,
        checksums: true,
        encryptor_thumbprint: None,
        adopted: false,
    }
}

impl Past {
    fn new(seed: u64) -> Past {
        let (points, logs, marks) = (Vec::new(), Vec::new(), Vec::new());
        let mut past =
            Past { server: Server::new(seed), points, logs, marks, truth: BTreeMap::new(), ids: 0 };
        for _ in 0..8 + past.roll(14) {
            past.happens();
        }
        past.loses();
        past
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.server.dice.roll(sides)
    }

    fn happens(&mut self) {
        match self.roll(24) {
            0..=1 => self.server.full(),
            2 => self.server.differential(),
            3 => self.server.log(),
            4 => self.server.truncate(),
            5 => self.server.go_back(),
            6..=9 => self.server.commit(),
            10..=15 => self.point(),
            16..=21 => self.log_point(LogPointKind::Log),
            _ => self.log_point(LogPointKind::Differential),
        }
    }

    /// Records are lost, and things are said of others.
    fn loses(&mut self) {
        for at in (0..self.points.len()).rev() {
            let id = self.points[at].id.clone();
            match self.roll(10) {
                0 => drop(self.points.remove(at)),
                1 => self.say(id, PointMarkKind::Bad { reason: "x".into() }),
                2 => self.say(id, PointMarkKind::Held { until: None, reason: "x".into() }),
                _ => {}
            }
        }
        for at in (0..self.logs.len()).rev() {
            let id = self.logs[at].id.clone();
            match self.roll(12) {
                0 => drop(self.logs.remove(at)),
                1 => self.say(id, PointMarkKind::Bad { reason: "x".into() }),
                2 => self.say(id, PointMarkKind::Held { until: None, reason: "x".into() }),
                _ => {}
            }
        }
    }

    fn say(&mut self, id: PointId, said: PointMarkKind) {
        self.marks.push(PointMark::new(id, self.server.now, "on-call", said));
    }

    /// A marked transaction, and what the database holds once it is committed.
    fn marked(&mut self) -> (Marked, Vec<Change>) {
        self.ids += 1;
        let id = PointId::parse(&format!("01K0{:022}", self.ids)).expect("a ULID");
        let plan = PlanRef { name: "b".into(), digest: "d".into() };
        let origin = Origin { plan, environment: "e".into(), run: "r".into(), by: String::new() };
        let opened = Opened::new(id, origin, self.server.now);
        self.server.commit();
        let truth = self.server.changes().to_vec();
        let mark = truth.last().expect("it was just committed");
        let place = MarkPlace { lsn: block(mark.lsn), at: mark.at };
        let places = [("d".to_owned(), place)].into_iter().collect();
        (opened.marked(self.server.now, self.server.now, places), truth)
    }

    fn evidence(&self, media: &[Medium]) -> Evidence {
        let backups: Vec<StoredBackup> = media.iter().map(|medium| stored(&medium.backup)).collect();
        let rehashed = backups.iter().flat_map(|stored| stored.artifacts.clone()).collect();
        let (name, version) = ("S".to_owned(), "16".to_owned());
        let database = DatabaseEvidence {
            database: "D".into(),
            server: ServerPart { name, version, time_zone: None, utc_offset_minutes: None },
            family_guid: Guid::new("family"),
            recovery_fork: self.server.fork().clone(),
            recovery_model: "FULL".into(),
            backups,
            certificates: Vec::new(),
            rows: Default::default(),
        };
        Evidence {
            sealed_at: self.server.now,
            sqlserver: [("d".to_owned(), database)].into_iter().collect(),
            qdrant: None,
            postgres: Default::default(),
            stretches: Default::default(),
            pause: None,
            locks: None,
            server_objects: Default::default(),
            rehashed,
            migrations: Vec::new(),
            neighbours: Vec::new(),
            versions: Default::default(),
            tools: Default::default(),
        }
    }

    fn point(&mut self) {
        let (marked, truth) = self.marked();
        self.server.log();
        let evidence = self.evidence(&self.server.media);
        if let Ok(sealed) = seal(marked, evidence, &SealTerms::default()) {
            self.truth.insert(sealed.manifest.id.clone(), truth);
            self.points.push(sealed.manifest);
        }
    }

    fn log_point(&mut self, kind: LogPointKind) {
        let (marked, truth) = self.marked();
        let before = self.server.media.len();
        match kind {
            LogPointKind::Log => self.server.log(),
            LogPointKind::Differential => self.server.differential(),
        }
        let evidence = self.evidence(&self.server.media[before..]);
        let base = self.points.last().map(|point| point.id.clone());
        if let Ok(log) = seal_log_point(marked, kind, evidence, base, &SealTerms::default()) {
            self.truth.insert(log.id.clone(), truth);
            self.logs.push(log);
        }
    }

    fn catalogue(&self) -> Catalogue {
        Catalogue::new(self.points.clone(), self.logs.clone(), self.marks.clone())
    }

    /// The state that the server's rules give for a selection.
    fn restored(&self, chosen: &Selection) -> Result<Restoring, String> {
        let part = &chosen.sqlserver["d"];
        let at_mark = part.stop_at_mark.as_ref().map(|stop| Until::Lsn(stop.lsn));
        let until = at_mark.or(part.stop_at.map(Until::Time)).unwrap_or(Until::End);
        let medium = |stored: &StoredBackup| {
            let same = |medium: &&Medium| medium.backup.backup_set_guid == stored.backup.backup_set_guid;
            self.server.media.iter().find(same).ok_or("it names a backup that nobody took")
        };
        let (full, rest) = part.backups.split_first().ok_or("it has no backup")?;
        let mut state = restore_full(medium(full)?).ok_or("it does not begin with a full backup")?;
        for stored in rest {
            state = apply(&state, medium(stored)?, until)
                .ok_or_else(|| format!("the server refuses the {}", stored.backup.label()))?;
        }
        Ok(state)
    }

    /// What a selection says is what a restore of it gives.
    fn assert_true(&self, chosen: &Selection, when: &str) {
        let state = self.restored(chosen).unwrap_or_else(|why| panic!("{when}: {}: {why}", chosen.id));
        let truth = &self.truth[&chosen.id];
        let part = &chosen.sqlserver["d"];
        if part.stop_at_mark.is_some() {
            assert_eq!(state.changes, *truth, "{when}: {} is restored to another state", chosen.id);
        } else if chosen.kind == "time" {
            // Between a return's target and the return the true state may be in no backup; then the chain says so.
            let right = state.changes == self.server.truth(chosen.at);
            assert!(right || !part.problems.is_empty(), "{when}: {} is not as at {}", chosen.id, chosen.at);
        } else {
            assert!(
                chosen.kind == "differential" && state.changes.starts_with(truth),
                "{when}: {} does not hold its mark",
                chosen.id
            );
        }
    }
}

/// Everything that the catalogue says can be restored: each is true, and none is bad.
fn restorable(past: &Past, catalogue: &Catalogue, when: &str) -> BTreeMap<PointId, Selection> {
    let now = past.server.now;
    let mut found = BTreeMap::new();
    for record in catalogue.records() {
        if let Ok(chosen) = select(catalogue, &To::Id(record.id().to_string()), &[], now) {
            past.assert_true(&chosen, when);
            assert!(catalogue.bad(&chosen.id).is_none(), "{when}: {} is bad", chosen.id);
            found.insert(chosen.id.clone(), chosen);
        }
    }
    for to in [To::Latest, To::End] {
        if let Ok(chosen) = select(catalogue, &to, &[], now) {
            past.assert_true(&chosen, when);
        }
    }
    found
}

/// The oldest that may be chosen for a time is no later than it.
fn times_hold(past: &mut Past, catalogue: &Catalogue, when: &str) {
    let begins = past.server.truth_begins();
    let span = (past.server.now - begins).num_milliseconds().unsigned_abs() + 1;
    for _ in 0..2 {
        let at: DateTime<Utc> =
            begins + TimeDelta::milliseconds(i64::try_from(past.roll(span)).expect("a short story"));
        if let Ok(chosen) = select(catalogue, &To::At(at), &[], past.server.now) {
            assert!(chosen.at <= at, "{when}: {} is later than {at}", chosen.id);
            past.assert_true(&chosen, when);
        }
    }
}

/// Prunes by random rules; how many records went.
fn pruned(
    past: &mut Past,
    catalogue: &Catalogue,
    before: &BTreeMap<PointId, Selection>,
    when: &str,
) -> usize {
    let mut count = || usize::try_from(past.server.dice.roll(3)).expect("few");
    let keep = Keep { last: count(), daily: count(), weekly: count(), ..Keep::default() };
    let pitr = (count() == 0).then(|| TimeDelta::hours(i64::try_from(count()).expect("few")));
    let decisions = decide(catalogue, &Retention { keep, pitr }, past.server.now);
    let gone: BTreeSet<&str> =
        freed(catalogue, &decisions).iter().map(|artifact| artifact.path.as_str()).collect();
    let stays = |id: &PointId| decisions.iter().any(|one| one.id == *id && one.keep);
    let points = past.points.iter().filter(|point| stays(&point.id)).cloned().collect();
    let logs = past.logs.iter().filter(|log| stays(&log.id)).cloned().collect();
    let after = Catalogue::new(points, logs, past.marks.clone());
    for record in after.records() {
        for file in Record::artifacts(record) {
            assert!(!gone.contains(file.path.as_str()), "{when}: {} has lost {}", record.id(), file.path);
        }
    }
    let left = restorable(past, &after, when);
    if said("DRYDOCK_SEED").is_some() {
        for one in &decisions {
            let shown = before.get(&one.id).map(|chosen| {
                let part = &chosen.sqlserver["d"];
                let sets: Vec<String> = part.backups.iter().map(|stored| stored.backup.label()).collect();
                format!("vectors of {:?}, {}", chosen.vector_base, sets.join(", "))
            });
            println!("{} keep {}: {}; {}", one.id, one.keep, one.why, shown.unwrap_or_default());
            println!("  {:?}", select(&after, &To::Id(one.id.to_string()), &[], past.server.now).map(|_| ()));
        }
    }
    for id in before.keys().filter(|id| stays(id)) {
        let chosen =
            left.get(id).unwrap_or_else(|| panic!("{when}: {id} could be restored before the pruning"));
        for file in chosen.sqlserver["d"].backups.iter().flat_map(|stored| &stored.artifacts) {
            assert!(!gone.contains(file.path.as_str()), "{when}: {id} needs {}, which went", file.path);
        }
    }
    decisions.iter().filter(|one| !one.keep).count()
}

fn said(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name}: {text} is no number")))
}

#[test]
fn nothing_is_called_restorable_that_is_not_and_nothing_needed_is_pruned() {
    let seeds = match said("DRYDOCK_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..said("DRYDOCK_CATALOGUES").unwrap_or(CATALOGUES),
    };
    let count = seeds.end - seeds.start;
    let (mut chosen, mut forks, mut differentials, mut removed) = (0, 0, 0, 0);
    for seed in seeds {
        let when = format!("DRYDOCK_SEED={seed}");
        let mut past = Past::new(seed);
        let catalogue = past.catalogue();
        let found = restorable(&past, &catalogue, &when);
        times_hold(&mut past, &catalogue, &when);
        chosen += found.len();
        forks += usize::from(past.server.fork().as_str() != "fork-0");
        let has = |one: &Selection| {
            one.sqlserver["d"].backups.iter().any(|stored| stored.backup.kind == BackupType::Differential)
        };
        differentials += found.values().filter(|one| has(one)).count();
        removed += pruned(&mut past, &catalogue, &found, &when);
    }
    println!("| {count} | {forks} | {chosen} | {differentials} | {removed} |");
    let little =
        count >= CATALOGUES && (chosen < 1_000 || differentials < 300 || forks < 50 || removed < 800);
    assert!(!little, "the pasts say too little: {chosen} {differentials} {forks} {removed}");
}
