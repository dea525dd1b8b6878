//! `ef.update`: [`Update`] brings a database's schema to what the application expects.

use async_trait::async_trait;
use drydock_step::{
    Access, Action, ActionKind, Ctx, Duty, Effect, Ended, Facts, Field, Grant, GrantPlace, In, KindShape,
    PlanPath, Preflight, PreflightFinding, Reconciled, Shape, StepError, StepKind, TargetNeed, Touch, inputs,
    known, maybe,
};
use serde_json::{Value, json};

use super::schema::{Schema, rows_of};
use super::way::Way;
use crate::described::described;
use crate::word::{WORD, Word};

inputs! {
    /// Inputs of `ef.update`.
    pub struct UpdateInputs {
        /// The database. It must be there: EF would make an empty one.
        database: String = known(Shape::Text),
        /// A migration bundle: the program that `dotnet ef migrations bundle` makes.
        bundle: Option<PlanPath> = maybe(Shape::Path),
        /// An idempotent script: what `dotnet ef migrations script --idempotent` makes. It is cut at its GO lines.
        script: Option<PlanPath> = maybe(Shape::Path).naming_a_source(),
        /// A command such as `[dotnet, ef, database, update]`.
        command: Option<Vec<Word>> = maybe(Shape::List(&WORD)),
        /// Further arguments of bundle or command.
        args: Vec<Word> = maybe(Shape::List(&WORD)).or("[]"),
        /// The variable that bundle or command read their connection string from, such as `ConnectionStrings__Octopus`. Without it they
        /// get it as the argument `--connection`, where everybody on the runner can see it.
        connection_env: Option<String> = maybe(Shape::Text),
        /// The ids of all migrations that the application knows. A database that has others is refused, and all must be there afterwards.
        expected: Option<Vec<String>> = maybe(Shape::List(&Shape::Text)),
    }
}

const OUTPUTS: &[Field] = &[
    Field::required(
        "applied",
        Shape::List(&Shape::Text),
        "The ids of the migrations that this step applied.",
    ),
    Field::required(
        "migrations",
        Shape::List(&Shape::Text),
        "The ids of all migrations that are applied now.",
    ),
    Field::required("tables", Shape::Integer, "How many tables the database has now."),
];

/// Runs migrations.
pub struct Update;

impl UpdateInputs {
    /// How the migrations are run; nothing while that is not known.
    fn way(&self) -> Option<Result<Way, StepError>> {
        let (bundle, script) = (self.bundle.value()?, self.script.value()?);
        let (command, args) = (self.command.value()?, self.args.value()?);
        let program = |argv: Vec<String>| {
            let argv = argv.into_iter().chain(args.iter().map(|word| word.0.clone())).collect();
            Some(Ok(Way::Program { argv, variable: self.connection_env.value()?.clone() }))
        };
        match (bundle, script, command) {
            (Some(bundle), None, None) => program(vec![in_folder(&bundle.0)]),
            (None, Some(script), None) if args.is_empty() => Some(Ok(Way::Script(script.clone()))),
            (None, Some(_), None) => Some(Err(StepError::new("input", "a script takes no `args`"))),
            (None, None, Some(command)) if !command.is_empty() => {
                program(command.iter().map(|word| word.0.clone()).collect())
            }
            _ => Some(Err(StepError::new("input", "give one of `bundle`, `script` and `command`"))),
        }
    }
}

/// A bundle beside the plan is that file, not a program of the search path.
fn in_folder(bundle: &str) -> String {
    if bundle.contains('/') { bundle.to_owned() } else { format!("./{bundle}") }
}

/// Refuses a database that is newer than the application.
fn refuse_newer(schema: &Schema, expected: Option<&Vec<String>>) -> Result<(), StepError> {
    let beyond = expected.map(|expected| schema.beyond(expected)).unwrap_or_default();
    if beyond.is_empty() {
        return Ok(());
    }
    let message =
        format!("the database has migrations that the application does not know: {}", beyond.join(", "));
    Err(StepError::new("ef.newer", message)
        .help("deploy the release that made them, or restore to a moment before; never migrate down to fit an older release"))
}

