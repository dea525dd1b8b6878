//! Where a recovery stops: [`RecoverTo`], and what a server is told of it.

use drydock_recovery::Time;
use drydock_recovery::backup::clock;
use drydock_step::{Field, Shape, StepError};
use serde::Deserialize;

/// The longest name of a restore point.
const LONGEST: usize = 63;

/// What a plan may write for a [`RecoverTo`].
pub(super) const RECOVER_TO: Shape = Shape::Record(&[
    Field::optional("name", Shape::Text, "A restore point; the first of this name."),
    Field::optional("time", Shape::Datetime, "A time: the last commit at or before it."),
    Field::optional("lsn", Shape::Text, "A place in the WAL, `0/8348C48`; what stands there is in."),
    Field::optional(
        "immediate",
        Shape::Boolean,
        "As soon as the data are consistent: the end of the base backup.",
    ),
    Field::optional("end", Shape::Boolean, "The end of the WAL that there is."),
]);

/// Where a recovery stops. Exactly one of them is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecoverTo {
    /// At a restore point.
    Name(String),
    /// At a time.
    Time(Time),
    /// At a place in the WAL.
    Lsn(String),
    /// At the end of the base backup.
    Immediate,
    /// At the end of the WAL.
    End,
}

impl<'de> Deserialize<'de> for RecoverTo {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written {
            name: Option<String>,
            time: Option<Time>,
            lsn: Option<String>,
            #[serde(default)]
            immediate: bool,
            #[serde(default)]
            end: bool,
        }
        let written = Written::deserialize(deserializer)?;
        let mut named = Vec::new();
        named.extend(written.name.map(Self::Name));
        named.extend(written.time.map(Self::Time));
        named.extend(written.lsn.map(Self::Lsn));
        named.extend(written.immediate.then_some(Self::Immediate));
        named.extend(written.end.then_some(Self::End));
        match (named.pop(), named.pop()) {
            (Some(one), None) => Ok(one),
            _ => Err(serde::de::Error::custom(
                "exactly one of `name`, `time`, `lsn`, `immediate` and `end` says where to stop",
            )),
        }
    }
}

impl std::fmt::Display for RecoverTo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => write!(f, "restore point {name}"),
            Self::Time(time) => write!(f, "{}", clock(*time)),
            Self::Lsn(lsn) => write!(f, "{lsn}"),
            Self::Immediate => f.write_str("the end of the base backup"),
            Self::End => f.write_str("the end of the WAL"),
        }
    }
}

impl RecoverTo {
    /// Nothing, when a server can be told of it.
    ///
    /// # Errors
    /// `input`.
    pub(super) fn fits(&self) -> Result<(), StepError> {
        let refused = |message: String| Err(StepError::new("input", message));
        match self {
            Self::Name(name) if name.is_empty() || name.len() > LONGEST || name.contains(['\n', '\0']) => {
                refused(format!(
                    "`to.name`, `{name}`, is no name of a restore point: one has 1 to {LONGEST} bytes"
                ))
            }
            Self::Lsn(lsn) if lsn_number(lsn).is_none() => {
                refused(format!("`to.lsn`, `{lsn}`, is no place in the WAL such as `0/8348C48`"))
            }
            _ => Ok(()),
        }
    }

    /// The settings that tell a server of it.
    pub(super) fn settings(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Name(name) => vec![("recovery_target_name", name.clone())],
            // With its zone, for the server's own may be any.
            Self::Time(time) => {
                vec![("recovery_target_time", time.format("%Y-%m-%d %H:%M:%S%.6f+00").to_string())]
            }
            Self::Lsn(lsn) => vec![("recovery_target_lsn", lsn.clone())],
            Self::Immediate => vec![("recovery_target", "immediate".into())],
            Self::End => Vec::new(),
        }
    }
}

/// A place in the WAL as a number, `0/8348C48`; nothing where it is none.
pub(super) fn lsn_number(lsn: &str) -> Option<u64> {
    let (high, low) = lsn.split_once('/')?;
    let part = |text: &str| match text.len() {
        1..=8 if text.bytes().all(|byte| byte.is_ascii_hexdigit()) => u64::from_str_radix(text, 16).ok(),
        _ => None,
    };
    Some(part(high)? << 32 | part(low)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn exactly_one_place_is_named() {
        let read = |value: serde_json::Value| {
            serde_json::from_value::<RecoverTo>(value).map_err(|error| error.to_string())
        };
        assert_eq!(read(json!({ "name": "p" })), Ok(RecoverTo::Name("p".into())));
        assert_eq!(read(json!({ "end": true, "immediate": false })), Ok(RecoverTo::End));
        for wrong in [json!({}), json!({ "name": "p", "end": true })] {
            assert!(read(wrong).unwrap_err().contains("exactly one of `name`"));
        }
        assert!(read(json!({ "xid": "7" })).unwrap_err().contains("unknown field `xid`"));
    }

    #[test]
    fn a_server_is_told_in_its_own_words() {
        let time: Time = "2026-11-22T06:19:33.66Z".parse().unwrap();
        let to = RecoverTo::Time(time);
        assert_eq!(to.settings(), [("recovery_target_time", "2026-11-22 06:19:33.660000+00".to_owned())]);
        assert_eq!(RecoverTo::End.settings(), []);
        for (to, words) in [
            (RecoverTo::Name("x".repeat(64)), "one has 1 to 63 bytes"),
            (RecoverTo::Lsn("0-1".into()), "`0-1`, is no place in the WAL"),
        ] {
            let error = to.fits().unwrap_err();
            assert!(error.code == "input" && error.message.contains(words), "{error}");
        }
        assert_eq!(
            (lsn_number("1/A"), lsn_number("0/"), lsn_number("0/123456789")),
            (Some(0x1_0000_000A), None, None)
        );
    }
}
