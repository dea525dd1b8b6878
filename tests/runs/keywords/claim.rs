//! The keys of a claim about one place of an answer.

use super::keyword::Keyword;
use super::requests::sent;

keywords! { path equals contains exists at_least }

/// A file whose only request claims this of its answer, which holds.
fn claimed(claim: &str) -> Keyword {
    sent(&format!(
        "drydock: v1\nrequests:\n  - {{ path: /here, expect: {{ json: [ {{ {claim} }} ] }}, capture: {{ at: path }} }}\n"
    ))
    .shows("/steps/it/outputs/at", "/here")
}

/// Claims something that does not hold.
fn denied(claim: &str) -> Keyword {
    sent(&format!("drydock: v1\nrequests:\n  - {{ path: /here, expect: {{ json: [ {{ {claim} }} ] }} }}\n"))
        .exit(20)
        .shows("/steps/it/error/code", "http.assert")
}

fn path() -> Keyword {
    claimed("path: result.status, equals: disabled")
        .refuses("result.status", "'result[x]'", "DD204", "is not a path")
        .dry_alike("result.status", "result")
        .run_alike("result.status", "$.result.status")
}

fn equals() -> Keyword {
    denied("path: method, equals: PUT")
        .refuses("equals: PUT", "equal: PUT", "DD202", "a claim about JSON has no key `equal`")
        .dry_alike("equals: PUT", "equals: POST")
        .run_alike("equals: PUT", "equals: POST")
}

fn contains() -> Keyword {
    denied("path: path, contains: there")
        .refuses("contains: there", "contain: there", "DD202", "a claim about JSON has no key `contain`")
        .dry_alike("contains: there", "contains: here")
}

fn exists() -> Keyword {
    denied("path: nothing, exists: true")
        .refuses("exists: true", "exists: 1", "DD204", "`exists` must be true or false")
        .refuses(", exists: true", "", "DD230", "nothing is said about `nothing`")
        .dry_alike("exists: true", "exists: false")
}

fn at_least() -> Keyword {
    claimed("path: path, at_least: 5")
        .refuses("at_least: 5", "at_least: five", "DD204", "`at_least` must be a number")
        .dry_alike("at_least: 5", "at_least: 6")
        .run_alike("at_least: 5", "at_least: 4.5")
}
