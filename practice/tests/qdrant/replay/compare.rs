//! When a found answer is the recorded one: same shape, and the same values where a server has no choice.
//! Main type: [`Learned`].

use std::collections::BTreeMap;

use reqwest::header::HeaderMap;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// Values that a server chooses and that only have the form of the recorded ones.
const CHOSEN: [&str; 9] =
    ["time", "size", "commit", "last_update", "uri", "leader", "term", "creation_time", "role"];

/// Values that are chosen once and come again: recorded to found.
const NAMED: [&str; 3] = ["name", "checksum", "peer_id"];

/// What the recorded values are called here.
#[derive(Default)]
pub(super) struct Learned {
    names: BTreeMap<String, String>,
    checksums: Vec<Value>,
}

impl Learned {
    pub(super) fn learn(&mut self, recorded: &str, found: &str) {
        self.names.insert(recorded.to_owned(), found.to_owned());
    }

    /// A recorded text in today's names, the longest first.
    pub(super) fn translate(&self, text: &str) -> String {
        let mut names: Vec<_> = self.names.iter().collect();
        names.sort_by_key(|(recorded, _)| std::cmp::Reverse(recorded.len()));
        names.into_iter().fold(text.to_owned(), |text, (recorded, found)| text.replace(recorded, found))
    }

    pub(super) fn translate_all(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.translate(text)),
            Value::Array(values) => values.iter().map(|value| self.translate_all(value)).collect(),
            Value::Object(fields) => {
                let fields = fields.iter().map(|(key, value)| (key.clone(), self.translate_all(value)));
                Value::Object(fields.collect())
            }
            other => other.clone(),
        }
    }

    /// The checksums that were found so far.
    pub(super) fn checksums_found(&self) -> &[Value] {
        &self.checksums
    }

    pub(super) fn compare(&mut self, recorded: &Value, found: &Value, place: &str) {
        match (recorded, found) {
            (Value::Object(recorded), Value::Object(found)) => self.fields(recorded, found, place),
            (Value::Array(recorded), Value::Array(found)) => self.elements(recorded, found, place),
            (Value::String(recorded), Value::String(found)) => {
                assert_eq!(words(&self.translate(recorded)), words(found), "{place}");
            }
            (Value::Number(_), Value::Number(_)) => {
                let (recorded, found) = (recorded.as_f64().unwrap(), found.as_f64().unwrap());
                assert!((recorded - found).abs() < 1.0e-5, "{place}: {found} is not {recorded}");
            }
            _ => assert_eq!(recorded, found, "{place}"),
        }
    }

    fn fields(&mut self, recorded: &Map<String, Value>, found: &Map<String, Value>, place: &str) {
        if place.ends_with(".peers") {
            assert_eq!(recorded.len(), found.len(), "{place}");
            return;
        }
        let keys = |fields: &Map<String, Value>| fields.keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(recorded), keys(found), "{place}: keys in their order");
        for (key, recorded) in recorded {
            let (found, place) = (&found[key], format!("{place}.{key}"));
            if CHOSEN.contains(&key.as_str()) && !place.ends_with(" /.commit") {
                same_form(recorded, found, &place);
            } else if NAMED.contains(&key.as_str()) {
                self.named(recorded, found, &place);
            } else {
                self.compare(recorded, found, &place);
            }
        }
    }

    fn elements(&mut self, recorded: &[Value], found: &[Value], place: &str) {
        let (mut recorded, mut found) = (recorded.to_vec(), found.to_vec());
        if place.ends_with(".local_shards") || place.ends_with(".remote_shards") {
            // Where a shard lies is the server's choice; who has how many is compared at the end.
            for (recorded, found) in recorded.iter().zip(&found) {
                let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
                assert_eq!((keys(recorded), &recorded["state"]), (keys(found), &found["state"]), "{place}");
            }
            return;
        }
        if place.ends_with(".collections") {
            recorded.sort_by_key(Value::to_string);
            found.sort_by_key(Value::to_string);
        }
        assert_eq!(recorded.len(), found.len(), "{place}: how many");
        for (at, (recorded, found)) in recorded.iter().zip(&found).enumerate() {
            self.compare(recorded, found, &format!("{place}[{at}]"));
        }
    }

    fn named(&mut self, recorded: &Value, found: &Value, place: &str) {
        same_form(recorded, found, place);
        if let (Some(recorded), Some(found)) = (recorded.as_str(), found.as_str()) {
            if place.ends_with(".checksum") {
                self.checksums.push(found.into());
            } else if !recorded.ends_with(".snapshot") {
                assert_eq!(recorded, found, "{place}: a name that the client gave");
            }
            self.learn(recorded, found);
        } else {
            self.learn(&recorded.to_string(), &found.to_string());
        }
    }
}

/// The same type; a text also has digits, letters and signs in the same places, where it is not too free.
#[track_caller]
fn same_form(recorded: &Value, found: &Value, place: &str) {
    match (recorded, found) {
        (Value::Number(_), Value::Number(_)) => {}
        (Value::String(recorded), Value::String(found)) if place.ends_with("role") => {
            assert_eq!(recorded.is_empty(), found.is_empty(), "{place}");
        }
        (Value::String(recorded), Value::String(found)) => {
            let form = |text: &str| -> String {
                let hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
                text.chars().map(|c| if hex || c.is_ascii_digit() { '0' } else { c }).collect()
            };
            assert_eq!(form(recorded), form(found), "{place}: form");
        }
        _ => panic!("{place}: {found} has not the type of {recorded}"),
    }
}

/// A text whose paths, which are the server's own, do not count.
fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().map(|word| if word.contains('/') { "<path>" } else { word }).collect()
}

/// The headers that a client relies on.
pub(super) fn headers(recorded: &Map<String, Value>, found: &HeaderMap, length: usize, place: &str) {
    let text = |name: &str| found.get(name).map(|value| value.to_str().unwrap());
    for name in ["content-type", "accept-ranges"] {
        assert_eq!(recorded.get(name).and_then(Value::as_str), text(name), "{place}: {name}");
    }
    for name in ["etag", "last-modified", "content-disposition"] {
        assert_eq!(recorded.contains_key(name), text(name).is_some(), "{place}: {name}");
    }
    let length = length.to_string();
    assert_eq!(text("content-length"), Some(length.as_str()), "{place}: content-length");
    if let (Some(recorded), Some(found)) = (recorded.get("last-modified"), text("last-modified")) {
        let form = |text: &str| text.len() == 29 && text.ends_with(" GMT");
        assert_eq!(form(recorded.as_str().unwrap()), form(found), "{place}: {found}");
    }
    if let Some(disposition) = text("content-disposition") {
        assert!(disposition.starts_with("attachment; filename=\""), "{place}: {disposition}");
    }
}

/// SHA-256 in hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
