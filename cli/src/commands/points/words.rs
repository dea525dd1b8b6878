//! Sizes and spans as people read them.

use drydock_machine::Exit;
use drydock_step::Millis;

use crate::session::Refusal;

/// A span that was given to an option.
pub(super) fn span(option: &str, text: &str) -> Result<Millis, Refusal> {
    Millis::parse(text).map_err(|why| Refusal::new(Exit::Usage, format!("--{option}: {why}")))
}

/// A span to its two greatest units.
pub(super) fn age(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}m"),
        (0, hours, minutes) => format!("{hours}h{minutes:02}m"),
        (days, hours, _) => format!("{days}d{hours:02}h"),
    }
}

pub(super) fn seconds(seconds: f64) -> String {
    format!("{seconds:.1} s")
}

/// A size as people read it, in units of 1024.
pub(super) fn bytes(size: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut shown = size as f64;
    let mut unit = 0;
    while shown >= 1024.0 && unit + 1 < units.len() {
        shown /= 1024.0;
        unit += 1;
    }
    let unit_name = units.get(unit).copied().unwrap_or_default();
    if unit == 0 { format!("{size} B") } else { format!("{shown:.1} {unit_name}") }
}
