//! A run as `runs show` gives it: [`Report`], made from what a machine remembers.

use drydock_plan::expr::Datum;
use drydock_plan::name::{Digest, Name};
use indexmap::IndexMap;
use serde::Serialize;
use serde_json::{Value, json};

use crate::attempt::instance_name;
use crate::event::{Failure, Outcome, RunStatus, Status};
use crate::exit::Exit;
use crate::machine::{Machine, SittingSpan};
use crate::state::{Attempt, Instance, StepState};

/// A whole run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Its id.
    pub run: String,
    /// The plan's name.
    pub plan: Name,
    /// What was executed.
    pub digest: Option<Digest>,
    /// The environment's name.
    pub environment: Option<String>,
    /// How it stands.
    pub status: RunStatus,
    /// With what it ended.
    pub exit: Option<Exit>,
    /// When it began, RFC 3339.
    pub started_at: String,
    /// One sentence about its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// What went wrong without failing it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The plan's own outputs.
    pub outputs: IndexMap<Name, Value>,
    /// The processes that worked on it.
    pub sittings: Vec<SittingReport>,
    /// Each step, and each instance of a foreach after its step.
    pub steps: IndexMap<String, StepReport>,
}

/// One process that worked on a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SittingReport {
    /// Counted from 1.
    pub n: u32,
    /// When it began.
    pub started_at: String,
    /// When it left; absent where it died or still works.
    pub ended_at: Option<String>,
    /// With what exit.
    pub exit: Option<Exit>,
}

/// A step, or one instance of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepReport {
    /// How it ended; `waiting`, `running` or `pending` before that.
    pub status: &'static str,
    /// Its kind.
    pub uses: &'static str,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// Why it was skipped, blocked or cancelled, or what it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The attempts of its body.
    pub attempts: Vec<AttemptReport>,
    /// What its body gave.
    pub outputs: Value,
    /// Its validations, as far as they were judged.
    pub validations: Vec<ValidationReport>,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttemptReport {
    /// Counted from 1.
    pub n: u32,
    /// When it began.
    pub started_at: String,
    /// When it ended.
    pub ended_at: Option<String>,
    /// `succeeded`, `failed`, `cancelled`, `lost`, `partly`; absent while it runs.
    pub outcome: Option<&'static str>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// What it noted.
    pub notes: Vec<Value>,
}

/// The verdict on one validation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ValidationReport {
    /// Its name.
    pub name: String,
    /// What had to hold.
    pub expected: String,
    /// What was found.
    pub found: String,
    /// Whether it held.
    pub ok: bool,
}

impl Machine {
    /// The run as it stands.
    pub fn report(&self) -> Report {
        Report {
            run: self.head.as_ref().map(|head| head.run.to_string()).unwrap_or_default(),
            plan: self.plan.name.clone(),
            digest: self.digest.clone(),
            environment: self.plan.environment.as_ref().map(|environment| environment.name.clone()),
            status: self.status,
            exit: self.exit,
            started_at: self.head.as_ref().map(|head| head.started_at.to_string()).unwrap_or_default(),
            summary: self.summary.clone(),
            warnings: self.warnings.clone(),
            outputs: self.outputs.clone(),
            sittings: self.sittings.iter().map(sitting_report).collect(),
            steps: self.step_reports(),
        }
    }

    fn step_reports(&self) -> IndexMap<String, StepReport> {
        let mut reports = IndexMap::new();
        for (step, state) in self.plan.steps.iter().zip(&self.steps) {
            let uses = step.call.kind;
            if step.foreach.is_some() {
                reports.insert(step.id.to_string(), foreach_report(state, uses));
            }
            for instance in &state.instances {
                let name = instance_name(&step.id, instance.key.as_deref());
                reports.insert(name, instance_report(instance, uses));
            }
        }
        reports
    }
}

/// A foreach itself: its attempts and validations are those of its instances.
fn foreach_report(state: &StepState, uses: &'static str) -> StepReport {
    let running = state.instances.iter().any(Instance::begun);
    StepReport {
        status: state.status.map_or(if running { "running" } else { "pending" }, Status::as_str),
        uses,
        error: state.error.clone(),
        why: state.why.clone(),
        attempts: Vec::new(),
        outputs: state.outputs.as_ref().and_then(Datum::to_json).unwrap_or(Value::Null),
        validations: Vec::new(),
    }
}

fn sitting_report(span: &SittingSpan) -> SittingReport {
    SittingReport {
        n: span.n,
        started_at: span.started_at.to_string(),
        ended_at: span.ended_at.map(|at| at.to_string()),
        exit: span.exit,
    }
}

fn instance_report(instance: &Instance, uses: &'static str) -> StepReport {
    let live = instance.live();
    let parked = live.and_then(|attempt| attempt.parked.as_ref());
    let status = match instance.status {
        Some(status) => status.as_str(),
        None if parked.is_some() => "waiting",
        None if instance.begun() => "running",
        None => "pending",
    };
    StepReport {
        status,
        uses,
        error: instance.error.clone(),
        why: instance.why.clone().or_else(|| parked.map(|parked| parked.message.clone())),
        attempts: instance
            .attempts
            .iter()
            .filter(|attempt| attempt.check.is_none())
            .map(attempt_report)
            .collect(),
        outputs: instance.body.clone().unwrap_or(Value::Null),
        validations: instance
            .judged
            .iter()
            .flatten()
            .map(|judged| ValidationReport {
                name: judged.name.to_string(),
                expected: judged.expected.clone(),
                found: judged.found.clone(),
                ok: judged.ok,
            })
            .collect(),
    }
}

fn attempt_report(attempt: &Attempt) -> AttemptReport {
    let (outcome, error) = match &attempt.outcome {
        None => (None, None),
        Some(Outcome::Succeeded(_)) => (Some("succeeded"), None),
        Some(Outcome::Failed(failure)) => (Some("failed"), Some(failure.clone())),
        Some(Outcome::Cancelled) => (Some("cancelled"), None),
        Some(Outcome::Lost) => (Some("lost"), None),
        Some(Outcome::Partly(_)) => (Some("partly"), None),
    };
    AttemptReport {
        n: attempt.n,
        started_at: attempt.started_at.to_string(),
        ended_at: attempt.ended_at.map(|at| at.to_string()),
        outcome,
        error,
        notes: attempt.notes.clone(),
    }
}

impl Report {
    /// The same as JSON.
    pub fn to_json(&self) -> Value {
        json!(self)
    }
}
