//! Typed inputs of kinds: [`In`], read from rendered values by [`Inputs`]; the [`inputs!`](crate::inputs!) macro makes the struct and
//! its table of fields from one description.

use std::path::{Path, PathBuf};

use drydock_plan::name::Name;
use drydock_plan::rendered::Rendered;
use drydock_plan::shape::{Field, Shape};
use indexmap::IndexMap;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::StepError;

/// An input: known, or known only after some steps have run. `execute` is only called with everything known.
#[derive(Debug, Clone, PartialEq)]
pub enum In<T> {
    /// Its value.
    Known(T),
    /// Its value comes from these steps.
    After(Vec<Name>),
}

impl<T> In<T> {
    /// The value.
    ///
    /// # Errors
    /// `internal`, when it is not known yet: only a dry run sees such inputs.
    pub fn known(&self) -> Result<&T, StepError> {
        match self {
            Self::Known(value) => Ok(value),
            Self::After(steps) => {
                Err(StepError::internal(format!("an input was used before {} had run", words_of(steps))))
            }
        }
    }

    /// The value where it is known.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::After(_) => None,
        }
    }

    /// The value in the words of `show`, or `(known after restore_sql)`.
    pub fn or_after(&self, show: impl FnOnce(&T) -> String) -> String {
        match self {
            Self::Known(value) => show(value),
            Self::After(steps) => format!("(known after {})", words_of(steps)),
        }
    }

    /// The same, with its value made into another.
    pub fn map<U>(&self, make: impl FnOnce(&T) -> U) -> In<U> {
        match self {
            Self::Known(value) => In::Known(make(value)),
            Self::After(steps) => In::After(steps.clone()),
        }
    }
}

impl<T: std::fmt::Display> std::fmt::Display for In<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.or_after(ToString::to_string))
    }
}

fn words_of(steps: &[Name]) -> String {
    steps.iter().map(Name::as_str).collect::<Vec<_>>().join(", ")
}

/// A path on the runner as a plan writes it: a relative one is relative to the plan's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PlanPath(pub String);

impl PlanPath {
    /// The path to open.
    pub fn resolved(&self, plan_folder: &Path) -> PathBuf {
        plan_folder.join(&self.0)
    }
}

impl std::fmt::Display for PlanPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Gives a secret's value by its name.
pub type FillFn<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What a step gives its kind: the rendered `with`, and what fills the holes.
pub struct Given<'a> {
    /// The rendered inputs.
    pub with: &'a IndexMap<String, Rendered>,
    /// Gives a secret's value by its name (`params.token`). Absent in a dry run: holes then read as `***`.
    pub fill: Option<FillFn<'a>>,
}

impl Given<'_> {
    /// One input, typed.
    ///
    /// # Errors
    /// `input`, with the input's name, when the value does not fit the type.
    pub fn read<T: DeserializeOwned>(&self, field: &Field) -> Result<In<T>, StepError> {
        let after = self.with.get(field.name).map(Rendered::after).unwrap_or_default();
        if !after.is_empty() {
            return Ok(In::After(after));
        }
        let value = match self.with.get(field.name) {
            Some(rendered) => match self.fill {
                Some(fill) => rendered.filled(fill).ok_or_else(|| {
                    StepError::new("secret", format!("a secret in input `{}` has no value", field.name))
                })?,
                None => rendered.shown(),
            },
            None => match field.default {
                Some(text) => serde_json::from_str(text).map_err(|error| {
                    StepError::internal(format!("the default of input `{}`: {error}", field.name))
                })?,
                None => serde_json::Value::Null,
            },
        };
        serde_json::from_value(value).map(In::Known).map_err(|error| {
            StepError::new(
                "input",
                format!("input `{}`, {}, does not fit: {error}", field.name, field.shape.words()),
            )
        })
    }
}

/// A struct of inputs with the table that describes it; made by [`inputs!`](crate::inputs!).
pub trait Inputs: Sized + Send + Sync {
    /// The keys of `with`.
    const FIELDS: &'static [Field];

