//! `drydock dry-run`: everything that a run would do, shown and checked, nothing changed.

use std::path::Path;

use drydock_machine::Exit;
use drydock_plan::check::Demand;
use drydock_run::dry_run::{DryOptions, DryRun, dry_run as ask};

use crate::args::{DryRunOptions, PlanArgs};
use crate::formats::Format;
use crate::session::{Above, Refusal, SavedRun, Session, runtime, text_of};

use super::dry_run_text::{markdown, text};
use super::plan_of::{loaded, steps_named};
use super::print;

pub(crate) fn dry_run(session: &Session, args: &PlanArgs, wanted: &DryRunOptions) -> Result<Exit, Refusal> {
    let Some((loaded, plan)) = loaded(session, args, Demand::Run)? else { return Ok(Exit::Invalid) };
    let session = &session.drilling(plan.drill);
    let above = Above::outermost(&loaded.path);
    let options = DryOptions {
        probe: wanted.probe,
        only: steps_named(&plan, "--only", &wanted.choice.only)?,
        skip: steps_named(&plan, "--skip", &wanted.choice.skip)?,
        ..DryOptions::default()
    };
    session.guard_drill(&loaded, &plan, &DryOptions { probe: false, ..options.clone() }, &above)?;
    let services = session.looking(&loaded, plan.clone(), &above)?;
    let runtime = runtime()?;
    let mut shown = runtime.block_on(ask(&services, &options));
    runtime.shutdown_background();
    if let Some(path) = &wanted.out {
        let (only, skip, probed) = (&options.only, &options.skip, options.probe);
        let saved = SavedRun { args, plan: &plan, loaded: &loaded, only, skip, probed };
        shown.saved = Some(Box::new(saved.saved(session, &shown)));
        let failed = |error| Refusal::new(Exit::Usage, format!("cannot write {}: {error}", path.display()));
        std::fs::write(path, text_of(&shown)?).map_err(failed)?;
        shown.saved = None;
        if !session.common.quiet {
            eprintln!("{}", saved_as(path, wanted, &shown));
        }
    }
    print(&answer(session, plan.name.as_str(), &shown)?);
    Ok(if shown.cannot_succeed() { Exit::CannotSucceed } else { Exit::Done })
}

/// A dry run in the format that was asked for.
pub(super) fn answer(session: &Session, plan: &str, shown: &DryRun) -> Result<String, Refusal> {
    Ok(match session.common.format {
        Format::Json => {
            let json = serde_json::to_string_pretty(shown)
                .map_err(|error| Refusal::new(Exit::Internal, error.to_string()))?;
            format!("{json}\n")
        }
        Format::Markdown => markdown(plan, shown),
        _ => text(plan, shown),
    })
}

/// What a saved dry run is good for.
fn saved_as(path: &Path, wanted: &DryRunOptions, shown: &DryRun) -> String {
    let path = path.display();
    if !wanted.probe {
        format!(
            "note: {path} can be read and compared, and not run: without --probe nobody knows which servers it is of"
        )
    } else if shown.cannot_succeed() {
        format!("note: {path} can be read and compared; a run of it would be refused for what is said")
    } else {
        format!("note: `drydock run --saved {path}` does exactly this, once, within {}", wanted.max_age)
    }
}
