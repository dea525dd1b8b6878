//! Conversions between data types, with the server's errors. Main function: [`cast`].

use chrono::{NaiveDateTime, Timelike};
use uuid::Uuid;

use super::error::SqlError;
use super::moment::{self, iso, style_0};
use super::sql_type::{Family, SqlType, Width};
use super::value::{Decimal, Value, datetime_rounded, moment_from, moment_text};

/// Converts as CAST does: texts that are too long are cut.
///
/// # Errors
/// 220, 241, 245, 529, 8114, 8115, 8169, or this server's refusal of a pair of types.
pub fn cast(value: Value, from: SqlType, to: SqlType, style: Option<i64>) -> Result<Value, SqlError> {
    if value == Value::Null {
        return Ok(value);
    }
    if from == SqlType::Variant {
        let from = if matches!(value, Value::Integer(_)) {
            SqlType::Int
        } else {
            SqlType::NVarChar(Width::Of(4000))
        };
        return cast(value, from, to, style);
    }
    match to.family() {
        Family::Integer => to_integer(&value, from, to),
        Family::Decimal => to_decimal(&value, from, to),
        Family::Float => to_float(&value, from, to),
        Family::Text => text_of(&value, from, to, style).map(|text| Value::Text(cut(text, to))),
        Family::Binary => to_binary(value, from, to, style),
        Family::Moment | Family::Time | Family::Offset => to_moment(&value, from, to),
        Family::Guid => to_guid(&value, from, to),
        Family::Variant | Family::Null => Ok(value),
    }
}

/// Converts as an assignment to a column does: as [`cast`], but what is too long is an error.
///
/// # Errors
/// 2628 besides those of [`cast`].
pub fn store(value: Value, from: SqlType, to: SqlType, table: &str, column: &str) -> Result<Value, SqlError> {
    let too_long = match (&value, to.family(), to.text_width()) {
        (Value::Text(text), Family::Text, Width::Of(limit)) if from.family() == Family::Text => {
            text.trim_end_matches(' ').encode_utf16().count() > usize::from(limit)
        }
        (Value::Blob(bytes), Family::Binary, _) => binary_limit(to).is_some_and(|limit| bytes.len() > limit),
        _ => false,
    };
    if too_long {
        let shown = if let Value::Text(text) = &value { cut(text.clone(), to) } else { String::new() };
        let text = format!(
            "String or binary data would be truncated in table '{table}', column '{column}'. Truncated value: '{shown}'."
        );
        return Err(SqlError::new(2628, text));
    }
    cast(value, from, to, None)
}

fn binary_limit(ty: SqlType) -> Option<usize> {
    match ty {
        SqlType::VarBinary(Width::Of(n)) | SqlType::Binary(n) => Some(usize::from(n)),
        _ => None,
    }
}

fn cut(text: String, to: SqlType) -> String {
    let Width::Of(limit) = to.text_width() else { return text };
    if text.len() <= usize::from(limit) {
        return text;
    }
    let units: Vec<u16> = text.encode_utf16().take(usize::from(limit)).collect();
    String::from_utf16_lossy(&units)
}

fn not_allowed(from: SqlType, to: SqlType) -> SqlError {
    SqlError::new(529, format!("Explicit conversion from data type {from} to {to} is not allowed."))
}

fn bare(ty: SqlType) -> String {
    let text = ty.to_string();
    text.split('(').next().unwrap_or_default().to_owned()
}

