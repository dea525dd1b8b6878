//! `flow.wait`: [`Wait`] lets time pass.

use std::time::Duration;

use async_trait::async_trait;
use drydock_step::{
    Action, ActionKind, Ctx, Ended, Facts, KindShape, Millis, Reconciled, Shape, StepError, StepKind, Touch,
    inputs, known,
};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::described::described;

inputs! {
    /// Inputs of `flow.wait`.
    pub struct WaitInputs {
        /// How long to wait, from the first attempt on.
        span as "for": Millis = known(Shape::Duration),
    }
}

/// Waits. Its end is noted, so that an attempt after a crash waits only for the rest.
pub struct Wait;

impl Wait {
    /// When the wait ends, in milliseconds since 1970.
    async fn deadline(ctx: &Ctx, span: Millis) -> Result<i64, StepError> {
        if let Some(until) = ctx.notes.iter().rev().find_map(|note| note.get("until_ms")?.as_i64()) {
            return Ok(until);
        }
        let until = ctx.now_ms().saturating_add_unsigned(span.0);
        ctx.note(json!({ "until_ms": until })).await?;
        Ok(until)
    }
}

#[async_trait]
impl StepKind for Wait {
    type Inputs = WaitInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            example: "settle:\n  uses: flow.wait\n  needs: [start]\n  with: { for: 30s }\n",
            ..described(
                "flow.wait",
                "Lets time pass. After a crash only the rest of it. To wait for a server, `http.wait` is better.",
            )
        }
    }

    fn touches(&self, _target: Option<&str>, _inputs: &WaitInputs) -> Vec<Touch> {
        Vec::new()
    }

    fn actions(&self, _target: Option<&str>, inputs: &WaitInputs, _facts: &Facts) -> Vec<Action> {
        vec![Action::reads(ActionKind::Flow, None, format!("wait {}", inputs.span))]
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &WaitInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let until = Self::deadline(ctx, *inputs.span.known()?).await?;
        let left = u64::try_from(until - ctx.now_ms()).unwrap_or(0);
        let passed = async {
            sleep(Duration::from_millis(left)).await;
            Ok(Ended::Outputs(json!({})))
        };
        ctx.or_cancelled(passed).await
    }

    async fn reconcile(&self, _ctx: &Ctx, _inputs: &WaitInputs) -> Result<Reconciled, StepError> {
        Ok(Reconciled::NotDone)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use drydock_step::Host;
    use drydock_step::test_host::{TEST_BEGINS_MS, TestHost, actions, execute};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_second_attempt_waits_for_the_rest() {
        let host = Arc::new(TestHost::new("/"));
        let with = json!({"for": "1m"});
        let cut =
            tokio::time::timeout(Duration::from_secs(45), execute(&Wait, &host.ctx(None), with.clone()))
                .await;
        assert!(cut.is_err());
        assert_eq!(host.notes(), [json!({"until_ms": TEST_BEGINS_MS + 60_000})]);
        assert_eq!(execute(&Wait, &host.ctx(None), with.clone()).await, Ok(Ended::Outputs(json!({}))));
        assert!((60_000..61_000).contains(&(host.now_ms() - TEST_BEGINS_MS)));
        assert_eq!(host.notes().len(), 1);
        assert_eq!(actions(&Wait, with).unwrap()[0].text, "wait 1m");
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancel_ends_it() {
        let host = Arc::new(TestHost::new("/"));
        host.cancel();
        let error = execute(&Wait, &host.ctx(None), json!({"for": "1d"})).await.unwrap_err();
        assert_eq!(error.code, "cancelled");
    }
}
