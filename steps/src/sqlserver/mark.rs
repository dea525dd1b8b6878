//! `sqlserver.mark`: [`Mark`] marks one moment in the logs of several databases of one instance.

use async_trait::async_trait;
use chrono::DateTime;
use drydock_recovery::backup::clock;
use drydock_step::{
    Access, Action, ActionKind, Ctx, Duty, Effect, Ended, Facts, Field, Grant, In, KindShape, Preflight,
    PreflightFinding, Reconciled, Shape, StepError, StepKind, TargetNeed, Touch, inputs, known, maybe,
};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::database::{DatabaseFacts, State};
use super::failure::after_the_work;
use super::finding::{fatal, found, warning};
use super::marking::{Counted, MARKS, Marking, Place, bands, checked_mark, counts, places, transaction};
use super::rights::{READER, marks, msdb, watching, within};
use super::sql::{Identifier, table_below};
use super::target::SqlServerConnection;
use super::watch::{Work, running, stop};
use crate::described::described;

inputs! {
    /// Inputs of `sqlserver.mark`.
    pub struct MarkInputs {
        /// The mark's name: at most 32 letters, digits and `_`. `point.open` gives one.
        mark: String = known(Shape::Text),
        /// The databases, by the plan's names for them. One transaction changes a row in each.
        databases: IndexMap<String, Identifier> = known(Shape::Map(&Shape::Text)),
        /// Tables whose rows are counted just before and just after, in every database that has them.
        rows: Vec<String> = maybe(Shape::List(&Shape::Text)).or("[]"),
    }
}

const PLACE: &[Field] = &[
    Field::required("database", Shape::Text, "Its name on the server."),
    Field::required("lsn", Shape::Decimal, "The marked transaction's position in its log."),
    Field::required("at", Shape::Datetime, "When the server committed it."),
];

const BAND: &[Field] = &[
    Field::required("before", Shape::Integer, "Rows just before the mark."),
    Field::required("after", Shape::Integer, "Rows just after it."),
];

const OUTPUTS: &[Field] = &[
    Field::required("mark", Shape::Text, "The mark's name."),
    Field::required("sent_at", Shape::Datetime, "When it was sent."),
    Field::required("answered_at", Shape::Datetime, "When the server had answered."),
    Field::required("databases", Shape::Map(&Shape::Record(PLACE)), "Where it stands in each database."),
    Field::required("rows", Shape::Map(&Shape::Map(&Shape::Record(BAND))), "Rows by database and table."),
    Field::required(
        "migrations",
        Shape::Map(&Shape::List(&Shape::Text)),
        "Applied EF Core migrations by database.",
    ),
];

/// Marks a moment.
pub struct Mark;

/// What is kept before the transaction is sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Sent {
    sent_at: String,
    before: IndexMap<String, Counted>,
}

fn at(ms: i64) -> String {
    clock(DateTime::from_timestamp_millis(ms).unwrap_or_default())
}

impl MarkInputs {
    fn marking(&self, run: &str) -> Result<Marking, StepError> {
        let databases = self.databases.known()?.clone();
        let mark = self.mark.known()?.clone();
        checked_mark(&mark)?;
        if databases.is_empty() {
            return Err(StepError::new("input", "`databases` names no database to mark"));
        }
        let run = run.chars().take(64).collect();
        Ok(Marking { mark, run, databases, tables: self.rows.known()?.clone() })
    }

    /// The databases as names in statements, or words for them.
    fn names(&self) -> Vec<String> {
        match &self.databases {
            In::Known(databases) => databases.values().map(Identifier::bracketed).collect(),
            unknown @ In::After(_) => vec![unknown.or_after(|_| String::new())],
        }
    }
}

