//! `drydock dry-run --read`: a dry run that was saved, and what of it does not hold any more. Nobody is asked.

use std::path::Path;

use drydock_machine::Exit;
use drydock_plan::digest::digest_of;
use drydock_plan::duration::Millis;
use drydock_plan::name::Name;
use drydock_run::saved::Saved;

use crate::session::{Refusal, Session, clock_of, read, too_old};

use super::dry_run::shown_again;
use super::print;

pub(crate) fn read_saved(session: &Session, file: &Path, max_age: Millis) -> Result<Exit, Refusal> {
    let shown = read(file)?;
    match &shown.saved {
        Some(saved) => {
            let environment = saved
                .environment
                .as_ref()
                .map_or(String::new(), |environment| format!(" for {}", environment.name));
            eprintln!("note: saved by {} at {}{environment}", saved.by, clock_of(saved.at_ms));
            let now = (session.outside.clock)();
            for line in too_old(saved, now, max_age).into_iter().chain(not_as_saved(session, saved)) {
                eprintln!("warning: {line}");
            }
        }
        None => eprintln!("warning: it was saved by a Drydock whose dry runs could not be run"),
    }
    let plan = shown.plan.as_ref().map_or("a plan", Name::as_str);
    print(&shown_again(session, plan, &shown)?);
    Ok(Exit::Done)
}

/// Why it cannot be run any more, as far as the files beside it tell.
fn not_as_saved(session: &Session, saved: &Saved) -> Vec<String> {
    let unprobed = (!saved.probed).then(|| "it was saved without --probe, and cannot be run".to_owned());
    let changed = saved.files.iter().enumerate().filter_map(|(at, file)| {
        let folder = if at < own(saved) { None } else { saved.plan_file.parent() };
        let path = session.outside.folder().join(folder.unwrap_or(Path::new(""))).join(&file.name);
        match std::fs::read(path) {
            Ok(bytes) if digest_of([(file.name.as_str(), bytes.as_slice())]) == file.digest => None,
            Ok(_) => Some(format!("{} has changed since", file.name)),
            Err(error) => Some(format!("{} cannot be read: {error}", file.name)),
        }
    });
    unprobed.into_iter().chain(changed).collect()
}

/// How many of its files are the plan and the environment, whose names are not relative to the plan's folder.
fn own(saved: &Saved) -> usize {
    1 + usize::from(saved.environment.is_some())
}
