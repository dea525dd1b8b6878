//! `drydock rehearse`: the whole Octopus story on practice servers, or a plan of one's own, with every process a real one.

mod data;
mod folder;
mod kill;
mod servers;
mod process;
mod told;
mod story;
mod own;

use drydock_machine::Exit;

use crate::args::RehearseArgs;
use crate::session::{Refusal, Session};

/// Rehearse.
pub(crate) fn rehearse(session: &Session, args: &RehearseArgs) -> Result<Exit, Refusal> {
    let kill = args
        .kill_at
        .as_deref()
        .map(kill::Kill::parse)
        .transpose()
        .map_err(|message| Refusal::new(Exit::Usage, message))?;
    match &args.plan {
        None => story::story(session, args, kill),
        Some(plan) => own::own(session, args, plan, kill),
    }
}
