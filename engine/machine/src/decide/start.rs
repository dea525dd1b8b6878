//! From a step whose needs have ended to attempts that have begun.

use std::collections::HashSet;
use std::sync::Arc;

use drydock_plan::expr::{Answer, Datum, EvalError, Expr, Template, Truth};
use drydock_plan::model::{OnFailure, StepIx};
use drydock_plan::name::Name;
use drydock_plan::rendered::Rendered;
use indexmap::IndexMap;
use serde_json::{Value, json};

use crate::attempt::LiveKey;
use crate::event::{Failure, Listed, RunEvent, Status};
use crate::machine::{Emitter, Machine, Phase};

/// What a step's needs say about it.
enum Needs {
    Open,
    Met,
    Never { status: Status, why: String },
}

/// An error of evaluation as a failure of the step.
pub(super) fn failure_of(error: &EvalError) -> Failure {
    Failure { help: error.help.clone(), ..Failure::new(error.code.0, error.message.clone()) }
}

fn not_yet(steps: &[Name]) -> Failure {
    let names: Vec<&str> = steps.iter().map(Name::as_str).collect();
    Failure::new("internal", format!("a value was asked for before {} had ended", names.join(", ")))
}

impl Machine {
    /// Look at a step again: block it, cancel it, skip it, list it, or make its instances ready.
    pub(super) fn consider(&mut self, ix: StepIx, out: &mut Emitter) {
        let plan = self.plan.clone();
        let step = plan.step(ix);
        let state = &self.steps[ix.ix()];
        let its_phase =
            if step.finally { matches!(self.phase, Phase::Finally(_)) } else { self.phase == Phase::Body };
        if state.status.is_some() || !its_phase {
            return;
        }
        let begun = state.instances.iter().any(|instance| instance.begun() || instance.status.is_some());
        if !begun {
            match self.needs_of(ix) {
                Needs::Open => return,
                Needs::Never { status, why } => {
                    return self.end_step_itself(ix, status, None, Some(why), out);
                }
                Needs::Met => {}
            }
            if self.halted() && !step.finally {
                return self.end_step_itself(ix, Status::Cancelled, None, Some(self.halt_words()), out);
            }
            if let Some(when) = step.when.as_ref().filter(|when| !when.per_item)
                && !self.passes(ix, &when.expr, None, out)
            {
                return;
            }
            if !self.list_items(ix, out) {
                return;
            }
        }
        self.make_ready(ix, out);
    }

