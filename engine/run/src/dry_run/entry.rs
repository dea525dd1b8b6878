//! What stands for a step before anything is known of it: [`entry`], and the values that say so.

use std::borrow::Cow;

use drydock_plan::expr::Datum;
use drydock_plan::model::Step;
use drydock_plan::name::Name;
use serde_json::json;

use crate::shown::{DryStep, Runs};

pub(super) fn entry(step: &Step, key: Option<&str>, runs: Runs, why: Option<String>) -> DryStep {
    let id = drydock_machine::attempt::instance_name(&step.id, key);
    DryStep {
        id,
        uses: Cow::Borrowed(step.call.kind),
        runs,
        why,
        actions: Vec::new(),
        unknown: Vec::new(),
        needs: Vec::new(),
        beside: Vec::new(),
        finally: step.finally,
    }
}

pub(super) fn known(status: &str) -> Datum {
    Datum::from_json(&json!(status))
}

pub(super) fn after(step: &Step) -> Datum {
    Datum::unknown(vec![step.id.clone()])
}

pub(super) fn names(steps: &[Name]) -> String {
    steps.iter().map(Name::as_str).collect::<Vec<_>>().join(", ")
}

/// Why a list is not known.
pub(super) enum Unlisted {
    After(Vec<Name>),
    Never(String),
}
