//! Expressions and templates of a plan: [`Expr`], [`Template`], evaluated in a [`Scope`].
//!
//! minijinja parses, holds the values and does the arithmetic and the filters. What it would do silently is done here: paths that
//! lead nowhere, comparisons of things that cannot be compared, `and or not` over parts that are not known yet, and secrets, which
//! it never sees.

mod codes;
mod origin;
mod decimal;
mod datum;
mod reference;
mod scope;
mod expression;
mod template;

pub use codes::{CODES, CodePage};
pub use datum::Datum;
pub use expression::{Expr, GuardedStep, Shapes, compile_expr, guards};
pub use origin::Origin;
pub use reference::{Guard, Ref, Root, Segment, Site};
pub use scope::{Answer, EvalError, Judged, Scope, Seen, Truth};
pub use template::{Template, compile_text};
