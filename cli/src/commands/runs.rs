//! `drydock runs`: list, show and check runs.

use drydock_machine::{Exit, Report};
use drydock_run::journal::Soundness;
use drydock_run::state::StateError;
use serde_json::json;

use crate::formats::Format;
use crate::session::{Refusal, Session};

use super::print;

pub(crate) fn list(session: &Session) -> Result<Exit, Refusal> {
    let mut reports: Vec<Report> = Vec::new();
    let mut refused = Vec::new();
    for id in session.state.run_ids()? {
        match session.folded(&id) {
            Ok(folded) => reports.push(folded.machine.report()),
            // What never began does not exist.
            Err(refusal) if refusal.exit == Exit::Usage => {}
            Err(refusal) => refused.push(refusal.message),
        }
    }
    reports.sort_by(|a, b| a.started_at.cmp(&b.started_at));
    if session.common.format == Format::Json {
        let list: Vec<_> = reports
            .iter()
            .map(|report| {
                json!({
                    "run": report.run,
                    "plan": report.plan,
                    "environment": report.environment,
                    "status": report.status,
                    "exit": report.exit,
                    "started_at": report.started_at,
                })
            })
            .collect();
        print(&format!("{:#}\n", json!(list)));
    } else {
        let mut text = String::new();
        for report in &reports {
            let environment = report.environment.as_deref().unwrap_or("-");
            let started = report.started_at.get(..19).unwrap_or(&report.started_at);
            let warnings = match report.warnings.len() {
                0 => String::new(),
                1 => ", 1 warning".to_owned(),
                many => format!(", {many} warnings"),
            };
            text.push_str(&format!(
                "{:<26}  {started}  {:<11}  {} in {environment}{warnings}\n",
                report.run,
                report.status.as_str(),
                report.plan
            ));
        }
        print(if text.is_empty() { "no runs yet\n" } else { &text });
    }
    for message in refused {
        eprintln!("warning: {message}");
    }
    Ok(Exit::Done)
}

pub(crate) fn show(session: &Session, run: Option<String>) -> Result<Exit, Refusal> {
    let id = session.run_id(run)?;
    let folded = session.folded(&id)?;
    let report = folded.machine.report();
    let forced_past = session.state.start(&id)?.forced_past;
    if session.common.format == Format::Json {
        let mut json = report.to_json();
        if !forced_past.is_empty() {
            json["forced_past"] = json!(forced_past);
        }
        print(&format!("{json:#}\n"));
    } else {
        print(&shown(&report));
        if !forced_past.is_empty() {
            print(&format!("  forced past findings of {}\n", forced_past.join(", ")));
        }
    }
    for name in folded.unknown_events() {
        eprintln!(
            "warning: this build does not know the event `{name}` of the journal: what is shown lacks it"
        );
    }
    Ok(Exit::Done)
}

/// A run for people.
fn shown(report: &Report) -> String {
    let environment = report.environment.as_ref().map_or(String::new(), |name| format!(" in {name}"));
    let exit = report.exit.map_or(String::new(), |exit| format!(", exit {}", exit.code()));
    let mut text =
        format!("run {}  {}{environment}: {}{exit}\n", report.run, report.plan, report.status.as_str());
    for (at, sitting) in report.sittings.iter().enumerate() {
        let followed = at + 1 < report.sittings.len();
        let without_end = if followed { "died" } else { "died or still at work" };
        let ended = sitting.ended_at.as_deref().unwrap_or(without_end);
        text.push_str(&format!("  sitting {}: {} - {ended}\n", sitting.n, sitting.started_at));
    }
    for (name, step) in &report.steps {
        let tries = if step.attempts.len() > 1 {
            format!(", {} attempts", step.attempts.len())
        } else {
            String::new()
        };
        text.push_str(&format!("  {:<10} {name} ({}{tries})\n", step.status, step.uses));
        if let Some(error) = &step.error {
            text.push_str(&format!("             {} [{}]\n", error.message, error.code));
            for line in error.detail.iter().flat_map(|detail| detail.lines()) {
                text.push_str(&format!("             | {line}\n"));
            }
        } else if let Some(why) = &step.why {
            text.push_str(&format!("             {why}\n"));
        }
        for validation in &step.validations {
            let mark = if validation.ok { "holds" } else { "does not hold" };
            text.push_str(&format!(
                "             {} {mark}: expected {}, found {}\n",
                validation.name, validation.expected, validation.found
            ));
        }
    }
    for warning in &report.warnings {
        text.push_str(&format!("  warning: {warning}\n"));
    }
    if let Some(summary) = &report.summary {
        text.push_str(&format!("{summary}\n"));
    }
    text
}

pub(crate) fn check(session: &Session, run: Option<String>) -> Result<Exit, Refusal> {
    let id = session.run_id(run)?;
    let (word, place, why) = match session.state.journal(&id) {
        Ok((journaled, _)) => match journaled.soundness {
            Soundness::Sound => ("sound", None, None),
            Soundness::Torn { at } => ("torn", Some(at), None),
        },
        Err(StateError::Damaged { damage, .. }) => {
            let at = if let drydock_run::journal::Damage::At { at, .. } = &damage { Some(*at) } else { None };
            ("damaged", at, Some(damage.to_string()))
        }
        Err(error) => return Err(error.into()),
    };
    if session.common.format == Format::Json {
        print(&format!("{}\n", json!({ "run": id, "journal": word, "at": place, "why": why })));
    } else {
        let place = place.map_or(String::new(), |at| format!(" at byte {at}"));
        let why = why.map_or(String::new(), |why| format!(": {why}"));
        print(&format!("run {id}: {word}{place}{why}\n"));
    }
    Ok(if word == "damaged" { Exit::Locked } else { Exit::Done })
}
