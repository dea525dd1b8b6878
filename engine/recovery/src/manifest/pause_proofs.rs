//! The claims about a point as a whole: that it was made in a pause, that the scripts of its servers are there, that its files are locked.

use indexmap::IndexMap;
use serde_json::Value;

use crate::Time;
use crate::backup::clock;
use crate::manifest::artifact::Artifact;
use crate::manifest::claim::Claim;
use crate::manifest::evidence::{Evidence, LockEvidence};
use crate::manifest::pause::{PauseEvidence, PausePart};
use crate::manifest::proofs::Proofs;

/// What the store is in a claim.
const STORE: &str = "store";

/// Who the application is in a claim.
const APPLICATION: &str = "pause";

impl Proofs<'_> {
    /// Proves that nobody wrote: the application says so on both sides, of one lease, and nothing that was counted has changed.
    pub(crate) fn pause(&mut self, pause: &PauseEvidence, evidence: &Evidence) -> PausePart {
        self.record(Claim::Paused, APPLICATION, paused(pause, evidence));
        let expires_at = pause.before.get("expires_at").and_then(Value::as_str).map(str::to_owned);
        PausePart { expires_at }
    }

    /// Proves that nobody can remove a file before its time: the store says so of each.
    pub(crate) fn locks(&mut self, locks: &LockEvidence, now: Time) {
        self.record(Claim::ArtifactsLocked, STORE, locked(locks, now));
    }

    /// Proves that each script was read back.
    pub(crate) fn server_objects(&mut self, scripts: &IndexMap<String, Artifact>) {
        for (name, script) in scripts {
            let rehashed = self.rehashed(&[script]);
            self.record(Claim::ArtifactsRehashed, name, rehashed);
        }
    }
}

fn locked(locks: &LockEvidence, now: Time) -> Result<String, String> {
    for (path, found) in &locks.found {
        match found {
            None => return Err(format!("{path} is not locked")),
            Some(lock) if lock.until <= now => {
                return Err(format!("{path} was locked until {}", clock(lock.until)));
            }
            Some(lock) if lock.mode != locks.mode => {
                return Err(format!("{path} is locked by {}, and {} was asked for", lock.mode, locks.mode));
            }
            Some(_) => {}
        }
    }
    let first = locks.found.values().flatten().map(|lock| lock.until).min();
    let until = first.map_or_else(String::new, |until| format!(", the first until {}", clock(until)));
    Ok(format!("{} files are locked ({}){until}", locks.found.len(), locks.mode))
}

fn paused(pause: &PauseEvidence, evidence: &Evidence) -> Result<String, String> {
    for (when, told) in [("before the snapshots", &pause.before), ("after the mark", &pause.after)] {
        if told.get("enabled") != Some(&Value::Bool(true)) {
            return Err(format!("the application was not paused {when}"));
        }
        match told.get("in_flight").and_then(Value::as_u64) {
            Some(0) => {}
            Some(writers) => return Err(format!("{writers} writers were in flight {when}")),
            None => return Err(format!("the application does not tell {when} what is in flight")),
        }
    }
    let lease = |told: &Value| told.get("expires_at").cloned().unwrap_or(Value::Null);
    if lease(&pause.before) != lease(&pause.after) {
        return Err(format!(
            "the lease until {} before the snapshots was another after the mark, until {}",
            lease(&pause.before),
            lease(&pause.after)
        ));
    }
    if pause.watermarks_before != pause.watermarks_after {
        return Err(format!(
            "the watermarks {} before the snapshots were {} after the mark",
            pause.watermarks_before, pause.watermarks_after
        ));
    }
    unchanged(evidence)
}

/// Nothing that was counted has changed.
fn unchanged(evidence: &Evidence) -> Result<String, String> {
    let collections = evidence.qdrant.iter().flat_map(|found| &found.collections);
    for one in collections {
        if one.waiting > 0 {
            return Err(format!(
                "{} updates of {} were accepted and not applied",
                one.waiting, one.collection
            ));
        }
        if !one.points.is_exact() {
            return Err(format!(
                "{} had {} points before its snapshots and {} after",
                one.collection, one.points.low, one.points.high
            ));
        }
    }
    for (name, cluster) in &evidence.postgres {
        if let Some((table, _)) = cluster.tables.iter().find(|(_, band)| !band.is_exact()) {
            return Err(format!("the rows of {table} of {name} changed around the restore point"));
        }
    }
    for database in evidence.sqlserver.values() {
        if let Some((table, _)) = database.rows.iter().find(|(_, rows)| rows.before != rows.after) {
            return Err(format!("the rows of {table} changed around the mark"));
        }
    }
    Ok("nothing was in flight, no update waited, and no count changed from before the snapshots until after the mark".to_owned())
}
