//! What a plan declares of a parameter, its own contradictions found: [`declaration`].

use std::cmp::Ordering;

use serde_json::Value as Json;

use crate::codes;
use crate::finding::{Finding, Findings};
use crate::model::{Param, ParamType};
use crate::syntax::plan_file::ParamWritten;
use crate::syntax::tree::{Entry, Value};

use super::bounds::{fits_type, order, shown, whole};

/// A declaration, its own contradictions found.
pub(super) fn declaration(written: &ParamWritten<'_>, findings: &mut Findings) -> Param {
    let shape = written.shape.value;
    let ordered = matches!(
        shape,
        ParamType::Integer | ParamType::Number | ParamType::Duration | ParamType::Size | ParamType::Datetime
    );
    let mut bound = |name: &str, entry: Option<&Entry>| {
        let entry = entry?;
        if !ordered {
            findings.push(
                Finding::error(
                    codes::PARAM_DECLARATION,
                    entry.key_place,
                    format!("`{name}` has no meaning for a parameter of type {}", words(shape)),
                )
                .label("no order")
                .help("bounds are for integer, number, duration, size and datetime"),
            );
            return None;
        }
        let value = entry.value.json();
        match fits_type(shape, &value) {
            Ok(()) => Some(value),
            Err(misfit) => {
                let mut finding = Finding::error(
                    codes::PARAM_DECLARATION,
                    entry.value_place(),
                    format!("`{name}` {}", misfit.message),
                );
                finding.help = misfit.help;
                findings.push(finding);
                None
            }
        }
    };
    let min = bound("min", written.min);
    let max = bound("max", written.max);
    if let (Some(low), Some(high), Some(entry)) = (&min, &max, written.max)
        && order(shape, high, low) == Some(Ordering::Less)
    {
        findings.push(
            Finding::error(codes::PARAM_DECLARATION, entry.value_place(), "`max` is smaller than `min`")
                .label(format!("`min` is {}", shown(low)))
                .help("no value could fit; exchange the two"),
        );
    }
    if written.required
        && let Some(entry) = written.default
    {
        findings.push(
            Finding::warning(
                codes::PARAM_DECLARATION,
                entry.key_place,
                "a parameter with a default is never missing",
            )
            .label("so `required` says nothing more")
            .help("remove `required`, or the default"),
        );
    }
    Param {
        shape,
        required: written.required,
        default: None,
        one_of: one_of(written, findings),
        pattern: pattern(written, findings),
        min,
        max,
        description: None,
    }
}

fn words(shape: ParamType) -> String {
    format!("{shape:?}").to_lowercase()
}

fn one_of(written: &ParamWritten<'_>, findings: &mut Findings) -> Vec<Json> {
    let Value::List(items) = (match written.one_of {
        Some(entry) => &entry.value.value,
        None => return Vec::new(),
    }) else {
        return Vec::new();
    };
    let mut values = Vec::new();
    for item in items {
        let value = item.json();
        match fits_type(written.shape.value, &value) {
            Ok(()) => values.push(value),
            Err(misfit) => {
                let mut finding = Finding::error(
                    codes::PARAM_DECLARATION,
                    item.place,
                    format!("a value of `enum` {}", misfit.message),
                );
                finding.help = misfit.help;
                findings.push(finding.related(written.shape.place, "the type"));
            }
        }
    }
    values
}

fn pattern(written: &ParamWritten<'_>, findings: &mut Findings) -> Option<String> {
    let pattern = written.pattern?;
    if !matches!(written.shape.value, ParamType::String | ParamType::Path | ParamType::Url) {
        findings.push(
            Finding::error(
                codes::PARAM_DECLARATION,
                pattern.place,
                format!("`pattern` has no meaning for a parameter of type {}", words(written.shape.value)),
            )
            .help("a pattern is for string, path and url"),
        );
        return None;
    }
    match whole(pattern.value) {
        Ok(_) => Some(pattern.value.to_owned()),
        Err(error) => {
            let why = error.to_string();
            let why = why.lines().last().unwrap_or("").trim_start_matches("error: ").to_owned();
            findings.push(
                Finding::error(codes::PARAM_DECLARATION, pattern.place, "`pattern` is no regular expression")
                    .label(why),
            );
            None
        }
    }
}
