//! Types and values on the wire: TYPE_INFO and what follows it, both ways. Main function: [`put_value`].

use chrono::{Datelike, Duration, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use uuid::Uuid;

use super::bytes::{Malformed, Reader, put_utf16, utf16_text};
use crate::sqlserver::sql_type::{SqlType, Width};
use crate::sqlserver::value::{Decimal, Value, datetime_rounded, moment_from, moment_text};

/// SQL_Latin1_General_CP1_CI_AS, the collation that every text is sent with.
pub const COLLATION: [u8; 5] = [0x09, 0x04, 0xD0, 0x00, 0x34];
const PLP_NULL: u64 = u64::MAX;
const PLP_UNKNOWN: u64 = u64::MAX - 1;
const MAX_LENGTH: u16 = u16::MAX;

/// Appends the TYPE_INFO of `ty`.
pub fn put_type(out: &mut Vec<u8>, ty: SqlType) {
    match ty {
        SqlType::Bit => out.extend([0x68, 1]),
        SqlType::TinyInt => out.extend([0x26, 1]),
        SqlType::SmallInt => out.extend([0x26, 2]),
        SqlType::Int | SqlType::Null => out.extend([0x26, 4]),
        SqlType::BigInt => out.extend([0x26, 8]),
        SqlType::Real => out.extend([0x6D, 4]),
        SqlType::Float => out.extend([0x6D, 8]),
        SqlType::Decimal { precision, scale } => {
            out.extend([0x6C, decimal_length(precision), precision, scale])
        }
        SqlType::NVarChar(width) => put_sized(out, 0xE7, width, 2),
        SqlType::VarChar(width) => put_sized(out, 0xA7, width, 1),
        SqlType::NChar(n) => put_sized(out, 0xEF, Width::Of(n), 2),
        SqlType::Char(n) => put_sized(out, 0xAF, Width::Of(n), 1),
        SqlType::VarBinary(width) => put_length(out, 0xA5, width, 1),
        SqlType::Binary(n) => put_length(out, 0xAD, Width::Of(n), 1),
        SqlType::DateTime => out.extend([0x6F, 8]),
        SqlType::DateTime2(scale) => out.extend([0x2A, scale]),
        SqlType::Date => out.push(0x28),
        SqlType::Time(scale) => out.extend([0x29, scale]),
        SqlType::DateTimeOffset(scale) => out.extend([0x2B, scale]),
        SqlType::UniqueIdentifier => out.extend([0x24, 16]),
        SqlType::Variant => {
            out.push(0x62);
            out.extend(8009_u32.to_le_bytes());
        }
    }
}

fn put_length(out: &mut Vec<u8>, token: u8, width: Width, bytes_each: u16) {
    let length = match width {
        Width::Of(n) => n.saturating_mul(bytes_each),
        Width::Max => MAX_LENGTH,
    };
    out.push(token);
    out.extend(length.to_le_bytes());
}

fn put_sized(out: &mut Vec<u8>, token: u8, width: Width, bytes_each: u16) {
    put_length(out, token, width, bytes_each);
    out.extend(COLLATION);
}

/// Bytes of a decimal's value, its sign among them.
const fn decimal_length(precision: u8) -> u8 {
    match precision {
        0..=9 => 5,
        10..=19 => 9,
        20..=28 => 13,
        _ => 17,
    }
}

/// Appends a value of type `ty`, NULL among them; nothing when the kept form does not fit the type.
#[must_use]
pub fn put_value(out: &mut Vec<u8>, ty: SqlType, value: &Value) -> Option<()> {
    if *value == Value::Null {
        put_null(out, ty);
        return Some(());
    }
    match ty {
        SqlType::Bit
        | SqlType::TinyInt
        | SqlType::SmallInt
        | SqlType::Int
        | SqlType::BigInt
        | SqlType::Null => {
            put_integer(out, ty, integer(value)?);
        }
        SqlType::Real => put_short(out, &(real(value)? as f32).to_le_bytes()),
        SqlType::Float => put_short(out, &real(value)?.to_le_bytes()),
        SqlType::Decimal { precision, scale } => {
            put_decimal(out, precision, Decimal::from_kept(text(value)?, scale)?)
        }
        SqlType::NVarChar(width) => {
            let mut bytes = Vec::new();
            put_utf16(&mut bytes, text(value)?);
            put_bytes(out, width, &bytes);
        }
        SqlType::NChar(n) => {
            let mut bytes = Vec::new();
            put_utf16(&mut bytes, &padded(text(value)?, n));
            put_bytes(out, Width::Of(n), &bytes);
        }
        SqlType::VarChar(width) => put_bytes(out, width, &latin(text(value)?)),
        SqlType::Char(n) => put_bytes(out, Width::Of(n), &latin(&padded(text(value)?, n))),
        SqlType::VarBinary(width) => put_bytes(out, width, blob(value)?),
        SqlType::Binary(n) => put_bytes(out, Width::Of(n), blob(value)?),
        SqlType::DateTime => put_short(out, &datetime_bytes(moment_from(text(value)?)?)),
        SqlType::Date => put_short(out, &date_bytes(date(text(value)?)?)),
        SqlType::Time(scale) => put_short(out, &time_bytes(time(text(value)?)?, scale)),
        SqlType::DateTime2(scale) => {
            let moment = moment_from(text(value)?)?;
            put_short(out, &[time_bytes(moment.time(), scale), date_bytes(moment.date()).to_vec()].concat());
        }
        SqlType::DateTimeOffset(scale) => {
            let (utc, minutes) = text(value)?.split_once('|')?;
            let (moment, minutes) = (moment_from(utc)?, minutes.parse::<i16>().ok()?);
            let parts = [time_bytes(moment.time(), scale), date_bytes(moment.date()).to_vec()];
            put_short(out, &[parts.concat(), minutes.to_le_bytes().to_vec()].concat());
        }
        SqlType::UniqueIdentifier => put_short(out, &Uuid::parse_str(text(value)?).ok()?.to_bytes_le()),
        SqlType::Variant => put_variant(out, value)?,
    }
    Some(())
}

fn put_null(out: &mut Vec<u8>, ty: SqlType) {
    match ty {
        SqlType::NVarChar(Width::Max) | SqlType::VarChar(Width::Max) | SqlType::VarBinary(Width::Max) => {
            out.extend(PLP_NULL.to_le_bytes());
        }
        SqlType::NVarChar(_)
        | SqlType::VarChar(_)
        | SqlType::NChar(_)
        | SqlType::Char(_)
        | SqlType::VarBinary(_)
        | SqlType::Binary(_) => out.extend(MAX_LENGTH.to_le_bytes()),
        SqlType::Variant => out.extend(0_u32.to_le_bytes()),
        _ => out.push(0),
    }
}

fn put_integer(out: &mut Vec<u8>, ty: SqlType, value: i64) {
    let bytes = value.to_le_bytes();
    let length = match ty {
        SqlType::Bit | SqlType::TinyInt => 1,
        SqlType::SmallInt => 2,
        SqlType::BigInt => 8,
        _ => 4,
    };
    put_short(out, &bytes[..length]);
}

fn put_decimal(out: &mut Vec<u8>, precision: u8, value: Decimal) {
    let length = decimal_length(precision);
    out.push(length);
    out.push(u8::from(value.unscaled >= 0));
    out.extend(&value.unscaled.unsigned_abs().to_le_bytes()[..usize::from(length) - 1]);
}

/// A value with a one-byte length before it.
fn put_short(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(u8::try_from(bytes.len()).unwrap_or(0));
    out.extend_from_slice(bytes);
}

/// A value with a two-byte length, or in one chunk where the type is `max`.
fn put_bytes(out: &mut Vec<u8>, width: Width, bytes: &[u8]) {
    if width == Width::Max {
        out.extend((bytes.len() as u64).to_le_bytes());
        if !bytes.is_empty() {
            out.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
            out.extend_from_slice(bytes);
        }
        out.extend(0_u32.to_le_bytes());
    } else {
        let bytes = &bytes[..bytes.len().min(8000)];
        out.extend(u16::try_from(bytes.len()).unwrap_or(0).to_le_bytes());
        out.extend_from_slice(bytes);
    }
}

/// A variant: its base type is int for numbers, nvarchar for texts.
fn put_variant(out: &mut Vec<u8>, value: &Value) -> Option<()> {
    match value {
        Value::Integer(number) => {
            out.extend(6_u32.to_le_bytes());
            out.extend([0x38, 0]);
            out.extend(i32::try_from(*number).ok()?.to_le_bytes());
        }
        _ => {
            let mut bytes = Vec::new();
            put_utf16(&mut bytes, text(value)?);
            out.extend(u32::try_from(bytes.len() + 9).ok()?.to_le_bytes());
            out.extend([0xE7, 7]);
            out.extend(COLLATION);
            out.extend(8000_u16.to_le_bytes());
            out.extend(bytes);
        }
    }
    Some(())
}

fn integer(value: &Value) -> Option<i64> {
    if let Value::Integer(number) = value { Some(*number) } else { None }
}

fn real(value: &Value) -> Option<f64> {
    match value {
        Value::Real(number) => Some(*number),
        Value::Integer(number) => Some(*number as f64),
        _ => None,
    }
}

fn text(value: &Value) -> Option<&str> {
    if let Value::Text(text) = value { Some(text) } else { None }
}

fn blob(value: &Value) -> Option<&[u8]> {
    if let Value::Blob(bytes) = value { Some(bytes) } else { None }
}

fn padded(text: &str, width: u16) -> String {
    let missing = usize::from(width).saturating_sub(text.encode_utf16().count());
    format!("{text}{}", " ".repeat(missing))
}

/// Code page 1252, as far as it agrees with Unicode; anything else becomes a question mark.
fn latin(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect()
}

fn date(text: &str) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()
}

