//! `http.wait`: [`Wait`] asks a server again and again until it answers as expected.

use std::time::Duration;

use async_trait::async_trait;
use drydock_step::requests::{STATUS_SET, StatusSet};
use drydock_step::{
    Action, ActionKind, Ctx, Ended, Facts, KindShape, Millis, Reconciled, Shape, StepError, StepKind,
    TargetNeed, Touch, inputs, maybe,
};
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep_until};

use super::answer::OUTPUTS;
use super::outgoing::Outgoing;
use super::target::HttpConnection;
use crate::described::described;

inputs! {
    /// Inputs of `http.wait`.
    pub struct WaitInputs {
        /// Below the target's URL.
        path: String = maybe(Shape::Text).with_secrets().or("\"/\""),
        /// The statuses that end the wait: numbers, and classes such as `2xx`.
        status: StatusSet = maybe(STATUS_SET).or("[\"2xx\"]"),
        /// Values that the answer's JSON has when the wait ends, by their names at its top: `{ in_flight: 0 }`.
        json: Map<String, Value> = maybe(Shape::Map(&Shape::Any)).or("{}"),
        /// How long to wait at most.
        within: Millis = maybe(Shape::Duration).or("\"1m\""),
        /// The time from one question to the next.
        every: Millis = maybe(Shape::Duration).or("\"1s\""),
    }
}

/// Asks until the answer is as expected.
pub struct Wait;

#[async_trait]
impl StepKind for Wait {
    type Inputs = WaitInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["http"]),
            outputs: Shape::Record(OUTPUTS),
            example: "healthy:\n  uses: http.wait\n  target: api\n  needs: [start]\n  with: { path: /health, status: 200, within: 2m }\n",
            ..described(
                "http.wait",
                "Asks a server with GET until it answers with an expected status. Gives the answer; fails when the time is over.",
            )
        }
    }

    fn touches(&self, _target: Option<&str>, _inputs: &WaitInputs) -> Vec<Touch> {
        Vec::new()
    }

    fn actions(&self, target: Option<&str>, inputs: &WaitInputs, _facts: &Facts) -> Vec<Action> {
        let WaitInputs { path, status, json, within, every } = inputs;
        let with = json.or_after(|json| match json.is_empty() {
            true => String::new(),
            false => format!(" with {}", Value::Object(json.clone())),
        });
        let text = format!("GET {path} every {every} until it answers {status}{with}, within {within}");
        vec![Action::reads(ActionKind::Http, target, text)]
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &WaitInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let connection = ctx.connection().await?;
        let asked = asked_until(ctx, HttpConnection::of(&*connection)?, inputs);
        ctx.or_cancelled(asked).await
    }

    async fn reconcile(&self, _ctx: &Ctx, _inputs: &WaitInputs) -> Result<Reconciled, StepError> {
        Ok(Reconciled::NotDone)
    }
}

async fn asked_until(ctx: &Ctx, server: &HttpConnection, inputs: &WaitInputs) -> Result<Ended, StepError> {
    let (status, within) = (inputs.status.known()?, *inputs.within.known()?);
    let every = Duration::from_millis(inputs.every.known()?.0);
    let outgoing = Outgoing { path: inputs.path.known()?.clone(), ..Outgoing::default() };
    let end = Instant::now() + Duration::from_millis(within.0);
    let (mut asked, mut answered): (u64, Option<StepError>) = (0, None);
    loop {
        let begun = Instant::now();
        // A server that is just starting may take a request and never answer it.
        let left = (end - begun).max(Duration::from_millis(1));
        asked += 1;
        let why = match server.send(&outgoing, Some(left.min(Duration::from_secs(10)))).await {
            Ok(answer) => {
                let outputs = answer.judged(status).and_then(|()| answer.outputs());
                match outputs.and_then(|outputs| has(outputs, inputs.json.known()?)) {
                    Ok(outputs) => return Ok(Ended::Outputs(outputs)),
                    Err(error) => answered.insert(error).clone(),
                }
            }
            // A question that the end of the wait cut short tells less than the answer before it.
            Err(error) => answered.clone().filter(|_| Instant::now() >= end).unwrap_or(error),
        };
        ctx.progress(asked, None, "questions", why.message.clone());
        let next = begun + every;
        if next >= end {
            let message = format!("the wait of {within} is over: {}", why.message);
            return Err(StepError::transient("http.wait", message));
        }
        sleep_until(next).await;
    }
}
/// The outputs, where the answer's JSON has these values.
fn has(outputs: Value, wanted: &Map<String, Value>) -> Result<Value, StepError> {
    let found = |name: &str| outputs.pointer("/json").and_then(|json| json.get(name));
    match wanted.iter().find(|(name, value)| found(name) != Some(value)) {
        None => Ok(outputs),
        Some((name, value)) => {
            let found = found(name).map_or_else(|| "nothing".to_owned(), Value::to_string);
            let message = format!("the answer's `{name}` is {found}, not {value}");
            Err(StepError::transient("http.wait", message))
        }
    }
}
