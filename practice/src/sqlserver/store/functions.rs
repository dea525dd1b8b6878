//! What SQLite lacks and T-SQL has, as functions of every connection. Main function: [`install`].

use std::cmp::Ordering;

use rusqlite::functions::{Aggregate, Context, FunctionFlags};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Error, Result};
use sha2::{Digest, Sha256};

use super::calendar;
use super::guids::Guids;
use super::like::like;
use crate::sqlserver::cast::{cast, store, text_of};
use crate::sqlserver::error::SqlError;
use crate::sqlserver::sql_type::{SqlType, Width, parse_text};
use crate::sqlserver::value::Decimal;

const PURE: FunctionFlags = FunctionFlags::SQLITE_UTF8.union(FunctionFlags::SQLITE_DETERMINISTIC);

/// Before an error's number in a message that passes through SQLite.
const TAG: char = '\u{1}';

/// An error as SQLite carries it through.
fn raised(error: &SqlError) -> Error {
    let text = format!("{TAG}{}{TAG}{}{TAG}{}{TAG}{}", error.number, error.class, error.state, error.message);
    Error::UserFunctionError(text.into())
}

/// The error inside a message of SQLite's, if one of our functions or triggers raised it.
#[must_use]
pub fn raised_in(message: &str) -> Option<SqlError> {
    let mut parts = message.split(TAG).skip(1);
    let number = parts.next()?.parse().ok()?;
    let class = parts.next()?.parse().ok()?;
    let state = parts.next()?.parse().ok()?;
    Some(SqlError::new(number, parts.next()?).class(class).state(state))
}

/// The text for RAISE() that [`raised_in`] reads.
#[must_use]
pub fn raise_text(number: i32, message: &str) -> String {
    format!("{TAG}{number}{TAG}16{TAG}0{TAG}{message}")
}

/// Compares as SQL_Latin1_General_CP1_CI_AS does, nearly: no case, no trailing blanks.
#[must_use]
pub fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_end_matches(' '), b.trim_end_matches(' '));
    let lower = |text: &str| -> Vec<char> { text.chars().flat_map(char::to_lowercase).collect() };
    if a.is_ascii() && b.is_ascii() {
        return a.bytes().map(|c| c.to_ascii_lowercase()).cmp(b.bytes().map(|c| c.to_ascii_lowercase()));
    }
    lower(a).cmp(&lower(b))
}

/// Gives a connection the collation and the functions that compiled statements use.
///
/// # Errors
/// SQLite's.
pub fn install(connection: &Connection, guids: &Guids) -> Result<()> {
    connection.create_collation("ci", compare)?;
    let guids = guids.clone();
    connection.create_scalar_function("dd_newid", 0, FunctionFlags::SQLITE_UTF8, move |_| {
        Ok(guids.next().hyphenated().to_string().to_uppercase())
    })?;
    connection
        .create_scalar_function("dd_cast", 4, PURE, |context| converted(context).map_err(|e| raised(&e)))?;
    connection.create_scalar_function("dd_try_cast", 4, PURE, |context| {
        Ok(converted(context).unwrap_or(Value::Null))
    })?;
    connection
        .create_scalar_function("dd_store", 6, PURE, |context| stored(context).map_err(|e| raised(&e)))?;
    connection.create_scalar_function("dd_len", 1, PURE, |context| {
        text_arg(context, 0)
            .map(|text| text.map(|text| text.trim_end_matches(' ').encode_utf16().count() as i64))
    })?;
    connection.create_scalar_function("dd_upper", 1, PURE, |context| {
        text_arg(context, 0).map(|text| text.map(|text| text.to_uppercase()))
    })?;
    connection.create_scalar_function("dd_lower", 1, PURE, |context| {
        text_arg(context, 0).map(|text| text.map(|text| text.to_lowercase()))
    })?;
    connection.create_scalar_function("dd_charindex", 3, PURE, char_index)?;
    connection.create_scalar_function("dd_like", 3, PURE, |context| {
        let (text, pattern) = (text_arg(context, 0)?, text_arg(context, 1)?);
        let escape = text_arg(context, 2)?.and_then(|text| text.chars().next());
        Ok(text.zip(pattern).map(|(text, pattern)| like(&text, &pattern, escape)))
    })?;
    connection.create_scalar_function("dd_decimal", 5, PURE, |context| {
        decimal_operation(context).map_err(|e| raised(&e))
    })?;
    connection
        .create_scalar_function("dd_divide", 3, PURE, |context| divide(context).map_err(|e| raised(&e)))?;
    connection.create_scalar_function("dd_hash", 1, PURE, |context| {
        let bytes = match context.get_raw(0) {
            ValueRef::Null => return Ok(None),
            ValueRef::Blob(bytes) | ValueRef::Text(bytes) => bytes.to_vec(),
            other => format!("{other:?}").into_bytes(),
        };
        Ok(Some(Sha256::digest(bytes).to_vec()))
    })?;
    connection.create_scalar_function("dd_quotename", 1, PURE, |context| {
        text_arg(context, 0).map(|text| text.map(|text| format!("[{}]", text.replace(']', "]]"))))
    })?;
    connection
        .create_scalar_function("dd_binary_checksum", -1, PURE, |context| Ok(binary_checksum(context)))?;
    connection.create_aggregate_function("dd_checksum_agg", 1, PURE, ChecksumAgg)?;
    connection.create_aggregate_function("dd_decimal_sum", 1, PURE, DecimalSum)?;
    calendar::install(connection)
}

