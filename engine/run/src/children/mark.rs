//! How a run's programs are known again after it died: [`Mark`], two variables in their environment.

use std::sync::atomic::{AtomicU32, Ordering};

/// The variable with the run's id.
pub const RUN_VARIABLE: &str = "DRYDOCK_RUN";

/// The variable that tells sittings apart. A resume of the run can be under way before the reaper of the sitting that was killed has
/// done its work, and that reaper must let the new sitting's programs be.
pub const SITTING_VARIABLE: &str = "DRYDOCK_SITTING";

/// What every program of one sitting bears in its environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    /// The run's id.
    pub(super) run: String,
    /// Our process id, and which of our [`Children`](super::Children) it is.
    pub(super) sitting: String,
}

/// How many sittings this process has had.
static SITTINGS: AtomicU32 = AtomicU32::new(0);

impl Mark {
    /// The mark of a new sitting of this process.
    pub(super) fn new(run: &str) -> Self {
        let count = SITTINGS.fetch_add(1, Ordering::Relaxed);
        Self { run: run.to_owned(), sitting: format!("{}.{count}", std::process::id()) }
    }

    /// The mark of a line that [`Mark::line`] wrote.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let (sitting, run) = line.strip_prefix("mark ")?.split_once(' ')?;
        Some(Self { run: run.to_owned(), sitting: sitting.to_owned() })
    }

    /// In one line, for the reaper.
    pub(super) fn line(&self) -> String {
        format!("mark {} {}\n", self.sitting, self.run)
    }

    /// The variables.
    pub(super) fn variables(&self) -> [(&'static str, String); 2] {
        [(RUN_VARIABLE, self.run.clone()), (SITTING_VARIABLE, self.sitting.clone())]
    }

    /// Whether an environment, entries ended by NUL, bears it.
    pub(super) fn is_in(&self, environment: &[u8]) -> bool {
        self.variables().iter().all(|(name, value)| {
            let entry = format!("{name}={value}");
            environment.split(|byte| *byte == 0).any(|found| found == entry.as_bytes())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_run_and_sitting_are_marked() {
        let mark = Mark { run: "01ARZ 3".into(), sitting: "17.0".into() };
        assert_eq!(Mark::parse(mark.line().trim_end()), Some(mark.clone()));
        assert_eq!(Mark::parse("mark x"), None);
        let check = |environment: &str, expected: bool| {
            assert_eq!(mark.is_in(environment.as_bytes()), expected, "{environment:?}");
        };
        check("A=1\0DRYDOCK_RUN=01ARZ 3\0DRYDOCK_SITTING=17.0\0", true);
        check("A=1\0DRYDOCK_RUN=01ARZ 3\0DRYDOCK_SITTING=17.01\0", false);
        check("A=1\0DRYDOCK_RUN=01ARZ\0DRYDOCK_SITTING=17.0\0", false);
        check("XDRYDOCK_RUN=01ARZ 3\0DRYDOCK_SITTING=17.0\0", false);
        check("", false);
    }
}
