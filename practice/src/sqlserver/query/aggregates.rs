//! Aggregates, over groups and over windows. Main function: [`Compiler::aggregate`].

use sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, OrderByExpr,
    OrderBySort, WindowType,
};

use super::compiler::{Compiler, Typed, cast_sql};
use crate::sqlserver::error::SqlError;
use crate::sqlserver::sql_type::{Family, SqlType, Width, text_of};

/// A function's arguments: expressions, or the star.
pub(super) struct Arguments<'a> {
    pub(super) expressions: Vec<&'a Expr>,
    pub(super) star: bool,
    pub(super) distinct: bool,
}

impl Compiler<'_> {
    pub(super) fn aggregate(
        &mut self,
        name: &str,
        arguments: &Arguments<'_>,
        within: &[OrderByExpr],
    ) -> Result<Option<Typed>, SqlError> {
        if !matches!(
            name,
            "COUNT" | "COUNT_BIG" | "SUM" | "AVG" | "MIN" | "MAX" | "STRING_AGG" | "CHECKSUM_AGG"
        ) {
            return Ok(None);
        }
        if self.inside_aggregate {
            let text = "Cannot perform an aggregate function on an expression containing an aggregate or a subquery.";
            return Err(SqlError::new(130, text));
        }
        self.aggregates += 1;
        self.inside_aggregate = true;
        let compiled = self.aggregate_inside(name, arguments, within);
        self.inside_aggregate = false;
        compiled.map(Some)
    }

    fn aggregate_inside(
        &mut self,
        name: &str,
        arguments: &Arguments<'_>,
        within: &[OrderByExpr],
    ) -> Result<Typed, SqlError> {
        let distinct = if arguments.distinct { "DISTINCT " } else { "" };
        let count_type = if name == "COUNT_BIG" { SqlType::BigInt } else { SqlType::Int };
        if arguments.star && name.starts_with("COUNT") {
            return Ok(Typed::new("COUNT(*)", count_type).not_null());
        }
        if name == "STRING_AGG" {
            return self.string_agg(&arguments.expressions, within);
        }
        let [argument] = arguments.expressions.as_slice() else { return Err(wrong_count(name, 1)) };
        let value = self.expression(argument)?;
        let (sql, ty) = match (name, value.ty.family()) {
            ("COUNT" | "COUNT_BIG", _) => {
                return Ok(Typed::new(format!("COUNT({distinct}{})", value.sql), count_type).not_null());
            }
            ("CHECKSUM_AGG", _) => (format!("dd_checksum_agg({distinct}{})", value.sql), SqlType::Int),
            ("MIN" | "MAX", _) if value.ty != SqlType::Bit => (format!("{name}({})", value.sql), value.ty),
            ("SUM", Family::Integer) if value.ty != SqlType::Bit => {
                let ty = if value.ty == SqlType::BigInt { value.ty } else { SqlType::Int };
                let sum = format!("SUM({distinct}{})", value.sql);
                (cast_sql("dd_cast", &sum, SqlType::BigInt, ty, "NULL"), ty)
            }
            ("AVG", Family::Integer) if value.ty != SqlType::Bit => {
                let ty = if value.ty == SqlType::BigInt { value.ty } else { SqlType::Int };
                (format!("CAST(AVG({distinct}{}) AS INTEGER)", value.sql), ty)
            }
            ("SUM" | "AVG", Family::Float) => (format!("{name}({distinct}{})", value.sql), SqlType::Float),
            ("SUM", Family::Decimal) => {
                let SqlType::Decimal { scale, .. } = value.ty else {
                    return Err(SqlError::internal("a decimal"));
                };
                (
                    format!("dd_decimal_sum({distinct}{})", value.sql),
                    SqlType::Decimal { precision: 38, scale },
                )
            }
            _ => {
                let operator = name.to_lowercase();
                let text = format!("Operand data type {} is invalid for {operator} operator.", value.ty);
                return Err(SqlError::new(8117, text));
            }
        };
        Ok(Typed::new(sql, ty))
    }

    fn string_agg(&mut self, arguments: &[&Expr], within: &[OrderByExpr]) -> Result<Typed, SqlError> {
        let [text, separator] = arguments else { return Err(wrong_count("STRING_AGG", 2)) };
        let (text, separator) = (self.text_argument(text)?, self.text_argument(separator)?);
        let order = self.order_list(within)?;
        let order = if order.is_empty() { String::new() } else { format!(" ORDER BY {order}") };
        let ty = if text.ty.text_width() == Width::Max {
            text.ty
        } else {
            text_of(text.ty, Width::Of(if text.ty.is_national() { 4000 } else { 8000 }))
        };
        Ok(Typed::new(format!("group_concat({}, {}{order})", text.sql, separator.sql), ty))
    }

    /// Expressions to order by, joined by commas.
    pub(super) fn order_list(&mut self, order: &[OrderByExpr]) -> Result<String, SqlError> {
        let mut parts = Vec::new();
        for item in order {
            let key = self.expression(&item.expr)?;
            parts.push(format!("{}{}", key.sql, direction(item)?));
        }
        Ok(parts.join(", "))
    }

    pub(super) fn window(
        &mut self,
        name: &str,
        arguments: &Arguments<'_>,
        over: &WindowType,
    ) -> Result<Typed, SqlError> {
        let WindowType::WindowSpec(spec) = over else {
            return Err(SqlError::not_understood("named windows"));
        };
        if spec.window_frame.is_some() || spec.window_name.is_some() {
            return Err(SqlError::not_understood("window frames"));
        }
        let ranking = matches!(name, "ROW_NUMBER" | "RANK" | "DENSE_RANK");
        let value = if ranking && arguments.expressions.is_empty() {
            Typed::new(format!("{name}()"), SqlType::BigInt).not_null()
        } else {
            let aggregates = self.aggregates;
            let value = self.aggregate(name, arguments, &[])?;
            // Over a window it does not make a group of the query.
            self.aggregates = aggregates;
            value.ok_or_else(|| SqlError::not_understood(format_args!("{name} OVER")))?
        };
        let mut parts = Vec::new();
        for expression in &spec.partition_by {
            parts.push(self.expression(expression)?.sql);
        }
        let partition =
            if parts.is_empty() { String::new() } else { format!("PARTITION BY {} ", parts.join(", ")) };
        let order = self.order_list(&spec.order_by)?;
        let order = if order.is_empty() { String::new() } else { format!("ORDER BY {order}") };
        if value.sql.starts_with("dd_cast") {
            return Err(SqlError::not_understood(format_args!("{name} of whole numbers OVER a window")));
        }
        Ok(Typed { sql: format!("{} OVER ({partition}{order})", value.sql), ..value })
    }
}

