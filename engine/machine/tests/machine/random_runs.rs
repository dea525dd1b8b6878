//! Random plans, run by a random world, cut at any point and resumed, watched by a [`Witness`] all the way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use drydock_machine::attempt::instance_name;
use drydock_machine::event::EVENT_NAMES;
use drydock_machine::{
    Assume, AttemptRef, Ended, Exit, Input, Machine, Moment, RunEvent, RunHead, RunStatus, Sitting, Verdict,
};
use drydock_plan::duration::Millis;
use drydock_plan::model::StepIx;
use drydock_plan::name::Name;
use serde_json::{Value, json};

use crate::dice::Dice;
use crate::random_plans::{Drawn, Fate};
use crate::witness::Witness;
use crate::world::{permanent, transient};

/// How many plans are drawn; `DRYDOCK_PLANS` asks for more, `DRYDOCK_SEED` for one.
const PLANS: u64 = 2_400;

/// What has become of an attempt at the server.
#[derive(Debug, Clone)]
enum Truth {
    Done(Value),
    NotDone,
    Partly(Value),
    Unknown,
}

/// An attempt that executes in this process.
#[derive(Debug)]
struct Executing {
    due: i64,
    /// What it will say; `None`: nothing, ever.
    says: Option<Ended>,
    asked_to_stop: bool,
}

/// How a sitting came to its end.
#[derive(Debug, PartialEq, Eq)]
enum Over {
    Exit(Exit),
    Cut,
}

/// A run with everything outside of the machine.
struct RandomRun<'a> {
    drawn: &'a Drawn,
    dice: &'a mut Dice,
    machine: Machine,
    witness: Witness<'a>,
    /// The events of each input, with their time: a batch each.
    journal: Vec<(i64, Vec<RunEvent>)>,
    /// What a witness is told about sittings: before which batch, whether it closes the run, and what it answers.
    sittings: Vec<(usize, Sitting)>,
    /// Who said by which batch how it ended.
    said: BTreeMap<usize, AttemptRef>,
    now: i64,
    executing: BTreeMap<AttemptRef, Executing>,
    truth: BTreeMap<AttemptRef, Truth>,
    /// How often the body of an instance took effect, and whether it may have more than once.
    effects: BTreeMap<String, (u32, bool)>,
    /// Whether every event is printed.
    shown: bool,
}

impl<'a> RandomRun<'a> {
    fn new(drawn: &'a Drawn, dice: &'a mut Dice, shown: bool) -> Self {
        Self {
            drawn,
            dice,
            machine: Machine::new(drawn.plan.clone()),
            witness: Witness::new(drawn),
            journal: Vec::new(),
            sittings: Vec::new(),
            said: BTreeMap::new(),
            now: 1_000,
            executing: BTreeMap::new(),
            truth: BTreeMap::new(),
            effects: BTreeMap::new(),
            shown,
        }
    }

    /// Sit until the run is done, or everybody has had enough of it.
    fn run(&mut self) {
        for round in 0..20 {
            let calm = round > 8;
            let sitting = self.next_sitting(round);
            let over = self.sit(sitting, calm);
            self.process_ends();
            match over {
                Over::Cut => continue,
                Over::Exit(Exit::Done) => break,
                Over::Exit(Exit::Waits) => self.somebody_answers(),
                Over::Exit(_) if calm || self.dice.chance(35) => break,
                Over::Exit(_) => {}
            }
        }
        if self.witness.run_ended {
            self.witness.could_have_ended_so();
        }
        self.effects_happened_once();
    }

