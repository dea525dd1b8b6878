//! The owned twin of [`Shape`], for shapes that are found while checking: [`OwnedShape`]. It answers what a name leads to, whether
//! one shape fits where another is asked for, and whether a value fits.

use serde_json::Value;

use crate::duration::{Bytes, Millis};
use crate::shape::Shape;

/// What a value looks like.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the variants are those of `Shape`")]
pub enum OwnedShape {
    Any,
    /// The value `null`.
    Null,
    Text,
    Integer,
    Number,
    Boolean,
    Duration,
    Size,
    Datetime,
    Decimal,
    Path,
    Url,
    Band,
    OneOf(Vec<String>),
    List(Box<OwnedShape>),
    Map(Box<OwnedShape>),
    Record(Vec<OwnedField>),
    Either(Box<OwnedShape>, Box<OwnedShape>),
    OfInput(String),
}

/// One key of a record.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnedField {
    /// The key.
    pub name: String,
    /// What its value looks like.
    pub shape: OwnedShape,
    /// Whether it is always there.
    pub required: bool,
}

/// Whether a value of one shape can stand where another is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// Always.
    Yes,
    /// Never.
    No,
    /// That depends on the value.
    Maybe,
}

/// What is found under a name or a constant subscript.
#[derive(Debug, Clone, PartialEq)]
pub enum Lookup {
    /// A value of this shape.
    Found(OwnedShape),
    /// Nothing: the names that there are.
    Missing(Vec<String>),
    /// Nothing: this shape has no fields at all.
    NoFields,
}

/// A value that is not of a shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The keys and indices that lead to the part that does not fit.
    pub path: Vec<String>,
    /// What is wrong with it, in words: "must be text, not a number".
    pub words: String,
}

impl From<&Shape> for OwnedShape {
    fn from(shape: &Shape) -> Self {
        match shape {
            Shape::Any => Self::Any,
            Shape::Text => Self::Text,
            Shape::Integer => Self::Integer,
            Shape::Number => Self::Number,
            Shape::Boolean => Self::Boolean,
            Shape::Duration => Self::Duration,
            Shape::Size => Self::Size,
            Shape::Datetime => Self::Datetime,
            Shape::Decimal => Self::Decimal,
            Shape::Path => Self::Path,
            Shape::Url => Self::Url,
            Shape::Band => Self::Band,
            Shape::OneOf(texts) => Self::OneOf(texts.iter().map(|text| (*text).to_owned()).collect()),
            Shape::List(of) => Self::list(Self::from(*of)),
            Shape::Map(of) => Self::Map(Box::new(Self::from(*of))),
            Shape::Record(fields) => Self::Record(
                fields
                    .iter()
                    .map(|field| OwnedField {
                        name: field.name.to_owned(),
                        shape: Self::from(&field.shape),
                        required: field.required,
                    })
                    .collect(),
            ),
            Shape::Either(a, b) => Self::Either(Box::new(Self::from(*a)), Box::new(Self::from(*b))),
            Shape::OfInput(name) => Self::OfInput((*name).to_owned()),
        }
    }
}

impl OwnedShape {
    /// A list of this shape.
    pub fn list(of: Self) -> Self {
        Self::List(Box::new(of))
    }

