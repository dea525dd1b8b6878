//! Watches every event of a random run: [`Witness`] keeps the [`Reference`] up to date, and refuses what it does not allow.

use std::collections::{BTreeMap, BTreeSet};

use drydock_machine::attempt::instance_name;
use drydock_machine::event::Reopened;
use drydock_machine::{AttemptRef, Exit, Outcome, RunEvent, Status, Verdict};
use drydock_plan::catalog::Effect;
use drydock_plan::model::{OnFailure, OnUnknown, StepIx};
use drydock_plan::name::Name;

use crate::random_plans::Drawn;
use crate::reference::{Part, Reference};

/// What is known of the attempts of one instance, beyond what the rules of order need.
#[derive(Debug, Clone, Default)]
struct Attempts {
    /// The last number of the body (0) and of each validation.
    last: BTreeMap<u32, u32>,
    live: Option<(AttemptRef, u32)>,
    /// Whether nobody knows what the live one did, until the server has said.
    unclear: bool,
    known: bool,
    /// Whether it was asked to stop.
    cancelled: bool,
    /// Whether it waits for somebody: for an approval, or for what to do about it.
    parked: Option<Question>,
    /// Whether somebody insisted on leaving it.
    left: bool,
    stale: bool,
    body_done: bool,
    held: BTreeSet<u32>,
    /// Tries of the body, or of the validation that has its turn, that went wrong.
    tries: u32,
    progress: Option<serde_json::Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    Approval,
    Unknown,
}

type Id = (usize, Option<String>);

/// A run as a careful listener sees it.
pub(crate) struct Witness<'a> {
    pub(crate) rules: Reference<'a>,
    attempts: BTreeMap<Id, Attempts>,
    sitting: u32,
    pub(crate) interrupts: u32,
    now: i64,
    left_out: BTreeSet<usize>,
    /// What this sitting was told about unknown attempts.
    pub(crate) answers: BTreeSet<usize>,
    /// An attempt that says itself, just now, how it ended.
    pub(crate) says_itself: Option<AttemptRef>,
    failed_by_validation: BTreeSet<usize>,
    pub(crate) run_ended: bool,
}

impl<'a> Witness<'a> {
    pub(crate) fn new(drawn: &'a Drawn) -> Self {
        let count = drawn.plan.steps.len();
        let mut rules = Reference {
            drawn,
            ended: vec![None; count],
            parts: vec![None; count],
            earlier: vec![false; count],
            running: vec![0; count],
            held: vec![false; count],
            finally: None,
            stopping: None,
            leaving: false,
            abandoning: false,
        };
        for ix in (0..count).filter(|ix| drawn.items[*ix].is_none()) {
            rules.parts[ix] = Some(BTreeMap::from([(None, Part::default())]));
        }
        Self {
            rules,
            attempts: BTreeMap::new(),
            sitting: 0,
            interrupts: 0,
            now: 0,
            left_out: BTreeSet::new(),
            answers: BTreeSet::new(),
            says_itself: None,
            failed_by_validation: BTreeSet::new(),
            run_ended: false,
        }
    }

    fn ix(&self, step: &Name) -> usize {
        self.rules.drawn.plan.index_of(step.as_str()).unwrap().ix()
    }

    fn part(&mut self, (ix, key): &Id) -> &mut Part {
        self.rules.parts[*ix].as_mut().unwrap().get_mut(key).unwrap()
    }

    fn of(&mut self, id: &Id) -> &mut Attempts {
        self.attempts.entry(id.clone()).or_default()
    }

    fn id(&self, step: &Name, key: Option<&str>) -> Id {
        (self.ix(step), key.map(str::to_owned))
    }

