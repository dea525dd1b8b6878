//! Parameters: what a plan declares, and the value that each gets from the first of `-p`, the params file, `DRYDOCK_PARAM_<NAME>`, the
//! environment file and its default: [`Params`].

use std::collections::BTreeMap;

use chrono::DateTime;
use indexmap::IndexMap;
use serde_json::Value as Json;

use crate::codes;
use crate::duration::{Bytes, Millis};
use crate::finding::{Finding, Findings};
use crate::model::{Param, ParamType, SecretSource};
use crate::name::Name;
use crate::owned_shape::OwnedShape;
use crate::secret;
use crate::source::{Place, SourceFile, Span};
use crate::suggest::nearest;
use crate::syntax::fields::list;
use crate::syntax::plan_file::ParamWritten;
use crate::syntax::tree::{Entry, Node};
use crate::syntax::yaml;

/// The values that are given for a check or a run, apart from the environment file.
#[derive(Debug, Clone, Default)]
pub struct GivenParams {
    /// The texts of `-p`, `name=value`, in order.
    pub flags: Vec<String>,
    /// The file of `--params`.
    pub file: Option<SourceFile>,
    /// The environment variables that begin with `DRYDOCK_PARAM_`, whole names and values.
    pub variables: BTreeMap<String, String>,
}

/// The first letters of environment variables that give parameters.
pub const VARIABLE_PREFIX: &str = "DRYDOCK_PARAM_";

/// The parameters of a plan: declared, and as far as they are known their values.
#[derive(Debug, Default)]
pub struct Params {
    /// As declared.
    pub declared: IndexMap<Name, Param>,
    /// Where each is declared.
    pub places: IndexMap<Name, Place>,
    /// The plain values.
    pub values: IndexMap<Name, Json>,
    /// The sources of secrets.
    pub secrets: IndexMap<Name, SecretSource>,
}

