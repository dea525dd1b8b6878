//! A world that does what a machine wants: [`World`]. Kinds answer as they are told, time passes only when nothing else happens, and
//! a process can die after any input.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use drydock_machine::{
    Assume, AttemptRef, Ended, Exit, Failure, Input, Machine, Moment, RunEvent, RunHead, Sitting, Verdict,
};
use drydock_plan::duration::Millis;
use drydock_plan::model::Plan;
use serde_json::{Value, json};

use crate::plans::{PlanBuilder, name};

/// What an attempt does when it is executed.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// It returns at once.
    Returns(Ended),
    /// It returns after this many milliseconds, unless it is asked to stop before: then it stops.
    Takes(u64, Ended),
    /// It never returns; when it is asked to stop, it returns this, or nothing.
    Hangs(Option<Ended>),
}

/// One machine and all that is outside of it.
pub(crate) struct World {
    pub(crate) machine: Machine,
    /// All that happened, with its time.
    pub(crate) log: Vec<(Moment, RunEvent)>,
    pub(crate) now: u64,
    plan: Arc<Plan>,
    acts: HashMap<String, VecDeque<Act>>,
    verdicts: HashMap<String, VecDeque<Verdict>>,
    /// What is executing in this process, and when it returns.
    executing: HashMap<AttemptRef, (Option<u64>, Act)>,
    told_to_stop: HashSet<AttemptRef>,
    /// Each question to the server: the attempt's id and when it was asked.
    pub(crate) asked: Vec<(String, u64)>,
}

/// A failure that may pass.
pub(crate) fn transient(code: &str) -> Failure {
    Failure { transient: true, ..permanent(code) }
}

/// A failure that does not pass by itself.
pub(crate) fn permanent(code: &str) -> Failure {
    Failure::new(code, format!("it broke: {code}"))
}

/// The `STEP` or `STEP[KEY]` of a command line.
pub(crate) fn selected(text: &str) -> (drydock_plan::name::Name, Option<Arc<str>>) {
    match text.strip_suffix(']').and_then(|text| text.split_once('[')) {
        Some((step, key)) => (name(step), Some(key.into())),
        None => (name(text), None),
    }
}

impl World {
    pub(crate) fn new(plan: PlanBuilder) -> Self {
        let plan = plan.built();
        Self {
            machine: Machine::new(plan.clone()),
            log: Vec::new(),
            now: 0,
            plan,
            acts: HashMap::new(),
            verdicts: HashMap::new(),
            executing: HashMap::new(),
            told_to_stop: HashSet::new(),
            asked: Vec::new(),
        }
    }

    /// What the next attempt of this part does: `restore`, `recover[a]`, `restore/check1`. Where nothing is said, it returns `{}`.
    pub(crate) fn acts(mut self, part: &str, act: Act) -> Self {
        self.acts.entry(part.to_owned()).or_default().push_back(act);
        self
    }

    pub(crate) fn returns(self, part: &str, outputs: Value) -> Self {
        self.acts(part, Act::Returns(Ended::Outputs(outputs)))
    }

    pub(crate) fn fails(self, part: &str, failure: Failure) -> Self {
        self.acts(part, Act::Returns(Ended::Failed(failure)))
    }

    pub(crate) fn waits(self, part: &str) -> Self {
        self.acts(part, Act::Returns(Ended::Waits("may I?".to_owned())))
    }

    pub(crate) fn loses_touch(self, part: &str) -> Self {
        self.acts(part, Act::Returns(Ended::Unclear(transient("net"))))
    }

    pub(crate) fn takes(self, part: &str, ms: u64) -> Self {
        self.acts(part, Act::Takes(ms, Ended::Outputs(json!({}))))
    }

    /// It runs for ever, and stops when it is asked to.
    pub(crate) fn hangs(self, part: &str) -> Self {
        self.acts(part, Act::Hangs(Some(Ended::Cancelled)))
    }

    /// It runs for ever, and does not answer.
    pub(crate) fn never_answers(self, part: &str) -> Self {
        self.acts(part, Act::Hangs(None))
    }

    /// What the server says about an attempt of this part when it is asked the next time; else that nothing was done.
    pub(crate) fn server_says(mut self, part: &str, verdict: Verdict) -> Self {
        self.verdicts.entry(part.to_owned()).or_default().push_back(verdict);
        self
    }

    /// Give the machine one input, and check what it makes of it.
    pub(crate) fn input(&mut self, input: Input) -> Vec<RunEvent> {
        let at = Moment(i64::try_from(self.now).unwrap());
        let events = self.machine.on(at, input);
        self.log.extend(events.iter().map(|event| (self.machine.now(), event.clone())));
        events
    }

