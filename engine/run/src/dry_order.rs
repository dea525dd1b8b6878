//! In which order a dry run takes steps: [`order_of`].

use std::collections::BTreeSet;

use drydock_plan::model::{Step, StepIx};

/// The steps so that each comes after what it needs, written order first; `finally` after the body.
pub(crate) fn order_of(steps: &[Step]) -> Vec<StepIx> {
    let mut order = Vec::with_capacity(steps.len());
    let mut open: Vec<usize> = steps.iter().map(|step| step.needs.len()).collect();
    let mut ready: BTreeSet<(bool, usize)> =
        (0..steps.len()).filter(|at| open[*at] == 0).map(|at| (steps[at].finally, at)).collect();
    let mut dependents = vec![Vec::new(); steps.len()];
    for (at, step) in steps.iter().enumerate() {
        step.needs.iter().for_each(|need| dependents[need.ix()].push(at));
    }
    while let Some((_, at)) = ready.pop_first() {
        order.push(StepIx(u32::try_from(at).unwrap_or(u32::MAX)));
        for dependent in &dependents[at] {
            open[*dependent] -= 1;
            if open[*dependent] == 0 {
                ready.insert((steps[*dependent].finally, *dependent));
            }
        }
    }
    order
}
