//! Types and values on the wire: TYPE_INFO and what follows it, both ways. Main function: [`put_value`].

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use uuid::Uuid;

use super::bytes::put_utf16;
use crate::sqlserver::sql_type::{SqlType, Width};
use crate::sqlserver::value::{Decimal, Value, datetime_rounded, moment_from};

/// SQL_Latin1_General_CP1_CI_AS, the collation that every text is sent with.
pub const COLLATION: [u8; 5] = [0x09, 0x04, 0xD0, 0x00, 0x34];
/// The length of a NULL without a limit.
pub(super) const PLP_NULL: u64 = u64::MAX;
/// The length of a type without a limit, and of a NULL of a type with one.
pub(super) const MAX_LENGTH: u16 = u16::MAX;

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

pub(super) const fn time_length(scale: u8) -> usize {
    match scale {
        0..=2 => 3,
        3 | 4 => 4,
        _ => 5,
    }
}
