//! Expressions and conditions. Main functions: [`Compiler::expression`], [`Compiler::condition`].

use sqlparser::ast::{
    BinaryOperator, CaseWhen, CastKind, DataType, Expr, TrimWhereField, UnaryOperator, Value as Literal,
};

use super::compiler::{Compiler, Typed, cast_sql, literal};
use crate::sqlserver::error::SqlError;
use crate::sqlserver::sql_type::{Family, SqlType, Width, parse_text, text_of};
use crate::sqlserver::value::Decimal;

impl Compiler<'_> {
    /// Compiles an expression that has a value.
    ///
    /// # Errors
    /// Names that stand for nothing, types that do not meet, and whatever has no rule here.
    pub fn expression(&mut self, expression: &Expr) -> Result<Typed, SqlError> {
        match expression {
            Expr::Identifier(ident) if ident.quote_style.is_none() && ident.value.starts_with('@') => {
                self.variable(&ident.value)
            }
            Expr::Identifier(ident) if ident.quote_style.is_none() && is_bare_function(&ident.value) => {
                self.now_function(&ident.value.to_uppercase()).ok_or_else(|| SqlError::column(&ident.value))
            }
            Expr::Identifier(ident) => self.column(None, &ident.value),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [.., qualifier, name] if parts.len() <= 4 => self.column(Some(&qualifier.value), &name.value),
                _ => Err(SqlError::not_understood(expression)),
            },
            Expr::Value(value) => literal_value(&value.value),
            Expr::Nested(inner) => {
                let inner = self.expression(inner)?;
                Ok(Typed { sql: format!("({})", inner.sql), ..inner })
            }
            Expr::UnaryOp { op, expr } => self.unary(op, expr),
            Expr::BinaryOp { left, op, right } => self.binary(left, op, right),
            Expr::Cast { kind, expr, data_type, format: None } => {
                self.conversion(expr, data_type, *kind == CastKind::TryCast, None)
            }
            Expr::Convert { is_try, expr, data_type: Some(ty), charset: None, styles, .. } => {
                self.conversion(expr, ty, *is_try, styles.first())
            }
            Expr::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref())
            }
            Expr::Function(function) => self.function(function),
            Expr::Subquery(query) => self.scalar_subquery(query),
            Expr::Substring { expr, substring_from: Some(from), substring_for, .. } => {
                self.substring(expr, from, substring_for.as_deref())
            }
            Expr::Trim { trim_where, trim_what: None, expr, trim_characters: None } => {
                let text = self.text_argument(expr)?;
                let function = match trim_where {
                    Some(TrimWhereField::Leading) => "ltrim",
                    Some(TrimWhereField::Trailing) => "rtrim",
                    _ => "trim",
                };
                Ok(Typed { sql: format!("{function}({})", text.sql), ..text })
            }
            Expr::Collate { expr, .. } => self.expression(expr),
            Expr::Floor { expr, .. } => self.rounded(expr, "floor"),
            Expr::Ceil { expr, .. } => self.rounded(expr, "ceil"),
            other => Err(SqlError::not_understood(format_args!("the expression {other}"))),
        }
    }

    fn variable(&mut self, name: &str) -> Result<Typed, SqlError> {
        let (value, ty) = self.names.variable(&name.to_lowercase()).ok_or_else(|| {
            let text = format!("Must declare the scalar variable \"{name}\".");
            SqlError::new(137, text).state(2).class(15)
        })?;
        let sql = self.parameter(value);
        Ok(Typed::new(sql, ty))
    }

    fn unary(&mut self, op: &UnaryOperator, operand: &Expr) -> Result<Typed, SqlError> {
        let operand = self.expression(operand)?;
        match (op, operand.ty.family()) {
            (UnaryOperator::Plus, _) => Ok(operand),
            (UnaryOperator::Minus, Family::Integer | Family::Float | Family::Null) => {
                Ok(Typed { sql: format!("(-{})", operand.sql), ..operand })
            }
            (UnaryOperator::Minus, Family::Decimal) => {
                let zero = Typed::new("0", SqlType::Int);
                self.decimal_arithmetic("-", &zero, &operand)
            }
            (UnaryOperator::BitwiseNot, Family::Integer) => {
                Ok(Typed { sql: format!("(~{})", operand.sql), ..operand })
            }
            _ => Err(SqlError::not_understood(format_args!("the operator {op} on {}", operand.ty))),
        }
    }

    fn binary(&mut self, left: &Expr, op: &BinaryOperator, right: &Expr) -> Result<Typed, SqlError> {
        let operator = match op {
            BinaryOperator::Plus => "+",
            BinaryOperator::Minus => "-",
            BinaryOperator::Multiply => "*",
            BinaryOperator::Divide => "/",
            BinaryOperator::Modulo => "%",
            BinaryOperator::BitwiseAnd => "&",
            BinaryOperator::BitwiseOr => "|",
            BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::Gt
            | BinaryOperator::LtEq
            | BinaryOperator::GtEq
            | BinaryOperator::And
            | BinaryOperator::Or => {
                // A condition has no value in T-SQL.
                return Err(SqlError::syntax(&op.to_string()));
            }
            _ => return Err(SqlError::not_understood(format_args!("the operator {op}"))),
        };
        let (left, right) = (self.expression(left)?, self.expression(right)?);
        self.arithmetic(operator, &left, &right)
    }

    fn arithmetic(&mut self, operator: &str, left: &Typed, right: &Typed) -> Result<Typed, SqlError> {
        let nullable = left.nullable || right.nullable;
        let ty = left.ty.meet(right.ty);
        let refused = || {
            let text = format!(
                "The data types {} and {} are incompatible in the {operator} operator.",
                left.ty, right.ty
            );
            Err(SqlError::new(402, text))
        };
        match (ty.family(), operator) {
            (Family::Text, "+") => {
                let limit = if ty.is_national() { 4000 } else { 8000 };
                let ty = text_of(ty, left.ty.text_width().sum(right.ty.text_width(), limit));
                let sql = format!("({} || {})", self.coerced(left, ty), self.coerced(right, ty));
                Ok(Typed { sql, ty, nullable })
            }
            (Family::Null, _) => Ok(Typed::new("NULL", SqlType::Int)),
            (Family::Integer, "/" | "%") => {
                let ty = if ty == SqlType::Bit { SqlType::Int } else { ty };
                let (left, right) = (self.coerced(left, ty), self.coerced(right, ty));
                Ok(Typed { sql: format!("dd_divide('{operator}', {left}, {right})"), ty, nullable: true })
            }
            (Family::Integer, _) => {
                let ty = if ty == SqlType::Bit { SqlType::Int } else { ty };
                let sum = format!("({} {operator} {})", self.coerced(left, ty), self.coerced(right, ty));
                Ok(Typed { sql: cast_sql("dd_cast", &sum, SqlType::BigInt, ty, "NULL"), ty, nullable })
            }
            (Family::Float, "/" | "%") => {
                let (left, right) = (self.coerced(left, ty), self.coerced(right, ty));
                Ok(Typed { sql: format!("dd_divide('{operator}', {left}, {right})"), ty, nullable: true })
            }
            (Family::Float, "+" | "-" | "*") => {
                let sql = format!("({} {operator} {})", self.coerced(left, ty), self.coerced(right, ty));
                Ok(Typed { sql, ty, nullable })
            }
            (Family::Decimal, "+" | "-" | "*") => self.decimal_arithmetic(operator, left, right),
            _ => refused(),
        }
    }

    fn decimal_arithmetic(&mut self, operator: &str, left: &Typed, right: &Typed) -> Result<Typed, SqlError> {
        let as_decimal = |ty: SqlType| match ty {
            SqlType::Decimal { .. } => ty,
            _ => SqlType::Decimal { precision: 19, scale: 0 },
        };
        let (left_ty, right_ty) = (as_decimal(left.ty), as_decimal(right.ty));
        let scale = |ty: SqlType| if let SqlType::Decimal { scale, .. } = ty { scale } else { 0 };
        let (a, b) = (scale(left_ty), scale(right_ty));
        let scale = if operator == "*" { a + b } else { a.max(b) };
        if scale > 38 {
            return Err(SqlError::not_understood("products with more than 38 decimals"));
        }
        let (l, r) = (self.coerced(left, left_ty), self.coerced(right, right_ty));
        let sql = format!("dd_decimal('{operator}', {l}, {r}, {a}, {b})");
        let ty = SqlType::Decimal { precision: 38, scale };
        Ok(Typed { sql, ty, nullable: left.nullable || right.nullable })
    }

    fn rounded(&mut self, operand: &Expr, function: &str) -> Result<Typed, SqlError> {
        let operand = self.expression(operand)?;
        match operand.ty.family() {
            Family::Integer => Ok(operand),
            Family::Float => Ok(Typed { sql: format!("{function}({})", operand.sql), ..operand }),
            _ => Err(SqlError::not_understood(format_args!("{function} of {}", operand.ty))),
        }
    }

    fn conversion(
        &mut self,
        operand: &Expr,
        ty: &DataType,
        is_try: bool,
        style: Option<&Expr>,
    ) -> Result<Typed, SqlError> {
        let mut to = type_of(ty)?;
        // CAST to a text without a length means 30 characters, not one.
        let text = ty.to_string();
        if !text.contains('(') {
            to = match to {
                SqlType::NVarChar(_) if !text.eq_ignore_ascii_case("sysname") => {
                    SqlType::NVarChar(Width::Of(30))
                }
                SqlType::VarChar(_) => SqlType::VarChar(Width::Of(30)),
                SqlType::NChar(_) => SqlType::NChar(30),
                SqlType::Char(_) => SqlType::Char(30),
                SqlType::VarBinary(_) => SqlType::VarBinary(Width::Of(30)),
                other => other,
            };
        }
        let operand = self.expression(operand)?;
        let style =
            style.map(|style| self.expression(style)).transpose()?.map_or("NULL".into(), |style| style.sql);
        let function = if is_try { "dd_try_cast" } else { "dd_cast" };
        let from = if operand.ty == SqlType::Null { SqlType::NVarChar(Width::Of(1)) } else { operand.ty };
        let sql = cast_sql(function, &operand.sql, from, to, &style);
        Ok(Typed { sql, ty: to, nullable: operand.nullable || is_try })
    }

    fn case(
        &mut self,
        operand: Option<&Expr>,
        branches: &[CaseWhen],
        otherwise: Option<&Expr>,
    ) -> Result<Typed, SqlError> {
        let operand = operand.map(|operand| self.expression(operand)).transpose()?;
        let mut compiled = Vec::new();
        for branch in branches {
            let condition = match &operand {
                None => self.condition(&branch.condition)?,
                Some(operand) => {
                    let value = self.expression(&branch.condition)?;
                    let (left, right) = self.met(operand, &value)?;
                    format!("{left} = {right}")
                }
            };
            compiled.push((condition, self.expression(&branch.result)?));
        }
        let otherwise = otherwise.map(|otherwise| self.expression(otherwise)).transpose()?;
        let results = || compiled.iter().map(|(_, result)| result).chain(&otherwise);
        let ty = results().map(|result| result.ty).reduce(SqlType::meet).unwrap_or(SqlType::Null);
        let nullable = otherwise.is_none() || results().any(|result| result.nullable);
        let mut sql = String::from("CASE");
        for (condition, result) in &compiled {
            sql += &format!(" WHEN {condition} THEN {}", self.coerced(result, ty));
        }
        if let Some(otherwise) = &otherwise {
            sql += &format!(" ELSE {}", self.coerced(otherwise, ty));
        }
        Ok(Typed { sql: sql + " END", ty, nullable })
    }

    fn substring(&mut self, text: &Expr, from: &Expr, length: Option<&Expr>) -> Result<Typed, SqlError> {
        let text = self.text_argument(text)?;
        let from = self.expression(from)?;
        let length = length.map(|length| self.expression(length)).transpose()?;
        let length = length
            .ok_or_else(|| SqlError::new(174, "The substring function requires 3 argument(s).").class(15))?;
        Ok(Typed { sql: format!("substr({}, {}, {})", text.sql, from.sql, length.sql), ..text })
    }

    /// An argument that must be a text; numbers are converted.
    pub(super) fn text_argument(&mut self, expression: &Expr) -> Result<Typed, SqlError> {
        let value = self.expression(expression)?;
        if value.ty.family() == Family::Text {
            return Ok(value);
        }
        let ty = SqlType::NVarChar(Width::Of(4000));
        Ok(Typed { sql: self.coerced(&value, ty), ty, nullable: value.nullable })
    }

    /// Compiles a condition.
    ///
    /// # Errors
    /// As [`Compiler::expression`]; 4145 for something that is no condition.
    pub fn condition(&mut self, condition: &Expr) -> Result<String, SqlError> {
        let not = |negated: bool| if negated { "NOT " } else { "" };
        match condition {
            Expr::Nested(inner) => Ok(format!("({})", self.condition(inner)?)),
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => Ok(format!("(NOT {})", self.condition(expr)?)),
            Expr::BinaryOp { left, op, right } => self.binary_condition(left, op, right),
            Expr::IsNull(operand) => Ok(format!("({} IS NULL)", self.expression(operand)?.sql)),
            Expr::IsNotNull(operand) => Ok(format!("({} IS NOT NULL)", self.expression(operand)?.sql)),
            Expr::IsDistinctFrom(left, right) => self.distinct(left, "IS NOT", right),
            Expr::IsNotDistinctFrom(left, right) => self.distinct(left, "IS", right),
            Expr::Between { expr, negated, low, high } => {
                let value = self.expression(expr)?;
                let (low, high) = (self.expression(low)?, self.expression(high)?);
                let (a, low) = self.met(&value, &low)?;
                let (b, high) = self.met(&value, &high)?;
                Ok(format!("({}({a} >= {low} AND {b} <= {high}))", not(*negated)))
            }
            Expr::InList { expr, list, negated } => {
                let value = self.expression(expr)?;
                let items = list.iter().map(|item| self.expression(item)).collect::<Result<Vec<_>, _>>()?;
                items.iter().try_for_each(|item| self.met(&value, item).map(|_| ()))?;
                let ty = items.iter().map(|item| item.ty).fold(value.ty, SqlType::meet);
                let collate = if ty.family() == Family::Text { " COLLATE ci" } else { "" };
                let list: Vec<String> = items.iter().map(|item| self.coerced(item, ty)).collect();
                Ok(format!(
                    "({}{collate} {}IN ({}))",
                    self.coerced(&value, ty),
                    not(*negated),
                    list.join(", ")
                ))
            }
            Expr::InSubquery { expr, subquery, negated } => {
                let value = self.expression(expr)?;
                let query = self.subquery(subquery)?;
                let [column] = query.columns.as_slice() else { return Err(one_column()) };
                let item = Typed::new("c", column.ty);
                let ty = value.ty.meet(column.ty);
                let left = self.coerced(&value, ty);
                let collate = if ty.family() == Family::Text { " COLLATE ci" } else { "" };
                let right = self.coerced(&item, ty);
                Ok(format!(
                    "({left}{collate} {}IN (SELECT {right} FROM (SELECT NULL AS c WHERE 0 UNION ALL SELECT * FROM ({}))))",
                    not(*negated),
                    query.sql
                ))
            }
            Expr::Exists { subquery, negated } => {
                Ok(format!("({}EXISTS ({}))", not(*negated), self.subquery(subquery)?.sql))
            }
            Expr::Like { negated, any: false, expr, pattern, escape_char } => {
                let (text, pattern) = (self.text_argument(expr)?, self.text_argument(pattern)?);
                let escape = match escape_char {
                    Some(escape) => self.text_argument(escape)?.sql,
                    None => "NULL".to_owned(),
                };
                Ok(format!("({}dd_like({}, {}, {escape}))", not(*negated), text.sql, pattern.sql))
            }
            other => {
                let text = format!(
                    "An expression of non-boolean type specified in a context where a condition is expected, near '{other}'."
                );
                Err(SqlError::new(4145, text).class(15))
            }
        }
    }

    fn binary_condition(
        &mut self,
        left: &Expr,
        op: &BinaryOperator,
        right: &Expr,
    ) -> Result<String, SqlError> {
        let operator = match op {
            BinaryOperator::And | BinaryOperator::Or => {
                let (left, right) = (self.condition(left)?, self.condition(right)?);
                return Ok(format!("({left} {op} {right})"));
            }
            BinaryOperator::Eq => "=",
            BinaryOperator::NotEq => "<>",
            BinaryOperator::Lt => "<",
            BinaryOperator::Gt => ">",
            BinaryOperator::LtEq => "<=",
            BinaryOperator::GtEq => ">=",
            _ => {
                let text = format!(
                    "An expression of non-boolean type specified in a context where a condition is expected, near '{op}'."
                );
                return Err(SqlError::new(4145, text).class(15));
            }
        };
        let (left, right) = (self.expression(left)?, self.expression(right)?);
        let (left, right) = self.met(&left, &right)?;
        Ok(format!("({left} {operator} {right})"))
    }

    fn distinct(&mut self, left: &Expr, operator: &str, right: &Expr) -> Result<String, SqlError> {
        let (left, right) = (self.expression(left)?, self.expression(right)?);
        let (left, right) = self.met(&left, &right)?;
        Ok(format!("({left} {operator} {right})"))
    }
}