fn text_arg(context: &Context<'_>, at: usize) -> Result<Option<String>> {
    Ok(match context.get_raw(at) {
        ValueRef::Null => None,
        ValueRef::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Integer(number) => Some(number.to_string()),
        _ => return Err(raised(&SqlError::new(8116, "Argument data type is invalid for this function."))),
    })
}

fn type_arg(context: &Context<'_>, at: usize) -> Result<SqlType, SqlError> {
    context.get_raw(at).as_str().map_err(SqlError::internal).and_then(parse_text)
}

fn value_arg(context: &Context<'_>, at: usize) -> Value {
    Value::try_from(context.get_raw(at)).unwrap_or(Value::Null)
}

fn converted(context: &Context<'_>) -> Result<Value, SqlError> {
    let value = value_arg(context, 0);
    if value == Value::Null {
        return Ok(value);
    }
    let style = context.get_raw(3).as_i64().ok();
    cast(value, type_arg(context, 1)?, type_arg(context, 2)?, style)
}

/// `(value, from, to, nullable, table, column)`.
fn stored(context: &Context<'_>) -> Result<Value, SqlError> {
    let value = value_arg(context, 0);
    let name = |at| context.get_raw(at).as_str().unwrap_or_default().to_owned();
    if value == Value::Null {
        if context.get_raw(3).as_i64() == Ok(0) {
            let text = format!(
                "Cannot insert the value NULL into column '{}', table '{}'; column does not allow nulls. INSERT or \
                 UPDATE fails.",
                name(5),
                name(4)
            );
            return Err(SqlError::new(515, text).state(2));
        }
        return Ok(value);
    }
    let (from, to) = (type_arg(context, 1)?, type_arg(context, 2)?);
    store(value, from, to, &name(4), &name(5))
}

/// CHARINDEX(needle, text, start): places count from 1, 0 when it is not there.
fn char_index(context: &Context<'_>) -> Result<Option<i64>> {
    let (Some(needle), Some(text)) = (text_arg(context, 0)?, text_arg(context, 1)?) else { return Ok(None) };
    let start = context.get_raw(2).as_i64().unwrap_or(1).max(1) - 1;
    let lower = |text: &str| -> Vec<char> { text.chars().flat_map(char::to_lowercase).collect() };
    let (needle, text) = (lower(&needle), lower(&text));
    let start = usize::try_from(start).unwrap_or(0).min(text.len());
    if needle.is_empty() {
        return Ok(Some(0));
    }
    let found = text[start..].windows(needle.len()).position(|window| window == needle);
    Ok(Some(found.map_or(0, |at| (at + start + 1) as i64)))
}

/// `(operator, a, b, scale of a, scale of b)`; the result has the larger scale, or the sum of both for `*`.
fn decimal_operation(context: &Context<'_>) -> Result<Option<String>, SqlError> {
    let overflow =
        || SqlError::new(8115, "Arithmetic overflow error converting expression to data type numeric.");
    let scale = |at| context.get_raw(at).as_i64().ok().and_then(|s| u8::try_from(s).ok()).unwrap_or(0);
    let number =
        |at, scale| context.get_raw(at).as_str().ok().and_then(|text| Decimal::from_kept(text, scale));
    let (Some(a), Some(b)) = (number(1, scale(3)), number(2, scale(4))) else { return Ok(None) };
    let wide = a.scale.max(b.scale);
    let operator = context.get_raw(0).as_str().unwrap_or_default();
    let result = if operator == "*" {
        a.unscaled.checked_mul(b.unscaled).map(|unscaled| Decimal { unscaled, scale: a.scale + b.scale })
    } else {
        let (a, b) = (a.rescaled(wide).ok_or_else(overflow)?, b.rescaled(wide).ok_or_else(overflow)?);
        let unscaled = if operator == "-" {
            a.unscaled.checked_sub(b.unscaled)
        } else {
            a.unscaled.checked_add(b.unscaled)
        };
        unscaled.map(|unscaled| Decimal { unscaled, scale: wide })
    };
    let result = result.and_then(|result| result.rescaled(result.scale)).ok_or_else(overflow)?;
    Ok(Some(result.kept()))
}

