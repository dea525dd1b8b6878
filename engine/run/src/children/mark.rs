//! How a run's programs are known again after it died: [`Mark`], two variables in their environment.

/// The variable with the run's id.
pub const RUN_VARIABLE: &str = "DRYDOCK_RUN";

/// The variable with the process id of the sitting. A resume of the run can be under way before the reaper of the sitting that was
/// killed has done its work, and that reaper must let the new sitting's programs be.
pub const SITTING_VARIABLE: &str = "DRYDOCK_SITTING";

/// What every program of one sitting bears in its environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    /// The run's id.
    pub(super) run: String,
    /// The process id of the sitting.
    pub(super) sitting: u32,
}

impl Mark {
    /// The mark of a line that [`Mark::line`] wrote.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let (sitting, run) = line.strip_prefix("mark ")?.split_once(' ')?;
        Some(Self { run: run.to_owned(), sitting: sitting.parse().ok()? })
    }

    /// In one line, for the reaper.
    pub(super) fn line(&self) -> String {
        format!("mark {} {}\n", self.sitting, self.run)
    }

    /// The variables.
    pub(super) fn variables(&self) -> [(&'static str, String); 2] {
        [(RUN_VARIABLE, self.run.clone()), (SITTING_VARIABLE, self.sitting.to_string())]
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
        let mark = Mark { run: "01ARZ 3".into(), sitting: 17 };
        assert_eq!(Mark::parse(mark.line().trim_end()), Some(mark.clone()));
        assert_eq!(Mark::parse("mark x y"), None);
        let check = |environment: &str, expected: bool| {
            assert_eq!(mark.is_in(environment.as_bytes()), expected, "{environment:?}");
        };
        check("A=1\0DRYDOCK_RUN=01ARZ 3\0DRYDOCK_SITTING=17\0", true);
        check("A=1\0DRYDOCK_RUN=01ARZ 3\0DRYDOCK_SITTING=171\0", false);
        check("A=1\0DRYDOCK_RUN=01ARZ\0DRYDOCK_SITTING=17\0", false);
        check("XDRYDOCK_RUN=01ARZ 3\0DRYDOCK_SITTING=17\0", false);
        check("", false);
    }
}
