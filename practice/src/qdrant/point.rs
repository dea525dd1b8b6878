//! Points: ids, vectors, payloads, and how near two vectors are. Main types: [`Point`], [`PointId`].

use std::fmt;

use serde::de::{Deserializer, Error, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};
use uuid::Uuid;

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
    pub(super) vector: Vec<f32>,
    pub(super) payload: Map<String, Value>,
    /// The operation that wrote it last.
    pub(super) version: u64,
}

/// How the nearness of two vectors is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Distance {
    Cosine,
    Dot,
    Euclid,
    Manhattan,
}

impl Distance {
    /// The vector as a collection of this distance keeps it.
    pub(super) fn stored(self, vector: Vec<f32>) -> Vec<f32> {
        let length = vector.iter().map(|x| x * x).sum::<f32>();
        // The real server leaves a vector alone that has no direction, or unit length already.
        if self != Self::Cosine || length < f32::EPSILON || (length - 1.0).abs() <= 1.0e-6 {
            return vector;
        }
        let length = length.sqrt();
        vector.into_iter().map(|x| x / length).collect()
    }

    /// The score of `point` for `query`, both as stored.
    pub(super) fn score(self, query: &[f32], point: &[f32]) -> f32 {
        let pairs = query.iter().zip(point);
        match self {
            Self::Cosine | Self::Dot => pairs.map(|(a, b)| a * b).sum(),
            Self::Euclid => pairs.map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt(),
            Self::Manhattan => pairs.map(|(a, b)| (a - b).abs()).sum(),
        }
    }

    /// Whether a score of `a` is better than one of `b`.
    pub(super) fn better(self, a: f32, b: f32) -> bool {
        match self {
            Self::Cosine | Self::Dot => a > b,
            Self::Euclid | Self::Manhattan => a < b,
        }
    }
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
    fn cosine_vectors_are_stored_as_recorded() {
        let stored = Distance::Cosine.stored(vec![0.142_857_15, 0.2, 0.333_333_34, 1.0]);
        for (stored, recorded) in stored.iter().zip([0.131_985_81, 0.184_780_14, 0.307_966_92, 0.923_900_66])
        {
            assert!((stored - recorded).abs() < 1.0e-6, "{stored} is not {recorded}");
        }
    }

    #[test]
    fn distances() {
        let cases = [(Distance::Dot, 11.0), (Distance::Euclid, 8.0f32.sqrt()), (Distance::Manhattan, 4.0)];
        for (distance, expected) in cases {
            assert_eq!(distance.score(&[1.0, 2.0], &[3.0, 4.0]), expected, "{distance:?}");
        }
        assert!(Distance::Euclid.better(1.0, 2.0) && Distance::Dot.better(2.0, 1.0));
    }

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
