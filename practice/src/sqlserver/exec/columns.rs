//! Columns of tables that are there: added, changed, dropped. Main function: [`add_column`].

use super::describe::{column_sql, describe_column, field, placed};
use super::halt::{Done, Halt};
use super::session::Session;
use super::tables::{Found, alias, indexes};
use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::cursor::Cursor;
use crate::sqlserver::lang::statement::ColumnDefinition;
use crate::sqlserver::query::compiler::{Compiler, literal};
use crate::sqlserver::sql_type::SqlType;
use crate::sqlserver::store::functions::compare;
use crate::sqlserver::store::record::quoted;
use crate::sqlserver::value::Value;

/// `ALTER TABLE … ADD` of a column. Rows that are there get the default where the column cannot be NULL.
pub fn add_column(session: &mut Session, table: &mut Found, column: &ColumnDefinition) -> Done<()> {
    if column.identity.is_some() {
        return Err(SqlError::not_understood("adding an IDENTITY column").into());
    }
    let name = quoted(&table.stored_name());
    let add = [format!("ALTER TABLE {{d}}.{name} ADD COLUMN {}", column_sql(column))];
    describe_column(session, table, column)?;
    session.change_schema(table.database, |alias| placed(&add, alias))?;
    if column.nullable {
        return Ok(());
    }
    let has_rows =
        session.single(&format!("SELECT 1 FROM {}.{name} LIMIT 1", alias(table.database)), &[])?.is_some();
    match &column.default {
        Some((_, text)) => {
            let expression = Cursor::new(text)?.expression()?;
            let mut compiler = Compiler::new(session);
            let value = compiler.expression(&expression)?;
            let compiled = compiler.finish(value.sql, Vec::new());
            // One value for all rows, so that the log can be applied without evaluating it again.
            let sql = format!("SELECT dd_cast({}, '{}', '{}', NULL)", compiled.sql, value.ty, column.ty);
            let value = session.single(&sql, &compiled.parameters)?.unwrap_or(Value::Null);
            let update = format!("UPDATE {}.{name} SET {} = ?", alias(table.database), quoted(&column.name));
            session.lock_if_stored(table.database)?;
            session.connection.execute(&update, [value]).map(|_| ()).map_err(|error| session.halted(&error))
        }
        None if has_rows => {
            let text = format!(
                "ALTER TABLE only allows columns to be added that can contain nulls, or have a DEFAULT definition specified, or the column being added is an identity or timestamp column, or alternatively if none of the previous conditions are satisfied the table must be empty to allow addition of this column. Column '{}' cannot be added to non-empty table '{}' because it does not satisfy these conditions.",
                column.name, table.name
            );
            Err(SqlError::new(4901, text).into())
        }
        None => Ok(()),
    }
}

/// `ALTER TABLE … ALTER COLUMN`: the values are converted where they lie.
pub fn alter_column(
    session: &mut Session,
    table: &Found,
    name: &str,
    ty: SqlType,
    nullable: bool,
) -> Done<()> {
    let field = field(table, name)?.clone();
    if field.identity {
        return Err(SqlError::not_understood("changing an IDENTITY column").into());
    }
    let at = format!("object_id = {} AND name = {}", table.object, literal(&field.name));
    let describe =
        [format!("UPDATE {{d}}.__columns SET type = '{ty}', nullable = {} WHERE {at}", u8::from(nullable))];
    session.change_schema(table.database, |alias| placed(&describe, alias))?;
    let column = quoted(&field.name);
    let shown = literal(&format!("{}.{}", table.schema, table.name));
    let update = format!(
        "UPDATE {}.{} SET {column} = dd_store({column}, '{}', '{ty}', {}, {shown}, {})",
        alias(table.database),
        quoted(&table.stored_name()),
        field.ty,
        u8::from(nullable),
        literal(&field.name)
    );
    session.lock_if_stored(table.database)?;
    session.connection.execute(&update, []).map(|_| ()).map_err(|error| session.halted(&error))
}

/// `ALTER TABLE … DROP COLUMN`.
pub fn drop_column(session: &mut Session, table: &Found, name: &str) -> Done<()> {
    let field = field(table, name).map_err(|_| {
        SqlError::new(
            4924,
            format!(
                "ALTER TABLE DROP COLUMN failed because column '{name}' does not exist in table '{}'.",
                table.name
            ),
        )
    })?;
    let used = indexes(session, table)?
        .into_iter()
        .find(|index| index.columns.iter().any(|c| compare(c, name).is_eq()));
    if used.is_some() || field.default.is_some() {
        let by = used.map(|index| index.name).unwrap_or_else(|| "its default".into());
        let text = format!("The object '{by}' is dependent on column '{name}'.");
        let failed =
            format!("ALTER TABLE DROP COLUMN {name} failed because one or more objects access this column.");
        return Err(Halt::Errors(vec![SqlError::new(5074, text), SqlError::new(4922, failed).state(9)]));
    }
    let statements = [
        format!("ALTER TABLE {{d}}.{} DROP COLUMN {}", quoted(&table.stored_name()), quoted(&field.name)),
        format!(
            "DELETE FROM {{d}}.__columns WHERE object_id = {} AND name = {}",
            table.object,
            literal(&field.name)
        ),
    ];
    session.change_schema(table.database, |alias| placed(&statements, alias))
}
