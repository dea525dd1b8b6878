//! Calls of kinds, from steps and validations: [`Calls`].

use indexmap::IndexMap;

use crate::catalog::{Catalog, Effect, KindShape, Misfit};
use crate::codes;
use crate::expr::Template;
use crate::finding::{Finding, Findings};
use crate::fit::{At, fit, fit_fields};
use crate::model::Call;
use crate::name::Name;
use crate::rendered::Rendered;
use crate::shape::{Field, Shape};
use crate::source::Place;
use crate::suggest::nearest;
use crate::syntax::fields::{Spanned, list};
use crate::syntax::plan_file::CallWritten;
use crate::syntax::tree::{Entry, Value};

use super::inputs::{Compiler, InputParts, NamedFile};
use super::targets::Targets;

/// What stands for the run itself among the names of steps that something is known after.
const THE_RUN: &str = "run";

/// What calls are checked against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Calls<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) targets: &'a Targets,
}

/// A call that was checked.
#[derive(Debug)]
pub(super) struct CheckedCall {
    /// The kind, when it exists.
    pub(super) kind: Option<KindShape>,
    /// The target, when it is clear.
    pub(super) target: Option<Name>,
    /// The call, when nothing is wrong with it.
    pub(super) call: Option<Call>,
    /// The inputs that could be made, also where others are wrong.
    pub(super) with: IndexMap<String, Template>,
}

/// A field that takes anything, for inputs of kinds that do not exist.
const ANYTHING: Field = Field::optional("", Shape::Any, "").with_secrets();

