//! Keywords of a step that stand where they say nothing.

use crate::catalog::Effect;
use crate::codes;
use crate::finding::{Finding, Findings};
use crate::syntax::plan_file::StepWritten;

use super::calls::CheckedCall;
use super::table::StepTable;

/// `key` and `max_parallel` without `foreach`, `undoes` outside `finally`, and steps that cannot be undone.
pub(super) fn misplaced(written: &StepWritten<'_>, table: &StepTable<'_>, findings: &mut Findings) {
    let of_foreach = [
        ("key", written.key.map(|entry| entry.key_place)),
        ("max_parallel", written.max_parallel.map(|number| number.place)),
    ];
    for (word, place) in of_foreach.into_iter().filter(|_| written.foreach.is_none()) {
        if let Some(place) = place {
            let message = format!("`{word}` says something about a `foreach`, and there is none");
            findings.push(
                Finding::error(codes::KEYWORD_NOT_HERE, place, message)
                    .label("without `foreach`")
                    .help(format!("remove `{word}`, or add `foreach`")),
            );
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
        match table.number(name.value) {
            None => {
                let message = format!("`undoes` names `{}`, which is no step", name.value);
                let finding = Finding::error(codes::UNKNOWN_STEP, name.place, message).label("unknown");
                findings.push(table.no_such_step(finding, name.value));
            }
            Some(other) if table.steps[other].finally => {
                let message = format!("`{}` stands in `finally` itself", name.value);
                findings.push(
                    Finding::error(codes::NEEDS_FINALLY, name.place, message)
                        .label("runs in every sitting anyway")
                        .help("name a step of `steps`"),
                );
            }
            Some(_) => {}
        }
    }
}

/// `on_unknown` of a step whose attempts are never unknown.
pub(super) fn on_unknown(written: &StepWritten<'_>, body: &CheckedCall, findings: &mut Findings) {
    let (Some(word), Some(call)) = (written.on_unknown, &body.call) else { return };
    if call.effect == Effect::Reads {
        let message = "`on_unknown` says nothing about a step that only reads";
        findings.push(
            Finding::warning(codes::NO_EFFECT, word.place, message)
                .label("its lost attempts are simply tried again")
                .help("remove it"),
        );
    }
}
