//! [`Band`]: the least and the most that a count may be.

use serde::{Deserialize, Deserializer, Serialize};

/// Counts around a mark, both ends included; written `{low, high}`, read as `[low, high]` too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Band {
    /// The least.
    pub low: u64,
    /// The most.
    pub high: u64,
}

impl Band {
    /// The band of two counts, whichever is the greater.
    pub fn of(one: u64, other: u64) -> Band {
        Band { low: one.min(other), high: one.max(other) }
    }

    /// Any count: where nobody counted.
    pub fn any() -> Band {
        // What JSON readers hold as a whole number.
        Band { low: 0, high: (1 << 53) - 1 }
    }

    /// Whether it is one count.
    pub fn is_exact(&self) -> bool {
        self.low == self.high
    }
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a band is {low, high} or [low, high], whole numbers")]
enum Written {
    Named { low: u64, high: u64 },
    Pair([u64; 2]),
}

impl<'de> Deserialize<'de> for Band {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Band, D::Error> {
        let (low, high) = match Written::deserialize(deserializer)? {
            Written::Named { low, high } | Written::Pair([low, high]) => (low, high),
        };
        if low > high {
            return Err(serde::de::Error::custom(format!("a band from {low} down to {high} holds nothing")));
        }
        Ok(Band { low, high })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_read_and_an_empty_band_is_refused() {
        let read = |json: &str| serde_json::from_str::<Band>(json).map_err(|error| error.to_string());
        assert_eq!(read(r#"{"low":1,"high":2}"#), Ok(Band::of(2, 1)));
        assert_eq!(read("[3, 3]"), Ok(Band::of(3, 3)));
        assert!(read("[2, 1]").is_err_and(|error| error.contains("a band from 2 down to 1 holds nothing")));
        assert!(read("7").is_err_and(|error| error.contains("a band is {low, high} or [low, high]")));
    }
}
