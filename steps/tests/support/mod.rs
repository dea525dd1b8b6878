//! What the tests of kinds share: servers in this process, and connections to them.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::sync::Arc;

use axum::Router;
use drydock_step::test_host::TestHost;
use drydock_step::{Connection, Registry, Settings, StepError};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Serves until the test ends; the server's URL.
pub(crate) async fn served(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    format!("http://{address}")
}

/// A connection to an HTTP target with these settings.
pub(crate) async fn connected(settings: Value) -> Result<Arc<dyn Connection>, StepError> {
    let mut registry = Registry::new();
    drydock_steps::register(&mut registry);
    let values = settings.as_object().unwrap().clone();
    let settings = Settings { values, folder: "/".into(), attempt: "r1/step[ä]/1".into() };
    registry.target_named("http").unwrap().connect(settings).await
}

/// A host whose plan lies in `/plans`, with the HTTP server of this URL as the target `t`.
pub(crate) async fn host_of(url: &str) -> TestHost {
    TestHost::new("/plans").target("t", connected(json!({ "url": url })).await.unwrap())
}
