//! Decimal numbers of any length, written as text: [`Decimal`]. LSNs are such numbers; 64 bits do not hold them.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use minijinja::value::{DynObject, Object, ObjectRepr};

/// A decimal number without exponent, in canonical form: no leading zeros, no trailing zeros of the fraction, no `-0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decimal {
    negative: bool,
    whole: String,
    fraction: String,
}

impl Decimal {
    /// The number that this text is: an optional sign, digits, optionally a point and digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !all_digits(whole) || !all_digits(fraction) {
            return None;
        }
        let whole = whole.trim_start_matches('0').to_owned();
        let fraction = fraction.trim_end_matches('0').to_owned();
        let zero = whole.is_empty() && fraction.is_empty();
        Some(Self { negative: negative && !zero, whole, fraction })
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let size = |a: &Self, b: &Self| {
            a.whole
                .len()
                .cmp(&b.whole.len())
                .then_with(|| a.whole.cmp(&b.whole))
                .then_with(|| a.fraction.cmp(&b.fraction))
        };
        match (self.negative, other.negative) {
            (false, false) => size(self, other),
            (true, true) => size(other, self),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.negative { "-" } else { "" };
        let whole = if self.whole.is_empty() { "0" } else { &self.whole };
        let point = if self.fraction.is_empty() { "" } else { "." };
        write!(f, "{sign}{whole}{point}{}", self.fraction)
    }
}

impl Object for Decimal {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        Some(self.as_ref().cmp(other.downcast_ref::<Self>()?))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_and_written_in_one_form() {
        for (text, shown) in [
            ("007", "7"),
            ("-0.0", "0"),
            ("+1.50", "1.5"),
            ("0.05", "0.05"),
            ("44000000037600005", "44000000037600005"),
        ] {
            assert_eq!(Decimal::parse(text).map(|decimal| decimal.to_string()).as_deref(), Some(shown));
        }
        for text in ["", "-", ".5", "5.", "1e3", "0x1f", " 1", "1 ", "1_000", "١", "--1"] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn decimals_are_ordered_by_value() {
        let ascending = [
            "-10.5",
            "-9",
            "-0.5",
            "0",
            "0.25",
            "0.3",
            "9",
            "10",
            "99999999999999999999999999",
            "100000000000000000000000000",
        ];
        for (at, low) in ascending.iter().enumerate() {
            for (of, high) in ascending.iter().enumerate() {
                assert_eq!(Decimal::parse(low).cmp(&Decimal::parse(high)), at.cmp(&of), "{low} {high}");
            }
        }
        assert_eq!(Decimal::parse("0100.10"), Decimal::parse("100.1"));
    }
}
