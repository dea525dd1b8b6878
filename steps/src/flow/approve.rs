//! `flow.approve`: [`Approve`] waits for a person.

use async_trait::async_trait;
use drydock_step::{
    Action, ActionKind, Ctx, Effect, Ended, Facts, Field, KindShape, Reconciled, Shape, StepError, StepKind,
    Touch, inputs, known,
};
use serde_json::Value;

use crate::described::described;

inputs! {
    /// Inputs of `flow.approve`.
    pub struct ApproveInputs {
        /// What is asked of the person.
        message: String = known(Shape::Text),
    }
}

const OUTPUTS: Shape = Shape::Record(&[
    Field::required("by", Shape::Text, "Who approved."),
    Field::required("reason", Shape::Text, "Why, in their words."),
]);

/// Parks the run until `drydock approve`.
pub struct Approve;

#[async_trait]
impl StepKind for Approve {
    type Inputs = ApproveInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            outputs: OUTPUTS,
            // It changes nothing outside, yet a validation, which may use kinds that read, must not stop to ask a person.
            effect: Effect::Writes,
            example: "go:\n  uses: flow.approve\n  needs: [point]\n  with: { message: \"Restore to {{ steps.point.outputs.id }}?\" }\n",
            ..described(
                "flow.approve",
                "Waits for a person: the run ends with exit code 24 and goes on after `drydock approve RUN STEP --as NAME --reason TEXT`.",
            )
        }
    }

    fn is_immediate(&self) -> bool {
        true
    }

    fn touches(&self, _target: Option<&str>, _inputs: &ApproveInputs) -> Vec<Touch> {
        Vec::new()
    }

    fn actions(&self, _target: Option<&str>, inputs: &ApproveInputs, _facts: &Facts) -> Vec<Action> {
        vec![Action::reads(ActionKind::Flow, None, format!("ask a person: {}", inputs.message))]
    }

    async fn execute(
        &self,
        _ctx: &Ctx,
        inputs: &ApproveInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        Ok(Ended::Waits(inputs.message.known()?.clone()))
    }

    async fn reconcile(&self, _ctx: &Ctx, _inputs: &ApproveInputs) -> Result<Reconciled, StepError> {
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
    async fn it_asks_and_waits() {
        let ctx = Arc::new(TestHost::new("/")).ctx(None);
        assert_eq!(execute(&Approve, &ctx, json!({"message": "Go?"})).await, Ok(Ended::Waits("Go?".into())));
        assert_eq!(
            actions(&Approve, json!({"message": {"$after": ["point"]}})).unwrap()[0].text,
            "ask a person: (known after point)"
        );
        let error = execute(&Approve, &ctx, json!({})).await.unwrap_err();
        assert!(error.message.starts_with("input `message`, text, does not fit: "), "{error}");
    }
}
