//! [`by_clock_of`]: a moment of the runner's clock as a server's clock told it, which logs and WAL are cut by.

use chrono::TimeDelta;

use crate::Time;
use crate::backup::clock;
use crate::catalogue::record::Record;
use crate::manifest::{ClockPart, agree, off_words};

/// A moment by a server's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ByServer {
    /// What the server's clock showed; never later than the moment itself.
    pub(crate) at: Time,
    /// What is worth knowing, where its clock was another.
    pub(crate) told: Option<String>,
}

/// The moment `at` by the clock of a server, of which the good records, newest first, have looks. It is the runner's moment where the two
/// clocks count as one.
///
/// # Errors
/// In words, why that cannot be told: no record has a clear look, or the clock was set between the looks before and after.
pub(crate) fn by_clock_of<'c>(
    server: &str,
    good: &[Record<'c>],
    look: impl Fn(Record<'c>) -> Option<ClockPart>,
    at: Time,
) -> Result<ByServer, String> {
    let looks = || good.iter().filter_map(|record| look(*record)).filter(ClockPart::is_clear);
    let before = looks().find(|one| one.answered_at <= at);
    let after = looks().take_while(|one| one.answered_at > at).last();
    let Some(nearest) = before.or(after) else {
        return Err(format!("no mark tells how the clock of {server} went"));
    };
    let off = |one: ClockPart| one.differs().unwrap_or_default();
    if let (Some(before), Some(after)) = (before, after)
        && !agree(off(before), off(after))
    {
        return Err(format!(
            "the clock of {server} was set: it went {} at {}, and {} at {}; which of its moments this is cannot be told",
            off_words(off(before)),
            clock(before.answered_at),
            off_words(off(after)),
            clock(after.answered_at),
        ));
    }
    let Some(off) = nearest.differs() else { return Ok(ByServer { at, told: None }) };
    // As far as is sure: what was committed later than asked for must not come back.
    let shift: TimeDelta = nearest.ahead_at_least();
    let shown = at.checked_add_signed(shift).unwrap_or(at);
    let told = format!(
        "the clock of {server} went {}: {} was {} by its own clock, where its log is cut",
        off_words(off),
        clock(at),
        clock(shown)
    );
    Ok(ByServer { at: shown, told: Some(told) })
}
