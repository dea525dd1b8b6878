//! Steps as written to steps as meant: [`Lowering`].

use indexmap::IndexMap;

use crate::catalog::Effect;
use crate::codes;
use crate::expr::{Expr, GuardedStep, Template, guards};
use crate::finding::{Finding, Findings, Severity};
use crate::model::{Call, Foreach, OnUnknown, Step, StepIx, Validation, When};
use crate::name::Name;
use crate::owned_shape::{Fit, Lookup, OwnedShape};
use crate::params::Params;
use crate::source::SourceFile;
use crate::syntax::fields::named;
use crate::syntax::plan_file::{StepWritten, ValidationWritten};
use crate::syntax::tree::Entry;

use super::calls::{Calls, CheckedCall, input_shape};
use super::inputs::{Compiler, NamedFile};
use super::references::{Reader, Readers};
use super::shapes::{Known, StepShapes, field, instances};
use super::sites::{self, StepSite};
use super::table::StepTable;

/// All steps of a plan, one after the other.
pub(super) struct Lowering<'a, 'n> {
    pub(super) source: &'a SourceFile,
    pub(super) calls: Calls<'a>,
    pub(super) params: &'a Params,
    pub(super) table: &'a StepTable<'n>,
    pub(super) readers: Readers<'a, 'n>,
    pub(super) shapes: StepShapes,
    pub(super) files: Vec<NamedFile>,
}

/// What is visible while one part of a step is looked at.
#[derive(Clone, Copy, Default)]
struct Visible<'v> {
    guards: &'v [GuardedStep],
    item: Option<&'v OwnedShape>,
    result: Option<&'v OwnedShape>,
    outputs: Option<&'v OwnedShape>,
}

