//! Who the servers are that a plan's targets stand for: [`servers`].

use std::sync::Arc;
use std::time::Duration;

use drydock_plan::name::Name;
use drydock_step::StepError;
use futures_util::future::join_all;

use crate::services::Services;
use crate::shown::Server;

/// How long a server may take to say who it is.
const PATIENCE: Duration = Duration::from_secs(15);

/// Each target's server as it names itself, in the plan's order.
pub(crate) async fn servers(services: &Arc<Services>) -> Vec<Server> {
    let bound = services.plan.targets.iter().filter(|(_, target)| target.settings.is_some());
    join_all(bound.map(|(name, _)| server(services, name))).await
}

async fn server(services: &Services, name: &Name) -> Server {
    let asked = async { services.connect(name.as_str(), "dry-run").await?.identity().await };
    let answer = tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| {
        Err(StepError::new("connect", format!("it did not say who it is within {} s", PATIENCE.as_secs())))
    });
    let target = name.clone();
    match answer {
        Ok(identity) => Server { target, identity: Some(identity), silent: None },
        Err(error) => Server { target, identity: None, silent: Some(services.redact_text(&error.message)) },
    }
}