    fn next_sitting(&mut self, round: usize) -> Sitting {
        let mut sitting = Sitting::default();
        let any = |dice: &mut Dice, drawn: &Drawn| dice.pick(&drawn.plan.steps).id;
        if round == 0 {
            if self.dice.chance(15) {
                sitting.skip = vec![any(self.dice, self.drawn), any(self.dice, self.drawn)];
            }
            if self.dice.chance(10) {
                sitting.only = (0..20).map(|_| any(self.dice, self.drawn)).collect();
            }
            return sitting;
        }
        if self.dice.chance(12) {
            let step = any(self.dice, self.drawn);
            let ix = self.drawn.plan.index_of(step.as_str()).unwrap().ix();
            let keys: Vec<Option<Arc<str>>> = match &self.drawn.items[ix] {
                Some(items) => items.keys().map(|key| Some(key.as_str().into())).chain([None]).collect(),
                None => vec![None],
            };
            sitting.redo.push((step, self.dice.pick(&keys)));
        }
        for (step, key) in self.questions(true) {
            if self.dice.chance(70) || round > 8 {
                let answer = self.dice.pick(&[Assume::Redo, Assume::Done]);
                sitting.assume.push(((step, key), answer));
            }
        }
        sitting.abandon = self.machine.died() && self.dice.chance(8) || round == 19;
        sitting
    }

    /// Who waits: for an answer about an unknown attempt, or for an approval.
    fn questions(&self, unknown: bool) -> Vec<(Name, Option<Arc<str>>)> {
        let mut open = BTreeMap::new();
        for event in self.journal.iter().flat_map(|(_, events)| events) {
            match event {
                RunEvent::Parked { step, key, unknown: asks, .. } if *asks == unknown => {
                    open.insert((step.clone(), key.clone()), ());
                }
                RunEvent::AttemptEnded { step, key, .. } => drop(open.remove(&(step.clone(), key.clone()))),
                _ => {}
            }
        }
        open.into_keys().collect()
    }

    fn sit(&mut self, sitting: Sitting, calm: bool) -> Over {
        self.sittings.push((self.journal.len(), sitting.clone()));
        self.tell_witness(self.sittings.len() - 1);
        let head = RunHead { run: "r1".into(), started_at: Moment(self.now) };
        let kept = self.journal.len();
        self.input(Input::Begin(head, sitting), None);
        if self.journal[kept].1.is_empty() {
            return Over::Exit(self.machine.exit().expect("only a run that has ended has nothing to begin"));
        }
        let mut unsynced = 1;
        for _ in 0..20_000 {
            let cut = !calm && self.dice.chance(2);
            if cut {
                let lost = self.dice.below(unsynced + 1);
                self.cut(lost);
                return Over::Cut;
            }
            if self.dice.chance(75) || unsynced > 3 || self.machine.wanted().ended.is_some() {
                unsynced = 0;
                if let Some(exit) = self.follow() {
                    return Over::Exit(exit);
                }
            }
            unsynced += usize::from(self.one_input(calm, unsynced == 0));
        }
        panic!("the sitting does not end");
    }

    fn tell_witness(&mut self, at: usize) {
        let sitting = &self.sittings[at].1;
        let named = sitting.redo.iter().chain(sitting.assume.iter().map(|(selected, _)| selected));
        let ix = |name: &Name| self.drawn.plan.index_of(name.as_str()).unwrap().ix();
        self.witness.answers = named.map(|(step, _)| ix(step)).collect();
        self.witness.rules.abandoning = sitting.abandon;
    }

    /// Give the machine one input; the witness hears what it makes of it.
    fn input(&mut self, input: Input, says_itself: Option<AttemptRef>) {
        let back = i64::try_from(self.dice.below(3)).unwrap();
        let events = self.machine.on(Moment(self.now - back), input);
        let at = self.machine.now().0;
        self.said.extend(says_itself.clone().map(|attempt| (self.journal.len(), attempt)));
        self.witness.says_itself = says_itself;
        for event in &events {
            if self.shown {
                eprintln!("{at} {event:?}");
            }
            let written = serde_json::to_string(event).unwrap();
            assert_eq!(&serde_json::from_str::<RunEvent>(&written).unwrap(), event, "{written}");
            self.witness.hears(at, event);
        }
        self.journal.push((at, events));
        if self.machine.wanted().ended.is_none() {
            self.witness.nothing_is_forgotten();
        }
        if self.dice.chance(3) {
            self.folded_is_equal();
        }
    }

    fn folded(&self) -> Machine {
        let mut machine = Machine::new(self.drawn.plan.clone());
        for (at, events) in &self.journal {
            events.iter().for_each(|event| machine.apply(Moment(*at), event));
        }
        machine
    }

