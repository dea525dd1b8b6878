//! `drydock approve`: somebody's answer to a waiting step, kept in the run's journal.

use std::sync::Arc;

use drydock_machine::{Exit, Input, Moment};
use drydock_run::sitting::record;

use crate::formats::Format;
use crate::session::{Refusal, Session};

use super::plan_of::selected;
use super::print;

pub(crate) fn approve(
    session: &Session,
    id: &str,
    step: &str,
    by: String,
    reason: String,
) -> Result<Exit, Refusal> {
    if by.trim().is_empty() || reason.trim().is_empty() {
        return Err(Refusal::new(Exit::Usage, "an approval needs a name and a reason")
            .help("--as NAME --reason TEXT"));
    }
    let (folder, _lock) = session.state.lock_run(id)?;
    let start = session.state.start(id)?;
    let plan = Arc::new(session.plan_of_sources(id, &start)?);
    let (name, key) = selected(&plan, "approve", step)?;
    let mut folded = session.fold(id, plan)?;
    folded.refuse_unknown(id)?;
    let mut journal = session.reopen(&folder, &folded)?;
    let at = Moment((session.outside.clock)());
    let input = Input::Approved { step: name, key, by: by.clone(), reason };
    let events = record(&mut folded.machine, &mut journal, at, input)
        .map_err(|error| Refusal::new(Exit::Journal, error.to_string()))?;
    if events.is_empty() {
        return Err(Refusal::new(Exit::Locked, format!("{step} of run {id} does not wait for an approval"))
            .help(format!("see what it does: drydock runs show {id}")));
    }
    if session.common.format == Format::Json {
        print(&format!("{}\n", serde_json::json!({ "run": id, "step": step, "by": by })));
    } else {
        print(&format!("{step} is approved by {by}\ngo on with: drydock resume {id}\n"));
    }
    Ok(Exit::Done)
}
