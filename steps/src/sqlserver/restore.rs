//! `sqlserver.restore`: [`Restore`] brings one database to the end of a chain, to a mark or to a moment.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use drydock_recovery::backup::clock;
use drydock_recovery::lsn::Lsn;
use drydock_step::target::LockClass;
use drydock_step::{
    Access, Action, ActionKind, Ctx, Duty, Effect, Ended, Facts, Field, Grant, In, KindShape, Preflight,
    Reconciled, Shape, StepError, StepKind, TargetNeed, Touch, inputs, known, maybe,
};
use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::{Value, json};

use super::database::{DatabaseFacts, State};
use super::finding::found;
use super::locks::{self, Patience};
use super::restore_chain::{GivenChain, RestoreChain, Stop};
use super::restore_checks::{Wanted, checked};
use super::restore_ready::{Ready, Shown};
use super::restore_run::Run;
use super::restore_standing::{Noted, Restored, Standing, standing};
use super::restore_statement::{Part, Plan, stages};
use super::rights::{msdb, restoring, watching};
use super::sql::{Identifier, quoted};
use super::target::SqlServerConnection;
use super::watch::{Work, running, stop};
use crate::described::described;

inputs! {
    /// Inputs of `sqlserver.restore`.
    pub struct RestoreInputs {
        /// The database's name afterwards.
        database: Identifier = known(Shape::Text),
        /// Another name, which the database gets instead.
        into: Option<Identifier> = maybe(Shape::Text),
        /// The backups and where to stop: what `point.select` or `drydock chain` gives, or a list of what `sqlserver.backup` gave.
        chain: GivenChain = known(Shape::Any),
        /// Stop at this moment instead of where the chain says.
        stop_at: Option<DateTime<Utc>> = maybe(Shape::Datetime),
        /// Destroy the database of that name, if there is one.
        replace: bool = maybe(Shape::Boolean).or("false"),
        /// Where files go, by their logical names; the others go where the replaced database has them, or into the server's default folders.
        moved as "move": IndexMap<String, String> = maybe(Shape::Map(&Shape::Text)).or("{}"),
        /// Compare checksums; a set without any is refused.
        checksum: bool = maybe(Shape::Boolean).or("true"),
        /// After how many percent the server tells of its progress.
        stats: Option<u8> = maybe(Shape::Integer).or("10"),
    }
}

const OUTPUTS: &[Field] = &[
    Field::required("database", Shape::Text, "The database's name."),
    Field::required("state", Shape::Text, "Its state: `ONLINE`."),
    Field::optional("redo_lsn", Shape::Decimal, "Where its log stood when it was opened."),
    Field::required("restored", Shape::Integer, "How many sets were restored."),
    Field::required("recovered_to", Shape::Datetime, "The moment that it is at."),
    Field::optional("mark", Shape::Text, "The mark that it stopped at."),
];

/// Restores a database.
pub struct Restore;

impl RestoreInputs {
    fn target(&self) -> In<Identifier> {
        match &self.into {
            In::Known(Some(other)) => In::Known(other.clone()),
            In::Known(None) => self.database.clone(),
            In::After(steps) => In::After(steps.clone()),
        }
    }

    /// The sets that are needed; nothing while the chain is not known.
    fn needed(&self) -> Option<Result<RestoreChain, StepError>> {
        let (chain, stop_at) = (self.chain.value()?, self.stop_at.value()?);
        Some(chain.needed(*stop_at))
    }

    fn plan(&self, shown: Shown, replace: bool) -> Plan {
        Plan {
            database: self.target().or_after(Identifier::bracketed),
            media: shown.media,
            moves: shown.moves,
            replace,
            checksum: self.checksum.value().copied().unwrap_or(true),
            stats: self.stats.value().copied().flatten(),
        }
    }

    fn replaces(&self) -> bool {
        self.replace.value().copied().unwrap_or(false)
    }
}

/// Where the backups lie in the store, for a dry run that has not asked the server.
fn unasked(chain: &RestoreChain, replace: bool) -> Shown {
    let media = |artifacts: &Vec<String>, media: &Vec<String>| -> Vec<String> {
        let paths = if artifacts.is_empty() { media } else { artifacts };
        paths.iter().map(|path| quoted(path)).collect()
    };
    Shown {
        media: chain.pieces.iter().map(|piece| media(&piece.artifacts, &piece.backup.media)).collect(),
        moves: vec!["MOVE (each file to its place on the server)".into()],
        fenced: replace,
    }
}

