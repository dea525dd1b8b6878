//! `postgres.load`: [`Load`] makes a database from a dump, and proves that its rows are those of the dump.

use async_trait::async_trait;
use drydock_step::{
    Access, Action, ActionKind, Ctx, Duty, Effect, Ended, Facts, Field, Grant, KindShape, Preflight,
    Reconciled, Shape, StepError, StepKind, TargetNeed, Touch,
};
use serde_json::{Value, json};

use super::dump_entry::DumpEntry;
use super::dump_inputs::own_name;
use super::finding::found;
use super::load_checks::{Standing, exists, hindrances, standing};
use super::load_inputs::LoadInputs;
use super::load_run::{Loading, PROGRAM, dropping};
use super::programs::Program;
use super::sql::{Identifier, named};
use super::target::PostgresConnection;
use crate::described::described;

const OUTPUTS: Shape = Shape::Record(&[
    Field::required("database", Shape::Text, "The database."),
    Field::required(
        "restored_at",
        Shape::Datetime,
        "When all rows were there, by the server's clock: it answers, slowly.",
    ),
    Field::required("indexed_at", Shape::Datetime, "When all indexes were there."),
    Field::required(
        "milestones",
        Shape::List(&Shape::Record(&[
            Field::required("name", Shape::Text, "`restored` or `indexed`."),
            Field::required("seconds", Shape::Integer, "So long after the attempt began that reached it."),
            Field::required("at", Shape::Datetime, "When, by the server's clock."),
        ])),
        "What was reached, in its order.",
    ),
    Field::optional(
        "counts",
        Shape::Map(&Shape::Integer),
        "The rows of every table, which are those of the dump; where that counted them.",
    ),
    Field::required(
        "extensions",
        Shape::List(&Shape::Record(&[
            Field::required("name", Shape::Text, "Its name."),
            Field::required("version", Shape::Text, "Its version here."),
        ])),
        "The extensions of the database.",
    ),
    Field::required("warnings", Shape::List(&Shape::Text), "What went another way than it should."),
]);

/// Loads dumps.
pub struct Load;