    /// Begin a sitting, and work until it is over or waits for something that does not come.
    pub(crate) fn sit(mut self, sitting: Sitting) -> Self {
        self.begin(sitting);
        self.work(|_| false);
        self
    }

    pub(crate) fn run(self) -> Self {
        self.sit(Sitting::default())
    }

    /// Begin a sitting, and stop working once this attempt (`restore/1`) has begun; it executes, and nobody hears of it.
    pub(crate) fn run_until(self, attempt: &str) -> Self {
        self.sit_until(Sitting::default(), attempt)
    }

    pub(crate) fn sit_until(mut self, sitting: Sitting, attempt: &str) -> Self {
        self.begin(sitting);
        let attempt = attempt.to_owned();
        self.work(move |world| world.started().contains(&attempt));
        self
    }

    /// Begin a sitting, and stop working once this is so.
    pub(crate) fn run_while(mut self, not_enough: impl Fn(&Self) -> bool) -> Self {
        self.begin(Sitting::default());
        self.work(|world| !not_enough(world));
        self
    }

    /// Go on with the sitting that was stopped.
    pub(crate) fn go_on(mut self) -> Self {
        self.work(|_| false);
        self
    }

    /// Somebody presses Ctrl-C.
    pub(crate) fn interrupt(mut self) -> Self {
        self.input(Input::Interrupt);
        self
    }

    pub(crate) fn approve(mut self, instance: &str) -> Self {
        let (step, key) = selected(instance);
        self.input(Input::Approved { step, key, by: "ada".to_owned(), reason: "checked".to_owned() });
        self
    }

    /// The process dies; another folds the journal.
    pub(crate) fn dies(mut self) -> Self {
        self.machine = self.folded();
        self.executing.clear();
        self.told_to_stop.clear();
        self
    }

    /// The process dies, and the run is resumed.
    pub(crate) fn dies_and_resumes(self) -> Self {
        self.dies().run()
    }

    /// The same run, resumed under a changed plan.
    pub(crate) fn changed(mut self, plan: PlanBuilder) -> Self {
        self.plan = plan.built();
        self.dies()
    }

    /// A machine that was given all events so far.
    pub(crate) fn folded(&self) -> Machine {
        let mut machine = Machine::new(self.plan.clone());
        for (at, event) in &self.log {
            machine.apply(*at, event);
        }
        machine
    }

    fn begin(&mut self, sitting: Sitting) {
        self.input(Input::Begin(RunHead { run: "r1".into(), started_at: Moment(0) }, sitting));
    }

    fn work(&mut self, enough: impl Fn(&Self) -> bool) {
        for _ in 0..10_000 {
            if enough(self) || !self.one_round() {
                return;
            }
        }
        panic!("the sitting does not end: {:?}", self.log.iter().rev().take(20).collect::<Vec<_>>());
    }

    /// Begin what is wanted, then let one thing happen; `false` when nothing can.
    fn one_round(&mut self) -> bool {
        let wanted = self.machine.wanted();
        if wanted.ended.is_some() {
            return false;
        }
        let named = |live| self.machine.live_attempt(live).unwrap();
        let start: Vec<AttemptRef> = wanted.start.into_iter().map(named).collect();
        let stop: HashSet<AttemptRef> = wanted.cancel.into_iter().map(named).collect();
        let ask: Vec<AttemptRef> = wanted.reconcile.into_iter().map(named).collect();
        self.executing.retain(|attempt, _| start.contains(attempt));
        for attempt in start {
            if !self.executing.contains_key(&attempt) {
                let act = self.next_act(&attempt);
                let at = if let Act::Takes(ms, _) = act { Some(self.now + ms) } else { None };
                self.executing.insert(attempt.clone(), (at, act));
            }
            let told = stop.contains(&attempt) && self.told_to_stop.insert(attempt.clone());
            if let Some(ended) = self.answer_of(&attempt, told) {
                self.executing.remove(&attempt);
                self.input(Input::Returned(attempt, ended));
                return true;
            }
        }
        if let Some(attempt) = ask.into_iter().next() {
            self.asked.push((attempt.id(), self.now));
            let verdicts = self.verdicts.get_mut(&part_of(&attempt)).and_then(VecDeque::pop_front);
            self.input(Input::Reconciled(attempt, verdicts.unwrap_or(Verdict::NotDone)));
            return true;
        }
        let returns = self.executing.values().filter_map(|(at, _)| *at).min();
        let wake = wanted.wake_at.map(|at| u64::try_from(at.0).unwrap());
        let Some(next) = returns.into_iter().chain(wake).min() else { return false };
        self.now = self.now.max(next);
        self.input(Input::Tick);
        true
    }

