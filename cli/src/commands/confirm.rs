//! A destructive run in a protected environment wants the server's own name: [`confirmed`].

use std::collections::BTreeSet;
use std::sync::Arc;

use drydock_machine::Exit;
use drydock_plan::model::Plan;
use drydock_run::dry_run::{DryOptions, dry_run};
use drydock_step::StepError;

use crate::load::Loaded;
use crate::session::{Refusal, Session, runtime};

use super::dry_run::services;

/// Nothing, where nothing is destroyed, the environment is not protected, or every server that would lose something was named.
pub(super) fn confirmed(
    session: &Session,
    loaded: &Loaded,
    plan: &Arc<Plan>,
    chosen: DryOptions,
    named: &[String],
) -> Result<(), Refusal> {
    let Some(environment) = plan.environment.as_ref().filter(|environment| environment.protected) else {
        return Ok(());
    };
    let services = services(session, loaded, plan.clone())?;
    let runtime = runtime()?;
    let shown = runtime.block_on(dry_run(&services, &chosen));
    let targets: BTreeSet<&str> =
        shown.destroys.iter().filter_map(|destroyed| destroyed.target.as_deref()).collect();
    let mut open = Vec::new();
    for target in targets {
        let name = runtime.block_on(async { services.connect(target, "confirm").await?.identity().await });
        let name = name
            .map_err(|error: StepError| {
                Refusal::new(Exit::CannotSucceed, format!("{target} cannot be asked its name: {error}"))
            })?
            .name;
        if !named.iter().any(|said| said.eq_ignore_ascii_case(&name)) {
            open.push((target.to_owned(), name));
        }
    }
    runtime.shutdown_background();
    if open.is_empty() {
        return Ok(());
    }
    let lost: Vec<String> = shown
        .destroys
        .iter()
        .map(|destroyed| format!("{} (by {})", destroyed.words(), destroyed.step))
        .collect();
    let flags: Vec<String> = open.iter().map(|(_, name)| format!("--confirm {name}")).collect();
    let message = format!(
        "{} is a protected environment, and this run would destroy {}",
        environment.name,
        lost.join(", ")
    );
    Err(Refusal::new(Exit::Locked, message)
        .help(format!("if that is meant, name the servers: {}", flags.join(" "))))
}