    /// Check one event, and remember it.
    pub(crate) fn hears(&mut self, at: i64, event: &RunEvent) {
        assert!(at >= self.now, "time went back from {} to {at}", self.now);
        self.now = at;
        match event {
            RunEvent::RunStarted { only, skip, .. } => {
                let plan = &self.rules.drawn.plan;
                let out = |ix: &usize| {
                    let step = &plan.steps[*ix];
                    skip.contains(&step.id) || !step.finally && !only.is_empty() && !only.contains(&step.id)
                };
                self.left_out = (0..plan.steps.len()).filter(out).collect();
            }
            RunEvent::SittingStarted { n, .. } => self.sitting_starts(*n),
            RunEvent::ReopenedSteps { steps } => steps.iter().for_each(|reopened| self.reopen(reopened)),
            RunEvent::ForeachListed { step, items } => {
                let ix = self.ix(step);
                assert!(self.rules.parts[ix].is_none(), "{step} was listed twice");
                assert!(self.rules.needs(ix).met(), "{step} was listed before its needs ended well");
                let keys: Vec<&str> = items.iter().map(|item| item.key.as_ref()).collect();
                assert!(keys.iter().copied().eq(self.rules.drawn.items[ix].as_ref().unwrap().keys()));
                let parts = keys.iter().map(|key| (Some((*key).to_owned()), Part::default()));
                self.rules.parts[ix] = Some(parts.collect());
            }
            RunEvent::AttemptStarted { step, key, n, check, from, .. } => {
                let attempt = AttemptRef { step: step.clone(), key: key.clone(), n: *n, check: *check };
                self.attempt_starts(attempt, from.as_ref());
            }
            RunEvent::AttemptUnclear { step, key, .. } => {
                let id = self.id(step, key.as_deref());
                let reads = self.only_reads(&id);
                let attempts = self.of(&id);
                (attempts.unclear, attempts.known) = (true, reads);
            }
            RunEvent::Reconciled { step, key, verdict, .. } => {
                self.reconciled(&self.id(step, key.as_deref()), verdict)
            }
            RunEvent::Parked { step, key, unknown, .. } => {
                let id = self.id(step, key.as_deref());
                self.of(&id).parked = Some(if *unknown { Question::Unknown } else { Question::Approval });
            }
            RunEvent::Approved { step, key, .. } => {
                let id = self.id(step, key.as_deref());
                assert_eq!(self.of(&id).parked, Some(Question::Approval), "an approval of what did not wait");
                self.of(&id).known = true;
            }
            RunEvent::AttemptEnded { step, key, n, check, outcome, .. } => {
                let attempt = AttemptRef { step: step.clone(), key: key.clone(), n: *n, check: *check };
                self.attempt_ends(&attempt, outcome);
            }
            RunEvent::Judged { step, key, check, ok, .. } => {
                let id = self.id(step, key.as_deref());
                let attempts = self.of(&id);
                attempts.tries = if *ok { 0 } else { attempts.tries + 1 };
                if *ok {
                    attempts.held.insert(*check);
                }
            }
            RunEvent::RetryScheduled { step, key, at_ms, .. } => {
                let id = self.id(step, key.as_deref());
                let retry = self.rules.step(id.0).retry.clone();
                let delay = retry.delay.0.min(retry.max_delay.map_or(u64::MAX, |max| max.0));
                assert!(
                    at_ms.0 >= self.now + i64::try_from(delay).unwrap(),
                    "{step} is tried again too soon"
                );
                assert!(self.of(&id).tries < retry.attempts, "{step} is tried again once too often");
                self.part(&id).retry_at = Some(at_ms.0);
            }
            RunEvent::StepEnded { step, key, status, error, .. } => {
                let ix = self.ix(step);
                if key.is_none() && error.as_ref().is_some_and(|error| error.code == "validation") {
                    self.failed_by_validation.insert(ix);
                }
                self.ends(ix, key.as_deref(), *status);
            }
            RunEvent::Stopping { step } => {
                let ix = self.ix(step);
                assert!(self.rules.stopping.is_none() && self.rules.step(ix).on_failure == OnFailure::Stop);
                self.rules.stopping = Some(StepIx(u32::try_from(ix).unwrap()));
            }
            RunEvent::Interrupted { level } => self.interrupted(*level),
            RunEvent::FinallyStarted { status } => {
                for ix in self.body() {
                    assert!(self.rules.ended[ix].is_some(), "finally began before {ix} had ended");
                }
                self.rules.finally = Some(*status);
            }
            RunEvent::RunEnded { exit, .. } => self.run_ends(*exit),
            RunEvent::SittingEnded { exit: Exit::Waits } => {
                assert!(
                    self.attempts.values().any(|attempts| attempts.parked.is_some()),
                    "nobody is waited for"
                );
                assert!(
                    self.rules.stopping.is_none() && !self.rules.leaving,
                    "a halted run must run finally"
                );
            }
            RunEvent::CancelAsked { step, key, .. } => {
                let id = self.id(step, key.as_deref());
                assert!(
                    !std::mem::replace(&mut self.of(&id).cancelled, true),
                    "it was asked to stop already"
                );
            }
            RunEvent::Noted { .. } | RunEvent::SittingEnded { .. } => {}
        }
    }

