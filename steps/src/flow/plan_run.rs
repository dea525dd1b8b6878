//! `plan.run`: [`PlanRun`] runs another plan as a part of this run.

use async_trait::async_trait;
use drydock_step::{
    Access, Action, ActionKind, Ctx, Effect, Ended, Facts, KindShape, PlanPath, Reconciled, RunsPlan, Shape,
    StepError, StepKind, Touch, inputs, known, maybe,
};
use serde_json::{Map, Value};

use crate::described::described;

inputs! {
    /// Inputs of `plan.run`.
    pub struct PlanRunInputs {
        /// The plan's file.
        plan: PlanPath = known(Shape::Path).naming_a_source(),
        /// Values of its parameters.
        params: Map<String, Value> = maybe(Shape::Map(&Shape::Any)).or("{}"),
    }
}

/// Runs another plan to its end.
pub struct PlanRun;

#[async_trait]
impl StepKind for PlanRun {
    type Inputs = PlanRunInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            outputs: Shape::Map(&Shape::Any),
            effect: Effect::Writes,
            runs_plan: Some(RunsPlan { plan: "plan", params: "params" }),
            example: "restore:\n  uses: plan.run\n  with: { plan: ./restore.yaml, params: { to: point:latest } }\n",
            ..described(
                "plan.run",
                "Runs another plan, with the same environment, as a part of this run; its outputs are the step's. After a crash the \
                 other run goes on where it was. A plan cannot run itself. What the other one destroys in a protected environment is \
                 confirmed with the rest; where only the run knows which plan it is, every server of the environment is.",
            )
        }
    }

    fn touches(&self, _target: Option<&str>, _inputs: &PlanRunInputs) -> Vec<Touch> {
        vec![Touch { target: None, resource: "?".into(), access: Access::Writes }]
    }

    fn actions(&self, _target: Option<&str>, inputs: &PlanRunInputs, _facts: &Facts) -> Vec<Action> {
        let params = inputs.params.or_after(|params| {
            if params.is_empty() { String::new() } else { format!(" with {}", Value::Object(params.clone())) }
        });
        vec![Action::writes(ActionKind::Flow, None, format!("run the plan {}{params}", inputs.plan))]
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &PlanRunInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let plan = inputs.plan.known()?.resolved(&ctx.folder);
        let params = Value::Object(inputs.params.known()?.clone());
        Ok(Ended::Outputs(ctx.host.run_plan(&plan, params).await?))
    }

    /// The host resumes a run that an earlier attempt has begun, so that trying again is always right.
    async fn reconcile(&self, _ctx: &Ctx, _inputs: &PlanRunInputs) -> Result<Reconciled, StepError> {
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
    async fn its_outputs_are_the_plans() {
        let host = Arc::new(TestHost::new("/plans").plan("other.yaml", json!({"id": "p1"})));
        let with = json!({"plan": "other.yaml", "params": {"to": "end"}});
        assert_eq!(
            execute(&PlanRun, &host.ctx(None), with.clone()).await,
            Ok(Ended::Outputs(json!({"id": "p1"})))
        );
        assert_eq!(actions(&PlanRun, with).unwrap()[0].text, r#"run the plan other.yaml with {"to":"end"}"#);
        let error = execute(&PlanRun, &host.ctx(None), json!({"plan": "none.yaml"})).await.unwrap_err();
        assert_eq!(
            (error.code.as_str(), error.message.as_str()),
            ("plan.file", "there is no plan /plans/none.yaml")
        );
    }
}
