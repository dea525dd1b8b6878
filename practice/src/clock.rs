//! The time of practice servers, as a value that their starter hands in, and how far each server's clock is off it. Main types: [`Clock`],
//! [`Offsets`].

use std::fmt;
use std::str::FromStr;
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

impl Clock {
    /// A clock that begins at what `source` says now, and goes `pace` times as fast.
    #[must_use]
    pub fn paced(source: Source, pace: u32) -> Self {
        let begun = source();
        let pace = i32::try_from(pace).unwrap_or(i32::MAX);
        Self::new(Arc::new(move || {
            let passed = (source() - begun).checked_mul(pace).unwrap_or(Duration::MAX);
            begun.checked_add_signed(passed).unwrap_or(DateTime::<Utc>::MAX_UTC)
        }))
    }

    /// The clock of another host, so far ahead of this one: it goes as fast, and has a sequence of its own.
    #[must_use]
    pub fn ahead(&self, offset: Duration) -> Self {
        let source = Arc::clone(&self.source);
        Self::new(Arc::new(move || {
            let told = source();
            told.checked_add_signed(offset).unwrap_or(told)
        }))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// A server whose clock can be off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// SQL Server: its log, `msdb`, and what it answers when it is asked for the time.
    SqlServer,
    /// Qdrant, all its nodes: names and times of snapshots.
    Qdrant,
    /// The Octopus API: its lease, and the times that it writes.
    Api,
}

/// How far one server's clock is ahead of the others'; behind when it is less than nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset {
    /// Whose.
    pub host: Host,
    /// How far.
    pub ahead: Duration,
}

/// Why a text is no offset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoOffset {
    /// There is no `=`.
    #[error("`{0}` says no offset: SERVER=OFFSET, such as qdrant=+1h")]
    Shape(String),
    /// The server is none of ours.
    #[error("there is no practice server `{0}`: sqlserver, qdrant or api")]
    Host(String),
    /// What stands behind the `=`.
    #[error("`{0}` is no offset: whole numbers with ms, s, m, h or d, such as +1h, -90s or 1h30m")]
    Amount(String),
    /// It would lead out of the years that a `datetime` can be written in.
    #[error("`{0}` is more than 1000 days")]
    Far(String),
    /// One server is named twice.
    #[error("the clock of {0} is set twice")]
    Twice(Host),
}

/// The greatest offset, either way.
const FARTHEST: Duration = Duration::days(1_000);

/// How far the clock of each server is off; none where nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offsets(Vec<Offset>);

impl Offsets {
    /// These offsets.
    ///
    /// # Errors
    /// [`NoOffset::Twice`].
    pub fn of(offsets: &[Offset]) -> Result<Self, NoOffset> {
        let twice = offsets
            .iter()
            .enumerate()
            .find(|(at, one)| offsets[..*at].iter().any(|other| other.host == one.host));
        twice.map_or_else(|| Ok(Self(offsets.to_vec())), |(_, one)| Err(NoOffset::Twice(one.host)))
    }

    /// The clock of a server, where `clock` is right.
    #[must_use]
    pub fn clock_of(&self, host: Host, clock: &Clock) -> Clock {
        let own = self.0.iter().find(|one| one.host == host);
        own.map_or_else(|| clock.clone(), |one| clock.ahead(one.ahead))
    }
}

impl Host {
    const ALL: [Self; 3] = [Self::SqlServer, Self::Qdrant, Self::Api];

    /// Its name, as in fault rules and in the ledger.
    const fn name(self) -> &'static str {
        match self {
            Self::SqlServer => "sqlserver",
            Self::Qdrant => "qdrant",
            Self::Api => "api",
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Offset {
    type Err = NoOffset;

    /// Reads `qdrant=+1h`.
    fn from_str(text: &str) -> Result<Self, NoOffset> {
        let (host, amount) = text.split_once('=').ok_or_else(|| NoOffset::Shape(text.into()))?;
        let host = Host::ALL
            .into_iter()
            .find(|known| known.name() == host)
            .ok_or_else(|| NoOffset::Host(host.into()))?;
        let (sign, span) = match amount.strip_prefix('-') {
            Some(span) => (-1, span),
            None => (1, amount.strip_prefix('+').unwrap_or(amount)),
        };
        let ahead = span_of(span).ok_or_else(|| NoOffset::Amount(amount.into()))?;
        if ahead > FARTHEST {
            return Err(NoOffset::Far(amount.into()));
        }
        Ok(Self { host, ahead: ahead * sign })
    }
}

/// The span that a text such as `1h30m` says.
fn span_of(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut span = None;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at(digits);
        let unit = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let ms = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        let part = Duration::try_milliseconds(number.parse::<i64>().ok()?.checked_mul(ms)?)?;
        span = Some(span.unwrap_or(Duration::zero()).checked_add(&part)?);
        rest = after;
    }
    span
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

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

    /// A source that the test moves, in seconds.
    fn moved() -> (Source, Arc<AtomicI64>) {
        let seconds = Arc::new(AtomicI64::new(1_000));
        let told = Arc::clone(&seconds);
        (Arc::new(move || DateTime::from_timestamp(told.load(Ordering::Relaxed), 0).unwrap()), seconds)
    }

    #[test]
    fn a_paced_clock_begins_with_its_source_and_leaves_it_behind() {
        let (source, seconds) = moved();
        let clock = Clock::paced(source, 60);
        assert_eq!(clock.now().timestamp(), 1_000);
        seconds.fetch_add(40, Ordering::Relaxed);
        assert_eq!(clock.now().timestamp(), 1_000 + 40 * 60);
    }

    #[test]
    fn each_host_has_its_own_time_and_the_same_pace() {
        let (source, seconds) = moved();
        let offsets: Vec<Offset> =
            ["sqlserver=-90s", "qdrant=+1h30m"].iter().map(|text| text.parse().unwrap()).collect();
        let offsets = Offsets::of(&offsets).unwrap();
        let clock = Clock::paced(source, 2);
        let clocks = Host::ALL.map(|host| offsets.clock_of(host, &clock));
        seconds.fetch_add(100, Ordering::Relaxed);
        let told = clocks.map(|clock| clock.now().timestamp() - 1_000);
        assert_eq!(told, [200 - 90, 200 + 5_400, 200]);
    }

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        assert_eq!(text.parse::<Offset>().unwrap_err().to_string(), expected);
    }

    #[test]
    fn what_is_no_offset_is_refused_with_what_would_be_one() {
        refused("+1h", "`+1h` says no offset: SERVER=OFFSET, such as qdrant=+1h");
        refused("redis=1h", "there is no practice server `redis`: sqlserver, qdrant or api");
        let units = "whole numbers with ms, s, m, h or d, such as +1h, -90s or 1h30m";
        for amount in [
            "",
            "+",
            "1",
            "h",
            "1x",
            "1.5h",
            "--1h",
            "1h-5m",
            "99999999999999999999s",
            "9223372036854775807h",
        ] {
            refused(&format!("api={amount}"), &format!("`{amount}` is no offset: {units}"));
        }
        refused("api=-1001d", "`-1001d` is more than 1000 days");
        let twice = ["api=1h", "qdrant=1h", "api=2h"].map(|text| text.parse().unwrap());
        assert_eq!(Offsets::of(&twice).unwrap_err().to_string(), "the clock of api is set twice");
    }
}
