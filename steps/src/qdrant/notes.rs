//! Which notes of a step still count: [`open_notes`].

use drydock_step::{Ctx, StepError};
use serde_json::{Value, json};

/// The notes since the last attempt that ended well, which [`ended`] writes: a step that is asked to run again begins anew. What the
/// attempt in question wrote counts in any case, since only its own end can have been lost.
pub(super) fn open_notes(ctx: &Ctx) -> &[Value] {
    let by_other = |note: &Value| note.get("ended").is_some_and(|attempt| attempt != &*ctx.attempt);
    let from = ctx.notes.iter().rposition(by_other).map_or(0, |last| last + 1);
    ctx.notes.get(from..).unwrap_or_default()
}

/// Notes that an attempt has done all that it was to do.
///
/// # Errors
/// When the journal cannot be written.
pub(super) async fn ended(ctx: &Ctx) -> Result<(), StepError> {
    ctx.note(json!({ "ended": &*ctx.attempt })).await
}

/// Notes what an attempt goes on from, so that the notes alone tell it to the next.
///
/// # Errors
/// When the journal cannot be written.
pub(super) async fn goes_on(ctx: &Ctx, from: Option<&Value>) -> Result<(), StepError> {
    match from {
        Some(from) => ctx.note(json!({ "from": from })).await,
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use drydock_step::test_host::TestHost;

    use super::*;

    #[test]
    fn what_another_attempt_has_ended_is_over() {
        let check = |notes: &[Value], expected: &[Value]| {
            let mut ctx = Arc::new(TestHost::new("/")).ctx(None);
            ctx.notes = Arc::new(notes.to_vec());
            assert_eq!(open_notes(&ctx), expected);
        };
        let (a, b) = (json!({ "a": 1 }), json!({ "b": 1 }));
        let (own, other) = (json!({ "ended": "r1/step/1" }), json!({ "ended": "r1/step/0" }));
        check(&[], &[]);
        check(&[a.clone(), b.clone()], &[a.clone(), b.clone()]);
        check(&[a.clone(), other.clone(), b.clone()], std::slice::from_ref(&b));
        check(&[a.clone(), other.clone()], &[]);
        check(&[a.clone(), other, b.clone(), own.clone()], &[b, own]);
    }
}