    /// Why nothing new starts.
    pub(super) fn halt_words(&self) -> String {
        match self.stopping {
            _ if self.abandoning => "the run is being closed".to_owned(),
            _ if self.interrupts > 0 => "the run was interrupted".to_owned(),
            Some(ix) => format!("{} failed", self.plan.step(ix).id),
            None => String::new(),
        }
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
                    return Needs::Never {
                        status: Status::Cancelled,
                        why: format!("{} was cancelled", needed.id),
                    };
                }
                Some(status) => {
                    let why = format!("it needs {}, which {}", needed.id, words_for(status));
                    return Needs::Never { status: Status::Blocked, why };
                }
            }
        }
        if open { Needs::Open } else { Needs::Met }
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
            None => self.end_step_itself(ix, status, error, why, out),
        }
        false
    }

    /// Ask a foreach for its list, once; `false` when the step ended by it.
    fn list_items(&mut self, ix: StepIx, out: &mut Emitter) -> bool {
        let plan = self.plan.clone();
        let step = plan.step(ix);
        let Some(foreach) = step.foreach.as_ref().filter(|_| !self.steps[ix.ix()].listed) else {
            return true;
        };
        let view = self.view(foreach.list.steps_read());
        let listed = foreach.list.value(&view.scope(self, None)).map_err(|error| failure_of(&error));
        let items = listed.and_then(|answer| match answer {
            Answer::Known(Value::Array(items)) => self.keyed(foreach.key.as_ref(), items),
            Answer::Known(other) => {
                let message =
                    format!("foreach `{}` gave {}, not a list", foreach.list.text(), kind_of(&other));
                Err(Failure::new("foreach.list", message))
            }
            Answer::After(steps) => Err(not_yet(&steps)),
        });
        match items {
            Ok(items) => {
                let none = items.is_empty();
                self.emit(out, RunEvent::ForeachListed { step: step.id.clone(), items });
                if none {
                    self.end_step_itself(
                        ix,
                        Status::Succeeded,
                        None,
                        Some("the list is empty".to_owned()),
                        out,
                    );
                }
                !none
            }
            Err(error) => {
                self.end_step_itself(ix, Status::Failed, Some(error), None, out);
                false
            }
        }
    }

    /// The items with their keys; a key twice is an error before the first starts.
    fn keyed(&self, key: Option<&Expr>, items: Vec<Value>) -> Result<Vec<Listed>, Failure> {
        let view = self.view(key.map_or(&[], |key| key.steps_read()));
        let mut seen: HashSet<Arc<str>> = HashSet::new();
        let mut listed = Vec::with_capacity(items.len());
        for (at, item) in items.into_iter().enumerate() {
            let value = match key {
                Some(key) => {
                    let datum = Datum::from_json(&item);
                    match key.value(&view.scope(self, Some(&datum))).map_err(|error| failure_of(&error))? {
                        Answer::Known(value) => value,
                        Answer::After(steps) => return Err(not_yet(&steps)),
                    }
                }
                None if item.is_object() => item.get("name").cloned().unwrap_or(Value::Null),
                None => item.clone(),
            };
            let text: Arc<str> = match value {
                Value::String(text) => text.into(),
                Value::Number(number) => number.to_string().into(),
                other => {
                    let message =
                        format!("the key of item {} is {}, not text or a number", at + 1, kind_of(&other));
                    let help = "name the instances with `key:`, such as `key: item.id`".to_owned();
                    return Err(Failure { help: Some(help), ..Failure::new("foreach.key", message) });
                }
            };
            if !seen.insert(text.clone()) {
                let message = format!("two items have the key `{text}`; nothing was started");
                return Err(Failure::new("foreach.key", message));
            }
            listed.push(Listed { key: text, item });
        }
        Ok(listed)
    }

    /// Every instance that has not ended and has no attempt alive may start.
    fn make_ready(&mut self, ix: StepIx, out: &mut Emitter) {
        let plan = self.plan.clone();
        let per_item = plan.step(ix).when.as_ref().filter(|when| when.per_item);
        let count = u32::try_from(self.steps[ix.ix()].instances.len()).unwrap_or(u32::MAX);
        for instance in 0..count {
            let live = LiveKey { step: ix, instance };
            let state = self.instance(live);
            if state.status.is_some() || self.live.contains(&live) || self.waiting.contains(&live) {
                continue;
            }
            if let Some(when) = per_item.filter(|_| !state.begun())
                && !self.passes(ix, &when.expr, Some(live), out)
            {
                continue;
            }
            self.ready.insert(live);
        }
    }

    /// Start ready instances while there are free slots, in written order.
    pub(super) fn start_ready(&mut self, out: &mut Emitter) {
        let mut from = LiveKey { step: StepIx(0), instance: 0 };
        while let Some(&live) = self.ready.range(from..).next() {
            if self.taken(None) >= self.plan.max_parallel as usize {
                return;
            }
            let own = self.plan.step(live.step).foreach.as_ref().and_then(|foreach| foreach.max_parallel);
            if own.is_some_and(|own| self.taken(Some(live.step)) >= own as usize) {
                from = LiveKey { step: StepIx(live.step.0 + 1), instance: 0 };
                continue;
            }
            self.ready.remove(&live);
            if self.instance(live).body.is_some() {
                self.advance(live, out)
            } else {
                self.start_body(live, out)
            }
            from = live;
        }
    }

    /// How many slots are taken, of the run or of one step. Who waits for a person takes none.
    fn taken(&self, step: Option<StepIx>) -> usize {
        let parked =
            |live: &&LiveKey| self.instance(**live).live().is_some_and(|attempt| attempt.parked.is_none());
        match step {
            Some(ix) => {
                let (from, to) =
                    (LiveKey { step: ix, instance: 0 }, LiveKey { step: StepIx(ix.0 + 1), instance: 0 });
                self.live.range(from..to).filter(parked).count()
            }
            None if self.live.len() < self.plan.max_parallel as usize => self.live.len(),
            None => self.live.iter().filter(parked).count(),
        }
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
        let (key, n, from) = (instance.key.clone(), instance.next_n(check), instance.progress.clone());
        let from = from.filter(|_| check.is_none());
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
                    template.render(&drydock_plan::expr::Scope { outputs, ..scope })?
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

fn kind_of(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
        other => json!(other).to_string(),
    }
}