    /// The shape of a value that is written out.
    pub fn of_value(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Boolean,
            Value::Number(number) if number.is_f64() => Self::Number,
            Value::Number(_) => Self::Integer,
            Value::String(text) => Self::OneOf(vec![text.clone()]),
            Value::Array(items) => Self::list(Self::common(items.iter().map(Self::of_value))),
            Value::Object(map) => Self::Record(
                map.iter()
                    .map(|(name, value)| OwnedField {
                        name: name.clone(),
                        shape: Self::of_value(value),
                        required: true,
                    })
                    .collect(),
            ),
        }
    }

    /// A shape that all of these fit.
    pub fn common(shapes: impl IntoIterator<Item = Self>) -> Self {
        shapes.into_iter().reduce(Self::or).unwrap_or(Self::Any)
    }

    /// Either of two.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match (self, other) {
            (a, b) if a.accepts(&b) == Fit::Yes && a != Self::Null => a,
            (a, b) if b.accepts(&a) == Fit::Yes && b != Self::Null => b,
            (Self::OneOf(mut texts), Self::OneOf(more)) => {
                texts.extend(more);
                Self::OneOf(texts)
            }
            (a, b) => Self::Either(Box::new(a), Box::new(b)),
        }
    }

    /// The same, with the shapes of the named inputs put in where it says that it has them.
    #[must_use]
    pub fn with_inputs(self, shape_of: &dyn Fn(&str) -> Self) -> Self {
        let inner = |shape: Box<Self>| Box::new(shape.with_inputs(shape_of));
        match self {
            Self::OfInput(name) => shape_of(&name),
            Self::List(of) => Self::List(inner(of)),
            Self::Map(of) => Self::Map(inner(of)),
            Self::Either(a, b) => Self::Either(inner(a), inner(b)),
            Self::Record(fields) => Self::Record(
                fields
                    .into_iter()
                    .map(|field| OwnedField { shape: field.shape.with_inputs(shape_of), ..field })
                    .collect(),
            ),
            other => other,
        }
    }

    /// What is found under this name, or under this index when it is a number.
    pub fn field(&self, name: &str) -> Lookup {
        match self {
            Self::Any | Self::OfInput(_) => Lookup::Found(Self::Any),
            Self::Map(of) => Lookup::Found((**of).clone()),
            Self::Record(fields) => match fields.iter().find(|field| field.name == name) {
                Some(field) => Lookup::Found(field.shape.clone()),
                None => Lookup::Missing(fields.iter().map(|field| field.name.clone()).collect()),
            },
            Self::List(of) if name.parse::<i64>().is_ok() => Lookup::Found((**of).clone()),
            Self::Band if matches!(name, "low" | "high" | "0" | "1") => Lookup::Found(Self::Any),
            Self::Band => Lookup::Missing(vec!["low".to_owned(), "high".to_owned()]),
            Self::Either(a, b) => match (a.field(name), b.field(name)) {
                (Lookup::Found(a), Lookup::Found(b)) => Lookup::Found(a.or(b)),
                (Lookup::Found(found), _) | (_, Lookup::Found(found)) => Lookup::Found(found),
                (Lookup::Missing(mut names), Lookup::Missing(more)) => {
                    names.extend(more);
                    Lookup::Missing(names)
                }
                (missing @ Lookup::Missing(_), _) | (_, missing) => missing,
            },
            _ => Lookup::NoFields,
        }
    }

    /// The shape of one item of a list; `None` when it is none.
    pub fn item(&self) -> Option<Self> {
        match self {
            Self::Any | Self::OfInput(_) => Some(Self::Any),
            Self::List(of) => Some((**of).clone()),
            Self::Band => Some(Self::Any),
            Self::Either(a, b) => match (a.item(), b.item()) {
                (Some(a), Some(b)) => Some(a.or(b)),
                (a, b) => a.or(b),
            },
            _ => None,
        }
    }

    /// In a few words, for messages.
    pub fn words(&self) -> String {
        match self {
            Self::Any => "any value".to_owned(),
            Self::Null => "nothing (null)".to_owned(),
            Self::Text => Shape::Text.words(),
            Self::Integer => Shape::Integer.words(),
            Self::Number => Shape::Number.words(),
            Self::Boolean => Shape::Boolean.words(),
            Self::Duration => Shape::Duration.words(),
            Self::Size => Shape::Size.words(),
            Self::Datetime => Shape::Datetime.words(),
            Self::Decimal => Shape::Decimal.words(),
            Self::Path => Shape::Path.words(),
            Self::Url => Shape::Url.words(),
            Self::Band => Shape::Band.words(),
            Self::OneOf(texts) if texts.len() == 1 => format!("the text `{}`", texts.concat()),
            Self::OneOf(texts) => format!("one of `{}`", texts.join("`, `")),
            Self::List(of) => format!("a list, each {}", of.words()),
            Self::Map(of) => format!("a mapping to {}", of.words()),
            Self::Record(fields) => {
                format!(
                    "a mapping with {}",
                    fields.iter().map(|field| format!("`{}`", field.name)).collect::<Vec<_>>().join(", ")
                )
            }
            Self::Either(a, b) => format!("{} or {}", a.words(), b.words()),
            Self::OfInput(name) => format!("what `{name}` is"),
        }
    }

    /// Whether a value of the shape `other` can stand where this one is asked for.
    pub fn accepts(&self, other: &Self) -> Fit {
        use OwnedShape as S;
        match (self, other) {
            (S::Any, _) => Fit::Yes,
            (_, S::Any | S::OfInput(_)) | (S::OfInput(_), _) => Fit::Maybe,
            (_, S::Either(a, b)) => match (self.accepts(a), self.accepts(b)) {
                (a, b) if a == b => a,
                _ => Fit::Maybe,
            },
            (S::Either(a, b), _) => match (a.accepts(other), b.accepts(other)) {
                (Fit::Yes, _) | (_, Fit::Yes) => Fit::Yes,
                (Fit::No, Fit::No) => Fit::No,
                _ => Fit::Maybe,
            },
            (S::OneOf(allowed), S::OneOf(texts)) => {
                let known = texts.iter().filter(|text| allowed.contains(text)).count();
                if known == texts.len() { Fit::Yes } else { part(known > 0) }
            }
            // A text that is written out fits a duration, a size or a time when it is one.
            (_, S::OneOf(texts)) => {
                let fitting = texts.iter().filter(|text| self.fits_text(text)).count();
                if fitting == texts.len() { Fit::Yes } else { part(fitting > 0) }
            }
            (S::Text | S::Path | S::Url, _) if other.is_text() => Fit::Yes,
            (_, S::Text | S::Path | S::Url) => part(self.is_text()),
            (S::OneOf(_), _) => part(other.is_text()),
            (S::Number, S::Integer) => Fit::Yes,
            (S::Integer, S::Number) => Fit::Maybe,
            (S::List(a), S::List(b)) | (S::Map(a), S::Map(b)) => a.accepts(b),
            (S::List(_), S::Band) | (S::Band, S::List(_) | S::Map(_)) | (S::Map(_), S::Band) => Fit::Maybe,
            (S::Map(of), S::Record(fields)) => worst(fields.iter().map(|field| of.accepts(&field.shape))),
            (S::Record(_), S::Map(_)) => Fit::Maybe,
            (S::Band, S::Record(fields)) => {
                let has = |name: &str| fields.iter().any(|field| field.name == name);
                if has("low") && has("high") { Fit::Yes } else { Fit::No }
            }
            (S::Record(_), S::Band) => part(self.field("low") != Lookup::NoFields),
            (S::Record(asked), S::Record(given)) => record_fit(asked, given),
            (a, b) => {
                if a == b {
                    Fit::Yes
                } else {
                    Fit::No
                }
            }
        }
    }

    /// Whether values of this shape are text.
    pub fn is_text(&self) -> bool {
        matches!(
            self,
            Self::Text
                | Self::Duration
                | Self::Size
                | Self::Datetime
                | Self::Decimal
                | Self::Path
                | Self::Url
                | Self::OneOf(_)
        )
    }

    /// Whether this text is of this shape.
    fn fits_text(&self, text: &str) -> bool {
        match self {
            Self::Any | Self::OfInput(_) | Self::Text | Self::Path | Self::Url => true,
            Self::Duration => Millis::parse(text).is_ok(),
            Self::Size => Bytes::parse(text).is_ok(),
            Self::Datetime => chrono::DateTime::parse_from_rfc3339(text).is_ok(),
            Self::Decimal => is_decimal(text),
            Self::OneOf(texts) => texts.iter().any(|one| one == text),
            Self::Either(a, b) => a.fits_text(text) || b.fits_text(text),
            _ => false,
        }
    }

    /// Whether this value is of this shape.
    ///
    /// # Errors
    /// The first part that does not fit.
    pub fn check_value(&self, value: &Value) -> Result<(), Mismatch> {
        let fits = match (self, value) {
            (Self::Any | Self::OfInput(_), _) => true,
            (Self::Either(a, b), _) => a.check_value(value).is_ok() || b.check_value(value).is_ok(),
            (Self::Null, Value::Null)
            | (Self::Boolean, Value::Bool(_))
            | (Self::Number, Value::Number(_)) => true,
            (Self::Integer, Value::Number(number)) => !number.is_f64(),
            (_, Value::String(text)) => self.fits_text(text),
            (Self::Band, Value::Array(ends)) => ends.len() == 2,
            (Self::Band, Value::Object(map)) => {
                map.contains_key("low") && map.contains_key("high") && map.len() == 2
            }
            (Self::List(of), Value::Array(items)) => {
                return items
                    .iter()
                    .enumerate()
                    .try_for_each(|(at, item)| below(&at.to_string(), of.check_value(item)));
            }
            (Self::Map(of), Value::Object(map)) => {
                return map.iter().try_for_each(|(key, value)| below(key, of.check_value(value)));
            }
            (Self::Record(fields), Value::Object(map)) => return check_record(fields, map),
            _ => false,
        };
        if fits {
            return Ok(());
        }
        Err(Mismatch {
            path: Vec::new(),
            words: format!("must be {}, not {}", self.words(), value_words(value)),
        })
    }
}