fn to_integer(value: &Value, from: SqlType, to: SqlType) -> Result<Value, SqlError> {
    let number = match (value, from.family()) {
        (Value::Integer(number), _) => i128::from(*number),
        (Value::Real(number), _) => *number as i128,
        (Value::Text(text), Family::Decimal) => {
            decimal_of(text, from)?.unscaled / 10_i128.pow(scale_of(from))
        }
        (Value::Text(text), Family::Text) => {
            let trimmed = text.trim();
            let read = if trimmed.is_empty() { Ok(0) } else { trimmed.parse() };
            match (read, to) {
                (Ok(number), _) => number,
                (Err(_), SqlType::Bit) if trimmed.eq_ignore_ascii_case("true") => 1,
                (Err(_), SqlType::Bit) if trimmed.eq_ignore_ascii_case("false") => 0,
                _ => {
                    let (from, to) = (bare(from), bare(to));
                    let text = format!(
                        "Conversion failed when converting the {from} value '{text}' to data type {to}."
                    );
                    return Err(SqlError::new(245, text));
                }
            }
        }
        _ => return Err(not_allowed(from, to)),
    };
    let (low, high) = match to {
        SqlType::Bit => return Ok(Value::Integer(i64::from(number != 0))),
        SqlType::TinyInt => (0, 255),
        SqlType::SmallInt => (i128::from(i16::MIN), i128::from(i16::MAX)),
        SqlType::Int => (i128::from(i32::MIN), i128::from(i32::MAX)),
        _ => (i128::from(i64::MIN), i128::from(i64::MAX)),
    };
    match i64::try_from(number) {
        Ok(fits) if (low..=high).contains(&number) => Ok(Value::Integer(fits)),
        _ => {
            let text = format!("Arithmetic overflow error converting expression to data type {to}.");
            Err(SqlError::new(8115, text).state(2))
        }
    }
}

fn scale_of(ty: SqlType) -> u32 {
    if let SqlType::Decimal { scale, .. } = ty { u32::from(scale) } else { 0 }
}

fn decimal_of(text: &str, ty: SqlType) -> Result<Decimal, SqlError> {
    let scale = u8::try_from(scale_of(ty)).unwrap_or(0);
    Decimal::from_kept(text, scale).ok_or_else(|| SqlError::internal("a decimal is not in its kept form"))
}

fn to_decimal(value: &Value, from: SqlType, to: SqlType) -> Result<Value, SqlError> {
    let SqlType::Decimal { precision, scale } = to else { return Err(not_allowed(from, to)) };
    let not_a_number =
        || SqlError::new(8114, format!("Error converting data type {} to numeric.", bare(from)));
    let number = match (value, from.family()) {
        (Value::Integer(number), _) => Decimal { unscaled: i128::from(*number), scale: 0 },
        (Value::Real(number), _) => {
            Decimal::parse(&format!("{number:.*}", usize::from(scale))).ok_or_else(not_a_number)?
        }
        (Value::Text(text), Family::Decimal) => decimal_of(text, from)?,
        (Value::Text(text), Family::Text) => Decimal::parse(text).ok_or_else(not_a_number)?,
        _ => return Err(not_allowed(from, to)),
    };
    let limit = 10_i128.pow(u32::from(precision)).unsigned_abs();
    match number.rescaled(scale) {
        Some(number) if number.unscaled.unsigned_abs() < limit => Ok(Value::Text(number.kept())),
        _ => {
            let text = format!("Arithmetic overflow error converting {} to data type numeric.", bare(from));
            Err(SqlError::new(8115, text).state(8))
        }
    }
}

fn to_float(value: &Value, from: SqlType, to: SqlType) -> Result<Value, SqlError> {
    let number = match (value, from.family()) {
        (Value::Integer(number), _) => *number as f64,
        (Value::Real(number), _) => *number,
        (Value::Text(text), Family::Decimal) => {
            decimal_of(text, from)?.to_string().parse().unwrap_or(f64::NAN)
        }
        (Value::Text(text), Family::Text) => text.trim().parse().map_err(|_| {
            SqlError::new(8114, format!("Error converting data type {} to {}.", bare(from), bare(to)))
        })?,
        _ => return Err(not_allowed(from, to)),
    };
    let number = if to == SqlType::Real { f64::from(number as f32) } else { number };
    if number.is_finite() { Ok(Value::Real(number)) } else { Err(not_allowed(from, to)) }
}

