//! FROM: tables, derived tables, joins, APPLY. Main function: [`Compiler::sources`].

use sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Join, JoinConstraint, JoinOperator, TableFactor, TableWithJoins,
};

use super::compiler::{Compiler, Source, name_of};
use super::names::{Field, Table};
use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::statement::ObjectName;
use crate::sqlserver::store::functions::compare;
use crate::sqlserver::store::record::quoted;
use crate::sqlserver::tds::tokens::Column;

impl Compiler<'_> {
    /// FROM, with a blank before it; its sources are added to the innermost scope.
    pub(super) fn sources(&mut self, from: &[TableWithJoins]) -> Result<String, SqlError> {
        let mut parts = Vec::new();
        for table in from {
            let mut sql = self.factor(&table.relation)?;
            for join in &table.joins {
                sql += &self.join(join)?;
            }
            parts.push(sql);
        }
        Ok(if parts.is_empty() { String::new() } else { format!(" FROM {}", parts.join(" CROSS JOIN ")) })
    }

    fn join(&mut self, join: &Join) -> Result<String, SqlError> {
        let (word, constraint) = match &join.join_operator {
            JoinOperator::Join(on) | JoinOperator::Inner(on) => ("JOIN", Some(on)),
            JoinOperator::Left(on) | JoinOperator::LeftOuter(on) => ("LEFT JOIN", Some(on)),
            JoinOperator::Right(on) | JoinOperator::RightOuter(on) => ("RIGHT JOIN", Some(on)),
            JoinOperator::FullOuter(on) => ("FULL JOIN", Some(on)),
            JoinOperator::CrossJoin(_) => ("CROSS JOIN", None),
            JoinOperator::CrossApply => return self.apply("JOIN", &join.relation),
            JoinOperator::OuterApply => return self.apply("LEFT JOIN", &join.relation),
            other => return Err(SqlError::not_understood(format_args!("the join {other:?}"))),
        };
        let relation = self.factor(&join.relation)?;
        match constraint {
            None => Ok(format!(" {word} {relation}")),
            Some(JoinConstraint::On(condition)) => {
                Ok(format!(" {word} {relation} ON {}", self.condition(condition)?))
            }
            Some(_) => Err(SqlError::syntax("JOIN")),
        }
    }

    /// APPLY of a table function: a join on what its arguments are compared with.
    fn apply(&mut self, word: &str, relation: &TableFactor) -> Result<String, SqlError> {
        let TableFactor::Table { name, alias, args: Some(arguments), .. } = relation else {
            return Err(SqlError::not_understood("APPLY of anything but a table function"));
        };
        let arguments = arguments.args.iter().map(argument).collect::<Result<Vec<_>, _>>()?;
        let values =
            arguments.iter().map(|argument| self.expression(argument)).collect::<Result<Vec<_>, _>>()?;
        let table = self.table(&name_of(name)?, None)?;
        if table.keys.len() != values.len() {
            return Err(SqlError::not_understood(format_args!("APPLY of {name} over columns")));
        }
        let shown = alias.as_ref().map_or(&table.name, |alias| &alias.name.value).clone();
        let prefix = self.add_source(shown, table.fields.clone());
        let conditions: Vec<String> = table
            .keys
            .iter()
            .zip(&values)
            .map(|(key, value)| format!("{prefix}.{key} = {}", value.sql))
            .collect();
        Ok(format!(" {word} {} AS {prefix} ON {}", table.sql, conditions.join(" AND ")))
    }

    /// Adds a source to the innermost scope; its alias in SQLite.
    pub(super) fn add_source(&mut self, name: String, fields: Vec<Field>) -> String {
        let alias = self.alias();
        let source = Source { name, prefix: format!("{alias}."), fields };
        match self.scopes.last_mut() {
            Some(scope) => scope.push(source),
            None => self.scopes.push(vec![source]),
        }
        alias
    }

    fn factor(&mut self, factor: &TableFactor) -> Result<String, SqlError> {
        match factor {
            TableFactor::Table { name, alias, args, version: None, sample: None, .. } => {
                let shown = alias.as_ref().map(|alias| alias.name.value.clone());
                let name = name_of(name)?;
                let cte = self.ctes.iter().rev().find(|(cte, ..)| compare(cte, &name.name).is_eq());
                if let (Some((cte, sql, fields)), None) = (cte, &name.schema) {
                    let (sql, fields, shown) =
                        (sql.clone(), fields.clone(), shown.unwrap_or_else(|| cte.clone()));
                    return Ok(format!("{sql} AS {}", self.add_source(shown, fields)));
                }
                let table = match args {
                    None => self.table(&name, None)?,
                    Some(arguments) => {
                        let list = arguments.args.iter().map(argument).collect::<Result<Vec<_>, _>>()?;
                        self.table_function(&name, &list)?
                    }
                };
                let shown = shown.unwrap_or_else(|| name.name.clone());
                Ok(format!("{} AS {}", table.sql, self.add_source(shown, table.fields)))
            }
            TableFactor::Derived { lateral: false, subquery, alias: Some(alias), sample: None } => {
                // The sources beside a derived table are not its to see.
                let siblings = self.scopes.pop().unwrap_or_default();
                let inner = self.query(subquery, true);
                self.scopes.push(siblings);
                let inner = inner?;
                let names: Vec<String> =
                    alias.columns.iter().map(|column| column.name.value.clone()).collect();
                let fields = derived_fields(&inner.columns, &names, &alias.name.value)?;
                let sql = if names.is_empty() {
                    format!("({})", inner.sql)
                } else {
                    let empty: Vec<String> =
                        names.iter().map(|name| format!("NULL AS {}", quoted(name))).collect();
                    format!("(SELECT {} WHERE 0 UNION ALL SELECT * FROM ({}))", empty.join(", "), inner.sql)
                };
                Ok(format!("{sql} AS {}", self.add_source(alias.name.value.clone(), fields)))
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                let mut sql = self.factor(&table_with_joins.relation)?;
                for join in &table_with_joins.joins {
                    sql += &self.join(join)?;
                }
                Ok(format!("({sql})"))
            }
            other => Err(SqlError::not_understood(format_args!("{other} in FROM"))),
        }
    }

    fn table_function(&mut self, name: &ObjectName, arguments: &[&Expr]) -> Result<Table, SqlError> {
        let mut values = Vec::new();
        for argument in arguments {
            let value = self.expression(argument)?;
            values.push(self.names.evaluate(&value.sql, &self.parameters)?);
        }
        self.table(name, Some(&values))
    }
}

