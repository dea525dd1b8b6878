//! A value that may have `{{ … }}` in it: [`Template`].

use indexmap::IndexMap;
use serde_json::Value;

use crate::expr::expression::Shapes;
use crate::expr::origin::Origin;
use crate::expr::reference::{Ref, Site};
use crate::expr::scope::{EvalError, Scope};
use crate::finding::Findings;
use crate::name::Name;
use crate::owned_shape::OwnedShape;
use crate::rendered::Rendered;

/// A value that may have `{{ … }}` in it: a scalar, a list or a mapping of such values. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Template(Value);

impl Template {
    /// A value as it stands; nothing in it is an expression.
    pub fn literal(value: Value) -> Self {
        Self(value)
    }

    /// A list.
    pub fn list(_items: Vec<Template>) -> Self {
        Self(Value::Null)
    }

    /// A mapping, in written order.
    pub fn map(_entries: IndexMap<String, Template>) -> Self {
        Self(Value::Null)
    }

    /// The value, where nothing in it is an expression.
    pub fn as_literal(&self) -> Option<&Value> {
        Some(&self.0)
    }

    /// Its value in a scope.
    ///
    /// # Errors
    /// When an expression in it has none, or one that cannot stand inside a text.
    pub fn render(&self, _scope: &Scope<'_>) -> Result<Rendered, EvalError> {
        Ok(Rendered::from(self.0.clone()))
    }

    /// All that it reads, in written order.
    pub fn refs(&self) -> Vec<&Ref> {
        Vec::new()
    }

    /// The steps that it reads, in written order, each once.
    pub fn steps_read(&self) -> Vec<Name> {
        Vec::new()
    }

    /// Whether it reads `item`.
    pub fn names_item(&self) -> bool {
        false
    }

    /// The secrets that stand in it, `params.token`, in written order, each once.
    pub fn secrets(&self) -> Vec<&str> {
        Vec::new()
    }

    /// The shape of its value, inferred without values.
    pub fn shape(&self, _shapes: &dyn Shapes) -> OwnedShape {
        OwnedShape::Any
    }

    /// The shape of its value; what is wrong with the shapes of its parts is added to `findings`.
    pub fn check_shapes(&self, shapes: &dyn Shapes, _findings: &mut Findings) -> OwnedShape {
        self.shape(shapes)
    }
}

/// The template that a scalar's text is: one whole `{{ … }}` keeps its type, anything else is text.
pub fn compile_text(
    text: &str,
    _origin: impl Into<Origin>,
    _site: &Site,
    _secret_params: &dyn Fn(&str) -> bool,
    _findings: &mut Findings,
) -> Option<Template> {
    Some(Template(Value::String(text.to_owned())))
}
