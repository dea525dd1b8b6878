//! `http.request`: [`Request`] sends one request.

use async_trait::async_trait;
use drydock_step::requests::{METHODS, Method, STATUS_SET, StatusSet};
use drydock_step::{
    Access, Action, ActionKind, Ctx, Effect, Ended, Facts, In, KindShape, Preflight, Reconciled, Shape,
    StepError, StepKind, TargetNeed, Touch, inputs, known, maybe,
};
use indexmap::IndexMap;
use serde_json::{Value, json};

use super::answer::OUTPUTS;
use super::outgoing::{Body, Outgoing, pairs};
use super::target::HttpConnection;
use crate::described::described;
use crate::said_effect::{SAID_EFFECT, SaidEffect};
use crate::word::{WORD, Word};

inputs! {
    /// Inputs of `http.request`.
    pub struct RequestInputs {
        /// The method. GET, HEAD and OPTIONS only read.
        method: Method = known(Shape::OneOf(METHODS)),
        /// Below the target's URL.
        path: String = maybe(Shape::Text).with_secrets().or("\"/\""),
        /// Added to the query.
        query: IndexMap<String, Word> = maybe(Shape::Map(&WORD)).with_secrets().or("{}"),
        /// Added to the target's headers.
        headers: IndexMap<String, Word> = maybe(Shape::Map(&WORD)).with_secrets().or("{}"),
        /// A value that is sent as JSON.
        json: Option<Value> = maybe(Shape::Any).with_secrets(),
        /// Text that is sent as it is.
        body: Option<String> = maybe(Shape::Text).with_secrets(),
        /// The statuses that count as success: numbers, and classes such as `2xx`.
        expect_status: StatusSet = maybe(STATUS_SET).or("[\"2xx\"]"),
        /// Whether it changes anything, where its method does not say it: a search may be a POST. One that `reads` may be used in
        /// validations.
        effect: Option<SaidEffect> = maybe(SAID_EFFECT),
    }
}

impl RequestInputs {
    fn outgoing(&self) -> Result<Outgoing, StepError> {
        Ok(Outgoing {
            method: *self.method.known()?,
            path: self.path.known()?.clone(),
            query: pairs(self.query.known()?),
            headers: pairs(self.headers.known()?),
            body: Body::of(self.json.known()?.clone(), self.body.known()?.clone())?,
            effect: *self.effect.known()?,
        })
    }

    /// Whether it may change something; what is not known may.
    fn writes(&self) -> bool {
        match (self.effect.value(), self.method.value()) {
            (Some(Some(effect)), _) => *effect == SaidEffect::Writes,
            (Some(None), Some(method)) => !method.reads(),
            _ => true,
        }
    }

    /// The request in one line.
    fn line(&self, base: Option<&str>) -> String {
        let query = self.query.or_after(|query| {
            let query: Vec<_> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
            if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) }
        });
        let method = self.method.or_after(|method| method.as_str().to_owned());
        let url = format!("{}{}{query}", base.unwrap_or_default().trim_end_matches('/'), self.path);
        let json = self.json.or_after(|json| json.as_ref().map(Value::to_string).unwrap_or_default());
        let body = self.body.or_after(|body| body.clone().unwrap_or_default());
        [method, url, json, body].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    }
}

/// Sends one request and judges the status of the answer.
pub struct Request;

#[async_trait]
impl StepKind for Request {
    type Inputs = RequestInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["http"]),
            outputs: Shape::Record(OUTPUTS),
            effect: Effect::ByInput("effect"),
            reconciles: false,
            example: "fence:\n  uses: http.request\n  target: api\n  with: { method: POST, path: /maintenance, json: { enabled: true } }\n  on_failure: ignore\n",
            ..described(
                "http.request",
                "Sends one HTTP request. An answer of another status than expected fails the step; so does one of more than 1 MiB.",
            )
        }
    }

    fn touches(&self, target: Option<&str>, inputs: &RequestInputs) -> Vec<Touch> {
        let access = if inputs.writes() { Access::Writes } else { Access::Reads };
        let resource = match &inputs.path {
            In::Known(path) => format!("path {path}"),
            In::After(_) => "?".into(),
        };
        vec![Touch { target: target.map(str::to_owned), resource, access }]
    }

    fn learns_for_good(&self) -> bool {
        true
    }

    fn actions(&self, target: Option<&str>, inputs: &RequestInputs, facts: &Facts) -> Vec<Action> {
        let base = facts.get("url").and_then(Value::as_str);
        let action = Action::reads(ActionKind::Http, target, inputs.line(base));
        vec![Action { writes: inputs.writes(), ..action }]
    }

    /// Learns the server's URL. The server is not asked: a step may be there because it is down.
    async fn preflight(&self, ctx: &Ctx, _inputs: &RequestInputs) -> Result<Preflight, StepError> {
        let connection = ctx.connection().await?;
        let http = HttpConnection::of(&*connection)?;
        http.listens().await?;
        let url = http.shown_url();
        Ok(Preflight { facts: json!({ "url": url }), findings: Vec::new() })
    }

    /// A request that writes is not given up once it is under way: its answer says what happened.
    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &RequestInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let outgoing = inputs.outgoing()?;
        let connection = ctx.connection().await?;
        if ctx.host.is_cancelled() {
            return Err(StepError::cancelled());
        }
        let sent = HttpConnection::of(&*connection)?.send(&outgoing, None);
        let answer = if outgoing.reads() { ctx.or_cancelled(sent).await? } else { sent.await? };
        answer.judged(inputs.expect_status.known()?)?;
        answer.outputs().map(Ended::Outputs)
    }

    async fn reconcile(&self, _ctx: &Ctx, inputs: &RequestInputs) -> Result<Reconciled, StepError> {
        if inputs.writes() {
            Ok(Reconciled::Unknown("an HTTP server cannot be asked whether it has acted on a request".into()))
        } else {
            Ok(Reconciled::NotDone)
        }
    }
}