    fn body(&self) -> Vec<usize> {
        (0..self.rules.ended.len()).filter(|ix| !self.rules.step(*ix).finally).collect()
    }

    fn sitting_starts(&mut self, n: u32) {
        assert_eq!(n, self.sitting + 1);
        self.sitting = n;
        self.interrupts = 0;
        self.run_ended = false;
        self.failed_by_validation.clear();
        self.note_what_stays();
        (self.rules.stopping, self.rules.finally) = (None, None);
        self.rules.leaving = self.rules.abandoning;
        for attempts in self.attempts.values_mut() {
            (attempts.unclear, attempts.known) = (false, false);
            (attempts.cancelled, attempts.left) = (false, false);
            attempts.parked = attempts.parked.filter(|question| *question == Question::Approval);
        }
    }

    /// What had ended well before this sitting.
    fn note_what_stays(&mut self) {
        let well = |status| matches!(status, Some(Status::Succeeded | Status::Skipped));
        for ix in 0..self.rules.ended.len() {
            let mut parts = self.rules.parts[ix].iter().flatten();
            self.rules.earlier[ix] = well(self.rules.ended[ix]) || parts.any(|(_, part)| well(part.status));
        }
    }

    fn interrupted(&mut self, level: u32) {
        (self.interrupts, self.rules.leaving) = (level, true);
        let sitting = self.sitting;
        for attempts in self.attempts.values_mut().filter(|_| level > 1) {
            let lost = attempts.live.as_ref().is_some_and(|(_, began)| *began < sitting);
            attempts.left |= attempts.live.is_some() && (attempts.cancelled || attempts.unclear || lost);
        }
    }

    fn reopen(&mut self, reopened: &Reopened) {
        let ix = self.ix(&reopened.step);
        self.rules.ended[ix] = None;
        self.left_out.remove(&ix);
        let chosen: Vec<Option<String>> = match &reopened.key {
            Some(key) => vec![Some(key.to_string())],
            None => self.rules.parts[ix].iter().flat_map(BTreeMap::keys).cloned().collect(),
        };
        for key in chosen {
            let id = (ix, key);
            let part = self.part(&id);
            if !reopened.fresh && matches!(part.status, Some(Status::Succeeded | Status::Skipped)) {
                continue;
            }
            let live = part.live;
            *part = Part { live, begun: live, ..Part::default() };
            let attempts = self.of(&id);
            attempts.held.clear();
            attempts.tries = 0;
            if reopened.fresh {
                attempts.stale = live;
                (attempts.body_done, attempts.progress) = (false, None);
            }
        }
        if reopened.fresh && reopened.key.is_none() && self.rules.step(ix).foreach.is_some() {
            self.rules.parts[ix] = None;
        }
        self.note_what_stays();
    }

    fn attempt_starts(&mut self, attempt: AttemptRef, from: Option<&serde_json::Value>) {
        let id = self.id(&attempt.step, attempt.key.as_deref());
        let name = attempt.id();
        self.recount();
        let part = self.part(&id).clone();
        assert!(
            self.rules.may_start(id.0, &part),
            "{name} may not start: {part:?} {:?}",
            self.rules.needs(id.0)
        );
        assert!(!self.rules.is_full(id.0), "{name} is one too many");
        assert!(part.retry_at.is_none_or(|at| at <= self.now), "{name} is too early");
        let validations = u32::try_from(self.rules.step(id.0).validate.len()).unwrap();
        let attempts = self.of(&id);
        assert!(attempts.live.is_none(), "{name} runs twice at once");
        match attempt.check {
            None => assert!(!attempts.body_done, "{name}: its body has succeeded already"),
            Some(check) => {
                assert!(attempts.body_done && check <= validations, "{name}: nothing to validate yet");
                assert!((1..check).all(|before| attempts.held.contains(&before)), "{name}: out of order");
                assert!(!attempts.held.contains(&check), "{name}: it held already");
            }
        }
        let last = attempts.last.entry(attempt.check.unwrap_or(0)).or_default();
        *last += 1;
        assert_eq!(attempt.n, *last, "{name}: a wrong number");
        assert_eq!(from, attempts.progress.as_ref().filter(|_| attempt.check.is_none()), "{name}: progress");
        let sitting = self.sitting;
        let attempts = self.of(&id);
        attempts.live = Some((attempt, sitting));
        *self.part(&id) = Part { live: true, begun: true, ..Part::default() };
    }

