//! What executing one attempt needs: [`Work`], a value that could be carried elsewhere.

use std::sync::Arc;

use drydock_plan::name::Name;
use drydock_plan::rendered::Rendered;
use indexmap::IndexMap;
use serde_json::Value;

use crate::attempt::{AttemptRef, LiveKey};
use crate::machine::Machine;

/// One attempt to execute, reconcile or cancel.
#[derive(Debug, Clone, PartialEq)]
pub struct Work {
    /// Which.
    pub attempt: AttemptRef,
    /// The kind.
    pub kind: &'static str,
    /// The target's name in the plan.
    pub target: Option<Name>,
    /// The rendered inputs, with holes where secrets go.
    pub inputs: Arc<IndexMap<String, Rendered>>,
    /// What an earlier attempt had done in part.
    pub from: Option<Value>,
    /// How often the step, or this instance of it, was taken up as never begun: what it did before does not count.
    pub anew: u32,
    /// What this attempt and earlier ones of the same body or validation noted, in order.
    pub notes: Vec<Value>,
}

impl Machine {
    /// The attempt that this instance has alive, with all that executing it needs.
    pub fn work(&self, live: LiveKey) -> Option<Work> {
        let attempt = self.live_attempt(live)?;
        let instance = self.instance(live);
        let found = instance.live()?;
        let step = self.plan.step(live.step);
        let call = match attempt.check {
            None => &step.call,
            Some(check) => step.validate.get((check as usize).checked_sub(1)?)?.call.as_ref()?,
        };
        let same_part = instance.attempts.iter().filter(|other| other.check == attempt.check);
        Some(Work {
            kind: call.kind,
            target: call.target.clone(),
            inputs: found.inputs.clone(),
            from: found.from.clone(),
            anew: instance.anew,
            notes: same_part.flat_map(|other| other.notes.iter().cloned()).collect(),
            attempt,
        })
    }
}
