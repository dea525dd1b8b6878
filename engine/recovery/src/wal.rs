//! Places in a PostgreSQL server's WAL: [`WalLsn`], written `0/4000028`; and whether segments lead from one to another: [`missing_between`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The lengths that a segment can have, in bytes: powers of two between these.
const SHORTEST: u64 = 1 << 20;
const LONGEST: u64 = 1 << 30;

/// A place in the WAL: bytes since its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WalLsn(pub u64);

impl fmt::Display for WalLsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

/// A text that is no place in the WAL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no place in the WAL such as `0/4000028`")]
pub struct WalLsnError(String);

impl FromStr for WalLsn {
    type Err = WalLsnError;

    fn from_str(text: &str) -> Result<WalLsn, WalLsnError> {
        let half = |half: &str| {
            let fits = (1..=8).contains(&half.len()) && half.bytes().all(|byte| byte.is_ascii_hexdigit());
            fits.then(|| u64::from_str_radix(half, 16).ok()).flatten()
        };
        let read = text.split_once('/').and_then(|(high, low)| Some((half(high)? << 32) | half(low)?));
        read.map(WalLsn).ok_or_else(|| WalLsnError(text.to_owned()))
    }
}

impl Serialize for WalLsn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WalLsn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<WalLsn, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The name of a segment, counted from the beginning of the WAL; nothing for a length that no segment has.
fn segment_name(timeline: u32, number: u64, size: u64) -> Option<String> {
    let in_each = (1_u64 << 32).checked_div(size)?;
    Some(format!("{timeline:08X}{:08X}{:08X}", number.checked_div(in_each)?, number.checked_rem(in_each)?))
}

/// The first segment that is missing among these, in their order, on the way from one place to the end of a record at another; what is
/// wrong with the question itself where that is so.
///
/// # Errors
/// In words, what is missing or wrong.
pub fn missing_between<'s>(
    timeline: u32,
    from: WalLsn,
    to: WalLsn,
    size: u64,
    segments: impl IntoIterator<Item = &'s str>,
) -> Result<(), String> {
    if !size.is_power_of_two() || !(SHORTEST..=LONGEST).contains(&size) {
        return Err(format!("no segment is {size} bytes long"));
    }
    if to <= from {
        return Err(format!("{to} does not lie behind {from}"));
    }
    // A record that ends with a segment lies in that one, not in the next.
    let (first, last) = (from.0 / size, (to.0 - 1) / size);
    let mut segments = segments.into_iter();
    for number in first..=last {
        let wanted = segment_name(timeline, number, size).unwrap_or_default();
        match segments.next() {
            Some(found) if found == wanted => {}
            Some(found) => return Err(format!("after {wanted} was looked for, {found} came")),
            None => return Err(format!("segment {wanted} is missing")),
        }
    }
    match segments.next() {
        None => Ok(()),
        Some(more) => Err(format!("segment {more} does not belong to it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lsn(text: &str) -> WalLsn {
        text.parse().unwrap()
    }

    #[test]
    fn a_place_is_read_as_the_server_writes_it() {
        for text in ["0/0", "0/4000028", "1F/FF000000", "FFFFFFFF/FFFFFFFF"] {
            assert_eq!(lsn(text).to_string(), text);
        }
        assert!(lsn("0/FFFFFFFF") < lsn("1/0"));
        for text in ["", "/", "0/", "0", "x/1", "0/1/2", "+1/2", "123456789/0"] {
            let error = text.parse::<WalLsn>().unwrap_err().to_string();
            assert_eq!(error, format!("`{text}` is no place in the WAL such as `0/4000028`"));
        }
    }

    #[test]
    fn segments_lead_from_one_place_to_another_or_the_first_that_lacks_is_named() {
        let of = |from: &str, to: &str, size: u64, names: &[&str]| {
            missing_between(1, lsn(from), lsn(to), size, names.iter().copied())
        };
        let (size, all) =
            (16 << 20, ["0000000100000000000000FE", "0000000100000000000000FF", "000000010000000100000000"]);
        assert_eq!(of("0/FE000028", "1/100", size, &all), Ok(()));
        assert_eq!(of("0/FE000028", "1/0", size, &all[..2]), Ok(()), "it ends with the segment");
        let missing = |name: &str| Err(format!("segment {name} is missing"));
        assert_eq!(of("0/FE000028", "1/100", size, &all[..2]), missing(all[2]));
        assert_eq!(
            of("0/FE000028", "1/100", size, &[all[0], all[2]]),
            Err(format!("after {} was looked for, {} came", all[1], all[2]))
        );
        assert_eq!(
            of("0/FE000028", "0/FE000100", size, &all[..2]),
            Err(format!("segment {} does not belong to it", all[1]))
        );
        assert_eq!(of("0/100028", "0/100100", 1 << 20, &["000000010000000000000001"]), Ok(()));
        assert_eq!(of("0/2", "0/2", size, &[]), Err("0/2 does not lie behind 0/2".into()));
        assert_eq!(of("0/2", "0/3", 3 << 20, &[]), Err("no segment is 3145728 bytes long".into()));
    }
}
