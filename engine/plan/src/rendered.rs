//! A rendered input: [`Rendered`], JSON whose texts may have holes for secrets, and parts that a dry run does not know yet.
//!
//! In the journal a text with holes is a list of its pieces, `["Bearer ", {"secret": "params.token"}]`; a list of the user's that
//! would look the same is wrapped as `{"$list": […]}`, and a part not known yet is `{"$after": ["restore_sql"]}`.

use indexmap::IndexMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::name::Name;

/// JSON, with holes for secrets and parts not known yet.
#[derive(Debug, Clone, PartialEq)]
pub enum Rendered {
    /// null, true, false or a number.
    Scalar(Value),
    /// Text without holes.
    Text(String),
    /// Text with at least one hole.
    Holes(Vec<Piece>),
    /// A list.
    List(Vec<Rendered>),
    /// A mapping, in written order.
    Map(IndexMap<String, Rendered>),
    /// Known only after these steps have run; in dry runs alone.
    After(Vec<Name>),
}

/// A piece of a text with holes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Plain text.
    Text(String),
    /// A hole, filled just before the call with the value of this secret: `params.token`.
    Secret(String),
}

impl Rendered {
    /// The value as plain JSON; `None` where there is a hole or an unknown part.
    pub fn plain(&self) -> Option<Value> {
        match self {
            Self::Scalar(value) => Some(value.clone()),
            Self::Text(text) => Some(Value::String(text.clone())),
            Self::Holes(_) | Self::After(_) => None,
            Self::List(items) => items.iter().map(Self::plain).collect::<Option<Vec<_>>>().map(Value::Array),
            Self::Map(map) => map
                .iter()
                .map(|(key, value)| Some((key.clone(), value.plain()?)))
                .collect::<Option<Map<_, _>>>()
                .map(Value::Object),
        }
    }

    /// The value with every hole filled by `fill`; `None` where a part is not known yet or `fill` has no value.
    pub fn filled(&self, fill: &dyn Fn(&str) -> Option<String>) -> Option<Value> {
        match self {
            Self::Holes(pieces) => {
                let mut text = String::new();
                for piece in pieces {
                    match piece {
                        Piece::Text(part) => text.push_str(part),
                        Piece::Secret(name) => text.push_str(&fill(name)?),
                    }
                }
                Some(Value::String(text))
            }
            Self::List(items) => {
                items.iter().map(|item| item.filled(fill)).collect::<Option<Vec<_>>>().map(Value::Array)
            }
            Self::Map(map) => map
                .iter()
                .map(|(key, value)| Some((key.clone(), value.filled(fill)?)))
                .collect::<Option<Map<_, _>>>()
                .map(Value::Object),
            other => other.plain(),
        }
    }

    /// The names of all secrets in it, in order, each once.
    pub fn secrets(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.walk(&mut |part| {
            if let Self::Holes(pieces) = part {
                for piece in pieces {
                    if let Piece::Secret(name) = piece
                        && !found.contains(name)
                    {
                        found.push(name.clone());
                    }
                }
            }
        });
        found
    }

    /// The steps that parts of it wait for, in order, each once.
    pub fn after(&self) -> Vec<Name> {
        let mut found: Vec<Name> = Vec::new();
        self.walk(&mut |part| {
            if let Self::After(steps) = part {
                for step in steps {
                    if !found.contains(step) {
                        found.push(step.clone());
                    }
                }
            }
        });
        found
    }

    /// As people may see it: holes are `***`, unknown parts `(known after x)`.
    pub fn shown(&self) -> Value {
        match self {
            Self::Holes(pieces) => Value::String(
                pieces
                    .iter()
                    .map(|piece| if let Piece::Text(text) = piece { text.as_str() } else { "***" })
                    .collect::<String>(),
            ),
            Self::After(steps) => {
                let names: Vec<&str> = steps.iter().map(Name::as_str).collect();
                Value::String(format!("(known after {})", names.join(", ")))
            }
            Self::List(items) => Value::Array(items.iter().map(Self::shown).collect()),
            Self::Map(map) => {
                Value::Object(map.iter().map(|(key, value)| (key.clone(), value.shown())).collect())
            }
            Self::Scalar(value) => value.clone(),
            Self::Text(text) => Value::String(text.clone()),
        }
    }

    fn walk(&self, visit: &mut dyn FnMut(&Self)) {
        visit(self);
        match self {
            Self::List(items) => items.iter().for_each(|item| item.walk(visit)),
            Self::Map(map) => map.values().for_each(|value| value.walk(visit)),
            _ => {}
        }
    }

