//! Whether a value is what a parameter takes: of its type, and within its bounds.

use std::cmp::Ordering;

use chrono::DateTime;
use serde_json::Value as Json;

use crate::duration::{Bytes, Millis};
use crate::model::{Param, ParamType};
use crate::owned_shape::OwnedShape;
use crate::suggest::nearest;

/// Why a value does not fit.
pub(super) struct Misfit {
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Misfit {
    pub(super) fn new(message: String) -> Self {
        Self { message, help: None }
    }
}

pub(super) fn fits_type(shape: ParamType, value: &Json) -> Result<(), Misfit> {
    OwnedShape::from(&shape.shape()).check_value(value).map_err(|mismatch| {
        let part = mismatch.path.iter().map(|part| format!("`{part}`")).collect::<Vec<_>>().join(" ");
        let message = if part.is_empty() {
            mismatch.words
        } else {
            format!("does not fit at {part}: it {}", mismatch.words)
        };
        let help = match (shape, value) {
            (ParamType::String | ParamType::Path | ParamType::Url, Json::Number(_) | Json::Bool(_)) => {
                Some("put it in quotes".to_owned())
            }
            (ParamType::Duration, Json::Number(number)) => Some(format!("write a unit: `{number}s`")),
            (ParamType::Size, Json::Number(number)) => Some(format!("write a unit: `{number}B`")),
            _ => None,
        };
        Misfit { message, help }
    })
}

pub(super) fn fits_bounds(param: &Param, value: &Json) -> Result<(), Misfit> {
    if !param.one_of.is_empty() && !param.one_of.contains(value) {
        let words: Vec<String> = param.one_of.iter().map(shown).collect();
        let near =
            value.as_str().and_then(|text| nearest(text, param.one_of.iter().filter_map(Json::as_str)));
        return Err(Misfit {
            message: format!("must be one of {}", words.join(", ")),
            help: near.map(|near| format!("did you mean `{near}`?")),
        });
    }
    if let (Some(pattern), Some(text)) = (&param.pattern, value.as_str())
        && !whole(pattern).is_ok_and(|pattern| pattern.is_match(text))
    {
        return Err(Misfit::new(format!("must match the pattern `{pattern}`")));
    }
    if let Some(min) = &param.min
        && order(param.shape, value, min) == Some(Ordering::Less)
    {
        return Err(Misfit::new(format!("must be at least {}", shown(min))));
    }
    if let Some(max) = &param.max
        && order(param.shape, value, max) == Some(Ordering::Greater)
    {
        return Err(Misfit::new(format!("must be at most {}", shown(max))));
    }
    Ok(())
}

pub(super) fn shown(value: &Json) -> String {
    match value {
        Json::String(text) => format!("`{text}`"),
        other => format!("`{other}`"),
    }
}

/// The pattern, which must match the whole text.
pub(super) fn whole(pattern: &str) -> Result<regex::Regex, regex::Error> {
    regex::RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(1 << 20).build()
}

/// How two values of a type with an order compare.
pub(super) fn order(shape: ParamType, a: &Json, b: &Json) -> Option<Ordering> {
    match shape {
        ParamType::Integer => whole_number(a)?.partial_cmp(&whole_number(b)?),
        ParamType::Number => a.as_f64()?.partial_cmp(&b.as_f64()?),
        ParamType::Duration => Some(Millis::parse(a.as_str()?).ok()?.cmp(&Millis::parse(b.as_str()?).ok()?)),
        ParamType::Size => Some(Bytes::parse(a.as_str()?).ok()?.cmp(&Bytes::parse(b.as_str()?).ok()?)),
        ParamType::Datetime => Some(
            DateTime::parse_from_rfc3339(a.as_str()?)
                .ok()?
                .cmp(&DateTime::parse_from_rfc3339(b.as_str()?).ok()?),
        ),
        _ => None,
    }
}

fn whole_number(value: &Json) -> Option<i128> {
    value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from))
}