#[async_trait]
impl StepKind for Mark {
    type Inputs = MarkInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["sqlserver"]),
            outputs: Shape::Record(OUTPUTS),
            effect: Effect::Writes,
            permissions: &[
                "INSERT on drydock.marks in each database (plans/octopus/grants.sql makes it)",
                "SELECT on the tables that are counted and on __EFMigrationsHistory",
                "SELECT on msdb.dbo.logmarkhistory",
            ],
            example: "mark:\n  uses: sqlserver.mark\n  target: sql\n  needs: [open, snapshot]\n  with:\n    mark: \"{{ steps.open.outputs.mark }}\"\n    databases: { octopus: OctopusDB }\n    rows: [Octopus_Agents, Octopus_Episodes]\n",
            ..described(
                "sqlserver.mark",
                "Marks one moment in the logs of one or several databases of an instance: one marked transaction writes a row into \
                 drydock.marks of each. A restore stops at the mark, and the row proves that it did.",
            )
        }
    }

    fn touches(&self, target: Option<&str>, inputs: &MarkInputs) -> Vec<Touch> {
        let touch = |resource| Touch { target: target.map(str::to_owned), resource, access: Access::Writes };
        match inputs.databases.value() {
            Some(databases) => databases.values().map(|name| touch(format!("database {name}"))).collect(),
            None => vec![touch("?".into())],
        }
    }

    fn actions(&self, target: Option<&str>, inputs: &MarkInputs, _facts: &Facts) -> Vec<Action> {
        let mark = inputs.mark.to_string();
        let marks: Vec<String> = inputs.names().iter().map(|name| table_below(name, MARKS)).collect();
        let batch = transaction(&mark, "(this run)", &marks);
        let tables = inputs.rows.value().map(Vec::as_slice).unwrap_or_default();
        let mut actions = Vec::new();
        for database in inputs.names().iter().filter(|_| !tables.is_empty()) {
            let tables: Vec<String> = tables.iter().map(|table| table_below(database, table)).collect();
            actions.push(Action::reads(ActionKind::Sql, target, counts(&tables)));
        }
        actions.push(Action::writes(ActionKind::Sql, target, batch));
        actions.push(Action::reads(ActionKind::Sql, target, places(&mark)));
        actions
    }

    fn grants(&self, inputs: &MarkInputs) -> Vec<Grant> {
        let mut grants = watching(Duty::Backup);
        grants.extend(msdb(Duty::Backup, &["logmarkhistory"]));
        let databases: Vec<In<Identifier>> = match &inputs.databases {
            In::Known(databases) => databases.values().cloned().map(In::Known).collect(),
            In::After(steps) => vec![In::After(steps.clone())],
        };
        for database in &databases {
            grants.extend([marks(Duty::Backup, database), within(Duty::Backup, database, READER)]);
        }
        grants
    }

    async fn preflight(&self, ctx: &Ctx, inputs: &MarkInputs) -> Result<Preflight, StepError> {
        let Some(databases) = inputs.databases.value() else { return Ok(Preflight::default()) };
        let connection = ctx.connection().await?;
        let session = SqlServerConnection::of(&*connection)?.session();
        let mut findings = Vec::new();
        let mut ready = IndexMap::new();
        for (name, database) in databases {
            match DatabaseFacts::ask(session, database).await? {
                Some(facts) if facts.state == State::Online => {
                    findings.extend(unmarkable(database, &facts));
                    ready.insert(name.clone(), database.clone());
                }
                other => findings.push(not_online(database, other.as_ref())),
            }
        }
        let tables = inputs.rows.value().cloned().unwrap_or_default();
        let marking = Marking { mark: String::new(), run: String::new(), databases: ready, tables };
        for database in marking.without_marks(session).await? {
            let message = format!("database {database} has no table drydock.marks that this login sees");
            let help =
                "run plans/octopus/grants.sql in it: it makes the table and grants what a backup needs";
            findings.push(fatal("sqlserver.marks", message, help));
        }
        findings.extend(marking.counted(session).await.err().map(found));
        Ok(Preflight { facts: Value::Null, findings })
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &MarkInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let marking = inputs.marking(&ctx.run)?;
        // An earlier try may have got as far as the mark and failed to tell of it.
        if let Reconciled::Done(outputs) = self.reconcile(ctx, inputs).await? {
            return Ok(Ended::Outputs(outputs));
        }
        let connection = ctx.connection().await?;
        let server = SqlServerConnection::of(&*connection)?;
        let (session, before) = (server.session(), marking.counted(server.session()).await?);
        let sent = Sent { sent_at: at(ctx.now_ms()), before };
        ctx.note(json!({ "sent": sent })).await?;
        session.work(&format!("marking {}", marking.mark), &marking.transaction()).await?;
        let answered_at = at(ctx.now_ms());
        let told = async {
            let places = marking.places(session, server.facts().await?).await?.ok_or_else(|| {
                let message = format!("the server took mark {} and msdb does not tell of it", marking.mark);
                StepError::new("mark.lost", message)
            })?;
            outputs(&marking, server, sent, answered_at, places).await
        };
        told.await.map(Ended::Outputs).map_err(after_the_work)
    }

    async fn reconcile(&self, ctx: &Ctx, inputs: &MarkInputs) -> Result<Reconciled, StepError> {
        let marking = inputs.marking(&ctx.run)?;
        let sent = ctx.notes.iter().rev().find_map(|note| Sent::deserialize(note.get("sent")?).ok());
        let Some(sent) = sent else { return Ok(Reconciled::NotDone) };
        let connection = ctx.connection().await?;
        let server = SqlServerConnection::of(&*connection)?;
        if !running(server, &ctx.attempt, Work::Any).await?.is_empty() {
            return Ok(Reconciled::Busy(500));
        }
        match marking.places(server.session(), server.facts().await?).await? {
            None => Ok(Reconciled::NotDone),
            // When it was answered nobody knows any more; now is surely not before.
            Some(places) => {
                let answered_at = at(ctx.now_ms());
                outputs(&marking, server, sent, answered_at, places).await.map(Reconciled::Done)
            }
        }
    }

    async fn cancel(&self, ctx: &Ctx, _inputs: &MarkInputs) -> Result<(), StepError> {
        stop(ctx).await
    }
}

