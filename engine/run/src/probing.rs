//! How servers are asked beforehand: [`Probing`].

use std::sync::Arc;
use std::time::Duration;

use drydock_plan::duration::Millis;
use drydock_plan::name::Name;
use drydock_step::StepError;
use tokio::sync::{Semaphore, SemaphorePermit};

/// So many steps are asked about at once, those of plans inside plans among them.
const AT_ONCE: usize = 8;

/// How long a step is asked about, where nothing else was said.
pub const LIMIT: Millis = Millis(30_000);

/// How servers are asked before anything is done. Clones share how many are asked at once.
#[derive(Debug, Clone)]
pub struct Probing {
    /// Whether what steps read is read to its end, and backups proved: that takes its time, and has no limit.
    pub deep: bool,
    /// How long one step may be asked about.
    pub limit: Millis,
    at_once: Arc<Semaphore>,
}

/// How servers are asked, where they are asked at all.
pub type Probed = Option<Probing>;

impl Probing {
    /// With so much time for each step.
    pub fn new(deep: bool, limit: Millis) -> Self {
        Self { deep, limit, at_once: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// The answer of `asking`, or that there was none in time.
    pub(crate) async fn in_time<T>(
        &self,
        target: Option<&Name>,
        asking: impl Future<Output = Result<T, StepError>>,
    ) -> Result<T, StepError> {
        let limited = tokio::time::timeout(Duration::from_millis(self.limit.0), asking).await;
        limited.unwrap_or_else(|_| Err(self.late(target)))
    }

    /// A turn among those that are asked at once.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed: without a turn there is none to wait for either.
        self.at_once.acquire().await.ok()
    }

    fn late(&self, target: Option<&Name>) -> StepError {
        let who = target.map_or("what it needs", Name::as_str);
        let message =
            format!("{who} did not tell within {} whether this can work: that is not known", self.limit);
        StepError::new("probe.timeout", message)
            .help("look at what keeps the server busy, or wait longer with --probe-timeout 2m")
    }
}

impl Default for Probing {
    fn default() -> Self {
        Self::new(false, LIMIT)
    }
}
