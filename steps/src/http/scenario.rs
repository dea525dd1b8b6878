//! `http.scenario`: [`Scenario`] sends the requests of a file, one after the other, and judges each answer.

use async_trait::async_trait;
use drydock_step::{
    Access, Action, ActionKind, Ctx, Effect, Ended, Facts, KindShape, PlanPath, Preflight, PreflightFinding,
    Reconciled, Shape, StepError, StepKind, TargetNeed, Touch, inputs, known, maybe,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::blanks::Known;
use super::planned::Planned;
use super::target::HttpConnection;
use crate::described::described;
use crate::rehash::hex;

inputs! {
    /// Inputs of `http.scenario`.
    pub struct ScenarioInputs {
        /// The requests file: `drydock: v1` and a list `requests`.
        file: PlanPath = known(Shape::Path).naming_a_source(),
        /// Values for the names that the file lists under `vars`; its texts read them as `{{ name }}`.
        vars: Map<String, Value> = maybe(Shape::Map(&Shape::Any)).with_secrets().or("{}"),
    }
}

/// Sends requests in order. How far it is and what it captured is noted after each, so that after a crash it goes on with the request
/// that was under way.
pub struct Scenario;

/// By this header a server knows a request that it has done already, and answers as it did then.
const KEY_HEADER: &str = "idempotency-key";

#[async_trait]
impl StepKind for Scenario {
    type Inputs = ScenarioInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["http"]),
            outputs: Shape::Map(&Shape::Any),
            effect: Effect::Writes,
            example: "recall:\n  uses: http.scenario\n  target: api\n  needs: [healthy]\n  with: { file: ./conversation.yaml }\n",
            ..described(
                "http.scenario",
                "Sends the requests of a file in order, checks each answer's status and JSON, and hands values from one to the next. \
                 Gives what was captured, and `requests`, their number. After a crash the request that was under way is sent again, with \
                 the same `Idempotency-Key` if it writes: a server that heeds that header does it once.",
            )
        }
    }

    fn touches(&self, target: Option<&str>, _inputs: &ScenarioInputs) -> Vec<Touch> {
        vec![Touch { target: target.map(str::to_owned), resource: "?".into(), access: Access::Writes }]
    }

    fn learns_for_good(&self) -> bool {
        true
    }

    fn actions(&self, target: Option<&str>, inputs: &ScenarioInputs, facts: &Facts) -> Vec<Action> {
        let Some(requests) = facts.get("requests").and_then(Value::as_array) else {
            let text = format!("send the requests of {}", inputs.file);
            return vec![Action::writes(ActionKind::Http, target, text)];
        };
        let actions = requests.iter().filter_map(|request| {
            let line = request.get("line")?.as_str()?;
            let writes = request.get("writes").and_then(Value::as_bool).unwrap_or(true);
            Some(Action { writes, ..Action::reads(ActionKind::Http, target, line) })
        });
        actions.collect()
    }

    /// Reads the file: a mistake in it is found before anything is sent.
    async fn preflight(&self, ctx: &Ctx, inputs: &ScenarioInputs) -> Result<Preflight, StepError> {
        let Some(file) = inputs.file.value() else { return Ok(Preflight::default()) };
        Ok(match requests_of(ctx, file, inputs.vars.value()).await {
            Ok(file) => {
                let connection = ctx.connection().await?;
                HttpConnection::of(&*connection)?.listens().await?;
                let line = |planned: &Planned| json!({ "line": planned.line(), "writes": !planned.reads() });
                let requests: Vec<Value> = file.iter().map(line).collect();
                Preflight { facts: json!({ "requests": requests }), findings: Vec::new() }
            }
            Err(error) => {
                let StepError { code, message, help, .. } = error;
                Preflight {
                    facts: Value::Null,
                    findings: vec![PreflightFinding { code, fatal: true, message, help }],
                }
            }
        })
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &ScenarioInputs,
        from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let vars = inputs.vars.known()?;
        let file = requests_of(ctx, inputs.file.known()?, Some(vars)).await?;
        let connection = ctx.connection().await?;
        let server = HttpConnection::of(&*connection)?;
        let mut progress = Progress::of(from, &ctx.attempt);
        if progress.sender.is_some() {
            ctx.note(json!(progress)).await?;
        }
        let mut known = Known(vars.clone());
        known.0.extend(progress.captures.clone());
        let mut wrote = progress.done > 0;
        for (index, planned) in file.iter().enumerate().skip(progress.done) {
            let sender = progress.sender.take();
            let key = key(sender.as_deref().unwrap_or(&ctx.attempt), index);
            send(ctx, server, planned, &mut known, key).await.map_err(|error| StepError {
                message: format!("{}: {}", planned.title, error.message),
                // What went before is not sent again unasked.
                transient: error.transient && !wrote,
                ..error
            })?;
            wrote |= !planned.reads();
            progress.done = index + 1;
            for name in planned.captured_names() {
                progress
                    .captures
                    .extend(known.0.get_key_value(name).map(|(name, value)| (name.clone(), value.clone())));
            }
            ctx.progress(progress.done as u64, Some(file.len() as u64), "requests", planned.title.clone());
            if progress.done < file.len() {
                ctx.note(json!(progress)).await?;
            }
        }
        let mut outputs = progress.captures;
        outputs.insert("requests".into(), json!(file.len()));
        Ok(Ended::Outputs(Value::Object(outputs)))
    }

    /// What was under way may have been done: it is sent again as what it was.
    async fn reconcile(&self, ctx: &Ctx, _inputs: &ScenarioInputs) -> Result<Reconciled, StepError> {
        let mut progress = ctx.notes.iter().rev().find_map(Progress::read).unwrap_or_default();
        progress.sender.get_or_insert_with(|| ctx.attempt.to_string());
        progress.lost = Some(ctx.attempt.to_string());
        Ok(Reconciled::Partly(json!(progress)))
    }
}