    /// As the journal writes it.
    fn to_json(&self) -> Value {
        match self {
            Self::Scalar(value) => value.clone(),
            Self::Text(text) => Value::String(text.clone()),
            Self::Holes(pieces) => pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Text(text) => Value::String(text.clone()),
                    Piece::Secret(name) => json!({ "secret": name }),
                })
                .collect(),
            Self::List(items) => {
                let list = Value::Array(items.iter().map(Self::to_json).collect());
                if pieces_of(&list).is_some() { json!({ "$list": list }) } else { list }
            }
            Self::Map(map) => {
                let plain =
                    Value::Object(map.iter().map(|(key, value)| (key.clone(), value.to_json())).collect());
                let marked = map.len() == 1
                    && map.keys().all(|key| matches!(key.as_str(), "$list" | "$after" | "$map"));
                if marked { json!({ "$map": plain }) } else { plain }
            }
            Self::After(steps) => json!({ "$after": steps }),
        }
    }

    fn from_json(value: Value) -> Self {
        match value {
            Value::String(text) => Self::Text(text),
            Value::Array(ref items) => match pieces_of(&value) {
                Some(pieces) => Self::Holes(pieces),
                None => Self::List(items.iter().cloned().map(Self::from_json).collect()),
            },
            Value::Object(map) => Self::from_map(map),
            scalar => Self::Scalar(scalar),
        }
    }

    fn from_map(mut map: Map<String, Value>) -> Self {
        if map.len() == 1 {
            if let Some(Value::Array(items)) = map.get_mut("$list") {
                return Self::List(std::mem::take(items).into_iter().map(Self::from_json).collect());
            }
            if let Some(names) = map.get("$after")
                && let Ok(names) = serde_json::from_value(names.clone())
            {
                return Self::After(names);
            }
            if let Some(Value::Object(inner)) = map.get_mut("$map") {
                let inner = std::mem::take(inner);
                return Self::Map(
                    inner.into_iter().map(|(key, value)| (key, Self::from_json(value))).collect(),
                );
            }
        }
        Self::Map(map.into_iter().map(|(key, value)| (key, Self::from_json(value))).collect())
    }
}

/// The pieces that a JSON list stands for, when it has at least one hole and nothing but texts and holes.
fn pieces_of(value: &Value) -> Option<Vec<Piece>> {
    let mut holes = 0;
    let mut pieces = Vec::new();
    for item in value.as_array()? {
        match item {
            Value::String(text) => pieces.push(Piece::Text(text.clone())),
            Value::Object(map) if map.len() == 1 => {
                pieces.push(Piece::Secret(map.get("secret")?.as_str()?.to_owned()));
                holes += 1;
            }
            _ => return None,
        }
    }
    (holes > 0).then_some(pieces)
}

impl From<Value> for Rendered {
    /// Plain JSON; nothing in it is taken for a hole.
    fn from(value: Value) -> Self {
        match value {
            Value::String(text) => Self::Text(text),
            Value::Array(items) => Self::List(items.into_iter().map(Self::from).collect()),
            Value::Object(map) => {
                Self::Map(map.into_iter().map(|(key, value)| (key, Self::from(value))).collect())
            }
            scalar => Self::Scalar(scalar),
        }
    }
}

impl Serialize for Rendered {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Rendered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::from_json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `rendered` is written as `written`, and read back as itself.
    fn check(rendered: Rendered, written: Value) {
        assert_eq!(serde_json::to_value(&rendered).unwrap(), written);
        assert_eq!(serde_json::from_value::<Rendered>(written).unwrap(), rendered);
    }

    #[test]
    fn holes_and_look_alikes_are_told_apart() {
        let holes =
            Rendered::Holes(vec![Piece::Text("Bearer ".into()), Piece::Secret("params.token".into())]);
        check(holes.clone(), json!(["Bearer ", {"secret": "params.token"}]));
        check(
            Rendered::from(json!(["Bearer ", {"secret": "x"}])),
            json!({"$list": ["Bearer ", {"secret": "x"}]}),
        );
        check(Rendered::from(json!(["a", "b"])), json!(["a", "b"]));
        check(Rendered::from(json!({"$list": ["a"]})), json!({"$map": {"$list": ["a"]}}));
        check(Rendered::After(vec![Name::parse("a").unwrap()]), json!({"$after": ["a"]}));
        check(
            Rendered::Map(IndexMap::from([("h".to_owned(), holes)])),
            json!({"h": ["Bearer ", {"secret": "params.token"}]}),
        );
    }

    #[test]
    fn nothing_of_a_secret_shows() {
        let holes =
            Rendered::Holes(vec![Piece::Text("Bearer ".into()), Piece::Secret("params.token".into())]);
        assert_eq!(holes.shown(), json!("Bearer ***"));
        assert_eq!(holes.plain(), None);
        assert_eq!(holes.secrets(), ["params.token"]);
        assert_eq!(
            holes.filled(&|name| (name == "params.token").then(|| "s3".to_owned())),
            Some(json!("Bearer s3"))
        );
        assert_eq!(holes.filled(&|_| None), None);
    }
}
