//! A destructive run in a protected environment wants the server's own name: [`Session::confirm`].

use std::collections::BTreeSet;
use std::sync::Arc;

use drydock_machine::Exit;
use drydock_plan::model::Plan;
use drydock_run::dry_run::{DryOptions, DryRun, dry_run};
use drydock_run::services::Services;
use drydock_run::world::RunSite;

use crate::load::Loaded;

use super::{Above, Refusal, Session, folder_of, runtime};

impl Session {
    /// The engine's services for a plan that is only looked at.
    pub(crate) fn looking(
        &self,
        loaded: &Loaded,
        plan: Arc<Plan>,
        above: &Above,
    ) -> Result<Arc<Services>, Refusal> {
        let site = RunSite {
            run: "dry-run".into(),
            folder: self.state.root().to_owned(),
            run_started_ms: (self.outside.clock)(),
            sitting: 1,
            by: self.outside.by().into(),
            plan_folder: Arc::new(folder_of(&loaded.path)),
            environment_folder: folder_of(loaded.environment.as_deref().unwrap_or(&loaded.path)),
            bound: self.bound(),
        };
        let world = Arc::new(self.world(loaded.environment.as_deref(), above)?);
        Ok(Services::new(world, plan, site))
    }

    /// Nothing, where the environment is not protected, nothing is destroyed, or every server that would lose something was named. What
    /// the plans destroy that it runs, it destroys; a plan that only the run knows may destroy on every server of the environment.
    pub(crate) fn confirm(
        &self,
        loaded: &Loaded,
        plan: &Arc<Plan>,
        chosen: &DryOptions,
        above: &Above,
    ) -> Result<(), Refusal> {
        let Some(environment) = plan.environment.as_ref().filter(|environment| environment.protected) else {
            return Ok(());
        };
        let services = self.looking(loaded, plan.clone(), above)?;
        // An inner plan may work on targets that this one does not name.
        let bound = Plan { targets: loaded.checked.bound.clone(), ..Plan::clone(plan) };
        let servers = self.looking(loaded, Arc::new(bound), above)?;
        let runtime = runtime()?;
        let asked = runtime.block_on(async {
            let shown = dry_run(&services, chosen).await;
            let unnamed = self.unnamed(&shown, loaded, &servers).await?;
            Ok::<_, Refusal>((shown, unnamed))
        });
        runtime.shutdown_background();
        let (shown, unnamed) = asked?;
        if unnamed.is_empty() {
            return Ok(());
        }
        let flags: Vec<String> = unnamed.iter().map(|name| format!("--confirm {name}")).collect();
        let help = format!("if that is meant, name the servers: {}", flags.join(" "));
        let refusal = Refusal::new(Exit::Locked, words(&environment.name, &shown));
        Err(refusal.help(match shown.unseen.is_empty() {
            true => help,
            false => format!("write the plan's path so that it is known before the run; {help}"),
        }))
    }

    /// The names of the servers that may lose something and were not named.
    async fn unnamed(
        &self,
        shown: &DryRun,
        loaded: &Loaded,
        servers: &Services,
    ) -> Result<BTreeSet<String>, Refusal> {
        let targets: BTreeSet<&str> = if shown.unseen.is_empty() {
            shown.destroys.iter().filter_map(|destroyed| destroyed.target.as_deref()).collect()
        } else {
            loaded.checked.bound.keys().map(|name| name.as_str()).collect()
        };
        let mut unnamed = BTreeSet::new();
        for target in targets {
            let identity = match servers.connect(target, "confirm").await {
                Ok(connection) => connection.identity().await,
                Err(error) => Err(error),
            };
            let name = identity.map(|identity| identity.name).map_err(|error| {
                Refusal::new(Exit::CannotSucceed, format!("{target} cannot be asked its name: {error}"))
            })?;
            if !self.confirmed.iter().any(|said| said.eq_ignore_ascii_case(&name)) {
                unnamed.insert(name);
            }
        }
        Ok(unnamed)
    }
}

/// What would be lost, and why it is asked about.
fn words(environment: &str, shown: &DryRun) -> String {
    let lost: Vec<String> = shown
        .destroys
        .iter()
        .map(|destroyed| format!("{} (by {})", destroyed.words(), destroyed.step))
        .collect();
    let unseen: Vec<&str> = shown.unseen.iter().map(|unseen| unseen.step.as_str()).collect();
    let mut reasons = Vec::new();
    if !lost.is_empty() {
        reasons.push(format!("this run would destroy {}", lost.join(", ")));
    }
    if !unseen.is_empty() {
        reasons.push(format!(
            "which plan {} runs is known only during the run: it could destroy something on every server of the environment",
            unseen.join(", ")
        ));
    }
    format!("{environment} is a protected environment, and {}", reasons.join(", and "))
}
