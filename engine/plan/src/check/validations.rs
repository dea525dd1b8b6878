//! The validations of a step.

use crate::catalog::Effect;
use crate::codes;
use crate::finding::{Finding, Findings};
use crate::model::Validation;
use crate::name::Name;
use crate::syntax::fields::Spanned;
use crate::syntax::plan_file::{StepWritten, ValidationWritten};

use super::calls::CheckedCall;
use super::seat::{Lowering, Seat};
use super::sites;

impl Lowering<'_, '_> {
    /// All validations of a step; `own` is the step's target.
    pub(super) fn validations(
        &mut self,
        written: &StepWritten<'_>,
        seat: Seat<'_>,
        own: Option<&Name>,
        findings: &mut Findings,
    ) -> Vec<Validation> {
        let mut made = Vec::new();
        for (ix, validation) in written.validate.iter().enumerate() {
            let earlier = written.validate[..ix].iter().filter_map(|other| other.name);
            if let Some(name) = validation.name
                && let Some(first) = earlier.into_iter().find(|other| other.value == name.value)
            {
                let message = format!("two validations of this step are called `{}`", name.value);
                findings.push(
                    Finding::error(codes::DUPLICATE_NAME, name.place, message)
                        .label("the second one")
                        .help("say what each of them asks")
                        .related(first.place, "the first one"),
                );
            }
            made.extend(self.validation(validation, seat, own, findings));
        }
        made
    }

    fn validation(
        &mut self,
        written: &ValidationWritten<'_>,
        seat: Seat<'_>,
        own: Option<&Name>,
        findings: &mut Findings,
    ) -> Option<Validation> {
        let calls = self.calls;
        let call = written.call.uses.map(|uses| {
            let (mut compiler, files) = self.at(&sites::VALIDATION_INPUT, seat);
            let checked = calls.check(&written.call, uses, own, &mut compiler, files, findings);
            findings.extend(writes(&checked, uses));
            checked
        });
        let of_call = written.call.with_place.or(written.call.target.map(|target| target.place));
        if let (None, Some(place)) = (&call, of_call) {
            findings.push(
                Finding::error(codes::KEYWORD_NOT_HERE, place, "a validation without `uses` calls nothing")
                    .label("of no use")
                    .help("add `uses`, or judge the step's own outputs by `assert` alone"),
            );
        }
        let result = call.as_ref().and_then(|call| Some(self.outputs_of(&call.kind?, call, seat)));
        let place = if call.is_some() { &sites::ASSERT } else { &sites::ASSERT_WITHOUT_CALL };
        let seat = Seat { result: result.as_ref(), ..seat };
        let entry = written.assert?;
        let assert = self.at(place, seat).0.unjudged(entry, findings)?;
        self.judge_condition(&assert, entry, place, seat, findings);
        let call = match call {
            Some(checked) => Some(checked.call?),
            None => None,
        };
        Some(Validation { name: written.name?.value.into(), call, assert })
    }
}

/// Found: a validation whose kind does not only read.
fn writes(checked: &CheckedCall, uses: Spanned<&str>) -> Findings {
    let mut found = Findings::new();
    let Some(kind) = checked.kind else { return found };
    let help = match (kind.effect, &checked.call) {
        (Effect::Writes, _) => "ask with a kind that only reads, or make it a step of its own".to_owned(),
        (Effect::ByInput(input), Some(call)) if call.effect != Effect::Reads => {
            format!("add `{input}: reads` to its inputs if it changes nothing")
        }
        // It reads; or its inputs are wrong, so nobody knows yet.
        _ => return found,
    };
    let message = format!("a validation cannot use `{}`: it may change something", kind.name);
    found.push(Finding::error(codes::VALIDATION_WRITES, uses.place, message).label("may write").help(help));
    found
}
