//! A restore of one database on its way: [`Run`] sends the statements one by one and looks after each where the server stands.

use drydock_recovery::backup::BackupType;
use drydock_recovery::lsn::Lsn;
use drydock_step::{Ctx, StepError};
use serde_json::json;

use super::access::AccessFacts;
use super::database::DatabaseFacts;
use super::failure::after_the_work;
use super::messages::heard;
use super::restore_chain::Stop;
use super::restore_place::{checked_place, is_left};
use super::restore_proof::proved;
use super::restore_ready::Ready;
use super::restore_standing::{Applied, Begun, Restored};
use super::restore_statement::{Plan, Stage};
use super::restore_subject::Subject;
use super::session::Session;
use super::sql::Identifier;
use super::target::SqlServerConnection;
use super::users::{Entered, evicted, put_back};
use super::watch::watched;

/// A restore on its way.
pub(super) struct Run<'a> {
    pub(super) ctx: &'a Ctx,
    pub(super) server: &'a SqlServerConnection,
    pub(super) subject: &'a Subject,
    pub(super) ready: &'a Ready,
    pub(super) plan: Plan,
    /// How many sets an earlier attempt has restored; nothing where it is to be begun.
    pub(super) done: Option<usize>,
    /// Whether an earlier attempt has opened it, or left it readable.
    pub(super) is_open: bool,
}

