//! `postgres.wal_stop`: [`WalStop`] asks whoever streams into an archive to end, and waits until it has.

use std::time::Duration;

use async_trait::async_trait;
use drydock_step::{
    Access, Action, ActionKind, Ctx, Effect, Ended, Facts, Field, KindShape, Millis, Reconciled, Shape,
    StepError, StepKind, TargetNeed, Touch, inputs, known, maybe,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::wal_archive::{StopWish, Streaming, WalArchive};
use super::wal_streamer::{ALIVE, outputs};
use crate::described::described;

/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

inputs! {
    /// Inputs of `postgres.wal_stop`.
    pub struct WalStopInputs {
        /// The target of the artifact store.
        to: String = known(Shape::Text),
        /// Where in the store, as `postgres.wal` was given it.
        prefix: String = maybe(Shape::Text).or("\"postgres/wal\""),
        /// How long to wait for its end.
        within: Millis = maybe(Shape::Duration).or("\"2m\""),
    }
}

const OUTPUTS: Shape = Shape::Record(&[
    Field::required("stopped", Shape::Boolean, "Whether somebody was streaming."),
    Field::optional("run", Shape::Text, "Whose run it was that has streamed last."),
    Field::optional("streamed", Shape::Any, "What it has done, as its own outputs say it."),
]);

/// Ends streaming.
pub struct WalStop;

#[async_trait]
impl StepKind for WalStop {
    type Inputs = WalStopInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::None,
            target_inputs: &[("to", &["artifacts"])],
            outputs: OUTPUTS,
            effect: Effect::Writes,
            permissions: &["artifacts: write to the store"],
            example: "stop:\n  uses: postgres.wal_stop\n  with: { to: backups, prefix: postgres/wal }\n",
            ..described(
                "postgres.wal_stop",
                "Asks whoever streams into an archive of WAL to end, and waits until it has; its step ends well. Where nobody streams, nothing is done.",
            )
        }
    }

    fn touches(&self, _target: Option<&str>, inputs: &WalStopInputs) -> Vec<Touch> {
        let resource = inputs.prefix.value().map_or("?".into(), |prefix| format!("path {prefix}"));
        vec![Touch { target: inputs.to.value().cloned(), resource, access: Access::Writes }]
    }

    fn actions(&self, _target: Option<&str>, inputs: &WalStopInputs, _facts: &Facts) -> Vec<Action> {
        let text = format!("store {}/stop.json, where somebody streams", inputs.prefix);
        vec![Action::writes(ActionKind::Artifact, inputs.to.value().map(String::as_str), text)]
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &WalStopInputs,
        from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let store = ctx.host.connect(inputs.to.known()?).await?;
        let store = store
            .store()
            .ok_or_else(|| StepError::internal("`to` of postgres.wal_stop is no artifact store"))?;
        let archive = WalArchive::of(store, inputs.prefix.known()?);
        let within = i64::try_from(inputs.within.known()?.0).unwrap_or(i64::MAX);
        let began = ctx.now_ms();
        // Whom an attempt has asked that was lost; it is asked again, for nobody knows whether that was before it was noted.
        let mut asked = from.and_then(|from| Asked::deserialize(from).ok());
        let mut is_asked_now = false;
        loop {
            let found = archive.streaming().await?;
            let Some(found) = found.filter(|found| asked.as_ref().is_none_or(|asked| asked.is(found))) else {
                // The one that was asked is gone when another streams.
                let run = asked.map(|asked| asked.run);
                let outputs = json!({ "stopped": run.is_some(), "run": run, "streamed": null });
                return Ok(Ended::Outputs(outputs));
            };
            if found.ended || ctx.now_ms() - found.at_ms >= ALIVE {
                let streamed = found.ended.then(|| outputs(&found));
                if found.ended && asked.is_some() {
                    archive.forget_stop().await?;
                }
                // One that died after it was asked ends at once, should it be resumed.
                let outputs = json!({ "stopped": asked.is_some(), "run": found.run, "streamed": streamed });
                return Ok(Ended::Outputs(outputs));
            }
            if !is_asked_now {
                let whom = Asked { run: found.run, step: found.step, attempt: ctx.attempt.to_string() };
                ctx.note(json!(whom)).await?;
                let (run, step) = (whom.run.clone(), whom.step.clone());
                archive.wish_stop(&StopWish { run, step, asked_by: ctx.attempt.to_string() }).await?;
                (asked, is_asked_now) = (Some(whom), true);
            } else if ctx.now_ms() - began > within {
                let message = format!("run {}, step {}, still streams", found.run, found.step);
                return Err(StepError::transient("postgres.wal_busy", message)
                    .help("it was asked, and ends when it next looks; is its runner alive?"));
            }
            ctx.or_cancelled(async {
                tokio::time::sleep(LOOK_AGAIN).await;
                Ok(())
            })
            .await?;
        }
    }

    /// Asked twice, it ends once.
    async fn reconcile(&self, ctx: &Ctx, _inputs: &WalStopInputs) -> Result<Reconciled, StepError> {
        let own =
            ctx.notes.iter().rev().find(|note| note.get("attempt").is_some_and(|of| of == &*ctx.attempt));
        Ok(own.map_or(Reconciled::NotDone, |asked| Reconciled::Partly(asked.clone())))
    }
}

/// Whom an attempt asks to end, as it notes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Asked {
    run: String,
    step: String,
    /// The attempt that asks.
    attempt: String,
}

impl Asked {
    fn is(&self, streaming: &Streaming) -> bool {
        self.run == streaming.run && self.step == streaming.step
    }
}
