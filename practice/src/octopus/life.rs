//! An Octopus is filled, lives on, and meets its disaster. Main functions: [`fill`], [`live_on`], [`disaster`].

use uuid::Uuid;

use crate::seed::{Draw, Seed};

use super::addresses::Addresses;
use super::database::{Session, connect, literal, run};
use super::embedding::EMBEDDING_MODEL;
use super::error::OctopusError;
use super::schema::{DATABASE, OF_AGENT, SCHEMAS, TABLES};
use super::story::{Agent, Document, first_agents, later_agent, later_document, later_episodes};
use super::vectors::{Chunk, Vectors, collection};

/// The most rows that one INSERT may have.
const ROWS: usize = 1000;

/// What an agent meets in one step of life.
const NEW_EPISODES: usize = 25;

/// Creates the database and the collections, and fills them with a believable Octopus: six agents, more than
/// five thousand episodes, three collections of two thousand vectors and three smaller ones.
///
/// # Errors
/// [`OctopusError`] when a store refuses; also when the database or a collection exists already.
pub async fn fill(addresses: &Addresses, seed: Seed) -> Result<(), OctopusError> {
    let agents = first_agents(seed);
    let mut master = connect(&addresses.sqlserver, "master").await?;
    run(&mut master, &format!("CREATE DATABASE [{DATABASE}]")).await?;
    run(&mut master, &format!("ALTER DATABASE [{DATABASE}] SET RECOVERY FULL")).await?;
    let mut sql = connect(&addresses.sqlserver, DATABASE).await?;
    run(&mut sql, SCHEMAS).await?;
    run(&mut sql, TABLES).await?;
    let vectors = Vectors::new(addresses.qdrant.clone())?;
    insert_agents(&mut sql, &agents).await?;
    for agent in &agents {
        vectors.create(&agent.id).await?;
        vectors.upsert(&agent.id, chunks(&agent.id, &agent.documents)).await?;
    }
    Ok(())
}

/// Lets one step of life go by: an agent comes, one of those that came earlier goes, and every agent has new
/// episodes, a new document, a changed one and one fewer. The same seed and steps lead to the same data.
///
/// # Errors
/// [`OctopusError`] when a store refuses.
pub async fn live_on(addresses: &Addresses, seed: Seed, step: u64) -> Result<(), OctopusError> {
    let mut sql = connect(&addresses.sqlserver, DATABASE).await?;
    let vectors = Vectors::new(addresses.qdrant.clone())?;
    let leaving = leaving_agent(&mut sql).await?;
    let coming = later_agent(seed, step);
    insert_agents(&mut sql, std::slice::from_ref(&coming)).await?;
    vectors.create(&coming.id).await?;
    vectors.upsert(&coming.id, chunks(&coming.id, &coming.documents)).await?;
    if let Some(leaving) = leaving {
        vectors.delete(&collection(&leaving)).await?;
        for (table, column) in OF_AGENT {
            run(&mut sql, &format!("DELETE FROM [{table}] WHERE [{column}] = {}", literal(&leaving))).await?;
        }
    }
    for (agent, name) in agents(&mut sql).await? {
        let label = format!("step {step} of {agent}");
        let episodes = later_episodes(seed, &label, &name, NEW_EPISODES);
        insert(&mut sql, EPISODES, episodes.iter().map(|episode| episode_row(&agent, episode))).await?;
        let mut draw = seed.draw(&label);
        change_document(&mut sql, &vectors, &agent, &later_document(seed, &label, &name), &mut draw).await?;
        remove_document(&mut sql, &vectors, &agent, &mut draw).await?;
        let new = later_document(seed, &format!("{label}, new"), &name);
        insert(&mut sql, DOCUMENTS, [document_row(&agent, &new)].into_iter()).await?;
        vectors.upsert(&agent, chunks(&agent, &[new])).await?;
    }
    Ok(())
}

/// Loses everything: the database, even while it is in use, and every agent's collection.
///
/// # Errors
/// [`OctopusError`] when a store refuses.
pub async fn disaster(addresses: &Addresses) -> Result<(), OctopusError> {
    let mut master = connect(&addresses.sqlserver, "master").await?;
    let there = format!("SELECT name FROM sys.databases WHERE name = {}", literal(DATABASE));
    if !first_column(&mut master, &there).await?.is_empty() {
        run(&mut master, &format!("ALTER DATABASE [{DATABASE}] SET SINGLE_USER WITH ROLLBACK IMMEDIATE"))
            .await?;
        run(&mut master, &format!("DROP DATABASE [{DATABASE}]")).await?;
    }
    let vectors = Vectors::new(addresses.qdrant.clone())?;
    for collection in vectors.collections().await? {
        vectors.delete(&collection).await?;
    }
    Ok(())
}

const AGENTS: &str = "[Octopus_Agents] ([Id], [Name], [Model], [EmbeddingModel], [CreatedAt])";
const PROCEDURES: &str = "[Octopus_Procedures] ([AgentId], [Name], [Body], [UpdatedAt])";
const EPISODES: &str = "[Octopus_Episodes] ([AgentId], [StartedAt], [Summary], [Outcome])";
const DOCUMENTS: &str = "[Octopus_Documents] ([Id], [AgentId], [Title], [Version], [UpdatedAt])";

