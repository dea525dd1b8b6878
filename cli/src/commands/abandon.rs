//! `drydock abandon`: close a dead run. The servers are asked what its attempts did, `finally` runs, and it ends.

use std::sync::Arc;

use drydock_machine::{Exit, RunStatus, Sitting as Begin};

use crate::session::{Above, At, Refusal, Session};

use super::told::told;

pub(crate) fn abandon(session: &Session, run: Option<String>) -> Result<Exit, Refusal> {
    let id = session.run_id(run)?;
    let (folder, _lock) = session.state.lock_run(&id)?;
    let start = session.state.start(&id)?;
    let reviewed = start.reviewed.clone().map(Arc::new);
    let session = &session.confirmed(&start.confirmed).forcing(&start.forced_past).reviewing(reviewed);
    let plan = Arc::new(session.plan_of_sources(&id, &start)?);
    let mut folded = session.fold(&id, plan)?;
    folded.refuse_unknown(&id)?;
    if matches!(folded.machine.status(), RunStatus::Succeeded | RunStatus::Abandoned) {
        let exit = folded.machine.exit().unwrap_or(Exit::Done);
        return Ok(told(session, &folded.machine, &id, exit));
    }
    let journal = session.reopen(&folder, &folded)?;
    let at = At {
        above: Above::outermost(&start.plan),
        id: id.clone(),
        folder,
        plan: start.plan,
        environment: start.environment,
        nested: false,
        cancelled: None,
    };
    let exit = session.sit(&mut folded.machine, journal, &at, Begin { abandon: true, ..Begin::default() })?;
    Ok(told(session, &folded.machine, &id, exit))
}
