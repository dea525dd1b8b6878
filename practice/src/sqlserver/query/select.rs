//! Queries. Main function: [`Compiler::query`].

use sqlparser::ast::{
    Distinct, Expr, GroupByExpr, LimitClause, OrderByExpr, OrderByKind, Query as Ast, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, SetOperator, SetQuantifier, TopQuantity, Value as Literal,
    WildcardAdditionalOptions,
};

use super::aggregates::direction;
use super::compiler::{Compiler, Query, Typed, name_of};
use super::expression::one_column;
use super::from::derived_fields;
use crate::sqlserver::error::SqlError;
use crate::sqlserver::sql_type::{Family, SqlType};
use crate::sqlserver::store::functions::compare;
use crate::sqlserver::store::record::quoted;
use crate::sqlserver::tds::tokens::Column;

/// A SELECT without what stands around it.
struct Body {
    sql: String,
    items: Vec<Item>,
    top: Option<String>,
    scoped: bool,
}

/// An item of a select list.
struct Item {
    name: String,
    value: Typed,
}

impl Compiler<'_> {
    /// Compiles a whole query; its columns are named `c0`, `c1`, ... in SQLite unless `named` is set.
    ///
    /// # Errors
    /// As [`Compiler::expression`].
    pub fn query(&mut self, query: &Ast, named: bool) -> Result<Query, SqlError> {
        if !query.locks.is_empty()
            || query.for_clause.is_some()
            || query.settings.is_some()
            || query.format_clause.is_some()
            || !query.pipe_operators.is_empty()
        {
            return Err(SqlError::not_understood("FOR XML, FOR JSON and other clauses after a query"));
        }
        let ctes_before = self.ctes.len();
        let with = self.with_clause(query)?;
        let compiled = self.query_body(query, named);
        self.ctes.truncate(ctes_before);
        let compiled = compiled?;
        Ok(Query { sql: format!("{with}{}", compiled.sql), columns: compiled.columns })
    }

    fn with_clause(&mut self, query: &Ast) -> Result<String, SqlError> {
        let Some(with) = &query.with else { return Ok(String::new()) };
        let mut parts = Vec::new();
        for cte in &with.cte_tables {
            let inner = self.query(&cte.query, true)?;
            let names: Vec<String> =
                cte.alias.columns.iter().map(|column| column.name.value.clone()).collect();
            let alias = self.alias();
            let fields = derived_fields(&inner.columns, &names, &cte.alias.name.value)?;
            let list: Vec<String> = fields.iter().map(|field| quoted(&field.name)).collect();
            parts.push(format!("{alias}({}) AS ({})", list.join(", "), inner.sql));
            self.ctes.push((cte.alias.name.value.clone(), alias, fields));
        }
        Ok(format!("WITH {} ", parts.join(", ")))
    }

    fn query_body(&mut self, query: &Ast, named: bool) -> Result<Query, SqlError> {
        let (bare, aggregates) =
            (std::mem::take(&mut self.bare_columns), std::mem::take(&mut self.aggregates));
        let inside = std::mem::replace(&mut self.inside_aggregate, false);
        let compiled = self.ordered(query, named);
        (self.bare_columns, self.aggregates, self.inside_aggregate) = (bare, aggregates, inside);
        compiled
    }

    fn ordered(&mut self, query: &Ast, named: bool) -> Result<Query, SqlError> {
        let body = match &*query.body {
            SetExpr::Select(select) => self.select(select, named)?,
            other => {
                let set = self.set_expression(other, named)?;
                let item = |column: &Column| {
                    let value = Typed { sql: String::new(), ty: column.ty, nullable: column.nullable };
                    Item { name: column.name.clone(), value }
                };
                Body { items: set.columns.iter().map(item).collect(), sql: set.sql, top: None, scoped: false }
            }
        };
        let order = match &query.order_by {
            None => Ok(String::new()),
            Some(order) => match &order.kind {
                OrderByKind::Expressions(list) => self.order_by(list, &body),
                OrderByKind::All(_) => Err(SqlError::syntax("ALL")),
            },
        };
        let limit = self.limit(query, &body);
        if body.scoped {
            self.scopes.pop();
        }
        let sql = format!("{}{}{}", body.sql, order?, limit?);
        let column =
            |item: Item| Column { name: item.name, ty: item.value.ty, nullable: item.value.nullable };
        Ok(Query { sql, columns: body.items.into_iter().map(column).collect() })
    }

    fn order_by(&mut self, list: &[OrderByExpr], body: &Body) -> Result<String, SqlError> {
        let mut parts = Vec::new();
        for item in list {
            let key = match self.ordinal(&item.expr, body)? {
                Some(at) => at.to_string(),
                None if body.scoped => self.expression(&item.expr)?.sql,
                None => {
                    let text = "ORDER BY items must appear in the select list if the statement contains a UNION, INTERSECT or EXCEPT operator.";
                    return Err(SqlError::new(104, text).class(15));
                }
            };
            parts.push(format!("{key}{}", direction(item)?));
        }
        Ok(format!(" ORDER BY {}", parts.join(", ")))
    }

    /// The place in the select list that an ORDER BY item names by number or alias.
    fn ordinal(&self, expression: &Expr, body: &Body) -> Result<Option<usize>, SqlError> {
        match expression {
            Expr::Value(value) => match &value.value {
                Literal::Number(digits, _) => match digits.parse::<usize>() {
                    Ok(at) if (1..=body.items.len()).contains(&at) => Ok(Some(at)),
                    _ => {
                        let text = format!(
                            "The ORDER BY position number {digits} is out of range of the number of items in the select list."
                        );
                        Err(SqlError::new(108, text))
                    }
                },
                _ => Err(SqlError::not_understood("ORDER BY a constant")),
            },
            Expr::Identifier(ident) => {
                Ok(body.items.iter().position(|i| compare(&i.name, &ident.value).is_eq()).map(|at| at + 1))
            }
            _ => Ok(None),
        }
    }

    fn limit(&mut self, query: &Ast, body: &Body) -> Result<String, SqlError> {
        let mut count =
            |expression: &Expr| -> Result<String, SqlError> { Ok(self.expression(expression)?.sql) };
        let offset = match &query.limit_clause {
            None => None,
            Some(LimitClause::LimitOffset { limit: None, offset: Some(offset), limit_by })
                if limit_by.is_empty() =>
            {
                Some(count(&offset.value)?)
            }
            Some(_) => return Err(SqlError::syntax("LIMIT")),
        };
        let fetch = match &query.fetch {
            None => None,
            Some(fetch) if fetch.with_ties || fetch.percent => return Err(SqlError::syntax("FETCH")),
            Some(fetch) => fetch.quantity.as_ref().map(&mut count).transpose()?,
        };
        let limit = match (&body.top, offset, fetch) {
            (None, None, None) => String::new(),
            (Some(top), None, None) => format!(" LIMIT {top}"),
            (None, Some(offset), fetch) => format!(" LIMIT {} OFFSET {offset}", fetch.unwrap_or("-1".into())),
            _ => {
                return Err(SqlError::new(
                    10741,
                    "A TOP can not be used in the same query or sub-query as a OFFSET.",
                )
                .class(15));
            }
        };
        Ok(limit)
    }

    /// UNION and its like: both sides are brought to the types in which their columns meet.
    fn set_expression(&mut self, set: &SetExpr, named: bool) -> Result<Query, SqlError> {
        match set {
            SetExpr::Select(select) => {
                let body = self.select(select, named)?;
                self.scopes.pop();
                let limit = body.top.map(|top| format!(" LIMIT {top}")).unwrap_or_default();
                let column = |i: Item| Column { name: i.name, ty: i.value.ty, nullable: i.value.nullable };
                Ok(Query { sql: body.sql + &limit, columns: body.items.into_iter().map(column).collect() })
            }
            SetExpr::Query(query) => self.query(query, named),
            SetExpr::SetOperation { left, op, set_quantifier, right } => {
                let (left, right) = (self.set_expression(left, named)?, self.set_expression(right, named)?);
                if left.columns.len() != right.columns.len() {
                    let text = "All queries combined using a UNION, INTERSECT or EXCEPT operator must have an equal number of expressions in their target lists.";
                    return Err(SqlError::new(205, text));
                }
                let operator = match (op, set_quantifier) {
                    (SetOperator::Union, SetQuantifier::All) => "UNION ALL",
                    (SetOperator::Union, SetQuantifier::None) => "UNION",
                    (SetOperator::Except, SetQuantifier::None) => "EXCEPT",
                    (SetOperator::Intersect, SetQuantifier::None) => "INTERSECT",
                    _ => return Err(SqlError::not_understood(format_args!("{op} {set_quantifier}"))),
                };
                let columns: Vec<Column> = left.columns.iter().zip(&right.columns).map(met_columns).collect();
                let sides = (self.side(&left, &columns), self.side(&right, &columns));
                Ok(Query { sql: format!("{} {operator} {}", sides.0, sides.1), columns })
            }
            SetExpr::Values(_) => Err(SqlError::not_understood("VALUES as a query")),
            _ => Err(SqlError::not_understood("this form of a query")),
        }
    }

    fn side(&mut self, side: &Query, columns: &[Column]) -> String {
        let alias = self.alias();
        let names: Vec<String> = (0..columns.len()).map(|at| format!("k{at}")).collect();
        let list: Vec<String> = columns
            .iter()
            .zip(&side.columns)
            .zip(&names)
            .map(|((to, from), name)| {
                let collate = if to.ty.family() == Family::Text { " COLLATE ci" } else { "" };
                format!(
                    "{}{collate} AS {}",
                    self.coerced(&Typed::new(name, from.ty), to.ty),
                    quoted(&to.name)
                )
            })
            .collect();
        // Numbered names, since those of a query may be missing or alike.
        let empty: Vec<String> = names.iter().map(|name| format!("NULL AS {name}")).collect();
        format!(
            "SELECT {} FROM (SELECT {} WHERE 0 UNION ALL SELECT * FROM ({})) AS {alias}",
            list.join(", "),
            empty.join(", "),
            side.sql
        )
    }

    /// Compiles a SELECT; its scope stays open for ORDER BY and must be closed by the caller.
    fn select(&mut self, select: &Select, named: bool) -> Result<Body, SqlError> {
        refuse_foreign_clauses(select)?;
        self.scopes.push(Vec::new());
        let compiled = self.select_inside(select, named);
        if compiled.is_err() {
            self.scopes.pop();
        }
        compiled
    }

    fn select_inside(&mut self, select: &Select, named: bool) -> Result<Body, SqlError> {
        let from = self.sources(&select.from)?;
        let filter = match &select.selection {
            Some(condition) => format!(" WHERE {}", self.condition(condition)?),
            None => String::new(),
        };
        let GroupByExpr::Expressions(keys, modifiers) = &select.group_by else {
            return Err(SqlError::not_understood("GROUP BY ALL"));
        };
        if !modifiers.is_empty() {
            return Err(SqlError::not_understood("ROLLUP and CUBE"));
        }
        let keys =
            keys.iter().map(|key| Ok(self.expression(key)?.sql)).collect::<Result<Vec<_>, SqlError>>()?;
        self.aggregates = 0;
        let mut outside = Vec::new();
        let items = self.items(&select.projection, &keys, &mut outside)?;
        let having = match &select.having {
            Some(condition) => {
                self.bare_columns.clear();
                let condition = self.condition(condition)?;
                outside.extend(self.bare_columns.drain(..).filter(|column| !keys.contains(column)));
                format!(" HAVING {condition}")
            }
            None => String::new(),
        };
        if let (Some(column), true) = (outside.first(), self.aggregates > 0 || !keys.is_empty()) {
            let text = format!(
                "Column '{}' is invalid in the select list because it is not contained in either an aggregate function or the GROUP BY clause.",
                column.replace('"', "")
            );
            return Err(SqlError::new(8120, text));
        }
        let group = if keys.is_empty() { String::new() } else { format!(" GROUP BY {}", keys.join(", ")) };
        let distinct = match &select.distinct {
            None | Some(Distinct::All) => "",
            Some(Distinct::Distinct) => "DISTINCT ",
            Some(Distinct::On(_)) => return Err(SqlError::syntax("ON")),
        };
        let list: Vec<String> = items
            .iter()
            .enumerate()
            .map(|(at, item)| match named {
                true if !item.name.is_empty() => format!("{} AS {}", item.value.sql, quoted(&item.name)),
                _ => format!("{} AS c{at}", item.value.sql),
            })
            .collect();
        let sql = format!("SELECT {distinct}{}{from}{filter}{group}{having}", list.join(", "));
        Ok(Body { sql, items, top: self.top(select)?, scoped: true })
    }

    fn top(&mut self, select: &Select) -> Result<Option<String>, SqlError> {
        let Some(top) = &select.top else { return Ok(None) };
        if top.with_ties || top.percent {
            return Err(SqlError::not_understood("TOP with PERCENT or WITH TIES"));
        }
        match &top.quantity {
            Some(TopQuantity::Constant(count)) => Ok(Some(count.to_string())),
            Some(TopQuantity::Expr(expression)) => Ok(Some(self.expression(expression)?.sql)),
            None => Err(SqlError::syntax("TOP")),
        }
    }

    /// The select list; columns that are neither grouped nor aggregated go to `outside`.
    fn items(
        &mut self,
        list: &[SelectItem],
        keys: &[String],
        outside: &mut Vec<String>,
    ) -> Result<Vec<Item>, SqlError> {
        let mut items = Vec::new();
        for item in list {
            let (name, expression) = match item {
                SelectItem::UnnamedExpr(expression) => (implied_name(expression), expression),
                SelectItem::ExprWithAlias { expr, alias } => (alias.value.clone(), expr),
                SelectItem::Wildcard(options) => {
                    refuse_options(options)?;
                    items.extend(self.all_columns(None, outside)?);
                    continue;
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                    refuse_options(options)?;
                    items.extend(self.all_columns(Some(&name_of(name)?.name), outside)?);
                    continue;
                }
                _ => return Err(SqlError::not_understood(item)),
            };
            self.bare_columns.clear();
            let value = self.expression(expression)?;
            if !keys.contains(&value.sql) {
                outside.extend(self.bare_columns.drain(..).filter(|column| !keys.contains(column)));
            }
            items.push(Item { name, value });
        }
        Ok(items)
    }

    fn all_columns(
        &mut self,
        qualifier: Option<&str>,
        outside: &mut Vec<String>,
    ) -> Result<Vec<Item>, SqlError> {
        let mut items = Vec::new();
        for source in self.scopes.last().into_iter().flatten() {
            if qualifier.is_some_and(|qualifier| compare(qualifier, &source.name).is_ne()) {
                continue;
            }
            for field in &source.fields {
                let sql = format!("{}{}", source.prefix, quoted(&field.name));
                outside.push(sql.clone());
                let value = Typed { sql, ty: field.ty, nullable: field.nullable };
                items.push(Item { name: field.name.clone(), value });
            }
        }
        if items.is_empty() {
            let text = "Must specify table to select from.";
            return Err(SqlError::new(263, text).class(16));
        }
        Ok(items)
    }

    /// A query inside an expression: it sees the columns of those around it.
    pub(super) fn subquery(&mut self, query: &Ast) -> Result<Query, SqlError> {
        self.query(query, false)
    }

    pub(super) fn scalar_subquery(&mut self, query: &Ast) -> Result<Typed, SqlError> {
        let query = self.subquery(query)?;
        let [column] = query.columns.as_slice() else { return Err(one_column()) };
        Ok(Typed::new(format!("({})", query.sql), column.ty))
    }
}

