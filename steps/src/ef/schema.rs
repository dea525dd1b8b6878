//! What a database has been migrated to: [`Schema`], told by its [`HistoryTable`].

use drydock_step::target::Rows;
use drydock_step::{Connection, StepError};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

const STATES: &str = "SELECT name, state_desc FROM sys.databases";
const TABLES: &str = "SELECT COUNT_BIG(*) AS n FROM sys.tables";
const NAMES: &str = "SELECT s.name AS [schema], t.name AS [table] FROM sys.tables AS t JOIN sys.schemas AS s ON s.schema_id = t.schema_id";

/// The longest name that the server has, in UTF-16 units.
const LONGEST: usize = 128;

/// Where EF keeps which migrations were applied: `schema.table`, of `dbo` where no schema is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryTable {
    schema: String,
    table: String,
}

impl HistoryTable {
    /// Reads `schema.table` or `table`, written without brackets.
    ///
    /// # Errors
    /// Which rule of names it breaks.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (schema, table) = text.split_once('.').unwrap_or(("dbo", text));
        for name in [schema, table] {
            if name.is_empty() || name.encode_utf16().count() > LONGEST {
                return Err(format!(
                    "a schema and a table have names of 1 to {LONGEST} characters: {text:?}"
                ));
            }
            if name.chars().any(|c| c.is_control() || matches!(c, '[' | ']' | '"')) {
                return Err(format!("write `schema.table` without brackets or quotes: {text:?}"));
            }
        }
        if table.contains('.') {
            return Err(format!("write `schema.table`, no database before it: {text:?}"));
        }
        Ok(Self { schema: schema.to_owned(), table: table.to_owned() })
    }

    /// As statements name it: no bracket is in it that would have to be doubled.
    fn quoted(&self) -> String {
        format!("[{}].[{}]", self.schema, self.table)
    }

    /// The query that tells whether it is there.
    fn id(&self) -> String {
        format!("SELECT OBJECT_ID(N'{}', N'U') AS id", self.quoted().replace('\'', "''"))
    }

    /// The query for the ids of migrations in it.
    fn ids(&self) -> String {
        format!("SELECT MigrationId FROM {} ORDER BY MigrationId", self.quoted())
    }
}

impl<'de> Deserialize<'de> for HistoryTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

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
    pub(super) async fn ask(
        rows: &dyn Rows,
        database: &str,
        history: &HistoryTable,
    ) -> Result<Self, StepError> {
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
        let id = rows.rows(Some(database), &history.id()).await?;
        let has_history = id.rows.first().is_some_and(|row| row.get("id").is_some_and(|id| !id.is_null()));
        let migrations = if has_history {
            let found = rows.rows(Some(database), &history.ids()).await?;
            found.rows.iter().map(|row| text(row, "MigrationId")).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_migrations_is_named_as_statements_need_it() {
        for (text, schema, table) in [
            ("dbo.__EFMigrationsHistory", "dbo", "__EFMigrationsHistory"),
            ("Migrations", "dbo", "Migrations"),
            ("it's.my history", "it's", "my history"),
        ] {
            let (schema, table) = (schema.to_owned(), table.to_owned());
            assert_eq!(HistoryTable::parse(text), Ok(HistoryTable { schema, table }));
        }
        let odd = HistoryTable::parse("it's.my history").unwrap();
        assert_eq!(odd.id(), "SELECT OBJECT_ID(N'[it''s].[my history]', N'U') AS id");
        assert_eq!(odd.ids(), "SELECT MigrationId FROM [it's].[my history] ORDER BY MigrationId");
        for (text, why) in [
            ("", "1 to 128 characters"),
            ("ef.", "1 to 128 characters"),
            (".x", "1 to 128 characters"),
            (&"x".repeat(129), "1 to 128 characters"),
            ("[ef].[x]", "without brackets"),
            ("ef.x\n", "without brackets"),
            ("shop.ef.x", "no database before it"),
        ] {
            let error = HistoryTable::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
