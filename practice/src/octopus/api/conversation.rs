//! Talking to an agent: what it remembers from the database, what it knows from its vectors.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};
use tiberius::ToSql;

use super::super::embedding::telling_words;
use super::super::error::OctopusError;
use super::super::vectors::Found;
use super::agents::{Episode, record};
use super::answer::{ApiError, Body};
use super::state::Octopus;

/// Episodes and documents that an answer has.
const SHOWN: usize = 5;

/// Words of a message that are looked for.
const WORDS: usize = 8;

/// A conversation with this header (or with `"ephemeral": true`) is not recorded.
const EPHEMERAL_HEADER: &str = "x-octopus-ephemeral";

/// The outcome of an episode that is a conversation. Those are not recalled: an agent that is asked the same
/// again would remember the question.
const CONVERSATION: &str = "conversation";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Search {
    query: String,
    limit: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Message {
    message: String,
    #[serde(default)]
    ephemeral: bool,
}

/// `POST /agents/{id}/search`.
pub(super) async fn search(
    State(octopus): State<Arc<Octopus>>,
    Path(id): Path<String>,
    Body(Search { query, limit }): Body<Search>,
) -> Result<axum::Json<Value>, ApiError> {
    octopus.agent(&id).await?;
    let found = octopus.vectors.search(&id, &query, limit.unwrap_or(SHOWN)).await?;
    Ok(axum::Json(json!({ "documents": shown(&found) })))
}

/// `POST /agents/{id}/conversation`.
pub(super) async fn converse(
    State(octopus): State<Arc<Octopus>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Body(Message { message, ephemeral }): Body<Message>,
) -> Result<axum::Json<Value>, ApiError> {
    let recorded = !ephemeral && !headers.contains_key(EPHEMERAL_HEADER);
    let _writer = if recorded { Some(octopus.fence.enter()?) } else { None };
    let name = octopus.agent(&id).await?;
    let episodes = recalled(&octopus, &id, &message).await?;
    let documents = octopus.vectors.search(&id, &message, SHOWN).await?;
    let reply = reply(&name, &episodes, &documents);
    if recorded {
        record(&octopus, &id, &format!("Conversation: {message}"), CONVERSATION).await?;
    }
    Ok(axum::Json(json!({ "reply": reply, "episodes": episodes, "documents": shown(&documents) })))
}

/// The agent's episodes that have most of the message's words, the later first among equals.
async fn recalled(octopus: &Octopus, agent: &str, message: &str) -> Result<Vec<Episode>, OctopusError> {
    let words: Vec<String> = telling_words(message).take(WORDS).collect();
    if words.is_empty() {
        return Ok(Vec::new());
    }
    let patterns: Vec<String> = words.iter().map(|word| format!("%{word}%")).collect();
    let likes: Vec<String> = (0..patterns.len()).map(|at| format!("[Summary] LIKE @P{}", at + 2)).collect();
    let query = format!(
        "SELECT [Id], [StartedAt], [Summary], [Outcome] FROM [Octopus_Episodes] \
         WHERE [AgentId] = @P1 AND [Outcome] <> N'{CONVERSATION}' AND ({}) ORDER BY [Id] DESC",
        likes.join(" OR ")
    );
    let mut values: Vec<&dyn ToSql> = vec![&agent];
    values.extend(patterns.iter().map(|pattern| pattern as &dyn ToSql));
    let rows = octopus.sql.read(&query, &values).await?;
    let mut episodes: Vec<Episode> = rows.iter().map(Episode::parse).collect::<Result<_, _>>()?;
    episodes.sort_by_cached_key(|episode| {
        let summary = episode.summary.to_lowercase();
        std::cmp::Reverse(words.iter().filter(|word| summary.contains(word.as_str())).count())
    });
    episodes.truncate(SHOWN);
    Ok(episodes)
}

fn reply(name: &str, episodes: &[Episode], documents: &[Found]) -> String {
    let recalled = match episodes.first() {
        Some(episode) => format!("I remember: {}", episode.summary),
        None => "I remember nothing of the kind.".to_owned(),
    };
    let known = match documents.first() {
        Some(found) => format!("My notes say: {}", found.chunk.text),
        None => "I have no notes on it.".to_owned(),
    };
    format!("{name}: {recalled} {known}")
}

fn shown(found: &[Found]) -> Vec<Value> {
    let shown = found.iter().map(|Found { score, chunk }| {
        json!({
            "document_id": chunk.document_id,
            "chunk": chunk.chunk,
            "version": chunk.version,
            "text": chunk.text,
            "score": score,
        })
    });
    shown.collect()
}