fn outputs(schema: &Schema, before: &[String]) -> Value {
    let applied: Vec<&str> = schema.beyond(before);
    json!({ "applied": applied, "migrations": schema.migrations, "tables": schema.tables })
}

#[async_trait]
impl StepKind for Update {
    type Inputs = UpdateInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["sqlserver"]),
            outputs: Shape::Record(OUTPUTS),
            effect: Effect::Writes,
            permissions: &["db_owner, or what the migrations need", "SELECT on sys.databases"],
            example: "migrate:\n  uses: ef.update\n  target: sql\n  needs: [restore_sql]\n  with: { database: OctopusDB, bundle: ./efbundle, connection_env: ConnectionStrings__Octopus }\n",
            ..described(
                "ef.update",
                "Applies the migrations of EF Core that a database lacks: by a bundle, an idempotent script or a command. Refuses a \
                 database that is not there or that is newer than the application.",
            )
        }
    }

    fn touches(&self, target: Option<&str>, inputs: &UpdateInputs) -> Vec<Touch> {
        let resource = inputs.database.value().map_or("?".into(), |name| format!("database {name}"));
        vec![Touch { target: target.map(str::to_owned), resource, access: Access::Writes }]
    }

    fn actions(&self, target: Option<&str>, inputs: &UpdateInputs, _facts: &Facts) -> Vec<Action> {
        let database = inputs.database.to_string();
        match inputs.way() {
            Some(Ok(way @ Way::Script(_))) => {
                vec![Action::writes(ActionKind::Sql, target, way.line(&database))]
            }
            Some(Ok(way @ Way::Program { .. })) => {
                vec![Action::writes(ActionKind::Process, target, way.line(&database))]
            }
            Some(Err(error)) => {
                vec![Action::writes(ActionKind::Process, target, format!("(nothing: {})", error.message))]
            }
            None => vec![Action::writes(ActionKind::Process, target, format!("migrate database {database}"))],
        }
    }

    fn grants(&self, inputs: &UpdateInputs) -> Vec<Grant> {
        // What a migration needs is its own secret: it may change anything in the database.
        let statement = "ALTER ROLE [db_owner] ADD MEMBER {login};".to_owned();
        let place = match &inputs.database {
            In::Known(database) => GrantPlace::Database(database.clone()),
            unknown @ In::After(_) => GrantPlace::Unknown(unknown.or_after(|_| String::new())),
        };
        vec![Grant { duty: Duty::Plan, place, statement }]
    }

    async fn preflight(&self, ctx: &Ctx, inputs: &UpdateInputs) -> Result<Preflight, StepError> {
        let mut findings = Vec::new();
        let mut find = |error: StepError, fatal| {
            findings.push(PreflightFinding {
                code: error.code,
                fatal,
                message: error.message,
                help: error.help,
            });
        };
        let file = match inputs.way() {
            Some(Ok(Way::Script(path))) => Some(path.resolved(&ctx.folder)),
            Some(Ok(Way::Program { .. })) => {
                inputs.bundle.value().and_then(Option::as_ref).map(|bundle| bundle.resolved(&ctx.folder))
            }
            Some(Err(error)) => {
                find(error, true);
                None
            }
            None => None,
        };
        if let Some(file) = file.filter(|file| !file.is_file()) {
            let error = StepError::new("ef.file", format!("there is no file {}", file.display()));
            find(error.help("paths are relative to the plan's folder"), true);
        }
        if let In::Known(database) = &inputs.database {
            let connection = ctx.connection().await?;
            match Schema::ask(rows_of(&*connection)?, database).await {
                Ok(schema) => {
                    let expected = inputs.expected.value().and_then(Option::as_ref);
                    // A restore before this step may bring an older database.
                    if let Err(error) = refuse_newer(&schema, expected) {
                        find(error, false);
                    }
                }
                Err(error) if error.transient => return Err(error),
                // The same: the step before this one may be what makes it.
                Err(error) => find(error, false),
            }
        }
        Ok(Preflight { facts: Value::Null, findings })
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &UpdateInputs,
        from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let database = inputs.database.known()?;
        let way = inputs.way().ok_or_else(|| StepError::internal("an input is not known"))??;
        let expected = inputs.expected.known()?.as_ref();
        let connection = ctx.connection().await?;
        let rows = rows_of(&*connection)?;
        let now = Schema::ask(rows, database).await?;
        refuse_newer(&now, expected)?;
        // What a lost attempt applied was applied by this step as well.
        let before = from.and_then(applied_before).unwrap_or(now.migrations);
        ctx.note(json!({ "before": before })).await?;
        ctx.or_cancelled(way.run(ctx, &*connection, database)).await?;
        let after = Schema::ask(rows, database).await?;
        refuse_newer(&after, expected)?;
        let missing = expected.map(|expected| after.missing(expected)).unwrap_or_default();
        if !missing.is_empty() {
            let message = format!("migrations are still pending: {}", missing.join(", "));
            return Err(StepError::new("ef.pending", message)
                .help("is the bundle or script of the same release as `expected`?"));
        }
        Ok(Ended::Outputs(outputs(&after, &before)))
    }

    /// Migrations may be applied again: each is skipped that is there.
    async fn reconcile(&self, ctx: &Ctx, inputs: &UpdateInputs) -> Result<Reconciled, StepError> {
        let Some(before) = ctx.notes.iter().rev().find_map(applied_before) else {
            return Ok(Reconciled::NotDone);
        };
        let Some(expected) = inputs.expected.known()? else {
            return Ok(Reconciled::Partly(json!({ "before": before })));
        };
        let connection = ctx.connection().await?;
        let now = Schema::ask(rows_of(&*connection)?, inputs.database.known()?).await?;
        let done = now.missing(expected).is_empty() && now.beyond(expected).is_empty();
        Ok(if done {
            Reconciled::Done(outputs(&now, &before))
        } else {
            Reconciled::Partly(json!({ "before": before }))
        })
    }
}