/// `(operator, a, b)` for `/` and `%`, which fail on zero where SQLite answers NULL.
fn divide(context: &Context<'_>) -> Result<Value, SqlError> {
    let is_division = context.get_raw(0).as_str() == Ok("/");
    match (value_arg(context, 1), value_arg(context, 2)) {
        (Value::Null, _) | (_, Value::Null) => Ok(Value::Null),
        (_, Value::Integer(0)) | (_, Value::Real(0.0)) => {
            Err(SqlError::new(8134, "Divide by zero error encountered."))
        }
        (Value::Integer(a), Value::Integer(b)) => {
            let result = if is_division { a.checked_div(b) } else { a.checked_rem(b) };
            Ok(Value::Integer(result.unwrap_or(0)))
        }
        (a, b) => {
            let number = |value| match value {
                Value::Integer(number) => number as f64,
                Value::Real(number) => number,
                _ => f64::NAN,
            };
            let (a, b) = (number(a), number(b));
            Ok(Value::Real(if is_division { a / b } else { a % b }))
        }
    }
}

/// A checksum of a row that depends on the order of its values; not the real server's figure.
fn binary_checksum(context: &Context<'_>) -> i64 {
    let mut hash = Sha256::new();
    for at in 0..context.len() {
        hash.update([0xFF]);
        match context.get_raw(at) {
            ValueRef::Null => hash.update([0]),
            ValueRef::Integer(number) => hash.update(number.to_le_bytes()),
            ValueRef::Real(number) => hash.update(number.to_le_bytes()),
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => hash.update(bytes),
        }
    }
    let digest = hash.finalize();
    let [a, b, c, d] = [digest[0], digest[1], digest[2], digest[3]];
    i64::from(i32::from_le_bytes([a, b, c, d]))
}

struct ChecksumAgg;

impl Aggregate<Option<i64>, Option<i64>> for ChecksumAgg {
    fn init(&self, _: &mut Context<'_>) -> Result<Option<i64>> {
        Ok(None)
    }

    fn step(&self, context: &mut Context<'_>, sum: &mut Option<i64>) -> Result<()> {
        if let Ok(number) = context.get_raw(0).as_i64() {
            *sum = Some(sum.unwrap_or(0) ^ number);
        }
        Ok(())
    }

    fn finalize(&self, _: &mut Context<'_>, sum: Option<Option<i64>>) -> Result<Option<i64>> {
        Ok(sum.flatten())
    }
}

struct DecimalSum;

impl Aggregate<Option<i128>, Option<String>> for DecimalSum {
    fn init(&self, _: &mut Context<'_>) -> Result<Option<i128>> {
        Ok(None)
    }

    fn step(&self, context: &mut Context<'_>, sum: &mut Option<i128>) -> Result<()> {
        if let Some(number) = context.get_raw(0).as_str().ok().and_then(|text| Decimal::from_kept(text, 0)) {
            *sum = Some(sum.unwrap_or(0).saturating_add(number.unscaled));
        }
        Ok(())
    }

    fn finalize(&self, _: &mut Context<'_>, sum: Option<Option<i128>>) -> Result<Option<String>> {
        let overflow =
            || SqlError::new(8115, "Arithmetic overflow error converting expression to data type numeric.");
        let Some(unscaled) = sum.flatten() else { return Ok(None) };
        let sum = Decimal { unscaled, scale: 0 }.rescaled(0).ok_or_else(|| raised(&overflow()))?;
        Ok(Some(sum.kept()))
    }
}

/// A value as text for messages such as PRINT's.
#[must_use]
pub fn shown(value: &Value, ty: SqlType) -> String {
    text_of(value, ty, SqlType::NVarChar(Width::Max), None).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raised_error_comes_back_whole() {
        let error = SqlError::new(515, "no").state(2);
        let Error::UserFunctionError(text) = raised(&error) else { panic!("not raised") };
        assert_eq!(raised_in(&format!("error: {text}")), Some(error));
        assert_eq!(raised_in("near \"x\": syntax error"), None);
    }
}
