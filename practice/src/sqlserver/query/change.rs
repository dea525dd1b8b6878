//! INSERT, UPDATE, DELETE. Main functions: [`compile_insert`], [`compile_update`], [`compile_delete`].

use sqlparser::ast::{
    Assignment, AssignmentTarget, Delete, Expr, FromTable, Insert, ObjectName as AstName, OutputClause,
    SelectItem, SetExpr, TableFactor, TableObject, TableWithJoins, Update, UpdateTableFromKind,
};

use super::compiler::{Compiled, Compiler, Source, Typed, literal, name_of};
use super::names::{Field, Names, Table};
use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::cursor::Cursor;
use crate::sqlserver::sql_type::SqlType;
use crate::sqlserver::store::functions::compare;
use crate::sqlserver::store::record::quoted;
use crate::sqlserver::tds::tokens::Column;

/// Compiles an INSERT.
///
/// # Errors
/// 110, 213, 264, 544 for its columns, and whatever its expressions are refused for.
pub fn compile_insert(names: &mut dyn Names, insert: &Insert) -> Result<Compiled, SqlError> {
    let TableObject::TableName(name) = &insert.table else {
        return Err(SqlError::not_understood("INSERT into anything but a table"));
    };
    if insert.on.is_some()
        || insert.or.is_some()
        || insert.overwrite
        || insert.returning.is_some()
        || insert.ignore
    {
        return Err(SqlError::syntax("INSERT"));
    }
    let mut compiler = Compiler::new(names);
    let table = compiler.writable(name)?;
    let chosen = compiler.insert_columns(&table, insert)?;
    // Columns that are not named get their default; only an IDENTITY is left to SQLite.
    let filled: Vec<&Field> = table
        .fields
        .iter()
        .filter(|field| !field.identity && !chosen.iter().any(|c| c.name == field.name))
        .collect();
    let mut defaults = Vec::new();
    for field in &filled {
        let value = compiler.default_of(field)?;
        defaults.push(compiler.stored(&value, field, &table));
    }
    let columns: Vec<String> =
        chosen.iter().chain(filled.iter().copied()).map(|field| quoted(&field.name)).collect();
    let rows = compiler.inserted_rows(&table, &chosen, insert.source.as_deref(), &defaults)?;
    let (returning, columns_out) = compiler.output(insert.output.as_ref(), &table, &["inserted"])?;
    let sql = if columns.is_empty() {
        format!("INSERT INTO {} DEFAULT VALUES{returning}", table.sql)
    } else {
        format!("INSERT INTO {} ({}) {rows}{returning}", table.sql, columns.join(", "))
    };
    Ok(Compiled { changes: table.database, ..compiler.finish(sql, columns_out) })
}

/// Compiles an UPDATE.
///
/// # Errors
/// As [`compile_insert`]; 8102 for an IDENTITY column.
pub fn compile_update(names: &mut dyn Names, update: &Update) -> Result<Compiled, SqlError> {
    if update.returning.is_some()
        || update.or.is_some()
        || !update.order_by.is_empty()
        || update.limit.is_some()
    {
        return Err(SqlError::syntax("UPDATE"));
    }
    let TableFactor::Table { name: target, alias: None, .. } = &update.table.relation else {
        return Err(SqlError::not_understood("UPDATE of anything but a table or alias"));
    };
    if !update.table.joins.is_empty() {
        return Err(SqlError::syntax("JOIN"));
    }
    let mut compiler = Compiler::new(names);
    let from = match &update.from {
        None => None,
        Some(UpdateTableFromKind::AfterSet(from)) => Some(from.as_slice()),
        Some(UpdateTableFromKind::BeforeSet(_)) => return Err(SqlError::syntax("FROM")),
    };
    let (table, source, from) = compiler.target(target, from)?;
    let mut sets = Vec::new();
    for assignment in &update.assignments {
        sets.push(compiler.assignment(assignment, &table)?);
    }
    let mut conditions = Vec::new();
    let head = if from.is_empty() {
        format!("UPDATE {} AS {source} SET {}", table.sql, sets.join(", "))
    } else {
        conditions.push(format!("u._rowid_ = {source}._rowid_"));
        format!("UPDATE {} AS u SET {}{from}", table.sql, sets.join(", "))
    };
    if let Some(condition) = &update.selection {
        conditions.push(compiler.condition(condition)?);
    }
    compiler.scopes.clear();
    let (returning, columns) = compiler.output(update.output.as_ref(), &table, &["inserted"])?;
    let filter =
        if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
    let sql = format!("{head}{filter}{returning}");
    Ok(Compiled { changes: table.database, ..compiler.finish(sql, columns) })
}

