//! `postgres.promote`: [`Promote`] opens a recovered server for writing.

use async_trait::async_trait;
use drydock_step::{
    Access, Action, ActionKind, Ctx, Duty, Effect, Ended, Facts, Grant, KindShape, Reconciled, Shape,
    StepError, StepKind, TargetNeed, Touch, inputs,
};
use serde_json::Value;

use super::recover_state::{ARRIVED, State, promoted};
use super::target::PostgresConnection;
use crate::described::described;

inputs! {
    /// Inputs of `postgres.promote`: none.
    pub struct PromoteInputs {}
}

/// Opens servers.
pub struct Promote;

#[async_trait]
impl StepKind for Promote {
    type Inputs = PromoteInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["postgres"]),
            outputs: Shape::Record(ARRIVED),
            effect: Effect::Writes,
            permissions: &["postgres: EXECUTE on pg_wal_replay_resume and pg_promote, or a superuser"],
            example: "open:\n  uses: postgres.promote\n  target: drill\n  needs: [recover]\n",
            ..described(
                "postgres.promote",
                "Opens a server for writing that waits where its recovery was to stop, or a standby. It begins a new timeline; one that is open already is left as it is.",
            )
        }
    }

    fn touches(&self, target: Option<&str>, _inputs: &PromoteInputs) -> Vec<Touch> {
        vec![Touch { target: target.map(str::to_owned), resource: "cluster".into(), access: Access::Writes }]
    }

    fn actions(&self, target: Option<&str>, _inputs: &PromoteInputs, _facts: &Facts) -> Vec<Action> {
        let text =
            "SELECT pg_wal_replay_resume() -- or pg_promote(false), where it does not wait at its target";
        vec![Action::writes(ActionKind::Sql, target, text)]
    }

    fn grants(&self, _inputs: &PromoteInputs) -> Vec<Grant> {
        let right = |function: &str| {
            Grant::at_server(Duty::Restore, &format!("GRANT EXECUTE ON FUNCTION {function} TO {{login}};"))
        };
        vec![right("pg_wal_replay_resume()"), right("pg_promote(boolean, integer)")]
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        _inputs: &PromoteInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let connection = ctx.connection().await?;
        let session = PostgresConnection::of(&*connection)?.session();
        Ok(Ended::Outputs(ctx.or_cancelled(promoted(session)).await?.outputs()))
    }

    /// Told twice, it opens once.
    async fn reconcile(&self, ctx: &Ctx, _inputs: &PromoteInputs) -> Result<Reconciled, StepError> {
        let connection = ctx.connection().await?;
        let state = State::of(PostgresConnection::of(&*connection)?.session()).await?;
        Ok(if state.is_open() { Reconciled::Done(state.outputs()) } else { Reconciled::NotDone })
    }
}
