//! A table of vectors as [`Collections`]: the rows of each agent are one, [`AgentRows`].

use std::sync::Arc;

use async_trait::async_trait;
use drydock_step::artifact::stream_of;
use drydock_step::target::{AgentNames, Collections, PointPayload, VectorTable};
use drydock_step::{ArtifactStore, AtWork, StepError};
use serde_json::{Map, Value, json};
use tokio::sync::OnceCell;

use super::answer::Answer;
use super::session::Session;
use super::settings::PostgresSettings;
use super::sql::{Identifier, named, quoted};

/// Ids that one statement names.
const BATCH: usize = 10_000;

/// Rows that are kept at once.
const KEPT: usize = 1000;

/// A table, asked agent by agent.
pub(super) struct AgentRows {
    settings: PostgresSettings,
    session: OnceCell<Session>,
    table: VectorTable,
    names: AgentNames,
    columns: OnceCell<Columns>,
}

/// What the table is made of.
struct Columns {
    /// The table as statements name it.
    table: String,
    /// All of them, in order.
    all: Vec<String>,
    /// The type of the column that tells rows apart.
    id_type: String,
}

impl AgentRows {
    /// Nothing is asked yet.
    pub(super) fn new(settings: PostgresSettings, table: VectorTable, names: AgentNames) -> Self {
        Self { settings, session: OnceCell::new(), table, names, columns: OnceCell::new() }
    }

    async fn session(&self) -> Result<&Session, StepError> {
        self.session.get_or_try_init(|| Session::open(&self.settings, &self.table.database)).await
    }

    async fn ask(&self, doing: &str, sql: &str) -> Result<Answer, StepError> {
        self.session().await?.ask_long(doing, sql).await
    }

    /// Changes rows; how many.
    async fn change(&self, doing: &str, sql: &str) -> Result<u64, StepError> {
        let counted = format!("WITH gone AS ({sql} RETURNING 1) SELECT count(*) AS n FROM gone");
        let answer = self.session().await?.work(doing, &counted).await?;
        Ok(answer.first()?.known("n")?.parse().unwrap_or_default())
    }

    async fn columns(&self) -> Result<&Columns, StepError> {
        self.columns.get_or_try_init(|| self.described()).await
    }

    async fn described(&self) -> Result<Columns, StepError> {
        let parts = self.table.table.split('.').map(|part| Ok(Identifier::parse(part)?.named()));
        let table = parts.collect::<Result<Vec<String>, StepError>>()?.join(".");
        let sql = format!(
            "SELECT a.attname AS name, format_type(a.atttypid, NULL) AS type FROM pg_attribute a \
             WHERE a.attrelid = to_regclass({}) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
            quoted(&table)
        );
        let answer = self.ask("reading the columns of the table of vectors", &sql).await?;
        let mut columns = Columns { table, all: Vec::new(), id_type: String::new() };
        for row in answer.rows() {
            let name = row.known("name")?;
            if name == self.table.id {
                row.known("type")?.clone_into(&mut columns.id_type);
            }
            columns.all.push(name.to_owned());
        }
        if columns.all.is_empty() {
            let message = format!("there is no table {} in {}", self.table.table, self.table.database);
            return Err(StepError::new("postgres.table", message)
                .help("name it with its schema, as `public.vectors`"));
        }
        for wanted in [&self.table.id, &self.table.agent] {
            if !columns.all.contains(wanted) {
                let message = format!("table {} has no column {wanted}", self.table.table);
                let help = format!("its columns are {}", columns.all.join(", "));
                return Err(StepError::new("postgres.table", message).help(help));
            }
        }
        Ok(columns)
    }

    /// The condition that a row is of a collection's agent.
    fn is_of(&self, collection: &str) -> String {
        let agent = self.names.agent(collection).unwrap_or_default();
        format!("{}::text = {}", named(&self.table.agent), quoted(agent))
    }

