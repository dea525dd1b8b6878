//! `sqlserver.script`: [`Script`] runs a script of several batches, once.

use async_trait::async_trait;
use drydock_step::{
    Access, Action, ActionKind, Ctx, Duty, Effect, Ended, Facts, Field, Grant, In, KindShape, PlanPath,
    Preflight, PreflightFinding, Reconciled, Shape, StepError, StepKind, TargetNeed, Touch, inputs, known,
    maybe,
};
use indexmap::IndexMap;
use serde_json::{Value, json};

use super::database::{DatabaseFacts, State};
use super::finding::{fatal, found};
use super::parameters::values;
use super::rights::{READER, WRITER, scripts, watching, within};
use super::script_record::{Record, SCRIPTS};
use super::script_run::ScriptRun;
use super::script_text::{ScriptText, SqlcmdVariables};
use super::settings::marked;
use super::sql::Identifier;
use super::target::SqlServerConnection;
use super::watch::{Work, running, stop};
use crate::described::described;

inputs! {
    /// Inputs of `sqlserver.script`.
    pub struct ScriptInputs {
        /// The database that it begins in.
        database: Identifier = known(Shape::Text),
        /// The script's file; GO lines end its batches, as sqlcmd reads them.
        file: Option<PlanPath> = maybe(Shape::Path),
        /// The script itself, instead of a file.
        sql: Option<String> = maybe(Shape::Text),
        /// Values of variables by name: `agent` is `@agent` in every batch that has it. They are bound, never pasted; such a batch runs in
        /// a scope of its own, so that temporary tables and SET options of it end with it.
        parameters: IndexMap<String, Value> = maybe(Shape::Map(&Shape::Any)).or("{}"),
        /// Running it twice does no harm: it runs without a transaction around it, and again from the beginning after a crash. Otherwise
        /// all batches are one transaction, whose record in drydock.scripts tells whether it was committed.
        idempotent: bool = maybe(Shape::Boolean).or("false"),
        /// What `$(name)` is: a variable of sqlcmd, which nobody would fill in, or text.
        sqlcmd_variables: SqlcmdVariables = maybe(Shape::OneOf(&["refused", "text"])).or("\"refused\""),
        /// The most rows of all answers; more fail the step.
        max_rows: usize = maybe(Shape::Integer).or("1000"),
    }
}

const RESULT: &[Field] = &[
    Field::required("batch", Shape::Integer, "Which batch answered, from 1."),
    Field::required("columns", Shape::List(&Shape::Text), "The names of the columns, in order."),
    Field::required(
        "rows",
        Shape::List(&Shape::Map(&Shape::Any)),
        "The rows, as those of `sqlserver.query`.",
    ),
];

const OUTPUTS: &[Field] = &[
    Field::required("batches", Shape::Integer, "How many batches were run, repetitions counted."),
    Field::required("results", Shape::List(&Shape::Record(RESULT)), "Every answer with columns, in order."),
];

/// Runs a script.
pub struct Script;

impl ScriptInputs {
    /// The script, from its file or as it stands in the plan; nothing while it is not known.
    fn text(&self, ctx: Option<&Ctx>) -> Result<Option<String>, StepError> {
        let (Some(file), Some(sql)) = (self.file.value(), self.sql.value()) else { return Ok(None) };
        match (file, sql, ctx) {
            (None, Some(sql), _) => Ok(Some(sql.clone())),
            (Some(_), None, None) => Ok(None),
            (Some(file), None, Some(ctx)) => {
                let path = file.resolved(&ctx.folder);
                let text = std::fs::read_to_string(&path).map_err(|error| {
                    StepError::new("script.file", format!("{} cannot be read: {error}", path.display()))
                        .help("paths are relative to the plan's folder; the file is UTF-8")
                })?;
                Ok(Some(text))
            }
            _ => Err(StepError::new("input", "give one of `file` and `sql`")),
        }
    }

