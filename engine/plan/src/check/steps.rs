//! Steps as written to steps as meant.

use indexmap::IndexMap;

use crate::codes;
use crate::expr::{Expr, GuardedStep, Template, guards};
use crate::finding::{Finding, Findings, Severity};
use crate::model::{Call, Foreach, OnUnknown, Step, StepIx, Validation, When};
use crate::name::Name;
use crate::owned_shape::OwnedShape;
use crate::syntax::fields::named;
use crate::syntax::plain_texts::secrets_in;
use crate::syntax::plan_file::StepWritten;

use super::calls::CheckedCall;
use super::keywords::{misplaced, on_unknown};
use super::seat::{Lowering, Seat};
use super::shapes::{field, instances};
use super::sites;

/// The parts of a step that were made.
struct Parts {
    call: Option<Call>,
    when: Option<When>,
    foreach: Option<Foreach>,
    validate: Vec<Validation>,
    outputs: IndexMap<Name, Template>,
}

impl Lowering<'_, '_> {
    /// One step; `None` where something was found that keeps it from being one.
    pub(super) fn step(&mut self, number: usize, findings: &mut Findings) -> Option<Step> {
        let written = &self.table.steps[number];
        let before = findings.len();
        misplaced(written, self.table, findings);
        for call in [&written.call].into_iter().chain(written.validate.iter().map(|one| &one.call)) {
            secrets_in(call.with, Some(written.name.value), findings);
        }
        let parts = self.parts(number, written, findings);
        let sound = findings.iter().skip(before).all(|finding| finding.severity != Severity::Error);
        if sound { self.made(number, parts) } else { None }
    }

    fn parts(&mut self, number: usize, written: &StepWritten<'_>, findings: &mut Findings) -> Parts {
        let seat = Seat::bare(number, written.foreach.is_some());
        let when = written.when.and_then(|entry| self.at(&sites::WHEN, seat).0.unjudged(entry, findings));
        let per_item = seat.foreach && when.as_ref().is_some_and(Expr::names_item);
        self.readers.when_per_item[number] = per_item;
        let guarded = when.as_ref().map(guards).unwrap_or_default();
        // A list is asked for before the condition of an instance.
        let list_guards: &[GuardedStep] = if per_item { &[] } else { &guarded };
        let (list, item) = self.list(number, written, list_guards, findings);
        let seat = Seat { item: item.as_ref(), ..seat };
        if let (Some(expr), Some(entry)) = (&when, written.when) {
            self.judge_condition(expr, entry, &sites::WHEN, seat, findings);
        }
        let seat = Seat { guards: &guarded, ..seat };
        let key = written.key.filter(|_| seat.foreach).and_then(|entry| self.key(entry, seat, findings));
        let body = self.body(written, seat, findings);
        let own = body.kind.as_ref().map(|kind| self.outputs_of(kind, &body, seat));
        let seat = Seat { outputs: own.as_ref(), ..seat };
        let outputs = self.outputs(written, seat, findings);
        let validate = self.validations(written, seat, body.target.as_ref(), findings);
        on_unknown(written, &body, findings);
        let max_parallel = written.max_parallel.map(|number| number.value);
        let outputs_shape = with_added(own.unwrap_or(OwnedShape::Any), &outputs);
        self.remember(written, outputs_shape, item);
        Parts {
            call: body.call,
            when: when.map(|expr| When { expr, per_item }),
            foreach: list.map(|list| Foreach { list, key, max_parallel }),
            validate,
            outputs: outputs.into_iter().map(|(name, (template, _))| (name, template)).collect(),
        }
    }

    fn made(&self, number: usize, parts: Parts) -> Option<Step> {
        let written = &self.table.steps[number];
        let index = |number: usize| u32::try_from(number).ok().map(StepIx);
        let undoes = written.undoes.iter().filter_map(|name| self.table.number(name.value));
        Some(Step {
            id: Name::parse(written.name.value).ok()?,
            finally: written.finally,
            description: written.description.clone(),
            call: parts.call?,
            needs: self.table.needs[number].iter().copied().filter_map(index).collect(),
            when: parts.when,
            foreach: parts.foreach,
            retry: written.retry.clone(),
            timeout: written.timeout,
            validate: parts.validate,
            on_failure: written.on_failure,
            on_unknown: written.on_unknown.map_or(OnUnknown::default(), |word| word.value),
            outputs: parts.outputs,
            undoes: undoes.filter_map(index).collect(),
        })
    }

    fn body(&mut self, written: &StepWritten<'_>, seat: Seat<'_>, findings: &mut Findings) -> CheckedCall {
        let Some(uses) = written.call.uses else {
            return CheckedCall { kind: None, target: None, call: None, with: IndexMap::new() };
        };
        let calls = self.calls;
        let (mut compiler, files) = self.at(&sites::INPUT, seat);
        calls.check(&written.call, uses, None, &mut compiler, files, findings)
    }

    /// The values that a step adds to its outputs, with their shapes.
    fn outputs(
        &mut self,
        written: &StepWritten<'_>,
        seat: Seat<'_>,
        findings: &mut Findings,
    ) -> IndexMap<Name, (Template, OwnedShape)> {
        let mut outputs = IndexMap::new();
        for entry in written.outputs {
            let name = named(&entry.key, entry.key_place, findings);
            let (mut compiler, _) = self.at(&sites::OUTPUT, seat);
            let template = compiler.value(&entry.value, findings);
            let shape = template.as_ref().map(|template| template.check_shapes(&compiler.known, findings));
            if let Some(OwnedShape::Record(fields)) = seat.outputs
                && fields.iter().any(|field| field.name == *entry.key)
            {
                let message = format!("`{}` hides an output of the kind", entry.key);
                findings.push(
                    Finding::warning(codes::OUTPUT_HIDDEN, entry.key_place, message)
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

    /// Keep what other steps see of this one's outputs.
    fn remember(&mut self, written: &StepWritten<'_>, outputs: OwnedShape, item: Option<OwnedShape>) {
        let seen = match written.foreach {
            Some(_) => instances(item.unwrap_or(OwnedShape::Any), outputs),
            None => outputs,
        };
        self.shapes.insert(written.name.value, seen);
    }
}

/// The outputs of a kind with those that a step adds.
fn with_added(own: OwnedShape, added: &IndexMap<Name, (Template, OwnedShape)>) -> OwnedShape {
    match own {
        OwnedShape::Record(mut fields) => {
            fields.retain(|field| !added.contains_key(field.name.as_str()));
            fields.extend(added.iter().map(|(name, (_, shape))| field(name.as_str(), shape.clone())));
            OwnedShape::Record(fields)
        }
        _ => OwnedShape::Any,
    }
}
