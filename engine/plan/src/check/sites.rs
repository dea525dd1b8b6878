//! The places of a plan where expressions stand, and what each may read: the [`Site`]s.

use crate::expr::Root::{Item, Outputs, Params, Result, Run, Steps};
use crate::expr::{Root, Site};

/// A place of a step, in a step with and in one without `foreach`.
#[derive(Debug)]
pub(super) struct StepSite {
    once: Site,
    each: Site,
}

impl StepSite {
    /// The place in a step with or without `foreach`.
    pub(super) fn site(&'static self, foreach: bool) -> &'static Site {
        if foreach { &self.each } else { &self.once }
    }
}

const fn step_site(what: &'static str, once: &'static [Root], each: &'static [Root]) -> StepSite {
    StepSite { once: Site { roots: once, what }, each: Site { roots: each, what } }
}

pub(super) static INPUT: StepSite =
    step_site("a step's input", &[Params, Steps, Run], &[Params, Steps, Run, Item]);
pub(super) static WHEN: StepSite = step_site("`when`", &[Params, Steps, Run], &[Params, Steps, Run, Item]);
pub(super) static OUTPUT: StepSite =
    step_site("a step's `outputs`", &[Params, Steps, Run, Outputs], &[Params, Steps, Run, Outputs, Item]);
pub(super) static VALIDATION_INPUT: StepSite =
    step_site("a validation's input", &[Params, Steps, Run, Outputs], &[Params, Steps, Run, Outputs, Item]);
pub(super) static ASSERT: StepSite = step_site(
    "`assert`",
    &[Params, Steps, Run, Result, Outputs],
    &[Params, Steps, Run, Result, Outputs, Item],
);
pub(super) static ASSERT_WITHOUT_CALL: StepSite = step_site(
    "`assert` of a validation without `uses`",
    &[Params, Steps, Run, Outputs],
    &[Params, Steps, Run, Outputs, Item],
);
pub(super) static FOREACH: StepSite = step_site("`foreach`", &[Params, Steps, Run], &[Params, Steps, Run]);
pub(super) static KEY: StepSite = step_site("`key`", &[Params, Steps, Run], &[Params, Steps, Run, Item]);
pub(super) static PLAN_OUTPUT: Site = Site { roots: &[Params, Steps, Run], what: "the plan's `outputs`" };
