//! Who the servers are that a plan's targets stand for: [`Servers`].

use std::sync::Arc;

use drydock_plan::name::Name;
use tokio::task::JoinHandle;

use crate::probing::Probing;
use crate::services::Services;
use crate::shown::Server;

/// Targets that are being asked who they are.
pub(crate) struct Servers(Vec<(Name, JoinHandle<Server>)>);

impl Servers {
    /// Begins to ask every target of a plan, beside all else that is asked.
    pub(crate) fn begin(services: &Arc<Services>, probing: &Probing) -> Self {
        let bound = services.plan.targets.iter().filter(|(_, target)| target.settings.is_some());
        let ask = |name: &Name| tokio::spawn(server(services.clone(), probing.clone(), name.clone()));
        Self(bound.map(|(name, _)| (name.clone(), ask(name))).collect())
    }

    /// What they said, in the plan's order; then the targets that only plans inside it have.
    pub(crate) async fn answered(self, inner: Vec<Server>) -> Vec<Server> {
        let mut all: Vec<Server> = Vec::new();
        for (target, asked) in self.0 {
            let silent = |error: tokio::task::JoinError| Server {
                target,
                identity: None,
                silent: Some(format!("it could not be asked to its end: {error}")),
            };
            all.push(asked.await.unwrap_or_else(silent));
        }
        for one in inner {
            if !all.iter().any(|other| other.target == one.target) {
                all.push(one);
            }
        }
        all
    }
}

async fn server(services: Arc<Services>, probing: Probing, target: Name) -> Server {
    let asked = async { services.connect(target.as_str(), "dry-run").await?.identity().await };
    match probing.in_time(Some(&target), asked).await {
        Ok(identity) => Server { target, identity: Some(identity), silent: None },
        Err(error) => Server { target, identity: None, silent: Some(services.redact_text(&error.message)) },
    }
}
