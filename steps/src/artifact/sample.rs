//! Some of many artifacts: [`Share`].

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::expected::Expected;

/// How many of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Share {
    /// So many.
    Count(usize),
    /// So many of a hundred.
    Percent(f64),
}

impl<'de> Deserialize<'de> for Share {
    /// A count, or text such as `5%`.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let share = match Value::deserialize(deserializer)? {
            Value::Number(count) => count
                .as_u64()
                .filter(|count| *count > 0)
                .map(|count| Self::Count(usize::try_from(count).unwrap_or(usize::MAX))),
            Value::String(text) => text
                .strip_suffix('%')
                .and_then(|digits| digits.trim().parse::<f64>().ok())
                .filter(|percent| *percent > 0.0 && *percent <= 100.0)
                .map(Self::Percent),
            _ => None,
        };
        let why = "a sample is a count, or a share such as `5%`: more than none, and at most 100%";
        share.ok_or_else(|| serde::de::Error::custom(why))
    }
}

impl Share {
    /// So many of them, at least one where there are some, in the order given. Which ones follows from `lot` alone.
    pub(super) fn drawn(self, all: Vec<Expected>, lot: &str) -> Vec<Expected> {
        let count = match self {
            Self::Count(count) => count,
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "a share of a length is one"
            )]
            Self::Percent(percent) => ((all.len() as f64 * percent / 100.0).ceil() as usize).max(1),
        };
        let mut lots: Vec<(Vec<u8>, usize)> = all
            .iter()
            .enumerate()
            .map(|(at, one)| (Sha256::digest(format!("{lot}\n{}", one.path)).to_vec(), at))
            .collect();
        lots.sort();
        let mut chosen: Vec<usize> = lots.into_iter().take(count).map(|(_, at)| at).collect();
        chosen.sort_unstable();
        chosen.into_iter().map(|at| all[at].clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_lot_draws_others_and_the_same_lot_the_same() {
        let all = || -> Vec<Expected> {
            (0..100).map(|n| Expected { path: format!("a/{n:03}"), size: None, sha256: None }).collect()
        };
        let share: Share = serde_json::from_value(json!("5%")).unwrap();
        let one = share.drawn(all(), "r1/step/1");
        assert_eq!((one.len(), one.is_sorted_by_key(|one| one.path.clone())), (5, true));
        assert_eq!(one, share.drawn(all(), "r1/step/1"));
        assert_ne!(one, share.drawn(all(), "r1/step/2"));
        assert_eq!(Share::Count(200).drawn(all(), "x").len(), 100);
        assert_eq!(Share::Percent(0.1).drawn(Vec::new(), "x"), Vec::new());
    }
}