async fn insert_agents(sql: &mut Session, agents: &[Agent]) -> Result<(), OctopusError> {
    let rows = agents.iter().map(|agent| {
        let texts = [&agent.id, &agent.name, agent.model, EMBEDDING_MODEL].map(literal).join(", ");
        format!("({texts}, '{}')", time(agent.created_at))
    });
    insert(sql, AGENTS, rows).await?;
    for agent in agents {
        let procedures = agent.procedures.iter().map(|one| {
            let texts = [&agent.id, &one.name, &one.body].map(|text| literal(text)).join(", ");
            format!("({texts}, '{}')", time(one.updated_at))
        });
        insert(sql, PROCEDURES, procedures).await?;
        insert(sql, EPISODES, agent.episodes.iter().map(|episode| episode_row(&agent.id, episode))).await?;
        insert(sql, DOCUMENTS, agent.documents.iter().map(|one| document_row(&agent.id, one))).await?;
    }
    Ok(())
}

async fn insert(
    sql: &mut Session,
    into: &str,
    rows: impl Iterator<Item = String>,
) -> Result<(), OctopusError> {
    let rows: Vec<String> = rows.collect();
    for rows in rows.chunks(ROWS) {
        run(sql, &format!("INSERT INTO {into} VALUES\n{}", rows.join(",\n"))).await?;
    }
    Ok(())
}

/// The last of the agents that came while life went on, if there are two: so one always stays.
async fn leaving_agent(sql: &mut Session) -> Result<Option<String>, OctopusError> {
    let few = "SELECT a.[Id] FROM [Octopus_Agents] AS a \
               WHERE (SELECT COUNT(*) FROM [Octopus_Documents] AS d WHERE d.[AgentId] = a.[Id]) < 20 \
               ORDER BY a.[Id]";
    let mut later = first_column(sql, few).await?;
    Ok(if later.len() > 1 { later.pop() } else { None })
}

/// All agents: id and name.
async fn agents(sql: &mut Session) -> Result<Vec<(String, String)>, OctopusError> {
    let ids = first_column(sql, "SELECT [Id] FROM [Octopus_Agents] ORDER BY [Id]").await?;
    let names = first_column(sql, "SELECT [Name] FROM [Octopus_Agents] ORDER BY [Id]").await?;
    Ok(ids.into_iter().zip(names).collect())
}

async fn first_column(sql: &mut Session, query: &str) -> Result<Vec<String>, OctopusError> {
    let rows = sql.simple_query(query).await?.into_first_result().await?;
    rows.iter().map(|row| Ok(row.try_get::<&str, _>(0)?.unwrap_or_default().to_owned())).collect()
}

/// Gives one of the agent's documents a new text: the next version, its vectors replaced.
async fn change_document(
    sql: &mut Session,
    vectors: &Vectors,
    agent: &str,
    text: &Document,
    draw: &mut Draw,
) -> Result<(), OctopusError> {
    let Some((id, version)) = some_document(sql, agent, draw).await? else { return Ok(()) };
    let changed = Document { id, version: version + 1, ..text.clone() };
    run(
        sql,
        &format!(
            "UPDATE [Octopus_Documents] SET [Version] = {}, [UpdatedAt] = '{}' WHERE [Id] = '{id}'",
            changed.version,
            time(changed.updated_at)
        ),
    )
    .await?;
    vectors.forget(agent, id).await?;
    vectors.upsert(agent, chunks(agent, &[changed])).await
}

/// Deletes one of the agent's documents with its vectors.
async fn remove_document(
    sql: &mut Session,
    vectors: &Vectors,
    agent: &str,
    draw: &mut Draw,
) -> Result<(), OctopusError> {
    let Some((id, _)) = some_document(sql, agent, draw).await? else { return Ok(()) };
    run(sql, &format!("DELETE FROM [Octopus_Documents] WHERE [Id] = '{id}'")).await?;
    vectors.forget(agent, id).await
}

/// One of the agent's documents, and its version.
async fn some_document(
    sql: &mut Session,
    agent: &str,
    draw: &mut Draw,
) -> Result<Option<(Uuid, i32)>, OctopusError> {
    let query = format!(
        "SELECT [Id], [Version] FROM [Octopus_Documents] WHERE [AgentId] = {} ORDER BY [Title], [Id]",
        literal(agent)
    );
    let rows = sql.simple_query(query).await?.into_first_result().await?;
    let at = usize::try_from(draw.below(rows.len() as u64)).unwrap_or(0);
    let Some(row) = rows.get(at) else { return Ok(None) };
    Ok(row.try_get::<Uuid, _>(0)?.zip(row.try_get::<i32, _>(1)?))
}

/// The chunks of documents, as they are stored with their vectors.
fn chunks(agent: &str, documents: &[Document]) -> Vec<Chunk> {
    let chunk = |document: &Document, chunk: usize, text: &String| Chunk {
        agent_id: agent.to_owned(),
        document_id: document.id,
        chunk,
        version: document.version,
        text: text.clone(),
    };
    let of = |document| Document::chunks_of(document).map(move |(at, text)| chunk(document, at, text));
    documents.iter().flat_map(of).collect()
}

impl Document {
    fn chunks_of(&self) -> impl Iterator<Item = (usize, &String)> {
        self.chunks.iter().enumerate()
    }
}

fn episode_row(agent: &str, episode: &super::story::Episode) -> String {
    let (started, summary) = (time(episode.started_at), literal(&episode.summary));
    format!("({}, '{started}', {summary}, {})", literal(agent), literal(episode.outcome))
}

fn document_row(agent: &str, document: &Document) -> String {
    let (agent, title) = (literal(agent), literal(&document.title));
    format!("('{}', {agent}, {title}, {}, '{}')", document.id, document.version, time(document.updated_at))
}

fn time(time: chrono::NaiveDateTime) -> String {
    time.format("%Y-%m-%dT%H:%M:%S").to_string()
}