/// Compiles a DELETE.
///
/// # Errors
/// As [`compile_insert`].
pub fn compile_delete(names: &mut dyn Names, delete: &Delete) -> Result<Compiled, SqlError> {
    if delete.returning.is_some()
        || delete.using.is_some()
        || !delete.order_by.is_empty()
        || delete.limit.is_some()
    {
        return Err(SqlError::syntax("DELETE"));
    }
    let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
    let mut compiler = Compiler::new(names);
    let (table, source, from) = match (delete.tables.as_slice(), from.as_slice()) {
        ([], [TableWithJoins { relation: TableFactor::Table { name, .. }, joins }]) if joins.is_empty() => {
            compiler.target(name, None)?
        }
        ([target], from) => compiler.target(target, Some(from))?,
        _ => return Err(SqlError::not_understood("this form of DELETE")),
    };
    let condition = match &delete.selection {
        Some(condition) => compiler.condition(condition)?,
        None => "1".to_owned(),
    };
    compiler.scopes.clear();
    let (returning, columns) = compiler.output(delete.output.as_ref(), &table, &["deleted"])?;
    // A WHERE is always there: without one SQLite drops all rows at once and tells nobody which.
    let sql = if from.is_empty() {
        format!("DELETE FROM {} AS {source} WHERE {condition}{returning}", table.sql)
    } else {
        format!(
            "DELETE FROM {} WHERE _rowid_ IN (SELECT {source}._rowid_{from} WHERE {condition}){returning}",
            table.sql
        )
    };
    Ok(Compiled { changes: table.database, ..compiler.finish(sql, columns) })
}