    fn reconciled(&mut self, id: &Id, verdict: &Verdict) {
        let sitting = self.sitting;
        let decided = self.rules.abandoning
            || self.answers.contains(&id.0)
            || self.rules.step(id.0).on_unknown != OnUnknown::Ask;
        let attempts = self.of(id);
        let asked = attempts.unclear || attempts.live.as_ref().is_some_and(|(_, began)| *began < sitting);
        assert!(asked, "nobody asked about {id:?}");
        attempts.known = match verdict {
            Verdict::Busy(_) => false,
            Verdict::Unknown(_) => decided,
            _ => true,
        };
    }

    fn only_reads(&self, id: &Id) -> bool {
        let live = self.attempts.get(id).and_then(|attempts| attempts.live.as_ref());
        let call = &self.rules.step(id.0).call;
        let said = call.with.get("effect").and_then(|value| value.as_literal());
        match call.effect {
            _ if live.is_some_and(|(attempt, _)| attempt.check.is_some()) => true,
            Effect::Reads => true,
            Effect::Writes => false,
            Effect::ByInput(_) => said.and_then(|said| said.as_str()) == Some("reads"),
        }
    }

    fn attempt_ends(&mut self, attempt: &AttemptRef, outcome: &Outcome) {
        let id = self.id(&attempt.step, attempt.key.as_deref());
        let (reads, sitting) = (self.only_reads(&id), self.sitting);
        let says_itself = self.says_itself.as_ref() == Some(attempt);
        let attempts = self.of(&id);
        let (live, began) = attempts.live.take().expect("an attempt ends that nobody began");
        assert_eq!(&live, attempt);
        let unknown = attempts.unclear || began < sitting;
        let dropped = *outcome == Outcome::Cancelled && attempts.parked == Some(Question::Approval);
        let known = attempts.known || says_itself || reads || dropped;
        assert!(known || !unknown, "{} ended, and nobody knew what it did", attempt.id());
        let counts = !std::mem::take(&mut attempts.stale);
        match outcome {
            Outcome::Succeeded(_) if attempt.check.is_none() && counts => {
                (attempts.body_done, attempts.tries) = (true, 0);
            }
            Outcome::Partly(progress) if counts => {
                attempts.progress = Some(progress.clone());
                attempts.tries += u32::from(attempts.unclear);
            }
            Outcome::Failed(_) if counts => attempts.tries += 1,
            _ => {}
        }
        (attempts.unclear, attempts.known, attempts.cancelled) = (false, false, false);
        (attempts.parked, attempts.left) = (None, false);
        if let Some(parts) = &mut self.rules.parts[id.0] {
            let part = parts.get_mut(&id.1).unwrap();
            part.live = false;
            part.begun = part.begun && counts;
        }
    }

    fn ends(&mut self, ix: usize, key: Option<&str>, status: Status) {
        let step = self.rules.step(ix);
        let name = instance_name(&step.id, key);
        assert!(self.rules.ended[ix].is_none(), "{name} ended twice");
        let id = (ix, key.map(str::to_owned));
        if self.rules.parts[ix].as_ref().is_some_and(|parts| parts.contains_key(&id.1)) {
            let validations = u32::try_from(self.rules.step(ix).validate.len()).unwrap();
            let attempts = self.of(&id).clone();
            assert!(attempts.live.is_none() || self.rules.is_halted(ix), "{name} ended while it ran");
            if status == Status::Succeeded {
                assert!(attempts.body_done, "{name} succeeded without its body");
                assert!(
                    (1..=validations).all(|check| attempts.held.contains(&check)),
                    "{name} was not validated"
                );
            }
            if attempts.body_done && status == Status::Failed {
                let step = self.rules.step(ix);
                assert!(
                    validations > 0 || !step.outputs.is_empty(),
                    "{name} failed after its body succeeded"
                );
            }
            self.possible(&id, &name, status);
            let part = self.part(&id);
            assert!(part.status.is_none(), "{name} ended twice");
            part.status = Some(status);
        }
        if key.is_none() {
            assert!(
                self.rules.parts[ix].is_some() || self.could_end_unlisted(ix, status),
                "{name} cannot end {status:?}"
            );
            if let Some(parts) =
                self.rules.parts[ix].as_ref().filter(|_| self.rules.step(ix).foreach.is_some())
            {
                let instances: Vec<Status> =
                    parts.values().map(|part| part.status.expect("an open instance")).collect();
                assert_eq!(status, Reference::ends_together(&instances), "{name}: {instances:?}");
            }
            self.rules.ended[ix] = Some(status);
        }
    }

