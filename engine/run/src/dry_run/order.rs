//! The order in which a dry run takes the steps, [`order_of`], and their entries in it: [`ordered`].

use std::collections::{BTreeSet, HashMap};

use drydock_plan::model::{Plan, Step, StepIx};
use drydock_plan::name::Name;
use fixedbitset::FixedBitSet;

use crate::shown::DryStep;

/// Of a plan with more steps it is not said what runs beside what.
const MOST: usize = 2_000;

/// So many are named beside one step.
const NAMED: usize = 20;

/// The steps so that each comes after what it needs, written order first; `finally` after the body.
pub(super) fn order_of(steps: &[Step]) -> Vec<StepIx> {
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

/// The entries in the order of their steps, each with what it comes after and what runs beside it.
pub(super) fn ordered(
    plan: &Plan,
    order: &[StepIx],
    mut entries: HashMap<StepIx, Vec<DryStep>>,
) -> Vec<DryStep> {
    let beside = beside(plan, order);
    let mut steps = Vec::new();
    for ix in order {
        let step = plan.step(*ix);
        let needs: Vec<Name> = step.needs.iter().map(|need| plan.step(*need).id.clone()).collect();
        steps.extend(entries.remove(ix).unwrap_or_default().into_iter().map(|entry| DryStep {
            needs: needs.clone(),
            beside: beside[ix.ix()].clone(),
            finally: step.finally,
            ..entry
        }));
    }
    steps
}

/// Of each step the first of the others that neither come before it nor after it; none, where only one step is at work at once.
fn beside(plan: &Plan, order: &[StepIx]) -> Vec<Vec<Name>> {
    let steps = &plan.steps;
    if plan.max_parallel == 1 || steps.len() > MOST {
        return vec![Vec::new(); steps.len()];
    }
    // Which steps each comes after.
    let mut before = vec![FixedBitSet::with_capacity(steps.len()); steps.len()];
    for ix in order {
        let mut all = FixedBitSet::with_capacity(steps.len());
        for need in &plan.step(*ix).needs {
            all.union_with(&before[need.ix()]);
            all.insert(need.ix());
        }
        before[ix.ix()] = all;
    }
    let others = |at: usize| {
        let free = |other: &usize| {
            *other != at
                && !before[at].contains(*other)
                && !before[*other].contains(at)
                && steps[at].finally == steps[*other].finally
        };
        (0..steps.len()).filter(free).take(NAMED).map(|other| steps[other].id.clone()).collect()
    };
    (0..steps.len()).map(others).collect()
}
