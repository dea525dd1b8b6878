//! Points: ids, vectors and payloads. Main types: [`Point`], [`PointId`].

use std::fmt;

use serde::de::{Deserializer, Error, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::vector::Vectors;

/// The id of a point. Numbers come before UUIDs, as in a scroll of the real server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum PointId {
    Number(u64),
    Uuid(Uuid),
}

/// A point as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Point {
    /// Normalised where the distance is Cosine.
    pub(super) vectors: Vectors,
    pub(super) payload: Map<String, Value>,
    /// The operation that wrote it last.
    pub(super) version: u64,
}

impl PointId {
    /// Reads an id as it stands in a path.
    pub(super) fn parse(text: &str) -> Option<Self> {
        text.parse().map(Self::Number).ok().or_else(|| text.parse().map(Self::Uuid).ok())
    }
}

impl fmt::Display for PointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Uuid(uuid) => write!(f, "{uuid}"),
        }
    }
}

impl Serialize for PointId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Uuid(uuid) => serializer.collect_str(uuid),
        }
    }
}

impl<'de> Deserialize<'de> for PointId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PointIdVisitor)
    }
}

struct PointIdVisitor;

impl Visitor<'_> for PointIdVisitor {
    type Value = PointId;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a valid point ID, which is either an unsigned integer or a UUID")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<PointId, E> {
        Ok(PointId::Number(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<PointId, E> {
        text.parse().map(PointId::Uuid).map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_numbers_first_and_refuse_the_rest() {
        let mut ids: Vec<PointId> =
            serde_json::from_str(r#"["00000000-0000-0000-0000-000000000001", 10, 9]"#).unwrap();
        ids.sort();
        assert_eq!(serde_json::to_string(&ids).unwrap(), r#"[9,10,"00000000-0000-0000-0000-000000000001"]"#);
        let error = serde_json::from_str::<PointId>("\"seven\"").unwrap_err().to_string();
        assert!(error.contains("either an unsigned integer or a UUID"), "{error}");
    }
}