/// What names a request to its server, for as long as the same one is sent again.
fn key(sender: &str, index: usize) -> String {
    hex(&Sha256::digest(format!("{sender}/{index}"))).chars().take(32).collect()
}

/// The requests of a file, which must be given the values that it wants, and no others.
async fn requests_of(
    ctx: &Ctx,
    file: &PlanPath,
    vars: Option<&Map<String, Value>>,
) -> Result<Vec<Planned>, StepError> {
    let requests = ctx.host.read_requests(&file.resolved(&ctx.folder)).await?;
    if let Some(vars) = vars {
        if let Some(missing) = requests.vars.iter().find(|name| !vars.contains_key(*name)) {
            let message = format!("{file} wants a value for `{missing}`, and the step's `vars` has none");
            return Err(StepError::new("http.file", message).help(format!("add `vars: {{ {missing}: … }}`")));
        }
        if let Some(more) = vars.keys().find(|name| !requests.vars.contains(name)) {
            let message =
                format!("the step's `vars` has `{more}`, and {file} does not name it under its `vars`");
            return Err(StepError::new("http.file", message).help("correct the spelling in one of the two"));
        }
    }
    Ok(Planned::all(requests))
}

/// Sends one request; its answer is judged and what is to be captured is known from now on.
async fn send(
    ctx: &Ctx,
    server: &HttpConnection,
    planned: &Planned,
    known: &mut Known,
    key: String,
) -> Result<(), StepError> {
    if ctx.host.is_cancelled() {
        return Err(StepError::cancelled());
    }
    let blank = |why: String| StepError::new("http.file", why);
    let mut outgoing = planned.outgoing(known).map_err(blank)?;
    let named = outgoing.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(KEY_HEADER));
    if !outgoing.reads() && !named {
        outgoing.headers.push((KEY_HEADER.to_owned(), key));
    }
    let sent = server.send(&outgoing, planned.timeout());
    let answer = if outgoing.reads() { ctx.or_cancelled(sent).await? } else { sent.await? };
    answer.judged(&planned.request.status)?;
    let denied = planned.denied(answer.json.as_ref(), known).map_err(blank)?;
    let missing = |why: &str| {
        StepError::new("http.assert", format!("{} answered {}, but {why}", answer.request, answer.status))
    };
    if !denied.is_empty() {
        return Err(missing(&denied.join("; ")));
    }
    planned.capture(answer.json.as_ref(), known).map_err(|why| missing(&why))
}

/// How far a scenario is. The notes of a step are such values, and so is what a lost attempt leaves to the next.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Progress {
    /// The requests that are done.
    done: usize,
    /// What they captured.
    captures: Map<String, Value>,
    /// The attempt that sent the next request first, where a lost one may have sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sender: Option<String>,
    /// The attempt that was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lost: Option<String>,
}

impl Progress {
    fn read(note: &Value) -> Option<Self> {
        Self::deserialize(note).ok()
    }

    /// Where this attempt goes on.
    fn of(from: Option<&Value>, attempt: &str) -> Self {
        let mut progress = from.and_then(Self::read).unwrap_or_default();
        // Between it and the lost one another may have been answered: what it sent is over, and is sent anew.
        if !progress.lost.take().is_some_and(|lost| is_next(attempt, &lost)) {
            progress.sender = None;
        }
        progress
    }
}

/// Whether an attempt of a step is the one after another.
fn is_next(attempt: &str, former: &str) -> bool {
    let parts =
        |id: &str| id.rsplit_once('/').and_then(|(step, n)| Some((step.to_owned(), n.parse::<u32>().ok()?)));
    parts(attempt).zip(parts(former)).is_some_and(|((step, n), (of, m))| step == of && n == m + 1)
}
