//! `SELECT … INTO`: a new table of a query's rows, logged no more than it must be. Main function: [`select_into`].

use sqlparser::ast::{Query, SetExpr};

use super::ddl::create_table;
use super::halt::Done;
use super::output::Output;
use super::rows::change;
use super::session::Session;
use super::tables::database_of;
use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::batch::parse_batch;
use crate::sqlserver::lang::cursor::Cursor;
use crate::sqlserver::lang::statement::{Body, ColumnDefinition, CreateTable};
use crate::sqlserver::query::change::compile_insert;
use crate::sqlserver::query::compiler::Compiler;
use crate::sqlserver::tds::tokens::Command;

/// Whether a query makes a table.
#[must_use]
pub fn makes_table(query: &Query) -> bool {
    matches!(&*query.body, SetExpr::Select(select) if select.into.is_some())
}

/// Makes the table and fills it; where bulk operations are logged by their pages alone, the log says so.
pub fn select_into(session: &mut Session, query: &Query, out: &mut Output) -> Done<()> {
    let mut query = query.clone();
    let SetExpr::Select(select) = &mut *query.body else { return Err(SqlError::syntax("INTO").into()) };
    let Some(into) = select.into.take() else { return Err(SqlError::syntax("INTO").into()) };
    let [written] = into.targets.as_slice() else { return Err(SqlError::syntax("INTO").into()) };
    let written = written.to_string();
    let name = Cursor::new(&written).and_then(|mut cursor| cursor.object_name())?;
    session.atomically(|session| {
        let compiled = Compiler::new(session).query(&query, false)?;
        let mut columns = Vec::new();
        for column in compiled.columns {
            if column.name.is_empty() {
                let text = "An object or column name is missing or empty. For SELECT INTO statements, verify each column has a name. For other statements, look for empty alias names. Aliases defined as \"\" or [] are not allowed. Change the alias to a valid name.";
                return Err(SqlError::new(1038, text).class(15).state(5).into());
            }
            let (name, ty) = (column.name, column.ty);
            columns.push(ColumnDefinition { name, ty, nullable: true, identity: None, default: None });
        }
        create_table(session, &CreateTable { name: name.clone(), columns, constraints: Vec::new() })?;
        let database = database_of(session, &name)?;
        session.transaction.bulk.insert(database);
        let filling = parse_batch(&format!("INSERT INTO {written} {query}"))?;
        let Some(Body::Insert(insert)) = filling.into_iter().next().map(|statement| statement.body) else {
            return Err(SqlError::syntax("INTO").into());
        };
        let compiled = compile_insert(session, &insert)?;
        change(session, &compiled, Command::Select, out)
    })
}
