//! Queries and changes of rows: compiled, run, answered. Main functions: [`select`], [`change`].

use chrono::{DateTime, Utc};
use sqlparser::ast::{Expr, Query, SelectItem, SetExpr};

use super::halt::{Done, Halt};
use super::output::Output;
use super::session::{Session, bound};
use super::{server_functions, tables, view_rows, views};
use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::statement::ObjectName;
use crate::sqlserver::query::compiler::{Compiled, Compiler, cast_sql, kept_alike};
use crate::sqlserver::query::names::{Names, Table, TypedValue};
use crate::sqlserver::sql_type::{Family, SqlType};
use crate::sqlserver::tds::tokens::{COUNT, Command};
use crate::sqlserver::value::Value;

impl Names for Session {
    fn table(&mut self, name: &ObjectName, arguments: Option<&[Value]>) -> Result<Table, SqlError> {
        if let Some(view) = views::find(self, name, arguments)? {
            return Ok(view);
        }
        let missing = || SqlError::object(&tables::shown(name));
        if arguments.is_some() {
            return Err(missing());
        }
        let found = tables::find(self, name)?.ok_or_else(missing)?;
        let right = self.writes.take().unwrap_or("SELECT");
        if found.database != 0
            && !self.allows(found.database, right, Some((found.object, found.schema_id)))?
        {
            let (database, schema) = (view_rows::database_name(self, found.database), &found.schema);
            let text = format!(
                "The {right} permission was denied on the object '{}', database '{database}', schema '{schema}'.",
                found.name
            );
            return Err(SqlError::new(229, text).state(5).class(14));
        }
        let catalog = self.instance.catalog();
        let database = catalog.databases.get(&found.database).map_or("tempdb", |database| &database.name);
        Ok(found.table(database))
    }

    fn variable(&self, name: &str) -> Option<TypedValue> {
        if name.starts_with("@@") {
            server_functions::global(self, name)
        } else {
            self.variables.get(name).cloned()
        }
    }

    fn function(&mut self, name: &str, arguments: &[TypedValue]) -> Result<Option<TypedValue>, SqlError> {
        server_functions::call(self, name, arguments)
    }

    fn evaluate(&mut self, sql: &str, parameters: &[Value]) -> Result<Value, SqlError> {
        Ok(self.single(&format!("SELECT {sql}"), parameters)?.unwrap_or(Value::Null))
    }

    fn now(&self) -> DateTime<Utc> {
        self.now
    }

    fn may_insert_identity(&self, table: &Table) -> bool {
        let key = table.database.map(|database| (database, table.sql.clone()));
        self.options.identity_insert.is_some() && self.options.identity_insert == key
    }
}

/// Runs a query; its result is the answer, or the variables that it assigns.
pub fn select(session: &mut Session, query: &Query, out: &mut Output) -> Done<()> {
    let assigned = assigned_variables(query)?;
    let mut compiler = Compiler::new(session);
    let compiled = compiler.query(query, false)?;
    let compiled = compiler.finish(compiled.sql, compiled.columns);
    if assigned.is_empty() {
        let count = answer(session, &compiled, out)?;
        session.row_count = count as i64;
        let status = if session.options.no_count { 0 } else { COUNT };
        out.done(status, Command::Select, count);
        return Ok(());
    }
    // Of several rows the last one stays, as on the real server.
    let rows = session.all(&compiled.sql, &compiled.parameters)?;
    session.row_count = rows.len() as i64;
    if let Some(row) = rows.last() {
        for ((name, value), column) in assigned.iter().zip(row).zip(&compiled.columns) {
            session.assign(name, value.clone(), column.ty)?;
        }
    }
    Ok(())
}

/// The variables of `SELECT @a = …, @b = …`; none when it is a query with a result.
fn assigned_variables(query: &Query) -> Result<Vec<String>, SqlError> {
    let SetExpr::Select(select) = &*query.body else { return Ok(Vec::new()) };
    let names: Vec<String> = select
        .projection
        .iter()
        .filter_map(|item| match item {
            SelectItem::ExprWithAlias { alias, .. }
                if alias.quote_style.is_none() && alias.value.starts_with('@') =>
            {
                Some(alias.value.to_lowercase())
            }
            _ => None,
        })
        .collect();
    if names.is_empty() || names.len() == select.projection.len() {
        return Ok(names);
    }
    let text = "A SELECT statement that assigns a value to a variable must not be combined with data-retrieval operations.";
    Err(SqlError::new(141, text).class(15))
}

