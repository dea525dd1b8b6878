//! How much would be lost if the servers were gone now: [`protected`] finds the newest point that a restore could be made from without them.

use drydock_recovery::Time;
use drydock_recovery::backup::clock;
use drydock_recovery::catalogue::{Record, Selection, To, select};
use drydock_recovery::manifest::{PointId, StoredBackup};
use drydock_step::{ArtifactStore, StepError};
use serde::Serialize;

use super::catalogue::Found;
use super::selected::missing;

/// How many points are tried before it is said that none counts.
const TRIES: usize = 200;

/// The newest point or log point that counts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Protected {
    /// Its id.
    pub id: PointId,
    /// `point`, `log` or `differential`.
    pub kind: &'static str,
    /// The moment that it stands for.
    pub at: Time,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Protection {
    /// The newest that counts, where one does.
    pub newest: Option<Protected>,
    /// What is newer and does not count, and why.
    pub passed_over: Vec<String>,
}

/// The newest sealed point or log point of the current line of history that is complete, not bad, whose files are all there, and none of
/// whose backups lies on the server's own media alone.
///
/// # Errors
/// What the store says.
pub async fn protected(store: &dyn ArtifactStore, found: &Found, now: Time) -> Result<Protection, StepError> {
    let catalogue = found.catalogue();
    let current = catalogue.current();
    let mut protection = Protection::default();
    let mut tries = 0;
    for record in catalogue.records() {
        let why = if !current.has(record) {
            Some("it lies on an abandoned line of history".to_owned())
        } else if let Some(why) = catalogue.barred(record.id()) {
            Some(why)
        } else if let Some(why) = only_on_server_of(record) {
            Some(why)
        } else if tries == TRIES {
            Some(format!("{TRIES} newer ones were tried"))
        } else {
            tries += 1;
            match select(&catalogue, &To::Id(record.id().to_string()), &[], now) {
                Err(error) => Some(error.to_string()),
                Ok(selection) => match only_on_server(&selection) {
                    Some(why) => Some(why),
                    None => missing(store, &selection).await?,
                },
            }
        };
        match why {
            None => {
                let (id, kind, at) = (record.id().clone(), record.kind(), record.at());
                protection.newest = Some(Protected { id, kind, at });
                return Ok(protection);
            }
            Some(why) => {
                protection.passed_over.push(format!("{} of {}: {why}", record.id(), clock(record.at())));
            }
        }
    }
    Ok(protection)
}

fn only_on_server_of(record: Record<'_>) -> Option<String> {
    let mut parts = record.databases().iter();
    parts.find_map(|(name, part)| on_server(name, &part.server.name, &part.backups))
}

fn only_on_server(selection: &Selection) -> Option<String> {
    let mut parts = selection.sqlserver.iter();
    parts.find_map(|(name, part)| on_server(name, &part.server.name, &part.backups))
}

/// That a backup is not off the server that made it.
fn on_server(name: &str, server: &str, backups: &[StoredBackup]) -> Option<String> {
    let there = backups.iter().find(|stored| stored.artifacts.is_empty())?;
    let label = there.backup.label();
    Some(format!("the {label} of {name} lies on {server} alone, and counts once it is off that server"))
}
