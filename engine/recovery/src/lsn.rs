//! [`Lsn`]: a log sequence number of SQL Server, a `numeric(25,0)` that does not fit 64 bits.

use std::fmt;
use std::str::FromStr;

use serde::de::{Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const DIGITS: usize = 25;
const SLOTS: u128 = 100_000;
const BLOCKS: u128 = 10_000_000_000;

/// A position in a database's log. Its 25 decimal digits are the virtual log file (10), the block in it (10) and the
/// slot in the block (5), so positions compare as numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(u128);

/// Why a text is not an [`Lsn`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LsnError {
    /// No text at all.
    #[error("an LSN is empty; write its decimal digits, or null where there is none")]
    Empty,
    /// A character that is no decimal digit.
    #[error("{text:?} is not an LSN: {found:?} at character {at} is not a decimal digit")]
    NotADigit {
        /// The text as it was given.
        text: String,
        /// The first character that is no digit.
        found: char,
        /// Its place, counted from 1.
        at: usize,
    },
    /// More digits than `numeric(25,0)` has.
    #[error("{text} is not an LSN: it has {digits} digits, numeric(25,0) has at most 25")]
    TooLong {
        /// The text as it was given.
        text: String,
        /// How many digits it has without leading zeros.
        digits: usize,
    },
}

impl Lsn {
    /// The LSN that these decimal digits write; leading zeros are allowed.
    ///
    /// # Errors
    /// When the text is empty, has a character that is no digit, or more than 25 significant digits.
    pub fn parse(text: &str) -> Result<Lsn, LsnError> {
        if text.is_empty() {
            return Err(LsnError::Empty);
        }
        if let Some((at, found)) = text.chars().enumerate().find(|(_, c)| !c.is_ascii_digit()) {
            return Err(LsnError::NotADigit { text: text.to_owned(), found, at: at + 1 });
        }
        let digits = text.trim_start_matches('0');
        if digits.len() > DIGITS {
            return Err(LsnError::TooLong { text: text.to_owned(), digits: digits.len() });
        }
        Ok(Lsn(digits.bytes().fold(0, |sum, digit| sum * 10 + u128::from(digit - b'0'))))
    }

    /// Whether this is 0, which servers write where there is no LSN.
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The number of the virtual log file.
    pub fn vlf(self) -> u64 {
        u64::try_from(self.0 / (BLOCKS * SLOTS)).unwrap_or(u64::MAX)
    }

    /// The block within the virtual log file.
    pub fn block(self) -> u64 {
        u64::try_from(self.0 / SLOTS % BLOCKS).unwrap_or(u64::MAX)
    }

    /// The slot within the block.
    pub fn slot(self) -> u32 {
        u32::try_from(self.0 % SLOTS).unwrap_or(u32::MAX)
    }

    /// The spelling `00000027:00000480:0001` of log readers: file, block and slot in hexadecimal.
    pub fn hex(self) -> String {
        format!("{:08x}:{:08x}:{:04x}", self.vlf(), self.block(), self.slot())
    }

    /// The next position, one slot on.
    pub(crate) fn next(self) -> Lsn {
        Lsn(self.0 + 1)
    }
}

impl From<u64> for Lsn {
    fn from(number: u64) -> Lsn {
        Lsn(u128::from(number))
    }
}

impl FromStr for Lsn {
    type Err = LsnError;

    fn from_str(text: &str) -> Result<Lsn, LsnError> {
        Lsn::parse(text)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Serialize for Lsn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Lsn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Lsn, D::Error> {
        deserializer.deserialize_any(LsnVisitor)
    }
}

struct LsnVisitor;

impl Visitor<'_> for LsnVisitor {
    type Value = Lsn;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an LSN as decimal text")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Lsn, E> {
        Lsn::parse(text).map_err(E::custom)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Lsn, E> {
        Ok(Lsn::from(number))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Lsn, E> {
        // A JSON reader has already lost digits of a number that comes as floating point.
        if number >= 0.0 && number.fract() == 0.0 {
            return Err(E::custom(
                "an LSN beyond 64 bits was written as a number, which loses digits; write it as text",
            ));
        }
        Err(E::invalid_type(Unexpected::Float(number), &self))
    }
}

/// The part of a log from `first` (held) to `last` (where the next part begins).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LsnRange {
    /// The first position held.
    pub first: Lsn,
    /// The position after the last one held.
    pub last: Lsn,
}

impl LsnRange {
    /// Whether a log of this range can be applied to a database that stands at `at`: `first <= at <= last`.
    pub fn covers(&self, at: Lsn) -> bool {
        self.first <= at && at <= self.last
    }

    /// Whether the record at `at` is in this part: `first <= at < last`.
    pub fn holds(&self, at: Lsn) -> bool {
        self.first <= at && at < self.last
    }

    /// Whether nothing was logged: first and last are the same.
    pub fn is_empty(&self) -> bool {
        self.first == self.last
    }
}

impl fmt::Display for LsnRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.first, self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, &str>) {
        let found = Lsn::parse(text).map(|lsn| lsn.hex()).map_err(|error| error.to_string());
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{text}");
    }

    #[test]
    fn text_is_read_or_refused_with_its_place() {
        check("39000000115200001", Ok("00000027:00000480:0001"));
        check("0", Ok("00000000:00000000:0000"));
        check("00000000000000000000000000000000039000000115200001", Ok("00000027:00000480:0001"));
        check("9999999999999999999999999", Ok("2540be3ff:2540be3ff:1869f"));
        check("", Err("an LSN is empty; write its decimal digits, or null where there is none"));
        check("12x4", Err("\"12x4\" is not an LSN: 'x' at character 3 is not a decimal digit"));
        check("-5", Err("\"-5\" is not an LSN: '-' at character 1 is not a decimal digit"));
        check(
            "10000000000000000000000000",
            Err("10000000000000000000000000 is not an LSN: it has 26 digits, numeric(25,0) has at most 25"),
        );
    }

    #[test]
    fn numbers_compare_as_numbers_and_take_themselves_apart() {
        let big = Lsn::parse("17126658000000314600038").expect("25 digits at most");
        assert!(Lsn::parse("9999").expect("digits") < big);
        assert_eq!((big.vlf(), big.block(), big.slot()), (17_126_658, 3146, 38));
        assert_eq!(big.to_string(), "17126658000000314600038");
    }

    #[test]
    fn json_is_text_or_a_whole_number_of_64_bits() {
        let read = |json: &str| serde_json::from_str::<Lsn>(json).map_err(|error| error.to_string());
        assert_eq!(read("\"39000000115200001\""), read("39000000115200001"));
        assert_eq!(serde_json::to_string(&Lsn::from(42)).expect("text"), "\"42\"");
        assert!(read("17126658000000314600038").is_err_and(|e| e.contains("loses digits; write it as text")));
        assert!(read("-1").is_err_and(|e| e.contains("expected an LSN as decimal text")));
        assert!(read("true").is_err_and(|e| e.contains("expected an LSN as decimal text")));
    }

    #[test]
    fn ranges_cover_their_end_and_hold_all_before_it() {
        let range = LsnRange { first: Lsn::from(10), last: Lsn::from(20) };
        assert!(range.covers(Lsn::from(20)) && !range.holds(Lsn::from(20)));
        assert!(range.covers(Lsn::from(10)) && range.holds(Lsn::from(10)));
        assert!(!range.covers(Lsn::from(9)) && !range.covers(Lsn::from(21)));
        assert!(LsnRange { first: Lsn::from(10), last: Lsn::from(10) }.is_empty());
    }
}
