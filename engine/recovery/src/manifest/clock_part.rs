//! [`ClockPart`]: what a server's clock told between two looks at the runner's. The order of a point is proved by the runner's own calls; this
//! says how far a server's times are from them.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::Time;

/// How far two clocks may be apart that count as one: a mark takes as long as its transaction, and snapshots tell whole seconds.
const AGREE: TimeDelta = TimeDelta::seconds(5);

/// How long a look may take that says how far a clock is off. One that outlived a kill took until the resume.
const CLEAR: TimeDelta = TimeDelta::minutes(1);

/// A time of a server's clock, and when the runner asked and was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockPart {
    /// What the server's clock told.
    pub told: Time,
    /// When it was asked, by the runner's clock.
    pub asked_at: Time,
    /// When the answer was there, by the runner's clock.
    pub answered_at: Time,
}

impl ClockPart {
    /// A look of which only the end is known, as in manifests that do not tell when a mark was sent. A time before the end may be right.
    pub(crate) fn ended(told: Time, answered_at: Time) -> ClockPart {
        ClockPart { told, asked_at: told.min(answered_at), answered_at }
    }

    /// How far the server's clock was ahead at least; less than nothing where it may have been behind.
    pub fn ahead_at_least(&self) -> TimeDelta {
        self.told - self.answered_at
    }

    /// How far it was surely off: ahead, or behind as less than nothing. Nothing where both clocks may be right.
    pub fn off(&self) -> TimeDelta {
        let (least, most) = (self.ahead_at_least(), self.told - self.asked_at);
        if least > TimeDelta::zero() { least } else { most.min(TimeDelta::zero()) }
    }

    /// The same, once it is more than two clocks that count as one may be apart.
    pub fn differs(&self) -> Option<TimeDelta> {
        Some(self.off()).filter(|off| off.abs() > AGREE)
    }

    /// Whether the look was short enough to say how far.
    pub fn is_clear(&self) -> bool {
        self.answered_at - self.asked_at <= CLEAR
    }

    /// The clearer of two looks at one clock.
    pub(crate) fn clearer(self, other: ClockPart) -> ClockPart {
        let took = |one: &ClockPart| one.answered_at - one.asked_at;
        if took(&other) < took(&self) { other } else { self }
    }
}

/// How a server's clock went, in words: `3600 s ahead of the runner's`, `as the runner's`.
pub fn off_words(off: TimeDelta) -> String {
    let seconds = off.num_seconds();
    match seconds {
        0 => "as the runner's".to_owned(),
        1.. => format!("{seconds} s ahead of the runner's"),
        _ => format!("{} s behind the runner's", -seconds),
    }
}

/// Whether two clocks, or one clock at two times, count as one.
pub(crate) fn agree(one: TimeDelta, other: TimeDelta) -> bool {
    (one - other).abs() <= AGREE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Time {
        Time::from_timestamp(1_795_000_000 + seconds, 0).unwrap_or_default()
    }

    fn check(told: i64, asked: i64, answered: i64, off_s: i64, differs: bool) {
        let one = ClockPart { told: at(told), asked_at: at(asked), answered_at: at(answered) };
        assert_eq!((one.off().num_seconds(), one.differs().is_some()), (off_s, differs), "{one:?}");
    }

    #[test]
    fn a_clock_is_off_only_as_far_as_a_look_proves() {
        check(10, 10, 10, 0, false);
        check(3_610, 10, 11, 3_599, true);
        check(-3_590, 10, 11, -3_600, true);
        check(14, 10, 10, 4, false);
        // The answer was lost, and the run resumed an hour later: any time between is right.
        check(10, 9, 3_610, 0, false);
        check(-100, 9, 3_610, -109, true);
        check(7_210, 9, 3_610, 3_600, true);
    }

    #[test]
    fn a_look_without_a_beginning_proves_only_that_a_clock_is_ahead() {
        let ahead = ClockPart::ended(at(3_600), at(0));
        assert_eq!(ahead.differs(), Some(TimeDelta::hours(1)));
        let behind_or_resumed = ClockPart::ended(at(0), at(3_600));
        assert_eq!((behind_or_resumed.differs(), behind_or_resumed.is_clear()), (None, false));
    }
}
