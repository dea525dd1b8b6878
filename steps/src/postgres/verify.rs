//! `postgres.verify`: [`Verify`] proves that a database answers as it should: its indexes, its extensions, its collations and, where that is
//! asked for, every page that pg_amcheck can read.

use async_trait::async_trait;
use drydock_step::{
    Access, Action, ActionKind, Ctx, Duty, Ended, Facts, Field, Grant, KindShape, Preflight, Reconciled,
    Shape, StepError, StepKind, TargetNeed, Touch, inputs, known, maybe,
};
use indexmap::IndexMap;
use serde_json::{Value, json};

use super::amcheck::{self, Checked};
use super::finding::found;
use super::inspection::{INSPECTED, Inspection};
use super::rights::{reading, within};
use super::sql::Identifier;
use super::target::PostgresConnection;
use crate::described::described;
use crate::word::{WORD, Word};

inputs! {
    /// Inputs of `postgres.verify`.
    pub struct VerifyInputs {
        /// The database.
        database: Identifier = known(Shape::Text),
        /// Extensions that must be there, each with its version, or `any`: `{ vector: 0.8.6 }`.
        extensions: IndexMap<String, Word> = maybe(Shape::Map(&WORD)).or("{}"),
        /// Whether a collation whose rules have changed fails the step. Text indexes that were built by other rules do not find what is there, until REINDEX and ALTER … REFRESH VERSION.
        collations: bool = maybe(Shape::Boolean).or("true"),
        /// Also have pg_amcheck read all tables and B-tree indexes, which takes as long as reading them. HNSW and IVFFlat indexes it cannot check.
        amcheck: bool = maybe(Shape::Boolean).or("false"),
        /// The most findings of pg_amcheck that are told.
        max_findings: usize = maybe(Shape::Integer).or("100"),
    }
}

const OUTPUTS: &[Field] = &[
    Field::required(
        "invalid_indexes",
        Shape::List(&Shape::Text),
        "Indexes that answer nothing; one fails the step.",
    ),
    INSPECTED[1],
    INSPECTED[2],
    INSPECTED[3],
    INSPECTED[4],
    Field::optional(
        "amcheck",
        Shape::Text,
        "The version of pg_amcheck, which has found nothing; with `amcheck`.",
    ),
];

/// To check tables and indexes by the functions of amcheck, which is an extension of the database.
const CHECKING: &str = "CREATE EXTENSION IF NOT EXISTS amcheck;
GRANT EXECUTE ON FUNCTION bt_index_check(regclass, boolean) TO {login};
GRANT EXECUTE ON FUNCTION verify_heapam(regclass, boolean, boolean, text, bigint, bigint) TO {login};";

/// Proves a database.
pub struct Verify;

#[async_trait]
impl StepKind for Verify {
    type Inputs = VerifyInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["postgres"]),
            outputs: Shape::Record(OUTPUTS),
            permissions: &[
                "CONNECT on the database",
                "with `amcheck`: the extension amcheck there, and EXECUTE on its functions",
            ],
            example: "proved:\n  uses: postgres.verify\n  target: vectors\n  with:\n    database: octopus\n    extensions: { vector: any }\n    amcheck: true\n",
            ..described(
                "postgres.verify",
                "Proves that a database answers as it should: no invalid index, the extensions that it needs, collations as its indexes were built by, and no damage that pg_amcheck finds. Tells its columns of vectors and their indexes.",
            )
        }
    }

    fn touches(&self, target: Option<&str>, inputs: &VerifyInputs) -> Vec<Touch> {
        let resource = inputs.database.value().map_or("?".into(), |name| format!("database {name}"));
        vec![Touch { target: target.map(str::to_owned), resource, access: Access::Reads }]
    }

    fn actions(&self, target: Option<&str>, inputs: &VerifyInputs, _facts: &Facts) -> Vec<Action> {
        let ask = |sql: &&str| Action::reads(ActionKind::Sql, target, *sql);
        let mut actions: Vec<Action> = Inspection::QUESTIONS.iter().map(ask).collect();
        if inputs.amcheck.value().copied().unwrap_or(true) {
            let line = format!("{} {}", amcheck::PROGRAM, amcheck::ARGUMENTS.join(" "));
            actions.push(Action::reads(ActionKind::Process, target, line));
        }
        actions
    }

    fn grants(&self, inputs: &VerifyInputs) -> Vec<Grant> {
        let mut grants = reading(&inputs.database);
        if inputs.amcheck.value().copied().unwrap_or(true) {
            grants.push(within(Duty::Plan, &inputs.database, CHECKING));
        }
        grants
    }

    /// What has to be installed is there. What is wrong with the database itself is for the step to find: it may come back before.
    async fn preflight(&self, ctx: &Ctx, inputs: &VerifyInputs) -> Result<Preflight, StepError> {
        if inputs.amcheck.value() != Some(&true) {
            return Ok(Preflight::default());
        }
        let connection = ctx.connection().await?;
        let connection = PostgresConnection::of(&*connection)?;
        Ok(found(amcheck::program(ctx, connection).await.err()))
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &VerifyInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let database = inputs.database.known()?;
        let connection = ctx.connection().await?;
        let connection = PostgresConnection::of(&*connection)?;
        let inspect = async {
            let session = connection.in_database(Some(database.as_str())).await?;
            Inspection::of(&session, connection.facts().await?.major()).await
        };
        let seen = ctx.or_cancelled(inspect).await?;
        answers(database, &seen)?;
        has_extensions(database, inputs.extensions.known()?, &seen)?;
        if *inputs.collations.known()? {
            sorts(database, &seen)?;
        }
        let mut outputs = seen.outputs();
        if *inputs.amcheck.known()? {
            has_extensions(database, &IndexMap::from([("amcheck".to_owned(), Word("any".into()))]), &seen)?;
            let most = *inputs.max_findings.known()?;
            let checked = amcheck::checked(ctx, connection, database.as_str(), most).await?;
            is_whole(database, &checked)?;
            outputs["amcheck"] = json!(checked.program.version);
        }
        Ok(Ended::Outputs(outputs))
    }

    async fn reconcile(&self, _ctx: &Ctx, _inputs: &VerifyInputs) -> Result<Reconciled, StepError> {
        Ok(Reconciled::NotDone)
    }
}

