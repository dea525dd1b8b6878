//! All steps by name and number, with their needs: [`StepTable`].

use std::cell::Cell;
use std::collections::HashMap;

use crate::codes;
use crate::finding::{Finding, Findings};
use crate::graph::Graph;
use crate::suggest::nearest;
use crate::syntax::fields::{Spanned, list};
use crate::syntax::plan_file::StepWritten;

/// How many steps a plan may have, `finally` included.
const MAX_STEPS: usize = 50_000;
/// For how many unknown names a near one is looked for.
const MAX_GUESSES: usize = 50;

/// The steps of a plan, numbered in written order, the body first.
#[derive(Debug)]
pub(super) struct StepTable<'n> {
    /// As written.
    pub(super) steps: &'n [StepWritten<'n>],
    by_name: HashMap<&'n str, usize>,
    /// How many names were compared with all others; in large plans that takes its time.
    guesses: Cell<usize>,
    /// The numbers of what each needs, as written, without those that name nothing.
    pub(super) needs: Vec<Vec<usize>>,
    /// The graph of them.
    pub(super) graph: Graph,
    /// The order in which to look at the steps: each after what it needs, those of circles last, the body before `finally`.
    pub(super) order: Vec<usize>,
}

impl<'n> StepTable<'n> {
    /// The table of these steps; `None` where there are too many to look at.
    pub(super) fn of(steps: &'n [StepWritten<'n>], findings: &mut Findings) -> Option<Self> {
        if let Some(beyond) = steps.get(MAX_STEPS) {
            findings.push(
                Finding::error(
                    codes::TOO_MANY_STEPS,
                    beyond.name.place,
                    format!("a plan has at most {MAX_STEPS} steps"),
                )
                .label(format!("step {} of {}", MAX_STEPS + 1, steps.len()))
                .help("use `foreach` for what is done to many things, or `plan.run` for a part"),
            );
            return None;
        }
        let by_name = names(steps, findings);
        let needs = needs(steps, &by_name, findings);
        let graph = Graph::of(&needs);
        circles(steps, &needs, &graph, findings);
        let order = order(steps, &graph);
        Some(Self { steps, by_name, guesses: Cell::default(), needs, graph, order })
    }

    /// The number of the step of this name.
    pub(super) fn number(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The help for a name that no step has.
    pub(super) fn no_such_step(&self, finding: Finding, name: &str) -> Finding {
        self.guesses.set(self.guesses.get() + 1);
        let near = (self.guesses.get() <= MAX_GUESSES)
            .then(|| nearest(name, self.steps.iter().map(|step| step.name.value)));
        match near.flatten() {
            Some(near) => finding.help(format!("did you mean `{near}`?")).suggestion(near),
            None if self.steps.len() > 12 => finding.help("no step has a name like it"),
            None => {
                finding.help(format!("the steps are {}", list(self.steps.iter().map(|step| step.name.value))))
            }
        }
    }
}

fn names<'n>(steps: &'n [StepWritten<'n>], findings: &mut Findings) -> HashMap<&'n str, usize> {
    let mut by_name: HashMap<&str, usize> = HashMap::with_capacity(steps.len());
    for (number, step) in steps.iter().enumerate() {
        if let Some(&first) = by_name.get(step.name.value) {
            findings.push(
                Finding::error(
                    codes::DUPLICATE_NAME,
                    step.name.place,
                    format!("two steps are called `{}`", step.name.value),
                )
                .label("the second one")
                .help("rename one of the two; `steps` and `finally` share their names")
                .related(steps[first].name.place, "the first one"),
            );
        } else {
            by_name.insert(step.name.value, number);
        }
    }
    by_name
}

fn needs(
    steps: &[StepWritten<'_>],
    by_name: &HashMap<&str, usize>,
    findings: &mut Findings,
) -> Vec<Vec<usize>> {
    let mut all = Vec::with_capacity(steps.len());
    let mut unknown = 0;
    for step in steps {
        let mut own: Vec<usize> = Vec::with_capacity(step.needs.len());
        for need in &step.needs {
            match by_name.get(need.value) {
                Some(number) if own.contains(number) => findings.push(
                    Finding::warning(
                        codes::NEEDS_TWICE,
                        need.place,
                        format!("`{}` stands twice in `needs`", need.value),
                    )
                    .label("once is enough")
                    .help("remove it"),
                ),
                Some(&number) if steps[number].finally && !step.finally => {
                    findings.push(needs_finally(step, need))
                }
                Some(&number) => own.push(number),
                None => {
                    unknown += 1;
                    findings.push(unknown_need(steps, step, need, unknown <= MAX_GUESSES));
                }
            }
        }
        all.push(own);
    }
    all
}

fn unknown_need(
    steps: &[StepWritten<'_>],
    step: &StepWritten<'_>,
    need: &Spanned<&str>,
    guess: bool,
) -> Finding {
    let message = format!("step `{}` needs `{}`, which is no step", step.name.value, need.value);
    let finding = Finding::error(codes::UNKNOWN_STEP, need.place, message).label("unknown");
    let others = || steps.iter().map(|other| other.name.value).filter(|other| *other != step.name.value);
    match guess.then(|| nearest(need.value, others())).flatten() {
        Some(near) => finding.help(format!("did you mean `{near}`?")).suggestion(near),
        None => finding.help("remove it, or add a step of that name"),
    }
}

fn needs_finally(step: &StepWritten<'_>, need: &Spanned<&str>) -> Finding {
    let message = format!("step `{}` needs `{}`, which stands in `finally`", step.name.value, need.value);
    Finding::error(codes::NEEDS_FINALLY, need.place, message)
        .label("runs only after all steps")
        .help(format!("remove it, or move `{}` to `steps`", need.value))
}

fn circles(steps: &[StepWritten<'_>], needs: &[Vec<usize>], graph: &Graph, findings: &mut Findings) {
    for circle in graph.circles() {
        let name = |number: usize| steps[number].name.value;
        let first = circle[0];
        // The place where a step of the circle names the next one.
        let edge = |at: usize| {
            let (step, next) = (circle[at], circle[(at + 1) % circle.len()]);
            let ix = needs[step].iter().position(|need| *need == next);
            let written = steps[step].needs.iter().find(|need| need.value == name(next));
            ix.and(written).map_or(steps[step].name.place, |need| need.place)
        };
        let place = steps[first].name.place;
        let finding = if circle.len() == 1 {
            Finding::error(codes::CIRCLE, place, format!("step `{}` needs itself", name(first)))
                .label("waits for itself")
                .help("remove it from its `needs`")
        } else {
            let drawn =
                circle.iter().chain([&first]).map(|number| name(*number)).collect::<Vec<_>>().join(" -> ");
            Finding::error(codes::CIRCLE, place, "these steps wait for each other for ever")
                .label("the first of the circle")
                .help(format!("each needs the next: {drawn}; remove one of these needs"))
        };
        let edges = (0..circle.len()).map(|at| {
            let next = circle[(at + 1) % circle.len()];
            (edge(at), format!("`{}` needs `{}`", name(circle[at]), name(next)))
        });
        findings.push(edges.fold(finding, |finding, (place, words)| finding.related(place, words)));
    }
}

fn order(steps: &[StepWritten<'_>], graph: &Graph) -> Vec<usize> {
    let mut order = graph.order();
    if order.len() < steps.len() {
        let mut there = vec![false; steps.len()];
        order.iter().for_each(|number| there[*number] = true);
        order.extend((0..steps.len()).filter(|number| !there[*number]));
    }
    order.sort_by_key(|number| steps[*number].finally);
    order
}
