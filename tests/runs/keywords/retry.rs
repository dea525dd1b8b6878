//! The keys of a retry.

use super::keyword::Keyword;

keywords! { attempts delay backoff max_delay errors }

/// A step that fails until its fourth try.
fn flaky(retry: &str) -> Keyword {
    let script = "echo try >> ledger; test $(wc -l < ledger) -ge 4";
    Keyword::of_step(&format!(
        "retry: {{ {retry} }}, uses: process.run, with: {{ argv: [sh, -c, '{script}'] }}"
    ))
}

fn attempts() -> Keyword {
    flaky("attempts: 2, errors: any")
        .refuses("attempts: 2", "attempts: 0", "DD204", "at least 1")
        .dry_alike("attempts: 2", "attempts: 1")
        .exit(20)
        .writes("ledger", "try\ntry\n")
        .shows("/steps/it/attempts/1/outcome", "failed")
}

fn delay() -> Keyword {
    flaky("attempts: 4, delay: 7ms, errors: any")
        .refuses("delay: 7ms", "delay: 7", "DD204", "`delay` needs a unit")
        .dry_alike("delay: 7ms", "delay: 1h")
        .delays(&[7, 7, 7])
}

fn backoff() -> Keyword {
    flaky("attempts: 4, delay: 3ms, backoff: exponential, errors: any")
        .refuses("backoff: exponential", "backoff: quadratic", "DD207", "`linear`")
        .dry_alike("backoff: exponential", "backoff: none")
        .delays(&[3, 6, 12])
}

fn max_delay() -> Keyword {
    flaky("attempts: 4, delay: 3ms, backoff: exponential, max_delay: 5ms, errors: any")
        .refuses("max_delay: 5ms", "max_delay: five", "DD204", "`five` is not a duration")
        .dry_alike("max_delay: 5ms", "max_delay: 1h")
        .delays(&[3, 5, 5])
}

/// Only what is named is tried again: a program's own failure is, and then a validation's is not.
fn errors() -> Keyword {
    Keyword::of_plan(
        "",
        &["it: { needs: [gate], retry: { attempts: 9, errors: [process.exit] }, uses: process.run, with: { argv: [sh, -c, 'echo try >> ledger; test $(wc -l < ledger) -ge 3'] }, validate: [{ name: it never holds, assert: outputs.exit_code == 1 }] }"],
    )
    .refuses("errors: [process.exit]", "errors: { process: exit }", "DD204", "errors")
    .dry_alike("errors: [process.exit]", "errors: any")
    .exit(21)
    .writes("ledger", "try\ntry\ntry\n")
    .shows("/steps/it/error/code", "validation")
}