/// Every index answers.
fn answers(database: &Identifier, found: &Inspection) -> Result<(), StepError> {
    if found.invalid.is_empty() {
        return Ok(());
    }
    let names: Vec<String> =
        found.invalid.iter().map(|index| format!("{} of {}", index.name, index.of)).collect();
    let message = format!("{database} has indexes that answer nothing: {}", names.join(", "));
    Err(StepError::new("postgres.index", message).help(
        "REINDEX INDEX builds one anew, unless it is being built just now (see pg_stat_progress_create_index); what CREATE INDEX CONCURRENTLY left behind has to be dropped",
    ))
}

/// Every extension that is named is there, in its version.
fn has_extensions(
    database: &Identifier,
    wanted: &IndexMap<String, Word>,
    found: &Inspection,
) -> Result<(), StepError> {
    let mut wrong: Vec<String> = Vec::new();
    for (name, Word(version)) in wanted {
        match found.extensions.iter().find(|known| known.name == *name) {
            None => wrong.push(format!("{name} is not installed")),
            Some(known) if version != "any" && known.version != *version => {
                wrong.push(format!("{name} is {}, not {version}", known.version));
            }
            Some(_) => {}
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(StepError::new("postgres.extension", format!("{database}: {}", wrong.join(", "))).help(
        "CREATE EXTENSION installs one and ALTER EXTENSION … UPDATE changes its version, in that database; their files come with a package at the server",
    ))
}

/// Every index sorts by the rules that this machine has.
fn sorts(database: &Identifier, found: &Inspection) -> Result<(), StepError> {
    if found.collations.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = found.collations.iter().map(|changed| changed.name.as_str()).collect();
    let message = format!(
        "{database} has indexes that were built by other rules of sorting than this machine has: {}",
        names.join(", ")
    );
    Err(StepError::new("postgres.collation", message).help(
        "REINDEX DATABASE, then ALTER COLLATION … REFRESH VERSION and ALTER DATABASE … REFRESH COLLATION VERSION; or say `collations: false` and take text that is not found",
    ))
}

/// pg_amcheck found nothing.
fn is_whole(database: &Identifier, checked: &Checked) -> Result<(), StepError> {
    let Some(first) = checked.findings.first() else { return Ok(()) };
    let message = format!("{database} is damaged, {} finding(s): {first}", checked.told);
    Err(StepError::new("postgres.damaged", message)
        .detail(checked.findings.join("\n"))
        .help("keep the last good backup; an index alone is mended by REINDEX, a table by restoring it"))
}

#[cfg(test)]
mod tests {
    use drydock_step::test_host::actions;

    use super::*;

    #[test]
    fn a_dry_run_shows_the_questions_and_the_program() {
        let shown = actions(&Verify, json!({ "database": "octopus" })).unwrap();
        assert_eq!(shown.len(), Inspection::QUESTIONS.len());
        let shown = actions(&Verify, json!({ "database": "octopus", "amcheck": true })).unwrap();
        let program =
            Action::reads(ActionKind::Process, Some("t"), "pg_amcheck --no-password --heapallindexed");
        assert_eq!(shown.last(), Some(&program));
        assert!(shown.iter().all(|action| !action.writes));
    }
}
