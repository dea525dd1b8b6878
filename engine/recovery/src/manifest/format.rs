//! [`FormatError`] and the check that stands before every read: is it ours, and do we know this version?

use std::fmt;

use serde::de::{DeserializeOwned, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::sealed::{SealError, parts};

/// The newest version of each of this crate's formats. From version 2 on a file carries its own digest.
pub const VERSION: u32 = 2;

/// The first version whose files carry their own digest.
const DIGESTED: u32 = 2;

/// Format of a recovery point's manifest.
pub const POINT: &str = "drydock.point";
/// Format of a log point's record.
pub const LOG_POINT: &str = "drydock.log_point";
/// Format of what is written when a point is begun.
pub const OPENED: &str = "drydock.opened";
/// Format of what is said about a point afterwards.
pub const POINT_MARK: &str = "drydock.point_mark";

/// The first two fields of every file of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Which format.
    pub format: String,
    /// Which version of it; it rises only when an older reader would be wrong.
    pub version: u32,
}

/// Why a file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Not JSON, or without the first two fields, or with a field of the wrong shape.
    #[error("this is no {expected}: {message}")]
    Unreadable {
        /// The format that was expected.
        expected: &'static str,
        /// What the JSON reader says, with line and column.
        message: String,
    },
    /// Another format.
    #[error("this is a {found:?}, not a {expected:?}")]
    OtherFormat {
        /// The format that was expected.
        expected: &'static str,
        /// The format that the file names.
        found: String,
    },
    /// A version that only a newer Drydock understands.
    #[error(
        "this {format} has version {found}; this Drydock reads versions up to {VERSION}. Read it with a newer Drydock"
    )]
    TooNew {
        /// The format.
        format: &'static str,
        /// The version that the file names.
        found: u32,
    },
    /// Its digest is missing, or is not that of what it says.
    #[error("this {format} cannot be believed: {why}")]
    Changed {
        /// The format.
        format: &'static str,
        /// What is wrong with its digest.
        why: SealError,
    },
}

/// Reads a file of `format`: unknown fields are ignored, a newer version is refused. A digest must hold wherever there is one, and from
/// version 2 on there must be one, so that a changed version gains nothing.
pub(crate) fn read<T: DeserializeOwned>(text: &str, format: &'static str) -> Result<T, FormatError> {
    let unreadable =
        |error: serde_json::Error| FormatError::Unreadable { expected: format, message: error.to_string() };
    let head = match first_fields(text) {
        Some(head) => head,
        None => serde_json::from_str(text).map_err(unreadable)?,
    };
    if let Some(why) = refused(&head, text, format) {
        // What is not even JSON is told as that.
        return Err(serde_json::from_str::<Head>(text).map_or_else(unreadable, |_| why));
    }
    serde_json::from_str(text).map_err(unreadable)
}

fn refused(head: &Head, text: &str, format: &'static str) -> Option<FormatError> {
    if head.format != format {
        return Some(FormatError::OtherFormat { expected: format, found: head.format.clone() });
    }
    if head.version > VERSION {
        return Some(FormatError::TooNew { format, found: head.version });
    }
    match parts(text) {
        Ok(_) => None,
        Err(SealError::None) if head.version < DIGESTED => None,
        Err(why) => Some(FormatError::Changed { format, why }),
    }
}

/// The first two fields, read no further than they go: a store may have ten thousand files, and each is read whole once already.
fn first_fields(text: &str) -> Option<Head> {
    let mut first = First::default();
    // That the rest was not read is an error, which does not matter here.
    let _ = serde_json::Deserializer::from_str(text).deserialize_map(&mut first);
    Some(Head { format: first.format?, version: first.version? })
}

/// Takes the fields of a [`Head`] and stops.
#[derive(Default)]
struct First {
    format: Option<String>,
    version: Option<u32>,
}

impl<'de> Visitor<'de> for &mut First {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a file of ours")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while self.format.is_none() || self.version.is_none() {
            match map.next_key::<String>()?.as_deref() {
                Some("format") => self.format = Some(map.next_value()?),
                Some("version") => self.version = Some(map.next_value()?),
                Some(_) => drop(map.next_value::<IgnoredAny>()?),
                None => break,
            }
        }
        Ok(())
    }
}

/// The first fields of a new file of `format`.
pub(crate) fn head(format: &str) -> (String, u32) {
    (format.to_owned(), VERSION)
}
