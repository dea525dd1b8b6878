//! What an attempt may use of the engine: [`AttemptHost`], the one implementation of [`Host`].

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::Sender;

use async_trait::async_trait;
use drydock_machine::AttemptRef;
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
        let id = format!("{}-{}", self.services.site.run, self.attempt.instance());
        let id: String = id
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' })
            .take(64)
            .collect();
        self.services.world.subplans.run_plan(&id, plan, params, self.cancel.clone()).await
    }

    async fn read_document(&self, path: &Path) -> Result<Value, StepError> {
        (self.services.world.documents)(path)
    }

    fn scratch(&self) -> &Path {
        &self.services.site.folder
    }
}
