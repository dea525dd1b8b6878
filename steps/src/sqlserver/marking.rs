//! What marking says to the server, and what it answers: the marked transaction, row counts, the mark's places. Main types: [`Marking`],
//! [`Counted`].

use drydock_recovery::lsn::Lsn;
use drydock_step::StepError;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::present;
use super::server::ServerFacts;
use super::session::Session;
use super::sql::{Identifier, quoted, table_in};

/// The table that holds a row for each mark.
pub(super) const MARKS: &str = "drydock.marks";

/// Where EF Core keeps which migrations were applied.
const HISTORY: &str = "__EFMigrationsHistory";

/// Rows by table.
pub(super) type Counted = IndexMap<String, i64>;

/// One mark over the databases of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marking {
    /// The mark's name.
    pub(super) mark: String,
    /// The run, as the row tells it.
    pub(super) run: String,
    /// The databases by the plan's names for them.
    pub(super) databases: IndexMap<String, Identifier>,
    /// The tables that are counted, where a database has them.
    pub(super) tables: Vec<String>,
}

/// The name of a marked transaction: an identifier of at most 32 characters that needs no quotes, because a name in brackets would be
/// another name in the log.
///
/// # Errors
/// `input`.
pub(super) fn checked_mark(mark: &str) -> Result<(), StepError> {
    let mut chars = mark.chars();
    let begins = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if begins && mark.len() <= 32 && chars.all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Ok(());
    }
    let why = "a mark is a letter or `_`, then letters, digits and `_`, at most 32 in all";
    Err(StepError::new("input", format!("`{mark}` cannot name a mark: {why}")))
}

/// The marked transaction: one batch, so that it is committed whole or not at all.
pub(super) fn transaction(mark: &str, run: &str, databases: &[String]) -> String {
    let insert = |marks: &String| {
        format!(
            "INSERT INTO {marks} ([mark], [at], [run]) VALUES ({}, SYSUTCDATETIME(), {});\n",
            quoted(mark),
            quoted(run)
        )
    };
    let inserts: String = databases.iter().map(insert).collect();
    format!(
        "SET XACT_ABORT ON;\nBEGIN TRANSACTION {mark} WITH MARK {};\n{inserts}COMMIT TRANSACTION;",
        quoted(&format!("run {run}"))
    )
}

/// The mark's places in the logs.
pub(super) fn places(mark: &str) -> String {
    format!(
        "SELECT database_name, lsn, mark_time FROM msdb.dbo.logmarkhistory WHERE mark_name = {}",
        quoted(mark)
    )
}

/// Counts of tables, in one statement so that they lie close together.
pub(super) fn counts(tables: &[String]) -> String {
    let count = |(at, table): (usize, &String)| format!("(SELECT COUNT_BIG(*) FROM {table}) AS n{at}");
    let counts: Vec<String> = tables.iter().enumerate().map(count).collect();
    format!("SELECT {}", counts.join(", "))
}

/// Which of these tables are there: a number or NULL each.
fn ids(tables: &[String]) -> String {
    let id = |(at, table): (usize, &String)| format!("OBJECT_ID({}, N'U') AS n{at}", quoted(table));
    let ids: Vec<String> = tables.iter().enumerate().map(id).collect();
    format!("SELECT {}", ids.join(", "))
}

/// Where the mark stands in one database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// The database's name on the server.
    pub(super) database: String,
    /// The marked transaction's position.
    pub(super) lsn: Lsn,
    /// When the server committed it, RFC 3339.
    pub(super) at: String,
}

impl Marking {
    /// The transaction.
    pub(super) fn transaction(&self) -> String {
        let marks: Vec<String> = self.databases.values().map(|name| table_in(name, MARKS)).collect();
        transaction(&self.mark, &self.run, &marks)
    }

    /// The databases that lack the table of marks.
    ///
    /// # Errors
    /// What the server says.
    pub(super) async fn without_marks(&self, session: &Session) -> Result<Vec<&Identifier>, StepError> {
        let mut without = Vec::new();
        for database in self.databases.values() {
            let there = existing(session, &[table_in(database, MARKS)]).await?;
            if there != [true] {
                without.push(database);
            }
        }
        Ok(without)
    }

    /// Rows now, by the plan's name of the database. A table is counted in every database that has it.
    ///
    /// # Errors
    /// `mark.table` for a table that none of them has; what the server says.
    pub(super) async fn counted(&self, session: &Session) -> Result<IndexMap<String, Counted>, StepError> {
        let mut counted = IndexMap::new();
        let mut unseen: Vec<&String> = self.tables.iter().collect();
        for (name, database) in &self.databases {
            let tables: Vec<String> = self.tables.iter().map(|table| table_in(database, table)).collect();
            let there = existing(session, &tables).await?;
            let mut here = Counted::new();
            let (tables, names): (Vec<String>, Vec<&String>) = tables
                .into_iter()
                .zip(&self.tables)
                .zip(there)
                .filter_map(|(pair, there)| there.then_some(pair))
                .unzip();
            if !tables.is_empty() {
                let answer = session.ask(&format!("counting rows of {database}"), &counts(&tables)).await?;
                let row = answer.first()?;
                for (at, table) in names.into_iter().enumerate() {
                    here.insert(table.clone(), present(row.number(&format!("n{at}"))?, table)?);
                    unseen.retain(|unseen| *unseen != table);
                }
            }
            counted.insert(name.clone(), here);
        }
        match unseen.first() {
            None => Ok(counted),
            Some(table) => Err(StepError::new(
                "mark.table",
                format!("none of the databases shows a table `{table}` to count"),
            )
            .help("correct the name in `count`; a table that is there is hidden from a login without SELECT on it (`drydock grants` prints it)")),
        }
    }

