//! `flow.set`: [`Set`] gives values names.

use async_trait::async_trait;
use drydock_step::{
    Action, ActionKind, Ctx, Ended, Facts, KindShape, Reconciled, Shape, StepError, StepKind, Touch, inputs,
    known,
};
use indexmap::IndexMap;
use serde_json::{Value, json};

use crate::described::described;

inputs! {
    /// Inputs of `flow.set`.
    pub struct SetInputs {
        /// The values, by the names that the outputs have.
        values: IndexMap<String, Value> = known(Shape::Map(&Shape::Any)),
    }
}

/// Gives values as outputs.
pub struct Set;

#[async_trait]
impl StepKind for Set {
    type Inputs = SetInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            outputs: Shape::OfInput("values"),
            answers_in_dry_run: true,
            example: "names:\n  uses: flow.set\n  with:\n    values: { scratch: \"{{ params.sql_database }}_drill\" }\n",
            ..described(
                "flow.set",
                "Gives values as outputs, so that an expression is written once. No secrets: outputs are kept.",
            )
        }
    }

    fn is_immediate(&self) -> bool {
        true
    }

    fn touches(&self, _target: Option<&str>, _inputs: &SetInputs) -> Vec<Touch> {
        Vec::new()
    }

    fn actions(&self, _target: Option<&str>, inputs: &SetInputs, _facts: &Facts) -> Vec<Action> {
        let text = inputs.values.or_after(|values| {
            let set: Vec<_> = values.iter().map(|(name, value)| format!("{name} = {value}")).collect();
            set.join(", ")
        });
        vec![Action::reads(ActionKind::Flow, None, format!("set {text}"))]
    }

    async fn execute(
        &self,
        _ctx: &Ctx,
        inputs: &SetInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        Ok(Ended::Outputs(json!(inputs.values.known()?)))
    }

    async fn reconcile(&self, _ctx: &Ctx, _inputs: &SetInputs) -> Result<Reconciled, StepError> {
        Ok(Reconciled::NotDone)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use drydock_step::test_host::{TestHost, actions, execute};

    use super::*;

    #[tokio::test]
    async fn values_come_back_in_order() {
        let ctx = Arc::new(TestHost::new("/")).ctx(None);
        let with = json!({"values": {"b": [1, "x"], "a": null}});
        assert_eq!(
            execute(&Set, &ctx, with.clone()).await,
            Ok(Ended::Outputs(json!({"b": [1, "x"], "a": null})))
        );
        assert_eq!(actions(&Set, with).unwrap()[0].text, r#"set b = [1,"x"], a = null"#);
        let error = execute(&Set, &ctx, json!({"values": [1]})).await.unwrap_err();
        assert_eq!(error.code, "input");
        assert!(error.message.starts_with("input `values`, a mapping"), "{error}");
    }
}