async fn outputs(
    marking: &Marking,
    server: &SqlServerConnection,
    sent: Sent,
    answered_at: String,
    places: IndexMap<String, Place>,
) -> Result<Value, StepError> {
    let after = marking.counted(server.session()).await?;
    let migrations = marking.migrations(server.session()).await?;
    Ok(json!({
        "mark": marking.mark,
        "sent_at": sent.sent_at,
        "answered_at": answered_at,
        "databases": places,
        "rows": bands(&sent.before, &after),
        "migrations": migrations,
    }))
}

fn not_online(database: &Identifier, found: Option<&DatabaseFacts>) -> PreflightFinding {
    let message = match found {
        Some(facts) => format!("database {database} is {}, not ONLINE", facts.state_word),
        None => format!("there is no database {database} on this server"),
    };
    fatal("sqlserver.911", message, "is the name spelled right, and is it this server?")
}

fn unmarkable(database: &Identifier, facts: &DatabaseFacts) -> Option<PreflightFinding> {
    let (finding, why): (fn(_, _, _) -> _, _) = match facts.recovery_model.as_str() {
        "FULL" => return None,
        "BULK_LOGGED" => (warning, "a log with minimally logged changes cannot be stopped inside"),
        _ => (fatal, "nothing can be restored to a mark of a database without log backups"),
    };
    let message = format!("database {database} is in the {} recovery model: {why}", facts.recovery_model);
    let help = format!("ALTER DATABASE {} SET RECOVERY FULL, then take a full backup", database.bracketed());
    Some(finding("sqlserver.4208", message, help))
}

#[cfg(test)]
mod tests {
    use drydock_step::test_host::{actions, touches};

    use super::*;

    #[test]
    fn a_dry_run_shows_the_batch_that_is_sent() {
        let with =
            json!({ "mark": "dd_1", "databases": { "octopus": "OctopusDB" }, "rows": ["Octopus_Episodes"] });
        let found = actions(&Mark, with.clone()).unwrap();
        assert_eq!(found.iter().map(|action| action.writes).collect::<Vec<_>>(), [false, true, false]);
        assert!(found[1].text.contains("BEGIN TRANSACTION dd_1 WITH MARK"), "{}", found[1].text);
        assert!(found[1].text.contains("INSERT INTO [OctopusDB].[drydock].[marks]"), "{}", found[1].text);
        assert_eq!(touches(&Mark, with).unwrap()[0].resource, "database OctopusDB");
        let unknown = json!({ "mark": { "$after": ["open"] }, "databases": { "$after": ["set"] } });
        let found = actions(&Mark, unknown.clone()).unwrap();
        assert!(found[0].text.contains("(known after open) WITH MARK"), "{}", found[0].text);
        assert_eq!(touches(&Mark, unknown).unwrap()[0].resource, "?");
    }
}