impl<'a, 'n> Lowering<'a, 'n> {
    /// A compiler for one place of a step.
    fn at<'s>(
        &'s mut self,
        number: usize,
        site: &'s crate::expr::Site,
        visible: Visible<'s>,
    ) -> (Compiler<'s, 'a, 'n>, &'s mut Vec<NamedFile>) {
        let known = Known {
            params: self.params,
            steps: &self.shapes,
            item: visible.item,
            result: visible.result,
            outputs: visible.outputs,
        };
        let compiler = Compiler {
            source: self.source,
            params: self.params,
            known,
            readers: &mut self.readers,
            reader: Reader::Step(number, visible.guards),
            site,
        };
        (compiler, &mut self.files)
    }

    /// One step; `None` where something was found that keeps it from being one.
    pub(super) fn step(&mut self, number: usize, findings: &mut Findings) -> Option<Step> {
        let written = &self.table.steps[number];
        let before = findings.len();
        self.shape_of_keywords(written, findings);
        let foreach = written.foreach.is_some();
        let when = written.when.and_then(|entry| {
            self.condition(number, entry, sites::WHEN.site(foreach), Visible::default(), findings)
        });
        let per_item = foreach && when.as_ref().is_some_and(Expr::names_item);
        self.readers.when_per_item[number] = per_item;
        let guarded = when.as_ref().map(guards).unwrap_or_default();
        // A list is asked for before the condition of an instance.
        let list_guards: &[GuardedStep] = if per_item { &[] } else { &guarded };
        let (list, item) = self.list(number, written, list_guards, findings);
        let visible = Visible { guards: &guarded, item: item.as_ref(), ..Visible::default() };
        let key = written.key.and_then(|entry| self.key(number, entry, visible, findings));
        if let (Some(list), Some(item), None) = (&list, &item, written.key) {
            findings.extend(key_needed(list, item));
        }
        let body = self.body(number, written, visible, findings);
        let own = body.kind.as_ref().map(|kind| self.outputs_of(number, kind, &body, visible));
        let with_own = Visible { outputs: own.as_ref(), ..visible };
        let outputs = self.outputs(number, written, with_own, own.as_ref(), findings);
        let own_target = body.call.as_ref().and_then(|call| call.target.clone());
        let validate = self.validations(number, written, with_own, own_target.as_ref(), findings);
        self.remember(written, own, &outputs, item);
        on_unknown(written, &body, findings);
        let sound = findings.iter().skip(before).all(|finding| finding.severity != Severity::Error);
        let call = body.call.filter(|_| sound)?;
        let foreach = match (written.foreach, list) {
            (None, _) => None,
            (Some(_), list) => Some(Foreach {
                list: list?,
                key,
                max_parallel: written.max_parallel.map(|number| number.value),
            }),
        };
        self.made(
            number,
            call,
            when.map(|expr| When { expr, per_item }),
            foreach,
            validate,
            outputs.into_iter().map(|(name, (template, _))| (name, template)).collect(),
        )
    }

    fn made(
        &self,
        number: usize,
        call: Call,
        when: Option<When>,
        foreach: Option<Foreach>,
        validate: Vec<Validation>,
        outputs: IndexMap<Name, Template>,
    ) -> Option<Step> {
        let written = &self.table.steps[number];
        let index = |number: usize| u32::try_from(number).ok().map(StepIx);
        Some(Step {
            id: Name::parse(written.name.value).ok()?,
            finally: written.finally,
            description: written.description.clone(),
            call,
            needs: self.table.needs[number].iter().copied().filter_map(index).collect(),
            when,
            foreach,
            retry: written.retry.clone(),
            timeout: written.timeout,
            validate,
            on_failure: written.on_failure,
            on_unknown: written.on_unknown.map_or(OnUnknown::default(), |word| word.value),
            outputs,
            undoes: written
                .undoes
                .iter()
                .filter_map(|name| self.table.number(name.value))
                .filter_map(index)
                .collect(),
        })
    }

    /// Keywords that stand where they mean nothing, and names in `undoes`.
    fn shape_of_keywords(&self, written: &StepWritten<'_>, findings: &mut Findings) {
        if written.foreach.is_none() {
            let places = [
                ("key", written.key.map(|entry| entry.key_place)),
                ("max_parallel", written.max_parallel.map(|number| number.place)),
            ];
            for (word, place) in places {
                if let Some(place) = place {
                    findings.push(
                        Finding::error(
                            codes::KEYWORD_NOT_HERE,
                            place,
                            format!("`{word}` says something about a `foreach`, and there is none"),
                        )
                        .label("without `foreach`")
                        .help(format!("remove `{word}`, or add `foreach`")),
                    );
                }
            }
        }
        if let Some(place) = written.undoes_place.filter(|_| !written.finally) {
            findings.push(
                Finding::error(codes::KEYWORD_NOT_HERE, place, "`undoes` stands in a step outside `finally`")
                    .label("outside `finally`")
                    .help("move the step to `finally`: only what runs in every sitting can undo a step"),
            );
        }
        for name in &written.undoes {
            match self.table.number(name.value) {
                None => {
                    let finding = Finding::error(
                        codes::UNKNOWN_STEP,
                        name.place,
                        format!("`undoes` names `{}`, which is no step", name.value),
                    );
                    findings.push(self.table.no_such_step(finding.label("unknown"), name.value));
                }
                Some(other) if self.table.steps[other].finally => findings.push(
                    Finding::error(
                        codes::NEEDS_FINALLY,
                        name.place,
                        format!("`{}` stands in `finally` itself", name.value),
                    )
                    .label("runs in every sitting anyway")
                    .help("name a step of `steps`"),
                ),
                Some(_) => {}
            }
        }
    }

    fn condition(
        &mut self,
        number: usize,
        entry: &Entry,
        site: &crate::expr::Site,
        visible: Visible<'_>,
        findings: &mut Findings,
    ) -> Option<Expr> {
        let (mut compiler, _) = self.at(number, site, visible);
        let expr = compiler.expression(entry, findings)?;
        expr.check_condition(&compiler.known, findings);
        if expr.refs().is_empty() {
            findings.push(
                Finding::warning(
                    codes::CONSTANT_CONDITION,
                    expr.place(),
                    format!("`{}` reads nothing", entry.key),
                )
                .label("always the same")
                .help("read a parameter or a step, or remove it"),
            );
        }
        Some(expr)
    }

    /// The list of a foreach and the shape of its items.
    fn list(
        &mut self,
        number: usize,
        written: &StepWritten<'_>,
        guards: &[GuardedStep],
        findings: &mut Findings,
    ) -> (Option<Expr>, Option<OwnedShape>) {
        let Some(entry) = written.foreach else { return (None, None) };
        let (mut compiler, _) = self.at(number, &sites::FOREACH, Visible { guards, ..Visible::default() });
        let Some(expr) = compiler.expression(entry, findings) else { return (None, Some(OwnedShape::Any)) };
        let shape = expr.check_shapes(&compiler.known, findings);
        let item = match &shape {
            OwnedShape::List(of) => (**of).clone(),
            other => {
                if OwnedShape::List(Box::new(OwnedShape::Any)).accepts(other) == Fit::No {
                    findings.push(
                        Finding::error(codes::NOT_A_LIST, expr.place(), "`foreach` must be a list")
                            .label(format!("this gives {}", other.words()))
                            .help("name a list, for example a step's output or a parameter of type list"),
                    );
                }
                OwnedShape::Any
            }
        };
        (Some(expr), Some(item))
    }

    fn key(
        &mut self,
        number: usize,
        entry: &Entry,
        visible: Visible<'_>,
        findings: &mut Findings,
    ) -> Option<Expr> {
        let (mut compiler, _) = self.at(number, &sites::KEY, visible);
        let expr = compiler.expression(entry, findings)?;
        let shape = expr.check_shapes(&compiler.known, findings);
        if is_structure(&shape) {
            findings.push(
                Finding::error(codes::NO_KEY, expr.place(), "`key` must be text or a number")
                    .label(format!("this gives {}", shape.words()))
                    .help("name a part of the item that is different in each, such as `item.name`"),
            );
        }
        if !expr.names_item() {
            findings.push(
                Finding::error(codes::NO_KEY, expr.place(), "`key` is the same for every item")
                    .label("does not read `item`")
                    .help("name a part of the item that is different in each, such as `item.name`"),
            );
        }
        Some(expr)
    }

    fn body(
        &mut self,
        number: usize,
        written: &StepWritten<'_>,
        visible: Visible<'_>,
        findings: &mut Findings,
    ) -> CheckedCall {
        let Some(uses) = written.call.uses else {
            return CheckedCall { kind: None, call: None, with: IndexMap::new() };
        };
        let calls = self.calls;
        let (mut compiler, files) = self.at(number, sites::INPUT.site(written.foreach.is_some()), visible);
        calls.check(&written.call, uses, None, &mut compiler, files, findings)
    }

    /// The shape of what a call gives.
    fn outputs_of(
        &mut self,
        _number: usize,
        kind: &crate::catalog::KindShape,
        call: &CheckedCall,
        visible: Visible<'_>,
    ) -> OwnedShape {
        let params = self.params;
        let inputs: IndexMap<&str, OwnedShape> = {
            let known = Known {
                params,
                steps: &self.shapes,
                item: visible.item,
                result: None,
                outputs: visible.outputs,
            };
            kind.inputs
                .iter()
                .map(|field| (field.name, input_shape(&call.with, field.name, &known)))
                .collect()
        };
        self.shapes.of_kind(kind, &|name| inputs.get(name).cloned().unwrap_or(OwnedShape::Any))
    }

    /// The values that a step adds to its outputs, with their shapes.
    fn outputs(
        &mut self,
        number: usize,
        written: &StepWritten<'_>,
        visible: Visible<'_>,
        own: Option<&OwnedShape>,
        findings: &mut Findings,
    ) -> IndexMap<Name, (Template, OwnedShape)> {
        let mut outputs = IndexMap::new();
        for entry in written.outputs {
            let name = named(&entry.key, entry.key_place, findings);
            let (mut compiler, _) = self.at(number, site(&sites::OUTPUT, written), visible);
            let template = compiler.value(&entry.value, findings);
            let shape = template.as_ref().map(|template| template.check_shapes(&compiler.known, findings));
            if let Some(OwnedShape::Record(fields)) = own
                && fields.iter().any(|field| field.name == *entry.key)
            {
                findings.push(
                    Finding::warning(
                        codes::OUTPUT_HIDDEN,
                        entry.key_place,
                        format!("`{}` hides an output of the kind", entry.key),
                    )
                    .label("the kind's own cannot be read any more")
                    .help("give it another name"),
                );
            }
            if let (Some(name), Some(template), Some(shape)) = (name, template, shape) {
                outputs.insert(name, (template, shape));
            }
        }
        outputs
    }

    /// What other steps see of this one's outputs.
    fn remember(
        &mut self,
        written: &StepWritten<'_>,
        own: Option<OwnedShape>,
        added: &IndexMap<Name, (Template, OwnedShape)>,
        item: Option<OwnedShape>,
    ) {
        let all = match own.unwrap_or(OwnedShape::Any) {
            OwnedShape::Record(mut fields) => {
                fields.retain(|field| !added.contains_key(field.name.as_str()));
                fields.extend(added.iter().map(|(name, (_, shape))| field(name.as_str(), shape.clone())));
                OwnedShape::Record(fields)
            }
            _ => OwnedShape::Any,
        };
        let all =
            if written.foreach.is_some() { instances(item.unwrap_or(OwnedShape::Any), all) } else { all };
        self.shapes.insert(written.name.value, all);
    }

    fn validations(
        &mut self,
        number: usize,
        written: &StepWritten<'_>,
        visible: Visible<'_>,
        own: Option<&Name>,
        findings: &mut Findings,
    ) -> Vec<Validation> {
        let mut made = Vec::new();
        for (ix, validation) in written.validate.iter().enumerate() {
            if let Some(name) = validation.name
                && let Some(first) = written.validate[..ix]
                    .iter()
                    .filter_map(|other| other.name)
                    .find(|other| other.value == name.value)
            {
                findings.push(
                    Finding::error(
                        codes::DUPLICATE_NAME,
                        name.place,
                        format!("two validations of this step are called `{}`", name.value),
                    )
                    .label("the second one")
                    .help("say what each of them asks")
                    .related(first.place, "the first one"),
                );
            }
            made.extend(self.validation(number, written, validation, visible, own, findings));
        }
        made
    }

    fn validation(
        &mut self,
        number: usize,
        written: &StepWritten<'_>,
        validation: &ValidationWritten<'_>,
        visible: Visible<'_>,
        own: Option<&Name>,
        findings: &mut Findings,
    ) -> Option<Validation> {
        let calls = self.calls;
        let call = validation.call.uses.map(|uses| {
            let (mut compiler, files) = self.at(number, site(&sites::VALIDATION_INPUT, written), visible);
            let checked = calls.check(&validation.call, uses, own, &mut compiler, files, findings);
            if let Some(finding) = writes(&checked, uses) {
                findings.push(finding);
            }
            checked
        });
        if call.is_none()
            && let Some(place) =
                validation.call.with_place.or(validation.call.target.map(|target| target.place))
        {
            findings.push(
                Finding::error(codes::KEYWORD_NOT_HERE, place, "a validation without `uses` calls nothing")
                    .label("of no use")
                    .help("add `uses`, or judge the step's own outputs by `assert` alone"),
            );
        }
        let result = call.as_ref().and_then(|call| {
            let kind = call.kind?;
            Some(self.outputs_of(number, &kind, call, visible))
        });
        let place = if call.is_some() { &sites::ASSERT } else { &sites::ASSERT_WITHOUT_CALL };
        let asserting = Visible { result: result.as_ref(), ..visible };
        let assert = self.condition(number, validation.assert?, site(place, written), asserting, findings)?;
        Some(Validation {
            name: validation.name?.value.into(),
            call: match call {
                Some(call) => Some(call.call?),
                None => None,
            },
            assert,
        })
    }
}

