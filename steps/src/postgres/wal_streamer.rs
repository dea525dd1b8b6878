//! The work of `postgres.wal`: [`Streamer`] keeps pg_receivewal going, moves what is whole into the archive, and tells how far it is.
//!
//! Nothing is lost when it ends in the middle: pg_receivewal says to the slot only what is synced in the spool, a segment leaves the spool
//! only when it is synced in the store, and the newest whole one stays there, for it says where to go on.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use drydock_step::{ChildEnd, ChildOutput, ChildSpec, Connection, Ctx, StepError};
use serde_json::{Value, json};

use super::program_access::ProgramAccess;
use super::programs::Program;
use super::segment::{Segment, SegmentSize, WalFile};
use super::sql::quoted;
use super::target::PostgresConnection;
use super::wal_archive::{Holdings, Streaming, WalArchive, gap};
use super::wal_server::{Lag, SlotFacts};
use super::wal_spool::{Spool, begins_at};
use super::wal_words::{Meaning, meaning};
use crate::rehash::hex;

/// Between two looks at the spool and the server.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Between two signs of life in the store, in milliseconds.
const TELL_AGAIN: i64 = 5_000;
/// How old the last sign of life of another streamer may be, in milliseconds, before it counts as gone.
pub(super) const ALIVE: i64 = 30_000;
/// The longest wait before the program is started again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Between two tries to store, in milliseconds, while the store takes nothing.
const STORE_AGAIN: i64 = 5_000;
/// What a store says that does not do its work.
const STORE_FAILED: &str = "artifact.io";
/// How often the server is asked whether a walsender is gone that nobody reads from, and between two of them.
const LEAVES: (u32, Duration) = (60, Duration::from_millis(250));

/// When streaming has done what was asked of it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Enough {
    /// When the segment that holds this place is in the archive.
    pub(super) until: Option<u64>,
    /// After so many milliseconds since the step began.
    pub(super) after_ms: Option<i64>,
}

/// What is going on besides: the program, or the pause before it is started again.
type Going<'g> = Pin<Box<dyn Future<Output = Result<Option<ChildEnd>, StepError>> + Send + 'g>>;

/// One attempt's streaming.
pub(super) struct Streamer<'a> {
    pub(super) ctx: &'a Ctx,
    pub(super) connection: Option<Arc<dyn Connection>>,
    pub(super) archive: WalArchive<'a>,
    pub(super) spool: Spool,
    pub(super) size: SegmentSize,
    pub(super) slot: &'a str,
    pub(super) create_slot: bool,
    pub(super) accept_gap: bool,
    pub(super) enough: Enough,
    pub(super) max_rpo_ms: Option<i64>,
    pub(super) state: Streaming,
    pub(super) holdings: Holdings,
    pub(super) lag: Lag,
    pub(super) is_late: bool,
    /// When a store that takes nothing is tried again.
    pub(super) store_again_ms: Option<i64>,
}

