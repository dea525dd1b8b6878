//! Which attempt: [`AttemptRef`] for people and journals, [`LiveKey`] inside one process.

use std::sync::Arc;

use drydock_plan::model::StepIx;
use drydock_plan::name::Name;

/// One attempt of a step's body or of one of its validations.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptRef {
    /// The step.
    pub step: Name,
    /// The instance of a foreach.
    pub key: Option<Arc<str>>,
    /// Counted from 1: of the body, or of this validation.
    pub n: u32,
    /// The validation, counted from 1; `None` for the body.
    pub check: Option<u32>,
}

impl AttemptRef {
    /// The step with its key: `restore_sql`, `recover_vectors[agent_7f3a]`.
    pub fn instance(&self) -> String {
        instance_name(&self.step, self.key.as_deref())
    }

    /// The attempt's id within its run: `restore_sql/1`, `recover_vectors[agent_7f3a]/2`, `restore_sql/check1/1`.
    pub fn id(&self) -> String {
        match self.check {
            Some(check) => format!("{}/check{check}/{}", self.instance(), self.n),
            None => format!("{}/{}", self.instance(), self.n),
        }
    }
}

/// A step's name with its key.
pub fn instance_name(step: &Name, key: Option<&str>) -> String {
    match key {
        Some(key) => format!("{step}[{key}]"),
        None => step.to_string(),
    }
}

/// An instance of a step in the memory of one machine: the step, and the instance's index in it. At most one attempt of an instance
/// is alive at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LiveKey {
    /// The step.
    pub step: StepIx,
    /// The instance.
    pub instance: u32,
}
