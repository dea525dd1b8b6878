//! `drydock run`: a new run of a plan.

use std::path::Path;
use std::sync::Arc;

use drydock_machine::{Exit, Machine, RunStatus, Sitting as Begin};
use drydock_plan::check::Demand;
use drydock_plan::model::{OnUnfinished, Plan};
use drydock_plan::name::Name;
use drydock_run::dry_run::DryOptions;
use drydock_run::saved::Saved;
use drydock_run::state::{Given, Reviewed};
use serde_json::Value;

use crate::args::{Binding, PlanArgs, RunOptions, Unfinished};
use crate::load::{Loaded, given};
use crate::pages::Page;
use crate::session::{Above, At, Refusal, Session, as_shown, changed_files, differs, read, too_old};

use super::plan_of::{loaded, loaded_with, steps_named, unreadable};
use super::told::told;
use super::{abandon, resume};

pub(crate) fn run(session: &Session, args: &PlanArgs, options: &RunOptions) -> Result<Exit, Refusal> {
    let Some((loaded, plan)) = loaded(session, args, Demand::Run)? else { return Ok(Exit::Invalid) };
    let chosen = DryOptions {
        only: steps_named(&plan, "--only", &options.choice.only)?,
        skip: steps_named(&plan, "--skip", &options.choice.skip)?,
        ..DryOptions::default()
    };
    let forced_past = codes(&options.force_past)?;
    let session = &session.confirmed(&options.confirm).forcing(&forced_past).drilling(plan.drill);
    let above = Above::outermost(&loaded.path);
    session.guard_drill(&loaded, &plan, &chosen, &above)?;
    session.confirm(&loaded, &plan, &chosen, &above)?;
    if !options.no_preflight && unfinished_run(session, &plan)?.is_none() {
        session.look_ahead(&loaded, &plan, &chosen, &above)?;
    }
    let wanted = Wanted { loaded: &loaded, plan: &plan, chosen: &chosen, above: &above, saved: None };
    match begun(session, &wanted, options)? {
        Begun::Ended(exit) => Ok(exit),
        Begun::Anew => run(session, args, options),
    }
}

/// Do what a saved dry run shows, and nothing else.
pub(crate) fn run_saved(session: &Session, file: &Path, options: &RunOptions) -> Result<Exit, Refusal> {
    let was = read(file)?;
    let refused = |code: &str, why: &str| {
        Refusal::new(Exit::CannotSucceed, format!("{} cannot be run: {why} [{code}]", file.display()))
            .help("make the dry run anew with `--probe --out`, and review that")
    };
    let Some(saved) = was.saved.as_deref().filter(|saved| saved.probed) else {
        return Err(refused(
            "saved.unprobed",
            "it was saved without --probe, so that nobody knows of which servers it is",
        ));
    };
    if let Some(why) = too_old(saved, (session.outside.clock)(), options.max_age) {
        return Err(refused("saved.old", &why));
    }
    let binding = Binding {
        env: saved.environment.as_ref().map(|environment| environment.file.clone()),
        drill: saved.drill,
        ..Binding::default()
    };
    let args = PlanArgs { plan: saved.plan_file.clone(), binding };
    let params = Some(("the saved dry run".to_owned(), Value::Object(saved.params.clone()).to_string()));
    let given = Given { file: params, ..given(&args.binding, &session.outside).map_err(unreadable)? };
    let Some((loaded, plan)) = loaded_with(session, &args, given, Demand::Run)? else {
        return Ok(Exit::Invalid);
    };
    if plan.digest != was.digest {
        return Err(differs(file, &changed_files(saved, &loaded)));
    }
    let reviewed = Reviewed {
        id: saved.id.clone(),
        at_ms: saved.at_ms,
        by: saved.by.clone(),
        steps: saved.steps.clone(),
    };
    let session = &session
        .confirmed(&options.confirm)
        .forcing(&codes(&options.force_past)?)
        .drilling(saved.drill)
        .reviewing(Some(Arc::new(reviewed)));
    let chosen = DryOptions { only: saved.only.clone(), skip: saved.skip.clone(), ..DryOptions::default() };
    let above = Above::outermost(&loaded.path);
    session.guard_drill(&loaded, &plan, &chosen, &above)?;
    session.confirm(&loaded, &plan, &chosen, &above)?;
    let now = session.asked_ahead(&loaded, &plan, &chosen, &above)?;
    as_shown(file, &was, &now)?;
    session.judged(&now)?;
    let wanted = Wanted { loaded: &loaded, plan: &plan, chosen: &chosen, above: &above, saved: Some(saved) };
    match begun(session, &wanted, options)? {
        Begun::Ended(exit) => Ok(exit),
        Begun::Anew => run_saved(session, file, options),
    }
}

/// A run that may begin.
struct Wanted<'w> {
    loaded: &'w Loaded,
    plan: &'w Arc<Plan>,
    chosen: &'w DryOptions,
    above: &'w Above,
    saved: Option<&'w Saved>,
}

/// What came of beginning it.
enum Begun {
    /// A run ended so: this one, or the one that was in its way.
    Ended(Exit),
    /// What was in its way is closed, and everything is asked anew.
    Anew,
}

fn begun(session: &Session, wanted: &Wanted<'_>, options: &RunOptions) -> Result<Begun, Refusal> {
    let Wanted { loaded, plan, chosen, above, saved } = *wanted;
    let held = session.state.hold()?;
    if let Some((id, status)) = unfinished_run(session, plan)? {
        drop(held);
        return match choice(options, plan) {
            // What was reviewed is a run of its own.
            OnUnfinished::Resume if saved.is_none() => {
                let wishes = resume::Wishes { confirm: options.confirm.clone(), ..resume::Wishes::default() };
                resume::resume(session, Some(id), &wishes).map(Begun::Ended)
            }
            OnUnfinished::Abandon => {
                abandon::abandon(session, Some(id))?;
                Ok(Begun::Anew)
            }
            OnUnfinished::Resume | OnUnfinished::Refuse => Err(in_the_way(&id, status)),
        };
    }
    let id = options.run_id.clone().unwrap_or_else(|| session.outside.new_run_id());
    if let Some(saved) = saved {
        session.claim(saved, &id, loaded, plan, above)?;
    }
    let (folder, _lock, journal) = session.create(&id, loaded)?;
    drop(held);
    let mut machine = Machine::new(plan.clone());
    let begin = Begin { only: chosen.only.clone(), skip: chosen.skip.clone(), ..Begin::default() };
    let (plan, environment) = (loaded.path.clone(), loaded.environment.clone());
    let at = At {
        id: id.clone(),
        folder,
        plan,
        environment,
        nested: false,
        cancelled: None,
        above: above.clone(),
    };
    let exit = session.sit(&mut machine, journal, &at, begin)?;
    Ok(Begun::Ended(told(session, &machine, &id, exit)))
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