    fn folded_is_equal(&self) {
        if self.journal.last().is_some_and(|(_, events)| !events.is_empty()) {
            let folded = self.folded();
            assert_eq!(folded.report().to_json(), self.machine.report().to_json());
            assert_eq!(folded.wanted(), self.machine.wanted());
        }
    }

    /// The process dies; the last `lost` batches never reached the disk.
    fn cut(&mut self, lost: usize) {
        let keep = self.journal.len() - lost.min(self.journal.len());
        self.journal.truncate(keep);
        self.said.retain(|at, _| *at < keep);
        self.sittings.retain(|(at, _)| *at < keep || keep == 0 && *at == 0);
        self.machine = self.folded();
        self.witness = Witness::new(self.drawn);
        let journal = std::mem::take(&mut self.journal);
        for (at, (time, events)) in journal.iter().enumerate() {
            if let Some(sitting) = self.sittings.iter().position(|(begins, _)| *begins == at) {
                self.tell_witness(sitting);
            }
            self.witness.says_itself = self.said.get(&at).cloned();
            events.iter().for_each(|event| self.witness.hears(*time, event));
        }
        self.journal = journal;
    }

    /// What executed in the process that ends: who knows.
    fn process_ends(&mut self) {
        for (attempt, executing) in std::mem::take(&mut self.executing) {
            let truth = self.truth_of_lost(&attempt, &executing);
            self.happens(&attempt, &truth);
            self.truth.insert(attempt, truth);
        }
    }

    /// What an attempt has done that nobody hears of any more.
    fn truth_of_lost(&mut self, attempt: &AttemptRef, executing: &Executing) -> Truth {
        let may_be_done = matches!(executing.says, Some(Ended::Outputs(_)));
        let fate = self.fate(attempt);
        match self.dice.below(10) {
            0..=3 if may_be_done => Truth::Done(self.outputs(attempt)),
            4 if fate == Fate::Flaky => Truth::Unknown,
            5 | 6 => Truth::Partly(json!({ "after": attempt.id() })),
            _ => Truth::NotDone,
        }
    }

    fn fate(&self, attempt: &AttemptRef) -> Fate {
        self.drawn.fates[&instance_name(&attempt.step, attempt.key.as_deref())]
    }

    fn happens(&mut self, attempt: &AttemptRef, truth: &Truth) {
        let effects = self.effects.entry(attempt.instance()).or_default();
        match truth {
            Truth::Done(_) if attempt.check.is_none() => effects.0 += 1,
            Truth::Unknown => effects.1 = true,
            _ => {}
        }
    }

    /// Where nobody had to guess and nothing was to be done again, a body that writes took effect exactly once.
    fn effects_happened_once(&self) {
        let again = self.journal.iter().flat_map(|(_, events)| events);
        let again: Vec<Name> = again
            .filter_map(|event| match event {
                RunEvent::ReopenedSteps { steps } => Some(steps.iter().filter(|reopened| reopened.fresh)),
                _ => None,
            })
            .flatten()
            .map(|reopened| reopened.step.clone())
            .collect();
        let report = self.machine.report();
        for (id, (count, guessed)) in &self.effects {
            let Some(step) = report.steps.get(id) else { continue };
            let (base, _) = id.split_once('[').unwrap_or((id, ""));
            let at = self.drawn.plan.index_of(base).unwrap();
            let writes = self.drawn.plan.step(at).call.effect == drydock_plan::catalog::Effect::Writes;
            if writes && !guessed && !again.iter().any(|name| name.as_str() == base) {
                let expected = u32::from(step.status == "succeeded");
                assert!(*count == expected || *count <= 1 && expected == 0, "{id} took effect {count} times");
            }
        }
    }

    fn outputs(&self, attempt: &AttemptRef) -> Value {
        let fine = self.fate(attempt) != Fate::Invalid;
        if attempt.check.is_some() { json!({ "ok": fine }) } else { json!({ "fine": fine }) }
    }