impl Calls<'_> {
    /// A call; `own` is the target to take where none is written.
    pub(super) fn check(
        &self,
        written: &CallWritten<'_>,
        uses: Spanned<&str>,
        own: Option<&Name>,
        compiler: &mut Compiler<'_, '_, '_>,
        files: &mut Vec<NamedFile>,
        findings: &mut Findings,
    ) -> CheckedCall {
        let files_before = files.len();
        let mut parts = InputParts { compiler, files };
        let Some(kind) = self.catalog.kinds.get(uses.value).copied() else {
            findings.push(self.unknown_kind(uses));
            if let Some(target) = written.target {
                self.targets.named("", target, None, findings);
            }
            for entry in written.with {
                let at = At {
                    node: &entry.value,
                    place: entry.value_place(),
                    name: &entry.key,
                    shape: &Shape::Any,
                    field: &ANYTHING,
                };
                fit(&mut parts, &at, findings);
            }
            return CheckedCall { kind: None, target: None, call: None, with: IndexMap::new() };
        };
        let before = findings.len();
        let target = self.targets.of_call(&kind, uses.place, written.target, own, findings);
        let owner = format!("`{}`", kind.name);
        let with = fit_fields(&mut parts, written.with, kind.inputs, &owner, uses.place, findings);
        let further_targets = self.target_inputs(&kind, written.with, findings);
        let named = parts.files.iter().skip(files_before).map(|file| file.path.clone());
        let is_sound = |findings: &Findings| {
            findings.iter().skip(before).all(|finding| finding.severity != crate::finding::Severity::Error)
        };
        if is_sound(findings) {
            self.judge(&kind, &with, written.with, uses.place, findings);
        }
        let sound = is_sound(findings);
        let own_target = target.clone().flatten();
        let call = target.filter(|_| sound).map(|target| Call {
            kind: kind.name,
            effect: effect(&kind, &with),
            target,
            with: with.clone(),
            further_targets,
            files: named.collect(),
        });
        CheckedCall { kind: Some(kind), target: own_target, call, with }
    }

    /// What the kind itself has against inputs whose shapes are right. It is asked again without the input that it complained of, so that
    /// everything is found at once.
    fn judge(
        &self,
        kind: &KindShape,
        with: &IndexMap<String, Template>,
        written: &[Entry],
        uses: Place,
        findings: &mut Findings,
    ) {
        let Some(judge) = self.catalog.judges.get(kind.name) else { return };
        let later = || Rendered::After(Name::parse(THE_RUN).into_iter().collect());
        let known = |template: &Template| template.as_literal().cloned().map_or_else(later, Rendered::from);
        let mut with: IndexMap<String, Rendered> =
            with.iter().map(|(name, template)| (name.clone(), known(template))).collect();
        let mut told_before = String::new();
        while let Some(Misfit { message, help }) =
            judge.misfit(&with).filter(|one| one.message != told_before)
        {
            told_before.clone_from(&message);
            let told = [Some(&message), help.as_ref()].into_iter().flatten();
            let culprit = told.flat_map(|text| text.split('`').skip(1).step_by(2)).find_map(|name| {
                let entry = written.iter().find(|entry| &*entry.key == name)?;
                with.get(name)?.after().is_empty().then_some(entry)
            });
            let place = culprit.map_or(uses, Entry::value_place);
            let mut finding = Finding::error(codes::WRONG_INPUT, place, message).label("not taken");
            if let Some(help) = help {
                finding = finding.help(help);
            }
            findings.push(finding);
            let Some(culprit) = culprit else { return };
            with.insert(culprit.key.to_string(), later());
        }
    }

    /// The inputs that name further targets; the targets that they name.
    fn target_inputs(&self, kind: &KindShape, with: &[Entry], findings: &mut Findings) -> Vec<Name> {
        let mut targets = Vec::new();
        for (input, kinds) in kind.target_inputs {
            let Some(entry) = with.iter().find(|entry| &*entry.key == *input) else { continue };
            let items = match &entry.value.value {
                Value::List(items) => items.as_slice(),
                _ => std::slice::from_ref(&entry.value),
            };
            for item in items {
                match item.text() {
                    Some(text) if text.contains("{{") => findings.push(computed_target(input, item.place)),
                    Some(text) => {
                        let owner = format!("`{input}` of `{}`", kind.name);
                        self.targets.named(&owner, Spanned::new(text, item.place), Some(kinds), findings);
                        targets.extend(Name::parse(text));
                    }
                    None => {}
                }
            }
        }
        targets
    }

    fn unknown_kind(&self, uses: Spanned<&str>) -> Finding {
        let finding =
            Finding::error(codes::UNKNOWN_KIND, uses.place, format!("there is no kind `{}`", uses.value))
                .label("unknown");
        let names = || self.catalog.kinds.keys().copied();
        let (written, word) = uses.value.split_once('.').unwrap_or((uses.value, ""));
        let foreign = FOREIGN_FAMILIES.iter().find(|(words, _)| words.contains(&written));
        let family = foreign.map_or(written, |(_, ours)| *ours);
        let of_family: Vec<&str> = names().filter(|name| name.split('.').next() == Some(family)).collect();
        // Within a family its name says nothing: `sqlserver.dump` is as far from `sqlserver.drop` as `dump` from `drop`.
        let near = match of_family.as_slice() {
            [] => nearest(uses.value, names()),
            [only] if foreign.is_some() => Some(*only),
            several => {
                let word_of = |name: &&'static str| name.split_once('.').map_or("", |(_, word)| word);
                nearest(word, several.iter().map(word_of))
                    .and_then(|near| several.iter().copied().find(|name| word_of(name) == near))
            }
        };
        if let Some(near) = near {
            return finding.help(format!("did you mean `{near}`?")).suggestion(near);
        }
        if of_family.is_empty() {
            finding.help("`drydock kinds` lists them")
        } else {
            finding.help(format!("the kinds of `{family}` are {}", list(of_family)))
        }
    }
}

/// What the families of kinds are called elsewhere.
const FOREIGN_FAMILIES: [(&[&str], &str); 7] = [
    (&["mssql", "sql", "tsql", "sqlsrv", "sqlcmd"], "sqlserver"),
    (&["pg", "postgresql", "pgsql", "psql"], "postgres"),
    (&["shell", "bash", "sh", "command", "cmd", "exec", "script", "docker"], "process"),
    (&["api", "rest", "curl", "web", "url"], "http"),
    (&["s3", "file", "files", "store", "blob", "copy"], "artifact"),
    (&["efcore", "migration", "migrations", "dotnet"], "ef"),
    (&["plans", "workflow", "include", "import"], "plan"),
];

fn computed_target(input: &str, place: Place) -> Finding {
    Finding::error(
        codes::COMPUTED_TARGET,
        place,
        format!("`{input}` must be a target's name as it stands in the plan"),
    )
    .label("known only when it runs")
    .help("write the name; what a step works on must be clear before it runs")
}

/// Whether a call writes, as far as its inputs say.
fn effect(kind: &KindShape, with: &IndexMap<String, Template>) -> Effect {
    let Effect::ByInput(input) = kind.effect else { return kind.effect };
    match with.get(input).map(Template::as_literal) {
        None => Effect::Writes,
        Some(Some(value)) if value == "reads" => Effect::Reads,
        Some(Some(_)) => Effect::Writes,
        Some(None) => Effect::ByInput(input),
    }
}