fn part(maybe: bool) -> Fit {
    if maybe { Fit::Maybe } else { Fit::No }
}

fn worst(fits: impl Iterator<Item = Fit>) -> Fit {
    fits.fold(Fit::Yes, |worst, fit| match (worst, fit) {
        (Fit::No, _) | (_, Fit::No) => Fit::No,
        (Fit::Maybe, _) | (_, Fit::Maybe) => Fit::Maybe,
        _ => Fit::Yes,
    })
}

fn record_fit(asked: &[OwnedField], given: &[OwnedField]) -> Fit {
    let unknown = given.iter().any(|field| asked.iter().all(|one| one.name != field.name));
    let fit = |field: &OwnedField| match given.iter().find(|one| one.name == field.name) {
        Some(one) => field.shape.accepts(&one.shape),
        None if field.required => Fit::No,
        None => Fit::Yes,
    };
    if unknown { Fit::No } else { worst(asked.iter().map(fit)) }
}

fn check_record(fields: &[OwnedField], map: &serde_json::Map<String, Value>) -> Result<(), Mismatch> {
    for (key, value) in map {
        match fields.iter().find(|field| field.name == *key) {
            Some(field) => below(key, field.shape.check_value(value))?,
            None => return Err(Mismatch { path: vec![key.clone()], words: "is not a key here".to_owned() }),
        }
    }
    match fields.iter().find(|field| field.required && !map.contains_key(&field.name)) {
        Some(field) => {
            Err(Mismatch { path: Vec::new(), words: format!("must have the key `{}`", field.name) })
        }
        None => Ok(()),
    }
}