    fn next_act(&mut self, attempt: &AttemptRef) -> Act {
        let queue = self.acts.get_mut(&part_of(attempt));
        queue.and_then(VecDeque::pop_front).unwrap_or(Act::Returns(Ended::Outputs(json!({}))))
    }

    fn answer_of(&self, attempt: &AttemptRef, told_to_stop: bool) -> Option<Ended> {
        match &self.executing[attempt] {
            (_, Act::Returns(ended)) => Some(ended.clone()),
            (Some(at), Act::Takes(_, ended)) if *at <= self.now => Some(ended.clone()),
            (_, Act::Takes(..)) => told_to_stop.then_some(Ended::Cancelled),
            (_, Act::Hangs(ended)) => ended.clone().filter(|_| told_to_stop),
        }
    }

    /// The ids of all attempts that began, in order.
    pub(crate) fn started(&self) -> Vec<String> {
        let started = |(_, event): &(Moment, RunEvent)| match event {
            RunEvent::AttemptStarted { step, key, n, check, .. } => {
                Some(AttemptRef { step: step.clone(), key: key.clone(), n: *n, check: *check }.id())
            }
            _ => None,
        };
        self.log.iter().filter_map(started).collect()
    }

    /// All steps and instances with their status, and the exit: `a succeeded, f partial, f[x] failed -> 20`.
    pub(crate) fn verdict(&self) -> String {
        let report = self.machine.report();
        let steps: Vec<String> =
            report.steps.iter().map(|(id, step)| format!("{id} {}", step.status)).collect();
        let exit = self.machine.exit().map_or("going on".to_owned(), |exit: Exit| exit.code().to_string());
        format!("{} -> {exit}", steps.join(", "))
    }

    /// Check statuses and exit.
    #[track_caller]
    pub(crate) fn expect(self, verdict: &str) -> Self {
        assert_eq!(self.verdict(), verdict, "{:#?}", self.log);
        self
    }

    /// Check which attempts began, in order: `a/1 b/1 b/2`.
    #[track_caller]
    pub(crate) fn expect_started(self, ids: &str) -> Self {
        assert_eq!(self.started().join(" "), ids);
        self
    }

    /// Check the code and the words of a step's failure.
    #[track_caller]
    pub(crate) fn expect_error(self, step: &str, code: &str, message: &str) -> Self {
        let report = self.machine.report();
        let error = report.steps[step].error.as_ref();
        let found = error.map(|error| (error.code.as_str(), error.message.as_str()));
        assert_eq!(found, Some((code, message)));
        self
    }

    /// Check why a step was skipped, blocked or cancelled.
    #[track_caller]
    pub(crate) fn expect_why(self, step: &str, why: &str) -> Self {
        assert_eq!(self.machine.report().steps[step].why.as_deref(), Some(why));
        self
    }

    /// The times of the starts of a part's attempts, in milliseconds.
    pub(crate) fn start_times(&self, part: &str) -> Vec<i64> {
        let times = self.log.iter().filter_map(|(at, event)| match event {
            RunEvent::AttemptStarted { step, key, check, .. } => {
                let attempt = AttemptRef { step: step.clone(), key: key.clone(), n: 0, check: *check };
                (part_of(&attempt) == part).then_some(at.0)
            }
            _ => None,
        });
        times.collect()
    }
}

/// The part of the plan that an attempt is of: `restore`, `recover[a]`, `restore/check1`.
pub(crate) fn part_of(attempt: &AttemptRef) -> String {
    match attempt.check {
        Some(check) => format!("{}/check{check}", attempt.instance()),
        None => attempt.instance(),
    }
}

/// A sitting that takes these up again.
pub(crate) fn redo(instances: &[&str]) -> Sitting {
    Sitting { redo: instances.iter().map(|text| selected(text)).collect(), ..Sitting::default() }
}

/// A sitting that assumes this of an attempt of which nobody knows.
pub(crate) fn assume(instance: &str, assume: Assume) -> Sitting {
    Sitting { assume: vec![(selected(instance), assume)], ..Sitting::default() }
}

/// A sitting that closes the run.
pub(crate) fn abandon() -> Sitting {
    Sitting { abandon: true, ..Sitting::default() }
}

/// The server is busy for this long.
pub(crate) fn busy(ms: u64) -> Verdict {
    Verdict::Busy(Millis(ms))
}