fn argument(argument: &FunctionArg) -> Result<&Expr, SqlError> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Ok(expression),
        other => Err(SqlError::not_understood(format_args!("the argument {other}"))),
    }
}

/// The columns of a derived table; each needs a name of its own.
pub(super) fn derived_fields(
    columns: &[Column],
    names: &[String],
    table: &str,
) -> Result<Vec<Field>, SqlError> {
    if !names.is_empty() && names.len() != columns.len() {
        let text = format!(
            "'{table}' has {} columns than were specified in the column list.",
            if names.len() < columns.len() { "more" } else { "fewer" }
        );
        return Err(SqlError::new(8158, text));
    }
    let mut fields: Vec<Field> = Vec::new();
    for (at, column) in columns.iter().enumerate() {
        let name = names.get(at).unwrap_or(&column.name);
        if name.is_empty() {
            return Err(SqlError::new(
                8155,
                format!("No column name was specified for column {} of '{table}'.", at + 1),
            ));
        }
        if fields.iter().any(|field| compare(&field.name, name).is_eq()) {
            return Err(SqlError::new(
                8156,
                format!("The column '{name}' was specified multiple times for '{table}'."),
            ));
        }
        fields.push(Field::new(name.clone(), column.ty, column.nullable));
    }
    Ok(fields)
}
