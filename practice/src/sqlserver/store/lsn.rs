//! Log sequence numbers. Main type: [`Lsn`].

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::sqlserver::value::Decimal;

const SLOTS: u128 = 100_000;
const BLOCKS: u128 = 10_000_000_000;
/// The block at which a new log file part begins, and the one after which it is full.
const FIRST_BLOCK: u64 = 16;
const LAST_BLOCK: u64 = 60_000;

/// A place in a log: numeric(25,0), its digits the log part, ten of the block, five of the slot.
/// Real ones exceed 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Lsn(u128);

impl Lsn {
    /// The LSN before all others; the server writes it where there is none.
    pub const ZERO: Self = Self(0);

    /// An LSN from its parts.
    #[must_use]
    pub fn new(part: u64, block: u64, slot: u32) -> Self {
        Self((u128::from(part) * BLOCKS + u128::from(block)) * SLOTS + u128::from(slot))
    }

    /// Reads the decimal form; nothing for other text or more than 25 digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = (1..=25).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        if digits { text.parse().ok().map(Self) } else { None }
    }

    /// Where the next record begins when one of `bytes` stands here.
    #[must_use]
    pub fn after(self, bytes: usize) -> Self {
        let (part, block) = (self.0 / SLOTS / BLOCKS, self.0 / SLOTS % BLOCKS);
        let (part, block) = (u64::try_from(part).unwrap_or(u64::MAX), u64::try_from(block).unwrap_or(0));
        let length = 8 * (1 + bytes as u64 / 4096);
        match block + length {
            next if next > LAST_BLOCK => Self::new(part + 1, FIRST_BLOCK, 1),
            next => Self::new(part, next, 1),
        }
    }

    /// The number as a decimal.
    #[must_use]
    pub fn decimal(self) -> Decimal {
        Decimal { unscaled: i128::try_from(self.0).unwrap_or(i128::MAX), scale: 0 }
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl From<Lsn> for String {
    fn from(lsn: Lsn) -> Self {
        lsn.to_string()
    }
}

impl TryFrom<String> for Lsn {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("'{text}' is not a log sequence number"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_make_the_decimal_form() {
        let cases = [
            (Lsn::new(39, 1152, 1), "39000000115200001"),
            (Lsn::new(39, 1152, 1).after(10), "39000000116000001"),
            (Lsn::new(39, 59_999, 1).after(10), "40000000001600001"),
            (Lsn::new(17_126_658, 3146, 38), "17126658000000314600038"),
        ];
        for (lsn, expected) in cases {
            assert_eq!(lsn.to_string(), expected);
            assert_eq!(Lsn::parse(expected), Some(lsn));
        }
        assert_eq!(Lsn::parse("0x27"), None);
        assert_eq!(Lsn::parse(""), None);
    }
}
