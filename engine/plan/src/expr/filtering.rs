//! What the filters of the plan language do where minijinja's own do not fit: strictly, and without growing out of bounds.

use chrono::{DateTime, SecondsFormat, Utc};
use minijinja::value::Value;
use minijinja::{Error, ErrorKind};

use crate::duration::{Bytes, Millis};
use crate::expr::compare::{class_words, decimal_of};
use crate::expr::datum::{NotJson, json_of};

/// The longest text that one operation may make, in bytes: an attempt's inputs have 1 MiB, this is some room above it.
pub(crate) const LONGEST_TEXT: usize = 4 << 20;

/// An error in words.
pub(crate) fn refusal(words: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, words.into())
}

fn checked_length(length: Option<usize>) -> Result<(), Error> {
    match length {
        Some(length) if length <= LONGEST_TEXT => Ok(()),
        _ => Err(Error::new(ErrorKind::OutOfFuel, "the text would be longer than 4 MiB")),
    }
}

/// A value as it stands inside a text.
///
/// # Errors
/// In words, for what has no text of its own.
pub(crate) fn text_of(value: &Value) -> Result<String, String> {
    if let Some(text) = value.as_str() {
        return Ok(text.to_owned());
    }
    if decimal_of(value).is_some() && !value.is_number() {
        return Ok(value.to_string());
    }
    match json_of(value) {
        Ok(scalar @ (serde_json::Value::Bool(_) | serde_json::Value::Number(_))) => Ok(scalar.to_string()),
        Err(NotJson::Unwritable(why)) => Err(why.to_owned()),
        _ => Err(format!("{} has no text of its own", class_words(value))),
    }
}

pub(crate) fn string(value: &Value) -> Result<String, Error> {
    text_of(value).map_err(refusal)
}

pub(crate) fn json(value: &Value) -> Result<String, Error> {
    json_of(value).map(|json| json.to_string()).map_err(|_| refusal("it cannot be written as JSON"))
}

pub(crate) fn join(list: &Value, between: Option<&str>) -> Result<String, Error> {
    let between = between.unwrap_or_default();
    let mut joined = String::new();
    for (at, item) in list.try_iter()?.enumerate() {
        let item = string(&item)?;
        let glue = if at == 0 { "" } else { between };
        checked_length(joined.len().checked_add(item.len() + glue.len()))?;
        joined.push_str(glue);
        joined.push_str(&item);
    }
    Ok(joined)
}

pub(crate) fn replace(text: &str, old: &str, new: &str) -> Result<String, Error> {
    let times = text.matches(old).count();
    checked_length(times.checked_mul(new.len()).and_then(|more| more.checked_add(text.len())))?;
    Ok(text.replace(old, new))
}

pub(crate) fn split(text: &str, at: &str) -> Result<Vec<String>, Error> {
    if at.is_empty() {
        return Err(refusal("the separator is empty"));
    }
    Ok(text.split(at).map(str::to_owned).collect())
}

pub(crate) fn keys(map: &Value) -> Result<Vec<Value>, Error> {
    Ok(map.try_iter()?.collect())
}

pub(crate) fn int(value: &Value) -> Result<Value, Error> {
    if let Some(text) = value.as_str() {
        return text
            .parse::<i64>()
            .map(Value::from)
            .map_err(|_| refusal(format!("`{text}` is not a whole number of 64 bits")));
    }
    if value.is_integer() {
        return Ok(value.clone());
    }
    let number = f64::try_from(value.clone())?;
    // 2^63 and above do not fit; every f64 strictly between does once its fraction is cut off.
    if number.abs() < 9_223_372_036_854_775_808.0 {
        Ok(Value::from(number.trunc() as i64))
    } else {
        Err(refusal(format!("{number} is not a whole number of 64 bits")))
    }
}

pub(crate) fn float(value: &Value) -> Result<f64, Error> {
    let number = match value.as_str() {
        Some(text) => text.parse().map_err(|_| refusal(format!("`{text}` is not a number")))?,
        None => f64::try_from(value.clone())?,
    };
    if f64::is_finite(number) { Ok(number) } else { Err(refusal(format!("`{value}` is not a number"))) }
}

pub(crate) fn duration(value: &Value) -> Result<Value, Error> {
    match value.as_str() {
        Some(text) => Millis::parse(text).map(|millis| Value::from(millis.0)).map_err(refusal),
        None => Ok(value.clone()),
    }
}

pub(crate) fn bytes(value: &Value) -> Result<Value, Error> {
    match value.as_str() {
        Some(text) => Bytes::parse(text).map(|bytes| Value::from(bytes.0)).map_err(refusal),
        None => Ok(value.clone()),
    }
}

pub(crate) fn datetime(text: &str) -> Result<String, Error> {
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.with_timezone(&Utc).to_rfc3339_opts(SecondsFormat::AutoSi, true))
        .map_err(|_| refusal(format!("`{text}` is not a time in RFC 3339, such as `2026-03-01T02:00:00Z`")))
}

pub(crate) fn decimal(value: &Value) -> Result<Value, Error> {
    decimal_of(value)
        .map(Value::from_object)
        .ok_or_else(|| refusal(format!("`{value}` is not a decimal number")))
}

pub(crate) fn basename(path: &str) -> String {
    path.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or_default().to_owned()
}

/// An identifier has 1 to 128 UTF-16 units; inside brackets only `]` needs to be doubled.
pub(crate) fn quote_name(name: &str) -> Result<String, Error> {
    let length = name.encode_utf16().count();
    if !(1..=128).contains(&length) || name.contains('\0') {
        return Err(refusal(format!("a name in T-SQL has 1 to 128 characters, this one has {length}")));
    }
    Ok(format!("[{}]", name.replace(']', "]]")))
}

/// A backslash before a line break would join the two lines, and NUL ends a text; neither can be escaped.
pub(crate) fn quote_sql(text: &str) -> Result<String, Error> {
    if text.contains("\\\n") || text.contains("\\\r") || text.contains('\0') {
        return Err(refusal("a backslash before a line break, or a NUL, cannot be quoted in T-SQL"));
    }
    checked_length(text.len().checked_mul(2))?;
    Ok(format!("N'{}'", text.replace('\'', "''")))
}