    /// The script ready to run; nothing while something of it is not known.
    fn script(&self, ctx: Option<&Ctx>) -> Result<Option<ScriptText>, StepError> {
        let (Some(given), Some(variables), Some(text)) =
            (self.parameters.value(), self.sqlcmd_variables.value(), self.text(ctx)?)
        else {
            return Ok(None);
        };
        let script = ScriptText::parse(&text, &values(given)?, *variables)?;
        if self.idempotent.value() == Some(&false) {
            script.fits_a_transaction()?;
        }
        Ok(Some(script))
    }

    fn record(&self, attempt: &str) -> In<Record> {
        self.database.map(|database| Record { database: database.clone(), attempt: marked(attempt) })
    }

    /// A line for what is not known before the file is read.
    fn unread(&self) -> String {
        let what = match (self.file.value(), &self.sql) {
            (Some(Some(file)), _) => file.to_string(),
            (_, sql) => sql.or_after(|_| "the script".into()),
        };
        format!("run {what} in database {}, batch by batch", self.database)
    }
}

#[async_trait]
impl StepKind for Script {
    type Inputs = ScriptInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["sqlserver"]),
            outputs: Shape::Record(OUTPUTS),
            effect: Effect::Writes,
            permissions: &[
                "what the script does",
                "INSERT and SELECT on drydock.scripts in the database, unless it is idempotent (plans/octopus/grants.sql makes it)",
                "VIEW SERVER STATE, for finding a lost script again",
                "ALTER ANY CONNECTION, to stop it when it is cancelled",
            ],
            example: "tidy:\n  uses: sqlserver.script\n  target: sql\n  with: { database: OctopusDB, sql: \"DELETE FROM Octopus_Episodes WHERE Outcome = @outcome\", parameters: { outcome: rehearsal } }\n",
            ..described(
                "sqlserver.script",
                "Runs a script, batch by batch, stopping at the first error. All of it is one transaction that leaves a record, so that it \
                 is done once even where an answer is lost; a script that may run twice can say so and needs neither.",
            )
        }
    }

    fn touches(&self, target: Option<&str>, inputs: &ScriptInputs) -> Vec<Touch> {
        let resource = inputs.database.value().map_or("?".into(), |name| format!("database {name}"));
        vec![Touch { target: target.map(str::to_owned), resource, access: Access::Writes }]
    }

    fn learns_for_good(&self) -> bool {
        true
    }

    fn actions(&self, target: Option<&str>, inputs: &ScriptInputs, facts: &Facts) -> Vec<Action> {
        let write = |text: String| Action::writes(ActionKind::Sql, target, text);
        let script = match inputs.script(None) {
            Ok(Some(script)) => script,
            Ok(None) => match facts.get("script").and_then(Value::as_str) {
                Some(text) => {
                    let given = inputs.parameters.value().map(values);
                    let parsed = given
                        .and_then(Result::ok)
                        .map(|given| ScriptText::parse(text, &given, SqlcmdVariables::Text));
                    match parsed {
                        Some(Ok(script)) => script,
                        _ => return vec![write(inputs.unread())],
                    }
                }
                None => return vec![write(inputs.unread())],
            },
            Err(error) => return vec![write(format!("(nothing: {})", error.message))],
        };
        let once = inputs.idempotent.value() != Some(&true);
        let record = inputs.record("(attempt)");
        let mut texts = Vec::new();
        texts.extend(once.then(|| "SET XACT_ABORT ON; BEGIN TRANSACTION".to_owned()));
        for batch in &script.batches {
            let times = if batch.times == 1 { String::new() } else { format!("\nGO {}", batch.times) };
            texts.push(format!("{}{times}", batch.text));
        }
        texts.extend(once.then(|| record.or_after(|record| record.commit("(outputs)"))));
        texts.into_iter().map(write).collect()
    }

    fn grants(&self, inputs: &ScriptInputs) -> Vec<Grant> {
        let mut grants = watching(Duty::Plan);
        grants.extend([READER, WRITER].map(|right| within(Duty::Plan, &inputs.database, right)));
        if inputs.idempotent.value() != Some(&true) {
            grants.push(scripts(Duty::Plan, &inputs.database));
        }
        grants
    }

    async fn preflight(&self, ctx: &Ctx, inputs: &ScriptInputs) -> Result<Preflight, StepError> {
        let mut findings: Vec<PreflightFinding> =
            inputs.script(Some(ctx)).err().map(found).into_iter().collect();
        // A file that is too long to be read at a glance is not shown.
        let text = inputs.text(Some(ctx)).ok().flatten().filter(|text| text.len() <= 64 * 1024);
        let In::Known(database) = &inputs.database else {
            return Ok(Preflight { facts: json!({ "script": text }), findings });
        };
        let connection = ctx.connection().await?;
        let server = SqlServerConnection::of(&*connection)?;
        match DatabaseFacts::ask(server.session(), database).await? {
            None => findings.push(fatal(
                "sqlserver.911",
                format!("there is no database {database} on this server"),
                "is the name spelled right, and is it this server?",
            )),
            Some(facts) if facts.state != State::Online => findings.push(fatal(
                "sqlserver.942",
                format!("database {database} is {}, not ONLINE", facts.state_word),
                "bring it online before",
            )),
            Some(_) if inputs.idempotent.value() == Some(&true) => {}
            Some(_) => {
                let record = Record { database: database.clone(), attempt: String::new() };
                if !record.has_table(server.session()).await? {
                    findings.push(found(record.no_table()));
                }
            }
        }
        Ok(Preflight { facts: json!({ "script": text }), findings })
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &ScriptInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let script = inputs.script(Some(ctx))?.ok_or_else(|| StepError::internal("a script is not known"))?;
        let record = inputs.record(&ctx.attempt).known()?.clone();
        let connection = ctx.connection().await?;
        let server = SqlServerConnection::of(&*connection)?;
        let (session, max_rows) = (server.session(), *inputs.max_rows.known()?);
        let run = ScriptRun { session, script: &script, database: &record.database, max_rows };
        let idempotent = *inputs.idempotent.known()?;
        if !idempotent && !record.has_table(session).await? {
            return Err(record.no_table());
        }
        let session_id = server.facts().await?.session_id;
        let record_in = (!idempotent).then_some(SCRIPTS);
        ctx.note(json!({ "session_id": session_id, "record_in": record_in })).await?;
        let outputs = if idempotent { run.plain().await? } else { run.once(&record).await? };
        Ok(Ended::Outputs(outputs))
    }

    async fn reconcile(&self, ctx: &Ctx, inputs: &ScriptInputs) -> Result<Reconciled, StepError> {
        let connection = ctx.connection().await?;
        let server = SqlServerConnection::of(&*connection)?;
        if !running(server, &ctx.attempt, Work::Any).await?.is_empty() {
            return Ok(Reconciled::Busy(1000));
        }
        if ctx.notes.is_empty() {
            return Ok(Reconciled::NotDone);
        }
        if *inputs.idempotent.known()? {
            // Some of its batches may be done, and all of them may be done again.
            return Ok(Reconciled::Partly(json!({ "from": "the beginning" })));
        }
        let record = inputs.record(&ctx.attempt).known()?.clone();
        if !record.has_table(server.session()).await? {
            return Ok(Reconciled::NotDone);
        }
        // A transaction of the lost session that is still open holds its row, and this question waits for its end.
        Ok(match record.outputs(server.session()).await? {
            Some(outputs) => Reconciled::Done(outputs),
            None => Reconciled::NotDone,
        })
    }

    async fn cancel(&self, ctx: &Ctx, _inputs: &ScriptInputs) -> Result<(), StepError> {
        stop(ctx).await
    }
}