fn time(text: &str) -> Option<NaiveTime> {
    NaiveTime::parse_from_str(text, "%H:%M:%S%.f").ok()
}

/// Days since 1900-01-01, then three-hundredths of a second since midnight.
fn datetime_bytes(moment: NaiveDateTime) -> Vec<u8> {
    let moment = datetime_rounded(moment);
    let days = moment.date().num_days_from_ce() - 693_596;
    let millis = moment.time().num_seconds_from_midnight() * 1000 + moment.nanosecond() / 1_000_000;
    let ticks = (u64::from(millis) * 3 + 5) / 10;
    [days.to_le_bytes(), u32::try_from(ticks).unwrap_or(0).to_le_bytes()].concat()
}

/// Days since 0001-01-01 in three bytes.
fn date_bytes(date: NaiveDate) -> [u8; 3] {
    let [a, b, c, _] = (date.num_days_from_ce() - 1).to_le_bytes();
    [a, b, c]
}

/// Units of ten to the minus `scale` seconds since midnight, in three to five bytes.
fn time_bytes(time: NaiveTime, scale: u8) -> Vec<u8> {
    let nanos = u64::from(time.num_seconds_from_midnight()) * 1_000_000_000 + u64::from(time.nanosecond());
    let units = nanos / 10_u64.pow(9 - u32::from(scale.min(7)));
    units.to_le_bytes()[..time_length(scale)].to_vec()
}

