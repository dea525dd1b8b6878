//! `retry` of a step, as it was written: [`retry`].

use crate::codes;
use crate::finding::{Finding, Findings};
use crate::model::{Backoff, Retry, RetryOn};

use super::fields::{Fields, Spanned, at_value};
use super::keys::RETRY;
use super::tree::{Entry, Node, Value};

/// The retry under this key; the default where it cannot be read.
pub(super) fn retry(entry: &Entry, findings: &mut Findings) -> Retry {
    let Some(fields) = Fields::of(&entry.value, entry.key_place, &RETRY, findings) else {
        return Retry::default();
    };
    let default = Retry::default();
    let delay = fields.duration("delay", findings);
    let max_delay = fields.duration("max_delay", findings);
    if let (Some(delay), Some(max)) = (delay, max_delay)
        && max.value < delay.value
    {
        findings.push(
            Finding::error(
                codes::RETRY,
                max.place,
                format!("`max_delay` is shorter than `delay` ({})", delay.value),
            )
            .label("shorter than the first delay")
            .help(format!("make it at least `{}`, or leave it out", delay.value))
            .related(delay.place, "the first delay"),
        );
    }
    let attempts = fields.positive("attempts", findings);
    without_effect(&fields, attempts, findings);
    Retry {
        attempts: attempts.map_or(default.attempts, |number| number.value),
        delay: delay.map_or(default.delay, |duration| duration.value),
        backoff: match fields.one_of("backoff", findings).map(|word| word.value) {
            Some("linear") => Backoff::Linear,
            Some("exponential") => Backoff::Exponential,
            _ => Backoff::None,
        },
        max_delay: max_delay.map(|duration| duration.value),
        errors: fields.get("errors").map_or(default.errors, |(_, entry)| retry_errors(entry, findings)),
    }
}

/// Keys of a retry that say nothing: about the next try where there is none, about a delay that is not given.
fn without_effect(fields: &Fields<'_>, attempts: Option<Spanned<u32>>, findings: &mut Findings) {
    let warning = |place, message: &str, label: &str, help: &str| {
        Finding::warning(codes::NO_EFFECT, place, message).label(label).help(help)
    };
    if let Some(attempts) = attempts.filter(|attempts| attempts.value == 1) {
        let help = "`attempts` counts the first try too: write at least 2, or remove `retry`";
        findings.push(warning(attempts.place, "one attempt is no retry", "never tried again", help));
    } else if fields.entry("delay").is_none() {
        for key in ["backoff", "max_delay"] {
            if let Some(entry) = fields.entry(key) {
                let message = format!("`{key}` says something about a `delay`, and there is none");
                findings.push(warning(
                    entry.key_place,
                    &message,
                    "without `delay`",
                    "add for example `delay: 10s`",
                ));
            }
        }
    }
}

/// One class of errors, or a list of them.
fn retry_errors(entry: &Entry, findings: &mut Findings) -> Vec<RetryOn> {
    let items = match &entry.value.value {
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(&entry.value),
    };
    let class = |item: &Node| match item.text()? {
        "transient" => Some(RetryOn::Transient),
        "timeout" => Some(RetryOn::Timeout),
        "validation" => Some(RetryOn::Validation),
        "any" => Some(RetryOn::Any),
        code => Some(RetryOn::Code(code.to_owned())),
    };
    let read = |item: &Node| match (&item.value, class(item)) {
        (Value::Number(number), _) => Some(RetryOn::Code(number.to_string())),
        (_, class) => class,
    };
    let mut errors = Vec::new();
    for item in items {
        match read(item) {
            Some(error) => errors.push(error),
            None => findings.push(
                Finding::error(
                    codes::WRONG_TYPE,
                    at_value(item, entry.key_place),
                    "`errors` lists error classes or codes",
                )
                .label(format!("this is {}", item.words()))
                .help("write for example `errors: [transient, timeout]`"),
            ),
        }
    }
    errors
}
