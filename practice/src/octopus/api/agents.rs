//! Agents with their episodes and documents.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::NaiveDateTime;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tiberius::Row;

use super::super::embedding::EMBEDDING_MODEL;
use super::super::error::OctopusError;
use super::super::schema::OF_AGENT;
use super::super::vectors::{Chunk, collection};
use super::answer::{ApiError, Body};
use super::state::Octopus;

/// Sentences that go into one vector.
const SENTENCES_A_CHUNK: usize = 2;

/// An episode as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct Episode {
    pub(super) id: i64,
    pub(super) started_at: String,
    pub(super) summary: String,
    pub(super) outcome: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewAgent {
    name: String,
    model: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewEpisode {
    summary: String,
    outcome: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewDocument {
    title: String,
    text: String,
}

/// What has no vectors, as whoever restores found it. Keys that say more are passed over.
#[derive(Debug, Deserialize)]
pub(super) struct Unindexed {
    missing: Vec<Missing>,
}

#[derive(Debug, Deserialize)]
struct Missing {
    agent: String,
    /// Whether the agent has no collection at all.
    whole: bool,
}

impl Episode {
    /// From a row of `Id, StartedAt, Summary, Outcome`.
    pub(super) fn parse(row: &Row) -> Result<Self, OctopusError> {
        let text =
            |at: usize| Ok::<_, OctopusError>(row.try_get::<&str, _>(at)?.unwrap_or_default().to_owned());
        let started: NaiveDateTime = row.try_get(1)?.unwrap_or_default();
        Ok(Self {
            id: row.try_get(0)?.unwrap_or_default(),
            started_at: started.and_utc().to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
            summary: text(2)?,
            outcome: text(3)?,
        })
    }
}

/// `GET /agents`.
pub(super) async fn list(State(octopus): State<Arc<Octopus>>) -> Result<axum::Json<Value>, ApiError> {
    let query = "SELECT [Id], [Name], [Model] FROM [Octopus_Agents] ORDER BY [Name], [Id]";
    let rows = octopus.sql.read(query, &[]).await?;
    let agents: Result<Vec<Value>, tiberius::error::Error> = rows
        .iter()
        .map(|row| {
            let text = |at: usize| row.try_get::<&str, _>(at);
            Ok(json!({ "id": text(0)?, "name": text(1)?, "model": text(2)? }))
        })
        .collect();
    Ok(axum::Json(json!({ "agents": agents.map_err(OctopusError::from)? })))
}

/// `POST /agents`: the row first, so that a collection always has its agent.
pub(super) async fn create(
    State(octopus): State<Arc<Octopus>>,
    Body(NewAgent { name, model }): Body<NewAgent>,
) -> Result<Response, ApiError> {
    let _writer = octopus.fence.enter()?;
    let id: String = octopus.new_id().simple().to_string().chars().take(8).collect();
    let model = model.unwrap_or_else(|| "tentacle-small-1".into());
    let insert = "INSERT INTO [Octopus_Agents] ([Id], [Name], [Model], [EmbeddingModel], [CreatedAt]) \
                  VALUES (@P1, @P2, @P3, @P4, @P5)";
    let values: [&dyn tiberius::ToSql; 5] = [&id, &name, &model, &EMBEDDING_MODEL, &octopus.now()];
    octopus.sql.write(insert, &values).await?;
    octopus.vectors.create(&id).await?;
    Ok((StatusCode::CREATED, axum::Json(json!({ "id": id, "name": name, "model": model }))).into_response())
}

/// `DELETE /agents/{id}` with all that belongs to it.
pub(super) async fn delete(
    State(octopus): State<Arc<Octopus>>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let _writer = octopus.fence.enter()?;
    octopus.agent(&id).await?;
    octopus.vectors.delete(&collection(&id)).await?;
    for (table, column) in OF_AGENT {
        octopus.sql.write(&format!("DELETE FROM [{table}] WHERE [{column}] = @P1"), &[&id]).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /agents/{id}/episodes`: the latest hundred.
pub(super) async fn episodes(
    State(octopus): State<Arc<Octopus>>,
    Path(id): Path<String>,
) -> Result<axum::Json<Value>, ApiError> {
    octopus.agent(&id).await?;
    let query = "SELECT TOP (100) [Id], [StartedAt], [Summary], [Outcome] FROM [Octopus_Episodes] \
                 WHERE [AgentId] = @P1 ORDER BY [Id] DESC";
    let rows = octopus.sql.read(query, &[&id]).await?;
    let episodes: Vec<Episode> = rows.iter().map(Episode::parse).collect::<Result<_, _>>()?;
    Ok(axum::Json(json!({ "episodes": episodes })))
}

/// `POST /agents/{id}/episodes`.
pub(super) async fn add_episode(
    State(octopus): State<Arc<Octopus>>,
    Path(id): Path<String>,
    Body(NewEpisode { summary, outcome }): Body<NewEpisode>,
) -> Result<StatusCode, ApiError> {
    let _writer = octopus.fence.enter()?;
    octopus.agent(&id).await?;
    record(&octopus, &id, &summary, outcome.as_deref().unwrap_or("completed")).await?;
    Ok(StatusCode::CREATED)
}

/// Writes an episode that began now.
pub(super) async fn record(
    octopus: &Octopus,
    agent: &str,
    summary: &str,
    outcome: &str,
) -> Result<(), ApiError> {
    let insert = "INSERT INTO [Octopus_Episodes] ([AgentId], [StartedAt], [Summary], [Outcome]) \
                  VALUES (@P1, @P2, @P3, @P4)";
    octopus.sql.write(insert, &[&agent, &octopus.now(), &summary, &outcome]).await?;
    Ok(())
}

/// `POST /agents/{id}/documents`: the row first, then its vectors.
pub(super) async fn add_document(
    State(octopus): State<Arc<Octopus>>,
    Path(agent): Path<String>,
    Body(NewDocument { title, text }): Body<NewDocument>,
) -> Result<Response, ApiError> {
    let _writer = octopus.fence.enter()?;
    octopus.agent(&agent).await?;
    let id = octopus.new_id();
    let insert = "INSERT INTO [Octopus_Documents] ([Id], [AgentId], [Title], [Version], [UpdatedAt]) \
                  VALUES (@P1, @P2, @P3, 1, @P4)";
    octopus.sql.write(insert, &[&id, &agent, &title, &octopus.now()]).await?;
    let chunks: Vec<Chunk> = chunks(&text)
        .into_iter()
        .enumerate()
        .map(|(chunk, text)| Chunk { agent_id: agent.clone(), document_id: id, chunk, version: 1, text })
        .collect();
    let count = chunks.len();
    octopus.vectors.upsert(&agent, chunks).await?;
    Ok((StatusCode::CREATED, axum::Json(json!({ "id": id, "version": 1, "chunks": count }))).into_response())
}

/// `POST /reindex`: agents without a collection get one. The texts of documents lie in their vectors alone here, so that those wait until
/// somebody sends them again.
pub(super) async fn reindex(
    State(octopus): State<Arc<Octopus>>,
    Body(Unindexed { missing }): Body<Unindexed>,
) -> Result<Response, ApiError> {
    let _writer = octopus.fence.enter()?;
    let there = octopus.vectors.collections().await?;
    let mut made = Vec::new();
    for Missing { agent, whole } in missing {
        octopus.agent(&agent).await?;
        if whole && !there.contains(&collection(&agent)) {
            octopus.vectors.create(&agent).await?;
            made.push(agent);
        }
    }
    Ok((StatusCode::ACCEPTED, axum::Json(json!({ "collections": made }))).into_response())
}

/// A text in pieces of a few sentences; never none.
fn chunks(text: &str) -> Vec<String> {
    let sentences: Vec<&str> = text.split_inclusive(['.', '!', '?']).collect();
    let pieces = sentences.chunks(SENTENCES_A_CHUNK).map(|piece| piece.concat().trim().to_owned());
    let pieces: Vec<String> = pieces.filter(|piece| !piece.is_empty()).collect();
    if pieces.is_empty() { vec![text.to_owned()] } else { pieces }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_sentences() {
        let cases: [(&str, &[&str]); 4] = [
            ("One. Two! Three? Four.", &["One. Two!", "Three? Four."]),
            ("no end", &["no end"]),
            ("One. Two. rest", &["One. Two.", "rest"]),
            ("", &[""]),
        ];
        for (text, expected) in cases {
            assert_eq!(chunks(text), expected, "{text:?}");
        }
    }
}
