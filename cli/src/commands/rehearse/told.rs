//! What a rehearsal says at its end: [`Told`], as a table for people and as JSON.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;

/// One step as it went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct StepTold {
    plan: String,
    step: String,
    status: String,
    attempts: usize,
    ms: i64,
    proof: String,
}

/// A whole rehearsal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Told {
    pub(super) ok: bool,
    pub(super) seed: u64,
    pub(super) runs: Vec<String>,
    pub(super) steps: Vec<StepTold>,
    pub(super) rpo_s: Option<f64>,
    pub(super) rto_s: Option<f64>,
    pub(super) dir: Option<String>,
}

/// What a rehearsal does not show, for its last lines.
pub(super) const NOT_SHOWN: &str = "This was a rehearsal on practice servers: it shows that the plans, their order, their checks and the recovery from a kill work.\n\
It does not show how long your data take, whether your servers' disks, rights and certificates are in order, or that your own backups can be read:\n\
for that, run the restore plan as a drill on servers of your own (plans/environments/drill.yaml).";

/// Milliseconds of a time in RFC 3339.
fn ms_of(text: &Value) -> Option<i64> {
    chrono::DateTime::parse_from_rfc3339(text.as_str()?).ok().map(|at| at.timestamp_millis())
}

/// The steps of a run in the words of `runs show`.
pub(super) fn steps_of(plan: &str, report: &Value) -> Vec<StepTold> {
    let Some(steps) = report["steps"].as_object() else { return Vec::new() };
    let told = |(name, step): (&String, &Value)| {
        let attempts = step["attempts"].as_array().cloned().unwrap_or_default();
        let began = attempts.first().and_then(|attempt| ms_of(&attempt["started_at"]));
        let ended = attempts.last().and_then(|attempt| ms_of(&attempt["ended_at"]));
        let ms = began.zip(ended).map_or(0, |(began, ended)| ended - began);
        let proofs = step["validations"].as_array().into_iter().flatten();
        let proofs = proofs.map(|proof| format!("{}: {}", text(&proof["name"]), text(&proof["found"])));
        let proof = proofs.collect::<Vec<_>>().join("; ");
        StepTold {
            plan: plan.to_owned(),
            step: name.clone(),
            status: text(&step["status"]),
            attempts: attempts.len(),
            ms,
            proof,
        }
    };
    steps.iter().map(told).collect()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl Told {
    /// For people. A plan of one's own `took` so many seconds; what the whole story reached is told by RPO and RTO.
    pub(super) fn table(&self, dir: &Path, took: Option<f64>) -> String {
        let width = self.steps.iter().map(|step| step.plan.len() + step.step.len() + 1).max().unwrap_or(0);
        let mut out = format!("{:<width$}  {:<10} {:>9}  proof\n", "step", "status", "time");
        for step in &self.steps {
            let name = format!("{} {}", step.plan, step.step);
            let tries =
                if step.attempts > 1 { format!("({} attempts) ", step.attempts) } else { String::new() };
            let time = format!("{}.{:03} s", step.ms / 1_000, step.ms % 1_000);
            let line = format!("{name:<width$}  {:<10} {time:>9}  {tries}{}", step.status, step.proof);
            out.push_str(line.trim_end());
            out.push('\n');
        }
        let seconds =
            |value: Option<f64>| value.map_or("unknown".to_owned(), |value| format!("{value:.1} s"));
        out.push_str(&match took {
            Some(took) => format!("\nit took {took:.1} s\n"),
            None => format!(
                "\nRPO reached: {} of work lost, what came after the point\nRTO reached: {} from the disaster to the last proof\n",
                seconds(self.rpo_s),
                seconds(self.rto_s)
            ),
        });
        match &self.dir {
            Some(_) => out.push_str(&format!(
                "everything lies in {}: environment.yaml, artifacts, state, ledger.jsonl\n",
                dir.display()
            )),
            None => out.push_str(
                "nothing was kept; --keep DIR keeps environment, artifact store, state and ledger\n",
            ),
        }
        out
    }
}