    /// A page of rows with these columns; `None` for all that there are.
    async fn page(
        &self,
        collection: &str,
        fields: Option<&[String]>,
        after: Option<&Value>,
        limit: usize,
    ) -> Result<(Vec<PointPayload>, Option<Value>), StepError> {
        let columns = self.columns().await?;
        let (table, id) = (&columns.table, named(&self.table.id));
        let there = columns.all.iter().filter(|name| fields.is_none_or(|fields| fields.contains(name)));
        let pairs: Vec<String> =
            there.flat_map(|name| [quoted(name), format!("t.{}", named(name))]).collect();
        let past = match after.and_then(Value::as_str) {
            Some(after) => format!(" AND {id} > {}::{}", quoted(after), columns.id_type),
            None => String::new(),
        };
        let sql = format!(
            "SELECT {id}::text AS id, json_build_object({}) AS payload FROM {table} t WHERE {}{past} ORDER BY {id} LIMIT {limit}",
            pairs.join(", "),
            self.is_of(collection)
        );
        let answer = self.ask("reading rows of the table of vectors", &sql).await?;
        let mut page = Vec::with_capacity(answer.cells.len());
        for row in answer.rows() {
            let payload: Map<String, Value> = serde_json::from_str(row.known("payload")?)
                .map_err(|error| StepError::new("postgres.answer", format!("a row is no JSON: {error}")))?;
            page.push(PointPayload { id: json!(row.known("id")?), payload });
        }
        let next = if page.len() == limit { page.last().map(|point| point.id.clone()) } else { None };
        Ok((page, next))
    }
}

#[async_trait]
impl Collections for AgentRows {
    async fn collection_names(&self) -> Result<Vec<String>, StepError> {
        let table = &self.columns().await?.table;
        let agent = named(&self.table.agent);
        let sql = format!("SELECT DISTINCT {agent}::text AS agent FROM {table} WHERE {agent} IS NOT NULL");
        let answer = self.ask("reading the agents of the table of vectors", &sql).await?;
        let names = answer.rows().map(|row| Ok(self.names.of(row.known("agent")?)));
        let mut names = names.collect::<Result<Vec<String>, StepError>>()?;
        names.sort();
        Ok(names)
    }

    async fn points_page(
        &self,
        collection: &str,
        fields: &[String],
        after: Option<&Value>,
        limit: usize,
    ) -> Result<(Vec<PointPayload>, Option<Value>), StepError> {
        self.page(collection, Some(fields), after, limit).await
    }

    async fn all_fields(&self) -> Result<Vec<String>, StepError> {
        Ok(self.columns().await?.all.clone())
    }

    async fn delete_points(&self, collection: &str, ids: &[Value]) -> Result<(), StepError> {
        let columns = self.columns().await?;
        let text = |id: &Value| id.as_str().map_or_else(|| id.to_string(), str::to_owned);
        for batch in ids.chunks(BATCH) {
            let ids: Vec<String> =
                batch.iter().map(|id| format!("{}::{}", quoted(&text(id)), columns.id_type)).collect();
            let (table, id) = (&columns.table, named(&self.table.id));
            let of = self.is_of(collection);
            let sql = format!("DELETE FROM {table} WHERE {of} AND {id} IN ({})", ids.join(", "));
            self.change("removing rows of the table of vectors", &sql).await?;
        }
        Ok(())
    }

    async fn delete_collection(&self, collection: &str) -> Result<bool, StepError> {
        let sql = format!("DELETE FROM {} WHERE {}", self.columns().await?.table, self.is_of(collection));
        Ok(self.change("removing an agent's rows of the table of vectors", &sql).await? > 0)
    }

    /// Every row with every column, a JSON line each: `json_populate_record` makes rows of them again.
    async fn keep_collection(
        &self,
        _attempt: Arc<dyn AtWork>,
        collection: &str,
        store: &dyn ArtifactStore,
        prefix: &str,
    ) -> Result<String, StepError> {
        let (mut lines, mut after) = (Vec::new(), None);
        loop {
            let (page, next) = self.page(collection, None, after.as_ref(), KEPT).await?;
            for row in page {
                lines.extend(Value::Object(row.payload).to_string().into_bytes());
                lines.push(b'\n');
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
        Ok(store.put(&format!("{prefix}/rows.jsonl"), stream_of(lines)).await?.path)
    }
}
