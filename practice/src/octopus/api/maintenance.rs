//! The fence: while it is up nothing is written, and a lease takes it down by itself when nobody does.
//! Main type: [`Fence`].

use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};

use crate::clock::Clock;

use super::answer::ApiError;

/// What is asked of the fence.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    enabled: bool,
    /// Seconds until it comes down by itself; without it, it stays.
    lease_s: Option<u32>,
}

/// How the fence stands.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Standing {
    enabled: bool,
    /// Writers that were let in before it went up and are not out yet.
    in_flight: usize,
    expires_at: Option<String>,
}

/// The fence. Writers pass it before they write.
#[derive(Debug)]
pub(super) struct Fence {
    clock: Clock,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    enabled: bool,
    expires_at: Option<DateTime<Utc>>,
    in_flight: usize,
}

/// A writer that was let in; it is out when this value is dropped.
#[derive(Debug)]
pub(super) struct Writer<'a>(&'a Fence);

impl Fence {
    /// A fence that is down.
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, inner: Mutex::default() }
    }

    /// Puts it up or takes it down. An enabled fence that is enabled again has a new lease.
    pub(super) fn set(&self, asked: &Asked) -> Standing {
        let now = self.clock.now();
        self.with(|inner| {
            inner.enabled = asked.enabled;
            let lease = asked.lease_s.filter(|_| asked.enabled);
            inner.expires_at = lease.map(|seconds| now + Duration::seconds(i64::from(seconds)));
        });
        self.standing()
    }

    /// How it stands now.
    pub(super) fn standing(&self) -> Standing {
        self.with(|inner| Standing {
            enabled: inner.enabled,
            in_flight: inner.in_flight,
            expires_at: inner.expires_at.map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)),
        })
    }

    /// Whether it is up.
    pub(super) fn is_up(&self) -> bool {
        self.with(|inner| inner.enabled)
    }

    /// Lets a writer in, unless the fence is up.
    pub(super) fn enter(&self) -> Result<Writer<'_>, ApiError> {
        self.with(|inner| {
            if inner.enabled {
                return Err(ApiError::Maintenance);
            }
            inner.in_flight += 1;
            Ok(Writer(self))
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        let now = self.clock.now();
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.expires_at.is_some_and(|end| end <= now) {
            inner.enabled = false;
            inner.expires_at = None;
        }
        act(&mut inner)
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        self.0.with(|inner| inner.in_flight -= 1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    fn fence() -> (Fence, Arc<AtomicI64>) {
        let seconds = Arc::new(AtomicI64::new(1_000_000));
        let source = Arc::clone(&seconds);
        let time = move || DateTime::from_timestamp(source.load(Ordering::Relaxed), 0).unwrap();
        (Fence::new(Clock::new(Arc::new(time))), seconds)
    }

    #[test]
    fn it_keeps_writers_out_and_counts_those_inside() {
        let (fence, _) = fence();
        let writer = fence.enter().unwrap();
        let up = fence.set(&Asked { enabled: true, lease_s: None });
        assert_eq!(up, Standing { enabled: true, in_flight: 1, expires_at: None });
        assert!(matches!(fence.enter(), Err(ApiError::Maintenance)));
        drop(writer);
        assert_eq!(fence.standing().in_flight, 0);
        fence.set(&Asked { enabled: false, lease_s: Some(5) });
        assert_eq!(fence.standing(), Standing { enabled: false, in_flight: 0, expires_at: None });
    }

    #[test]
    fn a_lease_expires_by_itself() {
        let (fence, seconds) = fence();
        let up = fence.set(&Asked { enabled: true, lease_s: Some(30) });
        assert_eq!(up.expires_at.unwrap().get(..19), Some("1970-01-12T13:47:10"));
        seconds.fetch_add(29, Ordering::Relaxed);
        assert!(fence.is_up());
        seconds.fetch_add(1, Ordering::Relaxed);
        assert!(!fence.is_up() && fence.enter().is_ok());
    }
}