/// `ASC`, `DESC` or nothing, with a blank before.
///
/// # Errors
/// A refusal of NULLS FIRST, which is not T-SQL.
pub(super) fn direction(item: &OrderByExpr) -> Result<&'static str, SqlError> {
    if item.options.nulls_first.is_some() || item.with_fill.is_some() {
        return Err(SqlError::syntax("NULLS"));
    }
    match item.options.sort {
        None | Some(OrderBySort::Asc) => Ok(""),
        Some(OrderBySort::Desc) => Ok(" DESC"),
        Some(OrderBySort::Using(_)) => Err(SqlError::syntax("USING")),
    }
}

pub(super) fn arguments(function: &Function) -> Result<Arguments<'_>, SqlError> {
    let refused = || SqlError::not_understood(format_args!("the call {function}"));
    let mut found = Arguments { expressions: Vec::new(), star: false, distinct: false };
    match &function.args {
        FunctionArguments::None => {}
        FunctionArguments::Subquery(_) => return Err(refused()),
        FunctionArguments::List(list) => {
            found.distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
            if !list.clauses.is_empty() {
                return Err(refused());
            }
            for argument in &list.args {
                match argument {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => {
                        found.expressions.push(expression)
                    }
                    FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => found.star = true,
                    _ => return Err(refused()),
                }
            }
        }
    }
    Ok(found)
}

pub(super) fn wrong_count(name: &str, count: usize) -> SqlError {
    SqlError::new(174, format!("The {} function requires {count} argument(s).", name.to_lowercase()))
        .class(15)
}
