//! A plan as written to a plan as meant: [`lower`].

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::Value as Json;

use crate::catalog::Catalog;
use crate::codes;
use crate::environment::Environment;
use crate::expr::{Datum, Root, Scope, Template};
use crate::finding::{Finding, Findings};
use crate::model::{EnvironmentName, Objectives, Plan, Purpose, StepIx};
use crate::name::{Digest, Name};
use crate::params::Params;
use crate::source::{Place, SourceFile};
use crate::syntax::fields::named;
use crate::syntax::plan_file::PlanFile;

use super::calls::Calls;
use super::conflicts::conflicts;
use super::inputs::{Compiler, NamedFile};
use super::proving::unproved;
use super::references::{Reader, Readers};
use super::seat::Lowering;
use super::shapes::{Known, StepShapes};
use super::sites;
use super::table::StepTable;
use super::targets::Targets;
use super::touching::touched_by;
use super::unreachable::never_run;

/// How many attempts may run at once where the plan does not say.
const DEFAULT_PARALLEL: u32 = 8;

/// What a plan is lowered with.
pub(super) struct Lower<'a> {
    pub(super) source: &'a SourceFile,
    pub(super) catalog: &'a Catalog,
    pub(super) environment: Option<&'a Environment>,
    /// Whether missing parameters are found.
    pub(super) demands: bool,
}

/// A plan but for its digest, and the files that its inputs name.
pub(super) struct Lowered {
    /// `None` where something was found that keeps it from being one.
    pub(super) plan: Option<Plan>,
    /// Path and place of each file, once.
    pub(super) files: BTreeMap<String, Place>,
}

/// The plan that this document means.
pub(super) fn lower(
    file: &PlanFile<'_>,
    params: &Params,
    with: &Lower<'_>,
    findings: &mut Findings,
) -> Lowered {
    if let (Some(name), true) = (&file.name, file.steps.is_empty()) {
        findings.push(
            Finding::error(codes::NO_STEPS, name.place, "a plan needs at least one step")
                .label("has none")
                .help("write for example `steps: { first: { uses: flow.noop } }`"),
        );
    }
    let targets = Targets::of(&file.targets, with.catalog, findings);
    let bound = targets.bound(&file.targets, with.environment, findings);
    let Some(table) = StepTable::of(&file.steps, findings) else {
        return Lowered { plan: None, files: BTreeMap::new() };
    };
    let objectives = Objectives { restored_by: restored_by(file, &table, findings), ..file.objectives };
    let mut lowering = Lowering {
        source: with.source,
        calls: Calls { catalog: with.catalog, targets: &targets },
        params,
        table: &table,
        readers: Readers::new(&table, params),
        shapes: StepShapes::default(),
        files: Vec::new(),
    };
    let mut steps: Vec<Option<crate::model::Step>> = (0..file.steps.len()).map(|_| None).collect();
    for &number in &table.order {
        steps[number] = lowering.step(number, findings);
    }
    let Lowering { mut readers, shapes, files, .. } = lowering;
    let outputs = outputs(file, params, with.source, &shapes, &mut readers, findings);
    if !readers.unreadable {
        unused(params, &readers, findings);
    }
    targets.unused(findings);
    if with.demands {
        missing(params, &readers, findings);
    }
    let files = paths(&files, params);
    let touched = touched_by(&steps, with.catalog, params);
    conflicts(&steps, &touched, &table, findings);
    if file.purpose == Purpose::Restore {
        unproved(&steps, &touched, &table, findings);
    }
    never_run(&steps, &table, params, findings);
    readers.answer(findings);
    let steps: Option<Vec<_>> = steps.into_iter().collect();
    let plan = match (&file.name, steps) {
        (Some(name), Some(steps)) if !findings.has_errors() => Some(Plan {
            name: name.value.clone(),
            purpose: file.purpose,
            description: file.description.clone(),
            objectives,
            max_parallel: file.max_parallel.unwrap_or(DEFAULT_PARALLEL),
            on_unfinished: file.on_unfinished,
            params: in_order(params, &params.values),
            secrets: in_order(params, &params.secrets),
            environment_secrets: params.environment_secrets.clone(),
            unset: params.unset(),
            targets: bound,
            steps,
            outputs,
            environment: with.environment.map(|environment| EnvironmentName {
                name: environment.name.clone(),
                protected: environment.protected,
            }),
            files: IndexMap::new(),
            drill: false,
            digest: Digest(String::new()),
        }),
        _ => None,
    };
    Lowered { plan, files }
}

