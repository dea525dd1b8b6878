//! What a database has been migrated to: [`Schema`].

use drydock_step::target::Rows;
use drydock_step::{Connection, StepError};
use serde_json::Value;

const STATES: &str = "SELECT name, state_desc FROM sys.databases";
const HISTORY_ID: &str = "SELECT OBJECT_ID(N'[__EFMigrationsHistory]', N'U') AS id";
const HISTORY: &str = "SELECT MigrationId FROM [__EFMigrationsHistory] ORDER BY MigrationId";
const TABLES: &str = "SELECT COUNT_BIG(*) AS n FROM sys.tables";
const NAMES: &str = "SELECT s.name AS [schema], t.name AS [table] FROM sys.tables AS t JOIN sys.schemas AS s ON s.schema_id = t.schema_id";

/// The rows that a target can be asked for.
///
/// # Errors
/// `internal`, when it has none: the check let a plan pass that it should not have.
pub(super) fn rows_of(connection: &dyn Connection) -> Result<&dyn Rows, StepError> {
    connection.rows().ok_or_else(|| StepError::internal("the target of an EF step gives no rows"))
}

/// Those of these tables, `Octopus_Agents` or `drydock.marks`, that a database has not.
///
/// # Errors
/// What the server says.
pub(super) async fn missing_tables(
    rows: &dyn Rows,
    database: &str,
    tables: &[String],
) -> Result<Vec<String>, StepError> {
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    let found = rows.rows(Some(database), NAMES).await?;
    let is = |row: &serde_json::Map<String, Value>, column: &str, wanted: &str| {
        let name = row.get(column).and_then(Value::as_str).unwrap_or_default();
        name.to_lowercase() == wanted.to_lowercase()
    };
    let lacks = |table: &&String| {
        let (schema, table) = table.split_once('.').unwrap_or(("dbo", table));
        !found.rows.iter().any(|row| is(row, "schema", schema) && is(row, "table", table))
    };
    Ok(tables.iter().filter(lacks).cloned().collect())
}

/// A database's migrations and tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Schema {
    /// The ids of the migrations that were applied, in their order.
    pub(super) migrations: Vec<String>,
    /// How many tables there are.
    pub(super) tables: i64,
}

impl Schema {
    /// What is in the database now.
    ///
    /// # Errors
    /// `ef.database`, when it is not there or not open: EF would make an empty one, and a restore would then find the name taken.
    pub(super) async fn ask(rows: &dyn Rows, database: &str) -> Result<Self, StepError> {
        let states = rows.rows(None, STATES).await?;
        let text = |row: &serde_json::Map<String, Value>, column: &str| {
            row.get(column).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let found =
            states.rows.iter().find(|row| text(row, "name").to_lowercase() == database.to_lowercase());
        match found.map(|row| text(row, "state_desc")) {
            Some(state) if state == "ONLINE" => {}
            Some(state) => {
                let message = format!("database {database} is {state}, not ONLINE");
                return Err(StepError::new("ef.database", message).help("finish its restore first"));
            }
            None => {
                let message = format!("there is no database {database}, and EF would make an empty one");
                return Err(StepError::new("ef.database", message)
                    .help("restore it first; does the step need the restore's step?"));
            }
        }
        let id = rows.rows(Some(database), HISTORY_ID).await?;
        let has_history = id.rows.first().is_some_and(|row| row.get("id").is_some_and(|id| !id.is_null()));
        let migrations = if has_history {
            let history = rows.rows(Some(database), HISTORY).await?;
            history.rows.iter().map(|row| text(row, "MigrationId")).collect()
        } else {
            Vec::new()
        };
        let tables = rows.rows(Some(database), TABLES).await?;
        let tables = tables.rows.first().and_then(|row| row.get("n")).and_then(Value::as_i64).unwrap_or(0);
        Ok(Self { migrations, tables })
    }

    /// The migrations that were applied and are not among these.
    pub(super) fn beyond(&self, known: &[String]) -> Vec<&str> {
        self.migrations.iter().filter(|id| !known.contains(id)).map(String::as_str).collect()
    }
}