#[async_trait]
impl StepKind for Restore {
    type Inputs = RestoreInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["sqlserver"]),
            outputs: Shape::Record(OUTPUTS),
            effect: Effect::Writes,
            permissions: &[
                "server role dbcreator, or CREATE ANY DATABASE and to own what is replaced",
                "ALTER ANY DATABASE, to keep others out of what is replaced",
                "SELECT on msdb.dbo.restorehistory and msdb.dbo.backupset",
                "VIEW ANY DEFINITION, to see where its log stands",
                "VIEW SERVER STATE, for progress and for finding a lost restore again",
                "ALTER ANY CONNECTION, to stop it when it is cancelled",
                "the server's service account may read the backups",
            ],
            example: "restore_sql:\n  uses: sqlserver.restore\n  target: sql\n  needs: [fence, point]\n  with:\n    database: OctopusDB\n    chain: \"{{ steps.point.outputs.sqlserver.octopus }}\"\n    replace: true\n  timeout: 2h\n",
            ..described(
                "sqlserver.restore",
                "Restores one database from a chain of backups: the full, perhaps a differential, and logs up to a mark or a moment, and \
                 only then opens it. A restore that was cut off goes on with the next set.",
            )
        }
    }

    fn touches(&self, target: Option<&str>, inputs: &RestoreInputs) -> Vec<Touch> {
        let resource = match inputs.target() {
            In::Known(name) => format!("database {name}"),
            In::After(_) => "?".into(),
        };
        let safe = inputs.replace.value() == Some(&false);
        let access = if safe { Access::Writes } else { Access::Destroys };
        vec![Touch { target: target.map(str::to_owned), resource, access }]
    }

    fn actions(&self, target: Option<&str>, inputs: &RestoreInputs, facts: &Facts) -> Vec<Action> {
        let write = |text: String| Action::writes(ActionKind::Sql, target, text);
        let chain = match inputs.needed() {
            Some(Ok(chain)) => chain,
            Some(Err(error)) => return vec![write(format!("(nothing: {})", error.message))],
            None => {
                let backups = inputs.chain.or_after(|_| "(a moment that is not known yet)".into());
                let plan = inputs.plan(Shown::default(), inputs.replaces());
                let restore = format!("RESTORE DATABASE {} FROM {backups} WITH NORECOVERY", plan.database);
                return [restore, plan.recover().sql, plan.admit().sql].map(write).into();
            }
        };
        let shown = Shown::deserialize(facts).unwrap_or_else(|_| unasked(&chain, inputs.replaces()));
        let fenced = shown.fenced;
        let stages = stages(&inputs.plan(shown, inputs.replaces()), &chain, fenced);
        // Whether somebody has to be let in again is only seen at the end.
        stages.into_iter().filter(|stage| stage.part != Part::Admit).map(|stage| write(stage.sql)).collect()
    }

    fn grants(&self, _inputs: &RestoreInputs) -> Vec<Grant> {
        let mut grants = restoring();
        grants.extend(watching(Duty::Restore));
        grants.extend(msdb(Duty::Restore, &["restorehistory", "backupset", "backupmediafamily"]));
        grants
    }

    async fn preflight(&self, ctx: &Ctx, inputs: &RestoreInputs) -> Result<Preflight, StepError> {
        let (Some(chain), In::Known(database)) = (inputs.needed(), inputs.target()) else {
            return Ok(Preflight::default());
        };
        let failed = |error| Ok(Preflight { facts: Value::Null, findings: vec![found(error)] });
        let chain = match chain {
            Ok(chain) => chain,
            Err(error) => return failed(error),
        };
        let connection = ctx.connection().await?;
        let server = SqlServerConnection::of(&*connection)?;
        let moved = inputs.moved.value().cloned().unwrap_or_default();
        let ready = match Ready::ask(server, &database, &chain, &moved).await {
            Ok(ready) => ready,
            Err(error) if error.transient => return Err(error),
            Err(error) => return failed(error),
        };
        let checksum = inputs.checksum.value().copied().unwrap_or(true);
        let wanted = Wanted { database: &database, replace: inputs.replaces(), checksum };
        let findings = checked(server, wanted, &chain, &ready).await?;
        Ok(Preflight { facts: json!(ready.shown()), findings })
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &RestoreInputs,
        from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let (database, chain) = (inputs.target().known()?.clone(), needed(inputs)?);
        let connection = ctx.connection().await?;
        let server = SqlServerConnection::of(&*connection)?;
        locks::take(server.session(), database.as_str(), LockClass::Exclusive, Patience::Short).await?;
        let noted = Noted::of(&ctx.notes);
        let here = stands(server, &database, &chain, &noted).await?;
        // What another attempt of this step left half done is gone on with, whether or not somebody asked how far it was. An open
        // database is only taken for done when it was asked about: a step may be run again on purpose.
        let done = match (here, from) {
            (Standing::Sets(done), _) => Some(done),
            (Standing::Recovered, Some(_)) => Some(chain.pieces.len()),
            (Standing::Unclear(why), Some(_)) => {
                return Err(StepError::new("restore.unclear", why).help(
                    "look at the database; `drydock resume RUN --redo STEP` restores it from the full backup again",
                ));
            }
            _ => None,
        };
        let is_open = done.is_some() && is_online(server, &database).await?;
        let ready = Ready::ask(server, &database, &chain, inputs.moved.known()?).await?;
        let own = noted.begun.is_some()
            && ready.existing.as_ref().is_some_and(|facts| facts.state == State::Restoring);
        if done.is_none() && ready.existing.is_some() && !inputs.replaces() && !own {
            let message = format!("database {database} is there already");
            return Err(StepError::new("restore.exists", message)
                .help("say `replace: true` to destroy it, or restore `into:` another name"));
        }
        let plan = inputs.plan(ready.shown(), inputs.replaces() || own);
        let run = Run { ctx, server, database: &database, chain: &chain, plan: &plan };
        let redo = match done {
            None => run.all_sets(&ready).await?,
            Some(_) if is_open => redo_of_all(&noted, &chain),
            Some(done) if done == chain.pieces.len() => {
                ready.existing.as_ref().and_then(|facts| Some(facts.redo()?.0))
            }
            Some(done) => run.sets_from(done).await?,
        };
        run.opened(is_open).await?;
        Ok(Ended::Outputs(outputs(&database, &chain, redo.map(|lsn| lsn.to_string()))))
    }

    async fn reconcile(&self, ctx: &Ctx, inputs: &RestoreInputs) -> Result<Reconciled, StepError> {
        let noted = Noted::of(&ctx.notes);
        if noted.begun.is_none() {
            return Ok(Reconciled::NotDone);
        }
        let (database, chain) = (inputs.target().known()?.clone(), needed(inputs)?);
        let connection = ctx.connection().await?;
        let server = SqlServerConnection::of(&*connection)?;
        if !running(server, &ctx.attempt, Work::Media).await?.is_empty() {
            return Ok(Reconciled::Busy(1000));
        }
        // The lost session holds its lock for as long as it works, also where the login may not see other sessions.
        match locks::take(server.session(), database.as_str(), LockClass::Exclusive, Patience::None).await {
            Err(error) if error.code == "locked" => return Ok(Reconciled::Busy(1000)),
            taken => taken?,
        }
        let facts = DatabaseFacts::ask(server.session(), &database).await?;
        if facts.as_ref().is_some_and(|facts| facts.state == State::Recovering) {
            return Ok(Reconciled::Busy(1000));
        }
        let redo = redo_of_all(&noted, &chain).map(|lsn| lsn.to_string());
        let multi_user = facts.as_ref().is_some_and(|facts| facts.is_multi_user);
        let was_open = noted.begun.as_ref().is_some_and(|begun| begun.was.as_deref() != Some("OFFLINE"));
        let closed = was_open && facts.as_ref().is_some_and(|facts| facts.state == State::Offline);
        Ok(match stands(server, &database, &chain, &noted).await? {
            Standing::Nothing if !closed => Reconciled::NotDone,
            Standing::Recovered if multi_user => Reconciled::Done(outputs(&database, &chain, redo)),
            // Where it is unclear the next attempt fails and says why: the server was asked, and a person would know no more than it.
            partly => Reconciled::Partly(json!(partly)),
        })
    }

    async fn cancel(&self, ctx: &Ctx, _inputs: &RestoreInputs) -> Result<(), StepError> {
        stop(ctx).await
    }
}

