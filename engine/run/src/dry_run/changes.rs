//! What steps change for those after them: whether what was asked of a server now is still so when a step runs.

use drydock_plan::model::{Call, Step};
use drydock_plan::name::Name;
use drydock_plan::rendered::Rendered;
use drydock_step::{Access, Given, Touch};
use indexmap::IndexMap;

use super::Work;
use crate::mending::needed;

impl Work<'_> {
    /// What the last step changes: everything, where only the run knows which plan it runs.
    pub(super) fn changes_since(&self, (destroys, writes, unseen): (usize, usize, usize)) -> Vec<Touch> {
        let touch = |target: Option<String>, resource: &str| Touch {
            target,
            resource: resource.to_owned(),
            access: Access::Writes,
        };
        let touched = self.destroys.iter().skip(destroys).chain(self.writes.iter().skip(writes));
        let mut changes: Vec<Touch> = touched.map(|one| touch(one.target.clone(), &one.resource)).collect();
        if self.unseen.len() > unseen {
            let targets = self.services.plan.targets.keys().map(|name| Some(name.to_string()));
            changes.extend(targets.chain([None]).map(|target| touch(target, "?")));
        }
        changes
    }

    /// Whether what was learned about a step is so when it runs: no step that it needs touches what it touches.
    pub(super) fn is_steady(&self, step: &Step, call: &Call, with: &IndexMap<String, Rendered>) -> bool {
        let Some(kind) = self.services.world.registry.kind_named(call.kind) else { return false };
        if kind.learns_for_good() {
            return true;
        }
        let target = call.target.as_ref().map(Name::as_str);
        let own = kind.touches(target, &Given { with, fill: None }).unwrap_or_default();
        let meets = |before: &Touch| own.iter().any(|own| own.meets(before));
        !self.options.follows && !step.finally && !self.changed_before(step).any(meets)
    }

    /// What the steps change that a step needs.
    pub(super) fn changed_before(&self, step: &Step) -> impl Iterator<Item = &Touch> {
        needed(&self.services.plan, step).into_iter().filter_map(|ix| self.changes.get(&ix)).flatten()
    }
}