/// The migrations that were applied before the step began, where a note or an earlier attempt tells them.
fn applied_before(told: &Value) -> Option<Vec<String>> {
    serde_json::from_value(told.get("before")?.clone()).ok()
}

#[cfg(test)]
mod tests {
    use drydock_step::test_host::{actions, touches};

    use super::*;

    #[test]
    fn a_dry_run_shows_what_is_run() {
        for (with, kind, text) in [
            (json!({ "bundle": "efbundle" }), ActionKind::Process, "./efbundle --connection ***"),
            (
                json!({ "bundle": "./b", "args": ["--verbose", 1], "connection_env": "C" }),
                ActionKind::Process,
                "C=*** ./b --verbose 1",
            ),
            (
                json!({ "command": ["dotnet", "ef", "database", "update"] }),
                ActionKind::Process,
                "dotnet ef database update --connection ***",
            ),
            (json!({ "script": "./m.sql" }), ActionKind::Sql, "run ./m.sql in database X, batch by batch"),
            (json!({ "bundle": { "$after": ["a"] } }), ActionKind::Process, "migrate database X"),
            (json!({}), ActionKind::Process, "(nothing: give one of `bundle`, `script` and `command`)"),
            (
                json!({ "bundle": "b", "script": "s" }),
                ActionKind::Process,
                "(nothing: give one of `bundle`, `script` and `command`)",
            ),
            (
                json!({ "script": "s", "args": ["x"] }),
                ActionKind::Process,
                "(nothing: a script takes no `args`)",
            ),
        ] {
            let mut with = with;
            with["database"] = "X".into();
            assert_eq!(
                actions(&Update, with.clone()).unwrap(),
                [Action::writes(kind, Some("t"), text)],
                "{with}"
            );
            assert_eq!(touches(&Update, with).unwrap()[0].resource, "database X");
        }
    }

    #[test]
    fn a_newer_database_is_refused() {
        let schema = Schema { migrations: vec!["1_a".into(), "2_b".into()], tables: 3 };
        assert_eq!(refuse_newer(&schema, None), Ok(()));
        assert_eq!(refuse_newer(&schema, Some(&vec!["1_a".into(), "2_b".into(), "3_c".into()])), Ok(()));
        let error = refuse_newer(&schema, Some(&vec!["1_a".into()])).unwrap_err();
        assert!(error.code == "ef.newer" && error.message.ends_with("does not know: 2_b"), "{error}");
        assert_eq!(outputs(&schema, &["1_a".into()])["applied"], json!(["2_b"]));
    }
}
