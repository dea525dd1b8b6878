//! A value as expressions see it: [`Datum`]. It is JSON, and it may hold what JSON cannot: secrets ([`Hole`]), parts that are not
//! known yet ([`Unknown`]) and large numbers ([`Decimal`]).

use std::fmt;
use std::sync::Arc;

use indexmap::IndexMap;
use minijinja::value::{Object, ObjectRepr, Value, ValueKind};
use serde_json::Value as Json;

use crate::expr::decimal::Decimal;
use crate::name::Name;
use crate::rendered::{Piece, Rendered};

/// A value as expressions see it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Datum {
    value: Value,
    /// Whether it may hold a secret or a part that is not known yet; where it cannot, nobody has to look for one.
    pub(crate) opaque: bool,
}

/// A text with secrets in it, or one whole secret: a token without the value.
#[derive(Debug)]
pub(crate) struct Hole(pub(crate) Vec<Piece>);

/// A value known only after these steps.
#[derive(Debug)]
pub(crate) struct Unknown(pub(crate) Vec<Name>);

impl Object for Hole {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Object for Unknown {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(not known yet)")
    }
}

/// Why a value is not JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotJson {
    /// It holds a secret.
    Secret,
    /// It, or a part of it, is known only after these steps.
    After(Vec<Name>),
    /// It holds nothing at all where a value should be.
    Undefined,
    /// JSON cannot say it, in words: "a number beyond 64 bits".
    Unwritable(&'static str),
}

impl Datum {
    /// Plain JSON.
    pub fn from_json(value: &Json) -> Self {
        Self { value: value_of(value), opaque: false }
    }

    /// A rendered value: holes become tokens that print as `***` and fail any other use, parts not known yet stay so.
    pub fn from_rendered(rendered: &Rendered) -> Self {
        Self { value: value_of_rendered(rendered), opaque: rendered.plain().is_none() }
    }

    /// A value known only after these steps.
    pub fn unknown(after: Vec<Name>) -> Self {
        Self { value: Value::from_object(Unknown(after)), opaque: true }
    }

    /// As JSON; `None` where a part is a secret or not known yet.
    pub fn to_json(&self) -> Option<Json> {
        json_of(&self.value).ok()
    }

    /// As minijinja holds it.
    pub(crate) fn value(&self) -> &Value {
        &self.value
    }
}

/// JSON as minijinja holds it.
pub(crate) fn value_of(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(truth) => Value::from(*truth),
        Json::Number(number) => number_of(number),
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => Value::from(items.iter().map(value_of).collect::<Vec<_>>()),
        Json::Object(map) => {
            Value::from_pairs(map.iter().map(|(key, value)| (key.as_str(), value_of(value))))
        }
    }
}

fn number_of(number: &serde_json::Number) -> Value {
    if let Some(whole) = number.as_i64() {
        Value::from(whole)
    } else if let Some(whole) = number.as_u64() {
        Value::from(whole)
    } else {
        Value::from(number.as_f64().unwrap_or(f64::NAN))
    }
}

fn value_of_rendered(rendered: &Rendered) -> Value {
    match rendered {
        Rendered::Scalar(value) => value_of(value),
        Rendered::Text(text) => Value::from(text.as_str()),
        Rendered::Holes(pieces) => Value::from_object(Hole(pieces.clone())),
        Rendered::After(steps) => Value::from_object(Unknown(steps.clone())),
        Rendered::List(items) => Value::from(items.iter().map(value_of_rendered).collect::<Vec<_>>()),
        Rendered::Map(map) => {
            Value::from_pairs(map.iter().map(|(key, value)| (key.as_str(), value_of_rendered(value))))
        }
    }
}

