//! An environment, checked against the target kinds: [`Environment`]. Its texts may read variables of the runner, `{{ env.NAME }}`.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::Value as Json;

use crate::catalog::{Catalog, TargetKindShape};
use crate::codes;
use crate::expr::{Datum, Guard, Root, Scope, Site, compile_text};
use crate::finding::{Code, Finding, Findings};
use crate::fit::{At, Parts, fit_fields, wrong_value};
use crate::model::Setting;
use crate::name::Name;
use crate::secret;
use crate::shape::Shape;
use crate::source::{Place, SourceFile};
use crate::suggest::nearest;
use crate::syntax::environment_file::EnvironmentFile;
use crate::syntax::fields::{at_value, list, named};
use crate::syntax::offsets::origin;
use crate::syntax::tree::{Entry, Node, Style, Text, Value};

/// An environment: where a plan's targets are, and values of parameters.
#[derive(Debug)]
pub struct Environment {
    /// Its name.
    pub name: String,
    /// Where its head stands.
    pub place: Place,
    /// Whether destructive runs ask for a server's own name.
    pub protected: bool,
    /// Its targets; `None` where one is wrong, which is found already.
    pub targets: IndexMap<Name, Option<Bound>>,
    /// Values of parameters, as written but for variables.
    pub params: Vec<Entry>,
}

/// A target that an environment binds.
#[derive(Debug)]
pub struct Bound {
    /// Its target kind.
    pub kind: &'static str,
    /// Where the kind stands.
    pub kind_place: Place,
    /// Its settings.
    pub settings: Setting,
}

/// What an environment is read with.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// The source, and its index.
    pub source: &'a SourceFile,
    /// The index of the source.
    pub index: u16,
    /// The target kinds.
    pub catalog: &'a Catalog,
    /// The variables of the runner.
    pub variables: &'a BTreeMap<String, String>,
    /// Whether variables that are not set are found; else what needs them is not asked.
    pub demands: bool,
}

impl Environment {
    /// The environment that this document is.
    pub fn of(node: &Node, reading: Reading<'_>, findings: &mut Findings) -> Self {
        let file = EnvironmentFile::of(node, findings);
        let mut settings =
            Settings { reading, variables: variables_datum(reading.variables), unresolved: Vec::new() };
        let mut targets = IndexMap::new();
        for entry in file.targets {
            let name = named(&entry.key, entry.key_place, findings);
            let bound = settings.target(entry, findings);
            if let Some(name) = name {
                targets.insert(name, bound);
            }
        }
        let params = file.params.iter().filter_map(|entry| settings.param(entry, findings)).collect();
        if let Some(name) = file.name.filter(|name| name.value.trim().is_empty()) {
            findings.push(
                Finding::error(codes::WRONG_TYPE, name.place, "an environment's name must not be empty")
                    .label("empty")
                    .help("write for example `environment: production`"),
            );
        }
        Self {
            name: file.name.map(|name| name.value.to_owned()).unwrap_or_default(),
            place: file.place,
            protected: file.protected,
            targets,
            params,
        }
    }
}

fn variables_datum(variables: &BTreeMap<String, String>) -> Datum {
    Datum::from_json(&Json::Object(
        variables.iter().map(|(name, value)| (name.clone(), Json::String(value.clone()))).collect(),
    ))
}

/// Settings of targets, from YAML.
struct Settings<'a> {
    reading: Reading<'a>,
    variables: Datum,
    /// Places of values that read a variable which is not set, and so have no value yet.
    unresolved: Vec<Place>,
}

