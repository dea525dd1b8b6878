//! The texts of a document that hold a secret: [`secrets_in`].

use crate::finding::Findings;
use crate::plain_secret::{in_plain, plain_secret};

use super::tree::{Entry, Node, Value};

/// Found: texts in these entries, however deep, that hold a secret. They belong to this step, or to a request.
pub(crate) fn secrets_in(entries: &[Entry], step: Option<&str>, findings: &mut Findings) {
    for entry in entries {
        secrets_in_value(&entry.value, &entry.key, step, findings);
    }
}

fn secrets_in_value(node: &Node, key: &str, step: Option<&str>, findings: &mut Findings) {
    match &node.value {
        Value::Text(text) => {
            if let Some(words) = plain_secret(&text.text) {
                let owner = step.map_or("this request".to_owned(), |name| format!("`{name}`"));
                let message = format!("`{key}` of {owner} holds {words} in plain text");
                findings.push(in_plain(node.place, message));
            }
        }
        Value::List(items) => items.iter().for_each(|item| secrets_in_value(item, key, step, findings)),
        Value::Map(entries) => secrets_in(entries, step, findings),
        Value::Null | Value::Boolean(_) | Value::Number(_) => {}
    }
}
