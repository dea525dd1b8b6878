//! The exit codes of `drydock`: [`Exit`], one table that the help, the documentation and the journal read.

/// How a command ends, for whoever called it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Everything was done.
    Done = 0,
    /// A fault of Drydock itself.
    Internal = 1,
    /// The command line was not understood.
    Usage = 2,
    /// The plan, environment or a parameter is invalid.
    Invalid = 10,
    /// It cannot succeed: a dry run or preflight says so.
    CannotSucceed = 11,
    /// Somebody else holds it, or it may not be gone on with as it is.
    Locked = 12,
    /// The journal could not be written.
    Journal = 13,
    /// A step failed.
    StepFailed = 20,
    /// A validation did not hold.
    ValidationFailed = 21,
    /// An objective was missed.
    ObjectiveMissed = 22,
    /// It was interrupted.
    Interrupted = 23,
    /// It waits for somebody's answer.
    Waits = 24,
}

/// All exits with what they mean, in the order of their codes.
pub const EXITS: &[(Exit, &str)] = &[
    (Exit::Done, "done"),
    (Exit::Internal, "internal error"),
    (Exit::Usage, "usage"),
    (Exit::Invalid, "plan, environment or parameter invalid"),
    (Exit::CannotSucceed, "cannot succeed (dry run, preflight, no chain)"),
    (Exit::Locked, "locked, or refused as it stands"),
    (Exit::Journal, "journal could not be written"),
    (Exit::StepFailed, "step failed"),
    (Exit::ValidationFailed, "validation failed"),
    (Exit::ObjectiveMissed, "objective missed"),
    (Exit::Interrupted, "interrupted"),
    (Exit::Waits, "waits for approval or an answer"),
];

impl Exit {
    /// The number that the process ends with.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The exit of this number.
    pub fn from_code(code: u8) -> Option<Self> {
        EXITS.iter().map(|(exit, _)| *exit).find(|exit| exit.code() == code)
    }
}

impl serde::Serialize for Exit {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.code())
    }
}

impl<'de> serde::Deserialize<'de> for Exit {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = u8::deserialize(deserializer)?;
        Self::from_code(code).ok_or_else(|| serde::de::Error::custom(format!("{code} is no exit code")))
    }
}