    /// The migrations that were applied, by the plan's name of the database; none where EF Core keeps no history.
    ///
    /// # Errors
    /// What the server says.
    pub(super) async fn migrations(
        &self,
        session: &Session,
    ) -> Result<IndexMap<String, Vec<String>>, StepError> {
        let mut found = IndexMap::new();
        for (name, database) in &self.databases {
            let history = table_in(database, HISTORY);
            let mut ids = Vec::new();
            if existing(session, std::slice::from_ref(&history)).await? == [true] {
                let sql = format!("SELECT MigrationId FROM {history} ORDER BY MigrationId");
                let answer = session.ask(&format!("asking for the migrations of {database}"), &sql).await?;
                for row in answer.rows() {
                    ids.push(present(row.text("MigrationId")?, "MigrationId")?.to_owned());
                }
            }
            found.insert(name.clone(), ids);
        }
        Ok(found)
    }

    /// Where the mark stands, by the plan's name of the database; nothing when it was never committed.
    ///
    /// # Errors
    /// `mark.incomplete` when some of the databases have it and some have not; what the server says.
    pub(super) async fn places(
        &self,
        session: &Session,
        facts: &ServerFacts,
    ) -> Result<Option<IndexMap<String, Place>>, StepError> {
        let answer = session.ask("asking where the mark stands", &places(&self.mark)).await?;
        let mut found = IndexMap::new();
        for (name, database) in &self.databases {
            for row in answer.rows() {
                let of = present(row.text("database_name")?, "database_name")?;
                if of.to_lowercase() == database.as_str().to_lowercase() {
                    let at = facts.utc(present(row.time("mark_time")?, "mark_time")?, None);
                    let at = drydock_recovery::backup::clock(at);
                    let lsn = present(row.lsn("lsn")?, "lsn")?;
                    found.insert(name.clone(), Place { database: of.to_owned(), lsn, at });
                }
            }
        }
        if found.is_empty() {
            return Ok(None);
        }
        match self.databases.iter().find(|(name, _)| !found.contains_key(*name)) {
            None => Ok(Some(found)),
            Some((_, database)) => {
                let message =
                    format!("msdb tells of mark {} in some databases and not in {database}", self.mark);
                Err(StepError::new("mark.incomplete", message)
                    .help("was its history deleted, or is the database in the SIMPLE recovery model?"))
            }
        }
    }
}

/// Whether each of these tables is there.
async fn existing(session: &Session, tables: &[String]) -> Result<Vec<bool>, StepError> {
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    let answer = session.ask("asking which tables are there", &ids(tables)).await?;
    let row = answer.first()?;
    (0..tables.len()).map(|at| Ok(row.number(&format!("n{at}"))?.is_some())).collect()
}

/// Counts of before and after as outputs.
pub(super) fn bands(before: &IndexMap<String, Counted>, after: &IndexMap<String, Counted>) -> Value {
    let of_table = |name: &String, table: &String, after: i64| {
        let before = before.get(name).and_then(|counts| counts.get(table)).copied();
        json!({ "before": before.unwrap_or(after), "after": after })
    };
    let of_database = |name: &String, counts: &Counted| -> Value {
        let bands = counts.iter().map(|(table, after)| (table.clone(), of_table(name, table, *after)));
        Value::Object(bands.collect())
    };
    Value::Object(after.iter().map(|(name, counts)| (name.clone(), of_database(name, counts))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transaction_changes_a_row_in_every_database() {
        let databases = ["A]b", "C"].map(|name| (name.to_lowercase(), Identifier::parse(name).unwrap()));
        let marking = Marking {
            mark: "dd_01J0".into(),
            run: "r'1".into(),
            databases: databases.into_iter().collect(),
            tables: vec![],
        };
        let values = "([mark], [at], [run]) VALUES (N'dd_01J0', SYSUTCDATETIME(), N'r''1');";
        let expected = format!(
            "SET XACT_ABORT ON;\nBEGIN TRANSACTION dd_01J0 WITH MARK N'run r''1';\n\
             INSERT INTO [A]]b].[drydock].[marks] {values}\nINSERT INTO [C].[drydock].[marks] {values}\nCOMMIT TRANSACTION;"
        );
        assert_eq!(marking.transaction(), expected);
    }

    #[test]
    fn a_mark_is_a_bare_identifier() {
        for mark in ["dd_01J8ZQ4Q7V0000000000000000", "_", "a23456789_123456789_123456789_12"] {
            assert_eq!(checked_mark(mark), Ok(()));
        }
        for mark in ["", "1a", "a b", "a]", "a23456789_123456789_123456789_123", "é"] {
            let error = checked_mark(mark).unwrap_err();
            assert!(error.code == "input" && error.message.contains("at most 32"), "{error}");
        }
    }

    #[test]
    fn tables_are_counted_in_one_statement() {
        let tables = ["[X].[dbo].[A]".to_owned(), "[X].[s].[B]".to_owned()];
        assert_eq!(
            counts(&tables),
            "SELECT (SELECT COUNT_BIG(*) FROM [X].[dbo].[A]) AS n0, (SELECT COUNT_BIG(*) FROM [X].[s].[B]) AS n1"
        );
        assert!(ids(&tables).ends_with("OBJECT_ID(N'[X].[s].[B]', N'U') AS n1"));
    }
}
