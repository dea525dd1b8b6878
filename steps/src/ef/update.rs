//! `ef.update`: [`Update`] brings a database's schema to what the application expects.

use async_trait::async_trait;
use drydock_step::target::Rows;
use drydock_step::{
    Access, Action, ActionKind, Ctx, Duty, Effect, Ended, Facts, Field, Grant, GrantPlace, In, KindShape,
    PlanPath, Preflight, PreflightFinding, Reconciled, Shape, StepError, StepKind, TargetNeed, Touch, inputs,
    known, maybe,
};
use serde_json::{Value, json};

use super::dotnet::{Dotnet, FIELDS as DOTNET, listed};
use super::release::Release;
use super::schema::{HistoryTable, Schema, missing_tables, rows_of};
use super::way::{Way, asked, script_text};
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
        /// `dotnet ef database update` with these options, where the runner has the project and the SDK.
        dotnet: Option<Dotnet> = maybe(Shape::Record(DOTNET)),
        /// The migration to stop at, an id or the name in it; all where it is left out. One that the database is beyond is refused.
        migration: Option<String> = maybe(Shape::Text),
        /// Further arguments of bundle, command or `dotnet`.
        args: Vec<Word> = maybe(Shape::List(&WORD)).or("[]"),
        /// The variable that bundle or command read their connection string from, such as `ConnectionStrings__Octopus`. Without it they
        /// get it as the argument `--connection`, where everybody on the runner can see it.
        connection_env: Option<String> = maybe(Shape::Text),
        /// The ids of all migrations that the application knows. A database that has others is refused, and all must be there afterwards. A
        /// script and `dotnet` tell them by themselves; a bundle cannot.
        expected: Option<Vec<String>> = maybe(Shape::List(&Shape::Text)),
        /// The ids of the migrations that the database will have when this step begins, as `migrations` of `point.select` gives them. A dry
        /// run compares the application with them, before anything is restored.
        restored: Option<Vec<String>> = maybe(Shape::List(&Shape::Text)),
        /// Where the application keeps its migrations, `schema.table`, where it calls `MigrationsHistoryTable`. Only Drydock needs it told: EF
        /// has it in its code.
        history_table: HistoryTable = maybe(Shape::Text).or("\"dbo.__EFMigrationsHistory\""),
        /// Tables that must be there afterwards, `Octopus_Agents` or `drydock.marks`.
        tables: Vec<String> = maybe(Shape::List(&Shape::Text)).or("[]"),
    }
}

const OUTPUTS: &[Field] = &[
    Field::required(
        "applied",
        Shape::List(&Shape::Text),
        "The ids of the migrations that this step applied.",
    ),
    Field::optional(
        "pending",
        Shape::List(&Shape::Text),
        "The ids of those that were pending before, where the application's are known.",
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
        let (command, dotnet) = (self.command.value()?, self.dotnet.value()?);
        let (args, migration) = (self.args.value()?, self.migration.value()?);
        let program = |argv: Vec<String>| {
            let argv = argv.into_iter().chain(args.iter().map(|word| word.0.clone())).collect();
            Some(Ok(Way::Program { argv, variable: self.connection_env.value()?.clone() }))
        };
        let refused = |why: &str| Some(Err(StepError::new("input", why)));
        match (bundle, script, command, dotnet) {
            (Some(bundle), None, None, None) => {
                let migration = migration.iter().cloned();
                let flags = ["--no-color", "--prefix-output"].map(str::to_owned);
                program([in_folder(&bundle.0)].into_iter().chain(migration).chain(flags).collect())
            }
            (None, Some(_), None, None) if migration.is_some() => refused("a script takes no `migration`"),
            (None, Some(script), None, None) if args.is_empty() => Some(Ok(Way::Script(script.clone()))),
            (None, Some(_), None, None) => refused("a script takes no `args`"),
            (None, None, Some(_), None) if migration.is_some() => {
                refused("a command takes no `migration`; write it where the command wants it")
            }
            (None, None, Some(command), None) if !command.is_empty() => {
                program(command.iter().map(|word| word.0.clone()).collect())
            }
            (None, None, None, Some(dotnet)) => {
                let mut words = vec!["database", "update"];
                words.extend(migration.as_deref());
                program(dotnet.argv(&words))
            }
            _ => refused("give one of `bundle`, `script`, `command` and `dotnet`"),
        }
    }

    /// What the application knows, as far as it is told without asking a program.
    fn told_release(&self, ctx: &Ctx) -> Result<Option<Release>, StepError> {
        let migration = self.migration.value().and_then(Option::as_ref);
        if let Some(expected) = self.expected.value().and_then(Option::as_ref) {
            return Release::of(expected.clone(), migration).map(Some);
        }
        match self.script.value().and_then(Option::as_ref) {
            Some(script) => Release::of_script(&script_text(&script.resolved(&ctx.folder))?, migration),
            None => Ok(None),
        }
    }

    /// What the application knows; nothing where only a bundle or a command does.
    async fn release(&self, ctx: &Ctx) -> Result<Option<Release>, StepError> {
        if let Some(told) = self.told_release(ctx)? {
            return Ok(Some(told));
        }
        let migration = self.migration.known()?.as_ref();
        match (self.dotnet.known()?, migration) {
            (Some(dotnet), _) => {
                let listed = listed(&asked(ctx, &dotnet.list()).await?)?;
                Release::of(listed, migration).map(Some)
            }
            (None, Some(_)) => Err(StepError::new("input", "`migration` needs `expected`").help(
                "whether EF would have to take migrations back is only known by the ids that the application knows",
            )),
            (None, None) => Ok(None),
        }
    }
}

