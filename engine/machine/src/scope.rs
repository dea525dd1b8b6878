//! What expressions see of a run: [`View`], made for one evaluation.

use drydock_plan::expr::{Datum, Scope, Seen};
use drydock_plan::name::Name;
use serde_json::json;

use crate::event::RunStatus;
use crate::machine::{Machine, Phase};

/// The parts of a scope that an evaluation borrows.
pub(crate) struct View {
    steps: Vec<(Name, Seen)>,
    run: Datum,
}

impl View {
    /// The scope of an expression of an instance.
    pub(crate) fn scope<'a>(&'a self, machine: &'a Machine, item: Option<&'a Datum>) -> Scope<'a> {
        Scope {
            params: Some(&machine.params),
            run: Some(&self.run),
            steps: &self.steps,
            item,
            ..Scope::default()
        }
    }
}

impl Machine {
    /// What an expression that reads these steps sees now.
    pub(crate) fn view(&self, reads: &[Name]) -> View {
        let steps = reads
            .iter()
            .filter_map(|name| {
                let state = &self.steps[self.by_name.get(name)?.ix()];
                let status = state.status.map(|status| Datum::from_json(&json!(status.as_str())));
                Some((name.clone(), Seen { status, outputs: state.outputs.clone() }))
            })
            .collect();
        View { steps, run: self.run_datum() }
    }

    /// `run` as expressions see it.
    fn run_datum(&self) -> Datum {
        let (status, summary) = match self.phase {
            Phase::Finally(status) => (status, self.summary_text(status)),
            _ => (RunStatus::Running, String::new()),
        };
        let (id, started_at) = match &self.head {
            Some(head) => (head.run.to_string(), head.started_at.to_string()),
            None => (String::new(), String::new()),
        };
        Datum::from_json(&json!({
            "id": id,
            "started_at": started_at,
            "plan": self.plan.name,
            "purpose": self.plan.purpose,
            "status": status.as_str(),
            "summary": summary,
        }))
    }
}