    /// The inputs of a step.
    ///
    /// # Errors
    /// When one does not fit its type.
    fn read(given: &Given<'_>) -> Result<Self, StepError>;
}

/// A field that must be given; the macro adds its name and doc.
pub const fn known(shape: Shape) -> Field {
    Field::required("", shape, "")
}

/// A field that may be left out; the macro adds its name and doc.
pub const fn maybe(shape: Shape) -> Field {
    Field::optional("", shape, "")
}

/// A struct of typed inputs and the table of its fields, from one description:
///
/// ```
/// use drydock_step::{Shape, inputs, known, maybe, Millis};
/// inputs! {
///     /// Inputs of `flow.wait`.
///     pub struct WaitInputs {
///         /// How long to wait.
///         span as "for": Millis = known(Shape::Duration),
///         /// Shown while it waits.
///         message: Option<String> = maybe(Shape::Text),
///     }
/// }
/// # use drydock_step::Inputs;
/// assert_eq!(WaitInputs::FIELDS[0].name, "for");
/// ```
#[macro_export]
macro_rules! inputs {
    (
        $(#[$attr:meta])*
        pub struct $name:ident {
            $( $(#[doc = $doc:literal])+ $field:ident $(as $key:literal)? : $ty:ty = $spec:expr ),* $(,)?
        }
    ) => {
        $(#[$attr])*
        #[derive(Debug, Clone)]
        pub struct $name {
            $( $(#[doc = $doc])+ pub $field: $crate::In<$ty>, )*
        }

        impl $crate::Inputs for $name {
            const FIELDS: &'static [$crate::Field] = &[
                $( $crate::Field {
                    name: $crate::inputs!(@key $field $($key)?),
                    doc: concat!($($doc),+),
                    ..$spec
                }, )*
            ];

            #[allow(unused_variables, unused_mut, reason = "a kind may have no inputs")]
            fn read(given: &$crate::Given<'_>) -> Result<Self, $crate::StepError> {
                let mut fields = <Self as $crate::Inputs>::FIELDS.iter();
                Ok(Self {
                    $( $field: {
                        let field = fields.next().ok_or_else(|| $crate::StepError::internal("the table of inputs is short"))?;
                        given.read(field)?
                    }, )*
                })
            }
        }
    };
    (@key $field:ident $key:literal) => { $key };
    (@key $field:ident) => { stringify!($field) };
}

#[cfg(test)]
#[allow(unreachable_pub, reason = "the macro makes public structs")]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Millis;

    crate::inputs! {
        /// Inputs for this test.
        pub struct Sample {
            /// How long.
            span as "for": Millis = known(Shape::Duration),
            /// How often.
            times: u32 = maybe(Shape::Integer).or("3"),
            /// A header.
            token: Option<String> = maybe(Shape::Text).with_secrets(),
        }
    }

    fn given(value: serde_json::Value) -> IndexMap<String, Rendered> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn inputs_are_read_with_defaults_holes_and_unknowns() {
        let with = given(json!({"for": "2s", "token": ["Bearer ", {"secret": "params.t"}]}));
        let shown = Sample::read(&Given { with: &with, fill: None }).unwrap();
        assert_eq!(shown.span, In::Known(Millis(2000)));
        assert_eq!(shown.times, In::Known(3));
        assert_eq!(shown.token, In::Known(Some("Bearer ***".into())));
        let filled = Sample::read(&Given { with: &with, fill: Some(&|_| Some("x".into())) }).unwrap();
        assert_eq!(filled.token, In::Known(Some("Bearer x".into())));
        let with = given(json!({"for": {"$after": ["a"]}}));
        let unknown = Sample::read(&Given { with: &with, fill: None }).unwrap();
        assert_eq!(unknown.span.to_string(), "(known after a)");
        assert_eq!(unknown.span.known().unwrap_err().code, "internal");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let with = given(json!({"for": "soon"}));
        let error = Sample::read(&Given { with: &with, fill: None }).unwrap_err();
        assert_eq!(error.code, "input");
        assert!(
            error.message.starts_with("input `for`, a duration such as `90s`, does not fit: "),
            "{error}"
        );
        let with = given(json!({"for": "1s", "token": [{"secret": "params.t"}]}));
        let error = Sample::read(&Given { with: &with, fill: Some(&|_| None) }).unwrap_err();
        assert_eq!(
            (error.code.as_str(), error.message.as_str()),
            ("secret", "a secret in input `token` has no value")
        );
    }
}
