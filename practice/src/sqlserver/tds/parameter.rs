//! Types and values that a client sends. Main function: [`parse_value`].

use chrono::{Duration, NaiveDate, NaiveTime, Timelike};
use uuid::Uuid;

use super::bytes::{Malformed, Reader, utf16_text};
use super::wire::{COLLATION, MAX_LENGTH, PLP_NULL, time_length};
use crate::sqlserver::sql_type::{SqlType, Width};
use crate::sqlserver::value::{Decimal, Value, moment_text};

/// The length of a value whose chunks alone tell it.
const PLP_UNKNOWN: u64 = u64::MAX - 1;

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
