//! Where a rehearsal kills its run: [`Kill`], `[PLAN:]STEP[:begun|acting|done]`.

use serde_json::{Value, json};

/// The phase of a step's first attempt at which its process is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The attempt is in the journal, and nothing of it was done.
    Begun,
    /// The server has done the work, and its answer is held back.
    Acting,
    /// The work is done, and nothing of that is in the journal.
    Done,
}

/// A place to kill at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kill {
    /// `backup` or `restore`; any plan that has the step when left out.
    pub(super) plan: Option<String>,
    /// The step.
    pub(super) step: String,
    /// When.
    pub(super) phase: Phase,
}

/// What practice servers call the work of the kinds that change something.
const WORK: &[&str] = &[
    "backup *",
    "restore *",
    "recover *",
    "mark *",
    "insert*",
    "update*",
    "delete*",
    "create*",
    "alter*",
    "POST */snapshots",
    "POST */snapshots/upload",
    "POST */points/delete",
    "PUT *",
    "DELETE *",
    "POST /maintenance",
    "POST /hook",
    "POST */conversation",
];

impl Kill {
    /// The value of `--kill-at`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("--kill-at: `{text}` is not [PLAN:]STEP[:begun|acting|done]");
        let mut parts: Vec<&str> = text.split(':').collect();
        let phase = match parts.last().copied() {
            Some("begun") => Some(Phase::Begun),
            Some("acting") => Some(Phase::Acting),
            Some("done") => Some(Phase::Done),
            _ => None,
        };
        if phase.is_some() {
            parts.pop();
        }
        let (plan, step) = match parts.as_slice() {
            [step] => (None, *step),
            [plan, step] => (Some((*plan).to_owned()), *step),
            _ => return Err(bad()),
        };
        if step.is_empty() {
            return Err(bad());
        }
        Ok(Self { plan, step: step.to_owned(), phase: phase.unwrap_or(Phase::Acting) })
    }

    /// Whether it is meant for this plan, which has these steps.
    pub(super) fn is_for(&self, plan: &str, steps: &[String]) -> bool {
        self.plan.as_deref().is_none_or(|named| named == plan) && steps.contains(&self.step)
    }

    /// The rules by which the servers hold back the answer to the first work of that step.
    pub(super) fn faults(&self) -> Value {
        let rule = |attempt: String, op: &str| json!({ "attempt": attempt, "op": op, "do": "hold" });
        let attempts = [format!("*/{}/1", self.step), format!("*/{}[*]/1", self.step)];
        attempts
            .into_iter()
            .flat_map(|attempt| WORK.iter().map(move |op| rule(attempt.clone(), op)))
            .collect()
    }

    /// The value of `DRYDOCK_KILL_AT`, where the run kills itself.
    pub(super) fn variable(&self) -> Option<String> {
        match self.phase {
            Phase::Begun => Some(format!("{}:begun", self.step)),
            Phase::Done => Some(format!("{}:done", self.step)),
            Phase::Acting => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read() {
        let kill = |plan: Option<&str>, step: &str, phase| {
            Ok(Kill { plan: plan.map(str::to_owned), step: step.into(), phase })
        };
        assert_eq!(Kill::parse("mark"), kill(None, "mark", Phase::Acting));
        assert_eq!(Kill::parse("mark:done"), kill(None, "mark", Phase::Done));
        assert_eq!(Kill::parse("restore:fence:begun"), kill(Some("restore"), "fence", Phase::Begun));
        for bad in ["", ":", "a:b:c", "a:b:c:done"] {
            assert!(Kill::parse(bad).unwrap_err().contains("is not [PLAN:]STEP"), "{bad}");
        }
    }
}
