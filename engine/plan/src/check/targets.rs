//! The targets that a plan names, and what an environment binds them to: [`Targets`].

use std::cell::RefCell;
use std::collections::HashSet;

use indexmap::IndexMap;

use crate::catalog::{Catalog, KindShape, TargetNeed};
use crate::codes;
use crate::environment::{Environment, unknown_kind};
use crate::finding::{Finding, Findings};
use crate::model::Target;
use crate::name::Name;
use crate::source::Place;
use crate::suggest::nearest;
use crate::syntax::fields::{Spanned, list};
use crate::syntax::plan_file::TargetWritten;

/// The targets of a plan.
#[derive(Debug)]
pub(super) struct Targets {
    by_name: IndexMap<Name, Declared>,
    used: RefCell<HashSet<Name>>,
}

#[derive(Debug)]
struct Declared {
    /// `None` where the plan names a kind that does not exist; that is found already.
    kind: Option<&'static str>,
    place: Place,
}

impl Targets {
    /// The declared targets.
    pub(super) fn of(written: &[TargetWritten<'_>], catalog: &Catalog, findings: &mut Findings) -> Self {
        let mut by_name = IndexMap::new();
        for target in written {
            let kind = catalog.targets.get(target.kind.value).map(|kind| kind.name);
            if kind.is_none() {
                findings.push(unknown_kind(
                    target.kind.value,
                    target.kind.place,
                    catalog.targets.keys().copied(),
                ));
            }
            by_name.insert(target.name.value.clone(), Declared { kind, place: target.name.place });
        }
        Self { by_name, used: RefCell::default() }
    }

    /// The targets as the environment binds them.
    pub(super) fn bound(
        &self,
        written: &[TargetWritten<'_>],
        environment: Option<&Environment>,
        findings: &mut Findings,
    ) -> IndexMap<Name, Target> {
        let mut bound = IndexMap::new();
        for target in written {
            let name = &target.name.value;
            let Some(kind) = self.by_name.get(name).and_then(|declared| declared.kind) else { continue };
            let settings = match environment {
                None => None,
                Some(environment) => match environment.targets.get(name) {
                    None => {
                        findings.push(unbound(target, kind, environment));
                        continue;
                    }
                    Some(None) => continue,
                    Some(Some(there)) if there.kind != kind => {
                        findings.push(
                            Finding::error(
                                codes::TARGET_KIND_DIFFERS,
                                target.kind.place,
                                format!("the environment binds `{name}` to another kind"),
                            )
                            .label(format!("`{kind}` here, `{}` there", there.kind))
                            .help("correct the kind in one of the two files")
                            .related(there.kind_place, "the environment's kind"),
                        );
                        continue;
                    }
                    Some(Some(there)) => Some(there.settings.clone()),
                },
            };
            bound.insert(name.clone(), Target { kind, settings });
        }
        bound
    }

    /// Targets that no step works on.
    pub(super) fn unused(&self, findings: &mut Findings) {
        let used = self.used.borrow();
        for (name, declared) in self.by_name.iter().filter(|(name, _)| !used.contains(*name)) {
            findings.push(
                Finding::warning(
                    codes::TARGET_UNUSED,
                    declared.place,
                    format!("no step works on the target `{name}`"),
                )
                .label("not used")
                .help("remove it, or name it as a step's `target`"),
            );
        }
    }

    /// The target of a call: the one that is written, or else `own`, the step's; what does not fit the kind is found. The outer option
    /// is `None` where something was found.
    pub(super) fn of_call(
        &self,
        kind: &KindShape,
        uses: Place,
        written: Option<Spanned<&str>>,
        own: Option<&Name>,
        findings: &mut Findings,
    ) -> Option<Option<Name>> {
        let kinds = match kind.target {
            TargetNeed::None => {
                let Some(target) = written else { return Some(None) };
                self.mark(target.value);
                findings.push(
                    Finding::error(
                        codes::TARGET_NOT_TAKEN,
                        target.place,
                        format!("`{}` works on no target", kind.name),
                    )
                    .label("takes none")
                    .help("remove `target`"),
                );
                return None;
            }
            TargetNeed::OneOf(kinds) => Some(kinds),
            TargetNeed::Any => None,
        };
        match (written, own) {
            (Some(target), _) => self.named(&format!("`{}`", kind.name), target, kinds, findings).map(Some),
            (None, Some(own)) => self.inherited(kind, uses, own, kinds, findings).map(Some),
            (None, None) => {
                findings.push(self.missing(kind, uses, kinds));
                None
            }
        }
    }

    /// The target of this name, when it is of one of these kinds.
    pub(super) fn named(
        &self,
        owner: &str,
        target: Spanned<&str>,
        kinds: Option<&[&str]>,
        findings: &mut Findings,
    ) -> Option<Name> {
        self.mark(target.value);
        let Some((name, declared)) = self.by_name.get_key_value(target.value) else {
            let finding = Finding::error(
                codes::UNKNOWN_TARGET,
                target.place,
                format!("the plan has no target `{}`", target.value),
            )
            .label("unknown");
            let near = nearest(target.value, self.by_name.keys().map(Name::as_str));
            near.into_iter().for_each(|near| self.mark(near));
            findings.push(match near {
                Some(near) => finding.help(format!("did you mean `{near}`?")).suggestion(near),
                None => {
                    let kind = kinds.and_then(|kinds| kinds.first()).unwrap_or(&"http");
                    finding.help(format!("declare it: `targets: {{ {}: {kind} }}`", target.value))
                }
            });
            return None;
        };
        let kind = declared.kind?;
        if let Some(kinds) = kinds.filter(|kinds| !kinds.contains(&kind)) {
            let finding = Finding::error(
                codes::TARGET_OF_OTHER_KIND,
                target.place,
                format!("{owner} works on a target of kind {}, and `{name}` is `{kind}`", words(kinds)),
            );
            let fitting = self.fitting(kinds);
            let help = if fitting.is_empty() {
                format!(
                    "declare a target of that kind: `targets: {{ main: {} }}`",
                    kinds.first().unwrap_or(&"")
                )
            } else {
                format!("targets that fit: {}", list(fitting))
            };
            findings
                .push(finding.label("of another kind").help(help).related(declared.place, "declared here"));
            return None;
        }
        Some(name.clone())
    }

    fn inherited(
        &self,
        kind: &KindShape,
        uses: Place,
        own: &Name,
        kinds: Option<&[&str]>,
        findings: &mut Findings,
    ) -> Option<Name> {
        let declared = self.by_name.get(own)?;
        let own_kind = declared.kind?;
        if kinds.is_none_or(|kinds| kinds.contains(&own_kind)) {
            return Some(own.clone());
        }
        findings.push(
            self.missing(kind, uses, kinds).label(format!("the step's own target `{own}` is `{own_kind}`")),
        );
        None
    }

    fn missing(&self, kind: &KindShape, uses: Place, kinds: Option<&[&str]>) -> Finding {
        let what = kinds.map_or("a target".to_owned(), |kinds| format!("a target of kind {}", words(kinds)));
        let fitting = kinds
            .map_or_else(|| self.by_name.keys().map(Name::as_str).collect(), |kinds| self.fitting(kinds));
        let help = match (fitting.as_slice(), kinds.and_then(|kinds| kinds.first())) {
            ([only], _) => format!("add `target: {only}`"),
            ([], Some(kind)) => format!("declare one, `targets: {{ main: {kind} }}`, and add `target: main`"),
            ([], None) => "declare one under `targets` and add `target: NAME`".to_owned(),
            (several, _) => format!("add `target:` with one of {}", list(several.iter().copied())),
        };
        Finding::error(codes::MISSING_TARGET, uses, format!("`{}` needs {what}", kind.name))
            .label("`target` is missing")
            .help(help)
    }

    fn fitting(&self, kinds: &[&str]) -> Vec<&str> {
        let fits = |declared: &Declared| declared.kind.is_some_and(|kind| kinds.contains(&kind));
        self.by_name.iter().filter(|(_, declared)| fits(declared)).map(|(name, _)| name.as_str()).collect()
    }

    fn mark(&self, name: &str) {
        if let Some((name, _)) = self.by_name.get_key_value(name) {
            self.used.borrow_mut().insert(name.clone());
        }
    }
}

fn words(kinds: &[&str]) -> String {
    kinds.iter().map(|kind| format!("`{kind}`")).collect::<Vec<_>>().join(" or ")
}

fn unbound(target: &TargetWritten<'_>, kind: &str, environment: &Environment) -> Finding {
    let name = &target.name.value;
    let finding = Finding::error(
        codes::UNBOUND_TARGET,
        target.name.place,
        format!("the environment `{}` does not bind the target `{name}`", environment.name),
    )
    .label("not bound")
    .related(environment.place, "this environment");
    match nearest(name.as_str(), environment.targets.keys().map(Name::as_str)) {
        Some(near) => finding.help(format!("add it there: `{name}: {{ kind: {kind}, … }}`; it has `{near}`")),
        None => finding.help(format!("add it there: `{name}: {{ kind: {kind}, … }}`")),
    }
}
