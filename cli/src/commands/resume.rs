//! `drydock resume`: go on with a run where it was.

use std::sync::Arc;

use drydock_machine::{Assume, Exit, RunEvent, RunStatus, Sitting as Begin, TooLate};
use drydock_plan::check::Demand;
use drydock_plan::model::Plan;
use drydock_plan::show::Look;
use drydock_run::dry_run::DryOptions;
use drydock_run::state::Start;

use crate::findings::written;
use crate::load::{Loaded, is_as_kept, load};
use crate::session::{Above, At, Folded, Refusal, Session, file_difference, registry};

use super::plan_of::selected;
use super::told::told;
use super::{colored, print};

/// What `resume` is asked for beside going on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wishes {
    pub(crate) assume: Vec<String>,
    pub(crate) redo: Vec<String>,
    pub(crate) accept_changes: bool,
    pub(crate) confirm: Vec<String>,
}

pub(crate) fn resume(session: &Session, run: Option<String>, wishes: &Wishes) -> Result<Exit, Refusal> {
    let id = session.run_id(run)?;
    let (folder, _lock) = session.state.lock_run(&id)?;
    let start = session.state.start(&id)?;
    let confirmed = start.confirmed.iter().chain(&wishes.confirm);
    let reviewed = start.reviewed.clone().map(Arc::new);
    let session = &session
        .confirmed(confirmed)
        .drilling(start.given.drill)
        .reviewing(reviewed)
        .forcing(&start.forced_past);
    let kept = Arc::new(session.plan_of_sources(&id, &start)?);
    let folded = session.fold(&id, kept.clone())?;
    folded.refuse_unknown(&id)?;
    let status = folded.machine.status();
    if matches!(status, RunStatus::Succeeded | RunStatus::Abandoned) && wishes.redo.is_empty() {
        let exit = folded.machine.exit().unwrap_or(Exit::Done);
        return Ok(told(session, &folded.machine, &id, exit));
    }
    let now = as_it_is_now(session, &id, &start, wishes.accept_changes)?;
    let plan = match &now {
        Now::Same => &kept,
        Now::Invalid => return Ok(Exit::Invalid),
        Now::Changed(plan, _) => plan,
    };
    let begin = Begin { redo: redo(plan, wishes)?, assume: assume(plan, wishes)?, ..Begin::default() };
    let session = &match &now {
        Now::Changed(..) if session.reviewed.is_some() => {
            eprintln!(
                "note: what has changed was not reviewed; the run is bound to its saved dry run no longer"
            );
            session.reviewing(None)
        }
        _ => session.clone(),
    };
    let (mut machine, begin) = match &now {
        Now::Same | Now::Invalid => (folded.machine.clone(), begin),
        Now::Changed(plan, loaded) => {
            let changed = session.fold(&id, plan.clone())?.machine;
            allowed(&id, &folded.machine.too_late(&changed, &begin))?;
            let above = Above::outermost(&start.plan);
            session.guard_drill(loaded, plan, &chosen(&folded), &above)?;
            session.confirm(loaded, plan, &chosen(&folded), &above)?;
            session.accept(&id, plan, loaded)?;
            (changed, Begin { accepted: Some(plan.digest.clone()), ..begin })
        }
    };
    let journal = session.reopen(&folder, &folded)?;
    let at = At {
        above: Above::outermost(&start.plan),
        id: id.clone(),
        folder,
        plan: start.plan.clone(),
        environment: start.environment.clone(),
        nested: false,
        cancelled: None,
    };
    let exit = session.sit(&mut machine, journal, &at, begin)?;
    Ok(told(session, &machine, &id, exit))
}

/// The plan's files, compared with what the run was started with.
enum Now {
    Same,
    Invalid,
    Changed(Arc<Plan>, Box<Loaded>),
}