impl Settings<'_> {
    fn target(&mut self, entry: &Entry, findings: &mut Findings) -> Option<Bound> {
        let Some(entries) = entry.value.map() else {
            findings.push(
                Finding::error(
                    codes::WRONG_TYPE,
                    entry.value_place(),
                    format!("the target `{}` must be a mapping", entry.key),
                )
                .label(format!("this is {}", entry.value.words()))
                .help(format!(
                    "write its kind and its settings, for example `{}: {{ kind: sqlserver, host: sql01 }}`",
                    entry.key
                )),
            );
            return None;
        };
        let kind = self.kind(entry, entries, findings)?;
        let resolved: Vec<Entry> = entries
            .iter()
            .filter(|part| &*part.key != "kind")
            .map(|part| Entry {
                key: part.key.clone(),
                key_place: part.key_place,
                value: self.resolved(&part.value, findings),
            })
            .collect();
        let owner = format!("target kind `{}`", kind.0.name);
        let map = fit_fields(self, &resolved, kind.0.fields, &owner, entry.key_place, findings);
        Some(Bound { kind: kind.0.name, kind_place: kind.1, settings: Setting::Map(map) })
    }

    fn kind(
        &self,
        target: &Entry,
        entries: &[Entry],
        findings: &mut Findings,
    ) -> Option<(TargetKindShape, Place)> {
        let known = || self.reading.catalog.targets.keys().copied();
        let Some(entry) = entries.iter().find(|entry| &*entry.key == "kind") else {
            findings.push(
                Finding::error(
                    codes::MISSING_SETTING,
                    target.key_place,
                    format!("the target `{}` needs `kind`", target.key),
                )
                .label("`kind` is missing")
                .help(format!("add `kind: …`: one of {}", list(known()))),
            );
            return None;
        };
        let kind = entry.value.text().and_then(|kind| self.reading.catalog.targets.get(kind));
        if kind.is_none() {
            findings.push(unknown_kind(entry.value.text().unwrap_or(""), entry.value_place(), known()));
        }
        kind.map(|kind| (*kind, entry.value.place))
    }

    /// A parameter's entry with its variables filled in; `None` where one is not set.
    fn param(&mut self, entry: &Entry, findings: &mut Findings) -> Option<Entry> {
        let before = self.unresolved.len();
        let value = self.resolved(&entry.value, findings);
        (self.unresolved.len() == before).then(|| Entry {
            key: entry.key.clone(),
            key_place: entry.key_place,
            value,
        })
    }

    /// The same value with its `{{ env.NAME }}` filled in.
    fn resolved(&mut self, node: &Node, findings: &mut Findings) -> Node {
        let value = match &node.value {
            Value::Text(text) if text.text.contains("{{") => self.text(node, text, findings),
            Value::List(items) => {
                Value::List(items.iter().map(|item| self.resolved(item, findings)).collect())
            }
            Value::Map(entries) => Value::Map(
                entries
                    .iter()
                    .map(|entry| Entry {
                        key: entry.key.clone(),
                        key_place: entry.key_place,
                        value: self.resolved(&entry.value, findings),
                    })
                    .collect(),
            ),
            other => other.clone(),
        };
        Node { place: node.place, value }
    }

    fn text(&mut self, node: &Node, text: &Text, findings: &mut Findings) -> Value {
        let site = Site { roots: &[Root::Env], what: "an environment file" };
        let origin = origin(text, &self.reading.source.text, node.place);
        let Some(template) = compile_text(&text.text, origin, &site, &|_| false, findings) else {
            self.unresolved.push(node.place);
            return Value::Text(text.clone());
        };
        let mut missing = false;
        for reference in template.refs() {
            let Some(name) = reference.path.first() else { continue };
            if reference.guard == Guard::Bare && !self.reading.variables.contains_key(&name.text) {
                missing = true;
                if self.reading.demands {
                    findings.push(unset(&name.text, name.place, self.reading.variables));
                }
            }
        }
        let scope = Scope { env: Some(&self.variables), ..Scope::default() };
        match template.render(&scope) {
            Ok(rendered) if !missing => match rendered.plain() {
                Some(json) => value_of(json),
                None => Value::Text(text.clone()),
            },
            outcome => {
                if let (Err(error), false) = (outcome, missing) {
                    let mut finding = Finding::error(error.code, error.place, error.message);
                    finding.help = error.help;
                    findings.push(finding);
                }
                self.unresolved.push(node.place);
                Value::Text(text.clone())
            }
        }
    }
}

