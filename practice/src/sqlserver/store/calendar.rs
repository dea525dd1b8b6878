//! Arithmetic with dates: DATEADD, DATEDIFF, DATEPART, as functions of a connection. Main function: [`install`].

use chrono::{Datelike, Duration, Months, NaiveDateTime, Timelike};
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::{Connection, Result};

use crate::sqlserver::value::{moment_from, moment_text};

const PURE: FunctionFlags = FunctionFlags::SQLITE_UTF8.union(FunctionFlags::SQLITE_DETERMINISTIC);

/// The name that a part of a date has in the compiled statement, whatever way it was written.
#[must_use]
pub fn part(word: &str) -> Option<&'static str> {
    Some(match word.to_ascii_lowercase().as_str() {
        "year" | "yy" | "yyyy" => "year",
        "month" | "mm" | "m" => "month",
        "day" | "dd" | "d" => "day",
        "hour" | "hh" => "hour",
        "minute" | "mi" | "n" => "minute",
        "second" | "ss" | "s" => "second",
        "millisecond" | "ms" => "millisecond",
        "microsecond" | "mcs" => "microsecond",
        _ => return None,
    })
}

pub(super) fn install(connection: &Connection) -> Result<()> {
    connection.create_scalar_function("dd_dateadd", 3, PURE, |context| {
        let (Ok(count), Some(moment)) = (context.get_raw(1).as_i64(), moment(context, 2)) else {
            return Ok(None);
        };
        Ok(added(moment, word(context), count).map(|sum| moment_text(sum, 7)))
    })?;
    connection.create_scalar_function("dd_datediff", 3, PURE, |context| {
        let (Some(from), Some(to)) = (moment(context, 1), moment(context, 2)) else { return Ok(None) };
        Ok(Some(boundaries(to, word(context)) - boundaries(from, word(context))))
    })?;
    connection.create_scalar_function("dd_datepart", 2, PURE, |context| {
        let Some(moment) = moment(context, 1) else { return Ok(None) };
        Ok(Some(match word(context) {
            "year" => i64::from(moment.year()),
            "month" => i64::from(moment.month()),
            "day" => i64::from(moment.day()),
            "hour" => i64::from(moment.hour()),
            "minute" => i64::from(moment.minute()),
            "second" => i64::from(moment.second()),
            "millisecond" => i64::from(moment.nanosecond() / 1_000_000),
            _ => i64::from(moment.nanosecond() / 1_000),
        }))
    })
}

fn word<'a>(context: &'a Context<'_>) -> &'a str {
    context.get_raw(0).as_str().unwrap_or_default()
}

fn moment(context: &Context<'_>, at: usize) -> Option<NaiveDateTime> {
    let text = context.get_raw(at).as_str().ok()?;
    moment_from(text).or_else(|| moment_from(&format!("{text} 00:00:00")))
}

fn added(moment: NaiveDateTime, part: &str, count: i64) -> Option<NaiveDateTime> {
    let months = |months: i64| {
        let size = Months::new(u32::try_from(months.unsigned_abs()).ok()?);
        if months < 0 { moment.checked_sub_months(size) } else { moment.checked_add_months(size) }
    };
    let step = match part {
        "year" => return months(count.checked_mul(12)?),
        "month" => return months(count),
        "day" => Duration::try_days(count)?,
        "hour" => Duration::try_hours(count)?,
        "minute" => Duration::try_minutes(count)?,
        "second" => Duration::try_seconds(count)?,
        "millisecond" => Duration::try_milliseconds(count)?,
        _ => Duration::microseconds(count),
    };
    moment.checked_add_signed(step)
}

/// How many boundaries of a part lie between the beginning of time and a moment: DATEDIFF counts these.
fn boundaries(moment: NaiveDateTime, part: &str) -> i64 {
    let days = i64::from(moment.num_days_from_ce());
    let seconds = days * 86_400 + i64::from(moment.num_seconds_from_midnight());
    match part {
        "year" => i64::from(moment.year()),
        "month" => i64::from(moment.year()) * 12 + i64::from(moment.month()),
        "day" => days,
        "hour" => seconds / 3600,
        "minute" => seconds / 60,
        "second" => seconds,
        "millisecond" => seconds * 1000 + i64::from(moment.nanosecond() / 1_000_000),
        _ => seconds * 1_000_000 + i64::from(moment.nanosecond() / 1_000),
    }
}
