//! The owned twin of [`Shape`](crate::shape::Shape), for shapes that are found while checking: [`OwnedShape`].

use serde_json::Value;

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
    /// What is wrong with it, in words: "is a number; must be text".
    pub words: String,
}

impl From<&Shape> for OwnedShape {
    fn from(_shape: &Shape) -> Self {
        Self::Any
    }
}

impl OwnedShape {
    /// What is found under this name, or under this index when it is a number.
    pub fn field(&self, _name: &str) -> Lookup {
        Lookup::Found(Self::Any)
    }

    /// In a few words, for messages.
    pub fn words(&self) -> String {
        String::new()
    }

    /// Whether a value of the shape `other` can stand where this one is asked for.
    pub fn accepts(&self, _other: &Self) -> Fit {
        Fit::Maybe
    }

    /// Whether this value is of this shape.
    ///
    /// # Errors
    /// The first part that does not fit.
    pub fn check_value(&self, _value: &Value) -> Result<(), Mismatch> {
        Ok(())
    }
}