/// A value as a rendered input: secrets stay holes, parts not known yet stay so.
pub(crate) fn rendered_of(value: &Value) -> Result<Rendered, NotJson> {
    if let Some(hole) = value.downcast_object_ref::<Hole>() {
        return Ok(Rendered::Holes(hole.0.clone()));
    }
    if let Some(unknown) = value.downcast_object_ref::<Unknown>() {
        return Ok(Rendered::After(unknown.0.clone()));
    }
    if let Some(decimal) = value.downcast_object_ref::<Decimal>() {
        return Ok(Rendered::Text(decimal.to_string()));
    }
    match value.kind() {
        ValueKind::None => Ok(Rendered::Scalar(Json::Null)),
        ValueKind::Bool => Ok(Rendered::Scalar(Json::Bool(value.is_true()))),
        ValueKind::Number => json_number(value).map(Rendered::Scalar),
        ValueKind::String => Ok(Rendered::Text(value.as_str().unwrap_or_default().to_owned())),
        ValueKind::Seq | ValueKind::Iterable => {
            items(value)?.iter().map(rendered_of).collect::<Result<_, _>>().map(Rendered::List)
        }
        ValueKind::Map => {
            let mut map = IndexMap::new();
            for key in items(value)? {
                let entry = value.get_item(&key).map_err(|_| NotJson::Undefined)?;
                map.insert(key_text(&key)?, rendered_of(&entry)?);
            }
            Ok(Rendered::Map(map))
        }
        ValueKind::Undefined => Err(NotJson::Undefined),
        _ => Err(NotJson::Unwritable("it is not a value of the plan language")),
    }
}

/// A value as JSON.
pub(crate) fn json_of(value: &Value) -> Result<Json, NotJson> {
    let rendered = rendered_of(value)?;
    rendered.plain().ok_or_else(|| match rendered.after() {
        after if after.is_empty() => NotJson::Secret,
        after => NotJson::After(after),
    })
}

fn items(value: &Value) -> Result<Vec<Value>, NotJson> {
    Ok(value.try_iter().map_err(|_| NotJson::Unwritable("it cannot be listed"))?.collect())
}

fn key_text(key: &Value) -> Result<String, NotJson> {
    match key.kind() {
        ValueKind::String => Ok(key.as_str().unwrap_or_default().to_owned()),
        ValueKind::Number | ValueKind::Bool => Ok(key.to_string()),
        _ => Err(NotJson::Unwritable("a key of a mapping must be text")),
    }
}

fn json_number(value: &Value) -> Result<Json, NotJson> {
    if value.is_integer() {
        if let Ok(whole) = i64::try_from(value.clone()) {
            return Ok(Json::from(whole));
        }
        return u64::try_from(value.clone())
            .map(Json::from)
            .map_err(|_| NotJson::Unwritable("a number beyond 64 bits"));
    }
    f64::try_from(value.clone())
        .ok()
        .and_then(serde_json::Number::from_f64)
        .map(Json::Number)
        .ok_or(NotJson::Unwritable("the result of this calculation is not a number"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_comes_back_as_it_went_in() {
        let value = json!({"z": [1, -5, 2.5, u64::MAX, true, null, "x"], "a": {"b": {}}, "1": []});
        assert_eq!(Datum::from_json(&value).to_json(), Some(value));
    }

    #[test]
    fn secrets_and_unknown_parts_survive_and_do_not_print() {
        let after = vec![Name::parse("restore").unwrap()];
        let holes =
            Rendered::Holes(vec![Piece::Text("Bearer ".into()), Piece::Secret("params.token".into())]);
        let map = Rendered::Map(IndexMap::from([
            ("header".to_owned(), holes.clone()),
            ("count".to_owned(), Rendered::After(after.clone())),
            ("n".to_owned(), Rendered::Scalar(json!(1))),
        ]));
        let datum = Datum::from_rendered(&map);
        assert!(datum.opaque);
        assert_eq!(rendered_of(datum.value()), Ok(map));
        assert_eq!(datum.to_json(), None);
        assert_eq!(json_of(datum.value()), Err(NotJson::After(after.clone())));
        let hole = Datum::from_rendered(&holes);
        assert_eq!((hole.value().to_string(), hole.to_json()), ("***".to_owned(), None));
        assert_eq!(json_of(hole.value()), Err(NotJson::Secret));
        assert_eq!(json_of(Datum::unknown(after.clone()).value()), Err(NotJson::After(after)));
        assert!(!Datum::from_rendered(&Rendered::Text("plain".into())).opaque);
    }

    #[test]
    fn what_json_cannot_say_is_named() {
        for (value, why) in [
            (Value::from(i128::MAX), "a number beyond 64 bits"),
            (Value::from(f64::INFINITY), "the result of this calculation is not a number"),
        ] {
            assert_eq!(json_of(&value), Err(NotJson::Unwritable(why)));
        }
        assert_eq!(json_of(&Value::UNDEFINED), Err(NotJson::Undefined));
    }
}
