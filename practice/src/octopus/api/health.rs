//! Whether Octopus works: the fence, the database, and a collection for each agent.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::super::error::OctopusError;
use super::super::vectors::collection;
use super::answer::{ApiError, Body};
use super::maintenance::{Asked, Standing};
use super::state::Octopus;

/// `GET /health`: 200 when all is well, else 503 with every reason.
pub(super) async fn health(State(octopus): State<Arc<Octopus>>) -> Response {
    let mut why = Vec::new();
    if octopus.fence.is_up() {
        why.push("Octopus is in maintenance".to_owned());
    }
    match missing_collections(&octopus).await {
        Ok(missing) => why.extend(missing.iter().map(|name| format!("the collection `{name}` is not there"))),
        Err(error) => why.push(error.to_string()),
    }
    if why.is_empty() {
        return axum::Json(json!({ "status": "healthy" })).into_response();
    }
    let body = json!({ "status": "unavailable", "why": why });
    (StatusCode::SERVICE_UNAVAILABLE, axum::Json(body)).into_response()
}

async fn missing_collections(octopus: &Octopus) -> Result<Vec<String>, OctopusError> {
    let rows = octopus.sql.read("SELECT [Id] FROM [Octopus_Agents] ORDER BY [Id]", &[]).await?;
    let there: BTreeSet<String> = octopus.vectors.collections().await?.into_iter().collect();
    let mut missing = Vec::new();
    for row in rows {
        let name = collection(row.try_get::<&str, _>(0)?.unwrap_or_default());
        if !there.contains(&name) {
            missing.push(name);
        }
    }
    Ok(missing)
}

/// `GET /maintenance`.
pub(super) async fn maintenance(State(octopus): State<Arc<Octopus>>) -> axum::Json<Standing> {
    axum::Json(octopus.fence.standing())
}

/// `POST /maintenance`.
pub(super) async fn set_maintenance(
    State(octopus): State<Arc<Octopus>>,
    Body(asked): Body<Asked>,
) -> Result<axum::Json<Standing>, ApiError> {
    Ok(axum::Json(octopus.fence.set(&asked)))
}

/// `POST /hook`: somebody is told something.
pub(super) async fn hook(State(octopus): State<Arc<Octopus>>, Body(sent): Body<Value>) -> StatusCode {
    octopus.keep_hook(sent);
    StatusCode::NO_CONTENT
}

/// `GET /hook`: what was told, in order.
pub(super) async fn hooks(State(octopus): State<Arc<Octopus>>) -> axum::Json<Vec<Value>> {
    axum::Json(octopus.hooks())
}
