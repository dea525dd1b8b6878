//! The endpoints of collections and aliases.

use std::sync::Arc;

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::Access;
use super::config::CreateCollection;
use super::deployment::Health;
use super::extract::{Answer, Body, Done, Query, WriteQuery};
use super::node::Node;
use super::refusal::Refusal;
use super::store::{State as Store, View};

/// The longest name of a collection.
const MAX_NAME: usize = 255;

/// `GET /collections`.
pub(super) async fn list(State(node): State<Arc<Node>>, access: Access) -> Answer<Value> {
    let state = node.store.read();
    let seen = state.collections.keys().filter(|name| access.sees(name));
    let names: Vec<Value> = seen.map(|name| json!({ "name": name })).collect();
    Ok(Done(json!({ "collections": names })))
}

/// `PUT /collections/{name}`.
pub(super) async fn create(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    Query(_): Query<WriteQuery>,
    Body(asked): Body<CreateCollection>,
) -> Answer<bool> {
    check_name(&name)?;
    let nodes = node.store.peers.len();
    let config = asked.config(u32::try_from(nodes).unwrap_or(1))?;
    node.store.write().create(&name, config, &node.store.peers)?;
    Ok(Done(true))
}

/// `DELETE /collections/{name}`; false when there was none.
pub(super) async fn delete(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    Query(_): Query<WriteQuery>,
) -> Answer<bool> {
    Ok(Done(node.store.write().delete(&name)))
}

/// `GET /collections/{name}/exists`.
pub(super) async fn exists(State(node): State<Arc<Node>>, Path(name): Path<String>) -> Answer<Value> {
    Ok(Done(json!({ "exists": node.store.read().collection(&name).is_ok() })))
}

/// `GET /collections/{name}`.
pub(super) async fn info(State(node): State<Arc<Node>>, Path(name): Path<String>) -> Answer<Value> {
    let state = node.store.read();
    let collection = state.collection(&name)?;
    let view = collection.view(node.index, None)?;
    let running = node.activity().get(state.resolve(&name)).is_some_and(|now| now.snapshots_running > 0);
    let (status, optimizer) = match node.health.get(state.resolve(&name)) {
        Some(Health::FailedOptimizer(error)) => ("red", json!({ "error": error })),
        Some(Health::FailedOperation) => ("red", json!("ok")),
        Some(Health::Optimising) => ("yellow", json!("ok")),
        _ if running => ("yellow", json!("ok")),
        Some(Health::Unoptimised) => ("grey", json!("ok")),
        None => ("green", json!("ok")),
    };
    Ok(Done(json!({
        "status": status,
        "optimizer_status": optimizer,
        "indexed_vectors_count": 0,
        "points_count": view.points().count(),
        "segments_count": 2 * collection.shards.len(),
        "config": collection.config,
        "payload_schema": schema(&view),
        "update_queue": { "length": collection.waiting() },
    })))
}

fn schema(view: &View<'_>) -> Value {
    let indexes = view.collection.indexes.iter().map(|(field, kind)| {
        let points = view.points().filter(|(_, point)| point.payload.contains_key(field)).count();
        (field.clone(), json!({ "data_type": kind, "points": points }))
    });
    Value::Object(indexes.collect())
}

/// The body of `PUT /collections/{name}/index`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateIndex {
    field_name: String,
    field_schema: FieldSchema,
}

/// The schemas by name; those with parameters are not done.
#[derive(Debug, Clone, Copy, Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
enum FieldSchema {
    Keyword,
    Integer,
    Float,
    Geo,
    Text,
    Bool,
    Datetime,
    Uuid,
}

/// `PUT /collections/{name}/index`.
pub(super) async fn create_index(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    Query(query): Query<WriteQuery>,
    Body(asked): Body<CreateIndex>,
) -> Answer<Value> {
    let mut state = node.store.write();
    let collection = state.collection_mut(&name)?;
    collection.view(node.index, None)?;
    collection.indexes.insert(asked.field_name, json!(asked.field_schema));
    let operation = collection.count_operation();
    Ok(Done(updated(operation, query.wait)))
}

