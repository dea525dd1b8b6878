//! Dates and times as text in T-SQL. Main function: [`parse`].

use chrono::{Datelike, Duration, NaiveDate, NaiveDateTime, NaiveTime, Timelike};

/// A date and time that was read, and the zone that stood behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// As written, without its zone.
    pub local: NaiveDateTime,
    /// Minutes east of UTC, when written.
    pub offset: Option<i16>,
    /// How many decimals the seconds had.
    pub decimals: usize,
}

/// Reads the unambiguous forms: `2026-07-14`, `20260714`, either followed by `T` or a blank and a time,
/// with up to seven decimals and `Z` or `+02:00`; a time alone is on 1900-01-01.
#[must_use]
pub fn parse(text: &str) -> Option<Read> {
    let text = text.trim();
    let (date, rest) = match date_prefix(text) {
        Some((date, rest)) => (date, rest.strip_prefix(['T', ' ']).unwrap_or(rest)),
        None => (NaiveDate::from_ymd_opt(1900, 1, 1)?, text),
    };
    if rest.is_empty() {
        return (rest.len() < text.len()).then_some(Read {
            local: date.and_time(NaiveTime::MIN),
            offset: None,
            decimals: 0,
        });
    }
    let (clock, offset) = zone_suffix(rest.trim())?;
    let (whole, decimals) = clock.split_once('.').unwrap_or((clock, ""));
    if decimals.len() > 7 || !decimals.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let format = if whole.matches(':').count() == 2 { "%H:%M:%S" } else { "%H:%M" };
    let time = NaiveTime::parse_from_str(whole, format).ok()?;
    let nanos: i64 = format!("{decimals:0<9}").parse().ok()?;
    let local = date.and_time(time) + Duration::nanoseconds(nanos);
    Some(Read { local, offset, decimals: decimals.len() })
}

fn date_prefix(text: &str) -> Option<(NaiveDate, &str)> {
    for (length, format) in [(10, "%Y-%m-%d"), (8, "%Y%m%d")] {
        let Some((head, rest)) = text.split_at_checked(length) else { continue };
        let digits_only = head.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        if let (true, Ok(date)) = (digits_only, NaiveDate::parse_from_str(head, format)) {
            return (1..=9999).contains(&date.year()).then_some((date, rest));
        }
    }
    None
}

fn zone_suffix(text: &str) -> Option<(&str, Option<i16>)> {
    if let Some(clock) = text.strip_suffix('Z') {
        return Some((clock.trim_end(), Some(0)));
    }
    let Some(at) = text.rfind(['+', '-']) else { return Some((text, None)) };
    let (clock, zone) = text.split_at(at);
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let total = hours.parse::<i16>().ok()?.checked_mul(60)?.checked_add(minutes.parse().ok()?)?;
    (total <= 14 * 60).then_some((clock.trim_end(), Some(if zone.starts_with('-') { -total } else { total })))
}

/// A moment in style 0, as an implicit conversion of `datetime` prints it: `Jul 14 2026  3:10AM`.
#[must_use]
pub fn style_0(moment: NaiveDateTime) -> String {
    let (pm, hour) = moment.hour12();
    let half = if pm { "PM" } else { "AM" };
    format!(
        "{} {:>2} {} {hour:>2}:{:02}{half}",
        moment.format("%b"),
        moment.day(),
        moment.year(),
        moment.minute()
    )
}

/// A moment with `decimals` decimals, `between` the date and the time: styles 120, 121 and 126.
#[must_use]
pub fn iso(moment: NaiveDateTime, between: char, decimals: u8) -> String {
    let head = format!("{}{between}{}", moment.format("%Y-%m-%d"), moment.format("%H:%M:%S"));
    if decimals == 0 {
        return head;
    }
    let digits = format!("{:09}", moment.nanosecond() % 1_000_000_000);
    format!("{head}.{}", &digits[..usize::from(decimals.min(9))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let read = parse(text).map(|read| format!("{} {:?}", iso(read.local, ' ', 7), read.offset));
        assert_eq!(read.as_deref(), expected, "{text}");
    }

    #[test]
    fn the_unambiguous_forms_are_read_and_no_others() {
        check("2026-07-14", Some("2026-07-14 00:00:00.0000000 None"));
        check("20260714 03:10", Some("2026-07-14 03:10:00.0000000 None"));
        check("2026-07-14T03:10:00.123", Some("2026-07-14 03:10:00.1230000 None"));
        check("2026-07-14T03:10:00.1234567Z", Some("2026-07-14 03:10:00.1234567 Some(0)"));
        check("2026-07-14 03:10:00 +02:00", Some("2026-07-14 03:10:00.0000000 Some(120)"));
        check("03:10:00", Some("1900-01-01 03:10:00.0000000 None"));
        check("2026-07-14T25:00:00", None);
        check("2026-07-14T03:10:00.12345678", None);
        check("14/07/2026", None);
        check("", None);
    }

    #[test]
    fn style_0_is_the_old_american_one() {
        let read = |text| style_0(parse(text).unwrap().local);
        assert_eq!(read("2026-07-04T03:10:00"), "Jul  4 2026  3:10AM");
        assert_eq!(read("2026-07-14T15:10:00"), "Jul 14 2026  3:10PM");
    }
}
