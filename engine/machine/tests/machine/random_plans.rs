//! Random plans that use every keyword: [`Drawn`], a plan together with what its steps are going to do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use drydock_machine::attempt::instance_name;
use drydock_plan::catalog::Effect;
use drydock_plan::model::{Backoff, OnFailure, OnUnknown, Plan, RetryOn, StepIx};
use serde_json::{Value, json};

use crate::dice::Dice;
use crate::plans::{PlanBuilder, StepBuilder, finally, name, plan, step};

/// What becomes of a step or an instance however often it is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It succeeds.
    Good,
    /// Its body fails.
    Bad,
    /// Its body succeeds; a validation does not hold.
    Invalid,
    /// Nobody can say.
    Flaky,
}

/// A condition, as the reference understands it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    Always,
    Never,
    /// This step, which it needs, has succeeded.
    Succeeded(StepIx),
    /// The run that `finally` sees did not succeed.
    RunFailed,
    /// The item says so.
    Item,
}

/// A plan with what its steps are going to do.
#[derive(Debug)]
pub(crate) struct Drawn {
    pub(crate) plan: Arc<Plan>,
    pub(crate) when: Vec<Condition>,
    /// The keys of each foreach, and whether the item says that the instance runs.
    pub(crate) items: Vec<Option<BTreeMap<String, bool>>>,
    /// By the name of the instance.
    pub(crate) fates: BTreeMap<String, Fate>,
    /// Whether anybody interrupts.
    pub(crate) nervous: bool,
}

/// The names of all steps that may be drawn; names are borrowed for ever by the builder.
static NAMES: [&str; 48] = [
    "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "s12", "s13", "s14", "s15",
    "s16", "s17", "s18", "s19", "s20", "s21", "s22", "s23", "s24", "s25", "s26", "s27", "s28", "s29", "s30",
    "s31", "s32", "s33", "s34", "s35", "s36", "s37", "s38", "s39", "s40", "s41", "s42", "s43", "s44", "s45",
    "s46", "s47",
];

struct Draw<'a> {
    dice: &'a mut Dice,
    /// Of a hundred steps so many are not good.
    trouble: usize,
    when: Vec<Condition>,
    items: Vec<Option<BTreeMap<String, bool>>>,
    fates: BTreeMap<String, Fate>,
}

impl Drawn {
    /// A plan of 30 to 44 steps in dense layers, and up to four in `finally`.
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        let (body, last) = (30 + dice.below(15), dice.below(5));
        let trouble = dice.pick(&[0, 5, 5, 15, 30]);
        let nervous = dice.chance(25);
        let mut draw = Draw { dice, trouble, when: Vec::new(), items: Vec::new(), fates: BTreeMap::new() };
        let layers = 3 + draw.dice.below(5);
        let mut steps: Vec<StepBuilder> = Vec::new();
        for (at, id) in NAMES.iter().enumerate().take(body) {
            let below = at * layers / body * body / layers;
            let needs = draw.needs(below.min(at), 0);
            let built = draw.keywords(step(id), at, &needs);
            steps.push(built);
        }
        for (at, id) in NAMES.iter().enumerate().take(body + last).skip(body) {
            let needs = if draw.dice.chance(30) { draw.needs(at, body) } else { BTreeSet::new() };
            let mut built = draw.keywords(finally(id), at, &needs);
            if draw.dice.chance(40) {
                built = built.undoes(&[NAMES[draw.dice.below(body)]]);
            }
            steps.push(built);
        }
        let Draw { when, items, fates, dice, .. } = draw;
        let max_parallel = dice.pick(&[1, 2, 3, 8, 100]);
        let built = with_params(plan(steps), &items).max_parallel(max_parallel).output("done", "all of it");
        Self { plan: built.built(), when, items, fates, nervous }
    }
}

fn with_params(plan: PlanBuilder, items: &[Option<BTreeMap<String, bool>>]) -> PlanBuilder {
    let lists = items.iter().enumerate().filter_map(|(at, items)| {
        let list: Vec<Value> =
            items.as_ref()?.iter().map(|(key, go)| json!({ "name": key, "id": key, "go": go })).collect();
        Some((NAMES[at], json!(list)))
    });
    lists.fold(plan.param("yes", json!(true)).param("no", json!(false)), |plan, (id, list)| {
        plan.param(id, list)
    })
}