    /// Do what the machine wants, now that it is durable.
    fn follow(&mut self) -> Option<Exit> {
        let wanted = self.machine.wanted();
        if wanted.ended.is_some() {
            return wanted.ended;
        }
        let named = |live| self.machine.live_attempt(live).unwrap();
        let start: Vec<AttemptRef> = wanted.start.into_iter().map(named).collect();
        let stop: Vec<AttemptRef> = wanted.cancel.into_iter().map(named).collect();
        for attempt in
            start.iter().filter(|attempt| !self.executing.contains_key(*attempt)).cloned().collect::<Vec<_>>()
        {
            let executing = self.begin(&attempt);
            self.executing.insert(attempt, executing);
        }
        let gone: Vec<AttemptRef> =
            self.executing.keys().filter(|attempt| !start.contains(attempt)).cloned().collect();
        for attempt in gone {
            let executing = self.executing.remove(&attempt).unwrap();
            let truth = self.truth_of_lost(&attempt, &executing);
            self.happens(&attempt, &truth);
            self.truth.insert(attempt, truth);
        }
        for attempt in stop {
            self.ask_to_stop(&attempt);
        }
        None
    }

    fn begin(&mut self, attempt: &AttemptRef) -> Executing {
        let quick: i64 = self.dice.pick(&[0, 0, 1, 20, 100]);
        let ended = match (self.fate(attempt), attempt.check) {
            (Fate::Bad, _) => {
                let failure = self.dice.pick(&[permanent("bad"), transient("bad"), transient("flaky")]);
                Some(Ended::Failed(failure))
            }
            (Fate::Flaky, _) => self.anything(attempt),
            (Fate::Good | Fate::Invalid, None) if self.needs_no_outputs(attempt) && self.dice.chance(6) => {
                Some(Ended::Waits("may I?".to_owned()))
            }
            _ => Some(Ended::Outputs(self.outputs(attempt))),
        };
        let due = if ended.is_none() { i64::MAX } else { self.now + quick };
        Executing { due, says: ended, asked_to_stop: false }
    }

    fn anything(&mut self, attempt: &AttemptRef) -> Option<Ended> {
        let has_timeout = self.drawn.plan.step(self.ix(attempt)).timeout.is_some();
        Some(match self.dice.below(12) {
            0 => Ended::Failed(permanent("flaky")),
            1 | 2 => Ended::Failed(transient("net")),
            3 | 4 => Ended::Unclear(transient("net")),
            5 => Ended::Cancelled,
            6 => Ended::Waits("may I?".to_owned()),
            7 if has_timeout => return None,
            _ => Ended::Outputs(self.outputs(attempt)),
        })
    }

    /// Whether nothing asks for outputs that an approval does not have.
    fn needs_no_outputs(&self, attempt: &AttemptRef) -> bool {
        let step = self.drawn.plan.step(self.ix(attempt));
        step.outputs.is_empty() && step.validate.iter().all(|validation| validation.call.is_some())
    }

    fn ix(&self, attempt: &AttemptRef) -> StepIx {
        self.drawn.plan.index_of(attempt.step.as_str()).unwrap()
    }

    fn ask_to_stop(&mut self, attempt: &AttemptRef) {
        let can_succeed = self.fate(attempt) != Fate::Bad;
        let outputs = self.outputs(attempt);
        let answer = match self.dice.below(6) {
            0 | 1 => Some(Ended::Cancelled),
            2 if can_succeed => Some(Ended::Outputs(outputs)),
            3 => None,
            4 if can_succeed => return,
            _ => Some(Ended::Cancelled),
        };
        let now = self.now;
        if let Some(executing) = self.executing.get_mut(attempt).filter(|executing| !executing.asked_to_stop)
        {
            executing.due = if answer.is_none() { i64::MAX } else { now };
            (executing.says, executing.asked_to_stop) = (answer, true);
        }
    }

