//! The decision-maker: [`Machine`]. `on` takes an [`Input`] and says what happened because of it; `apply` takes one event and records
//! it. A machine that is given another's events is equal to it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use drydock_plan::expr::Datum;
use drydock_plan::model::{Plan, StepIx};
use drydock_plan::name::{Digest, Name};
use serde_json::{Value, json};

use crate::agenda::Agenda;
use crate::attempt::{AttemptRef, LiveKey};
use crate::event::{Ended, RunEvent, RunStatus, Verdict};
use crate::exit::Exit;
use crate::moment::Moment;
use crate::state::{Instance, StepState};

/// What a run is called and when it began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunHead {
    /// Its id.
    pub run: Arc<str>,
    /// When it began.
    pub started_at: Moment,
}

/// What to do about an attempt of which nobody knows what it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assume {
    /// It did nothing: do it again.
    Redo,
    /// It was done; its outputs stay unknown.
    Done,
}

/// A step or one instance of it, as the command line names it.
pub type Selected = (Name, Option<Arc<str>>);

/// What a new sitting is asked to do.
#[derive(Debug, Clone, Default)]
pub struct Sitting {
    /// Run only these steps (a new run).
    pub only: Vec<Name>,
    /// Leave these out (a new run).
    pub skip: Vec<Name>,
    /// Take these up again, with all that need them. Names of no step and keys of no instance are passed over.
    pub redo: Vec<Selected>,
    /// Answers for attempts of which the server, asked first, cannot tell what they did.
    pub assume: Vec<(Selected, Assume)>,
    /// Close the run: start nothing but `finally`.
    pub abandon: bool,
    /// The digest of the accepted, changed plan.
    pub accepted: Option<Digest>,
}

/// Something that reached the machine.
#[derive(Debug, Clone)]
pub enum Input {
    /// A new process works on the run; of a new run, its first input.
    Begin(RunHead, Sitting),
    /// An attempt returned.
    Returned(AttemptRef, Ended),
    /// An attempt noted something.
    Noted(AttemptRef, Value),
    /// The server was asked about an attempt.
    Reconciled(AttemptRef, Verdict),
    /// Somebody approved a waiting step.
    Approved {
        /// The step.
        step: Name,
        /// The instance.
        key: Option<Arc<str>>,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// Ctrl-C or SIGTERM.
    Interrupt,
    /// Time has passed.
    Tick,
}

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing has begun.
    New,
    /// The steps of the body.
    Body,
    /// The steps of `finally`; the status that they see.
    Finally(RunStatus),
    /// This sitting is over.
    Over(Exit),
}

/// A run in memory.
#[derive(Debug, Clone)]
pub struct Machine {
    pub(crate) plan: Arc<Plan>,
    pub(crate) by_name: HashMap<Name, StepIx>,
    pub(crate) dependents: Vec<Vec<StepIx>>,
    /// Steps that undo others.
    pub(crate) undoers: Vec<StepIx>,
    pub(crate) params: Datum,
    pub(crate) head: Option<RunHead>,
    pub(crate) digest: Option<Digest>,
    /// Steps that the run was started without.
    pub(crate) left_out: BTreeSet<StepIx>,
    pub(crate) sitting: u32,
    pub(crate) sittings: Vec<SittingSpan>,
    pub(crate) phase: Phase,
    /// The status that `finally` saw, where the last sitting began it and the run has not ended since.
    pub(crate) finally_saw: Option<RunStatus>,
    pub(crate) status: RunStatus,
    pub(crate) exit: Option<Exit>,
    pub(crate) summary: Option<String>,
    pub(crate) outputs: indexmap::IndexMap<Name, Value>,
    pub(crate) warnings: Vec<String>,
    pub(crate) stopping: Option<StepIx>,
    pub(crate) interrupts: u32,
    pub(crate) steps: Vec<StepState>,
    pub(crate) now: Moment,
    pub(crate) agenda: Agenda,
    /// Whether this machine was told to work on the run, and does: one that was only given events records, and decides nothing.
    pub(crate) at_work: bool,
    pub(crate) abandoning: bool,
    pub(crate) assume: BTreeMap<(StepIx, Option<Arc<str>>), Assume>,
}

/// From when to when a process worked on the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SittingSpan {
    /// Counted from 1.
    pub n: u32,
    /// When it began.
    pub started_at: Moment,
    /// When it left; `None` while it works, and for ever when it died.
    pub ended_at: Option<Moment>,
    /// With what exit.
    pub exit: Option<Exit>,
}