fn needed(inputs: &RestoreInputs) -> Result<RestoreChain, StepError> {
    inputs.chain.known()?.needed(*inputs.stop_at.known()?)
}

/// Where the log stood once every set was restored, as it was noted then.
fn redo_of_all(noted: &Noted, chain: &RestoreChain) -> Option<Lsn> {
    noted.applied.as_ref().filter(|applied| applied.sets == chain.pieces.len())?.redo_lsn
}

async fn is_online(server: &SqlServerConnection, database: &Identifier) -> Result<bool, StepError> {
    let facts = DatabaseFacts::ask(server.session(), database).await?;
    Ok(facts.is_some_and(|facts| facts.state == State::Online))
}

/// Where the server says that the restore stands.
async fn stands(
    server: &SqlServerConnection,
    database: &Identifier,
    chain: &RestoreChain,
    noted: &Noted,
) -> Result<Standing, StepError> {
    let facts = DatabaseFacts::ask(server.session(), database).await?;
    let newest = Restored::newest(server.session(), database).await?;
    Ok(standing(chain, noted, facts.as_ref(), newest.as_ref()))
}

fn outputs(database: &Identifier, chain: &RestoreChain, redo: Option<String>) -> Value {
    let mark = match &chain.stop {
        Stop::Mark(mark) => mark.name.clone(),
        Stop::End | Stop::At { .. } => None,
    };
    json!({
        "database": database.as_str(),
        "state": "ONLINE",
        "redo_lsn": redo,
        "restored": chain.pieces.len(),
        "recovered_to": clock(chain.recovers_to),
        "mark": mark,
    })
}

