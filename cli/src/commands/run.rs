//! `drydock run`: a new run of a plan.

use drydock_machine::{Exit, Machine, RunStatus, Sitting as Begin};
use drydock_plan::check::Demand;
use drydock_plan::model::{OnUnfinished, Plan};
use drydock_plan::name::Name;
use drydock_run::dry_run::DryOptions;

use crate::args::{PlanArgs, RunOptions, Unfinished};
use crate::pages::Page;
use crate::session::{Above, At, Refusal, Session};

use super::plan_of::{loaded, step_named};
use super::told::told;
use super::{abandon, resume};

pub(crate) fn run(session: &Session, args: &PlanArgs, options: &RunOptions) -> Result<Exit, Refusal> {
    let Some((loaded, plan)) = loaded(session, args, Demand::Run)? else { return Ok(Exit::Invalid) };
    let begin = Begin {
        only: steps(&plan, "--only", &options.only)?,
        skip: steps(&plan, "--skip", &options.skip)?,
        ..Begin::default()
    };
    let chosen = DryOptions { only: begin.only.clone(), skip: begin.skip.clone(), ..DryOptions::default() };
    let forced_past = codes(&options.force_past)?;
    let session = &session.confirmed(&options.confirm).forcing(&forced_past).drilling(plan.drill);
    let above = Above::outermost(&loaded.path);
    session.guard_drill(&loaded, &plan, &chosen, &above)?;
    session.confirm(&loaded, &plan, &chosen, &above)?;
    let unfinished_before = unfinished_run(session, &plan)?;
    if !options.no_preflight && unfinished_before.is_none() {
        session.look_ahead(&loaded, &plan, &chosen, &above)?;
    }
    let held = session.state.hold()?;
    let unfinished = unfinished_run(session, &plan)?;
    if let Some((id, status)) = unfinished {
        drop(held);
        match choice(options, &plan) {
            OnUnfinished::Resume => {
                let wishes = resume::Wishes { confirm: options.confirm.clone(), ..resume::Wishes::default() };
                return resume::resume(session, Some(id), &wishes);
            }
            OnUnfinished::Abandon => drop(abandon::abandon(session, Some(id))?),
            OnUnfinished::Refuse => return Err(in_the_way(&id, status)),
        }
        return run(session, args, options);
    }
    let id = options.run_id.clone().unwrap_or_else(|| session.outside.new_run_id());
    let (folder, _lock, journal) = session.create(&id, &loaded)?;
    drop(held);
    let mut machine = Machine::new(plan);
    let (plan, environment) = (loaded.path.clone(), loaded.environment.clone());
    let at = At { id: id.clone(), folder, plan, environment, nested: false, cancelled: None, above };
    let exit = session.sit(&mut machine, journal, &at, begin)?;
    Ok(told(session, &machine, &id, exit))
}

/// The steps that a flag names.
fn steps(plan: &Plan, flag: &str, names: &[String]) -> Result<Vec<Name>, Refusal> {
    names.iter().map(|name| step_named(plan, flag, name)).collect()
}

/// The codes that `--force-past` names, each one that a finding may have.
fn codes(names: &[String]) -> Result<Vec<String>, Refusal> {
    let known = |name: &String| match Page::of(name) {
        Some(page) => Ok(page.code),
        None => {
            let refusal =
                Refusal::new(Exit::Usage, format!("--force-past: no finding has the code `{name}`"));
            Err(match drydock_plan::suggest::nearest(name, Page::codes()) {
                Some(near) => refusal.help(format!("did you mean `{near}`?")),
                None => refusal.help("a finding shows its code in brackets, such as sqlserver.3169"),
            })
        }
    };
    names.iter().map(known).collect()
}

fn choice(options: &RunOptions, plan: &Plan) -> OnUnfinished {
    match options.on_unfinished {
        Some(Unfinished::Resume) => OnUnfinished::Resume,
        Some(Unfinished::Abandon) => OnUnfinished::Abandon,
        Some(Unfinished::Refuse) => OnUnfinished::Refuse,
        None => plan.on_unfinished.unwrap_or(OnUnfinished::Refuse),
    }
}

fn in_the_way(id: &str, status: RunStatus) -> Refusal {
    let how = if status == RunStatus::Waiting { "waits for an answer" } else { "died in the middle" };
    Refusal::new(Exit::Locked, format!("run {id} of this plan and environment {how}"))
        .help(format!("go on with it: drydock resume {id}\n      or close it:   drydock abandon {id}"))
}

/// A run of the same plan and environment that has not ended; one that is being worked on is refused at once.
fn unfinished_run(session: &Session, plan: &Plan) -> Result<Option<(String, RunStatus)>, Refusal> {
    let environment = plan.environment.as_ref().map(|environment| environment.name.as_str());
    let mut found = None;
    for id in session.state.run_ids()? {
        let Some(glance) = glance(session, &id) else { continue };
        if glance.plan != plan.name || glance.environment.as_deref() != environment {
            continue;
        }
        if session.state.is_locked(&id)? {
            return Err(Refusal::new(
                Exit::Locked,
                format!("run {id} of this plan and environment is going on"),
            )
            .help(format!("wait for it, or look at it: drydock runs show {id}")));
        }
        if let Some(status) = glance.unfinished {
            found = Some((id, status));
        }
    }
    Ok(found)
}

/// What the question of unfinished runs needs to know of one.
struct Glance {
    plan: Name,
    environment: Option<String>,
    unfinished: Option<RunStatus>,
}

/// `None` for a run that never began or whose journal is refused: such a one is found by `runs check`, and stands in nobody's way.
fn glance(session: &Session, id: &str) -> Option<Glance> {
    use drydock_machine::RunEvent;
    let of = |first: &RunEvent, unfinished| match first {
        RunEvent::RunStarted { plan, environment, .. } => {
            Some(Glance { plan: plan.clone(), environment: environment.clone(), unfinished })
        }
        _ => None,
    };
    // Of most runs the ends tell: a journal is read whole only where its run may be in the middle.
    if let Some(ends) = session.state.ends(id).ok().flatten()
        && matches!(ends.last, RunEvent::SittingEnded { exit } if exit != Exit::Waits)
    {
        return of(&ends.first.1, None);
    }
    let (journaled, _) = session.state.journal(id).ok()?;
    let first = journaled.events.first().map(|(_, event)| event)?;
    let unfinished = match journaled.events.last().map(|(_, event)| event) {
        Some(
            RunEvent::SittingEnded { exit: Exit::Waits }
            | RunEvent::Approved { .. }
            | RunEvent::AttemptEnded { .. },
        ) if journaled
            .events
            .iter()
            .rev()
            .any(|(_, event)| matches!(event, RunEvent::SittingEnded { exit: Exit::Waits })) =>
        {
            Some(RunStatus::Waiting)
        }
        Some(RunEvent::SittingEnded { .. }) => None,
        _ => Some(RunStatus::Running),
    };
    of(first, unfinished)
}
