//! Which points a filter lets through. Main type: [`Filter`].

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::point::{Point, PointId};

/// Conditions that must hold, of which one should hold, and that must not hold.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    #[serde(default, deserialize_with = "one_or_many")]
    must: Vec<Condition>,
    #[serde(default, deserialize_with = "one_or_many")]
    should: Vec<Condition>,
    #[serde(default, deserialize_with = "one_or_many")]
    must_not: Vec<Condition>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Condition {
    Field(FieldCondition),
    IsEmpty(IsEmpty),
    IsNull(IsNull),
    HasId(HasId),
    HasVector(HasVector),
    Nested(Filter),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldCondition {
    key: String,
    #[serde(rename = "match")]
    matches: Option<Match>,
    range: Option<Range>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct IsEmpty {
    is_empty: Key,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct IsNull {
    is_null: Key,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct HasId {
    has_id: Vec<PointId>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct HasVector {
    has_vector: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    key: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Match {
    Value(Scalar),
    Any(Vec<Scalar>),
    Except(Vec<Scalar>),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Scalar {
    Bool(bool),
    Integer(i64),
    Text(String),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    lt: Option<f64>,
    gt: Option<f64>,
    lte: Option<f64>,
    gte: Option<f64>,
}

impl Filter {
    /// Whether the point with this id passes.
    pub(super) fn passes(&self, id: &PointId, point: &Point) -> bool {
        let holds = |condition: &Condition| condition.holds(id, point);
        self.must.iter().all(holds)
            && (self.should.is_empty() || self.should.iter().any(holds))
            && !self.must_not.iter().any(holds)
    }
}

impl Condition {
    fn holds(&self, id: &PointId, point: &Point) -> bool {
        let payload = &point.payload;
        match self {
            Self::Field(condition) => condition.holds(payload),
            Self::IsEmpty(IsEmpty { is_empty }) => values_at(payload, &is_empty.key).all(Value::is_null),
            Self::IsNull(IsNull { is_null }) => values_at(payload, &is_null.key).any(Value::is_null),
            Self::HasId(HasId { has_id }) => has_id.contains(id),
            Self::HasVector(HasVector { has_vector }) => point.vectors.get(has_vector).is_some(),
            Self::Nested(filter) => filter.passes(id, point),
        }
    }
}

impl FieldCondition {
    fn holds(&self, payload: &Map<String, Value>) -> bool {
        values_at(payload, &self.key).any(|value| {
            self.matches.as_ref().is_none_or(|wanted| wanted.holds(value))
                && self.range.as_ref().is_none_or(|range| range.holds(value))
        })
    }
}

impl Match {
    fn holds(&self, value: &Value) -> bool {
        match self {
            Self::Value(wanted) => wanted.equals(value),
            Self::Any(wanted) => wanted.iter().any(|wanted| wanted.equals(value)),
            Self::Except(unwanted) => !unwanted.iter().any(|unwanted| unwanted.equals(value)),
        }
    }
}

impl Scalar {
    fn equals(&self, value: &Value) -> bool {
        match self {
            Self::Bool(wanted) => value.as_bool() == Some(*wanted),
            Self::Integer(wanted) => value.as_i64() == Some(*wanted),
            Self::Text(wanted) => value.as_str() == Some(wanted),
        }
    }
}

impl Range {
    fn holds(&self, value: &Value) -> bool {
        value.as_f64().is_some_and(|value| {
            self.lt.is_none_or(|end| value < end)
                && self.gt.is_none_or(|end| value > end)
                && self.lte.is_none_or(|end| value <= end)
                && self.gte.is_none_or(|end| value >= end)
        })
    }
}

/// The values at a dotted key; the elements of an array count one by one.
fn values_at<'a>(payload: &'a Map<String, Value>, key: &str) -> impl Iterator<Item = &'a Value> {
    let mut parts = key.split('.').map(|part| part.trim_end_matches("[]"));
    let mut found: Vec<&Value> = parts.next().and_then(|part| payload.get(part)).into_iter().collect();
    for part in parts {
        found = found.into_iter().flat_map(elements).filter_map(|value| value.get(part)).collect();
    }
    found.into_iter().flat_map(elements)
}

fn elements(value: &Value) -> &[Value] {
    match value {
        Value::Array(values) => values,
        value => std::slice::from_ref(value),
    }
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Condition>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        Many(Vec<Condition>),
        One(Box<Condition>),
    }
    Ok(match Option::deserialize(deserializer)? {
        None => Vec::new(),
        Some(OneOrMany::Many(conditions)) => conditions,
        Some(OneOrMany::One(condition)) => vec![*condition],
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(filter: Value, passes: bool) {
        let payload = json!({
            "agent_id": "a1", "chunk": 3, "score": 0.5, "live": true, "none": null, "empty": [],
            "tags": ["red", "blue"], "doc": {"title": "Tide"}, "parts": [{"n": 1}, {"n": 2}]
        });
        let Value::Object(payload) = payload else { unreachable!() };
        let vectors = serde_json::from_value(json!({"text": [1.0]})).unwrap();
        let point = Point { vectors, payload, version: 1 };
        let read: Filter = serde_json::from_value(filter.clone()).unwrap();
        assert_eq!(read.passes(&PointId::Number(7), &point), passes, "{filter}");
    }

    #[test]
    fn conditions() {
        check(json!({}), true);
        check(json!({"must": [{"key": "agent_id", "match": {"value": "a1"}}]}), true);
        check(json!({"must": {"key": "agent_id", "match": {"value": "a2"}}}), false);
        check(json!({"must": [{"key": "chunk", "match": {"value": "3"}}]}), false);
        check(json!({"must": [{"key": "live", "match": {"value": true}}]}), true);
        check(json!({"must": [{"key": "tags", "match": {"any": ["green", "blue"]}}]}), true);
        check(json!({"must": [{"key": "agent_id", "match": {"except": ["a1"]}}]}), false);
        check(json!({"must": [{"key": "score", "range": {"gte": 0.5, "lt": 0.6}}]}), true);
        check(json!({"must": [{"key": "score", "range": {"gt": 0.5}}]}), false);
        check(json!({"must": [{"has_id": [6, 7]}]}), true);
        check(json!({"must_not": [{"has_id": [7]}]}), false);
        check(json!({"should": [{"has_id": [6]}, {"key": "doc.title", "match": {"value": "Tide"}}]}), true);
        check(json!({"should": [{"has_id": [6]}]}), false);
        check(json!({"must": [{"has_vector": "text"}]}), true);
        check(json!({"must": [{"has_vector": "image"}]}), false);
        check(json!({"must": [{"key": "parts[].n", "match": {"value": 2}}]}), true);
        check(json!({"must": [{"must_not": [{"has_id": [6]}]}]}), true);
    }

    #[test]
    fn emptiness() {
        for (key, empty) in [("absent", true), ("none", true), ("empty", true), ("tags", false)] {
            check(json!({"must": [{"is_empty": {"key": key}}]}), empty);
        }
        check(json!({"must": [{"is_null": {"key": "none"}}]}), true);
        check(json!({"must": [{"is_null": {"key": "absent"}}]}), false);
    }

    #[test]
    fn what_is_not_done_is_refused() {
        for filter in [
            json!({"must": [{"key": "text", "match": {"text": "tide"}}]}),
            json!({"must": [{"key": "at", "range": {"gte": "2026-01-01"}}]}),
            json!({"min_should": {"conditions": [], "min_count": 1}}),
        ] {
            let error = serde_json::from_value::<Filter>(filter).unwrap_err().to_string();
            assert!(
                error.contains("did not match any variant") || error.contains("unknown field"),
                "{error}"
            );
        }
    }
}
