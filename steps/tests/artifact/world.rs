//! Connections to stores, by the settings that an environment file would give.

use std::sync::Arc;

use drydock_step::{Connection, Registry, Settings, StepError};
use serde_json::{Map, Value};

/// A connection to an artifact store.
pub(crate) async fn connected(values: Map<String, Value>) -> Result<Arc<dyn Connection>, StepError> {
    let mut registry = Registry::new();
    drydock_steps::register(&mut registry);
    let settings = Settings { values, folder: "/".into(), attempt: "r1/step/1".into() };
    registry.target_named("artifacts").unwrap().connect(settings).await
}

/// The same settings with some others.
pub(crate) fn with(mut values: Map<String, Value>, more: Value) -> Map<String, Value> {
    values.extend(more.as_object().unwrap().clone());
    values
}
