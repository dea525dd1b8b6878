//! The vectors of points: one without a name or several with, dense or sparse, and how near two are. Main types:
//! [`Vectors`], [`Distance`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::refusal::Refusal;

/// The name of the vector that has none.
pub(super) const UNNAMED: &str = "";

/// What a point has, by name.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(from = "VectorStruct", into = "VectorStruct")]
pub(super) struct Vectors(pub(super) BTreeMap<String, Vector>);

/// One vector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Vector {
    Dense(Vec<f32>),
    Sparse(Sparse),
}

/// A vector with few values that are not zero. As stored, in the order of the indices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sparse {
    indices: Vec<u32>,
    values: Vec<f32>,
}

/// Vectors as they are sent and shown. Named for the error text of the real server, which has a type of this name.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum VectorStruct {
    Single(Vec<f32>),
    Named(BTreeMap<String, Vector>),
}

/// Which vectors are wanted.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum WithVector {
    All(bool),
    Named(Vec<String>),
}

/// How the nearness of two vectors is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Distance {
    Cosine,
    Dot,
    Euclid,
    Manhattan,
}

impl From<VectorStruct> for Vectors {
    fn from(sent: VectorStruct) -> Self {
        Self(match sent {
            VectorStruct::Single(vector) => [(UNNAMED.to_owned(), Vector::Dense(vector))].into(),
            VectorStruct::Named(by_name) => by_name,
        })
    }
}

impl From<Vectors> for VectorStruct {
    fn from(Vectors(by_name): Vectors) -> Self {
        match by_name.get(UNNAMED) {
            Some(Vector::Dense(only)) if by_name.len() == 1 => Self::Single(only.clone()),
            _ => Self::Named(by_name),
        }
    }
}

impl Vectors {
    /// The vector of this name.
    pub(super) fn get(&self, name: &str) -> Option<&Vector> {
        self.0.get(name)
    }

    /// Those of them that are wanted; nothing where none is.
    pub(super) fn shown(&self, wanted: &WithVector) -> Option<Self> {
        match wanted {
            WithVector::All(all) => all.then(|| self.clone()),
            WithVector::Named(names) => {
                let chosen = self.0.iter().filter(|(name, _)| names.contains(name));
                Some(Self(chosen.map(|(name, vector)| (name.clone(), vector.clone())).collect()))
            }
        }
    }
}

impl Default for WithVector {
    fn default() -> Self {
        Self::All(false)
    }
}

impl Vector {
    /// Refuses a sparse vector that is none.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        let Self::Sparse(Sparse { indices, values }) = self else { return Ok(()) };
        let mut sorted = indices.clone();
        sorted.sort_unstable();
        sorted.dedup();
        let wrong = if indices.len() != values.len() {
            "values: must be the same length as indices"
        } else if sorted.len() != indices.len() {
            "indices: must be unique"
        } else {
            return Ok(());
        };
        Err(Refusal::Invalid(format!("JSON body: [{wrong}]")))
    }

    /// The vector as a collection keeps it that measures it so.
    pub(super) fn stored(self, distance: Distance) -> Self {
        match self {
            Self::Dense(vector) => Self::Dense(distance.stored(vector)),
            Self::Sparse(Sparse { indices, values }) => {
                let mut pairs: Vec<(u32, f32)> = indices.into_iter().zip(values).collect();
                pairs.sort_unstable_by_key(|(index, _)| *index);
                let (indices, values) = pairs.into_iter().unzip();
                Self::Sparse(Sparse { indices, values })
            }
        }
    }

    /// The score of `point` for this one, both as stored; nothing where there is nothing to compare: two sparse
    /// vectors without a common index do not find each other.
    pub(super) fn score(&self, point: &Self, distance: Distance) -> Option<f32> {
        match (self, point) {
            (Self::Dense(query), Self::Dense(point)) => Some(distance.score(query, point)),
            (Self::Sparse(query), Self::Sparse(point)) => query.score(point),
            _ => None,
        }
    }
}

impl Sparse {
    fn score(&self, other: &Self) -> Option<f32> {
        let others: BTreeMap<u32, f32> =
            other.indices.iter().copied().zip(other.values.iter().copied()).collect();
        let pairs = self.indices.iter().zip(&self.values);
        let common: Vec<f32> =
            pairs.filter_map(|(index, value)| others.get(index).map(|other| value * other)).collect();
        (!common.is_empty()).then(|| common.iter().sum())
    }
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
    fn score(self, query: &[f32], point: &[f32]) -> f32 {
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

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
    fn vectors_are_shown_as_they_were_sent() {
        let read = |sent: &Value| serde_json::from_value::<Vectors>(sent.clone());
        for sent in [
            json!([1.0, 2.0]),
            json!({}),
            json!({"a": [1.0], "s": {"indices": [3, 7], "values": [0.5, 1.0]}}),
            json!({"": [1.0], "s": {"indices": [], "values": []}}),
        ] {
            assert_eq!(json!(read(&sent).unwrap()), sent);
        }
        for other in [json!([[1.0]]), json!("text"), json!({"a": {"text": "x", "model": "m"}})] {
            let error = read(&other).unwrap_err().to_string();
            assert_eq!(error, "data did not match any variant of untagged enum VectorStruct", "{other}");
        }
    }

    #[test]
    fn sparse_vectors() {
        let sparse = |indices: &[u32], values: &[f32]| {
            Vector::Sparse(Sparse { indices: indices.into(), values: values.into() })
        };
        let stored = sparse(&[7, 3], &[1.0, 0.5]).stored(Distance::Dot);
        assert_eq!(stored, sparse(&[3, 7], &[0.5, 1.0]), "in the order of the indices");
        assert_eq!(sparse(&[7, 9], &[2.0, 4.0]).score(&stored, Distance::Dot), Some(2.0));
        assert_eq!(sparse(&[9], &[4.0]).score(&stored, Distance::Dot), None);
        assert_eq!(sparse(&[9], &[4.0]).score(&Vector::Dense(vec![1.0]), Distance::Dot), None);
        let refused = |vector: Vector| vector.check().unwrap_err().to_string();
        assert!(refused(sparse(&[1, 2], &[1.0])).contains("must be the same length as indices"));
        assert!(refused(sparse(&[1, 1], &[1.0, 2.0])).contains("indices: must be unique"));
    }
}
