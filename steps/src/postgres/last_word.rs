//! What an attempt notes when all its work is done: [`noted`], [`of`]. Should its end be lost, that is what it has given. And which notes
//! still count where a step is asked to run again: [`open_notes`].

use drydock_step::{Ctx, StepError};
use serde_json::{Value, json};

/// Notes an attempt's outputs.
///
/// # Errors
/// When the journal cannot be written.
pub(super) async fn noted(ctx: &Ctx, outputs: &Value) -> Result<(), StepError> {
    ctx.note(json!({ "given": outputs, "attempt": &*ctx.attempt })).await
}

/// What the attempt in question has noted as its outputs; those of attempts before it, which a step that is asked to run again has as
/// well, say nothing about this one.
pub(super) fn of(ctx: &Ctx) -> Option<&Value> {
    let own = ctx
        .notes
        .iter()
        .rev()
        .find(|note| note.get("attempt").is_some_and(|attempt| attempt == &*ctx.attempt))?;
    own.get("given")
}

/// The notes since another attempt has given its outputs: a step that is asked to run again begins anew, and takes nothing that an attempt
/// before it was for as its own.
pub(super) fn open_notes(ctx: &Ctx) -> &[Value] {
    let by_other = |note: &Value| {
        note.get("given").is_some() && note.get("attempt").is_some_and(|attempt| attempt != &*ctx.attempt)
    };
    let from = ctx.notes.iter().rposition(by_other).map_or(0, |last| last + 1);
    ctx.notes.get(from..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use drydock_step::test_host::TestHost;

    use super::*;

    #[test]
    fn what_another_attempt_has_given_is_over_and_the_own_is_not() {
        let check = |notes: &[Value], open: &[Value], given: Option<&Value>| {
            let ctx = Arc::new(TestHost::new("/").noted(notes.to_vec())).ctx(None);
            assert_eq!((open_notes(&ctx), of(&ctx)), (open, given));
        };
        let (begun, outputs) = (json!({ "begun": 1 }), json!({ "n": 1 }));
        let by = |attempt: &str| json!({ "given": outputs, "attempt": attempt });
        let one = std::slice::from_ref(&begun);
        check(&[], &[], None);
        check(one, one, None);
        check(&[begun.clone(), by("r1/step/0"), begun.clone()], one, None);
        check(&[begun.clone(), by("r1/step/0")], &[], None);
        let own = [begun.clone(), by("r1/step/1")];
        check(&own, &own, Some(&outputs));
    }
}