    /// Let one thing happen, whichever; time passes only when nothing else can. Whether it was worth a batch.
    fn one_input(&mut self, calm: bool, synced: bool) -> bool {
        if self.drawn.nervous && !calm && self.dice.chance(2) {
            self.input(Input::Interrupt, None);
            return true;
        }
        let due: Vec<AttemptRef> = self
            .executing
            .iter()
            .filter(|(_, executing)| executing.due <= self.now)
            .map(|(attempt, _)| attempt.clone())
            .collect();
        let asked = if synced { self.machine.wanted().reconcile } else { Vec::new() };
        let approvals = if self.dice.chance(20) { self.questions(false) } else { Vec::new() };
        match (due.len(), asked.len(), approvals.len()) {
            (_, _, 1..) if self.dice.chance(30) => {
                let (step, key) = self.dice.pick(&approvals);
                self.input(approval(step, key), None);
            }
            (1.., 0, _) => self.returns(due),
            (1.., _, _) if self.dice.chance(60) => self.returns(due),
            (_, 1.., _) => {
                let attempt = self.machine.live_attempt(self.dice.pick(&asked)).unwrap();
                let verdict = self.server_says(&attempt);
                self.input(Input::Reconciled(attempt, verdict), None);
            }
            _ => return synced && self.time_passes(),
        }
        true
    }

    fn time_passes(&mut self) -> bool {
        let due = self.executing.values().map(|executing| executing.due).filter(|due| *due < i64::MAX).min();
        let wake = self.machine.wanted().wake_at.map(|at| at.0);
        let Some(next) = due.into_iter().chain(wake).min() else {
            assert!(!self.questions(false).is_empty(), "nothing can happen, and the sitting goes on");
            return false;
        };
        // The clock steps back by up to two now and then: what is due must be due all the same.
        self.now = self.now.max(next + 2);
        self.input(Input::Tick, None);
        true
    }

    fn returns(&mut self, due: Vec<AttemptRef>) {
        let attempt = self.dice.pick(&due);
        if self.dice.chance(10) {
            return self.input(Input::Noted(attempt, json!({ "at": self.now })), None);
        }
        let executing = self.executing.remove(&attempt).unwrap();
        let ended = executing.says.expect("what is due says something");
        match &ended {
            Ended::Outputs(outputs) => {
                let truth = Truth::Done(outputs.clone());
                self.happens(&attempt, &truth);
                self.truth.insert(attempt.clone(), truth);
            }
            Ended::Unclear(_) => {
                let silent = Executing { says: Some(Ended::Outputs(json!({}))), ..executing };
                let truth = self.truth_of_lost(&attempt, &silent);
                self.happens(&attempt, &truth);
                self.truth.insert(attempt.clone(), truth);
            }
            Ended::Waits(_) => {
                // What the approval does is not counted.
                self.happens(&attempt, &Truth::Unknown);
                self.truth.insert(attempt.clone(), Truth::NotDone);
            }
            Ended::Failed(_) | Ended::Cancelled => drop(self.truth.insert(attempt.clone(), Truth::NotDone)),
        }
        self.input(Input::Returned(attempt.clone(), ended), Some(attempt));
    }

    fn server_says(&mut self, attempt: &AttemptRef) -> Verdict {
        if self.dice.chance(15) {
            return Verdict::Busy(Millis(self.dice.pick(&[0, 50, 2_000])));
        }
        match self.truth.get(attempt).cloned().unwrap_or(Truth::NotDone) {
            Truth::Done(outputs) => Verdict::Done(outputs),
            Truth::NotDone => Verdict::NotDone,
            Truth::Partly(progress) => Verdict::Partly(progress),
            Truth::Unknown => Verdict::Unknown("it keeps no trace".to_owned()),
        }
    }

    /// Between two sittings, somebody approves what waits, or some of it.
    fn somebody_answers(&mut self) {
        assert_eq!(self.machine.status(), RunStatus::Waiting);
        for (step, key) in self.questions(false) {
            if self.dice.chance(80) {
                self.input(approval(step, key), None);
            }
        }
    }
}

fn approval(step: Name, key: Option<Arc<str>>) -> Input {
    Input::Approved { step, key, by: "ada".to_owned(), reason: "checked".to_owned() }
}

/// Draw a plan, run it, and give what was recorded.
fn one_plan(seed: u64, shown: bool) -> Vec<(i64, Vec<RunEvent>)> {
    let mut dice = Dice::new(seed);
    let drawn = Drawn::draw(&mut dice);
    let mut run = RandomRun::new(&drawn, &mut dice, shown);
    run.run();
    run.journal
}

