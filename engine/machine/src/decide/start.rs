//! From a step whose needs have ended to attempts that have begun.

use std::sync::Arc;

use drydock_plan::expr::{Datum, EvalError, Expr, Scope, Template, Truth};
use drydock_plan::model::{OnFailure, StepIx};
use drydock_plan::rendered::Rendered;
use indexmap::IndexMap;

use super::{failure_of, not_yet};
use crate::attempt::LiveKey;
use crate::event::{RunEvent, Status};
use crate::machine::{Emitter, Machine, Phase};

/// What a step's needs say about it.
enum Needs {
    Open,
    Met,
    Never { status: Status, why: String },
}

impl Machine {
    /// Look at a step again: block it, cancel it, skip it, list it, or make its instances ready.
    pub(super) fn consider(&mut self, ix: StepIx, out: &mut Emitter) {
        let plan = self.plan.clone();
        let step = plan.step(ix);
        if self.steps[ix.ix()].status.is_some() || !self.is_its_phase(ix) {
            return;
        }
        match self.needs_of(ix) {
            Needs::Open => return,
            Needs::Never { status, why } => return self.end_what_is_open(ix, status, None, Some(&why), out),
            Needs::Met => {}
        }
        let state = &self.steps[ix.ix()];
        if !state.listed && state.has_live() || self.waits_for_undoer(ix) {
            return;
        }
        if !state.begun() {
            if self.halted() && !step.finally {
                let why = self.halt_words();
                return self.end_what_is_open(ix, Status::Cancelled, None, Some(&why), out);
            }
            if let Some(when) = step.when.as_ref().filter(|when| !when.per_item)
                && !self.passes(ix, &when.expr, None, out)
            {
                return;
            }
        }
        if self.list_items(ix, out) {
            self.make_ready(ix, out);
        }
    }

    fn is_its_phase(&self, ix: StepIx) -> bool {
        match self.phase {
            Phase::Body => !self.plan.step(ix).finally,
            Phase::Finally(_) => self.plan.step(ix).finally,
            Phase::New | Phase::Over(_) => false,
        }
    }

    /// Whether a former attempt to undo this step is still being asked about: it could take effect once the step is done again.
    fn waits_for_undoer(&self, ix: StepIx) -> bool {
        let undoes = |undoer: &&StepIx| self.plan.step(**undoer).undoes.contains(&ix);
        self.undoers.iter().filter(undoes).any(|undoer| self.steps[undoer.ix()].has_live())
    }

    fn needs_of(&self, ix: StepIx) -> Needs {
        let mut open = false;
        for need in &self.plan.step(ix).needs {
            let needed = self.plan.step(*need);
            match self.steps[need.ix()].status {
                None => open = true,
                Some(Status::Succeeded | Status::Skipped) => {}
                Some(Status::Failed | Status::Partial) if needed.on_failure == OnFailure::Ignore => {}
                Some(Status::Cancelled) => {
                    let why = format!("{} was cancelled", needed.id);
                    return Needs::Never { status: Status::Cancelled, why };
                }
                Some(status) => {
                    let why = format!("it needs {}, which {}", needed.id, words_for(status));
                    return Needs::Never { status: Status::Blocked, why };
                }
            }
        }
        if open { Needs::Open } else { Needs::Met }
    }

    /// Whether a begun instance may go on now. It may not where a need was taken up again after a crash, or where it is of `finally`
    /// and the body goes on: then it is looked at again in its time.
    pub(super) fn may_go_on(&mut self, live: LiveKey) -> bool {
        let may = self.is_its_phase(live.step) && matches!(self.needs_of(live.step), Needs::Met);
        if !may {
            self.agenda.dirty.insert(live.step);
        }
        may
    }

    /// Whether a `when` is true for the step or for one instance; where it is not, or cannot be asked, that ends.
    fn passes(&mut self, ix: StepIx, when: &Expr, live: Option<LiveKey>, out: &mut Emitter) -> bool {
        let view = self.view(when.steps_read());
        let item = live.and_then(|live| self.instance(live).item_datum.as_ref());
        let (status, error) = match when.truth(&view.scope(self, item)) {
            Ok(Truth::True) => return true,
            Ok(Truth::False) => (Status::Skipped, None),
            Ok(Truth::After(steps)) => (Status::Failed, Some(not_yet(&steps))),
            Err(error) => (Status::Failed, Some(failure_of(&error))),
        };
        let why = (status == Status::Skipped).then(|| format!("`when` is false: {}", when.text()));
        match live {
            Some(live) => self.end_instance(live, status, error, why.as_deref(), out),
            None => self.end_what_is_open(ix, status, error.as_ref(), why.as_deref(), out),
        }
        false
    }