/// Sends a compiled statement's rows; how many there were.
fn answer(session: &mut Session, compiled: &Compiled, out: &mut Output) -> Done<u64> {
    let run = |session: &Session, out: &mut Output| -> Result<u64, Halt> {
        let halted = |error: rusqlite::Error| session.halted(&error);
        let mut statement = session.connection.prepare_cached(&compiled.sql).map_err(halted)?;
        let parameters = bound(&statement, &compiled.parameters);
        let mut rows = statement.query(rusqlite::params_from_iter(parameters)).map_err(halted)?;
        // Until the first row is there an error leaves no columns behind.
        let mut next = rows.next().map_err(halted)?;
        out.columns(&compiled.columns);
        let mut count = 0;
        while let Some(row) = next {
            let values =
                (0..compiled.columns.len()).map(|at| row.get(at)).collect::<rusqlite::Result<Vec<Value>>>();
            out.row(&compiled.columns, &values.map_err(halted)?)?;
            count += 1;
            if count % 256 == 0 {
                session.check_stop()?;
            }
            next = rows.next().map_err(halted)?;
        }
        Ok(count)
    };
    run(session, out)
}

/// Runs a compiled INSERT, UPDATE or DELETE.
pub fn change(session: &mut Session, compiled: &Compiled, command: Command, out: &mut Output) -> Done<()> {
    let database = compiled.changes;
    let changed = session.atomically(|session| {
        for id in &compiled.databases {
            session.attach(*id)?;
        }
        session.lock_if_stored(database.unwrap_or(0))?;
        if compiled.columns.is_empty() {
            let run = session.connection.prepare_cached(&compiled.sql).and_then(|mut statement| {
                let parameters = bound(&statement, &compiled.parameters);
                statement.execute(rusqlite::params_from_iter(parameters))
            });
            return run.map(|count| count as u64).map_err(|error| session.halted(&error));
        }
        answer(session, compiled, out)
    });
    let count = match changed {
        Ok(count) => count,
        Err(Halt::Errors(errors)) => return Err(terminated(session, errors, database.unwrap_or(0))),
        Err(other) => return Err(other),
    };
    if command == Command::Insert && count > 0 {
        session.identity = Some(session.connection.last_insert_rowid());
    }
    session.row_count = count as i64;
    out.done(if session.options.no_count { 0 } else { COUNT }, command, count);
    Ok(())
}

/// The errors of a change: duplicates get the name of their key, and 3621 says that nothing was changed.
fn terminated(session: &mut Session, mut errors: Vec<SqlError>, database: u32) -> Halt {
    if let Some(error) = errors.first_mut().filter(|error| error.number == 2627) {
        match tables::duplicate(session, &error.message, database) {
            Ok(named) | Err(named) => *error = named,
        }
    }
    let is_row_error =
        errors.first().is_some_and(|error| matches!(error.number, 515 | 547 | 2601 | 2627 | 2628 | 8115));
    if is_row_error {
        errors.push(SqlError::new(3621, "The statement has been terminated.").state(0).class(10));
    }
    Halt::Errors(errors)
}

impl Session {
    /// The value of an expression outside any query.
    ///
    /// # Errors
    /// As the compiler, and what the expression raises.
    pub fn value_of(&mut self, expression: &Expr) -> Result<TypedValue, SqlError> {
        let mut compiler = Compiler::new(self);
        let value = compiler.expression(expression)?;
        let compiled = compiler.finish(format!("SELECT {}", value.sql), Vec::new());
        let found = self.single(&compiled.sql, &compiled.parameters)?.unwrap_or(Value::Null);
        Ok((found, value.ty))
    }

    /// Whether a condition holds; unknown counts as false.
    ///
    /// # Errors
    /// As [`Session::value_of`].
    pub fn holds(&mut self, condition: &Expr) -> Result<bool, SqlError> {
        let mut compiler = Compiler::new(self);
        let sql = compiler.condition(condition)?;
        let compiled = compiler.finish(format!("SELECT {sql}"), Vec::new());
        Ok(self.single(&compiled.sql, &compiled.parameters)? == Some(Value::Integer(1)))
    }

    /// Gives a variable a value, converted to its type.
    ///
    /// # Errors
    /// 137 when it is not declared, and those of the conversion.
    pub fn assign(&mut self, name: &str, value: Value, from: SqlType) -> Result<(), SqlError> {
        let Some((_, to)) = self.variables.get(name) else {
            let text = format!("Must declare the scalar variable \"{name}\".");
            return Err(SqlError::new(137, text).class(15));
        };
        let to = *to;
        let value = self.converted(value, from, to)?;
        self.variables.insert(name.to_owned(), (value, to));
        Ok(())
    }

    /// A value in another type.
    ///
    /// # Errors
    /// Those of the conversion.
    pub fn converted(&self, value: Value, from: SqlType, to: SqlType) -> Result<Value, SqlError> {
        if value == Value::Null
            || (kept_alike(from, to) && from.family() != Family::Text && from.family() != Family::Integer)
        {
            return Ok(value);
        }
        let sql = format!("SELECT {}", cast_sql("dd_cast", "?1", from, to, "NULL"));
        Ok(self.single(&sql, &[value])?.unwrap_or(Value::Null))
    }
}
