//! The values of a document, each at its place: [`Walk`], which follows the second YAML reader beside the arena of the first.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

use crate::source::{Place, Span};

use super::arena::{Arena, Flat, FlatKind};
use super::scalar::Plain;
use super::tree::{Entry, Node, Style, Text, Value};

/// One value of the second reader beside the node where the first one saw it.
pub(super) struct Walk<'a, 't> {
    arena: &'a Arena<'t>,
    ix: usize,
    index: u16,
    notes: &'a Notes,
}

/// What a walk keeps from one node to the next.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Where the readers did not read alike.
    pub(super) differ: Cell<Option<Span>>,
    /// The texts of keys, each kept once: a plan has few different ones.
    keys: RefCell<HashSet<Arc<str>>>,
}

impl<'a, 't> Walk<'a, 't> {
    /// A walk over a whole arena that has at least one node.
    pub(super) fn over(arena: &'a Arena<'t>, index: u16, notes: &'a Notes) -> Self {
        Self { arena, ix: 0, index, notes }
    }
}

impl Walk<'_, '_> {
    fn at(&self, ix: usize) -> Self {
        Walk { ix, ..*self }
    }

    fn flat(&self) -> &Flat<'_> {
        &self.arena.nodes[self.arena.resolved(self.ix)]
    }

    fn place(&self) -> Place {
        Place::new(self.index, self.flat().span)
    }

    /// Whether the first reader read this text here.
    fn is_text(&self, value: &str) -> bool {
        match &self.flat().kind {
            FlatKind::Scalar(text, style) => {
                text == value && (*style != Style::Plain || Plain::of(text) == Plain::Text)
            }
            _ => false,
        }
    }

    fn differ<T, E: serde::de::Error>(&self) -> Result<T, E> {
        self.notes.differ.set(Some(self.arena.nodes[self.ix].span));
        Err(E::custom("the readers differ"))
    }

    /// The value, when the first reader's plain scalar means the same.
    fn plain<E: serde::de::Error>(&self, plain: Plain, value: Value) -> Result<Node, E> {
        match &self.flat().kind {
            FlatKind::Scalar(text, Style::Plain) if Plain::of(text) == plain => {
                Ok(Node { place: self.place(), value })
            }
            _ => self.differ(),
        }
    }

    fn number<E: serde::de::Error>(&self, number: Number) -> Result<Node, E> {
        self.plain(Plain::Number(number.clone()), Value::Number(number))
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_, '_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_, '_> {
    type Value = Node;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Node, E> {
        self.plain(Plain::Null, Value::Null)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Node, E> {
        self.plain(Plain::Boolean(value), Value::Boolean(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Node, E> {
        self.number(value.into())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Node, E> {
        self.number(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Node, E> {
        match Number::from_f64(value) {
            Some(number) => self.number(number),
            None => self.differ(),
        }
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Node, E> {
        match &self.flat().kind {
            FlatKind::Scalar(_, style) if self.is_text(value) => Ok(Node {
                place: self.place(),
                value: Value::Text(Text { text: value.into(), style: *style }),
            }),
            _ => self.differ(),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        if !matches!(self.flat().kind, FlatKind::List) {
            return self.differ();
        }
        let mut items = Vec::with_capacity(self.flat().children);
        for child in self.arena.children(self.arena.resolved(self.ix)) {
            match list.next_element_seed(self.at(child))? {
                Some(item) => items.push(item),
                None => return self.at(child).differ(),
            }
        }
        if list.next_element::<serde::de::IgnoredAny>()?.is_some() {
            return self.differ();
        }
        Ok(Node { place: self.place(), value: Value::List(items) })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        if !matches!(self.flat().kind, FlatKind::Map) {
            return self.differ();
        }
        let mut entries = Vec::with_capacity(self.flat().children / 2);
        let mut children = self.arena.children(self.arena.resolved(self.ix));
        while let (Some(key), Some(value)) = (children.next(), children.next()) {
            let Some(text) = map.next_key_seed(KeyWalk(self.at(key)))? else {
                return self.at(key).differ();
            };
            let key_place = Place::new(self.index, self.arena.nodes[key].span);
            let value = map.next_value_seed(self.at(value))?;
            entries.push(Entry { key: text, key_place, value });
        }
        if map.next_key::<serde::de::IgnoredAny>()?.is_some() {
            return self.differ();
        }
        Ok(Node { place: self.place(), value: Value::Map(entries) })
    }
}

/// A key, which must be text.
struct KeyWalk<'a, 't>(Walk<'a, 't>);

impl<'de> DeserializeSeed<'de> for KeyWalk<'_, '_> {
    type Value = Arc<str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Arc<str>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for KeyWalk<'_, '_> {
    type Value = Arc<str>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a key that is text")
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Arc<str>, E> {
        if !self.0.is_text(value) {
            return self.0.differ();
        }
        let mut keys = self.0.notes.keys.borrow_mut();
        if let Some(key) = keys.get(value) {
            return Ok(key.clone());
        }
        let key: Arc<str> = value.into();
        keys.insert(key.clone());
        Ok(key)
    }
}
