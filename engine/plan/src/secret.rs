//! Where a secret comes from, as it is written: `{ env: NAME }`, `{ file: PATH }`, `{ command: [prog, arg] }`.

use crate::codes;
use crate::finding::{Finding, Findings};
use crate::model::SecretSource;
use crate::source::Place;
use crate::suggest::nearest;
use crate::syntax::tree::{Entry, Node, Value};

/// The three ways to say where a secret is.
pub(crate) const WAYS: &str = "`{ env: NAME }`, `{ file: PATH }` or `{ command: [PROGRAM, ARGUMENT] }`";
const KEYS: [&str; 3] = ["env", "file", "command"];

/// Whether a value looks like a source of a secret: a mapping of one key, and that key is one of the three.
pub(crate) fn looks_like_one(node: &Node) -> bool {
    matches!(node.map(), Some([only]) if KEYS.contains(&&*only.key))
}

/// The source that this value is, for the secret called `what`; it is found when it is none.
pub(crate) fn source_of(node: &Node, at: Place, what: &str, findings: &mut Findings) -> Option<SecretSource> {
    let Some(entries) = node.map() else {
        findings.push(in_plain(node, at, what));
        return None;
    };
    let [entry] = entries else {
        findings.push(malformed(node.place, what, "a source has exactly one key"));
        return None;
    };
    match (&*entry.key, &entry.value.value) {
        ("env", Value::Text(text)) if is_variable(&text.text) => {
            Some(SecretSource::Env(text.text.to_string()))
        }
        ("env", _) => refuse(entry, what, "a variable's name has letters, digits and `_`", findings),
        ("file", Value::Text(text)) if !text.text.is_empty() => {
            Some(SecretSource::File(text.text.to_string()))
        }
        ("file", _) => refuse(entry, what, "this must be a path", findings),
        ("command", Value::List(items)) => {
            match items.iter().map(|item| item.text().map(str::to_owned)).collect::<Option<Vec<_>>>() {
                Some(argv) if !argv.is_empty() => Some(SecretSource::Command(argv)),
                _ => refuse(entry, what, "a program and its arguments, each text", findings),
            }
        }
        ("command", _) => {
            refuse(entry, what, "this must be a list: the program, then its arguments", findings)
        }
        (key, _) => {
            let mut finding = malformed(entry.key_place, what, "no way to a secret");
            if let Some(near) = nearest(key, KEYS) {
                finding = finding.help(format!("did you mean `{near}`?")).suggestion(near);
            }
            findings.push(finding);
            None
        }
    }
}

fn is_variable(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn refuse(entry: &Entry, what: &str, label: &str, findings: &mut Findings) -> Option<SecretSource> {
    findings.push(malformed(entry.value_place(), what, label));
    None
}

fn malformed(place: Place, what: &str, label: &str) -> Finding {
    Finding::error(codes::SECRET_SOURCE, place, format!("this is no source of the secret {what}"))
        .label(label)
        .help(format!("write {WAYS}"))
}

/// The finding for a secret that stands in a file as plain text. The text itself is not repeated.
pub(crate) fn in_plain(node: &Node, at: Place, what: &str) -> Finding {
    let place = if node.place.span.start == node.place.span.end { at } else { node.place };
    Finding::error(codes::SECRET_IN_PLAIN, place, format!("the secret {what} stands in plain text"))
        .label("anyone who reads the file reads it")
        .help(format!("say where it is kept instead: {WAYS}"))
}