    /// Every instance that has not ended and has no attempt alive may start.
    fn make_ready(&mut self, ix: StepIx, out: &mut Emitter) {
        let plan = self.plan.clone();
        let per_item = plan.step(ix).when.as_ref().filter(|when| when.per_item);
        for live in self.keys_of(ix) {
            let instance = self.instance(live);
            if instance.status.is_some() || instance.live().is_some() || self.agenda.waiting.contains(&live) {
                continue;
            }
            if let Some(when) = per_item.filter(|_| !instance.begun())
                && !self.passes(ix, &when.expr, Some(live), out)
            {
                continue;
            }
            self.agenda.ready.insert(live);
        }
    }

    /// Start the first ready instance, in written order, for which a slot is free; `false` when there is none.
    pub(super) fn start_next(&mut self, out: &mut Emitter) -> bool {
        let mut from = LiveKey { step: StepIx(0), instance: 0 };
        while self.agenda.taken() < self.plan.max_parallel as usize
            && let Some(&live) = self.agenda.ready.range(from..).next()
        {
            if self.has_slot(live.step) {
                self.agenda.ready.remove(&live);
                if self.instance(live).body.is_some() {
                    self.advance(live, out);
                } else {
                    self.start_body(live, out);
                }
                return true;
            }
            // Its own limit is reached, for all of its instances.
            from = LiveKey { step: StepIx(live.step.0 + 1), instance: 0 };
        }
        false
    }

    /// Whether one more attempt of this step may run. Who waits for a person takes no slot.
    pub(super) fn has_slot(&self, ix: StepIx) -> bool {
        let own = self.plan.step(ix).foreach.as_ref().and_then(|foreach| foreach.max_parallel);
        self.agenda.taken() < self.plan.max_parallel as usize
            && own.is_none_or(|own| self.steps[ix.ix()].taken < own)
    }

    fn start_body(&mut self, live: LiveKey, out: &mut Emitter) {
        let plan = self.plan.clone();
        let with = &plan.step(live.step).call.with;
        match self.inputs_of(with, live, None) {
            Ok(inputs) => self.start(live, None, inputs, out),
            Err(error) => self.end_instance(live, Status::Failed, Some(failure_of(&error)), None, out),
        }
    }

    /// Begin an attempt of the body or of a validation.
    pub(super) fn start(
        &mut self,
        live: LiveKey,
        check: Option<u32>,
        inputs: IndexMap<String, Rendered>,
        out: &mut Emitter,
    ) {
        let instance = self.instance(live);
        let (key, n) = (instance.key.clone(), instance.next_n(check));
        let from = instance.progress.clone().filter(|_| check.is_none());
        let step = self.plan.step(live.step).id.clone();
        self.emit(out, RunEvent::AttemptStarted { step, key, n, check, inputs: Arc::new(inputs), from });
    }

    /// The rendered inputs of a call of this instance.
    pub(super) fn inputs_of(
        &self,
        with: &IndexMap<String, Template>,
        live: LiveKey,
        outputs: Option<&Datum>,
    ) -> Result<IndexMap<String, Rendered>, EvalError> {
        let mut rendered = IndexMap::with_capacity(with.len());
        for (name, template) in with {
            let value = match template.as_literal() {
                Some(value) => Rendered::from(value.clone()),
                None => {
                    let view = self.view(&template.steps_read());
                    let scope = view.scope(self, self.instance(live).item_datum.as_ref());
                    template.render(&Scope { outputs, ..scope })?
                }
            };
            rendered.insert(name.clone(), value);
        }
        Ok(rendered)
    }
}

fn words_for(status: Status) -> &'static str {
    match status {
        Status::Blocked => "was blocked",
        Status::Partial => "failed in part",
        _ => "failed",
    }
}
