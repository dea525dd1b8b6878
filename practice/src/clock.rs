//! The time of a practice server, as a value that its starter hands in. Main type: [`Clock`].

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Duration, Utc};

/// Where the time comes from: the system's clock in production, a counter in tests.
pub type Source = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// A clock that never shows the same moment twice; all clones share one sequence.
///
/// Log records, ledger lines and snapshots are ordered by their time, so two of them must not have the same.
#[derive(Clone)]
pub struct Clock {
    source: Source,
    last: Arc<Mutex<DateTime<Utc>>>,
}

impl Clock {
    /// A clock over `source`.
    #[must_use]
    pub fn new(source: Source) -> Self {
        Self { source, last: Arc::new(Mutex::new(DateTime::<Utc>::MIN_UTC)) }
    }

    /// The time now, in whole microseconds: what the source says, or 1 µs after the last answer when the
    /// source stands still or goes back.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        let told = (self.source)();
        let told = DateTime::from_timestamp_micros(told.timestamp_micros()).unwrap_or(told);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let next = last.checked_add_signed(Duration::microseconds(1)).unwrap_or(told);
        *last = told.max(next);
        *last
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(told_micros: &[i64], expected: &[i64]) {
        let told: Vec<_> = told_micros.iter().filter_map(|m| DateTime::from_timestamp_micros(*m)).collect();
        let at = Mutex::new(0);
        let clock = Clock::new(Arc::new(move || {
            let mut at = at.lock().unwrap();
            *at += 1;
            told[*at - 1]
        }));
        let shown: Vec<_> = expected.iter().map(|_| clock.clone().now().timestamp_micros()).collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_repeated_time_moves_on_by_a_microsecond() {
        check(&[10, 10, 10, 20], &[10, 11, 12, 20]);
    }

    #[test]
    fn a_time_that_goes_back_does_not() {
        check(&[100, 50, 101, 200], &[100, 101, 102, 200]);
    }
}