/// `DELETE /collections/{name}/index/{field}`.
pub(super) async fn delete_index(
    State(node): State<Arc<Node>>,
    Path((name, field)): Path<(String, String)>,
    Query(query): Query<WriteQuery>,
) -> Answer<Value> {
    let mut state = node.store.write();
    let collection = state.collection_mut(&name)?;
    collection.view(node.index, None)?;
    collection.indexes.shift_remove(&field);
    let operation = collection.count_operation();
    Ok(Done(updated(operation, query.wait)))
}

/// What an update answers.
pub(super) fn updated(operation: u64, wait: Option<bool>) -> Value {
    let status = if wait == Some(true) { "completed" } else { "acknowledged" };
    json!({ "operation_id": operation, "status": status })
}

/// `GET /aliases`.
pub(super) async fn aliases(State(node): State<Arc<Node>>, access: Access) -> Answer<Value> {
    Ok(Done(shown_aliases(&node.store.read(), &access, |_| true)))
}

/// `GET /collections/{name}/aliases`.
pub(super) async fn collection_aliases(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    access: Access,
) -> Answer<Value> {
    let state = node.store.read();
    state.collection(&name)?;
    let own = state.resolve(&name);
    Ok(Done(shown_aliases(&state, &access, |collection| collection == own)))
}

/// The aliases of these collections; both names must be seen.
fn shown_aliases(state: &Store, access: &Access, of: impl Fn(&str) -> bool) -> Value {
    let shown: Vec<Value> = state
        .aliases
        .iter()
        .filter(|(alias, collection)| of(collection) && access.sees(alias) && access.sees(collection))
        .map(|(alias, collection)| json!({ "alias_name": alias, "collection_name": collection }))
        .collect();
    json!({ "aliases": shown })
}

/// The body of `POST /collections/aliases`: all of it happens, or nothing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeAliases {
    actions: Vec<AliasAction>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
enum AliasAction {
    #[serde(rename = "create_alias")]
    Create { collection_name: String, alias_name: String },
    #[serde(rename = "delete_alias")]
    Delete { alias_name: String },
    #[serde(rename = "rename_alias")]
    Rename { old_alias_name: String, new_alias_name: String },
}

/// `POST /collections/aliases`.
pub(super) async fn change_aliases(
    State(node): State<Arc<Node>>,
    Query(_): Query<WriteQuery>,
    Body(asked): Body<ChangeAliases>,
) -> Answer<bool> {
    let mut state = node.store.write();
    let mut aliases = state.aliases.clone();
    for action in asked.actions {
        match action {
            AliasAction::Create { collection_name, alias_name } => {
                if !state.collections.contains_key(&collection_name) {
                    return Err(Refusal::no_collection(&collection_name));
                }
                check_alias(&state, &alias_name)?;
                aliases.insert(alias_name, collection_name);
            }
            AliasAction::Delete { alias_name } => {
                aliases.remove(&alias_name);
            }
            AliasAction::Rename { old_alias_name, new_alias_name } => {
                check_alias(&state, &new_alias_name)?;
                let Some(collection) = aliases.remove(&old_alias_name) else {
                    return Err(Refusal::NotFound(format!("Alias {old_alias_name} does not exists!")));
                };
                aliases.insert(new_alias_name, collection);
            }
        }
    }
    state.aliases = aliases;
    Ok(Done(true))
}

fn check_alias(state: &Store, alias: &str) -> Result<(), Refusal> {
    check_name(alias)?;
    if state.collections.contains_key(alias) {
        return Err(Refusal::Exists(format!("Collection `{alias}` already exists!")));
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let forbidden = ['<', '>', ':', '"', '/', '\\', '|', '?', '*', '\0', '\u{1F}'];
    if name.is_empty() || name.len() > MAX_NAME || name.contains(forbidden) {
        return Err(Refusal::Invalid(format!(
            "path parameters: [name: {name:?} is empty, longer than {MAX_NAME} or has one of <>:\"/\\|?*]"
        )));
    }
    Ok(())
}