fn site(place: &'static StepSite, written: &StepWritten<'_>) -> &'static crate::expr::Site {
    place.site(written.foreach.is_some())
}

/// Whether a shape is a list or a mapping.
fn is_structure(shape: &OwnedShape) -> bool {
    matches!(shape, OwnedShape::List(_) | OwnedShape::Map(_) | OwnedShape::Record(_) | OwnedShape::Band)
}

/// Found: a foreach without `key` over items that have no name of their own.
fn key_needed(list: &Expr, item: &OwnedShape) -> Findings {
    let mut found = Findings::new();
    let nameless = match item {
        OwnedShape::Record(_) => !matches!(item.field("name"), Lookup::Found(_)),
        OwnedShape::List(_) => true,
        _ => false,
    };
    if nameless {
        let example = match item {
            OwnedShape::Record(fields) => {
                fields.iter().find(|field| !is_structure(&field.shape)).map(|field| field.name.as_str())
            }
            _ => None,
        };
        found.push(
            Finding::error(codes::NO_KEY, list.place(), "`foreach` needs a `key`")
                .label("its items have no `name` to call the instances by")
                .help(format!("add for example `key: item.{}`", example.unwrap_or("id"))),
        );
    }
    found
}

/// Found: a validation whose kind does not only read.
fn writes(checked: &CheckedCall, uses: crate::syntax::fields::Spanned<&str>) -> Option<Finding> {
    let kind = checked.kind?;
    let effect = checked.call.as_ref().map_or(kind.effect, |call| call.effect);
    let help = match (kind.effect, effect) {
        (Effect::Reads, _) | (_, Effect::Reads) => return None,
        // Its inputs are wrong, so nobody knows yet.
        (Effect::ByInput(_), _) if checked.call.is_none() => return None,
        (Effect::ByInput(input), _) => format!("add `{input}: reads` to its inputs if it changes nothing"),
        (Effect::Writes, _) => "ask with a kind that only reads, or make it a step of its own".to_owned(),
    };
    let message = format!("a validation cannot use `{}`: it may change something", kind.name);
    Some(Finding::error(codes::VALIDATION_WRITES, uses.place, message).label("may write").help(help))
}

/// Found: `on_unknown` of a step whose attempts are never unknown.
fn on_unknown(written: &StepWritten<'_>, body: &CheckedCall, findings: &mut Findings) {
    let (Some(word), Some(call)) = (written.on_unknown, &body.call) else { return };
    if call.effect == Effect::Reads {
        findings.push(
            Finding::warning(
                codes::NO_EFFECT,
                word.place,
                "`on_unknown` says nothing about a step that only reads",
            )
            .label("its lost attempts are simply tried again")
            .help("remove it"),
        );
    }
}
