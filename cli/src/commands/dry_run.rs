//! `drydock dry-run`: everything that a run would do, shown and checked, nothing changed.

use std::path::Path;

use drydock_machine::Exit;
use drydock_plan::check::Demand;
use drydock_run::dry_run::{DryOptions, dry_run as ask};

use crate::args::{PlanArgs, ProbeArgs};
use crate::formats::Format;
use crate::session::{Above, Refusal, Session, runtime};

use super::dry_run_text::{markdown, text};
use super::plan_of::loaded;
use super::print;

pub(crate) fn dry_run(
    session: &Session,
    args: &PlanArgs,
    probe: &ProbeArgs,
    out: Option<&Path>,
) -> Result<Exit, Refusal> {
    let Some((loaded, plan)) = loaded(session, args, Demand::Run)? else { return Ok(Exit::Invalid) };
    let session = &session.drilling(plan.drill);
    let above = Above::outermost(&loaded.path);
    session.guard_drill(&loaded, &plan, &DryOptions::default(), &above)?;
    let services = session.looking(&loaded, plan.clone(), &above)?;
    let runtime = runtime()?;
    let options = DryOptions { probe: probe.probing(), ..DryOptions::default() };
    let shown = runtime.block_on(ask(&services, &options));
    runtime.shutdown_background();
    let json = serde_json::to_string_pretty(&shown)
        .map_err(|error| Refusal::new(Exit::Internal, error.to_string()))?;
    if let Some(path) = out {
        let failed = |error| Refusal::new(Exit::Usage, format!("cannot write {}: {error}", path.display()));
        std::fs::write(path, format!("{json}\n")).map_err(failed)?;
    }
    print(&match session.common.format {
        Format::Json => format!("{json}\n"),
        Format::Markdown => markdown(plan.name.as_str(), &shown),
        _ => text(plan.name.as_str(), &shown),
    });
    Ok(if shown.cannot_succeed() { Exit::CannotSucceed } else { Exit::Done })
}
