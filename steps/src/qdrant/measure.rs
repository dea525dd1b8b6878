//! How a collection compares vectors: [`Measure`], read from its parameters.

use drydock_step::StepError;
use serde_json::Value;

/// One of a collection's vectors, and which of two scores is the better.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Measure {
    /// The vector's name; nothing where the collection has one without a name.
    pub(super) using: Option<String>,
    /// Whether points may well lack it: the collection has several.
    pub(super) one_of_several: bool,
    /// Whether a score is a distance, so that less is nearer: Euclid and Manhattan.
    pub(super) less_is_nearer: bool,
}

impl Measure {
    /// Of the vector of this name, or of the only one that there is. `params` is `config.params` of the collection.
    ///
    /// # Errors
    /// `input`, when there is no such vector, or several and none is named.
    pub(super) fn of(collection: &str, params: &Value, using: Option<&str>) -> Result<Self, StepError> {
        let vectors = params.get("vectors");
        // A vector may have the name `size`.
        let unnamed = vectors.filter(|vectors| vectors.get("size").is_some_and(Value::is_number));
        let named = vectors.filter(|_| unnamed.is_none()).and_then(Value::as_object);
        let sparse = params.get("sparse_vectors").and_then(Value::as_object);
        let mut all: Vec<(&str, Option<&Value>)> = Vec::new();
        all.extend(unnamed.map(|vector| ("", Some(vector))));
        all.extend(named.into_iter().flatten().map(|(name, vector)| (name.as_str(), Some(vector))));
        // Sparse vectors know the dot product alone.
        all.extend(sparse.into_iter().flatten().map(|(name, _)| (name.as_str(), None)));
        let names = || {
            let shown =
                all.iter().map(|(name, _)| if name.is_empty() { "one without a name" } else { *name });
            shown.collect::<Vec<_>>().join(", ")
        };
        let error = |why: &str| {
            StepError::new("input", format!("`using`: collection {collection} {why}: {}", names()))
        };
        let found = match (using, all.as_slice()) {
            (None, []) => {
                return Err(StepError::new("input", format!("collection {collection} has no vectors")));
            }
            (None, [only]) => *only,
            (None, several) => *several
                .iter()
                .find(|(name, _)| name.is_empty())
                .ok_or_else(|| error("has several vectors, and one must be named"))?,
            (Some(name), _) => *all
                .iter()
                .find(|(known, _)| *known == name)
                .ok_or_else(|| error(&format!("has no vector {name}")))?,
        };
        let distance = found.1.and_then(|vector| vector.get("distance")).and_then(Value::as_str);
        Ok(Self {
            using: Some(found.0.to_owned()).filter(|name| !name.is_empty()),
            one_of_several: all.len() > 1,
            less_is_nearer: matches!(distance, Some("Euclid" | "Manhattan")),
        })
    }

    /// Whether a score is as near as `wanted`, or nearer.
    pub(super) fn reaches(&self, score: f64, wanted: f64) -> bool {
        if self.less_is_nearer { score <= wanted } else { score >= wanted }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_vector_that_is_meant_is_found() {
        let check = |params: Value, using: Option<&str>, expected: (Option<&str>, bool, bool)| {
            let found = Measure::of("c", &params, using).unwrap();
            assert_eq!(
                (found.using.as_deref(), found.one_of_several, found.less_is_nearer),
                expected,
                "{params}"
            );
        };
        let one = json!({ "vectors": { "size": 4, "distance": "Cosine" } });
        check(one.clone(), None, (None, false, false));
        let with_sparse =
            json!({ "vectors": { "size": 4, "distance": "Euclid" }, "sparse_vectors": { "words": {} } });
        check(with_sparse.clone(), None, (None, true, true));
        check(with_sparse, Some("words"), (Some("words"), true, false));
        check(
            json!({ "vectors": { "text": { "size": 4, "distance": "Manhattan" } } }),
            None,
            (Some("text"), false, true),
        );
        let two = json!({ "vectors": { "a": { "size": 4, "distance": "Dot" }, "b": { "size": 2, "distance": "Euclid" } } });
        check(two.clone(), Some("b"), (Some("b"), true, true));
        let named_so = json!({ "vectors": { "size": { "size": 4, "distance": "Euclid" } } });
        check(named_so, Some("size"), (Some("size"), false, true));
        let refused = |params: &Value, using: Option<&str>, words: &str| {
            let error = Measure::of("c", params, using).unwrap_err();
            assert_eq!((error.code.as_str(), error.message.as_str()), ("input", words));
        };
        refused(&two, None, "`using`: collection c has several vectors, and one must be named: a, b");
        refused(&one, Some("a"), "`using`: collection c has no vector a: one without a name");
        refused(&json!({}), None, "collection c has no vectors");
    }

    #[test]
    fn a_distance_is_the_better_the_less_it_is() {
        let of = |distance: &str| {
            Measure::of("c", &json!({ "vectors": { "size": 1, "distance": distance } }), None).unwrap()
        };
        assert!(of("Cosine").reaches(0.9, 0.8) && !of("Dot").reaches(0.7, 0.8));
        assert!(of("Euclid").reaches(0.7, 0.8) && !of("Manhattan").reaches(0.9, 0.8));
    }
}
