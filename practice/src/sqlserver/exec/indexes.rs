//! Indexes: made and dropped. Main function: [`create_index`].

use serde_json::json;

use super::describe::{field, placed};
use super::halt::{Done, Halt};
use super::session::Session;
use super::tables::{self, Found, indexes, shown};
use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::statement::{CreateIndex, ObjectName};
use crate::sqlserver::query::compiler::literal;
use crate::sqlserver::store::functions::compare;
use crate::sqlserver::store::record::quoted;

pub(super) fn next_index(existing: &[tables::Index], clustered: bool) -> i64 {
    if clustered && !existing.iter().any(|index| index.id == 1) {
        return 1;
    }
    existing.iter().map(|index| index.id).max().unwrap_or(1).max(1) + 1
}

/// The name of an index within the data file: SQLite's are unique there, T-SQL's only within their table.
pub(super) fn index_name(table: &Found, name: &str) -> String {
    quoted(&format!("{}/{name}", table.stored_name()))
}

pub(super) fn index_sql(
    table: &Found,
    name: &str,
    columns: &[(String, bool)],
    unique: bool,
    filter: &str,
) -> String {
    let unique = if unique { "UNIQUE " } else { "" };
    let list: Vec<String> = columns
        .iter()
        .map(|(name, descends)| format!("{}{}", quoted(name), if *descends { " DESC" } else { "" }))
        .collect();
    let on = quoted(&table.stored_name());
    format!("CREATE {unique}INDEX {{d}}.{} ON {on}({}){filter}", index_name(table, name), list.join(", "))
}

#[allow(clippy::too_many_arguments)] // One row of the description, in the order of its columns.
pub(super) fn index_rows(
    table: &Found,
    name: &str,
    columns: &[(String, bool)],
    unique: bool,
    primary: bool,
    constraint: Option<i64>,
    number: i64,
    filter: Option<&str>,
) -> Vec<String> {
    let constraint = constraint.map_or("NULL".to_owned(), |id| id.to_string());
    let filter = filter.map_or("NULL".to_owned(), literal);
    vec![format!(
        "INSERT INTO {{d}}.__indexes VALUES ({}, {number}, {}, {}, {}, {constraint}, {}, {filter})",
        table.object,
        literal(name),
        u8::from(unique),
        u8::from(primary),
        literal(&json!(columns).to_string()),
    )]
}

/// Runs statements that make a unique index; rows that are alike are an error of their own.
pub(super) fn create_unique(
    session: &mut Session,
    table: &Found,
    name: &str,
    statements: &[String],
) -> Done<()> {
    session.change_schema(table.database, |alias| placed(statements, alias)).map_err(|halt| match halt {
        Halt::Errors(errors) if errors.first().is_some_and(|error| error.number == 2627) => {
            let text = format!(
                "The CREATE UNIQUE INDEX statement terminated because a duplicate key was found for the object name '{}.{}' and the index name '{name}'.",
                table.schema, table.name
            );
            SqlError::new(1505, text).into()
        }
        other => other,
    })
}

/// `CREATE INDEX`.
pub fn create_index(session: &mut Session, create: &CreateIndex) -> Done<()> {
    let table = tables::expect(session, &create.table)?;
    let existing = indexes(session, &table)?;
    if existing.iter().any(|index| compare(&index.name, &create.name).is_eq()) {
        let text = format!(
            "The operation failed because an index or statistics with name '{}' already exists on table '{}'.",
            create.name,
            shown(&create.table)
        );
        return Err(SqlError::new(1913, text).into());
    }
    let columns =
        create.columns.iter().map(|(name, descends)| Ok((field(&table, name)?.name.clone(), *descends)));
    let columns = columns.collect::<Result<Vec<_>, SqlError>>()?;
    // A filtered index is one over all rows here: only a unique one would differ, and that is refused.
    if create.filter.is_some() && create.unique {
        return unique_where_not_null(session, &table, create, &columns, &existing);
    }
    let mut statements = index_rows(
        &table,
        &create.name,
        &columns,
        create.unique,
        false,
        None,
        next_index(&existing, false),
        None,
    );
    statements.push(index_sql(&table, &create.name, &columns, create.unique, ""));
    create_unique(session, &table, &create.name, &statements)
}

/// The one filter that a unique index may have: its columns IS NOT NULL, which is how SQLite's unique indexes are.
pub(super) fn unique_where_not_null(
    session: &mut Session,
    table: &Found,
    create: &CreateIndex,
    columns: &[(String, bool)],
    existing: &[tables::Index],
) -> Done<()> {
    let filter = create.filter.as_ref().map(ToString::to_string).unwrap_or_default();
    let understood = filter.to_uppercase().split(" AND ").all(|part| part.ends_with(" IS NOT NULL"));
    if !understood {
        return Err(SqlError::not_understood("the filter of a unique index").into());
    }
    let mut statements = index_rows(
        table,
        &create.name,
        columns,
        true,
        false,
        None,
        next_index(existing, false),
        Some(&filter),
    );
    statements.push(index_sql(table, &create.name, columns, true, ""));
    create_unique(session, table, &create.name, &statements)
}

/// `DROP INDEX`.
pub fn drop_index(session: &mut Session, name: &ObjectName, index: &str, if_exists: bool) -> Done<()> {
    let table = tables::expect(session, name)?;
    let found = indexes(session, &table)?
        .into_iter()
        .find(|i| i.constraint.is_none() && compare(&i.name, index).is_eq());
    let Some(found) = found else {
        if if_exists {
            return Ok(());
        }
        let text = format!(
            "Cannot drop the index '{}.{index}', because it does not exist or you do not have permission.",
            shown(name)
        );
        return Err(SqlError::new(3701, text).state(7).class(11).into());
    };
    let statements = [
        format!("DROP INDEX {{d}}.{}", index_name(&table, &found.name)),
        format!("DELETE FROM {{d}}.__indexes WHERE object_id = {} AND index_id = {}", table.object, found.id),
    ];
    session.change_schema(table.database, |alias| placed(&statements, alias))
}