impl Draw<'_> {
    /// Up to five steps from `from` to before `to`.
    fn needs(&mut self, to: usize, from: usize) -> BTreeSet<usize> {
        if to <= from {
            return BTreeSet::new();
        }
        (0..self.dice.below(6)).map(|_| from + self.dice.below(to - from)).collect()
    }

    fn keywords(&mut self, mut step: StepBuilder, at: usize, needs: &BTreeSet<usize>) -> StepBuilder {
        for need in needs {
            step = step.needs(&[NAMES[*need]]);
        }
        step = self.condition(step, needs);
        step = self.instances(step, at);
        step = self.tries(step);
        for number in 1..=self.dice.below(3) {
            let (asks, judges) = ("result.ok", "outputs.fine");
            step = if number == 1 && self.dice.chance(70) { step.check(asks) } else { step.judges(judges) };
        }
        step = match self.dice.below(10) {
            0 | 1 => step.reads(),
            2 => step.effect(Effect::ByInput("effect")).with(json!({ "effect": "reads" })),
            3 => step.effect(Effect::ByInput("effect")).with(json!({ "effect": "writes" })),
            _ => step,
        };
        if let Some(need) = needs.first().filter(|_| self.dice.chance(20)) {
            step = step.with(json!({ "seen": format!("it {{{{ steps.{}.status }}}}", NAMES[*need]) }));
        }
        if self.dice.chance(20) {
            step = step.output("copy", "{{ outputs.fine }}");
        }
        let on_failure = [OnFailure::Stop, OnFailure::Continue, OnFailure::Continue, OnFailure::Ignore];
        step = step.on_failure(self.dice.pick(&on_failure));
        step.on_unknown(self.dice.pick(&[OnUnknown::Ask, OnUnknown::Ask, OnUnknown::Redo, OnUnknown::Done]))
    }

    fn condition(&mut self, step: StepBuilder, needs: &BTreeSet<usize>) -> StepBuilder {
        let in_finally = step.step.finally;
        let (condition, step) = match (self.dice.below(12), needs.first()) {
            (0, _) => (Condition::Always, step.when("params.yes")),
            (1, _) => (Condition::Never, step.when("params.no")),
            (2 | 3, Some(need)) => {
                let text = format!("steps.{}.status == 'succeeded'", NAMES[*need]);
                (Condition::Succeeded(StepIx(u32::try_from(*need).unwrap())), step.when(&text))
            }
            (4 | 5, _) if in_finally => (Condition::RunFailed, step.when("run.status != 'succeeded'")),
            _ => (Condition::Always, step),
        };
        self.when.push(condition);
        step
    }

    /// Whether it is a foreach, and what becomes of it.
    fn instances(&mut self, mut step: StepBuilder, at: usize) -> StepBuilder {
        let id = step.step.id.clone();
        if !self.dice.chance(25) {
            self.items.push(None);
            let fate = self.fate();
            self.fates.insert(id.to_string(), fate);
            return step;
        }
        step = step.foreach(&format!("params.{}", NAMES[at]));
        if self.dice.chance(50) {
            step = step.key("item.id");
        }
        if self.dice.chance(40) {
            step = step.max_parallel(u32::try_from(1 + self.dice.below(3)).unwrap());
        }
        let asks_item = step.step.when.is_none() && self.dice.chance(30);
        if asks_item {
            step = step.when("item.go");
            self.when[at] = Condition::Item;
        }
        let count = self.dice.below(6);
        let items: BTreeMap<String, bool> =
            (0..count).map(|item| (format!("k{item}"), !asks_item || self.dice.chance(60))).collect();
        for key in items.keys() {
            let fate = self.fate();
            self.fates.insert(instance_name(&name(NAMES[at]), Some(key)), fate);
        }
        self.items.push(Some(items));
        step
    }

    fn fate(&mut self) -> Fate {
        if self.dice.chance(self.trouble) {
            self.dice.pick(&[Fate::Bad, Fate::Invalid, Fate::Flaky, Fate::Flaky, Fate::Flaky])
        } else {
            Fate::Good
        }
    }

    fn tries(&mut self, step: StepBuilder) -> StepBuilder {
        let errors = [
            vec![RetryOn::Transient],
            vec![RetryOn::Any],
            vec![RetryOn::Timeout, RetryOn::Validation],
            vec![RetryOn::Code("flaky".to_owned())],
        ];
        let (attempts, delay) = (1 + self.dice.below(4), self.dice.pick(&[0, 10, 400]));
        let backoff = self.dice.pick(&[Backoff::None, Backoff::Linear, Backoff::Exponential]);
        let step = step
            .retry(u32::try_from(attempts).unwrap(), delay, &self.dice.pick(&errors))
            .backoff(backoff, self.dice.pick(&[None, Some(500)]));
        if self.dice.chance(30) { step.timeout(self.dice.pick(&[300, 1_000, 60_000])) } else { step }
    }
}