impl Machine {
    /// A machine for a run of this plan in which nothing has happened.
    pub fn new(plan: Arc<Plan>) -> Self {
        let mut dependents = vec![Vec::new(); plan.steps.len()];
        for ix in plan.indices() {
            for need in &plan.step(ix).needs {
                dependents[need.ix()].push(ix);
            }
        }
        let steps = plan.steps.iter().map(|step| StepState::new(step.foreach.is_some(), step.validate.len()));
        Self {
            by_name: plan.indices().map(|ix| (plan.step(ix).id.clone(), ix)).collect(),
            dependents,
            undoers: plan.indices().filter(|ix| !plan.step(*ix).undoes.is_empty()).collect(),
            params: Datum::from_json(&json!(plan.params)),
            head: None,
            digest: None,
            left_out: BTreeSet::new(),
            sitting: 0,
            sittings: Vec::new(),
            phase: Phase::New,
            finally_saw: None,
            status: RunStatus::Running,
            exit: None,
            summary: None,
            outputs: indexmap::IndexMap::new(),
            warnings: Vec::new(),
            stopping: None,
            interrupts: 0,
            steps: steps.collect(),
            now: Moment::default(),
            agenda: Agenda::default(),
            at_work: false,
            abandoning: false,
            assume: BTreeMap::new(),
            plan,
        }
    }

    /// The plan that it runs.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// What the run is called; `None` before its first event.
    pub fn head(&self) -> Option<&RunHead> {
        self.head.as_ref()
    }

    /// How the run stands.
    pub fn status(&self) -> RunStatus {
        self.status
    }

    /// With what the run ended, or its last sitting left.
    pub fn exit(&self) -> Option<Exit> {
        self.exit
    }

    /// What the run came to in one line, once it has ended.
    pub fn summary(&self) -> Option<&str> {
        self.summary.as_deref()
    }

    /// What the plan gives, once the run has succeeded.
    pub fn outputs(&self) -> &indexmap::IndexMap<Name, Value> {
        &self.outputs
    }

    /// Whether the run's last process left it in the middle: neither ended nor waiting.
    pub fn died(&self) -> bool {
        self.sittings.last().is_some_and(|sitting| sitting.ended_at.is_none())
    }

    /// The digest of what it runs: of its start, or of the last changes that were accepted.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Which sitting the next one will be, from 1.
    pub fn next_sitting(&self) -> u32 {
        self.sitting + 1
    }

    /// The last moment that it knows of. What its last input brought happened then, whatever the clock said.
    pub fn now(&self) -> Moment {
        self.now
    }

    /// What happened because of `input` at this moment, in order. `now` never goes back in a run: an earlier one counts as the last.
    pub fn on(&mut self, now: Moment, input: Input) -> Vec<RunEvent> {
        let mut out = Emitter { now: now.max(self.now), events: Vec::new() };
        self.now = out.now;
        self.decide(input, &mut out);
        out.events
    }

    /// Record an event and remember it for the caller.
    pub(crate) fn emit(&mut self, out: &mut Emitter, event: RunEvent) {
        self.apply(out.now, &event);
        out.events.push(event);
    }

    pub(crate) fn instance(&self, key: LiveKey) -> &Instance {
        &self.steps[key.step.ix()].instances[key.instance as usize]
    }

    pub(crate) fn instance_mut(&mut self, key: LiveKey) -> &mut Instance {
        &mut self.steps[key.step.ix()].instances[key.instance as usize]
    }

    /// The instance that these names mean, where there is one.
    pub(crate) fn find(&self, step: &Name, key: Option<&str>) -> Option<LiveKey> {
        let ix = *self.by_name.get(step)?;
        let state = &self.steps[ix.ix()];
        let instance = match key {
            Some(key) => *state.by_key.get(key)?,
            None => state.instances.first().filter(|instance| instance.key.is_none()).map(|_| 0)?,
        };
        Some(LiveKey { step: ix, instance })
    }

    /// The names of the attempt that this instance has alive.
    pub fn live_attempt(&self, key: LiveKey) -> Option<AttemptRef> {
        let instance = self.steps.get(key.step.ix())?.instances.get(key.instance as usize)?;
        let attempt = instance.live()?;
        Some(AttemptRef {
            step: self.plan.step(key.step).id.clone(),
            key: instance.key.clone(),
            n: attempt.n,
            check: attempt.check,
        })
    }
}

/// The events of one input.
pub(crate) struct Emitter {
    pub(crate) now: Moment,
    pub(crate) events: Vec<RunEvent>,
}