/// The step with whose end the system is back. One of `finally` runs whatever became of the others, so that its end says nothing.
fn restored_by(file: &PlanFile<'_>, table: &StepTable<'_>, findings: &mut Findings) -> Option<StepIx> {
    let written = file.restored_by.as_ref()?;
    let Some(number) = table.number(written.value) else {
        let message = format!("`restored_by` names `{}`, which is no step", written.value);
        let finding = Finding::error(codes::UNKNOWN_STEP, written.place, message).label("unknown");
        findings.push(table.no_such_step(finding, written.value));
        return None;
    };
    if table.steps[number].finally {
        let message = format!("`restored_by` names `{}`, which stands in `finally`", written.value);
        findings.push(
            Finding::error(codes::NEEDS_FINALLY, written.place, message)
                .label("runs whatever became of the others")
                .help("name the step of `steps` that proves that the system is back"),
        );
        return None;
    }
    u32::try_from(number).ok().map(StepIx)
}

/// In the order of the declarations.
fn in_order<T: Clone>(params: &Params, values: &IndexMap<Name, T>) -> IndexMap<Name, T> {
    params.declared.keys().filter_map(|name| Some((name.clone(), values.get(name)?.clone()))).collect()
}

/// The plan's own outputs.
fn outputs<'a, 'n>(
    file: &PlanFile<'_>,
    params: &'a Params,
    source: &SourceFile,
    shapes: &StepShapes,
    readers: &mut Readers<'a, 'n>,
    findings: &mut Findings,
) -> IndexMap<Name, Template> {
    let known = Known { params, steps: shapes, item: None, result: None, outputs: None };
    let mut compiler =
        Compiler { source, params, known, readers, reader: Reader::PlanOutputs, site: &sites::PLAN_OUTPUT };
    let mut outputs = IndexMap::new();
    for entry in file.outputs {
        let name = named(&entry.key, entry.key_place, findings);
        let template = compiler.value(&entry.value, findings);
        if let Some(template) = &template {
            template.check_shapes(&compiler.known, findings);
        }
        if let (Some(name), Some(template)) = (name, template) {
            outputs.insert(name, template);
        }
    }
    outputs
}

/// Parameters that nothing reads.
fn unused(params: &Params, readers: &Readers<'_, '_>, findings: &mut Findings) {
    for (name, place) in params.places.iter().filter(|(name, _)| !readers.params_read.contains(*name)) {
        findings.push(
            Finding::warning(codes::PARAM_UNUSED, *place, format!("nothing reads the parameter `{name}`"))
                .label("not used")
                .help(format!("remove it, or write `{{{{ params.{name} }}}}` where it was meant")),
        );
    }
}

/// Parameters that a run needs and that have no value.
fn missing(params: &Params, readers: &Readers<'_, '_>, findings: &mut Findings) {
    for (name, declared) in &params.declared {
        let bare = readers.bare_params.iter().find(|(read, _)| read == name).map(|(_, place)| *place);
        if params.is_given(name.as_str()) || !(declared.required || bare.is_some()) {
            continue;
        }
        let place = params.places.get(name).copied().unwrap_or_default();
        let help = if params.is_secret(name.as_str()) {
            format!(
                "set `DRYDOCK_PARAM_{}`, or give its source in the environment file",
                name.as_str().to_uppercase()
            )
        } else {
            format!("give it: `-p {name}=…`, in a params file, in the environment file, or as its default")
        };
        let mut finding =
            Finding::error(codes::MISSING_PARAM, place, format!("the parameter `{name}` has no value"))
                .label("no value")
                .help(help);
        if let Some(bare) = bare {
            finding = finding.related(bare, "read here");
        }
        findings.push(finding);
    }
}

/// The paths of named files, as far as they are known before a run.
fn paths(files: &[NamedFile], params: &Params) -> BTreeMap<String, Place> {
    let values =
        Json::Object(params.values.iter().map(|(name, value)| (name.to_string(), value.clone())).collect());
    let values = Datum::from_json(&values);
    let mut paths = BTreeMap::new();
    for file in files {
        let known = file.path.refs().iter().all(|reference| {
            reference.root == Root::Params
                && reference.path.first().is_some_and(|name| params.values.contains_key(name.text.as_str()))
        });
        let path = known
            .then(|| file.path.render(&Scope { params: Some(&values), ..Scope::default() }).ok())
            .flatten();
        if let Some(Json::String(path)) = path.and_then(|path| path.plain()) {
            paths.entry(path).or_insert(file.place);
        }
    }
    paths
}