const fn time_length(scale: u8) -> usize {
    match scale {
        0..=2 => 3,
        3 | 4 => 4,
        _ => 5,
    }
}

/// Reads a parameter's TYPE_INFO and value.
///
/// # Errors
/// Types that no parameter has here, and lengths that do not fit.
pub fn parse_value(from: &mut Reader<'_>) -> Result<(SqlType, Value), Malformed> {
    let token = from.u8()?;
    match token {
        0x1F => Ok((SqlType::Null, Value::Null)),
        0x26 | 0x68 => parse_integer(from, token),
        0x6D => {
            let ty = if from.u8()? == 4 { SqlType::Real } else { SqlType::Float };
            let bytes = short(from)?;
            let value = match bytes.len() {
                0 => Value::Null,
                4 => Value::Real(f64::from(f32::from_le_bytes(array(from, bytes)?))),
                _ => Value::Real(f64::from_le_bytes(array(from, bytes)?)),
            };
            Ok((ty, value))
        }
        0x6A | 0x6C => parse_decimal(from),
        0x24 => {
            from.u8()?;
            let bytes = short(from)?;
            let value = if bytes.is_empty() {
                Value::Null
            } else {
                let guid = Uuid::from_bytes_le(array(from, bytes)?);
                Value::Text(guid.hyphenated().to_string().to_uppercase())
            };
            Ok((SqlType::UniqueIdentifier, value))
        }
        0xE7 | 0xEF | 0xA7 | 0xAF => parse_text_value(from, token),
        0xA5 | 0xAD => {
            let length = from.u16()?;
            let bytes = sized(from, length)?;
            let width = if length == MAX_LENGTH { Width::Max } else { Width::Of(length.clamp(1, 8000)) };
            Ok((SqlType::VarBinary(width), bytes.map_or(Value::Null, Value::Blob)))
        }
        0x28..=0x2B | 0x6F => parse_moment(from, token),
        _ => Err(from.malformed("a parameter's type is not one this server reads")),
    }
}

