//! Expressions and templates of a plan: [`Expr`], [`Template`], evaluated in a [`Scope`].
//!
//! minijinja parses, holds the values and does the arithmetic, the filters and the tests. What it would do silently is done here:
//! paths that lead nowhere, comparisons of things that cannot be compared, `and or not` over parts that are not known yet, and
//! secrets, which it never sees.

mod codes;
mod origin;
mod decimal;
mod datum;
mod reference;
mod scope;
mod compare;
mod filter;
mod predicate;
mod filtering;
mod node;
mod engine;
mod usage;
mod guard;
mod ast;
mod compiled;
mod walk;
mod operators;
mod evaluation;
mod judgement;
mod inference;
mod narrowing;
mod braces;
mod expression;
mod template;

pub use braces::braces_of;
pub use codes::{CODES, CodePage};
pub use datum::Datum;
pub use expression::{Expr, GuardedStep, Together, compile_expr, guards};
pub use filter::{FILTERS, Filter};
pub use inference::Shapes;
pub use origin::Origin;
pub use predicate::{TESTS, Test};
pub use reference::{Guard, Ref, Root, Segment, Site};
pub use scope::{Answer, EvalError, Judged, Scope, Seen, Truth};
pub use template::{Template, compile_text};