/// A bundle beside the plan is that file, not a program of the search path.
fn in_folder(bundle: &str) -> String {
    if bundle.contains('/') { bundle.to_owned() } else { format!("./{bundle}") }
}

/// Refuses tables that are not there.
///
/// # Errors
/// `ef.tables`; what the server says.
async fn refuse_missing(rows: &dyn Rows, database: &str, tables: &[String]) -> Result<(), StepError> {
    let missing = missing_tables(rows, database, tables).await?;
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!("after the migrations database {database} lacks the tables {}", missing.join(", "));
    Err(StepError::new("ef.tables", message)
        .help("is it the right database, and do the migrations of this release make them?"))
}

fn outputs(schema: &Schema, before: &[String], release: Option<&Release>) -> Value {
    let applied: Vec<&str> = schema.beyond(before);
    let pending = release.map(|release| release.pending(before));
    json!({ "applied": applied, "pending": pending, "migrations": schema.migrations, "tables": schema.tables })
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

    fn judge(&self, inputs: &UpdateInputs) -> Result<(), StepError> {
        inputs.way().map_or(Ok(()), |way| way.map(drop))
    }

    fn touches(&self, target: Option<&str>, inputs: &UpdateInputs) -> Vec<Touch> {
        let resource = inputs.database.value().map_or("?".into(), |name| format!("database {name}"));
        vec![Touch { target: target.map(str::to_owned), resource, access: Access::Writes }]
    }

    fn actions(&self, target: Option<&str>, inputs: &UpdateInputs, facts: &Facts) -> Vec<Action> {
        let database = match facts.get("pending").and_then(Value::as_array) {
            Some(pending) => {
                let pending: Vec<&str> = pending.iter().filter_map(Value::as_str).collect();
                format!("{} (pending: {})", inputs.database, list(&pending))
            }
            None => inputs.database.to_string(),
        };
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
        let mut facts = Value::Null;
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
        // A point that kept no migrations tells nothing of them.
        let restored = inputs.restored.value().and_then(Option::as_ref).filter(|ids| !ids.is_empty());
        if let (Some(restored), Ok(Some(release))) = (restored, inputs.told_release(ctx))
            && let Err(error) = release.fits(&Schema { migrations: restored.clone(), tables: 0 })
        {
            let message = error.message.replacen("the database", "the point", 1);
            find(StepError { code: "ef.point".to_owned(), message, ..error }, true);
        }
        if let (In::Known(database), In::Known(history)) = (&inputs.database, &inputs.history_table) {
            let connection = ctx.connection().await?;
            match Schema::ask(rows_of(&*connection)?, database, history).await {
                Ok(schema) => match inputs.told_release(ctx) {
                    Ok(Some(release)) => {
                        facts = json!({ "pending": release.pending(restored.unwrap_or(&schema.migrations)) });
                        if let Err(error) = release.fits(&schema) {
                            find(error, true);
                        }
                    }
                    // What cannot be read was found above.
                    Ok(None) => {}
                    Err(error) if error.code == "ef.script" => {}
                    Err(error) => find(error, true),
                },
                Err(error) if error.transient => return Err(error),
                Err(error) => find(error, true),
            }
        }
        Ok(Preflight { facts, findings })
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &UpdateInputs,
        from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let (database, history) = (inputs.database.known()?, inputs.history_table.known()?);
        let way = inputs.way().ok_or_else(|| StepError::internal("an input is not known"))??;
        let release = ctx.or_cancelled(inputs.release(ctx)).await?;
        let connection = ctx.connection().await?;
        let rows = rows_of(&*connection)?;
        let now = Schema::ask(rows, database, history).await?;
        if let Some(release) = &release {
            release.fits(&now)?;
            ctx.log(format!("pending: {}", list(&release.pending(&now.migrations))));
        }
        // What a lost attempt applied was applied by this step as well.
        let before = from.and_then(applied_before).unwrap_or(now.migrations);
        ctx.note(json!({ "before": before })).await?;
        ctx.or_cancelled(way.run(ctx, &*connection, database)).await?;
        let after = Schema::ask(rows, database, history).await?;
        if let Some(release) = &release {
            release.fits(&after)?;
            let missing = release.pending(&after.migrations);
            if !missing.is_empty() {
                let message = format!("migrations are still pending: {}", missing.join(", "));
                return Err(StepError::new("ef.pending", message)
                    .help("is the bundle or script of the same release as `expected`?"));
            }
        }
        refuse_missing(rows, database, inputs.tables.known()?).await?;
        Ok(Ended::Outputs(outputs(&after, &before, release.as_ref())))
    }

    /// Migrations may be applied again: each is skipped that is there.
    async fn reconcile(&self, ctx: &Ctx, inputs: &UpdateInputs) -> Result<Reconciled, StepError> {
        let Some(before) = ctx.notes.iter().rev().find_map(applied_before) else {
            return Ok(Reconciled::NotDone);
        };
        let Some(release) = ctx.or_cancelled(inputs.release(ctx)).await? else {
            return Ok(Reconciled::Partly(json!({ "before": before })));
        };
        let (connection, database) = (ctx.connection().await?, inputs.database.known()?);
        let rows = rows_of(&*connection)?;
        let now = Schema::ask(rows, database, inputs.history_table.known()?).await?;
        let done = release.pending(&now.migrations).is_empty()
            && release.fits(&now).is_ok()
            && missing_tables(rows, database, inputs.tables.known()?).await?.is_empty();
        Ok(if done {
            Reconciled::Done(outputs(&now, &before, Some(&release)))
        } else {
            Reconciled::Partly(json!({ "before": before }))
        })
    }
}