impl Run<'_> {
    async fn facts(&self) -> Result<Option<DatabaseFacts>, StepError> {
        DatabaseFacts::ask(self.server.session(), &self.subject.database).await
    }

    /// Brings the database to its point, with all sets that are still to be restored; where its log then stands.
    ///
    /// # Errors
    /// What the server says; a database that was only closed is open again.
    pub(super) async fn brought(&self) -> Result<Option<Lsn>, StepError> {
        let existing = self.ready.existing.as_ref();
        if self.done.is_some() && self.subject.noted.begun.is_none() {
            // A database that waited for logs is taken over where it stands.
            self.begun(Some("STANDBY".into())).await?;
        }
        match self.done {
            None => self.all_sets().await,
            Some(_) if self.is_open => Ok(self.redo_of_all()),
            Some(done) if done == self.subject.chain.pieces.len() => {
                Ok(existing.and_then(|facts| Some(facts.redo()?.0)))
            }
            Some(done) => self.sets_from(done).await,
        }
    }

    /// Where the log stood once every set was restored, as it was noted then.
    fn redo_of_all(&self) -> Option<Lsn> {
        let all = self.subject.chain.pieces.len();
        self.subject.noted.applied.as_ref().filter(|applied| applied.sets == all)?.redo_lsn
    }

    /// What the database was before the first attempt closed it.
    fn was(&self) -> Option<String> {
        let now = self.ready.existing.as_ref().map(|facts| facts.state_word.clone());
        let before = self.subject.noted.begun.as_ref().and_then(|begun| begun.was.clone());
        match (&now, before) {
            (Some(now), Some(before)) if now == "OFFLINE" => Some(before),
            _ => now,
        }
    }

    /// Keeps what there is now, before it is changed.
    async fn begun(&self, was: Option<String>) -> Result<(), StepError> {
        let existing = self.ready.existing.as_ref();
        let newest = Restored::newest(self.server.session(), &self.subject.database).await?;
        let begun = Begun {
            was,
            fork: existing.and_then(|facts| facts.fork.clone()),
            history: newest.map(|newest| newest.id()),
            session_id: self.server.facts().await?.session_id,
        };
        self.ctx.note(self.subject.note(json!({ "begun": begun }))).await
    }

    /// Keeps others out and restores every set.
    async fn all_sets(&self) -> Result<Option<Lsn>, StepError> {
        let (session, database) = (self.server.session(), &self.subject.database);
        let was = self.was();
        self.begun(was.clone()).await?;
        let restored = async {
            if self.ready.fenced() {
                for inside in Entered::all(session, database).await.unwrap_or_default() {
                    self.ctx.log(format!("database {database} is closed to {inside}"));
                }
                let fence = self.plan.fence();
                session.work(&fence.doing, &fence.sql).await?;
            }
            self.sets_from(0).await
        };
        match restored.await {
            Err(error) if !error.unknown => Err(put_back(session, database, was.as_deref(), error).await),
            done => done,
        }
    }

    /// Restores the sets from this one on; where the log then stands.
    async fn sets_from(&self, first: usize) -> Result<Option<Lsn>, StepError> {
        let (session, database) = (self.server.session(), &self.subject.database);
        if self.ready.existing.as_ref().is_some_and(|facts| facts.is_standby) {
            // ALTER DATABASE cannot close a database that waits for logs; those who read it are ended one by one.
            for ended in evicted(session, database).await? {
                self.ctx.log(format!("database {database} is closed to {ended}"));
            }
        }
        let mut redo = None;
        for (index, stage) in self.plan.sets(&self.subject.chain).into_iter().enumerate().skip(first) {
            let (done, texts) = heard(watched(self.ctx, self.server, &stage.doing, &stage.sql)).await;
            for text in texts.iter().filter(|text| !text.ends_with("percent processed.")) {
                self.ctx.log(text);
            }
            done?;
            redo = self.applied(index, &stage, is_left(&texts)).await.map_err(|error| {
                // The set is restored, whatever we could not find out about it.
                if error.code.starts_with("restore.") { error } else { after_the_work(error) }
            })?;
            if self.is_reached(index, redo) {
                break;
            }
        }
        Ok(redo)
    }

    /// Whether the moment to stop at lay in the log of this index already: nothing is applied after it.
    fn is_reached(&self, index: usize, redo: Option<Lsn>) -> bool {
        let piece = self.subject.chain.pieces.get(index).map(|piece| &piece.backup);
        let inside = piece.is_some_and(|set| {
            set.kind == BackupType::Log
                && redo.is_some_and(|redo| set.first_lsn <= redo && redo < set.last_lsn)
        });
        matches!(self.subject.chain.stop, Stop::At { .. }) && inside
    }

    /// Looks where the server stands after a set, and keeps that.
    async fn applied(&self, index: usize, stage: &Stage, left: bool) -> Result<Option<Lsn>, StepError> {
        let redo = self.facts().await?.as_ref().and_then(|facts| facts.redo().map(|(redo, _)| redo));
        let chain = &self.subject.chain;
        checked_place(&stage.doing, chain, index, redo, left)?;
        let is_last = index + 1 == chain.pieces.len() || self.is_reached(index, redo);
        if is_last {
            Restored::check_stop(self.server.session(), &self.subject.database, &chain.stop).await?;
        }
        let set = chain.pieces.get(index).map(|piece| piece.backup.backup_set_guid.clone());
        if let Some(set) = set {
            let sets = if is_last { chain.pieces.len() } else { index + 1 };
            let applied = Applied { sets, set, redo_lsn: redo };
            self.ctx.note(self.subject.note(json!({ "applied": applied }))).await?;
        }
        Ok(redo)
    }

    /// Checks that the database stands where its last set leads: opened at a wrong place it could not be brought on.
    ///
    /// # Errors
    /// `restore.position`, `restore.beyond`; what the server says.
    pub(super) async fn placed(&self) -> Result<(), StepError> {
        if self.is_open {
            return Ok(());
        }
        let (facts, chain) = (self.facts().await?, &self.subject.chain);
        let redo = facts.as_ref().and_then(|facts| facts.redo().map(|(redo, _)| redo));
        let all = chain.pieces.len();
        // Whether the server said that a moment was not in the last log is only known where that was noted as applied; a mark's place decides
        // by itself.
        let is_noted = self.subject.noted.applied.as_ref().is_some_and(|applied| applied.sets == all);
        let left = matches!(chain.stop, Stop::At { .. }) && self.done == Some(all) && !is_noted;
        checked_place(&self.plan.recover().doing, chain, all.saturating_sub(1), redo, left)
    }

    /// Opens the database to its owner and administrators, or leaves it readable, where that is not done yet.
    ///
    /// # Errors
    /// `restore.position`, `restore.beyond`; what the server says; `restore.state` (unknown) when it is not as it should be afterwards.
    pub(super) async fn opened(&self) -> Result<(), StepError> {
        let (session, database) = (self.server.session(), &self.subject.database);
        if !self.is_open {
            self.placed().await?;
            let recover = self.plan.recover();
            watched(self.ctx, self.server, &recover.doing, &recover.sql).await?;
        }
        let settled = async {
            let access = AccessFacts::ask(session, database).await?;
            let state = access.as_ref().map_or("gone", |access| access.state.as_str());
            let is_standby = access.as_ref().is_some_and(|access| access.is_standby);
            if state != "ONLINE" || is_standby != self.plan.standby.is_some() {
                let wanted = if self.plan.standby.is_some() { "readable" } else { "ONLINE" };
                let message = format!("database {database} is {state} after its restore, not {wanted}");
                return Err(StepError::new("restore.state", message).help("see the server's error log"));
            }
            let is_ours = !self.is_open || self.plan.restricted;
            if is_ours && self.plan.standby.is_none() && access.is_some_and(|access| access.is_open_to_all())
            {
                let restrict = self.plan.restrict();
                session.work(&restrict.doing, &restrict.sql).await?;
            }
            Ok(())
        };
        settled.await.map_err(after_the_work)
    }

    /// Checks what the database itself can prove, before anybody else may see it.
    ///
    /// # Errors
    /// `restore.mark_row`; what the server says.
    pub(super) async fn proved(&self) -> Result<(), StepError> {
        let (session, database) = (self.server.session(), &self.subject.database);
        let access = AccessFacts::ask(session, database).await?;
        if self.is_open && access.is_some_and(|access| access.is_open_to_all()) {
            // It was proved before it was opened to all, and by now others may have set marks of their own.
            return Ok(());
        }
        proved(session, database, &self.subject.chain).await
    }
}

/// Lets everybody into a database.
///
/// # Errors
/// What the server says.
pub(super) async fn admitted(session: &Session, database: &Identifier) -> Result<(), StepError> {
    let admitted = async {
        if AccessFacts::ask(session, database).await?.is_some_and(|access| !access.is_open_to_all()) {
            let admit = Plan { database: database.bracketed(), ..Plan::default() }.admit();
            session.work(&admit.doing, &admit.sql).await?;
        }
        Ok(())
    };
    admitted.await.map_err(after_the_work)
}