impl Streamer<'_> {
    /// Streams until it is enough.
    ///
    /// # Errors
    /// `postgres.wal_gap`, `postgres.wal_differs` and their kin; `cancelled`.
    pub(super) async fn stream(&mut self, program: &Program, arguments: &[String]) -> Result<(), StepError> {
        self.state.caught_up(&self.holdings, self.size);
        self.tell().await?;
        self.sweep().await?;
        self.slot_is_there().await?;
        let mut pause = Duration::ZERO;
        loop {
            self.spool.without_unfilled(self.size)?;
            let (begun_ms, begun_at) = (self.ctx.now_ms(), self.state.flushed_lsn.clone());
            let end = match self.beside(self.program(program, arguments)?).await? {
                None => return self.sweep().await,
                Some(end) => end,
            };
            self.swept().await?;
            match meaning(&end) {
                Meaning::Broken(error) => return Err(error),
                Meaning::Gap(why) if self.accept_gap => {
                    self.ctx.log(format!("WAL is missing from here on, as was accepted: {why}"));
                    self.over_the_gap().await?;
                }
                Meaning::Gap(why) => return Err(gap(&why)),
                Meaning::Again(why) => self.ctx.log(format!("streaming is begun again: {why}")),
            }
            self.state.restarts += 1;
            // What has run for a while, or has brought something, was no failed start.
            let went_well = self.ctx.now_ms() - begun_ms > ALIVE || self.state.flushed_lsn != begun_at;
            pause = if went_well { Duration::ZERO } else { (pause * 2).max(LOOK_AGAIN).min(LONGEST_PAUSE) };
            let waits: Going<'_> = Box::pin(async move {
                tokio::time::sleep(pause).await;
                Ok(None)
            });
            if self.paused(waits).await? {
                return self.sweep().await;
            }
        }
    }

    /// The program, which is killed with its group when this is dropped.
    fn program(&self, program: &Program, arguments: &[String]) -> Result<Going<'static>, StepError> {
        let connection = self.connection.as_deref().map(PostgresConnection::of).transpose()?;
        let settings = connection
            .map(PostgresConnection::settings)
            .ok_or_else(|| StepError::internal("streaming has no settings"))?;
        let access = ProgramAccess::of(self.ctx.host.scratch(), settings, &settings.database)?;
        let spec = ChildSpec {
            argv: [std::slice::from_ref(&program.path), arguments].concat(),
            env: access.variables(),
            cwd: self.ctx.folder.to_path_buf(),
            stdin: Vec::new(),
            stdout: ChildOutput::Dropped,
        };
        let ctx = self.ctx.clone();
        Ok(Box::pin(async move {
            let end = ctx.spawn(spec).await;
            drop(access);
            end.map(Some)
        }))
    }

    /// The end of the program, or nothing when it is enough before.
    async fn beside(&mut self, going: Going<'_>) -> Result<Option<ChildEnd>, StepError> {
        tokio::select! {
            end = going => end,
            enough = self.attend() => enough.map(|()| None),
        }
    }

    /// Whether it is enough before the pause is over.
    async fn paused(&mut self, going: Going<'_>) -> Result<bool, StepError> {
        let ctx = self.ctx.clone();
        tokio::select! {
            _ = going => Ok(false),
            () = ctx.cancelled() => Err(StepError::cancelled()),
            enough = self.attend() => enough.map(|()| true),
        }
    }

    /// Looks after everything, and returns when it is enough.
    async fn attend(&mut self) -> Result<(), StepError> {
        loop {
            self.swept().await?;
            self.look().await?;
            if self.is_enough().await? {
                return Ok(());
            }
            if self.ctx.now_ms() - self.state.at_ms >= TELL_AGAIN {
                let told = self.tell().await;
                self.patient(told)?;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn is_enough(&self) -> Result<bool, StepError> {
        if let Some(lsn) = self.enough.until {
            let number = lsn / self.size.bytes();
            if self.holdings.segments.iter().any(|segment| segment.number == number) {
                return Ok(true);
            }
        }
        if self.enough.after_ms.is_some_and(|after| self.ctx.now_ms() - self.state.began_ms >= after) {
            return Ok(true);
        }
        let wish = match self.archive.stop_wish().await {
            // A store that does not answer asks for nothing.
            Err(error) if error.code == STORE_FAILED => return Ok(false),
            wish => wish?,
        };
        Ok(wish.is_some_and(|wish| wish.run == self.state.run && wish.step == self.state.step))
    }

    /// Sweeps, unless the store takes nothing for now: what comes meanwhile lies on the runner's disk, and is stored later.
    async fn swept(&mut self) -> Result<(), StepError> {
        if self.store_again_ms.is_some_and(|again| self.ctx.now_ms() < again) {
            return Ok(());
        }
        let swept = self.sweep().await;
        if swept.is_ok() && self.store_again_ms.take().is_some() {
            self.ctx.log("the store takes WAL again");
        }
        self.patient(swept)
    }

    /// Puts a failure of the store itself off, such as a disk that is full.
    fn patient(&mut self, done: Result<(), StepError>) -> Result<(), StepError> {
        match done {
            Err(error) if error.code == STORE_FAILED => {
                if self.store_again_ms.is_none() {
                    let remedy = error.help.map_or(String::new(), |help| format!("; {help}"));
                    self.ctx.log(format!(
                        "the store takes no WAL, which stays in the spool until it does: {}{remedy}",
                        error.message
                    ));
                }
                self.store_again_ms = Some(self.ctx.now_ms() + STORE_AGAIN);
                Ok(())
            }
            done => done,
        }
    }

    /// Moves what is whole into the archive. The newest whole segment stays in the spool as well.
    pub(super) async fn sweep(&mut self) -> Result<(), StepError> {
        let files = self.spool.files(self.size)?;
        let newest = files.iter().filter_map(|(_, file)| match file {
            WalFile::Segment(segment) => Some(*segment),
            _ => None,
        });
        let newest = newest.max();
        for (name, file) in files {
            match file {
                WalFile::History(timeline) if !self.holdings.origins.contains_key(&timeline) => {
                    let bytes = self.spool.read(&name).await?;
                    let origin = super::segment::Origin::parse(&String::from_utf8_lossy(&bytes));
                    // One that is still written has no last line yet.
                    if let Some(origin) = origin {
                        self.archive.put_once(&name, bytes).await?;
                        self.holdings.origins.insert(timeline, origin);
                    }
                }
                WalFile::Segment(segment) => {
                    if !self.holdings.segments.contains(&segment) || Some(segment) != newest {
                        self.stored(&name, segment).await?;
                    }
                    if Some(segment) != newest {
                        self.spool.remove(segment, self.size)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn stored(&mut self, name: &str, segment: Segment) -> Result<(), StepError> {
        self.follows(segment)?;
        let bytes = self.spool.read(name).await?;
        let length = bytes.len() as u64;
        let now = self.now_text();
        self.archive.put_segment(name, bytes, &now).await?;
        // What was put by a sweep that was broken off right behind that is there already, and counts as well.
        if !self.holdings.segments.contains(&segment) {
            self.state.counts(name, length);
        }
        // A gap is accepted once: the next one is told again.
        let is_behind = self.holdings.newest().is_some_and(|newest| segment.number > newest.number + 1);
        self.accept_gap &= !is_behind;
        self.holdings.segments.insert(segment);
        self.state.timeline = Some(segment.timeline);
        Ok(())
    }

    /// Nothing, when nothing is missing before this segment.
    fn follows(&self, segment: Segment) -> Result<(), StepError> {
        if self.accept_gap { Ok(()) } else { self.holdings.lead_to(segment, self.size) }
    }

    /// Asks the server how far it is. One that does not answer is no failure here: the program's end says more.
    async fn look(&mut self) -> Result<(), StepError> {
        if let Some(facts) = self.asked().await {
            self.lag.seen(self.ctx.now_ms(), &facts.current_lsn, facts.flushed_lsn.as_deref());
            if facts.wal_status.as_deref() == Some("lost") && !self.accept_gap {
                return Err(gap(&format!("the server has given up what slot {} keeps", self.slot)));
            }
            if facts.flushed_lsn.is_some() {
                self.state.flushed_lsn = facts.flushed_lsn;
            }
        }
        self.state.rpo_s = self.lag.seconds(self.ctx.now_ms());
        self.state.max_rpo_s = self.state.max_rpo_s.max(self.state.rpo_s);
        #[allow(clippy::cast_precision_loss, reason = "milliseconds of an objective")]
        let is_late = self.max_rpo_ms.is_some_and(|max| self.state.rpo_s * 1000.0 > max as f64);
        if is_late && !self.is_late {
            self.ctx.log(format!(
                "the newest WAL on this runner is {:.0} s old, which is more than `max_rpo`",
                self.state.rpo_s
            ));
        }
        self.is_late = is_late;
        self.state.late |= is_late;
        let last = self.state.last.as_deref().unwrap_or("no segment yet");
        let stuck = if self.store_again_ms.is_some() { ", the store takes nothing" } else { "" };
        let phase = format!("RPO {:.1} s, {last}{stuck}", self.state.rpo_s);
        self.ctx.progress(self.state.segments, None, "segments", phase);
        Ok(())
    }

    async fn asked(&mut self) -> Option<SlotFacts> {
        let held = self.connection.clone();
        let connection = PostgresConnection::of(held.as_deref()?).ok()?;
        match SlotFacts::of(connection.session(), self.slot).await {
            Ok(facts) => Some(facts),
            Err(_) => {
                // The settings of the old one are needed until there is a new one.
                if let Ok(new) = self.ctx.connection().await {
                    self.connection = Some(new);
                }
                None
            }
        }
    }

    /// Makes the slot where it is wanted, and sees that what it keeps follows on what is in the archive.
    async fn slot_is_there(&mut self) -> Result<(), StepError> {
        let mut facts = self.slot_facts().await?;
        for _ in 0..LEAVES.0 {
            // A walsender whose runner was killed notices that soon.
            if !facts.active {
                break;
            }
            tokio::time::sleep(LEAVES.1).await;
            facts = self.slot_facts().await?;
        }
        if facts.active {
            let message = format!("somebody else reads from the replication slot {}", self.slot);
            return Err(StepError::transient("postgres.wal_busy", message)
                .help("see pg_stat_replication for who it is; give each streamer a `slot` of its own"));
        }
        if facts.is_logical {
            let message = format!("the replication slot {} is one for logical decoding", self.slot);
            return Err(StepError::new("input", message).help("give `slot` another name"));
        }
        if facts.wal_status.as_deref() == Some("lost") {
            if !self.accept_gap {
                return Err(gap(&format!("the server has given up what slot {} keeps", self.slot)));
            }
            return self.over_the_gap().await;
        }
        if !facts.exists {
            self.made().await?;
            facts = self.slot_facts().await?;
        }
        self.begins_in_time(&facts)
    }

    async fn slot_facts(&self) -> Result<SlotFacts, StepError> {
        let connection = self.connection.as_deref().ok_or_else(|| StepError::internal("no connection"))?;
        SlotFacts::of(PostgresConnection::of(connection)?.session(), self.slot).await
    }

    /// Makes the slot; it keeps WAL from the server's last checkpoint on.
    async fn made(&self) -> Result<(), StepError> {
        if !self.create_slot {
            let message = format!("there is no replication slot {}", self.slot);
            return Err(StepError::new("postgres.wal_gap", message)
                .help("say `create_slot: true`; where there was one, a new base backup is needed as well"));
        }
        self.work("making the replication slot", &slot_statement(self.slot)).await
    }

    async fn work(&self, doing: &str, sql: &str) -> Result<(), StepError> {
        let connection = self.connection.as_deref().ok_or_else(|| StepError::internal("no connection"))?;
        PostgresConnection::of(connection)?.session().work(doing, sql).await.map(drop)
    }

    /// Nothing, when streaming begins at the newest segment of the archive or right behind it.
    fn begins_in_time(&self, facts: &SlotFacts) -> Result<(), StepError> {
        let files = self.spool.files(self.size)?;
        match begins_at(&files, facts.restart_lsn.as_deref(), self.size) {
            Some(begin) => self.follows(begin),
            None => Ok(()),
        }
    }

    /// Begins anew where the server can: the spool is put aside, a lost slot is made again.
    async fn over_the_gap(&mut self) -> Result<(), StepError> {
        self.spool.set_aside(self.size)?;
        let facts = self.slot_facts().await?;
        if facts.wal_status.as_deref() == Some("lost") {
            let sql = format!("SELECT pg_drop_replication_slot({})", quoted(self.slot));
            self.work("dropping the lost replication slot", &sql).await?;
            return self.made().await;
        }
        if !facts.exists {
            return self.made().await;
        }
        Ok(())
    }

    fn now_text(&self) -> String {
        drydock_recovery::Time::from_timestamp_millis(self.ctx.now_ms())
            .map(drydock_recovery::backup::clock)
            .unwrap_or_default()
    }

    /// Says in the store that it streams.
    async fn tell(&mut self) -> Result<(), StepError> {
        self.state.at_ms = self.ctx.now_ms();
        self.archive.tell(&self.state).await
    }

    /// Says that it has ended, and returns when the server has seen that, or soon after.
    pub(super) async fn ended(&mut self, done: bool) -> Result<(), StepError> {
        if !done {
            // What can be stored is; what cannot stays in the spool, and what was wrong is told already.
            let _ = self.sweep().await;
        }
        for _ in 0..LEAVES.0 {
            if !self.asked().await.is_some_and(|facts| facts.active) {
                break;
            }
            tokio::time::sleep(LEAVES.1).await;
        }
        (self.state.ended, self.state.done) = (true, done);
        self.tell().await
    }

    /// What it has done.
    pub(super) fn outputs(&self) -> Value {
        outputs(&self.state)
    }
}

/// The outputs of a step that has left this.
pub(super) fn outputs(state: &Streaming) -> Value {
    json!({
        "segments": state.segments, "bytes": state.bytes, "first": state.first, "last": state.last,
        "flushed_lsn": state.flushed_lsn, "timeline": state.timeline, "rpo_s": state.rpo_s,
        "max_rpo_s": state.max_rpo_s, "late": state.late, "restarts": state.restarts,
    })
}

/// The statement that makes a slot.
pub(super) fn slot_statement(slot: &str) -> String {
    format!("SELECT pg_create_physical_replication_slot({}, true)", quoted(slot))
}

/// The name of a plan's own slot: the same for each run of the same step into the same prefix.
pub(super) fn own_slot(ctx: &Ctx, prefix: &str) -> String {
    let digest = <sha2::Sha256 as sha2::Digest>::digest(format!("{}/{}/{prefix}", ctx.plan, ctx.step));
    format!("drydock_wal_{}", hex(&digest).get(..12).unwrap_or_default())
}