impl Compiler<'_> {
    fn writable(&mut self, name: &AstName) -> Result<Table, SqlError> {
        let table = self.table(&name_of(name)?, None)?;
        if table.writable {
            return Ok(table);
        }
        Err(SqlError::new(259, "Ad hoc updates to system catalogs are not allowed."))
    }

    /// The table to change, its alias, and the FROM clause if there is one; its columns come into scope.
    fn target(
        &mut self,
        name: &AstName,
        from: Option<&[TableWithJoins]>,
    ) -> Result<(Table, String, String), SqlError> {
        let Some(from) = from else {
            let table = self.writable(name)?;
            self.scopes.push(Vec::new());
            let shown = name_of(name)?.name;
            let source = self.add_source(shown, table.fields.clone());
            return Ok((table, source, String::new()));
        };
        let wanted = name_of(name)?;
        let factors =
            from.iter().flat_map(|t| std::iter::once(&t.relation).chain(t.joins.iter().map(|j| &j.relation)));
        let mut table_name = None;
        for factor in factors {
            if let TableFactor::Table { name, alias, .. } = factor {
                let own = name_of(name)?;
                let shown = alias.as_ref().map_or(&own.name, |alias| &alias.name.value);
                if compare(shown, &wanted.name).is_eq() {
                    table_name = Some(name.clone());
                }
            }
        }
        let table = self.writable(&table_name.ok_or_else(|| SqlError::object(&wanted.name))?)?;
        self.scopes.push(Vec::new());
        let sql = self.sources(from)?;
        let sources: Vec<&Source> = self.scopes.iter().flatten().collect();
        let source = sources.iter().find(|source| compare(&source.name, &wanted.name).is_eq());
        let alias = source.map(|source| source.prefix.trim_end_matches('.').to_owned()).unwrap_or_default();
        Ok((table, alias, sql))
    }

    fn insert_columns(&mut self, table: &Table, insert: &Insert) -> Result<Vec<Field>, SqlError> {
        let may_insert = self.names.may_insert_identity(table);
        if insert.columns.is_empty() {
            let default_values = insert.source.is_none();
            let all = table.fields.iter().filter(|field| !field.identity && !default_values);
            return Ok(all.cloned().collect());
        }
        let mut chosen: Vec<Field> = Vec::new();
        for name in &insert.columns {
            let name = name_of(name)?.name;
            let field = table.fields.iter().find(|field| compare(&field.name, &name).is_eq());
            let field = field.ok_or_else(|| SqlError::column(&name))?;
            if field.identity && !may_insert {
                let text = format!(
                    "Cannot insert explicit value for identity column in table '{}' when IDENTITY_INSERT is set to OFF.",
                    bare(&table.name)
                );
                return Err(SqlError::new(544, text));
            }
            if chosen.iter().any(|other| other.name == field.name) {
                let text = format!(
                    "The column name '{name}' is specified more than once in the SET clause or column list of an INSERT."
                );
                return Err(SqlError::new(264, text));
            }
            chosen.push(field.clone());
        }
        Ok(chosen)
    }

    /// What stands after the column list.
    fn inserted_rows(
        &mut self,
        table: &Table,
        chosen: &[Field],
        source: Option<&sqlparser::ast::Query>,
        defaults: &[String],
    ) -> Result<String, SqlError> {
        let Some(source) = source else { return Ok(format!("VALUES ({})", defaults.join(", "))) };
        if let (SetExpr::Values(values), None) = (&*source.body, &source.with) {
            let mut rows = Vec::new();
            for row in &values.rows {
                if row.content.len() != chosen.len() {
                    return Err(wrong_number(chosen.len() > row.content.len()));
                }
                let mut cells = Vec::new();
                for (expression, field) in row.content.iter().zip(chosen) {
                    let value = self.value_for(expression, field)?;
                    cells.push(self.stored(&value, field, table));
                }
                cells.extend_from_slice(defaults);
                rows.push(format!("({})", cells.join(", ")));
            }
            return Ok(format!("VALUES {}", rows.join(", ")));
        }
        let query = self.query(source, false)?;
        if query.columns.len() != chosen.len() {
            let more = chosen.len() > query.columns.len();
            let (number, which) = if more { (120, "fewer") } else { (121, "more") };
            let text = format!(
                "The select list for the INSERT statement contains {which} items than the insert list. The number of SELECT values must match the number of INSERT columns."
            );
            return Err(SqlError::new(number, text));
        }
        let mut cells = Vec::new();
        for (at, (column, field)) in query.columns.iter().zip(chosen).enumerate() {
            let value = Typed { sql: format!("q.k{at}"), ty: column.ty, nullable: column.nullable };
            cells.push(self.stored(&value, field, table));
        }
        cells.extend_from_slice(defaults);
        let empty: Vec<String> = (0..query.columns.len()).map(|at| format!("NULL AS k{at}")).collect();
        Ok(format!(
            "SELECT {} FROM (SELECT {} WHERE 0 UNION ALL SELECT * FROM ({})) AS q",
            cells.join(", "),
            empty.join(", "),
            query.sql
        ))
    }

    fn assignment(&mut self, assignment: &Assignment, table: &Table) -> Result<String, SqlError> {
        let AssignmentTarget::ColumnName(name) = &assignment.target else {
            return Err(SqlError::syntax("SET"));
        };
        let name = name_of(name)?.name;
        if name.starts_with('@') {
            return Err(SqlError::not_understood("UPDATE that sets a variable"));
        }
        let field = table.fields.iter().find(|field| compare(&field.name, &name).is_eq());
        let field = field.ok_or_else(|| SqlError::column(&name))?;
        if field.identity {
            return Err(SqlError::new(8102, format!("Cannot update identity column '{name}'.")));
        }
        let value = self.value_for(&assignment.value, field)?;
        Ok(format!("{} = {}", quoted(&field.name), self.stored(&value, field, table)))
    }

    /// An expression for a column; DEFAULT is the column's own.
    fn value_for(&mut self, expression: &Expr, field: &Field) -> Result<Typed, SqlError> {
        match expression {
            Expr::Identifier(ident)
                if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("DEFAULT") =>
            {
                self.default_of(field)
            }
            other => self.expression(other),
        }
    }

    fn default_of(&mut self, field: &Field) -> Result<Typed, SqlError> {
        let Some(text) = &field.default else { return Ok(Typed::new("NULL", SqlType::Null)) };
        let expression = Cursor::new(text)?.expression()?;
        self.expression(&expression)
    }

    /// A value as the column keeps it, with the errors of an assignment.
    fn stored(&self, value: &Typed, field: &Field, table: &Table) -> String {
        let (name, column) = (literal(&table.name), literal(&field.name));
        let nullable = u8::from(field.nullable);
        format!("dd_store({}, '{}', '{}', {nullable}, {name}, {column})", value.sql, value.ty, field.ty)
    }

    /// OUTPUT as RETURNING, with a blank before; `rows` names the one pseudo-table that it can show.
    fn output(
        &mut self,
        clause: Option<&OutputClause>,
        table: &Table,
        rows: &[&str],
    ) -> Result<(String, Vec<Column>), SqlError> {
        let items = match clause {
            None => return Ok((String::new(), Vec::new())),
            Some(OutputClause::Output { select_items, into_table: None, .. }) => select_items,
            Some(_) => return Err(SqlError::not_understood("OUTPUT INTO")),
        };
        let source = |name: &&str| Source {
            name: (*name).to_owned(),
            prefix: String::new(),
            fields: table.fields.clone(),
        };
        self.scopes.push(rows.iter().map(source).collect());
        let mut parts = Vec::new();
        let mut columns = Vec::new();
        for item in items {
            let (name, expression) = match item {
                SelectItem::UnnamedExpr(expression) => (None, expression),
                SelectItem::ExprWithAlias { expr, alias } => (Some(alias.value.clone()), expr),
                _ => return Err(SqlError::not_understood("OUTPUT of all columns")),
            };
            let value = self.expression(expression)?;
            let implied = match expression {
                Expr::CompoundIdentifier(names) => {
                    names.last().map(|name| name.value.clone()).unwrap_or_default()
                }
                _ => String::new(),
            };
            columns.push(Column { name: name.unwrap_or(implied), ty: value.ty, nullable: value.nullable });
            parts.push(value.sql);
        }
        self.scopes.pop();
        Ok((format!(" RETURNING {}", parts.join(", ")), columns))
    }
}

fn bare(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

fn wrong_number(fewer: bool) -> SqlError {
    let (number, which) = if fewer { (109, "more") } else { (110, "fewer") };
    let text = format!(
        "There are {which} columns in the INSERT statement than values specified in the VALUES clause. The number of values in the VALUES clause must match the number of columns specified in the INSERT statement."
    );
    SqlError::new(number, text).class(15)
}
