//! `drydock dry-run`: everything that a run would do, shown and checked, nothing changed.

mod against;
mod first_screen;
mod text;
mod markdown;
mod html;

use std::path::Path;

use drydock_machine::Exit;
use drydock_plan::check::Demand;
use drydock_run::dry_run::{DryOptions, DryRun, dry_run as ask};

use crate::args::{DryRunOptions, PlanArgs};
use crate::formats::Format;
use crate::session::{Above, Refusal, SavedRun, Session, runtime, text_of};

use self::against::Against;
use self::text::Screen;
use super::plan_of::{loaded, steps_named};
use super::{colored, print};

pub(crate) fn dry_run(session: &Session, args: &PlanArgs, wanted: &DryRunOptions) -> Result<Exit, Refusal> {
    let Some((loaded, plan)) = loaded(session, args, Demand::Run)? else { return Ok(Exit::Invalid) };
    let session = &session.drilling(plan.drill);
    let above = Above::outermost(&loaded.path);
    let options = DryOptions {
        probe: wanted.probe.probing(),
        only: steps_named(&plan, "--only", &wanted.choice.only)?,
        skip: steps_named(&plan, "--skip", &wanted.choice.skip)?,
        ..DryOptions::default()
    };
    session.guard_drill(&loaded, &plan, &DryOptions { probe: None, ..options.clone() }, &above)?;
    let services = session.looking(&loaded, plan.clone(), &above)?;
    let runtime = runtime()?;
    let mut shown = runtime.block_on(ask(&services, &options));
    runtime.shutdown_background();
    let with = wanted.against.as_deref();
    let against = with.map(|with| Against::of(session, with, args, &options, &shown)).transpose()?;
    if let Some(path) = &wanted.out {
        let (only, skip, probed) = (&options.only, &options.skip, options.probe.is_some());
        let saved = SavedRun { args, plan: &plan, loaded: &loaded, only, skip, probed };
        shown.saved = Some(Box::new(saved.saved(session, &shown)));
        let failed = |error| Refusal::new(Exit::Usage, format!("cannot write {}: {error}", path.display()));
        std::fs::write(path, text_of(&shown)?).map_err(failed)?;
        shown.saved = None;
        if !session.common.quiet {
            eprintln!("{}", saved_as(path, wanted, &shown));
        }
    }
    print(&answer(session, plan.name.as_str(), &shown, against.as_ref())?);
    Ok(if shown.cannot_succeed() { Exit::CannotSucceed } else { Exit::Done })
}

/// A dry run that was read, in the format that was asked for.
pub(super) fn shown_again(session: &Session, plan: &str, shown: &DryRun) -> Result<String, Refusal> {
    answer(session, plan, shown, None)
}

/// A dry run in the format that was asked for.
fn answer(
    session: &Session,
    plan: &str,
    shown: &DryRun,
    against: Option<&Against>,
) -> Result<String, Refusal> {
    let internal = |error: serde_json::Error| Refusal::new(Exit::Internal, error.to_string());
    Ok(match session.common.format {
        Format::Json => {
            let mut json = serde_json::to_value(shown).map_err(internal)?;
            if let (Some(against), Some(fields)) = (against, json.as_object_mut()) {
                fields.insert("against".to_owned(), serde_json::to_value(against).map_err(internal)?);
            }
            format!("{json:#}\n")
        }
        Format::Markdown => markdown::markdown(plan, shown, against),
        Format::Html => html::html(plan, shown, against),
        _ => {
            let screen = Screen {
                color: colored(session),
                width: session.outside.width(),
                brief: session.common.quiet,
            };
            text::text(plan, shown, against, screen)
        }
    })
}

/// What a saved dry run is good for.
fn saved_as(path: &Path, wanted: &DryRunOptions, shown: &DryRun) -> String {
    let path = path.display();
    if wanted.probe.probe.is_none() {
        format!(
            "note: {path} can be read and compared, and not run: without --probe nobody knows which servers it is of"
        )
    } else if shown.cannot_succeed() {
        format!("note: {path} can be read and compared; a run of it would be refused for what is said")
    } else {
        format!("note: `drydock run --saved {path}` does exactly this, once, within {}", wanted.max_age)
    }
}
