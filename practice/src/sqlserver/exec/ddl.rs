//! Tables and schemas: made, emptied, dropped. Main function: [`create_table`].
//!
//! In a data file a column has no type and no constraint of SQLite's but uniqueness: types, NULL and defaults are
//! enforced by what the compiler writes into each change, foreign keys by triggers that know their name.

use super::describe::{column_sql, describe_column, placed};
use super::halt::Done;
use super::keys::{add_constraint, drop_constraint};
use super::session::Session;
use super::tables::{self, Found, alias, shown, stored_name};
use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::statement::{CreateTable, ObjectName, Rule};
use crate::sqlserver::query::compiler::literal;
use crate::sqlserver::store::functions::compare;
use crate::sqlserver::store::record::quoted;
use crate::sqlserver::value::Value;

/// `CREATE TABLE`.
pub fn create_table(session: &mut Session, create: &CreateTable) -> Done<()> {
    if format!("{create:?}").contains("{d}.") {
        return Err(SqlError::not_understood("names that contain {d}.").into());
    }
    let database = tables::database_of(session, &create.name)?;
    let schema_name = create.name.schema.clone().unwrap_or_else(|| "dbo".into());
    let schema = session.schema_id(database, &schema_name)?;
    let name = &create.name.name;
    if session.name_is_taken(database, schema, name)? {
        let text = format!("There is already an object named '{name}' in the database.");
        return Err(SqlError::new(2714, text).state(6).into());
    }
    let identity = create.columns.iter().find(|column| column.identity.is_some());
    let keyed = create.constraints.iter().any(|constraint| match &constraint.rule {
        Rule::PrimaryKey(columns) => matches!(
            (columns.as_slice(), identity),
            ([only], Some(identity)) if compare(only, &identity.name).is_eq()
        ),
        _ => false,
    });
    if identity.is_some() && !keyed {
        return Err(SqlError::not_understood("an IDENTITY column that is not the primary key").into());
    }
    let object = session.next_object(database)?;
    let table = format!("{{d}}.{}", quoted(&stored_name(&schema_name, name)));
    let columns: Vec<String> = create.columns.iter().map(column_sql).collect();
    let mut statements = vec![
        format!("CREATE TABLE {table} ({})", columns.join(", ")),
        session.object_row(object, schema, name, "U ", 0, ""),
    ];
    if let Some(seed) = identity.and_then(|column| column.identity).filter(|seed| *seed != 1) {
        let stored = literal(&stored_name(&schema_name, name));
        statements.push(format!("INSERT INTO {{d}}.sqlite_sequence VALUES ({stored}, {})", seed - 1));
    }
    session.change_schema(database, |alias| placed(&statements, alias))?;
    let fields = Vec::new();
    let mut found =
        Found { database, object, schema_id: schema, schema: schema_name, name: name.clone(), fields };
    for column in &create.columns {
        describe_column(session, &mut found, column)?;
    }
    create.constraints.iter().try_for_each(|constraint| add_constraint(session, &found, constraint))
}

/// `DROP TABLE`.
pub fn drop_table(session: &mut Session, name: &ObjectName, if_exists: bool) -> Done<()> {
    let Some(table) = tables::find(session, name)? else {
        if if_exists {
            return Ok(());
        }
        let text = format!(
            "Cannot drop the table '{}', because it does not exist or you do not have permission.",
            shown(name)
        );
        return Err(SqlError::new(3701, text).state(5).class(11).into());
    };
    let referring = format!(
        "SELECT 1 FROM {}.__objects WHERE type = 'F ' AND parent <> ? AND json_extract(detail, '$.referenced') = ?",
        alias(table.database)
    );
    let object = Value::Integer(table.object);
    if session.single(&referring, &[object.clone(), object])?.is_some() {
        let text = format!(
            "Could not drop object '{}' because it is referenced by a FOREIGN KEY constraint.",
            shown(name)
        );
        return Err(SqlError::new(3726, text).into());
    }
    let own_keys =
        format!("SELECT name FROM {}.__objects WHERE type = 'F ' AND parent = ?", alias(table.database));
    for row in session.all(&own_keys, &[Value::Integer(table.object)])? {
        if let [Value::Text(key)] = row.as_slice() {
            drop_constraint(session, &table, key, true)?;
        }
    }
    let object = table.object;
    let statements = [
        format!("DROP TABLE {{d}}.{}", quoted(&table.stored_name())),
        format!("DELETE FROM {{d}}.__objects WHERE object_id = {object} OR parent = {object}"),
        format!("DELETE FROM {{d}}.__columns WHERE object_id = {object}"),
        format!("DELETE FROM {{d}}.__indexes WHERE object_id = {object}"),
    ];
    session.change_schema(table.database, |alias| placed(&statements, alias))
}

/// `TRUNCATE TABLE`.
pub fn truncate(session: &mut Session, name: &ObjectName) -> Done<()> {
    let table = tables::expect(session, name)?;
    let referring = format!(
        "SELECT 1 FROM {}.__objects WHERE type = 'F ' AND json_extract(detail, '$.referenced') = ?",
        alias(table.database)
    );
    if session.single(&referring, &[Value::Integer(table.object)])?.is_some() {
        let text = format!(
            "Cannot truncate table '{}' because it is being referenced by a FOREIGN KEY constraint.",
            shown(name)
        );
        return Err(SqlError::new(4712, text).into());
    }
    session.lock_if_stored(table.database)?;
    session.sqlite(&format!(
        "DELETE FROM {}.{} WHERE 1",
        alias(table.database),
        quoted(&table.stored_name())
    ))?;
    if table.fields.iter().any(|field| field.identity) {
        let reset =
            [format!("DELETE FROM {{d}}.sqlite_sequence WHERE name = {}", literal(&table.stored_name()))];
        session.change_schema(table.database, |alias| placed(&reset, alias))?;
    }
    Ok(())
}

/// `CREATE SCHEMA`.
pub fn create_schema(session: &mut Session, name: &str) -> Done<()> {
    let database = session.current;
    session.attach(database)?;
    if session.schema_id(database, name).is_ok() {
        let text = format!("There is already an object named '{name}' in the database.");
        return Err(SqlError::new(2714, text).state(6).into());
    }
    let next = "(SELECT max(max(schema_id) + 1, 5) FROM {d}.__schemas WHERE schema_id < 16384)";
    let statements = [format!("INSERT INTO {{d}}.__schemas VALUES ({next}, {})", literal(name))];
    session.change_schema(database, |alias| placed(&statements, alias))
}