/// A value as text, as CAST and CONVERT print it.
///
/// # Errors
/// A style that is not one of 0, 1, 2, 120, 121, 126, 127.
pub fn text_of(value: &Value, from: SqlType, to: SqlType, style: Option<i64>) -> Result<String, SqlError> {
    let text = match (value, from.family()) {
        (Value::Null, _) => String::new(),
        (Value::Integer(number), _) => number.to_string(),
        (Value::Real(number), _) => float_text(*number),
        (Value::Text(text), Family::Decimal) => decimal_of(text, from)?.to_string(),
        (Value::Text(text), Family::Moment) => moment_as_text(text, from, style)?,
        (Value::Text(text), Family::Time) => {
            let keep = if let SqlType::Time(0) = from { 8 } else { 9 + usize::from(time_scale(from)) };
            text.get(..keep).unwrap_or(text).to_owned()
        }
        (Value::Text(text), Family::Offset) => {
            offset_text(text, from).ok_or_else(|| not_allowed(from, to))?
        }
        (Value::Text(text), _) => text.clone(),
        (Value::Blob(bytes), _) => match style {
            Some(1) => format!("0x{}", hex(bytes)),
            Some(2) => hex(bytes),
            _ if to.is_national() => crate::sqlserver::tds::bytes::utf16_text(bytes),
            _ => bytes.iter().map(|byte| char::from(*byte)).collect(),
        },
    };
    Ok(text)
}

fn time_scale(ty: SqlType) -> u8 {
    match ty {
        SqlType::Time(scale) | SqlType::DateTime2(scale) | SqlType::DateTimeOffset(scale) => scale,
        SqlType::DateTime => 3,
        _ => 0,
    }
}

