//! What a machine remembers of steps: [`StepState`], [`Instance`], [`Attempt`]. Changed by `apply` alone.

use std::collections::HashMap;
use std::sync::Arc;

use drydock_plan::expr::Datum;
use drydock_plan::rendered::Rendered;
use indexmap::IndexMap;
use serde_json::Value;

use crate::event::{CancelWhy, Failure, Listed, Outcome, Status};
use crate::moment::Moment;

/// One step.
#[derive(Debug, Clone, Default)]
pub(crate) struct StepState {
    /// How it ended.
    pub(crate) status: Option<Status>,
    /// Why, when it ended without an instance that tells.
    pub(crate) error: Option<Failure>,
    /// Why it was skipped, blocked or cancelled.
    pub(crate) why: Option<String>,
    /// Whether the list of its foreach is known. A step without foreach has one instance from the start.
    pub(crate) listed: bool,
    /// Its instances. While a list is not known (again), those of the former list.
    pub(crate) instances: Vec<Instance>,
    /// Where the instance of a key stands.
    pub(crate) by_key: HashMap<Arc<str>, u32>,
    /// Instances of former lists. Their attempts were made: a key that comes back goes on counting.
    pub(crate) former: HashMap<Arc<str>, Instance>,
    /// Its outputs as expressions see them, once it has ended well.
    pub(crate) outputs: Option<Datum>,
    /// How many of its needs have not ended yet.
    pub(crate) open_needs: u32,
    /// How many of its instances have not ended yet.
    pub(crate) open_instances: u32,
    /// How many of its attempts take a slot.
    pub(crate) taken: u32,
}

/// One instance of a step: of a foreach, or the only one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Instance {
    pub(crate) key: Option<Arc<str>>,
    pub(crate) item: Option<Value>,
    pub(crate) item_datum: Option<Datum>,
    pub(crate) status: Option<Status>,
    pub(crate) error: Option<Failure>,
    pub(crate) why: Option<String>,
    pub(crate) attempts: Vec<Attempt>,
    /// How many attempts had been made when it was last taken up.
    pub(crate) former_attempts: usize,
    /// How often it was taken up as never begun.
    pub(crate) anew: u32,
    /// The body's outputs, once it has succeeded; `null` when they are not known.
    pub(crate) body: Option<Value>,
    pub(crate) body_datum: Option<Datum>,
    /// Whether the body has succeeded and the step's own `outputs` could not be rendered.
    pub(crate) owes_outputs: bool,
    /// What became of each validation.
    pub(crate) judged: Vec<Option<Judged>>,
    /// Tries of the body, or of the validation that has its turn, that count against `retry.attempts`.
    pub(crate) tries: u32,
    /// When it is tried again.
    pub(crate) retry_at: Option<Moment>,
    /// What the next attempt goes on from.
    pub(crate) progress: Option<Value>,
    /// When the agenda is to ring for it.
    pub(crate) alarm: Option<Moment>,
}

/// The verdict on one validation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Judged {
    pub(crate) name: Arc<str>,
    pub(crate) ok: bool,
    pub(crate) expected: String,
    pub(crate) found: String,
}

/// One attempt of a body or a validation.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) n: u32,
    pub(crate) check: Option<u32>,
    pub(crate) sitting: u32,
    pub(crate) inputs: Arc<IndexMap<String, Rendered>>,
    pub(crate) from: Option<Value>,
    pub(crate) started_at: Moment,
    pub(crate) ended_at: Option<Moment>,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) notes: Vec<Value>,
    pub(crate) cancel: Option<(Moment, CancelWhy)>,
    /// Set when nobody knows what it did.
    pub(crate) unclear: Option<Failure>,
    /// When the server is to be asked again.
    pub(crate) ask_at: Option<Moment>,
    /// Set while it waits for somebody.
    pub(crate) parked: Option<Parked>,
    /// Set when somebody insisted on leaving while it did not answer: the next sitting asks the server about it.
    pub(crate) left: bool,
    /// Set when its step was taken up as never begun: whatever it did, it is done again.
    pub(crate) stale: bool,
}

