//! Running a script's batches in order: [`ScriptRun`].

use drydock_step::StepError;
use serde_json::{Value, json};

use super::answer::{Answer, present};
use super::failure::{Effect, Failure};
use super::script_record::Record;
use super::script_text::{BoundBatch, ScriptText};
use super::session::{Request, Session};
use super::sql::Identifier;

/// A transaction that stayed open would hold its locks.
const ROLL_BACK: &str = "IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION";

/// One run of a script.
pub(super) struct ScriptRun<'a> {
    /// The session that runs it.
    pub(super) session: &'a Session,
    /// The script.
    pub(super) script: &'a ScriptText,
    /// The database that it begins in.
    pub(super) database: &'a Identifier,
    /// The most rows of all answers.
    pub(super) max_rows: usize,
}

impl ScriptRun<'_> {
    /// Runs the batches, each on its own; what they gave.
    ///
    /// # Errors
    /// What the server says, with the batch and its line; `script.transaction` for one that is left open.
    pub(super) async fn plain(&self) -> Result<Value, StepError> {
        let ran = async {
            self.begin("SET XACT_ABORT ON").await?;
            let outputs = self.batches(None).await?;
            match self.depth().await? {
                0 => Ok(outputs),
                _ => Err(transaction("the script leaves a transaction open, which would hold its locks")),
            }
        };
        self.ended(ran.await).await
    }

    /// Runs the batches as one transaction that leaves a record; what they gave.
    ///
    /// # Errors
    /// What the server says; `script.transaction` for a batch that ends the transaction.
    pub(super) async fn once(&self, record: &Record) -> Result<Value, StepError> {
        let ran = async {
            self.begin("SET XACT_ABORT ON; BEGIN TRANSACTION").await?;
            let outputs = self.batches(Some(1)).await?;
            if self.depth().await? != 1 {
                return Err(transaction("the script leaves a transaction of its own open"));
            }
            let commit = record.commit(&outputs.to_string());
            self.send(Request::of(&commit), "committing the script").await?;
            Ok(outputs)
        };
        self.ended(ran.await).await
    }

    async fn begin(&self, sql: &str) -> Result<(), StepError> {
        let request = Request { database: Some(self.database.as_str()), ..Request::of(sql) };
        let entering = format!("entering database {}", self.database);
        self.send(request, &entering).await.map(|_| ())
    }

    async fn send(&self, request: Request<'_>, doing: &str) -> Result<Vec<Answer>, StepError> {
        self.session.answers(request).await.map_err(|failure| failure.while_doing(doing, Effect::Writes))
    }

    /// How many transactions are open, one within the other.
    async fn depth(&self) -> Result<i64, StepError> {
        let answers =
            self.send(Request::of("SELECT @@TRANCOUNT AS depth"), "asking for open transactions").await?;
        let answer = answers.into_iter().next().unwrap_or_default();
        present(answer.first()?.number("depth")?, "depth")
    }

    /// The batches; `least` transactions have to be open after each.
    async fn batches(&self, least: Option<i64>) -> Result<Value, StepError> {
        let (mut ran, mut rows, mut results) = (0_u64, 0, Vec::new());
        for batch in &self.script.batches {
            for _ in 0..batch.times {
                let kept = self.max_rows.saturating_sub(rows).saturating_add(1);
                for answer in self.run(batch, kept).await? {
                    rows += answer.len();
                    let set = answer.row_set()?;
                    results.push(json!({ "batch": batch.number, "columns": set.columns, "rows": set.rows }));
                }
                if rows > self.max_rows {
                    let message = format!("the script answers more than {} rows", self.max_rows);
                    return Err(StepError::new("query.rows", message)
                        .help("let it count or sum, or raise `max_rows`; outputs are at most 1 MiB"));
                }
                if let Some(least) = least
                    && self.depth().await? < least
                {
                    let (number, line) = (batch.number, batch.line);
                    return Err(transaction(&format!(
                        "batch {number}, which begins on line {line}, ends the transaction that the script runs in"
                    )));
                }
                ran += 1;
            }
        }
        Ok(json!({ "batches": ran, "results": results }))
    }

    async fn run(&self, batch: &BoundBatch, rows: usize) -> Result<Vec<Answer>, StepError> {
        let request = Request { parameters: &batch.values, rows, ..Request::of(&batch.text) };
        let doing = format!("batch {} of the script, which begins on line {}", batch.number, batch.line);
        let answers = self.session.answers(request).await;
        answers
            .map_err(|failure| below(failure, batch.line).of_statement(&batch.text, &doing, Effect::Writes))
    }

    /// Leaves no transaction open and no database entered.
    async fn ended(&self, ran: Result<Value, StepError>) -> Result<Value, StepError> {
        if ran.is_err() {
            // Only the first error is told; where the connection is lost, the server rolls back by itself.
            let _ = self.session.answers(Request::of(ROLL_BACK)).await;
        }
        self.session.forget_database().await;
        ran
    }
}

/// A refusal's line, counted in the script instead of the batch. Lines of procedures stay theirs.
fn below(failure: Failure, line: usize) -> Failure {
    match failure {
        Failure::Refused(mut refusal) if refusal.procedure.is_empty() && refusal.line > 0 => {
            let above = u32::try_from(line.saturating_sub(1)).unwrap_or(u32::MAX);
            refusal.line = refusal.line.saturating_add(above);
            Failure::Refused(refusal)
        }
        other => other,
    }
}

fn transaction(message: &str) -> StepError {
    StepError::new("script.transaction", message).help(
        "leave COMMIT and ROLLBACK to the step, or say `idempotent: true`: each batch then stands for itself, and may run twice",
    )
}