fn list(ids: &[&str]) -> String {
    if ids.is_empty() { "nothing".to_owned() } else { ids.join(", ") }
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
            (
                json!({ "bundle": "efbundle" }),
                ActionKind::Process,
                "./efbundle --no-color --prefix-output --connection ***",
            ),
            (
                json!({ "dotnet": { "project": "./Data", "no_build": true }, "migration": "2_b", "args": ["--verbose"] }),
                ActionKind::Process,
                "dotnet ef database update 2_b --project ./Data --no-build --no-color --prefix-output --verbose --connection ***",
            ),
            (
                json!({ "bundle": "b", "migration": "2_b" }),
                ActionKind::Process,
                "./b 2_b --no-color --prefix-output --connection ***",
            ),
            (
                json!({ "script": "s", "migration": "2_b" }),
                ActionKind::Process,
                "(nothing: a script takes no `migration`)",
            ),
            (
                json!({ "bundle": "./b", "args": ["--verbose", 1], "connection_env": "C" }),
                ActionKind::Process,
                "C=*** ./b --no-color --prefix-output --verbose 1",
            ),
            (
                json!({ "command": ["dotnet", "ef", "database", "update"] }),
                ActionKind::Process,
                "dotnet ef database update --connection ***",
            ),
            (json!({ "script": "./m.sql" }), ActionKind::Sql, "run ./m.sql in database X, batch by batch"),
            (json!({ "bundle": { "$after": ["a"] } }), ActionKind::Process, "migrate database X"),
            (
                json!({}),
                ActionKind::Process,
                "(nothing: give one of `bundle`, `script`, `command` and `dotnet`)",
            ),
            (
                json!({ "bundle": "b", "script": "s" }),
                ActionKind::Process,
                "(nothing: give one of `bundle`, `script`, `command` and `dotnet`)",
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
    fn outputs_tell_what_was_pending_and_what_was_applied() {
        let schema = Schema { migrations: vec!["1_a".into(), "2_b".into()], tables: 3 };
        let before = ["1_a".to_owned()];
        let release = Release::of(vec!["1_a".into(), "2_b".into()], None).unwrap();
        let told = outputs(&schema, &before, Some(&release));
        assert_eq!((&told["applied"], &told["pending"]), (&json!(["2_b"]), &json!(["2_b"])));
        assert_eq!(outputs(&schema, &before, None)["pending"], Value::Null);
    }
}
