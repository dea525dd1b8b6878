//! How a sitting ended, and how to go on: [`told`].

use drydock_machine::{Exit, Machine};

use crate::formats::Format;
use crate::session::Session;

use super::print;

/// Say how a sitting ended, and how to go on.
pub(crate) fn told(session: &Session, machine: &Machine, id: &str, exit: Exit) -> Exit {
    let text = session.common.format != Format::Json;
    if text {
        match machine.summary() {
            Some(summary) if !session.common.quiet || exit != Exit::Done => eprintln!("{summary}"),
            _ => {}
        }
        if !machine.outputs().is_empty() && exit == Exit::Done {
            print(&format!("{:#}\n", serde_json::json!(machine.outputs())));
        }
    }
    if (20..=24).contains(&exit.code()) {
        for (step, shown) in machine.report().steps.iter().filter(|(_, shown)| shown.status == "waiting") {
            let why = shown.why.as_deref().unwrap_or_default();
            if shown.uses == "flow.approve" {
                eprintln!(
                    "{step} waits for approval: {why}\n  drydock approve {id} {step} --as NAME --reason TEXT"
                );
            } else {
                eprintln!(
                    "nobody knows what {step} did: {why}\n  drydock resume {id} --assume {step}=redo|done"
                );
            }
        }
        eprintln!("go on with: drydock resume {id}");
    }
    exit
}
