//! Whether everything that an expression reads is there when it is read: [`Readers`].

use std::collections::HashSet;

use crate::codes;
use crate::expr::{Guard, GuardedStep, Ref, Root};
use crate::finding::{Code, Finding, Findings};
use crate::model::{OnFailure, OnUnknown};
use crate::name::Name;
use crate::owned_shape::OwnedShape;
use crate::params::Params;
use crate::source::Place;
use crate::suggest::nearest;
use crate::syntax::fields::list;

use super::shapes::{Known, Miss, written};
use super::table::StepTable;

/// Who reads.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reader<'g> {
    /// The step of this number, where these steps are known to have outputs.
    Step(usize, &'g [GuardedStep]),
    /// The plan's own outputs.
    PlanOutputs,
}

/// All references of a plan, judged one by one; who comes before whom is asked at the end, all at once.
#[derive(Debug)]
pub(super) struct Readers<'a, 'n> {
    table: &'a StepTable<'n>,
    params: &'a Params,
    /// For each step: whether its `when` is asked for each instance, so that its outputs are there whatever it says.
    pub(super) when_per_item: Vec<bool>,
    /// Whether some expression could not be read, so that nobody knows what it reads.
    pub(super) unreadable: bool,
    /// The parameters that are read, and the first place where one is read without a guard.
    pub(super) params_read: HashSet<Name>,
    /// The first bare reading of each parameter.
    pub(super) bare_params: Vec<(Name, Place)>,
    questions: Vec<Question>,
}

/// `step` must need `other`, else something is found about what it reads there. The words are made only then.
#[derive(Debug)]
struct Question {
    step: usize,
    other: usize,
    place: Place,
    otherwise: Otherwise,
}

/// What is wrong when a step does not need one that it reads.
#[derive(Debug)]
enum Otherwise {
    /// It may not have run yet.
    NotNeeded,
    /// It is in `finally`, and what it reads, written so, may not have run.
    MayBeMissing(String),
}

impl<'a, 'n> Readers<'a, 'n> {
    /// Nothing read yet.
    pub(super) fn new(table: &'a StepTable<'n>, params: &'a Params) -> Self {
        Self {
            table,
            params,
            when_per_item: vec![false; table.steps.len()],
            unreadable: false,
            params_read: HashSet::new(),
            bare_params: Vec::new(),
            questions: Vec::new(),
        }
    }

    /// One reference.
    pub(super) fn judge(
        &mut self,
        reference: &Ref,
        reader: Reader<'_>,
        known: &Known<'_>,
        findings: &mut Findings,
    ) {
        let there = match reference.root {
            Root::Params => self.param(reference, findings),
            Root::Steps => self.step(reference, reader, findings),
            _ => true,
        };
        if there && let Err(miss) = known.look_up(reference) {
            findings.push(missed(&miss));
        }
    }

    /// A secret that stands in a value, `params.token`.
    pub(super) fn secret(&mut self, secret: &str, place: Place) {
        let name = secret.strip_prefix("params.").unwrap_or(secret);
        if let Some((declared, _)) = self.params.declared.get_key_value(name) {
            self.read_bare(&declared.clone(), place);
        }
    }

    fn read_bare(&mut self, name: &Name, place: Place) {
        self.params_read.insert(name.clone());
        if !self.bare_params.iter().any(|(read, _)| read == name) {
            self.bare_params.push((name.clone(), place));
        }
    }

    /// What is read of steps that the reader does not need.
    pub(super) fn answer(self, findings: &mut Findings) {
        let asked: Vec<(usize, usize)> =
            self.questions.iter().map(|question| (question.step, question.other)).collect();
        for (question, needed) in self.questions.into_iter().zip(self.table.graph.needs(&asked)) {
            if !needed {
                findings.push(match question.otherwise {
                    Otherwise::NotNeeded => {
                        not_needed(self.table, question.step, question.other, question.place)
                    }
                    Otherwise::MayBeMissing(read) => {
                        let why = "it may not have run when `finally` does";
                        may_be_missing(self.table, question.other, question.place, &read, true, why)
                    }
                });
            }
        }
    }