fn met_columns((left, right): (&Column, &Column)) -> Column {
    let ty = if left.ty == SqlType::Null { right.ty } else { left.ty.meet(right.ty) };
    Column { name: left.name.clone(), ty, nullable: left.nullable || right.nullable }
}

/// The name that a column has when its expression is a column.
fn implied_name(expression: &Expr) -> String {
    match expression {
        Expr::Identifier(ident) if !ident.value.starts_with('@') => ident.value.clone(),
        Expr::CompoundIdentifier(parts) => parts.last().map(|part| part.value.clone()).unwrap_or_default(),
        Expr::Nested(inner) => implied_name(inner),
        _ => String::new(),
    }
}

fn refuse_options(options: &WildcardAdditionalOptions) -> Result<(), SqlError> {
    let extra = options.opt_exclude.is_some()
        || options.opt_except.is_some()
        || options.opt_replace.is_some()
        || options.opt_rename.is_some();
    if extra { Err(SqlError::syntax("*")) } else { Ok(()) }
}

fn refuse_foreign_clauses(select: &Select) -> Result<(), SqlError> {
    let foreign = select.into.is_some()
        || !select.lateral_views.is_empty()
        || select.prewhere.is_some()
        || !select.connect_by.is_empty()
        || !select.cluster_by.is_empty()
        || !select.distribute_by.is_empty()
        || !select.sort_by.is_empty()
        || !select.named_window.is_empty()
        || select.qualify.is_some()
        || select.exclude.is_some()
        || select.value_table_mode.is_some();
    if foreign { Err(SqlError::not_understood("SELECT INTO, or a clause that T-SQL lacks")) } else { Ok(()) }
}
