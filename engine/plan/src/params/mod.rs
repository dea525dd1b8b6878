//! Parameters: what a plan declares, and the value that each gets from the first of `-p`, the params file, `DRYDOCK_PARAM_<NAME>`, the
//! environment file and its default: [`Params`].

mod bounds;
mod declaration;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use indexmap::IndexMap;
use serde_json::Value as Json;

use crate::codes;
use crate::expr::{Ref, Root};
use crate::finding::{Finding, Findings};
use crate::model::{Param, ParamType, SecretSource};
use crate::name::Name;
use crate::plain_secret::{in_plain, plain_secret};
use crate::secret;
use crate::source::{Place, SourceFile, Span};
use crate::suggest::nearest;
use crate::syntax::fields::list;
use crate::syntax::plan_file::ParamWritten;
use crate::syntax::tree::{Entry, Node};
use crate::syntax::yaml;

use self::bounds::{Misfit, fits_bounds, fits_type};
use self::declaration::declaration;

/// The values that are given for a check or a run, apart from the environment file.
#[derive(Debug, Clone, Default)]
pub struct GivenParams {
    /// The texts of `-p`, `name=value`, in order.
    pub flags: Vec<String>,
    /// The file of `--params`.
    pub file: Option<SourceFile>,
    /// The environment variables that begin with `DRYDOCK_PARAM_`, whole names and values.
    pub variables: BTreeMap<String, String>,
    /// Whether the run is a drill: then steps that clean up are added.
    pub drill: bool,
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
    /// Those of them that the environment file names.
    pub environment_secrets: BTreeSet<Name>,
    /// Those that were given a value that does not fit, which is found already.
    misfits: HashSet<Name>,
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

    /// The texts that a reference can be, where it reads a parameter that has an `enum` of texts.
    pub(crate) fn words_of(&self, reference: &Ref) -> Option<Vec<String>> {
        let [name] = reference.path.as_slice() else { return None };
        let param = self.declared.get(name.text.as_str()).filter(|_| reference.root == Root::Params)?;
        let words: Vec<String> =
            param.one_of.iter().map(|value| value.as_str().map(str::to_owned)).collect::<Option<_>>()?;
        (!words.is_empty()).then_some(words)
    }

    /// Whether a value, or the source of one, was given, be it one that does not fit.
    pub fn is_given(&self, name: &str) -> bool {
        self.values.contains_key(name) || self.secrets.contains_key(name) || self.misfits.contains(name)
    }

    /// Those that have no value and no source.
    pub fn unset(&self) -> Vec<Name> {
        self.declared.keys().filter(|name| !self.is_given(name.as_str())).cloned().collect()
    }

    /// Take the values of an environment file. Those for parameters of other plans are passed over.
    pub fn take_environment(&mut self, entries: &[Entry], findings: &mut Findings) {
        for entry in entries {
            if let Some((name, _)) = self.declared.get_key_value(&*entry.key) {
                let name = name.clone();
                self.give(&name, Raw::Node(&entry.value, entry.value_place()), findings);
                if self.is_secret(name.as_str()) {
                    self.environment_secrets.insert(name);
                }
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
                self.environment_secrets.remove(&name);
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
                self.environment_secrets.remove(name);
                self.secrets.insert(name.clone(), source);
            }
            return;
        }
        let (Raw::Node(_, place) | Raw::Text(_, place)) = raw;
        let text = match raw {
            Raw::Node(node, _) => node.text(),
            Raw::Text(text, _) => Some(text),
        };
        if let Some(words) = text.and_then(plain_secret) {
            let message = format!("the parameter `{name}` is given {words} in plain text");
            findings.push(in_plain(place, message).help(format!(
                "declare it as a secret, `{name}: {{ type: secret }}`, and say where it is kept: {}",
                secret::WAYS
            )));
        }
        match typed(name, param, raw, findings) {
            Ok(None) => {}
            Ok(Some(value)) => {
                self.values.insert(name.clone(), value);
            }
            Err(misfit) => {
                findings.push(misfitting(misfit, name, raw, *declared));
                self.misfits.insert(name.clone());
            }
        }
    }
}

fn source_index(sources: &[SourceFile]) -> u16 {
    u16::try_from(sources.len()).unwrap_or(u16::MAX)
}

/// The finding for a value that does not fit.
fn misfitting(misfit: Misfit, name: &Name, raw: Raw<'_>, declared: Place) -> Finding {
    let (Raw::Node(_, place) | Raw::Text(_, place)) = raw;
    let mut finding =
        Finding::error(codes::PARAM_VALUE, place, format!("parameter `{name}` {}", misfit.message));
    finding.help = misfit.help;
    if declared.source == place.source { finding } else { finding.related(declared, "declared here") }
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