/// Run a share of the plans; a seed that fails is printed.
fn share(of: u64, shares: u64) {
    #[allow(clippy::disallowed_methods, reason = "the seed of one failed case is given from outside")]
    let asked = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = asked("DRYDOCK_SEED") {
        return drop(one_plan(seed, true));
    }
    let count = asked("DRYDOCK_PLANS").unwrap_or(PLANS);
    for seed in (0..count).filter(|seed| seed % shares == of) {
        let run = std::panic::catch_unwind(|| one_plan(seed, false));
        if let Err(panic) = run {
            eprintln!("the plan of DRYDOCK_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn random_plans_first_share() {
    share(0, 4);
}

#[test]
fn random_plans_second_share() {
    share(1, 4);
}

#[test]
fn random_plans_third_share() {
    share(2, 4);
}

#[test]
fn random_plans_fourth_share() {
    share(3, 4);
}

/// What never happens is not tested: among a few plans everything must.
#[test]
fn random_runs_do_everything() {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for event in (0..300).flat_map(|seed| one_plan(seed, false)).flat_map(|(_, events)| events) {
        let written = json!(event);
        let name = written["event"].as_str().unwrap().to_owned();
        let mut details = vec![String::new()];
        for field in ["status", "exit", "why", "outcome", "verdict"] {
            let detail = match &written[field] {
                Value::Object(map) => map.keys().next().cloned(),
                Value::Number(number) => Some(number.to_string()),
                Value::String(text) if !text.contains(' ') => Some(text.clone()),
                _ => None,
            };
            details.extend(detail);
        }
        seen.extend(details.into_iter().map(|detail| format!("{name} {detail}").trim().to_owned()));
    }
    let all = "step_ended succeeded, step_ended failed, step_ended skipped, step_ended blocked, step_ended cancelled, \
        step_ended partial, attempt_ended succeeded, attempt_ended failed, attempt_ended cancelled, attempt_ended lost, \
        attempt_ended partly, reconciled done, reconciled not_done, reconciled partly, reconciled busy, reconciled unknown, \
        cancel_asked timeout, cancel_asked interrupt, run_ended succeeded, run_ended failed, run_ended interrupted, \
        run_ended abandoned, run_ended 0, run_ended 20, run_ended 21, run_ended 23, sitting_ended 24";
    let missing: Vec<&str> =
        all.split(", ").chain(EVENT_NAMES.iter().copied()).filter(|name| !seen.contains(*name)).collect();
    assert!(missing.is_empty(), "never happened: {missing:?}");
}

/// A journal is read before anybody knows whether it fits: whatever stands in it, the machine does not break.
#[test]
fn events_of_other_plans_in_any_order_break_nothing() {
    for seed in 0..150 {
        let mut dice = Dice::new(seed);
        let (ours, theirs) = (one_plan(seed, false), one_plan(seed + 1, false));
        let mut events: Vec<RunEvent> =
            ours.into_iter().chain(theirs).flat_map(|(_, events)| events).collect();
        for _ in 0..events.len() / 2 {
            let (from, to) = (dice.below(events.len()), dice.below(events.len()));
            events.swap(from, to);
        }
        let mut machine = Machine::new(Drawn::draw(&mut Dice::new(seed)).plan);
        for (at, event) in
            (0..).zip(events.iter().filter(|event| !matches!(event, RunEvent::SittingEnded { .. })))
        {
            machine.apply(Moment(at), event);
        }
        machine.report();
        let head = RunHead { run: "r1".into(), started_at: Moment(0) };
        machine.on(Moment(0), Input::Begin(head, Sitting::default()));
        for at in 0..200 {
            let wanted = machine.wanted();
            for live in wanted.start.iter().chain(&wanted.reconcile) {
                let (Some(attempt), Some(_)) = (machine.live_attempt(*live), machine.work(*live)) else {
                    continue;
                };
                machine.on(Moment(at), Input::Reconciled(attempt.clone(), Verdict::NotDone));
                machine.on(Moment(at), Input::Returned(attempt, Ended::Outputs(json!({"ok": true}))));
            }
            machine.on(wanted.wake_at.unwrap_or(Moment(at)), Input::Tick);
        }
        machine.report();
    }
}
