//! From inputs to statements: [`plan`], and what a preflight tells a dry run of it: [`Known`].

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::restore_beside::Decision;
use super::restore_chain::{MarkStop, RestoreChain};
use super::restore_inputs::RestoreInputs;
use super::restore_ready::Shown;
use super::restore_statement::Plan;
use super::sql::quoted;

/// What a restore says to the server, beside its chain.
pub(super) fn plan(inputs: &RestoreInputs, database: String, shown: Shown, replace: bool) -> Plan {
    let on = |input: Option<&bool>| input.copied().unwrap_or(false);
    let mut transfer = Vec::new();
    if let Some(Some(size)) = inputs.max_transfer_size.value() {
        transfer.push(format!("MAXTRANSFERSIZE = {}", size.0));
    }
    if let Some(Some(count)) = inputs.buffer_count.value() {
        transfer.push(format!("BUFFERCOUNT = {count}"));
    }
    let mut keep = Vec::new();
    keep.extend(on(inputs.keep_replication.value()).then_some("KEEP_REPLICATION"));
    keep.extend(on(inputs.keep_cdc.value()).then_some("KEEP_CDC"));
    Plan {
        database,
        media: shown.media,
        moves: shown.moves,
        replace,
        checksum: inputs.checksum.value().copied().unwrap_or(true),
        stats: inputs.stats.value().copied().flatten(),
        transfer,
        standby: inputs.standby.value().cloned().flatten().map(|undo| quoted(&undo)),
        keep,
        restricted: on(inputs.restricted_user.value()),
    }
}

/// Where the backups lie in the store, for a dry run that has not asked the server.
pub(super) fn unasked(chain: &RestoreChain, replace: bool) -> Shown {
    let media = |artifacts: &Vec<String>, media: &Vec<String>| -> Vec<String> {
        let paths = if artifacts.is_empty() { media } else { artifacts };
        paths.iter().map(|path| quoted(path)).collect()
    };
    Shown {
        media: chain.pieces.iter().map(|piece| media(&piece.artifacts, &piece.backup.media)).collect(),
        moves: vec!["MOVE (each file to its place on the server)".into()],
        fenced: replace,
        place: None,
    }
}

/// What a preflight learned, for each database in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    pub(super) databases: Vec<Shown>,
    /// Which way the restore would go.
    #[serde(default)]
    pub(super) decision: Option<Decision>,
}

impl Known {
    /// The facts of a dry run; nothing is known where nobody was asked.
    pub(super) fn of(facts: &Value) -> Self {
        Self::deserialize(facts).unwrap_or_default()
    }

    /// The places of marks.
    pub(super) fn places(&self) -> Vec<Option<MarkStop>> {
        self.databases.iter().map(|shown| shown.place.clone()).collect()
    }
}