/// A value as it was given, before it is typed.
#[derive(Debug, Clone, Copy)]
enum Raw<'n> {
    /// From YAML.
    Node(&'n Node, Place),
    /// Text of a flag or a variable: the declared type says how it is read.
    Text(&'n str, Place),
}

impl Params {
    /// The declarations, each checked: its bounds fit its type, and its default its bounds.
    pub fn declare(written: &[ParamWritten<'_>], findings: &mut Findings) -> Self {
        let mut params = Self::default();
        for param in written {
            let declared = declaration(param, findings);
            params.places.insert(param.name.value.clone(), param.name.place);
            params.declared.insert(param.name.value.clone(), declared);
        }
        for param in written {
            if let Some(entry) = param.default {
                params.give(&param.name.value, Raw::Node(&entry.value, entry.value_place()), findings);
            }
        }
        params
    }

    /// Whether this is the name of a secret parameter.
    pub fn is_secret(&self, name: &str) -> bool {
        self.declared.get(name).is_some_and(|param| param.shape == ParamType::Secret)
    }

    /// Whether a value, or the source of one, is known.
    pub fn has_value(&self, name: &str) -> bool {
        self.values.contains_key(name) || self.secrets.contains_key(name)
    }

    /// Take the values of an environment file. Those for parameters of other plans are passed over.
    pub fn take_environment(&mut self, entries: &[Entry], findings: &mut Findings) {
        for entry in entries {
            if let Some((name, _)) = self.declared.get_key_value(&*entry.key) {
                let name = name.clone();
                self.give(&name, Raw::Node(&entry.value, entry.value_place()), findings);
            }
        }
    }

    /// Take what was given from outside, the weakest first. Sources that findings point into are added to `sources`.
    pub fn take(&mut self, given: &GivenParams, sources: &mut Vec<SourceFile>, findings: &mut Findings) {
        self.take_variables(given, sources, findings);
        if let Some(file) = &given.file {
            let index = source_index(sources);
            sources.push(file.clone());
            if let Some(node) = yaml::read(file, index, findings) {
                self.take_file(&node, findings);
            }
        }
        self.take_flags(&given.flags, sources, findings);
    }

    fn take_variables(
        &mut self,
        given: &GivenParams,
        sources: &mut Vec<SourceFile>,
        findings: &mut Findings,
    ) {
        for name in self.declared.keys().cloned().collect::<Vec<_>>() {
            let variable = format!("{VARIABLE_PREFIX}{}", name.as_str().to_uppercase());
            let Some(text) = given.variables.get(&variable) else { continue };
            if self.is_secret(name.as_str()) {
                self.secrets.insert(name, SecretSource::Env(variable));
                continue;
            }
            let place = Place::new(source_index(sources), Span::new(0, text.len()));
            sources.push(SourceFile::new(variable, text.as_str()));
            self.give(&name, Raw::Text(text, place), findings);
        }
    }

    fn take_file(&mut self, node: &Node, findings: &mut Findings) {
        let Some(entries) = node.map() else {
            findings.push(
                Finding::error(
                    codes::WRONG_TYPE,
                    node.place,
                    "a params file must be a mapping of parameters to values",
                )
                .label(format!("this is {}", node.words()))
                .help("write for example `sql_database: OctopusDB`"),
            );
            return;
        };
        for entry in entries {
            match self.declared.get_key_value(&*entry.key) {
                Some((name, _)) => {
                    let name = name.clone();
                    self.give(&name, Raw::Node(&entry.value, entry.value_place()), findings);
                }
                None => findings.push(self.unknown(&entry.key, entry.key_place)),
            }
        }
    }

    fn take_flags(&mut self, flags: &[String], sources: &mut Vec<SourceFile>, findings: &mut Findings) {
        let mut seen: Vec<(&str, Place)> = Vec::new();
        for flag in flags {
            let index = source_index(sources);
            let secret = flag.split_once('=').filter(|(name, _)| self.is_secret(name));
            sources
                .push(SourceFile::new("-p", secret.map_or(flag.clone(), |(name, _)| format!("{name}=***"))));
            let whole = Place::new(index, Span::new(0, flag.len()));
            let Some((name, text)) = flag.split_once('=') else {
                findings.push(
                    Finding::error(codes::PARAM_FLAG, whole, "`-p` takes a name and a value")
                        .label("no `=`")
                        .help("write `-p name=value`"),
                );
                continue;
            };
            let name_place = Place::new(index, Span::new(0, name.len()));
            let Some((declared, _)) = self.declared.get_key_value(name) else {
                findings.push(self.unknown(name, name_place));
                continue;
            };
            if let Some((_, first)) = seen.iter().find(|(seen, _)| *seen == name) {
                findings.push(
                    Finding::error(codes::PARAM_FLAG, name_place, format!("`-p` gives `{name}` twice"))
                        .label("the second one")
                        .help("give it once")
                        .related(*first, "the first one"),
                );
                continue;
            }
            seen.push((name, name_place));
            if self.is_secret(name) {
                findings.push(
                    Finding::error(codes::SECRET_BY_FLAG, name_place, format!("the secret `{name}` cannot be given by `-p`"))
                        .label("other users of the machine can read command lines")
                        .help(format!(
                            "set the variable `{VARIABLE_PREFIX}{}`, or give its source in the environment file: {}",
                            name.to_uppercase(),
                            secret::WAYS
                        )),
                );
                continue;
            }
            let declared = declared.clone();
            self.give(
                &declared,
                Raw::Text(text, Place::new(index, Span::new(name.len() + 1, flag.len()))),
                findings,
            );
        }
    }

    fn unknown(&self, name: &str, place: Place) -> Finding {
        let finding =
            Finding::error(codes::UNKNOWN_PARAM, place, format!("the plan has no parameter `{name}`"))
                .label("unknown");
        match nearest(name, self.declared.keys().map(Name::as_str)) {
            Some(near) => finding.help(format!("did you mean `{near}`?")).suggestion(near),
            None if self.declared.is_empty() => finding.help("the plan has no parameters"),
            None => {
                finding.help(format!("its parameters are {}", list(self.declared.keys().map(Name::as_str))))
            }
        }
    }

    /// Take one value, when it fits.
    fn give(&mut self, name: &Name, raw: Raw<'_>, findings: &mut Findings) {
        let (Some(param), Some(declared)) = (self.declared.get(name), self.places.get(name)) else { return };
        if param.shape == ParamType::Secret {
            if let Raw::Node(node, at) = raw
                && let Some(source) = secret::source_of(node, at, &format!("`{name}`"), findings)
            {
                self.secrets.insert(name.clone(), source);
            }
            return;
        }
        match typed(name, param, raw, findings) {
            Ok(None) => {}
            Ok(Some(value)) => {
                self.values.insert(name.clone(), value);
            }
            Err(misfit) => findings.push(misfit.finding(name, raw, *declared)),
        }
    }
}

fn source_index(sources: &[SourceFile]) -> u16 {
    u16::try_from(sources.len()).unwrap_or(u16::MAX)
}

/// Why a value does not fit.
struct Misfit {
    message: String,
    help: Option<String>,
}

impl Misfit {
    fn new(message: String) -> Self {
        Self { message, help: None }
    }

    fn finding(self, name: &Name, raw: Raw<'_>, declared: Place) -> Finding {
        let place = match raw {
            Raw::Node(_, place) | Raw::Text(_, place) => place,
        };
        let mut finding =
            Finding::error(codes::PARAM_VALUE, place, format!("parameter `{name}` {}", self.message));
        finding.help = self.help;
        if declared.source == place.source { finding } else { finding.related(declared, "declared here") }
    }
}

/// The value as the declared type reads it.
fn typed(name: &Name, param: &Param, raw: Raw<'_>, findings: &mut Findings) -> Result<Option<Json>, Misfit> {
    let value = match raw {
        Raw::Node(node, _) => node.json(),
        Raw::Text(text, place) => match param.shape {
            ParamType::Integer
            | ParamType::Number
            | ParamType::Boolean
            | ParamType::List
            | ParamType::Map => {
                let mut found = Findings::new();
                match yaml::read(&SourceFile::new(name.as_str(), text), place.source, &mut found) {
                    Some(node) => node.json(),
                    None if text.trim().is_empty() => Json::Null,
                    None => {
                        findings.extend(moved(found, place.span.start));
                        return Ok(None);
                    }
                }
            }
            _ => Json::String(text.to_owned()),
        },
    };
    fits_type(param.shape, &value)?;
    fits_bounds(param, &value)?;
    Ok(Some(value))
}

/// Findings of a part of a source, at their places in the whole.
fn moved(findings: Findings, by: u32) -> Findings {
    let mut all = Findings::new();
    for mut finding in findings.into_sorted() {
        finding.place.span.start += by;
        finding.place.span.end += by;
        all.push(finding);
    }
    all
}

fn fits_type(shape: ParamType, value: &Json) -> Result<(), Misfit> {
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

fn fits_bounds(param: &Param, value: &Json) -> Result<(), Misfit> {
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
        && order(param.shape, value, min) == Some(std::cmp::Ordering::Less)
    {
        return Err(Misfit::new(format!("must be at least {}", shown(min))));
    }
    if let Some(max) = &param.max
        && order(param.shape, value, max) == Some(std::cmp::Ordering::Greater)
    {
        return Err(Misfit::new(format!("must be at most {}", shown(max))));
    }
    Ok(())
}

fn shown(value: &Json) -> String {
    match value {
        Json::String(text) => format!("`{text}`"),
        other => format!("`{other}`"),
    }
}

/// The pattern, which must match the whole text.
fn whole(pattern: &str) -> Result<regex::Regex, regex::Error> {
    regex::RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(1 << 20).build()
}

/// How two values of a type with an order compare.
fn order(shape: ParamType, a: &Json, b: &Json) -> Option<std::cmp::Ordering> {
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

/// A declaration, its own contradictions found.
fn declaration(written: &ParamWritten<'_>, findings: &mut Findings) -> Param {
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
        && order(shape, high, low) == Some(std::cmp::Ordering::Less)
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
    let crate::syntax::tree::Value::List(items) = (match written.one_of {
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