    fn param(&mut self, reference: &Ref, findings: &mut Findings) -> bool {
        let Some(name) = reference.path.first() else {
            self.params_read.extend(self.params.declared.keys().cloned());
            return false;
        };
        let Some((declared, _)) = self.params.declared.get_key_value(name.text.as_str()) else {
            let finding = Finding::error(
                codes::UNKNOWN_PARAM,
                name.place,
                format!("the plan has no parameter `{}`", name.text),
            );
            findings.push(match nearest(&name.text, self.params.declared.keys().map(Name::as_str)) {
                Some(near) => {
                    finding.label("unknown").help(format!("did you mean `{near}`?")).suggestion(near)
                }
                None => finding
                    .label("unknown")
                    .help(format!("declare it: `params: {{ {}: {{ type: string }} }}`", name.text)),
            });
            return false;
        };
        let declared = declared.clone();
        if reference.guard == Guard::Bare {
            self.read_bare(&declared, reference.place);
        } else {
            self.params_read.insert(declared);
        }
        true
    }

    fn step(&mut self, reference: &Ref, reader: Reader<'_>, findings: &mut Findings) -> bool {
        let Some(name) = reference.path.first() else { return false };
        let Some(other) = self.table.number(&name.text) else {
            let finding = Finding::error(
                codes::UNKNOWN_STEP,
                name.place,
                format!("the plan has no step `{}`", name.text),
            )
            .label("unknown");
            findings.push(self.table.no_such_step(finding, &name.text));
            return false;
        };
        let reads_outputs = reference.path.get(1).is_some_and(|part| part.text == "outputs");
        let (number, guards) = match reader {
            Reader::Step(number, guards) => (number, guards),
            Reader::PlanOutputs => {
                if reads_outputs {
                    findings.extend(self.unguarded(reference, other, &[], Reader::PlanOutputs));
                }
                return true;
            }
        };
        if number == other {
            findings.push(self.itself(reference, number));
            return false;
        }
        let (own, others) = (&self.table.steps[number], &self.table.steps[other]);
        if others.finally && !own.finally {
            findings.push(
                Finding::error(
                    codes::NEEDS_FINALLY,
                    reference.place,
                    format!("`{}` stands in `finally` and has not run yet", name.text),
                )
                .label("runs only after all steps")
                .help(format!("move `{}` to `steps`, or move this step to `finally`", name.text)),
            );
            return false;
        }
        let needed_directly = self.table.needs[number].contains(&other);
        let after_the_body = own.finally && !others.finally;
        let found =
            if reads_outputs { self.unguarded(reference, other, guards, reader) } else { Findings::new() };
        let mut ask = |otherwise| {
            self.questions.push(Question { step: number, other, place: reference.place, otherwise })
        };
        if !needed_directly && !after_the_body {
            ask(Otherwise::NotNeeded);
        } else if reads_outputs && !needed_directly && found.is_empty() && !guarded(reference, guards) {
            ask(Otherwise::MayBeMissing(written(reference, reference.path.len())));
        }
        findings.extend(found);
        true
    }

