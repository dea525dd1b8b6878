//! Functions: scalar ones, aggregates, and those that ask the server. Main function: [`Compiler::function`].

use chrono::NaiveDateTime;
use sqlparser::ast::{Expr, Function};

use super::aggregates::{Arguments, arguments, wrong_count};
use super::compiler::{Compiler, Typed, cast_sql, kept_alike, literal};
use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::statement::ObjectName;
use crate::sqlserver::sql_type::{Family, SqlType, Width, text_of};
use crate::sqlserver::store::calendar;
use crate::sqlserver::value::{datetime_rounded, moment_text};

impl Compiler<'_> {
    /// Compiles a call.
    ///
    /// # Errors
    /// 195 for a function that is unknown, 174 for a wrong number of arguments.
    pub(super) fn function(&mut self, function: &Function) -> Result<Typed, SqlError> {
        let name = function.name.0.last().map(ToString::to_string).unwrap_or_default();
        let name = name.trim_matches(['[', ']']).to_uppercase();
        let arguments = arguments(function)?;
        if function.filter.is_some() || function.null_treatment.is_some() {
            return Err(SqlError::not_understood(format_args!("this form of {name}")));
        }
        if let Some(over) = &function.over {
            return self.window(&name, &arguments, over);
        }
        if let Some(aggregate) = self.aggregate(&name, &arguments, &function.within_group)? {
            return Ok(aggregate);
        }
        if let Some(now) = self.now_function(&name).filter(|_| arguments.expressions.is_empty()) {
            return Ok(now);
        }
        let args = arguments.expressions.as_slice();
        if let Some(text) = self.text_function(&name, args)? {
            return Ok(text);
        }
        if let Some(choice) = self.choice_function(&name, args)? {
            return Ok(choice);
        }
        if let Some(date) = self.date_function(&name, args)? {
            return Ok(date);
        }
        if let ("NCHAR" | "CHAR", [code]) = (name.as_str(), args) {
            let code = self.expression(code)?;
            return Ok(Typed {
                sql: format!("char({})", code.sql),
                ty: SqlType::NVarChar(Width::Of(1)),
                nullable: true,
            });
        }
        if name == "BINARY_CHECKSUM" || name == "CHECKSUM" {
            return self.checksum(&arguments);
        }
        if let ("SUSER_SNAME" | "SUSER_SID", [argument]) = (name.as_str(), args) {
            let argument = self.expression(argument)?;
            let sql = format!("dd_{}({})", name.to_lowercase(), argument.sql);
            let ty = if name == "SUSER_SID" { SqlType::VarBinary(Width::Of(85)) } else { SqlType::SYSNAME };
            return Ok(Typed { sql, ty, nullable: true });
        }
        self.server_function(&name, args)
    }

    /// The functions that tell the time; one statement sees one time.
    pub(super) fn now_function(&mut self, name: &str) -> Option<Typed> {
        let now: NaiveDateTime = self.names.now().naive_utc();
        let typed = |text: String, ty| Some(Typed::new(literal(&text), ty).not_null());
        match name {
            "GETDATE" | "GETUTCDATE" | "CURRENT_TIMESTAMP" => {
                typed(moment_text(datetime_rounded(now), 3), SqlType::DateTime)
            }
            "SYSDATETIME" | "SYSUTCDATETIME" => typed(moment_text(now, 7), SqlType::DateTime2(7)),
            "SYSDATETIMEOFFSET" => typed(moment_text(now, 7) + "|+0", SqlType::DateTimeOffset(7)),
            "CURRENT_TIMEZONE" => {
                typed("(UTC) Coordinated Universal Time".into(), SqlType::NVarChar(Width::Of(128)))
            }
            "NEWID" => Some(Typed::new("dd_newid()", SqlType::UniqueIdentifier).not_null()),
            "CURRENT_USER" => typed("dbo".into(), SqlType::SYSNAME),
            _ => None,
        }
    }

    fn text_function(&mut self, name: &str, args: &[&Expr]) -> Result<Option<Typed>, SqlError> {
        let count = match name {
            "LEN" | "LOWER" | "UPPER" | "LTRIM" | "RTRIM" | "TRIM" | "QUOTENAME" | "DATALENGTH"
            | "REVERSE" => 1,
            "LEFT" | "RIGHT" | "REPLICATE" | "HASHBYTES" => 2,
            "REPLACE" | "SUBSTRING" => 3,
            "CHARINDEX" => args.len().clamp(2, 3),
            "CONCAT" => args.len().max(2),
            _ => return Ok(None),
        };
        if args.len() != count {
            return Err(wrong_count(name, count));
        }
        if matches!(name, "HASHBYTES" | "DATALENGTH") {
            return self.bytes_function(name, args).map(Some);
        }
        let mut texts = Vec::new();
        for (at, argument) in args.iter().enumerate() {
            let is_number = matches!(
                (name, at),
                ("LEFT" | "RIGHT" | "REPLICATE", 1) | ("CHARINDEX", 2) | ("SUBSTRING", 1 | 2)
            );
            texts.push(if is_number { self.expression(argument)? } else { self.text_argument(argument)? });
        }
        let sqls: Vec<&str> = texts.iter().map(|text| text.sql.as_str()).collect();
        let nullable = texts.iter().any(|text| text.nullable);
        let ty = texts.first().map_or(SqlType::Null, |text| text.ty);
        let typed = |sql: String, ty| Ok(Some(Typed { sql, ty, nullable }));
        match (name, sqls.as_slice()) {
            ("LEN", [text]) => typed(format!("dd_len({text})"), SqlType::Int),
            ("LOWER" | "UPPER" | "QUOTENAME", [text]) => {
                typed(format!("dd_{}({text})", name.to_lowercase()), ty)
            }
            ("LTRIM" | "RTRIM" | "TRIM", [text]) => {
                typed(format!("{}({text}, ' ')", name.to_lowercase()), ty)
            }
            ("LEFT", [text, count]) => typed(format!("substr({text}, 1, max({count}, 0))"), ty),
            ("RIGHT", [text, count]) => {
                typed(format!("CASE WHEN {count} > 0 THEN substr({text}, -({count})) ELSE '' END"), ty)
            }
            ("SUBSTRING", [text, from, length]) => typed(format!("substr({text}, {from}, {length})"), ty),
            ("REPLICATE", [text, count]) => typed(
                format!("replace(printf('%.*c', min({count}, 8000), 'x'), 'x', {text})"),
                text_of(ty, Width::Of(4000)),
            ),
            ("REPLACE", [text, old, new]) => {
                typed(format!("replace({text}, {old}, {new})"), text_of(ty, Width::Of(4000)))
            }
            ("CHARINDEX", [needle, text, rest @ ..]) => {
                let start = rest.first().copied().unwrap_or("1");
                typed(format!("dd_charindex({needle}, {text}, {start})"), SqlType::Int)
            }
            ("CONCAT", all) => {
                let parts: Vec<_> = all.iter().map(|text| format!("coalesce({text}, '')")).collect();
                let ty = texts
                    .iter()
                    .map(|text| text.ty)
                    .reduce(|a, b| text_of(a.meet(b), a.text_width().sum(b.text_width(), 4000)));
                let sql = format!("({})", parts.join(" || "));
                Ok(Some(Typed { sql, ty: ty.unwrap_or(SqlType::Null), nullable: false }))
            }
            _ => Err(SqlError::not_understood(format_args!("the function {name}"))),
        }
    }

    fn bytes_function(&mut self, name: &str, args: &[&Expr]) -> Result<Typed, SqlError> {
        let to = SqlType::VarBinary(Width::Max);
        let value = self.expression(args[args.len() - 1])?;
        if name == "HASHBYTES" {
            let algorithm = self.expression(args[0])?;
            if !algorithm.sql.eq_ignore_ascii_case("'SHA2_256'") {
                return Err(SqlError::not_understood("HASHBYTES with anything but SHA2_256"));
            }
        }
        let bytes = if kept_alike(value.ty, to) {
            value.sql.clone()
        } else {
            cast_sql("dd_cast", &value.sql, value.ty, to, "NULL")
        };
        Ok(if name == "HASHBYTES" {
            Typed::new(format!("dd_hash({bytes})"), SqlType::VarBinary(Width::Of(8000)))
        } else {
            Typed::new(format!("length({bytes})"), SqlType::Int)
        })
    }

    fn choice_function(&mut self, name: &str, args: &[&Expr]) -> Result<Option<Typed>, SqlError> {
        Ok(Some(match (name, args) {
            ("ISNULL", [value, instead]) => {
                let (value, instead) = (self.expression(value)?, self.expression(instead)?);
                let ty = if value.ty == SqlType::Null { instead.ty } else { value.ty };
                let sql = format!("coalesce({}, {})", value.sql, self.coerced(&instead, ty));
                Typed { sql, ty, nullable: instead.nullable && value.nullable }
            }
            ("COALESCE", [_, _, ..]) => {
                let values =
                    args.iter().map(|value| self.expression(value)).collect::<Result<Vec<_>, _>>()?;
                let ty = values.iter().map(|value| value.ty).reduce(SqlType::meet).unwrap_or(SqlType::Null);
                let parts: Vec<_> = values.iter().map(|value| self.coerced(value, ty)).collect();
                let nullable = values.iter().all(|value| value.nullable);
                Typed { sql: format!("coalesce({})", parts.join(", ")), ty, nullable }
            }
            ("NULLIF", [left, right]) => {
                let (left, right) = (self.expression(left)?, self.expression(right)?);
                let (a, b) = self.met(&left, &right)?;
                Typed::new(format!("CASE WHEN {a} = {b} THEN NULL ELSE {} END", left.sql), left.ty)
            }
            ("IIF", [condition, then, otherwise]) => {
                let condition = self.condition(condition)?;
                let (then, otherwise) = (self.expression(then)?, self.expression(otherwise)?);
                let ty = then.ty.meet(otherwise.ty);
                let (a, b) = (self.coerced(&then, ty), self.coerced(&otherwise, ty));
                let nullable = then.nullable || otherwise.nullable;
                Typed { sql: format!("CASE WHEN {condition} THEN {a} ELSE {b} END"), ty, nullable }
            }
            ("ABS", [value]) => {
                let value = self.expression(value)?;
                match value.ty.family() {
                    Family::Integer | Family::Float => Typed { sql: format!("abs({})", value.sql), ..value },
                    _ => return Err(SqlError::not_understood(format_args!("ABS of {}", value.ty))),
                }
            }
            ("ROUND", [value, digits]) => {
                let (value, digits) = (self.expression(value)?, self.expression(digits)?);
                match value.ty.family() {
                    Family::Float => Typed { sql: format!("round({}, {})", value.sql, digits.sql), ..value },
                    _ => return Err(SqlError::not_understood(format_args!("ROUND of {}", value.ty))),
                }
            }
            _ => return Ok(None),
        }))
    }

    fn date_function(&mut self, name: &str, args: &[&Expr]) -> Result<Option<Typed>, SqlError> {
        let part_of = |expression: &Expr| {
            let word = expression.to_string();
            calendar::part(&word)
                .ok_or_else(|| SqlError::not_understood(format_args!("the date part {word}")))
        };
        Ok(Some(match (name, args) {
            ("DATEADD", [part, count, moment]) => {
                let (part, count) = (part_of(part)?, self.expression(count)?);
                let moment = self.moment_argument(moment)?;
                let sum = format!("dd_dateadd('{part}', {}, {})", count.sql, moment.sql);
                let sql = cast_sql("dd_cast", &sum, SqlType::DateTime2(7), moment.ty, "NULL");
                Typed { sql, ..moment }
            }
            ("DATEDIFF" | "DATEDIFF_BIG", [part, from, to]) => {
                let part = part_of(part)?;
                let (from, to) = (self.moment_argument(from)?, self.moment_argument(to)?);
                let sql = format!("dd_datediff('{part}', {}, {})", from.sql, to.sql);
                if name == "DATEDIFF" {
                    Typed::new(cast_sql("dd_cast", &sql, SqlType::BigInt, SqlType::Int, "NULL"), SqlType::Int)
                } else {
                    Typed::new(sql, SqlType::BigInt)
                }
            }
            ("DATEPART", [part, moment]) => {
                let (part, moment) = (part_of(part)?, self.moment_argument(moment)?);
                Typed::new(format!("dd_datepart('{part}', {})", moment.sql), SqlType::Int)
            }
            ("YEAR" | "MONTH" | "DAY", [moment]) => {
                let moment = self.moment_argument(moment)?;
                Typed::new(format!("dd_datepart('{}', {})", name.to_lowercase(), moment.sql), SqlType::Int)
            }
            _ => return Ok(None),
        }))
    }

    /// A moment; texts are read, offsets are turned into local time.
    fn moment_argument(&mut self, expression: &Expr) -> Result<Typed, SqlError> {
        let value = self.expression(expression)?;
        match value.ty.family() {
            Family::Moment => Ok(value),
            Family::Text | Family::Offset | Family::Null => {
                let ty = SqlType::DateTime2(7);
                Ok(Typed { sql: self.coerced(&value, ty), ty, nullable: value.nullable })
            }
            _ => Err(SqlError::new(
                8116,
                format!("Argument data type {} is invalid for a date function.", value.ty),
            )),
        }
    }

    fn checksum(&mut self, arguments: &Arguments<'_>) -> Result<Typed, SqlError> {
        let mut parts = Vec::new();
        if arguments.star {
            let sources = self.scopes.last().cloned().unwrap_or_default();
            for source in &sources {
                for field in &source.fields {
                    parts.push(self.column(Some(&source.name), &field.name)?.sql);
                }
            }
        }
        for argument in &arguments.expressions {
            parts.push(self.expression(argument)?.sql);
        }
        Ok(Typed::new(format!("dd_binary_checksum({})", parts.join(", ")), SqlType::Int).not_null())
    }

    /// A function that asks the server; over columns only where the server's views can be joined.
    fn server_function(&mut self, name: &str, args: &[&Expr]) -> Result<Typed, SqlError> {
        let named_before = self.columns_named;
        let values = args.iter().map(|argument| self.expression(argument)).collect::<Result<Vec<_>, _>>()?;
        if self.columns_named != named_before {
            return self.looked_up(name, &values);
        }
        let mut constants = Vec::new();
        for value in &values {
            constants.push((self.names.evaluate(&value.sql, &self.parameters)?, value.ty));
        }
        let (value, ty) = self.names.function(name, &constants)?.ok_or_else(|| {
            let text = format!("'{}' is not a recognized built-in function name.", name.to_lowercase());
            SqlError::new(195, text).state(10).class(15)
        })?;
        let sql = self.parameter(value);
        Ok(Typed::new(sql, ty))
    }

    fn looked_up(&mut self, name: &str, values: &[Typed]) -> Result<Typed, SqlError> {
        let (view, key, column) = match (name, values.len()) {
            ("DB_NAME", 1) => ("databases", "database_id", "name"),
            ("DB_ID", 1) => ("databases", "name", "database_id"),
            ("OBJECT_NAME", 1) => ("objects", "object_id", "name"),
            ("SCHEMA_NAME", 1) => ("schemas", "schema_id", "name"),
            _ => return Err(SqlError::not_understood(format_args!("the function {name} over columns"))),
        };
        let name = ObjectName { database: None, schema: Some("sys".into()), name: view.into() };
        let table = self.table(&name, None)?;
        let ty =
            table.fields.iter().find(|field| field.name == column).map_or(SqlType::Null, |field| field.ty);
        let sql = format!(
            "(SELECT v.{column} FROM {} AS v WHERE v.{key} = {} COLLATE ci)",
            table.sql, values[0].sql
        );
        Ok(Typed::new(sql, ty))
    }
}
