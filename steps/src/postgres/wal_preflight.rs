//! What can be seen before anything is streamed: [`Outlook`] finds what would end it soon, and changes nothing.

use std::path::Path;

use drydock_step::StepError;

use super::segment::SegmentSize;
use super::server::ServerFacts;
use super::session::Session;
use super::wal_archive::{System, WalArchive, gap};
use super::wal_server::SlotFacts;
use super::wal_spool::{begins_at, looked_at};

/// What is looked at.
pub(super) struct Outlook<'a> {
    pub(super) session: &'a Session,
    pub(super) facts: &'a ServerFacts,
    pub(super) archive: WalArchive<'a>,
    pub(super) spool: &'a Path,
    pub(super) slot: &'a str,
}

impl Outlook<'_> {
    /// What would end it, and what the server says of the slot. A gap is left out where it is accepted.
    ///
    /// # Errors
    /// What the server or the store says.
    pub(super) async fn hindrances(
        &self,
        accept_gap: bool,
    ) -> Result<(Vec<StepError>, SlotFacts), StepError> {
        let mut found = Vec::new();
        let slot = SlotFacts::of(self.session, self.slot).await?;
        let size = segment_size(self.facts)?;
        let is_lost = slot.wal_status.as_deref() == Some("lost");
        if is_lost && !accept_gap {
            found.push(gap(&format!("the server has given up what slot {} keeps", self.slot)));
        }
        if let Some(system_identifier) = self.facts.system_identifier.value.clone() {
            let first_seen = String::new();
            let ours = System { system_identifier, segment_size: size.bytes(), first_seen };
            found.extend(self.archive.is_of(&ours).await.err());
        }
        match looked_at(self.spool, size) {
            Ok(files) if !is_lost && !accept_gap => {
                let restart = match &slot.restart_lsn {
                    Some(lsn) => Some(lsn.clone()),
                    None => self.last_checkpoint().await,
                };
                let holdings = self.archive.holdings(size).await?;
                let begin = begins_at(&files, restart.as_deref(), size);
                found.extend(begin.and_then(|begin| holdings.lead_to(begin, size).err()));
            }
            Ok(_) => {}
            Err(error) => found.push(error),
        }
        Ok((found, slot))
    }

    /// From where on a slot keeps WAL that is made now; nothing where the role may not see it.
    async fn last_checkpoint(&self) -> Option<String> {
        let sql = "SELECT redo_lsn::text AS redo FROM pg_control_checkpoint()";
        let answer = self.session.ask("asking for the last checkpoint", sql).await.ok()?;
        answer.first().ok()?.text("redo").ok()?.map(str::to_owned)
    }
}

/// How long the server's segments are.
///
/// # Errors
/// `postgres.answer`, when there is no such length.
pub(super) fn segment_size(facts: &ServerFacts) -> Result<SegmentSize, StepError> {
    u64::try_from(facts.segment_size).ok().and_then(SegmentSize::parse).ok_or_else(|| {
        let message = format!("the server says segments of {} bytes", facts.segment_size);
        StepError::new("postgres.answer", message)
    })
}