/// What a waiting attempt waits for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parked {
    pub(crate) message: String,
    /// Whether the question is what to do about an unknown outcome.
    pub(crate) unknown: bool,
}

impl StepState {
    /// A step that has not begun.
    pub(crate) fn new(foreach: bool, validations: usize) -> Self {
        if foreach {
            return Self::default();
        }
        let instance = Instance { judged: vec![None; validations], ..Instance::default() };
        Self { listed: true, instances: vec![instance], open_instances: 1, ..Self::default() }
    }

    /// Put the instances of a list in place; one that was there before keeps its attempts.
    pub(crate) fn list(&mut self, items: &[Listed], validations: usize) {
        let earlier = std::mem::take(&mut self.instances);
        self.former
            .extend(earlier.into_iter().filter_map(|instance| Some((instance.key.clone()?, instance))));
        for listed in items {
            let former = self.former.remove(&listed.key).unwrap_or_default();
            self.instances.push(Instance {
                key: Some(listed.key.clone()),
                item: Some(listed.item.clone()),
                item_datum: Some(Datum::from_json(&listed.item)),
                judged: vec![None; validations],
                former_attempts: former.attempts.len(),
                anew: former.anew,
                attempts: former.attempts,
                ..Instance::default()
            });
        }
        let keys = items.iter().map(|listed| listed.key.clone());
        self.by_key = keys.zip(0..).collect();
        self.listed = true;
        self.count_open();
    }

    /// Count the instances that have not ended.
    pub(crate) fn count_open(&mut self) {
        let open = self.instances.iter().filter(|instance| instance.status.is_none()).count();
        self.open_instances = u32::try_from(open).unwrap_or(u32::MAX);
    }

    /// Whether any of it was attempted or has ended since it was last taken up.
    pub(crate) fn begun(&self) -> bool {
        self.instances.iter().any(|instance| instance.begun() || instance.status.is_some())
    }

    /// Whether an attempt of it has not ended.
    pub(crate) fn has_live(&self) -> bool {
        self.instances.iter().any(|instance| instance.live().is_some())
    }
}

impl Instance {
    /// The attempt that has not ended: the last one, if any.
    pub(crate) fn live(&self) -> Option<&Attempt> {
        self.attempts.last().filter(|attempt| attempt.outcome.is_none())
    }

    pub(crate) fn live_mut(&mut self) -> Option<&mut Attempt> {
        self.attempts.last_mut().filter(|attempt| attempt.outcome.is_none())
    }

    /// The number of the next attempt of the body or of this validation.
    pub(crate) fn next_n(&self, check: Option<u32>) -> u32 {
        let same_part = self.attempts.iter().filter(|attempt| attempt.check == check);
        same_part.map(|attempt| attempt.n).max().unwrap_or(0) + 1
    }

    /// Whether anything was attempted since it was last taken up, or still is.
    pub(crate) fn begun(&self) -> bool {
        self.attempts.len() > self.former_attempts || self.live().is_some()
    }

    /// Take it up again; `fresh`: what its body did is done again.
    pub(crate) fn reopen(&mut self, fresh: bool) {
        (self.status, self.error, self.why, self.retry_at) = (None, None, None, None);
        self.tries = 0;
        self.judged.fill(None);
        let goes_on = !fresh && self.live().is_some_and(|attempt| !attempt.stale);
        self.former_attempts = self.attempts.len() - usize::from(goes_on);
        if fresh {
            (self.body, self.body_datum, self.owes_outputs, self.progress) = (None, None, false, None);
            self.anew += 1;
            if let Some(attempt) = self.live_mut() {
                attempt.stale = true;
            }
        }
    }
}

impl Attempt {
    /// Whether nothing is done about it in this sitting: it waits for somebody, or was left.
    pub(crate) fn rests(&self) -> bool {
        self.parked.is_some() || self.left
    }

    /// Whether the server is to be asked about it, now or later.
    pub(crate) fn is_asked_about(&self, sitting: u32) -> bool {
        !self.rests() && (self.sitting < sitting || self.unclear.is_some())
    }

    /// Whether it is being executed.
    pub(crate) fn runs(&self, sitting: u32) -> bool {
        !self.rests() && !self.is_asked_about(sitting)
    }
}
