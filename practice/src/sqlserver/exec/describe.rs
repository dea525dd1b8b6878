//! The description of a database's tables, kept in the database. Main function: [`describe_column`].

use super::halt::Done;
use super::session::Session;
use super::tables::{Found, alias};
use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::statement::ColumnDefinition;
use crate::sqlserver::query::compiler::literal;
use crate::sqlserver::query::names::Field;
use crate::sqlserver::store::functions::compare;
use crate::sqlserver::store::record::quoted;
use crate::sqlserver::value::{Value, datetime_rounded, moment_text};

impl Session {
    pub(super) fn made_at(&self) -> String {
        literal(&moment_text(datetime_rounded(self.now.naive_utc()), 3))
    }

    /// The next `object_id` of a database.
    pub(super) fn next_object(&self, database: u32) -> Result<i64, SqlError> {
        let sql =
            format!("SELECT coalesce(max(object_id), 901578234) + 16 FROM {}.__objects", alias(database));
        match self.single(&sql, &[])? {
            Some(Value::Integer(id)) => Ok(id),
            _ => Err(SqlError::internal("no object id")),
        }
    }

    pub(super) fn schema_id(&self, database: u32, schema: &str) -> Result<i64, SqlError> {
        let sql = format!("SELECT schema_id FROM {}.__schemas WHERE name = ?", alias(database));
        match self.single(&sql, &[Value::Text(schema.to_owned())])? {
            Some(Value::Integer(id)) => Ok(id),
            _ => {
                let text = format!(
                    "The specified schema name \"{schema}\" either does not exist or you do not have permission to use it."
                );
                Err(SqlError::new(2760, text))
            }
        }
    }

    pub(super) fn name_is_taken(&self, database: u32, schema: i64, name: &str) -> Result<bool, SqlError> {
        let sql = format!("SELECT 1 FROM {}.__objects WHERE name = ? AND schema_id = ?", alias(database));
        Ok(self.single(&sql, &[Value::Text(name.to_owned()), Value::Integer(schema)])?.is_some())
    }

    /// SQLite's text that adds an object to a database's description.
    pub(super) fn object_row(
        &self,
        id: i64,
        schema: i64,
        name: &str,
        kind: &str,
        parent: i64,
        detail: &str,
    ) -> String {
        let (name, at, detail) = (literal(name), self.made_at(), literal(detail));
        format!(
            "INSERT INTO {{d}}.__objects VALUES ({id}, {schema}, {name}, '{kind}', {parent}, {at}, {at}, {detail})"
        )
    }

    /// Temporary tables need no lock.
    pub(super) fn lock_if_stored(&mut self, database: u32) -> Done<()> {
        if database == 0 { Ok(()) } else { self.lock_for_writing(database) }
    }
}

/// Puts a database's alias where SQLite's texts leave room for it.
pub(super) fn placed(statements: &[String], alias: &str) -> Vec<String> {
    statements.iter().map(|sql| sql.replace("{d}.", &format!("{alias}."))).collect()
}

pub(super) fn column_sql(column: &ColumnDefinition) -> String {
    let name = quoted(&column.name);
    if column.identity.is_some() {
        format!("{name} INTEGER PRIMARY KEY AUTOINCREMENT")
    } else {
        format!("{name} COLLATE ci")
    }
}

/// Adds a column to the description of its table.
pub(super) fn describe_column(
    session: &mut Session,
    table: &mut Found,
    column: &ColumnDefinition,
) -> Done<()> {
    if table.fields.iter().any(|field| compare(&field.name, &column.name).is_eq()) {
        let text = format!(
            "Column names in each table must be unique. Column name '{}' in table '{}' is specified more than once.",
            column.name, table.name
        );
        return Err(SqlError::new(2705, text).state(3).into());
    }
    let mut statements = Vec::new();
    let (mut default_id, mut default_text) = ("NULL".to_owned(), "NULL".to_owned());
    if let Some((name, text)) = &column.default {
        let id = session.next_object(table.database)?;
        let name = name.clone().unwrap_or_else(|| made_up("DF", &table.name, &column.name, id));
        let schema = session.schema_id(table.database, &table.schema)?;
        statements.push(session.object_row(id, schema, &name, "D ", table.object, ""));
        (default_id, default_text) = (id.to_string(), literal(text));
    }
    let number = format!(
        "(SELECT coalesce(max(column_id), 0) + 1 FROM {{d}}.__columns WHERE object_id = {})",
        table.object
    );
    let seed = column.identity.map_or("NULL".to_owned(), |seed| seed.to_string());
    statements.push(format!(
        "INSERT INTO {{d}}.__columns VALUES ({}, {number}, {}, '{}', {}, {seed}, {default_id}, {default_text})",
        table.object,
        literal(&column.name),
        column.ty,
        u8::from(column.nullable),
    ));
    session.change_schema(table.database, |alias| placed(&statements, alias))?;
    table.fields.push(Field {
        name: column.name.clone(),
        ty: column.ty,
        nullable: column.nullable,
        identity: column.identity.is_some(),
        default: column.default.as_ref().map(|(_, text)| text.clone()),
    });
    Ok(())
}

pub(super) fn made_up(kind: &str, table: &str, column: &str, id: i64) -> String {
    let cut = |text: &str, at: usize| text.chars().take(at).collect::<String>();
    format!("{kind}__{}__{}__{id:08X}", cut(table, 9), cut(column, 5))
}

pub(super) fn field<'a>(table: &'a Found, name: &str) -> Result<&'a Field, SqlError> {
    table.fields.iter().find(|field| compare(&field.name, name).is_eq()).ok_or_else(|| {
        SqlError::new(1911, format!("Column name '{name}' does not exist in the target table or view."))
    })
}