fn unset(name: &str, place: Place, variables: &BTreeMap<String, String>) -> Finding {
    let finding =
        Finding::error(codes::VARIABLE_UNSET, place, format!("the environment variable `{name}` is not set"))
            .label("not set");
    match nearest(name, variables.keys().map(String::as_str)) {
        Some(near) => finding.help(format!("did you mean `{near}`? Else set it, or give a value for when it is not: `env.{name} | default('…')`")),
        None => finding.help(format!("set it, or give a value for when it is not: `env.{name} | default('…')`")),
    }
}

/// The finding for a target kind that does not exist.
pub(crate) fn unknown_kind(
    written: &str,
    place: Place,
    known: impl Iterator<Item = &'static str> + Clone,
) -> Finding {
    let finding =
        Finding::error(codes::UNKNOWN_TARGET_KIND, place, format!("there is no target kind `{written}`"))
            .label("unknown");
    match nearest(written, known.clone()) {
        Some(near) => finding.help(format!("did you mean `{near}`?")).suggestion(near),
        None => finding.help(format!("the target kinds are {}", list(known))),
    }
}

/// A rendered value as a part of a document; its text counts as quoted.
fn value_of(json: Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Boolean(value),
        Json::Number(number) => Value::Number(number),
        Json::String(text) => Value::Text(Text { text: text.into(), style: Style::Double }),
        other => Value::Text(Text { text: other.to_string().into(), style: Style::Double }),
    }
}

impl Parts for Settings<'_> {
    type Out = Setting;
    const WHAT: &'static str = "setting";
    const SECRET_HELP: &'static str = "this setting takes no secret";
    const UNDER: &'static str = "";
    const CODES: [Code; 3] = [codes::UNKNOWN_SETTING, codes::MISSING_SETTING, codes::WRONG_SETTING];

    fn whole(&mut self, at: &At<'_>, findings: &mut Findings) -> Option<Option<Setting>> {
        if self.unresolved.contains(&at.node.place) {
            return Some(Some(Setting::Plain(at.node.json())));
        }
        if secret::looks_like_one(at.node) && !matches!(at.shape, Shape::Record(_)) {
            if !at.field.secrets {
                if matches!(at.shape, Shape::Map(_) | Shape::Any) {
                    return None;
                }
                findings.push(
                    Finding::error(
                        codes::SECRET_NOT_HERE,
                        at.place,
                        format!("no secret can stand in {}", at.name),
                    )
                    .label("a source of a secret")
                    .help(format!("write {} here", at.shape.words())),
                );
                return Some(None);
            }
            return Some(secret::source_of(at.node, at.place, at.name, findings).map(Setting::Secret));
        }
        if at.field.secrets && matches!(at.field.shape, Shape::Text) {
            if at.node.map().is_some() {
                return Some(secret::source_of(at.node, at.place, at.name, findings).map(Setting::Secret));
            }
            findings.push(secret::in_plain(at.node, at_value(at.node, at.place), at.name));
            return Some(None);
        }
        None
    }

    fn scalar(&mut self, at: &At<'_>, findings: &mut Findings) -> Option<Setting> {
        if let Some(finding) = wrong_value::<Self>(at) {
            findings.push(finding);
            return None;
        }
        if at.node.text().is_some_and(has_password) {
            let finding = secret::in_plain(at.node, at.place, &format!("in {}", at.name));
            findings.push(
                finding.help("leave it out of the URL, and give user and password as settings of their own"),
            );
            return None;
        }
        Some(Setting::Plain(at.node.json()))
    }

    fn list(parts: Vec<Setting>) -> Setting {
        Setting::List(parts)
    }

    fn map(parts: IndexMap<String, Setting>) -> Setting {
        Setting::Map(parts)
    }
}

/// Whether a text is a URL with a password in it.
fn has_password(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
}
