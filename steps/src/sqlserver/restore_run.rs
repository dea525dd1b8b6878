//! A restore on its way: [`Run`] sends the statements one by one and looks after each where the server stands.

use drydock_recovery::lsn::Lsn;
use drydock_step::{Ctx, StepError};
use serde_json::json;

use super::database::{DatabaseFacts, State};
use super::failure::after_the_work;
use super::restore_chain::{RestoreChain, Stop};
use super::restore_ready::Ready;
use super::restore_standing::{Applied, Begun, Restored};
use super::restore_statement::{Plan, Stage};
use super::sql::Identifier;
use super::target::SqlServerConnection;
use super::watch::watched;

/// A restore on its way.
pub(super) struct Run<'a> {
    pub(super) ctx: &'a Ctx,
    pub(super) server: &'a SqlServerConnection,
    pub(super) database: &'a Identifier,
    pub(super) chain: &'a RestoreChain,
    pub(super) plan: &'a Plan,
}

impl Run<'_> {
    /// Keeps others out and restores every set; where the log then stands.
    ///
    /// # Errors
    /// What the server says; a database that was only closed is open again.
    pub(super) async fn all_sets(&self, ready: &Ready) -> Result<Option<Lsn>, StepError> {
        let session = self.server.session();
        let existing = ready.existing.as_ref();
        let begun = Begun {
            was: existing.map(|facts| facts.state_word.clone()),
            fork: existing.and_then(|facts| facts.fork.clone()),
            history: Restored::newest(session, self.database).await?.map(|newest| newest.id()),
            session_id: self.server.facts().await?.session_id,
        };
        self.ctx.note(json!({ "begun": begun })).await?;
        if !ready.fenced() {
            return self.sets_from(0).await;
        }
        let fence = self.plan.fence();
        session.work(&fence.doing, &fence.sql).await?;
        match self.sets_from(0).await {
            Err(error) if !error.unknown => Err(self.put_back(error).await),
            done => done,
        }
    }

    /// Opens a database again that was closed for nothing: what fails in planning leaves it as it was.
    async fn put_back(&self, error: StepError) -> StepError {
        let facts = DatabaseFacts::ask(self.server.session(), self.database).await;
        let Ok(Some(facts)) = facts else { return error };
        let database = self.database;
        let outcome = if facts.state == State::Offline {
            let back = self.plan.put_back();
            match self.server.session().work(&back.doing, &back.sql).await {
                Ok(()) => format!("database {database} is as it was, and open again"),
                Err(_) => format!("database {database} is as it was, but closed: `{}` opens it", back.sql),
            }
        } else {
            format!(
                "database {database} is now {}: the restore has begun and has to be finished",
                facts.state_word
            )
        };
        let help = error.help.clone().map_or(outcome.clone(), |help| format!("{help}; {outcome}"));
        error.help(help)
    }

    /// Restores the sets from this one on; where the log then stands.
    ///
    /// # Errors
    /// What the server says; `restore.position` when it does not stand where the set leads.
    pub(super) async fn sets_from(&self, first: usize) -> Result<Option<Lsn>, StepError> {
        let mut redo = None;
        for (index, stage) in self.plan.sets(self.chain).into_iter().enumerate().skip(first) {
            watched(self.ctx, self.server, &stage.doing, &stage.sql).await?;
            redo = self.applied(index, &stage).await.map_err(|error| {
                // The set is restored, whatever we could not find out about it.
                if error.code == "restore.position" { error } else { after_the_work(error) }
            })?;
        }
        Ok(redo)
    }

    /// Looks where the server stands after a set, and keeps that.
    async fn applied(&self, index: usize, stage: &Stage) -> Result<Option<Lsn>, StepError> {
        let facts = DatabaseFacts::ask(self.server.session(), self.database).await?;
        let redo = facts.as_ref().and_then(|facts| facts.redo().map(|(redo, _)| redo));
        let is_last = index + 1 == self.chain.pieces.len();
        let (least, why) = match (&self.chain.stop, self.chain.pieces.get(index)) {
            (Stop::Mark(mark), _) if is_last => (Some(mark.lsn), "which is not beyond the mark"),
            (Stop::At { .. }, _) | (_, None) => (None, ""),
            (_, Some(piece)) => (Some(piece.backup.last_lsn), "which is not where the set leads"),
        };
        let enough = |redo: Lsn, least: Lsn| match &self.chain.stop {
            Stop::Mark(_) if is_last => redo > least,
            _ => redo >= least,
        };
        if let Some(least) = least
            && !redo.is_some_and(|redo| enough(redo, least))
        {
            let stands = redo.map_or("nowhere".to_owned(), |redo| format!("at LSN {redo}"));
            let message = format!("{}: the server stands {stands}, {why} ({least})", stage.doing);
            return Err(StepError::new("restore.position", message)
                .help("do not open the database: it would be at the wrong moment; restore again from the full backup"));
        }
        let set = self.chain.pieces.get(index).map(|piece| piece.backup.backup_set_guid.clone());
        if let Some(set) = set {
            self.ctx.note(json!({ "applied": Applied { sets: index + 1, set, redo_lsn: redo } })).await?;
        }
        Ok(redo)
    }

    /// Opens the database, where it is not open yet, and lets everybody in.
    ///
    /// # Errors
    /// What the server says; `restore.state` (unknown) when it is not ONLINE afterwards.
    pub(super) async fn opened(&self, is_open: bool) -> Result<(), StepError> {
        if !is_open {
            let recover = self.plan.recover();
            watched(self.ctx, self.server, &recover.doing, &recover.sql).await?;
        }
        let admitted = async {
            let facts = DatabaseFacts::ask(self.server.session(), self.database).await?;
            let (state, word) =
                facts.as_ref().map_or((State::Other, "gone"), |facts| (facts.state, &facts.state_word));
            if state != State::Online {
                let message =
                    format!("database {} is {word} after it was recovered, not ONLINE", self.database);
                return Err(StepError::new("restore.state", message).help("see the server's error log"));
            }
            if facts.is_some_and(|facts| !facts.is_multi_user) {
                let admit = self.plan.admit();
                self.server.session().work(&admit.doing, &admit.sql).await?;
            }
            Ok(())
        };
        admitted.await.map_err(after_the_work)
    }
}