fn as_it_is_now(session: &Session, id: &str, start: &Start, accept: bool) -> Result<Now, Refusal> {
    let kept = session.state.sources(id)?;
    if is_as_kept(start, &kept) {
        return Ok(Now::Same);
    }
    let environment = start.environment.as_deref();
    let loaded = load(
        &start.plan,
        environment,
        start.given.clone(),
        Demand::Run,
        registry().catalog(),
        &session.outside,
    );
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            return Err(changed(id, &format!("{error}; the copy of the run lies in its folder `sources`\n")));
        }
    };
    let diff = difference(&kept, &loaded);
    if diff.is_empty() {
        return Ok(Now::Same);
    }
    if !accept {
        return Err(changed(id, &diff));
    }
    match loaded.plan().cloned() {
        Some(plan) => Ok(Now::Changed(Arc::new(plan), Box::new(loaded))),
        None => {
            print(&written(
                [&loaded.checked],
                session.common.format,
                Look { color: colored(session), ..Look::default() },
            ));
            Ok(Now::Invalid)
        }
    }
}

fn changed(id: &str, diff: &str) -> Refusal {
    Refusal::new(Exit::Locked, format!("what run {id} was started with has changed since:\n{diff}"))
        .help("undo the change, or allow it for every step that has not succeeded with --accept-changes")
}

/// The steps that the run was started with.
fn chosen(folded: &Folded) -> DryOptions {
    match folded.journaled.events.first() {
        Some((_, RunEvent::RunStarted { only, skip, .. })) => {
            DryOptions { only: only.clone(), skip: skip.clone(), ..DryOptions::default() }
        }
        _ => DryOptions::default(),
    }
}

/// Refused, where a change comes too late for what was done already.
fn allowed(id: &str, too_late: &[TooLate]) -> Result<(), Refusal> {
    if too_late.is_empty() {
        return Ok(());
    }
    let told: Vec<String> = too_late.iter().map(|late| format!("\n  {late}")).collect();
    let refusal =
        Refusal::new(Exit::Locked, format!("run {id} cannot go on with these changes:{}", told.concat()));
    let mut steps: Vec<&str> =
        too_late.iter().filter(|late| late.can_be_redone()).map(|late| late.step.as_str()).collect();
    steps.dedup();
    let redo = if steps.is_empty() {
        String::new()
    } else {
        format!(", or run again what was done, with all that needs it: --redo {}", steps.join(","))
    };
    Err(refusal.help(format!("undo them{redo}")))
}

/// What differs between the sources of a run and the files as they are now, line by line.
fn difference(kept: &[(String, Vec<u8>)], now: &Loaded) -> String {
    let now = now.sources();
    let mut text = String::new();
    for (at, (name, old)) in kept.iter().enumerate() {
        let new = now.get(at).map(|(_, bytes)| bytes.as_slice()).unwrap_or_default();
        if old.as_slice() != new {
            text.push_str(&file_difference(name, "as the run has it", old, new));
        }
    }
    for (name, _) in now.iter().skip(kept.len()) {
        text.push_str(&format!("+++ {name} (new)\n"));
    }
    text
}

fn redo(plan: &Plan, wishes: &Wishes) -> Result<Vec<drydock_machine::machine::Selected>, Refusal> {
    wishes.redo.iter().map(|text| selected(plan, "--redo", text)).collect()
}

fn assume(
    plan: &Plan,
    wishes: &Wishes,
) -> Result<Vec<(drydock_machine::machine::Selected, Assume)>, Refusal> {
    let read = |text: &String| {
        let bad = || Refusal::new(Exit::Usage, format!("--assume: `{text}` is not STEP=redo or STEP=done"));
        let (step, answer) = text.rsplit_once('=').ok_or_else(bad)?;
        let answer = match answer {
            "redo" => Assume::Redo,
            "done" => Assume::Done,
            _ => return Err(bad()),
        };
        Ok((selected(plan, "--assume", step)?, answer))
    };
    wishes.assume.iter().map(read).collect()
}