/// 116.
#[must_use]
pub fn one_column() -> SqlError {
    let text = "Only one expression can be specified in the select list when the subquery is not introduced with EXISTS.";
    SqlError::new(116, text)
}

fn is_bare_function(name: &str) -> bool {
    name.eq_ignore_ascii_case("CURRENT_TIMESTAMP") || name.eq_ignore_ascii_case("CURRENT_USER")
}

/// A data type of the syntax tree.
///
/// # Errors
/// As [`SqlType::parse`].
pub fn type_of(ty: &DataType) -> Result<SqlType, SqlError> {
    let text = match ty {
        DataType::Custom(name, arguments) if !arguments.is_empty() => {
            format!("{name}({})", arguments.join(","))
        }
        other => other.to_string(),
    };
    let text = text.trim_start_matches("sys.").replace(['[', ']'], "");
    parse_text(&text)
}

/// A literal with the type that T-SQL gives it.
fn literal_value(value: &Literal) -> Result<Typed, SqlError> {
    let text = |text: &str, ty: fn(Width) -> SqlType, limit: usize| {
        let length = text.encode_utf16().count();
        let width =
            if length > limit { Width::Max } else { Width::Of(u16::try_from(length.max(1)).unwrap_or(1)) };
        Typed::new(literal(text), ty(width)).not_null()
    };
    Ok(match value {
        Literal::Null => Typed::new("NULL", SqlType::Null),
        Literal::Number(digits, _) => number(digits)?.not_null(),
        Literal::SingleQuotedString(string) => text(string, SqlType::VarChar, 8000),
        Literal::NationalStringLiteral(string) => text(string, SqlType::NVarChar, 4000),
        Literal::HexStringLiteral(digits) => {
            let even = if digits.len() % 2 == 0 { digits.clone() } else { format!("0{digits}") };
            if !even.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(SqlError::syntax(digits));
            }
            let width = Width::Of(u16::try_from((even.len() / 2).max(1)).unwrap_or(8000));
            Typed::new(format!("x'{even}'"), SqlType::VarBinary(width)).not_null()
        }
        other => return Err(SqlError::not_understood(format_args!("the literal {other}"))),
    })
}

fn number(digits: &str) -> Result<Typed, SqlError> {
    if digits.contains(['e', 'E']) {
        let number: f64 = digits.parse().map_err(|_| SqlError::syntax(digits))?;
        return Ok(Typed::new(format!("{number:?}"), SqlType::Float));
    }
    if let Ok(number) = digits.parse::<i32>() {
        return Ok(Typed::new(number.to_string(), SqlType::Int));
    }
    let decimal = Decimal::parse(digits).ok_or_else(|| {
        SqlError::new(
            1007,
            format!(
                "The number '{digits}' is out of the range for numeric representation (maximum precision 38)."
            ),
        )
        .class(15)
    })?;
    let length = digits.chars().filter(char::is_ascii_digit).count();
    let precision = u8::try_from(length).unwrap_or(38).clamp(decimal.scale.max(1), 38);
    let ty = SqlType::Decimal { precision, scale: decimal.scale };
    Ok(Typed::new(format!("'{}'", decimal.kept()), ty))
}
