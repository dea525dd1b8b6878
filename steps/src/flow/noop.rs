//! `flow.noop`: [`Noop`] does nothing.

use async_trait::async_trait;
use drydock_step::{
    Action, ActionKind, Ctx, Ended, Facts, KindShape, Reconciled, StepError, StepKind, Touch, inputs,
};
use serde_json::{Value, json};

use crate::described::described;

inputs! {
    /// `flow.noop` takes no inputs.
    pub struct NoopInputs {}
}

/// Does nothing, successfully.
pub struct Noop;

#[async_trait]
impl StepKind for Noop {
    type Inputs = NoopInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            answers_in_dry_run: true,
            example: "ready:\n  uses: flow.noop\n  needs: [restore_sql, recover_vectors]\n",
            ..described(
                "flow.noop",
                "Does nothing. Gathers several steps under one name that others can need, or carries validations of its own.",
            )
        }
    }

    fn is_immediate(&self) -> bool {
        true
    }

    fn touches(&self, _target: Option<&str>, _inputs: &NoopInputs) -> Vec<Touch> {
        Vec::new()
    }

    fn actions(&self, _target: Option<&str>, _inputs: &NoopInputs, _facts: &Facts) -> Vec<Action> {
        vec![Action::reads(ActionKind::Flow, None, "do nothing")]
    }

    async fn execute(
        &self,
        _ctx: &Ctx,
        _inputs: &NoopInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        Ok(Ended::Outputs(json!({})))
    }

    async fn reconcile(&self, _ctx: &Ctx, _inputs: &NoopInputs) -> Result<Reconciled, StepError> {
        Ok(Reconciled::NotDone)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use drydock_step::test_host::{TestHost, actions, execute};

    use super::*;

    #[tokio::test]
    async fn nothing_happens() {
        let ctx = Arc::new(TestHost::new("/")).ctx(None);
        assert_eq!(execute(&Noop, &ctx, json!({})).await, Ok(Ended::Outputs(json!({}))));
        assert_eq!(actions(&Noop, json!({})).unwrap()[0].text, "do nothing");
    }
}
