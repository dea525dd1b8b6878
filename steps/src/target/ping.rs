//! `target.ping`: [`Ping`] asks any target for a sign of life.

use std::time::Instant;

use async_trait::async_trait;
use drydock_step::{
    Action, ActionKind, Ctx, Ended, Facts, Field, KindShape, Reconciled, Shape, StepError, StepKind,
    TargetNeed, Touch, inputs,
};
use serde_json::{Value, json};

use crate::described::described;

inputs! {
    /// `target.ping` takes no inputs.
    pub struct PingInputs {}
}

const OUTPUTS: Shape = Shape::Record(&[
    Field::required("reachable", Shape::Boolean, "Whether it answered."),
    Field::required("ms", Shape::Integer, "How long that took, in milliseconds."),
    Field::optional("error", Shape::Text, "Why it did not answer."),
]);

/// Asks a target whether it answers. That it does not is an answer too.
pub struct Ping;

#[async_trait]
impl StepKind for Ping {
    type Inputs = PingInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::Any,
            outputs: OUTPUTS,
            example: "alive:\n  uses: target.ping\n  target: sql\n  validate:\n    - { name: it answers, assert: outputs.reachable }\n",
            ..described(
                "target.ping",
                "Connects to a target and asks for a sign of life. A target that does not answer is no failure.",
            )
        }
    }

    fn touches(&self, _target: Option<&str>, _inputs: &PingInputs) -> Vec<Touch> {
        Vec::new()
    }

    fn actions(&self, target: Option<&str>, _inputs: &PingInputs, _facts: &Facts) -> Vec<Action> {
        vec![Action::reads(ActionKind::Flow, target, "ask for a sign of life")]
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        _inputs: &PingInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let begun = Instant::now();
        let ping = async { Ok(async { ctx.connection().await?.ping().await }.await) };
        let answer: Result<(), StepError> = ctx.or_cancelled(ping).await?;
        let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(Ended::Outputs(match answer {
            Ok(()) => json!({ "reachable": true, "ms": ms }),
            Err(error) => json!({ "reachable": false, "ms": ms, "error": error.message }),
        }))
    }

    async fn reconcile(&self, _ctx: &Ctx, _inputs: &PingInputs) -> Result<Reconciled, StepError> {
        Ok(Reconciled::NotDone)
    }
}

#[cfg(test)]
mod tests {
    use std::any::Any;
    use std::sync::Arc;

    use drydock_step::test_host::{TestHost, execute};
    use drydock_step::{Connection, Identity};

    use super::*;

    /// Answers or not.
    struct Server(Result<(), StepError>);

    #[async_trait]
    impl Connection for Server {
        async fn ping(&self) -> Result<(), StepError> {
            self.0.clone()
        }

        async fn identity(&self) -> Result<Identity, StepError> {
            Err(StepError::internal("nobody asks"))
        }

        fn as_any(&self) -> &dyn Any {
            self
        }
    }

    async fn outputs(answer: Result<(), StepError>) -> Value {
        let host = Arc::new(TestHost::new("/").target("t", Arc::new(Server(answer))));
        match execute(&Ping, &host.ctx(Some("t")), json!({})).await {
            Ok(Ended::Outputs(outputs)) => outputs,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn an_answer_and_none_are_both_told() {
        let up = outputs(Ok(())).await;
        assert_eq!((&up["reachable"], up["ms"].is_u64()), (&json!(true), true));
        let down = outputs(Err(StepError::transient("http.connect", "nobody listens"))).await;
        assert_eq!((&down["reachable"], &down["error"]), (&json!(false), &json!("nobody listens")));
    }
}
