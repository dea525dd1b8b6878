//! A run as plain lines for logs and CI jobs: [`Lines`], and the words for events that the live tree prints too.

use std::collections::HashMap;
use std::io::Write;

use drydock_machine::event::CancelWhy;
use drydock_machine::{AttemptRef, Exit, Moment, Outcome, RunEvent, RunStatus, Status};
use drydock_run::reporter::Reporter;
use drydock_step::Sample;

/// Writes to standard error, a line for each thing that people want to know.
pub(crate) struct Lines {
    words: Words,
    quiet: bool,
    verbose: u8,
}

impl Lines {
    pub(crate) fn new(run: &str, quiet: bool, verbose: u8) -> Self {
        if !quiet {
            say(&format!("run {run}"));
        }
        Self { words: Words::new(verbose), quiet, verbose }
    }
}

/// A reader that went away must not stop a restore.
fn say(line: &str) {
    let mut err = std::io::stderr().lock();
    let _ = writeln!(err, "{line}");
}

impl Reporter for Lines {
    fn event(&mut self, _: u64, at: Moment, event: &RunEvent) {
        let Some((weight, text)) = self.words.of(at, event) else { return };
        let shown = match weight {
            Weight::Trouble => true,
            Weight::News => !self.quiet,
            Weight::Detail => !self.quiet && self.verbose > 0,
        };
        if shown {
            let time = at.to_string();
            say(&format!("{} {text}", time.get(11..19).unwrap_or(&time)));
        }
    }

    fn sample(&mut self, attempt: &AttemptRef, sample: &Sample) {
        if self.verbose > 0
            && let Sample::Log(line) = sample
        {
            say(&format!("         {}: {line}", attempt.instance()));
        }
    }

    fn end(&mut self, _: RunStatus, _: Exit) {}
}

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    Trouble,
    News,
    Detail,
}

/// Makes words of events; remembers when attempts began.
#[derive(Default)]
pub(super) struct Words {
    began: HashMap<String, Moment>,
    with_details: bool,
}

impl Words {
    /// With what an error happened to, where people want to know more.
    pub(super) fn new(verbose: u8) -> Self {
        Self { with_details: verbose > 0, ..Self::default() }
    }

