//! `DRYDOCK_CRASH_AT=N[.before|.torn|.after]`: [`CrashAt`], which aborts the process at the Nth batch of a sitting, in every build, so
//! that anyone can walk the crash matrix.

/// Where to abort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrashAt {
    /// The batch, counted from 1 in each sitting.
    pub batch: u64,
    /// When.
    pub when: CrashWhen,
}

/// The moment of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashWhen {
    /// Nothing of it is written.
    Before,
    /// Half of its bytes are written.
    Torn,
    /// It is durable, and nothing has followed from it.
    After,
}

impl CrashAt {
    /// The value of the variable.
    ///
    /// # Errors
    /// In words, when it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (number, when) = text.split_once('.').unwrap_or((text, "after"));
        let bad = || format!("DRYDOCK_CRASH_AT={text}: write N, N.before, N.torn or N.after, with N from 1");
        let when = match when {
            "before" => CrashWhen::Before,
            "torn" => CrashWhen::Torn,
            "after" => CrashWhen::After,
            _ => return Err(bad()),
        };
        let batch = number.parse().ok().filter(|batch| *batch > 0).ok_or_else(bad)?;
        Ok(Self { batch, when })
    }

    /// Whether to abort now.
    pub fn is(this: Option<Self>, batch: u64, when: CrashWhen) -> bool {
        this == Some(Self { batch, when })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_is_read() {
        assert_eq!(CrashAt::parse("3"), Ok(CrashAt { batch: 3, when: CrashWhen::After }));
        assert_eq!(CrashAt::parse("12.torn"), Ok(CrashAt { batch: 12, when: CrashWhen::Torn }));
        for bad in ["", "0", "x", "3.soon", "3.", "-1"] {
            assert!(CrashAt::parse(bad).unwrap_err().contains("write N"), "{bad}");
        }
    }
}
