//! Tables as the data files describe them. Main function: [`find`].

use rusqlite::types::Value;

use super::session::Session;
use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::statement::ObjectName;
use crate::sqlserver::query::names::{Field, Table};
use crate::sqlserver::sql_type::parse_text;
use crate::sqlserver::store::functions::compare;
use crate::sqlserver::store::record::quoted;

/// A table that was found, with what DDL needs to know.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its database; 0 for the session's own temporary tables.
    pub database: u32,
    /// Its `object_id`.
    pub object: i64,
    /// Its schema's number.
    pub schema_id: i64,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its columns.
    pub fields: Vec<Field>,
}

impl Found {
    /// Its name within the data file, not quoted.
    #[must_use]
    pub fn stored_name(&self) -> String {
        stored_name(&self.schema, &self.name)
    }

    /// What a compiled statement calls it.
    #[must_use]
    pub fn table(&self, database_name: &str) -> Table {
        Table {
            sql: format!("{}.{}", alias(self.database), quoted(&self.stored_name())),
            name: format!("{database_name}.{}.{}", self.schema, self.name),
            fields: self.fields.clone(),
            database: (self.database != 0).then_some(self.database),
            keys: Vec::new(),
            writable: true,
        }
    }
}

/// The name of a table within its data file: the schema is part of it.
#[must_use]
pub fn stored_name(schema: &str, name: &str) -> String {
    format!("{schema}.{name}")
}

/// What SQLite calls a database of this session.
#[must_use]
pub fn alias(database: u32) -> String {
    if database == 0 { "main".to_owned() } else { format!("d{database}") }
}

/// The database that a name stands in; temporary tables live in the session's own.
///
/// # Errors
/// 911 for a database that is not there, and why it cannot be used.
pub fn database_of(session: &mut Session, name: &ObjectName) -> Result<u32, SqlError> {
    if name.name.starts_with('#') {
        return Ok(0);
    }
    let id = match &name.database {
        None => session.current,
        Some(database) => {
            let catalog = session.instance.catalog();
            catalog.named(database).map(|found| found.id).ok_or_else(|| SqlError::object(&shown(name)))?
        }
    };
    session.attach(id)?;
    Ok(id)
}

/// A name as errors show it.
#[must_use]
pub fn shown(name: &ObjectName) -> String {
    let parts = [name.database.as_deref(), name.schema.as_deref(), Some(name.name.as_str())];
    parts.into_iter().flatten().collect::<Vec<_>>().join(".")
}

/// The user table of that name, if there is one.
///
/// # Errors
/// Why its database cannot be used.
pub fn find(session: &mut Session, name: &ObjectName) -> Result<Option<Found>, SqlError> {
    let database = database_of(session, name)?;
    let alias = alias(database);
    let schema = name.schema.as_deref().unwrap_or("dbo");
    let sql = format!(
        "SELECT o.object_id, s.schema_id, s.name, o.name FROM {alias}.__objects o JOIN {alias}.__schemas s USING (schema_id) \
         WHERE o.type = 'U ' AND o.name = ? AND s.name = ?"
    );
    let rows = session.all(&sql, &[Value::Text(name.name.clone()), Value::Text(schema.to_owned())])?;
    let Some([Value::Integer(object), Value::Integer(schema_id), Value::Text(schema), Value::Text(table)]) =
        rows.first().map(Vec::as_slice)
    else {
        return Ok(None);
    };
    let fields = fields(session, &alias, *object)?;
    Ok(Some(Found {
        database,
        object: *object,
        schema_id: *schema_id,
        schema: schema.clone(),
        name: table.clone(),
        fields,
    }))
}

/// The user table of that name.
///
/// # Errors
/// 4902 when there is none, as ALTER TABLE says it.
pub fn expect(session: &mut Session, name: &ObjectName) -> Result<Found, SqlError> {
    find(session, name)?.ok_or_else(|| {
        let text = format!(
            "Cannot find the object \"{}\" because it does not exist or you do not have permissions.",
            shown(name)
        );
        SqlError::new(4902, text)
    })
}