fn below(key: &str, checked: Result<(), Mismatch>) -> Result<(), Mismatch> {
    checked.map_err(|mut mismatch| {
        mismatch.path.insert(0, key.to_owned());
        mismatch
    })
}

fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    [whole, fraction].iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

fn value_words(value: &Value) -> String {
    match value {
        Value::Null => "nothing (null)".to_owned(),
        Value::Bool(truth) => format!("`{truth}`"),
        Value::Number(number) => format!("the number `{number}`"),
        Value::String(text) if text.chars().count() > 60 => "text".to_owned(),
        Value::String(text) => format!("the text `{text}`"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::shape::Field;

    const AGENT: Shape = Shape::Record(&[
        Field::required("name", Shape::Text, "Its name."),
        Field::optional("points", Shape::Integer, "How many."),
    ]);

    #[test]
    fn names_lead_to_shapes() {
        let agents = OwnedShape::from(&Shape::List(&AGENT));
        let Lookup::Found(agent) = agents.field("0") else { panic!("a list has items") };
        assert_eq!(agent.field("points"), Lookup::Found(OwnedShape::Integer));
        assert_eq!(agent.field("nme"), Lookup::Missing(vec!["name".to_owned(), "points".to_owned()]));
        assert_eq!(agents.field("name"), Lookup::NoFields);
        assert_eq!(OwnedShape::Text.field("x"), Lookup::NoFields);
        assert_eq!(OwnedShape::Band.field("lo"), Lookup::Missing(vec!["low".to_owned(), "high".to_owned()]));
        assert_eq!(agents.item(), Some(agent));
        assert_eq!(OwnedShape::Text.item(), None);
    }

    #[test]
    fn shapes_fit_or_do_not() {
        use Fit::{Maybe, No, Yes};
        let one_of =
            |texts: &[&str]| OwnedShape::OneOf(texts.iter().map(|text| (*text).to_owned()).collect());
        let either = OwnedShape::Text.or(OwnedShape::Integer);
        let agent = OwnedShape::from(&AGENT);
        let cases = [
            (OwnedShape::Any, OwnedShape::Text, Yes),
            (OwnedShape::Text, OwnedShape::Any, Maybe),
            (OwnedShape::Text, OwnedShape::Decimal, Yes),
            (OwnedShape::Decimal, OwnedShape::Text, Maybe),
            (OwnedShape::Decimal, OwnedShape::Integer, No),
            (OwnedShape::Duration, one_of(&["15m"]), Yes),
            (OwnedShape::Duration, one_of(&["soon"]), No),
            (OwnedShape::Duration, OwnedShape::Size, No),
            (one_of(&["a", "b"]), one_of(&["a"]), Yes),
            (one_of(&["a", "b"]), one_of(&["c"]), No),
            (OwnedShape::Integer, one_of(&["5"]), No),
            (OwnedShape::Number, OwnedShape::Integer, Yes),
            (OwnedShape::Integer, OwnedShape::Number, Maybe),
            (OwnedShape::Text, either.clone(), Maybe),
            (either.clone(), OwnedShape::Integer, Yes),
            (either, OwnedShape::Boolean, No),
            (agent.clone(), OwnedShape::of_value(&json!({"name": "x"})), Yes),
            (agent.clone(), OwnedShape::of_value(&json!({"points": 1})), No),
            (agent.clone(), OwnedShape::of_value(&json!({"name": "x", "colour": 1})), No),
            (agent.clone(), OwnedShape::of_value(&json!({"name": 5})), No),
            (OwnedShape::list(OwnedShape::Text), OwnedShape::of_value(&json!(["a", "b"])), Yes),
            (OwnedShape::list(OwnedShape::Text), OwnedShape::of_value(&json!(["a", 1])), Maybe),
            (OwnedShape::Band, OwnedShape::of_value(&json!({"low": 1, "high": 2})), Yes),
            (OwnedShape::Band, OwnedShape::Text, No),
            (OwnedShape::Boolean, OwnedShape::Text, No),
        ];
        for (asked, given, fit) in cases {
            assert_eq!(asked.accepts(&given), fit, "{asked:?} {given:?}");
        }
    }

    #[test]
    fn values_are_checked_with_the_path_of_what_is_wrong() {
        let agents = OwnedShape::from(&Shape::Map(&Shape::List(&AGENT)));
        assert_eq!(agents.check_value(&json!({"x": [{"name": "a", "points": 3}, {"name": "b"}]})), Ok(()));
        for (value, path, words) in [
            (json!({"x": [{"name": 5}]}), vec!["x", "0", "name"], "must be text, not the number `5`"),
            (json!({"x": [{"points": 5}]}), vec!["x", "0"], "must have the key `name`"),
            (json!({"x": [{"name": "a", "colour": 1}]}), vec!["x", "0", "colour"], "is not a key here"),
            (
                json!({"x": [{"name": "a", "points": 1.5}]}),
                vec!["x", "0", "points"],
                "must be a whole number, not the number `1.5`",
            ),
            (
                json!([]),
                vec![],
                "must be a mapping to a list, each a mapping with `name`, `points`, not a list",
            ),
        ] {
            let mismatch = agents.check_value(&value).unwrap_err();
            assert_eq!(
                (mismatch.path, mismatch.words.as_str()),
                (path.into_iter().map(str::to_owned).collect(), words)
            );
        }
        for (shape, good, bad) in [
            (OwnedShape::Duration, json!("1h30m"), json!("1.5h")),
            (OwnedShape::Size, json!("64MiB"), json!("64")),
            (OwnedShape::Datetime, json!("2026-03-01T02:00:00Z"), json!("2026-03-01")),
            (OwnedShape::Decimal, json!("44000000037600005"), json!(44)),
            (OwnedShape::Band, json!([1, 5]), json!({"low": 1})),
            (OwnedShape::Boolean, json!(true), json!("true")),
            (OwnedShape::Null, json!(null), json!(0)),
        ] {
            assert_eq!(shape.check_value(&good), Ok(()), "{shape:?}");
            assert!(shape.check_value(&bad).unwrap_err().words.contains("must be"), "{shape:?}");
        }
    }

    #[test]
    fn inputs_are_put_in() {
        let shape = OwnedShape::Map(Box::new(OwnedShape::OfInput("values".to_owned())));
        let found = shape.with_inputs(&|name| OwnedShape::OneOf(vec![name.to_owned()]));
        assert_eq!(found.words(), "a mapping to the text `values`");
    }
}
