//! `drydock dry-run`: everything that a run would do, shown and checked, nothing changed.

use std::path::Path;

use drydock_machine::Exit;
use drydock_plan::check::Demand;
use drydock_run::dry_run::{DryOptions, DryRun, DryStep, Runs, dry_run as ask};
use indexmap::IndexMap;

use crate::args::PlanArgs;
use crate::formats::Format;
use crate::session::{Above, Refusal, Session, runtime};

use super::plan_of::loaded;
use super::print;

pub(crate) fn dry_run(
    session: &Session,
    args: &PlanArgs,
    probe: bool,
    out: Option<&Path>,
) -> Result<Exit, Refusal> {
    let Some((loaded, plan)) = loaded(session, args, Demand::Run)? else { return Ok(Exit::Invalid) };
    let session = &session.drilling(plan.drill);
    let above = Above::outermost(&loaded.path);
    session.guard_drill(&loaded, &plan, &DryOptions::default(), &above)?;
    let services = session.looking(&loaded, plan.clone(), &above)?;
    let runtime = runtime()?;
    let shown = runtime.block_on(ask(&services, &DryOptions { probe, ..DryOptions::default() }));
    runtime.shutdown_background();
    let json = serde_json::to_string_pretty(&shown)
        .map_err(|error| Refusal::new(Exit::Internal, error.to_string()))?;
    if let Some(path) = out {
        let failed = |error| Refusal::new(Exit::Usage, format!("cannot write {}: {error}", path.display()));
        std::fs::write(path, format!("{json}\n")).map_err(failed)?;
    }
    if session.common.format == Format::Json {
        print(&format!("{json}\n"));
    } else {
        print(&text(plan.name.as_str(), &shown));
    }
    Ok(if shown.cannot_succeed() { Exit::CannotSucceed } else { Exit::Done })
}

/// For people: first what would be lost and what speaks against it, then every step.
fn text(plan: &str, shown: &DryRun) -> String {
    let count = |wanted: Runs| shown.steps.iter().filter(|step| step.runs == wanted).count();
    let would_run = count(Runs::Yes);
    let steps = if would_run == 1 { "step" } else { "steps" };
    let mut text = format!("dry run of {plan}: {would_run} {steps} would run");
    let (unknown, none) = (count(Runs::Unknown), count(Runs::No));
    match unknown {
        0 => {}
        1 => text.push_str(", 1 depends on what is known during the run"),
        more => text.push_str(&format!(", {more} depend on what is known during the run")),
    }
    if none > 0 {
        text.push_str(&format!(", {none} would not run"));
    }
    text.push_str(". Nothing was changed.\n");
    for headline in &shown.headlines {
        text.push_str(&format!("  {}: {}\n", headline.step, headline.text));
    }
    for destroyed in &shown.destroys {
        let target = destroyed.target.as_ref().map_or(String::new(), |target| format!(" on {target}"));
        text.push_str(&format!("  DESTROYS {}{target}, by {}\n", destroyed.words(), destroyed.step));
    }
    for (target, written) in written_by_target(shown) {
        text.push_str(&format!("  writes on {target}: {written}\n"));
    }
    for unseen in &shown.unseen {
        text.push_str(&format!("  note: which plan {} runs is known only during the run\n", unseen.step));
    }
    for found in &shown.findings {
        let weight = if found.finding.fatal { "cannot succeed" } else { "note" };
        text.push_str(&format!(
            "  {weight}: {}: {} [{}]\n",
            found.step, found.finding.message, found.finding.code
        ));
        if let Some(help) = &found.finding.help {
            text.push_str(&format!("      help: {help}\n"));
        }
    }
    shown.steps.iter().for_each(|step| text.push_str(&step_text(step)));
    text
}

/// What would be written to beside what is destroyed, a line for each target: each thing once, with the steps that write it.
fn written_by_target(shown: &DryRun) -> Vec<(String, String)> {
    let mut targets: IndexMap<&str, IndexMap<&str, Vec<&str>>> = IndexMap::new();
    for touched in &shown.writes {
        let things = targets.entry(touched.target.as_deref().unwrap_or("the runner")).or_default();
        let steps = things.entry(touched.words()).or_default();
        // An instance is shown by its step: a foreach over a hundred collections is one line.
        let step = touched.step.split('[').next().unwrap_or(&touched.step);
        if !steps.contains(&step) {
            steps.push(step);
        }
    }
    let thing = |(thing, steps): (&&str, &Vec<&str>)| format!("{thing} (by {})", steps.join(", "));
    let line = |things: &IndexMap<&str, Vec<&str>>| things.iter().map(thing).collect::<Vec<_>>().join("; ");
    targets.iter().map(|(target, things)| ((*target).to_owned(), line(things))).collect()
}

fn step_text(step: &DryStep) -> String {
    let mark = match step.runs {
        Runs::Yes => "",
        Runs::No => "  (would not run)",
        Runs::Unknown => "  (may run)",
    };
    let mut text = format!("\n{}  {}{mark}\n", step.id, step.uses);
    if let Some(why) = &step.why {
        text.push_str(&format!("    {why}\n"));
    }
    for action in &step.actions {
        let arrow = if action.writes { "!" } else { "." };
        let target = action.target.as_ref().map_or(String::new(), |target| format!("{target}: "));
        let lines: Vec<&str> = action.text.lines().collect();
        text.push_str(&format!("  {arrow} {target}{}\n", lines.join("\n      ")));
    }
    text
}