#[cfg(test)]
mod tests {
    use drydock_step::test_host::{actions, touches};

    use super::super::restore_chain::tests::chain;
    use super::*;

    fn texts(with: Value) -> Vec<String> {
        actions(&Restore, with).unwrap().into_iter().map(|action| action.text).collect()
    }

    #[test]
    fn a_dry_run_shows_every_statement() {
        let found =
            texts(json!({ "database": "Octopus", "into": "Drill", "chain": chain(), "replace": true }));
        assert_eq!(found.len(), 5);
        assert_eq!(found[0], "ALTER DATABASE [Drill] SET OFFLINE WITH ROLLBACK IMMEDIATE");
        assert_eq!(
            found[1],
            "RESTORE DATABASE [Drill] FROM DISK = N'sql/a.bak' WITH FILE = 1, NORECOVERY, CHECKSUM, REPLACE, \
             MOVE (each file to its place on the server), STATS = 10"
        );
        assert!(found[3].contains("STOPATMARK = N'lsn:35'"), "{}", found[3]);
        assert_eq!(found[4], "RESTORE DATABASE [Drill] WITH RECOVERY");
        let unknown = texts(json!({ "database": "Octopus", "chain": { "$after": ["point"] } }));
        assert_eq!(unknown[0], "RESTORE DATABASE [Octopus] FROM (known after point) WITH NORECOVERY");
        let mut gap = chain();
        gap["backups"].as_array_mut().unwrap().remove(1);
        let nothing = texts(json!({ "database": "Octopus", "chain": gap }));
        assert!(nothing[0].starts_with("(nothing: the backups lead nowhere"), "{nothing:?}");
    }

    #[test]
    fn only_a_restore_that_must_not_replace_is_harmless() {
        let access = |more: Value| {
            let mut with = json!({ "database": "Octopus", "chain": chain() });
            for (key, value) in more.as_object().unwrap() {
                with[key] = value.clone();
            }
            let touched = touches(&Restore, with).unwrap();
            (touched[0].resource.clone(), touched[0].access)
        };
        assert_eq!(access(json!({})), ("database Octopus".into(), Access::Writes));
        assert_eq!(access(json!({ "replace": true })), ("database Octopus".into(), Access::Destroys));
        assert_eq!(access(json!({ "replace": { "$after": ["a"] } })).1, Access::Destroys);
        assert_eq!(access(json!({ "into": { "$after": ["a"] } })).0, "?");
    }
}
