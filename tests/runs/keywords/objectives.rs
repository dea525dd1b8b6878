//! The keys of objectives.

use super::keyword::Keyword;

keywords! { rpo rto restored_by }

/// What sealing a point and `points list` judge by. A run without either keeps to it unasked.
fn rpo() -> Keyword {
    Keyword::of_plan("purpose: backup\nobjectives: { rpo: 15m }", &["it: { needs: [gate], uses: flow.noop }"])
        .refuses("rpo: 15m", "rpo: 15", "DD204", "`rpo` needs a unit")
        .dry_alike("rpo: 15m", "rpo: 1ms")
        .run_alike("rpo: 15m", "rpo: 1ms")
        .shows("/status", "succeeded")
        .lacks("/warnings")
}

/// A good restore that took too long says so.
fn rto() -> Keyword {
    Keyword::of_plan(
        "purpose: restore\nobjectives: { rto: 5ms }",
        &["it: { needs: [gate], uses: flow.wait, with: { for: 10ms } }"],
    )
    .refuses("rto: 5ms", "rto: fast", "DD204", "`fast` is not a duration")
    .dry_alike("rto: 5ms", "rto: 1h")
    .shows("/status", "succeeded")
    .warns("longer than the recovery time objective of 5ms")
}

/// What comes after the step that has the system back does not count.
fn restored_by() -> Keyword {
    Keyword::of_plan(
        "purpose: restore\nobjectives: { rto: 5ms, restored_by: it }",
        &["it: { needs: [gate], uses: flow.wait, with: { for: 10ms } }"],
    )
    .refuses("restored_by: it", "restored_by: no_step", "DD212", "`no_step`, which is no step")
    .dry_alike("restored_by: it", "restored_by: gate")
    .shows("/status", "succeeded")
    .warns("longer than the recovery time objective of 5ms")
}
