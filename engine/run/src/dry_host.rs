//! The engine as a dry run shows it: [`DryHost`].

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use drydock_plan::requests::Requests;
use drydock_step::{ChildEnd, ChildOutput, ChildSpec, Connection, Host, Sample, StepError};
use serde_json::Value;

use crate::children::CancelSignal;
use crate::services::Services;

/// Targets can be read, and nothing can be changed.
pub(crate) struct DryHost {
    pub(crate) services: Arc<Services>,
    pub(crate) attempt: Arc<str>,
}

fn refused(what: &str) -> StepError {
    StepError::new("dry-run", format!("a dry run {what}"))
}

#[async_trait]
impl Host for DryHost {
    fn now_ms(&self) -> i64 {
        (self.services.world.clock)()
    }

    async fn note(&self, _: Value) -> Result<(), StepError> {
        Ok(())
    }

    fn sample(&self, _: Sample) {}

    fn is_cancelled(&self) -> bool {
        false
    }

    async fn cancelled(&self) {
        std::future::pending::<()>().await;
    }

    /// Only a program's version is asked for, which tells whether a run would find one that fits.
    async fn spawn(&self, spec: ChildSpec) -> Result<ChildEnd, StepError> {
        let asks_for_version = matches!(spec.argv.as_slice(), [_, word] if word == "--version")
            && matches!(spec.stdout, ChildOutput::Kept { .. });
        if !asks_for_version {
            return Err(refused("starts no program but to ask for its version"));
        }
        let (_canceller, signal) = CancelSignal::pair();
        self.services.spawn_child(spec, &signal).await
    }

    async fn connect(&self, target: &str) -> Result<Arc<dyn Connection>, StepError> {
        self.services.connect(target, &self.attempt).await
    }

    async fn run_plan(&self, _: &Path, _: Value) -> Result<Value, StepError> {
        Err(refused("runs no other plan"))
    }

    async fn read_requests(&self, path: &Path) -> Result<Requests, StepError> {
        (self.services.world.requests)(path)
    }

    fn scratch(&self) -> &Path {
        &self.services.site.folder
    }
}
