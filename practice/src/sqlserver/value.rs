//! How values are kept in SQLite: numbers and texts that sort and compare as T-SQL's do. Main type: [`Value`].
//!
//! | T-SQL | kept as |
//! |---|---|
//! | integers, bit | INTEGER |
//! | real, float | REAL |
//! | decimal, numeric | TEXT: [`Decimal`]'s fixed-width form, which sorts as the number does |
//! | characters | TEXT |
//! | binary | BLOB |
//! | date, datetime, datetime2 | TEXT `2026-07-14 03:10:00.0000000`, always with seven decimals |
//! | time | TEXT `03:10:00.0000000` |
//! | datetimeoffset | TEXT, the moment in UTC as above, then `|+120` (minutes) |
//! | uniqueidentifier | TEXT, upper case with hyphens |

use chrono::{NaiveDateTime, Timelike};

pub use rusqlite::types::Value;

/// How a moment is written: seven decimals, which chrono does not print by itself.
const MOMENT: &str = "%Y-%m-%d %H:%M:%S";

/// A decimal number: an integer and how many of its digits are decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decimal {
    /// The number times ten to the power of `scale`.
    pub unscaled: i128,
    /// Number of decimals.
    pub scale: u8,
}

/// The largest magnitude of 38 digits.
const LARGEST: i128 = 99_999_999_999_999_999_999_999_999_999_999_999_999;

impl Decimal {
    /// Reads `-12.50`; nothing when it is not a plain decimal number of at most 38 digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
        let all = format!("{whole}{decimals}");
        if all.is_empty() || !all.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let magnitude: i128 = all.parse().ok().filter(|n| *n <= LARGEST)?;
        let scale = u8::try_from(decimals.len()).ok().filter(|scale| *scale <= 38)?;
        Some(Self { unscaled: if negative { -magnitude } else { magnitude }, scale })
    }

    /// The same number with `scale` decimals, rounded half away from zero; nothing when it has over 38 digits.
    #[must_use]
    pub fn rescaled(self, scale: u8) -> Option<Self> {
        let unscaled = if scale >= self.scale {
            self.unscaled.checked_mul(10_i128.checked_pow(u32::from(scale - self.scale))?)?
        } else {
            let divisor = 10_i128.checked_pow(u32::from(self.scale - scale))?;
            let half = divisor / 2 * self.unscaled.signum();
            (self.unscaled + half) / divisor
        };
        (unscaled.unsigned_abs() <= LARGEST.unsigned_abs()).then_some(Self { unscaled, scale })
    }

    /// The form in which it is kept: a letter for the sign, then 38 digits (the nines' complement for
    /// negative numbers), so that texts of one scale sort as their numbers.
    #[must_use]
    pub fn kept(self) -> String {
        if self.unscaled < 0 {
            format!("n{:038}", LARGEST + self.unscaled)
        } else {
            format!("p{:038}", self.unscaled)
        }
    }

    /// Reads the kept form.
    #[must_use]
    pub fn from_kept(text: &str, scale: u8) -> Option<Self> {
        let (sign, digits) = text.split_at_checked(1)?;
        let digits: i128 = digits.parse().ok()?;
        let unscaled = match sign {
            "p" => digits,
            "n" => digits - LARGEST,
            _ => return None,
        };
        Some(Self { unscaled, scale })
    }
}

impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.unscaled < 0 { "-" } else { "" };
        let scale = usize::from(self.scale);
        let digits = format!("{:0width$}", self.unscaled.unsigned_abs(), width = scale + 1);
        let (whole, decimals) = digits.split_at(digits.len() - scale);
        if scale == 0 { write!(f, "{sign}{whole}") } else { write!(f, "{sign}{whole}.{decimals}") }
    }
}

/// A moment in its kept form, cut to `scale` decimals.
#[must_use]
pub fn moment_text(moment: NaiveDateTime, scale: u8) -> String {
    let unit = 10_u32.pow(7 - u32::from(scale.min(7)));
    let ticks = moment.nanosecond() % 1_000_000_000 / 100 / unit * unit;
    format!("{}.{ticks:07}", moment.format(MOMENT))
}

/// A moment from its kept form.
#[must_use]
pub fn moment_from(text: &str) -> Option<NaiveDateTime> {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").ok()
}

/// A moment as `datetime` holds it: rounded to a three-hundredth of a second, shown in milliseconds.
#[must_use]
pub fn datetime_rounded(moment: NaiveDateTime) -> NaiveDateTime {
    let micros = i64::from(moment.nanosecond() % 1_000_000_000 / 1_000);
    // Whole ticks, half away from zero; the server prints them as .000, .003 and .007.
    let ticks = (micros * 300 + 500_000) / 1_000_000;
    let millis = (ticks * 10 + 1) / 3;
    let whole = moment.with_nanosecond(0).unwrap_or(moment);
    whole + chrono::Duration::milliseconds(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_sort_in_their_kept_form() {
        let numbers =
            ["-99999999999999999999999999999999999999", "-2", "-1", "0", "1", "17126658000000314600038"];
        let kept: Vec<_> = numbers.iter().map(|n| Decimal::parse(n).unwrap().kept()).collect();
        assert!(kept.is_sorted(), "{kept:?}");
        for (number, kept) in numbers.iter().zip(&kept) {
            assert_eq!(Decimal::from_kept(kept, 0).unwrap().to_string(), *number);
        }
    }

    #[test]
    fn decimals_round_half_away_from_zero() {
        for (number, scale, expected) in
            [("1.25", 1, "1.3"), ("-1.25", 1, "-1.3"), ("1.24", 1, "1.2"), ("7", 2, "7.00")]
        {
            assert_eq!(Decimal::parse(number).unwrap().rescaled(scale).unwrap().to_string(), expected);
        }
        assert_eq!(Decimal::parse("1.2.3"), None);
        assert_eq!(Decimal::parse(&"9".repeat(39)), None);
    }

    #[test]
    fn datetime_keeps_three_hundredths_of_a_second() {
        for (told, kept) in
            [(".001", ".000"), (".002", ".003"), (".004", ".003"), (".006", ".007"), (".999", ".000")]
        {
            let moment = moment_from(&format!("2026-01-01 00:00:00{told}")).unwrap();
            assert!(moment_text(datetime_rounded(moment), 3).contains(kept), "{told}");
        }
    }
}
