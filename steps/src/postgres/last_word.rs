//! What an attempt notes when all its work is done: [`noted`], [`of`]. Should its end be lost, that is what it has given.

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
