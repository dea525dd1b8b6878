//! What `postgres.recover` is told: [`RecoverInputs`], and what of it does not go together.

use std::path::PathBuf;

use drydock_recovery::backup::clock;
use drydock_step::{Ctx, PlanPath, Shape, StepError, inputs, known, maybe};
use indexmap::IndexMap;

use super::base_entry::BaseEntry;
use super::base_given::BaseGiven;
use super::recover_to::{RECOVER_TO, RecoverTo, lsn_number};

inputs! {
    /// Inputs of `postgres.recover`.
    pub struct RecoverInputs {
        /// The target of the artifact store.
        from: String = known(Shape::Text),
        /// A base backup as `postgres.basebackup` gives it; or a list of them, a full one first and then the incremental ones in order; or the
        /// folder where one lies in the store, `<prefix>/<label>`, whose `backup.json` is read. What an incremental one was made against is
        /// looked for beside it, unless a list is given.
        base: BaseGiven = known(Shape::Any),
        /// Where to stop: `{ name: … }`, `{ time: … }`, `{ lsn: … }`, `{ immediate: true }` or `{ end: true }`. At `end` the server is open
        /// for writing at once; everywhere else it waits, readable, until it is promoted.
        to: RecoverTo = known(RECOVER_TO),
        /// Where the WAL lies in the store, as `postgres.wal` puts it there. Without it only what lies in the base backup is recovered.
        wal: Option<String> = maybe(Shape::Text),
        /// The command that gives the server WAL in the place of `wal`: that of an archive which another tool keeps. What it gives is not
        /// looked at beforehand.
        restore_command: Option<String> = maybe(Shape::Text),
        /// The data folder, which is made: there must be nothing there, or an empty folder.
        into: PlanPath = known(Shape::Path),
        /// The port that the server listens on; that of the step's target.
        port: u16 = maybe(Shape::Integer).or("5432"),
        /// What it listens on.
        listen: String = maybe(Shape::Text).or("\"127.0.0.1\""),
        /// Folders with the server's programs, looked into before the places where packages put them.
        programs: Vec<PlanPath> = maybe(Shape::List(&Shape::Path)).or("[]"),
        /// Whom the server runs as; needed where the runner is root, as whom no server runs.
        os_user: Option<String> = maybe(Shape::Text),
        /// Which timeline to follow: `latest`, `current`, or a number.
        timeline: String = maybe(Shape::Text).or("\"latest\""),
        /// Open it for writing once it has arrived.
        promote: bool = maybe(Shape::Boolean).or("false"),
        /// Let it write to the archive that the copied server wrote to. A drill never may.
        archives: bool = maybe(Shape::Boolean).or("false"),
        /// Settings besides: `{ shared_buffers: "256MB" }`.
        settings: IndexMap<String, String> = maybe(Shape::Map(&Shape::Text)).or("{}"),
    }
}

impl RecoverInputs {
    /// Nothing, when the inputs go together as far as they are known.
    ///
    /// # Errors
    /// `input`, `postgres.chain`.
    pub(super) fn fits_together(&self) -> Result<(), StepError> {
        let refused = |message: String, help: &str| Err(StepError::new("input", message).help(help));
        if let Some(to) = self.to.value() {
            to.fits()?;
        }
        if let Some(chain) = self.base.value().and_then(BaseGiven::chain) {
            chain.fits()?;
        }
        let wal = self.wal.value().and_then(Option::as_ref);
        let command = self.restore_command.value().and_then(Option::as_ref);
        if wal.is_some() && command.is_some() {
            return refused(
                "`wal` and `restore_command` both say where WAL comes from; one of them is too much".into(),
                "leave one of them out",
            );
        }
        let Some(to) = self.to.value() else { return Ok(()) };
        let without =
            matches!(self.wal.value(), Some(None)) && matches!(self.restore_command.value(), Some(None));
        if without && !matches!(to, RecoverTo::Immediate | RecoverTo::End) {
            return refused(
                format!("nothing says where the WAL up to {to} comes from"),
                "give `wal`, or `restore_command`, or stop at `immediate: true`",
            );
        }
        self.base.value().and_then(BaseGiven::newest).map_or(Ok(()), |last| self.fits_base(last))
    }

    /// Nothing, when the place where it shall stop does not lie before the end of a base backup.
    ///
    /// # Errors
    /// `input`.
    pub(super) fn fits_base(&self, last: &BaseEntry) -> Result<(), StepError> {
        let refused = |message: String, help: &str| Err(StepError::new("input", message).help(help));
        let Some(to) = self.to.value() else { return Ok(()) };
        match to {
            // A server that is told so stops as soon as it is consistent, which is later than was asked for, and says nothing.
            RecoverTo::Time(time) if *time < last.ended_at => refused(
                format!(
                    "{time} lies before the end of {} at {}",
                    last.in_words(),
                    clock(last.ended_at),
                    time = clock(*time)
                ),
                "take an earlier base backup, or a later time",
            ),
            RecoverTo::Lsn(lsn) if lsn_number(lsn) < lsn_number(&last.end_lsn) => refused(
                format!("{lsn} lies before the end of {} at {}", last.in_words(), last.end_lsn),
                "take an earlier base backup, or a later place",
            ),
            _ => Ok(()),
        }
    }

    /// The data folder.
    ///
    /// # Errors
    /// `input`.
    pub(super) fn folder(&self, ctx: &Ctx) -> Result<PathBuf, StepError> {
        let into = self.into.known()?.resolved(&ctx.folder);
        std::path::absolute(&into).map_err(|error| {
            StepError::new("input", format!("`into`, {}, is no path: {error}", into.display()))
        })
    }
    /// Where programs are looked for first.
    ///
    /// # Errors
    /// `internal`, when they are not known yet.
    pub(super) fn folders(&self, ctx: &Ctx) -> Result<Vec<PathBuf>, StepError> {
        Ok(self.programs.known()?.iter().map(|folder| folder.resolved(&ctx.folder)).collect())
    }
}