fn fields(session: &Session, alias: &str, object: i64) -> Result<Vec<Field>, SqlError> {
    let sql = format!(
        "SELECT name, type, nullable, seed, default_text FROM {alias}.__columns WHERE object_id = ? ORDER BY column_id"
    );
    let mut fields = Vec::new();
    for row in session.all(&sql, &[Value::Integer(object)])? {
        let [Value::Text(name), Value::Text(ty), Value::Integer(nullable), seed, default] = row.as_slice()
        else {
            return Err(SqlError::internal("a column's description is damaged"));
        };
        fields.push(Field {
            name: name.clone(),
            ty: parse_text(ty)?,
            nullable: *nullable != 0,
            identity: *seed != Value::Null,
            default: if let Value::Text(text) = default { Some(text.clone()) } else { None },
        });
    }
    Ok(fields)
}

/// An index, a key among them.
#[derive(Debug, Clone)]
pub struct Index {
    /// Its number within the table.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Whether it refuses duplicates.
    pub unique: bool,
    /// Whether it is the primary key.
    pub primary: bool,
    /// The constraint that it serves.
    pub constraint: Option<i64>,
    /// Its columns.
    pub columns: Vec<String>,
}

/// The indexes of a table.
///
/// # Errors
/// When their description is damaged.
pub fn indexes(session: &Session, table: &Found) -> Result<Vec<Index>, SqlError> {
    let sql = format!(
        "SELECT index_id, name, is_unique, is_primary, constraint_id, columns FROM {}.__indexes WHERE object_id = ?",
        alias(table.database)
    );
    let mut indexes = Vec::new();
    for row in session.all(&sql, &[Value::Integer(table.object)])? {
        let [
            Value::Integer(id),
            Value::Text(name),
            Value::Integer(unique),
            Value::Integer(primary),
            constraint,
            Value::Text(columns),
        ] = row.as_slice()
        else {
            return Err(SqlError::internal("an index's description is damaged"));
        };
        let columns: Vec<(String, bool)> = serde_json::from_str(columns).map_err(SqlError::internal)?;
        indexes.push(Index {
            id: *id,
            name: name.clone(),
            unique: *unique != 0,
            primary: *primary != 0,
            constraint: if let Value::Integer(id) = constraint { Some(*id) } else { None },
            columns: columns.into_iter().map(|(name, _)| name).collect(),
        });
    }
    Ok(indexes)
}

/// 2627 or 2601 for SQLite's list of columns `schema.table.column, ...` whose values were there already.
///
/// # Errors
/// When the table's description cannot be read.
pub fn duplicate(session: &mut Session, columns: &str, database: u32) -> Result<SqlError, SqlError> {
    let mut table = String::new();
    let mut names = Vec::new();
    for part in columns.split(", ") {
        if let Some((stored, column)) = part.rsplit_once('.') {
            stored.clone_into(&mut table);
            names.push(column.to_owned());
        }
    }
    let (schema, name) = table.split_once('.').unwrap_or(("dbo", &table));
    let database_name = session.instance.catalog().databases.get(&database).map(|found| found.name.clone());
    let object =
        ObjectName { database: database_name, schema: Some(schema.to_owned()), name: name.to_owned() };
    let Some(found) = find(session, &object)? else { return Ok(SqlError::new(2601, table.clone())) };
    let same = |index: &Index| {
        index.columns.len() == names.len()
            && index.columns.iter().zip(&names).all(|(a, b)| compare(a, b).is_eq())
    };
    let index = indexes(session, &found)?.into_iter().find(|index| index.unique && same(index));
    let Some(index) = index else {
        return Ok(SqlError::new(2601, format!("Cannot insert duplicate key in '{table}'.")));
    };
    Ok(match (index.constraint, index.primary) {
        (Some(_), primary) => {
            let kind = if primary { "PRIMARY KEY" } else { "UNIQUE KEY" };
            SqlError::new(
                2627,
                format!(
                    "Violation of {kind} constraint '{}'. Cannot insert duplicate key in object '{table}'.",
                    index.name
                ),
            )
            .class(14)
        }
        (None, _) => SqlError::new(
            2601,
            format!(
                "Cannot insert duplicate key row in object '{table}' with unique index '{}'.",
                index.name
            ),
        )
        .class(14),
    })
}
