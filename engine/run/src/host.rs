//! What an attempt may use of the engine: [`AttemptHost`], the one implementation of [`Host`].

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::Sender;

use async_trait::async_trait;
use drydock_machine::AttemptRef;
use drydock_plan::digest::digest_of;
use drydock_plan::requests::Requests;
use drydock_step::{ChildEnd, ChildSpec, Connection, Host, Sample, StepError};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::children::CancelSignal;
use crate::message::Message;
use crate::services::Services;
use crate::world::{KillAt, KillPhase};

/// The engine as one attempt sees it.
pub(crate) struct AttemptHost {
    pub(crate) services: Arc<Services>,
    pub(crate) attempt: AttemptRef,
    pub(crate) attempt_id: Arc<str>,
    /// How often its step was taken up as never begun.
    pub(crate) anew: u32,
    pub(crate) cancel: CancelSignal,
    pub(crate) inbox: Sender<Message>,
    /// How many notes of it are durable.
    pub(crate) noted: AtomicU32,
}

fn gone() -> StepError {
    StepError::new("journal", "the run is over, or its journal could not be written")
}

#[async_trait]
impl Host for AttemptHost {
    fn now_ms(&self) -> i64 {
        (self.services.world.clock)()
    }

    async fn note(&self, value: Value) -> Result<(), StepError> {
        let (done, durable) = oneshot::channel();
        let value = self.services.redact_json(value);
        let message = Message::Note { attempt: self.attempt.clone(), value, done };
        self.inbox.send(message).map_err(|_| gone())?;
        durable.await.map_err(|_| gone())?;
        let noted = self.noted.fetch_add(1, Ordering::Relaxed) + 1;
        if self.attempt.check.is_none() {
            let kill = self.services.world.kill.as_ref();
            KillAt::strike(kill, &self.attempt.instance(), self.attempt.n, KillPhase::Noted(noted));
        }
        Ok(())
    }

    fn sample(&self, sample: Sample) {
        let sample = match sample {
            Sample::Log(line) => Sample::Log(self.services.redact_text(&line)),
            progress @ Sample::Progress { .. } => progress,
        };
        // Samples may be lost: a run that is over does not need them.
        let _ = self.inbox.send(Message::Sample(self.attempt.clone(), sample));
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.is_asked()
    }

    async fn cancelled(&self) {
        self.cancel.asked().await;
    }

    async fn spawn(&self, spec: ChildSpec) -> Result<ChildEnd, StepError> {
        self.services.spawn_child(spec, &self.cancel).await
    }

    async fn connect(&self, target: &str) -> Result<Arc<dyn Connection>, StepError> {
        self.services.connect(target, &self.attempt_id).await
    }

    async fn run_plan(&self, plan: &Path, params: Value) -> Result<Value, StepError> {
        let instance = self.attempt.instance();
        let id = inner_run_id(&self.services.site.run, &instance, self.anew);
        self.services.world.subplans.run_plan(&id, &instance, plan, params, self.cancel.clone()).await
    }

    async fn read_requests(&self, path: &Path) -> Result<Requests, StepError> {
        (self.services.world.requests)(path)
    }

    fn scratch(&self) -> &Path {
        &self.services.site.folder
    }
}

/// The most characters of a run's id.
const LONGEST_ID: usize = 64;

/// The id of the run that a step or an instance runs as a part of this one: `run-step`; `run-step-2` once the step was taken up as
/// never begun, because what the former one did does not count any more. Where that is no id, what makes it differ from all others is
/// put into a few digits at its end.
fn inner_run_id(run: &str, instance: &str, anew: u32) -> String {
    let plain = match anew {
        0 => format!("{run}-{instance}"),
        anew => format!("{run}-{instance}-{}", anew.saturating_add(1)),
    };
    let is_in_ids = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if plain.len() <= LONGEST_ID && plain.chars().all(is_in_ids) {
        return plain;
    }
    let digest = digest_of([(run, instance.as_bytes()), ("anew", &anew.to_be_bytes())]).to_string();
    let digits: String = digest.chars().filter(char::is_ascii_hexdigit).take(12).collect();
    let readable = plain.chars().map(|c| if is_in_ids(c) { c } else { '_' });
    let readable: String = readable.take(LONGEST_ID - 1 - digits.len()).collect();
    format!("{readable}-{digits}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_instances_have_one_inner_run() {
        assert_eq!(inner_run_id("r", "restore_all", 0), "r-restore_all");
        let long = "x".repeat(63);
        let ids = [
            inner_run_id("r", "x[a b]", 0),
            inner_run_id("r", "x[a_b]", 0),
            inner_run_id("r", "x_a_b_", 0),
            inner_run_id("01ARZ3NDEKTSV4RRFFQ69G5FAV", &long, 0),
            inner_run_id("01ARZ3NDEKTSV4RRFFQ69G5FAV", &format!("{long}[a]"), 0),
            inner_run_id("01ARZ3NDEKTSV4RRFFQ69G5FAV", &format!("{long}[b]"), 0),
        ];
        for (at, id) in ids.iter().enumerate() {
            assert!(id.len() <= LONGEST_ID && !ids[..at].contains(id), "{ids:?}");
            assert!(id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'), "{id}");
        }
        assert_eq!(inner_run_id("r", "restore_all", 1), "r-restore_all-2");
        assert_ne!(inner_run_id("r", &long, 1), inner_run_id("r", &long, 0));
        assert_eq!(ids[0], inner_run_id("r", "x[a b]", 0), "the same each time");
    }
}