    /// Whether a step of which nothing was done can end so now.
    fn could_end_unlisted(&self, ix: usize, status: Status) -> bool {
        let needs = self.rules.needs(ix);
        match status {
            Status::Skipped => self.left_out.contains(&ix) || needs.met() && !self.rules.holds(ix, None),
            Status::Blocked => needs.bad,
            Status::Cancelled => needs.cancelled || self.rules.is_halted(ix),
            _ => false,
        }
    }

    /// Check that one instance can end so now.
    fn possible(&self, id: &Id, name: &str, status: Status) {
        let (needs, left_out) = (self.rules.needs(id.0), self.left_out.contains(&id.0));
        let holds = || self.rules.holds(id.0, id.1.as_deref());
        let possible = match status {
            Status::Skipped => left_out || needs.met() && !holds(),
            Status::Blocked | Status::Cancelled => self.could_end_unlisted(id.0, status),
            Status::Succeeded | Status::Failed => {
                needs.met() && self.rules.ends(id.0, name).contains(&status)
            }
            Status::Partial => false,
        };
        assert!(possible, "{name} cannot end {status:?}: its needs are {needs:?}");
    }

    fn run_ends(&mut self, exit: Exit) {
        for ix in 0..self.rules.ended.len() {
            assert!(self.rules.ended[ix].is_some(), "step {ix} never ended");
        }
        for (ix, parts) in self.rules.parts.iter().enumerate() {
            let open = parts.iter().flatten().any(|(_, part)| part.status.is_none());
            assert!(!open || self.left_out.contains(&ix), "an instance of {ix} never ended");
        }
        assert_eq!(exit, self.rules.exit(|ix| self.failed_by_validation.contains(&ix)));
        self.run_ended = true;
    }

    /// What follows from the attempts that have not ended: the slots they take, the steps that they may still undo.
    fn recount(&mut self) {
        self.rules.held.fill(false);
        self.rules.running.fill(0);
        for (id, attempts) in self.attempts.iter().filter(|(_, attempts)| attempts.live.is_some()) {
            for undone in &self.rules.drawn.plan.steps[id.0].undoes {
                self.rules.held[undone.ix()] = true;
            }
            self.rules.running[id.0] += usize::from(attempts.parked.is_none() && !attempts.left);
        }
    }

    /// After an input: whatever may start has started, unless there is no slot for it.
    pub(crate) fn nothing_is_forgotten(&mut self) {
        self.recount();
        for ix in 0..self.rules.ended.len() {
            let live_before_list = || {
                let of_step = |(id, attempts): (&Id, &Attempts)| id.0 == ix && attempts.live.is_some();
                self.attempts.iter().any(of_step)
            };
            let Some(parts) = &self.rules.parts[ix] else {
                let part = Part::default();
                let open = self.rules.ended[ix].is_none();
                assert!(
                    !open || live_before_list() || !self.rules.may_start(ix, &part),
                    "{ix} was not listed"
                );
                continue;
            };
            for (key, part) in parts {
                let waits = part.retry_at.is_some_and(|at| at > self.now) || self.rules.ended[ix].is_some();
                let may = self.rules.may_start(ix, part) && !waits && !self.rules.is_full(ix);
                assert!(!may, "step {ix} {key:?} could have started: {part:?}");
            }
        }
    }

    /// At the end of a run: an uncut one could have ended so.
    pub(crate) fn could_have_ended_so(&self) {
        for ix in 0..self.rules.ended.len() {
            if let Err(why) = self.rules.could_end_so(ix, self.left_out.contains(&ix)) {
                panic!("{why}");
            }
        }
    }
}
