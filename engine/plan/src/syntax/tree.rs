//! A YAML document as it was written, every part with its place: [`Node`].

use std::sync::Arc;

use serde_json::Number;

use crate::source::{Place, Span};

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where: with its quotes or braces; a block text without its header.
    pub place: Place,
    /// What.
    pub value: Value,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing, `null` or `~`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A finite number; whole ones fit 64 bits.
    Number(Number),
    /// Text.
    Text(Text),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in written order, no key twice.
    Map(Vec<Entry>),
}

/// A text and how it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The text itself.
    pub text: Arc<str>,
    /// How it was written.
    pub style: Style,
}

/// How a scalar is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// As it is.
    Plain,
    /// In `'`.
    Single,
    /// In `"`, with escapes.
    Double,
    /// After `|` or `>`.
    Block,
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: Arc<str>,
    /// Where the key stands.
    pub key_place: Place,
    /// Its value.
    pub value: Node,
}

impl Entry {
    /// Where the reader should look for the value: the value's own place, or the key's where the value is written as nothing.
    pub fn value_place(&self) -> Place {
        if self.value.place.span.start == self.value.place.span.end {
            self.key_place
        } else {
            self.value.place
        }
    }
}

impl Node {
    /// The text, when it is one.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(&text.text),
            _ => None,
        }
    }

    /// The entries, when it is a mapping.
    pub fn map(&self) -> Option<&[Entry]> {
        match &self.value {
            Value::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The entry of this key, when it is a mapping that has one.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.map()?.iter().find(|entry| &*entry.key == key)
    }

    /// What it is, in a word or two, for messages.
    pub fn words(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Boolean(_) => "true or false",
            Value::Number(number) if number.is_f64() => "a number",
            Value::Number(_) => "a whole number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// As JSON, without its places.
    pub fn json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Boolean(value) => (*value).into(),
            Value::Number(number) => serde_json::Value::Number(number.clone()),
            Value::Text(text) => serde_json::Value::String(text.text.to_string()),
            Value::List(items) => items.iter().map(Self::json).collect(),
            Value::Map(entries) => serde_json::Value::Object(
                entries.iter().map(|entry| (entry.key.to_string(), entry.value.json())).collect(),
            ),
        }
    }
}

/// A part of the source's text, for a node of one line; the whole for others.
pub fn first_line(source: &str, span: Span) -> Span {
    let text = source.get(span.range()).unwrap_or("");
    match text.find('\n') {
        Some(end) => span.part(0, text[..end].trim_end().len()),
        None => span,
    }
}