fn short<'a>(from: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    let length = from.u8()?;
    from.take(usize::from(length))
}

fn array<const N: usize>(from: &Reader<'_>, bytes: &[u8]) -> Result<[u8; N], Malformed> {
    bytes.try_into().map_err(|_| from.malformed("a value's length is not its type's"))
}

/// The bytes of a value with a two-byte length, or in chunks where the type is `max`.
fn sized(from: &mut Reader<'_>, type_length: u16) -> Result<Option<Vec<u8>>, Malformed> {
    if type_length != MAX_LENGTH {
        let length = from.u16()?;
        return if length == MAX_LENGTH {
            Ok(None)
        } else {
            Ok(Some(from.take(usize::from(length))?.to_vec()))
        };
    }
    let total = from.u64()?;
    if total == PLP_NULL {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    loop {
        let chunk = from.u32()? as usize;
        if chunk == 0 {
            break;
        }
        bytes.extend_from_slice(from.take(chunk)?);
    }
    if total != PLP_UNKNOWN && total != bytes.len() as u64 {
        return Err(from.malformed("a long value's chunks do not add up"));
    }
    Ok(Some(bytes))
}

fn parse_integer(from: &mut Reader<'_>, token: u8) -> Result<(SqlType, Value), Malformed> {
    let ty = match (token, from.u8()?) {
        (0x68, 1) => SqlType::Bit,
        (0x26, 1) => SqlType::TinyInt,
        (0x26, 2) => SqlType::SmallInt,
        (0x26, 4) => SqlType::Int,
        (0x26, 8) => SqlType::BigInt,
        _ => return Err(from.malformed("an integer type has an impossible size")),
    };
    let bytes = short(from)?;
    let value = match bytes.len() {
        0 => Value::Null,
        1 => Value::Integer(i64::from(array::<1>(from, bytes)?[0])),
        2 => Value::Integer(i64::from(i16::from_le_bytes(array(from, bytes)?))),
        4 => Value::Integer(i64::from(i32::from_le_bytes(array(from, bytes)?))),
        _ => Value::Integer(i64::from_le_bytes(array(from, bytes)?)),
    };
    Ok((ty, value))
}

fn parse_decimal(from: &mut Reader<'_>) -> Result<(SqlType, Value), Malformed> {
    let _length = from.u8()?;
    let (precision, scale) = (from.u8()?, from.u8()?);
    if !(1..=38).contains(&precision) || scale > precision {
        return Err(from.malformed("a decimal's precision is impossible"));
    }
    let ty = SqlType::Decimal { precision, scale };
    let bytes = short(from)?;
    let Some((sign, digits)) = bytes.split_first() else { return Ok((ty, Value::Null)) };
    if digits.len() > 16 {
        return Err(from.malformed("a decimal has too many digits"));
    }
    let mut magnitude = [0; 16];
    magnitude[..digits.len()].copy_from_slice(digits);
    let unscaled = i128::from_le_bytes(magnitude);
    let limit = 10_i128.pow(u32::from(precision));
    if !(0..limit).contains(&unscaled) {
        return Err(from.malformed("a decimal has more digits than its precision"));
    }
    let unscaled = if *sign == 0 { -unscaled } else { unscaled };
    Ok((ty, Value::Text(Decimal { unscaled, scale }.kept())))
}

fn parse_text_value(from: &mut Reader<'_>, token: u8) -> Result<(SqlType, Value), Malformed> {
    let length = from.u16()?;
    from.take(COLLATION.len())?;
    let bytes = sized(from, length)?;
    let national = matches!(token, 0xE7 | 0xEF);
    let each = if national { 2 } else { 1 };
    let width =
        if length == MAX_LENGTH { Width::Max } else { Width::Of((length / each).clamp(1, 8000 / each)) };
    let ty = if national { SqlType::NVarChar(width) } else { SqlType::VarChar(width) };
    let value = match bytes {
        None => Value::Null,
        Some(bytes) if national => Value::Text(utf16_text(&bytes)),
        Some(bytes) => Value::Text(bytes.iter().map(|byte| char::from(*byte)).collect()),
    };
    Ok((ty, value))
}

fn parse_moment(from: &mut Reader<'_>, token: u8) -> Result<(SqlType, Value), Malformed> {
    let scale = if token == 0x28 { 0 } else { from.u8()? };
    if scale > 8 || (token != 0x6F && scale > 7) {
        return Err(from.malformed("a time's scale is impossible"));
    }
    let ty = match token {
        0x28 => SqlType::Date,
        0x29 => SqlType::Time(scale),
        0x2A => SqlType::DateTime2(scale),
        0x2B => SqlType::DateTimeOffset(scale),
        _ => SqlType::DateTime,
    };
    let bytes = short(from)?;
    if bytes.is_empty() {
        return Ok((ty, Value::Null));
    }
    let value = moment_value(ty, bytes).ok_or_else(|| from.malformed("a date or time is impossible"))?;
    Ok((ty, Value::Text(value)))
}

fn moment_value(ty: SqlType, bytes: &[u8]) -> Option<String> {
    if ty == SqlType::DateTime {
        let (days, ticks) = bytes.split_at_checked(4)?;
        let days = i32::from_le_bytes(days.try_into().ok()?);
        let ticks = u32::from_le_bytes(ticks.try_into().ok()?);
        let midnight =
            NaiveDate::from_num_days_from_ce_opt(days.checked_add(693_596)?)?.and_hms_opt(0, 0, 0)?;
        let millis = (i64::from(ticks) * 10 + 1) / 3;
        return Some(moment_text(midnight.checked_add_signed(Duration::milliseconds(millis))?, 3));
    }
    let (scale, has_date) = match ty {
        SqlType::Time(scale) => (scale, false),
        SqlType::DateTime2(scale) | SqlType::DateTimeOffset(scale) => (scale, true),
        _ => return Some(date_from(bytes)?.format("%Y-%m-%d").to_string()),
    };
    let (clock, rest) = bytes.split_at_checked(time_length(scale))?;
    let mut units = [0; 8];
    units[..clock.len()].copy_from_slice(clock);
    let nanos = u64::from_le_bytes(units).checked_mul(10_u64.pow(9 - u32::from(scale)))?;
    let seconds = u32::try_from(nanos / 1_000_000_000).ok()?;
    let clock = NaiveTime::from_num_seconds_from_midnight_opt(seconds, (nanos % 1_000_000_000) as u32)?;
    if !has_date {
        return Some(clock.format("%H:%M:%S").to_string() + &format!(".{:07}", clock.nanosecond() / 100));
    }
    let (days, offset) = rest.split_at_checked(3)?;
    let moment = moment_text(date_from(days)?.and_time(clock), 7);
    match ty {
        SqlType::DateTimeOffset(_) => {
            Some(format!("{moment}|{:+}", i16::from_le_bytes(offset.try_into().ok()?)))
        }
        _ => offset.is_empty().then_some(moment),
    }
}

fn date_from(bytes: &[u8]) -> Option<NaiveDate> {
    let [a, b, c]: [u8; 3] = bytes.try_into().ok()?;
    NaiveDate::from_num_days_from_ce_opt(i32::from_le_bytes([a, b, c, 0]).checked_add(1)?)
}