    pub(super) fn of(&mut self, at: Moment, event: &RunEvent) -> Option<(Weight, String)> {
        let name = |step: &drydock_plan::name::Name, key: &Option<std::sync::Arc<str>>| {
            drydock_machine::attempt::instance_name(step, key.as_deref())
        };
        let line = match event {
            RunEvent::RunStarted { plan, environment, .. } => {
                let place =
                    environment.as_ref().map_or(String::new(), |environment| format!(" in {environment}"));
                (Weight::News, format!("{plan}{place}"))
            }
            RunEvent::SittingStarted { n, .. } if *n > 1 => {
                (Weight::News, format!("sitting {n} of this run"))
            }
            RunEvent::ForeachListed { step, items } => {
                (Weight::Detail, format!("{step}: {} items", items.len()))
            }
            RunEvent::AttemptStarted { step, key, n, check, .. } => {
                let instance = name(step, key);
                let text = match (check, n) {
                    (Some(check), _) => format!("{instance}: validation {check}"),
                    (None, 1) => format!("{instance} begins"),
                    (None, n) => format!("{instance} begins again (attempt {n})"),
                };
                self.began.entry(instance).or_insert(at);
                (Weight::Detail, text)
            }
            RunEvent::AttemptEnded { step, key, outcome, .. } => match outcome {
                Outcome::Lost => {
                    (Weight::News, format!("{} had done nothing before its process died", name(step, key)))
                }
                Outcome::Partly(_) => {
                    (Weight::News, format!("{} was done in part; it goes on from there", name(step, key)))
                }
                _ => return None,
            },
            RunEvent::CancelAsked { step, key, why, .. } => {
                let why =
                    if *why == CancelWhy::Timeout { "it took too long" } else { "the run is interrupted" };
                (Weight::News, format!("{} is asked to stop: {why}", name(step, key)))
            }
            RunEvent::AttemptUnclear { step, key, error, .. } => (
                Weight::Trouble,
                format!(
                    "{}: nobody knows what it did ({}); its server is asked",
                    name(step, key),
                    error.message
                ),
            ),
            RunEvent::Parked { step, key, message, unknown, .. } => {
                let what = if *unknown { "nobody knows what it did" } else { "waits for approval" };
                (Weight::Trouble, format!("{} {what}: {message}", name(step, key)))
            }
            RunEvent::Approved { step, key, by, reason } => {
                (Weight::News, format!("{} approved by {by}: {reason}", name(step, key)))
            }
            RunEvent::Judged { step, key, name: validation, ok: true, found, .. } => {
                (Weight::Detail, format!("{}: {validation}: {found}", name(step, key)))
            }
            RunEvent::RetryScheduled { step, key, at_ms, error } => {
                let wait = at_ms.since(at);
                (
                    Weight::Trouble,
                    format!(
                        "{} failed and is tried again in {wait}: {} [{}]",
                        name(step, key),
                        error.message,
                        error.code
                    ),
                )
            }
            RunEvent::StepEnded { step, key, status, error, why } => {
                let instance = name(step, key);
                let took = self
                    .began
                    .remove(&instance)
                    .map_or(String::new(), |began| format!(" in {}", at.since(began)));
                let mut text = format!("{instance} {}{took}", status.as_str());
                if let Some(error) = error {
                    text.push_str(&format!(": {} [{}]", error.message, error.code));
                    if let Some(help) = &error.help {
                        text.push_str(&format!("\n         help: {help}"));
                    }
                    let detail = error.detail.iter().filter(|_| self.with_details);
                    for line in detail.flat_map(|detail| detail.lines()) {
                        text.push_str(&format!("\n         | {line}"));
                    }
                } else if let Some(why) = why {
                    text.push_str(&format!(": {why}"));
                }
                let bad =
                    matches!(status, Status::Failed | Status::Partial | Status::Blocked | Status::Cancelled);
                (if bad { Weight::Trouble } else { Weight::News }, text)
            }
            RunEvent::Stopping { step } => {
                (Weight::News, format!("nothing new starts, because {step} failed"))
            }
            RunEvent::Interrupted { level } => {
                let text = if *level == 1 {
                    "interrupted: running steps are asked to stop; once more to insist"
                } else {
                    "insisting"
                };
                (Weight::Trouble, text.to_owned())
            }
            RunEvent::FinallyStarted { .. } => (Weight::Detail, "finally".to_owned()),
            RunEvent::RunEnded { warnings, .. } if !warnings.is_empty() => (
                Weight::Trouble,
                warnings
                    .iter()
                    .map(|warning| format!("warning: {warning}"))
                    .collect::<Vec<_>>()
                    .join("\n         "),
            ),
            _ => return None,
        };
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use drydock_machine::Failure;
    use drydock_plan::name::Name;

    use super::*;

    #[test]
    fn what_failed_is_told_to_who_wants_to_know_more() {
        let error = Failure {
            detail: Some("DROP TABLE\nnowhere".into()),
            ..Failure::new("sqlserver.3701", "it is not there")
        };
        let ended = RunEvent::StepEnded {
            step: Name::parse("tidy").unwrap(),
            key: None,
            status: Status::Failed,
            error: Some(error),
            why: None,
        };
        let said = |verbose: u8| Words::new(verbose).of(Moment(0), &ended).unwrap().1;
        assert_eq!(said(0), "tidy failed: it is not there [sqlserver.3701]");
        assert_eq!(
            said(1),
            "tidy failed: it is not there [sqlserver.3701]\n         | DROP TABLE\n         | nowhere"
        );
    }
}