/// Up to six significant digits, as the server prints a float.
fn float_text(number: f64) -> String {
    let rounded: f64 = format!("{number:.5e}").parse().unwrap_or(number);
    if rounded != 0.0 && !(1e-4..1e15).contains(&rounded.abs()) {
        let text = format!("{rounded:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        return format!("{mantissa}e{exponent:+04}");
    }
    rounded.to_string()
}

fn moment_as_text(text: &str, from: SqlType, style: Option<i64>) -> Result<String, SqlError> {
    if from == SqlType::Date {
        return Ok(text.to_owned());
    }
    let moment = moment_from(text).ok_or_else(|| SqlError::internal("a moment is not in its kept form"))?;
    let scale = time_scale(from);
    Ok(match style {
        None | Some(0) if from == SqlType::DateTime => style_0(moment),
        None | Some(0 | 121) => iso(moment, ' ', scale),
        Some(120) => iso(moment, ' ', 0),
        Some(126) => iso(moment, 'T', if moment.nanosecond() == 0 { 0 } else { scale }),
        Some(127) => iso(moment, 'T', if moment.nanosecond() == 0 { 0 } else { scale }) + "Z",
        Some(other) => return Err(SqlError::not_understood(format_args!("the conversion style {other}"))),
    })
}

fn offset_text(text: &str, from: SqlType) -> Option<String> {
    let (utc, minutes) = text.split_once('|')?;
    let minutes: i64 = minutes.parse().ok()?;
    let local = moment_from(utc)? + chrono::Duration::minutes(minutes);
    let sign = if minutes < 0 { '-' } else { '+' };
    let (hours, rest) = (minutes.abs() / 60, minutes.abs() % 60);
    Some(format!("{} {sign}{hours:02}:{rest:02}", iso(local, ' ', time_scale(from))))
}

/// Bytes in upper-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// Hexadecimal digits as bytes; nothing when they are not.
#[must_use]
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

fn to_binary(value: Value, from: SqlType, to: SqlType, style: Option<i64>) -> Result<Value, SqlError> {
    let mut bytes = match (value, from.family(), style) {
        (Value::Blob(bytes), ..) => bytes,
        (Value::Text(text), Family::Text, Some(1 | 2)) => {
            let digits = if style == Some(1) { text.strip_prefix("0x") } else { Some(text.as_str()) };
            digits.and_then(unhex).ok_or_else(|| {
                SqlError::new(8114, format!("Error converting data type {} to {}.", bare(from), bare(to)))
            })?
        }
        (Value::Text(text), Family::Text, _) => {
            let mut bytes = Vec::new();
            if from.is_national() {
                crate::sqlserver::tds::bytes::put_utf16(&mut bytes, &text);
            } else {
                bytes.extend(text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')));
            }
            bytes
        }
        (Value::Text(text), Family::Guid, _) => Uuid::parse_str(&text)
            .map(|guid| guid.to_bytes_le().to_vec())
            .map_err(|_| not_allowed(from, to))?,
        (Value::Integer(number), ..) => {
            let bytes = number.to_be_bytes();
            let length = if from == SqlType::BigInt { 8 } else { 4 };
            bytes[8 - length..].to_vec()
        }
        _ => return Err(not_allowed(from, to)),
    };
    if let Some(limit) = binary_limit(to) {
        bytes.truncate(limit);
        if matches!(to, SqlType::Binary(_)) {
            bytes.resize(limit, 0);
        }
    }
    Ok(Value::Blob(bytes))
}

fn to_moment(value: &Value, from: SqlType, to: SqlType) -> Result<Value, SqlError> {
    let failed =
        || SqlError::new(241, "Conversion failed when converting date and/or time from character string.");
    let Value::Text(text) = value else { return Err(not_allowed(from, to)) };
    let (local, offset) = match from.family() {
        Family::Text => {
            let read = moment::parse(text).ok_or_else(failed)?;
            // The old type reads at most milliseconds, and no zone but Z.
            if to == SqlType::DateTime && (read.decimals > 3 || read.offset.is_some_and(|offset| offset != 0))
            {
                return Err(failed());
            }
            (read.local, read.offset.unwrap_or(0))
        }
        Family::Moment if from == SqlType::Date => {
            (moment_from(&format!("{text} 00:00:00")).ok_or_else(failed)?, 0)
        }
        Family::Moment => (moment_from(text).ok_or_else(failed)?, 0),
        Family::Time => (moment_from(&format!("1900-01-01 {text}")).ok_or_else(failed)?, 0),
        Family::Offset => {
            let (utc, minutes) = text.split_once('|').ok_or_else(failed)?;
            let minutes: i16 = minutes.parse().map_err(|_| failed())?;
            let utc = moment_from(utc).ok_or_else(failed)?;
            (utc + chrono::Duration::minutes(i64::from(minutes)), minutes)
        }
        _ => return Err(not_allowed(from, to)),
    };
    Ok(Value::Text(moment_as(local, offset, to)))
}

/// A moment in the kept form of a type.
fn moment_as(local: NaiveDateTime, offset: i16, to: SqlType) -> String {
    match to {
        SqlType::Date => local.format("%Y-%m-%d").to_string(),
        SqlType::DateTime => moment_text(datetime_rounded(local), 3),
        SqlType::Time(scale) => moment_text(rounded(local, scale), scale)[11..].to_owned(),
        SqlType::DateTimeOffset(scale) => {
            let utc = local - chrono::Duration::minutes(i64::from(offset));
            format!("{}|{offset:+}", moment_text(rounded(utc, scale), scale))
        }
        other => moment_text(rounded(local, time_scale(other)), time_scale(other)),
    }
}

fn rounded(moment: NaiveDateTime, scale: u8) -> NaiveDateTime {
    let unit = 10_i64.pow(9 - u32::from(scale.min(7)));
    let nanos = i64::from(moment.nanosecond() % 1_000_000_000);
    let target = (nanos + unit / 2) / unit * unit;
    moment + chrono::Duration::nanoseconds(target - nanos)
}

fn to_guid(value: &Value, from: SqlType, to: SqlType) -> Result<Value, SqlError> {
    let guid = match (value, from.family()) {
        (Value::Text(text), Family::Text | Family::Guid) => {
            let text = text.trim().trim_start_matches('{');
            Uuid::parse_str(text.get(..36).unwrap_or(text)).ok()
        }
        (Value::Blob(bytes), _) => bytes.get(..16).and_then(|b| b.try_into().ok()).map(Uuid::from_bytes_le),
        _ => return Err(not_allowed(from, to)),
    };
    let failed = || {
        SqlError::new(8169, "Conversion failed when converting from a character string to uniqueidentifier.")
    };
    Ok(Value::Text(guid.ok_or_else(failed)?.hyphenated().to_string().to_uppercase()))
}

#[cfg(test)]
mod tests {
    use super::super::sql_type::parse_text;
    use super::*;

    fn converted(text: &str, from: &str, to: &str, style: Option<i64>) -> Result<String, i32> {
        let (from, to) = (parse_text(from).unwrap(), parse_text(to).unwrap());
        let wide = SqlType::NVarChar(Width::Max);
        cast(Value::Text(text.into()), wide, from, None)
            .and_then(|value| cast(value, from, to, style))
            .and_then(|value| text_of(&value, to, wide, None))
            .map_err(|error| error.number)
    }

    #[test]
    fn conversions() {
        type Case = (&'static str, &'static str, &'static str, Option<i64>, Result<&'static str, i32>);
        let cases: [Case; 15] = [
            ("12", "nvarchar(max)", "int", None, Ok("12")),
            ("abc", "nvarchar(max)", "int", None, Err(245)),
            ("300", "int", "tinyint", None, Err(8115)),
            ("17126658000000314600038", "decimal(25,0)", "nvarchar(30)", None, Ok("17126658000000314600038")),
            ("17126658000000314600038", "decimal(25,0)", "bigint", None, Err(8115)),
            ("1.5", "decimal(5,2)", "decimal(5,0)", None, Ok("2")),
            ("1000", "decimal(9,0)", "decimal(3,0)", None, Err(8115)),
            ("abcdef", "nvarchar(10)", "nvarchar(3)", None, Ok("abc")),
            ("2026-07-14T03:10:00.123", "datetime", "nvarchar(30)", Some(121), Ok("2026-07-14 03:10:00.123")),
            (
                "2026-07-14T03:10:00.1234567",
                "datetime2",
                "nvarchar(30)",
                Some(126),
                Ok("2026-07-14T03:10:00.1234567"),
            ),
            ("2026-07-14T03:10:00.1234567", "datetime", "nvarchar(30)", None, Err(241)),
            (
                "2026-07-14 03:10:00 +02:00",
                "datetimeoffset(0)",
                "datetime2(0)",
                None,
                Ok("2026-07-14 03:10:00"),
            ),
            ("x", "uniqueidentifier", "nvarchar(36)", None, Err(8169)),
            (
                "6f9619ff-8b86-d011-b42d-00c04fc964ff",
                "uniqueidentifier",
                "nvarchar(36)",
                None,
                Ok("6F9619FF-8B86-D011-B42D-00C04FC964FF"),
            ),
            ("yes", "bit", "int", None, Err(245)),
        ];
        for (text, from, to, style, expected) in cases {
            let found = converted(text, from, to, style);
            assert_eq!(found, expected.map(String::from), "{text} {from} -> {to}");
        }
    }

    #[test]
    fn an_assignment_does_not_cut() {
        let (from, to) = (SqlType::NVarChar(Width::Max), SqlType::NVarChar(Width::Of(3)));
        let error = store(Value::Text("abcd".into()), from, to, "db.dbo.t", "c").unwrap_err();
        assert_eq!(error.number, 2628);
        assert!(error.message.contains("column 'c'. Truncated value: 'abc'"), "{}", error.message);
    }
}