    /// What is found where a step's outputs may be missing although it was needed.
    fn unguarded(
        &self,
        reference: &Ref,
        other: usize,
        guards: &[GuardedStep],
        reader: Reader<'_>,
    ) -> Findings {
        let mut found = Findings::new();
        let step = &self.table.steps[other];
        if guarded(reference, guards) {
            return found;
        }
        let name = step.name.value;
        let why = match (&step.when, step.on_failure) {
            (Some(when), _) if !self.when_per_item[other] => {
                Some(("it is skipped where its `when` is false", when.key_place))
            }
            (_, OnFailure::Ignore) if step.foreach.is_none() => {
                Some(("it may fail: its failure is ignored", step.name.place))
            }
            _ if step.finally && matches!(reader, Reader::PlanOutputs) => {
                Some(("it stands in `finally` and may fail", step.name.place))
            }
            _ => None,
        };
        if let Some((why, because)) = why {
            let in_step = matches!(reader, Reader::Step(..));
            let read = written(reference, reference.path.len());
            let finding = may_be_missing(self.table, other, reference.place, &read, in_step, why);
            found.push(finding.related(because, "this is why"));
        } else if let Some(on_unknown) = step.on_unknown.filter(|word| word.value == OnUnknown::Done) {
            found.push(
                Finding::warning(
                    codes::MAY_BE_MISSING,
                    reference.place,
                    format!("`steps.{name}.outputs` may not be there"),
                )
                .label("absent after an attempt that was taken as done")
                .help(format!("write `{} | default(…)`", written(reference, reference.path.len())))
                .related(on_unknown.place, "this takes it as done"),
            );
        }
        found
    }

    fn itself(&self, reference: &Ref, number: usize) -> Finding {
        let name = self.table.steps[number].name.value;
        Finding::error(codes::READS_ITSELF, reference.place, format!("step `{name}` reads itself"))
            .label("not there yet")
            .help("in `validate` and `outputs` of a step, `outputs` are its own: write `outputs` instead of the step's name")
    }
}

/// Found: the outputs of `other`, read at `place` as `read`, may be missing.
fn may_be_missing(
    table: &StepTable<'_>,
    other: usize,
    place: Place,
    read: &str,
    in_step: bool,
    why: &str,
) -> Finding {
    let name = table.steps[other].name.value;
    let or_default = format!("write `{read} | default(…)`");
    let help = if in_step {
        format!("add `steps.{name}.status == 'succeeded'` to this step's `when`, or {or_default}")
    } else {
        or_default
    };
    Finding::error(codes::MAY_BE_MISSING, place, format!("`steps.{name}.outputs` may not be there"))
        .label(why)
        .help(help)
}

/// Found: a step reads another at `place` and does not need it.
fn not_needed(table: &StepTable<'_>, number: usize, other: usize, place: Place) -> Finding {
    let (own, others) = (&table.steps[number], &table.steps[other]);
    let mut needs: Vec<&str> = own.needs.iter().map(|need| need.value).collect();
    needs.push(others.name.value);
    let message = format!("step `{}` reads `{}` and does not need it", own.name.value, others.name.value);
    Finding::error(codes::NOT_NEEDED, place, message)
        .label("may not have run yet")
        .help(format!("write `needs: [{}]` at `{}`", needs.join(", "), own.name.value))
        .related(own.name.place, "this step")
}

fn guarded(reference: &Ref, guards: &[GuardedStep]) -> bool {
    let name = reference.path.first().map(|segment| segment.text.as_str());
    reference.guard != Guard::Bare || guards.iter().any(|guard| Some(guard.step.as_str()) == name)
}

/// The finding for a name that leads nowhere.
fn missed(miss: &Miss<'_>) -> Finding {
    let name = &miss.segment.text;
    let code: Code = codes::UNKNOWN_FIELD;
    let Some(there) = &miss.there else {
        let (what, help) = match miss.shape {
            OwnedShape::List(_) => (
                "a list".to_owned(),
                format!("name an item by its number, `{}[0]`, or go over all with `foreach`", miss.within),
            ),
            _ => (miss.shape.words(), format!("write `{}` alone", miss.within)),
        };
        let message = format!("`{}` is {what} and has no `{name}`", miss.within);
        return Finding::error(code, miss.segment.place, message).label("nothing here").help(help);
    };
    let finding = Finding::error(code, miss.segment.place, format!("`{}` has no `{name}`", miss.within))
        .label("unknown");
    match nearest(name, there.iter().map(String::as_str)) {
        Some(near) => finding.help(format!("did you mean `{near}`?")).suggestion(near),
        None if there.is_empty() => finding.help("it is always empty"),
        None => finding.help(format!("it has {}", list(there.iter().map(String::as_str)))),
    }
}