#[async_trait]
impl StepKind for Load {
    type Inputs = LoadInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["postgres"]),
            target_inputs: &[("from", &["artifacts"])],
            outputs: OUTPUTS,
            effect: Effect::Writes,
            permissions: &[
                "postgres: CREATEDB; superuser where the dump has extensions that are not trusted, as pgvector is",
                "artifacts: read from the store",
            ],
            example: "load:\n  uses: postgres.load\n  target: vectors\n  needs: [dump]\n  with: { dump: \"{{ steps.dump.outputs }}\", from: backups, database: octopus_drill, jobs: 4, maintenance_work_mem: 1GiB }\n",
            ..described(
                "postgres.load",
                "Makes a database from a dump: its rows under a name of its own until they are proved to be all, then under the name that is wanted, and then its indexes.",
            )
        }
    }

    fn judge(&self, inputs: &LoadInputs) -> Result<(), StepError> {
        inputs.fits()
    }

    fn touches(&self, target: Option<&str>, inputs: &LoadInputs) -> Vec<Touch> {
        let database = inputs.database.value().map_or("?".into(), |name| format!("database {name}"));
        let path = inputs.dump.value().and_then(DumpEntry::head);
        let path = path.map_or("?".into(), |head| format!("path {}", head.path));
        vec![
            Touch { target: target.map(str::to_owned), resource: database, access: Access::Writes },
            Touch { target: inputs.from.value().cloned(), resource: path, access: Access::Reads },
        ]
    }

    fn actions(&self, target: Option<&str>, inputs: &LoadInputs, _facts: &Facts) -> Vec<Action> {
        const OWN: &str = "drydock_<run and step>";
        let shown = |text: Result<String, StepError>| text.unwrap_or_else(|_| "(known later)".into());
        let creating = match inputs.dump.value() {
            Some(dump) => shown(inputs.creating(OWN, dump)),
            None => format!("CREATE DATABASE {} (as the dumped one was made)", named(OWN)),
        };
        let arguments = shown(inputs.arguments().map(|all| all.join(" ")));
        let options = shown(inputs.options());
        let pass = |section: &str, before: &str| {
            let text =
                format!("{before}{PROGRAM} --section={section} --exit-on-error {arguments} <the dump>");
            Action::writes(ActionKind::Process, target, text)
        };
        let before = if options.is_empty() { String::new() } else { format!("PGOPTIONS='{options}' ") };
        let name = inputs.database.or_after(Identifier::named);
        let mut actions = vec![
            Action::writes(ActionKind::Sql, target, dropping(OWN)),
            Action::writes(ActionKind::Sql, target, creating),
            pass("pre-data", ""),
            pass("data", ""),
            Action::reads(
                ActionKind::Sql,
                target,
                "SELECT count(*) AS rows FROM (each table, as the dump has counted)",
            ),
            Action::writes(
                ActionKind::Sql,
                target,
                format!("ALTER DATABASE {} RENAME TO {name}", named(OWN)),
            ),
            pass("post-data", &before),
        ];
        if inputs.analyze.value() != Some(&false) {
            actions.push(Action::writes(ActionKind::Sql, target, "ANALYZE"));
        }
        actions
    }

    fn grants(&self, _inputs: &LoadInputs) -> Vec<Grant> {
        vec![Grant::at_server(Duty::Plan, "ALTER ROLE {login} CREATEDB;")]
    }

    /// The name is free, the role may, the extensions' files are there, and a program can read the dump.
    async fn preflight(&self, ctx: &Ctx, inputs: &LoadInputs) -> Result<Preflight, StepError> {
        let connection = ctx.connection().await?;
        let connection = PostgresConnection::of(&*connection)?;
        let facts = connection.facts().await?;
        let mut hindering = Vec::new();
        if let Some(name) = inputs.database.value() {
            let stands = standing(connection.session(), name.as_str(), &own_name(ctx)).await?;
            hindering.extend((stands == Standing::Other).then(|| exists(name.as_str())));
        }
        let mut major = facts.major();
        if let Some(dump) = inputs.dump.value() {
            major = major.max(dump.tool_major);
            hindering.extend(hindrances(connection.session(), facts, dump).await?);
        }
        hindering.extend(Program::find(ctx, &connection.settings().programs, PROGRAM, major).await.err());
        Ok(Preflight { facts: json!({ "server": facts }), ..found(hindering) })
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &LoadInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        inputs.fits()?;
        let (connection, store) = (ctx.connection().await?, ctx.host.connect(inputs.from.known()?).await?);
        let connection = PostgresConnection::of(&*connection)?;
        let loading = Loading {
            ctx,
            inputs,
            connection,
            store: store
                .store()
                .ok_or_else(|| StepError::internal("`from` of postgres.load is no artifact store"))?,
            own: own_name(ctx),
        };
        let outputs = ctx.or_cancelled(loading.outputs()).await?;
        ctx.note(json!({ "loaded": outputs })).await?;
        unmarked(connection, inputs.database.known()?).await?;
        Ok(Ended::Outputs(outputs))
    }

    /// A load whose outputs were noted is done. Rows that were proved are kept: their database has its name, and the step's mark.
    async fn reconcile(&self, ctx: &Ctx, inputs: &LoadInputs) -> Result<Reconciled, StepError> {
        let connection = ctx.connection().await?;
        let connection = PostgresConnection::of(&*connection)?;
        let (name, own) = (inputs.database.known()?, own_name(ctx));
        let stands = standing(connection.session(), name.as_str(), &own).await?;
        if let Some(outputs) = ctx.notes.iter().rev().find_map(|note| note.get("loaded"))
            && stands != Standing::Absent
        {
            if stands == Standing::Own {
                unmarked(connection, name).await?;
            }
            return Ok(Reconciled::Done(outputs.clone()));
        }
        if stands == Standing::Own {
            return Ok(Reconciled::Partly(json!({ "restored": name })));
        }
        connection.session().work("dropping what a lost attempt left", &dropping(&own)).await?;
        Ok(Reconciled::NotDone)
    }
}

/// Takes the step's mark off: the database is nobody's any more but its users'.
async fn unmarked(connection: &PostgresConnection, name: &Identifier) -> Result<(), StepError> {
    let sql = format!("COMMENT ON DATABASE {} IS NULL", name.named());
    connection.session().work("taking the mark off the database", &sql).await.map(drop)
}
