//! `flow.fail`: [`Fail`] fails with a message.

use async_trait::async_trait;
use drydock_step::{
    Action, ActionKind, Ctx, Ended, Facts, KindShape, Reconciled, Shape, StepError, StepKind, Touch, inputs,
    known,
};
use serde_json::Value;

use crate::described::described;

inputs! {
    /// Inputs of `flow.fail`.
    pub struct FailInputs {
        /// What is wrong, for whoever reads the run.
        message: String = known(Shape::Text),
    }
}

/// Fails.
pub struct Fail;

#[async_trait]
impl StepKind for Fail {
    type Inputs = FailInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            example: "empty:\n  uses: flow.fail\n  needs: [count]\n  when: steps.count.outputs.rows[0].n == 0\n  with: { message: there is nothing to back up }\n",
            ..described(
                "flow.fail",
                "Fails with a message. Together with `when` it refuses what must not go on.",
            )
        }
    }

    fn is_immediate(&self) -> bool {
        true
    }

    fn touches(&self, _target: Option<&str>, _inputs: &FailInputs) -> Vec<Touch> {
        Vec::new()
    }

    fn actions(&self, _target: Option<&str>, inputs: &FailInputs, _facts: &Facts) -> Vec<Action> {
        vec![Action::reads(ActionKind::Flow, None, format!("fail: {}", inputs.message))]
    }

    async fn execute(
        &self,
        _ctx: &Ctx,
        inputs: &FailInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        Err(StepError::new("flow.fail", inputs.message.known()?))
    }

    async fn reconcile(&self, _ctx: &Ctx, _inputs: &FailInputs) -> Result<Reconciled, StepError> {
        Ok(Reconciled::NotDone)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use drydock_step::test_host::{TestHost, actions, execute};
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn the_message_is_the_error() {
        let ctx = Arc::new(TestHost::new("/")).ctx(None);
        let with = json!({"message": "no point is young enough"});
        let error = execute(&Fail, &ctx, with.clone()).await.unwrap_err();
        assert_eq!((error.code.as_str(), error.message.as_str()), ("flow.fail", "no point is young enough"));
        assert!(!error.transient && !error.unknown);
        assert_eq!(actions(&Fail, with).unwrap()[0].text, "fail: no point is young enough");
    }
}
