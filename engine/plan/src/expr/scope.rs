//! What an expression is asked in, and what it answers: [`Scope`], [`Answer`], [`Truth`], [`Judged`], [`EvalError`].

use serde_json::Value;

use crate::expr::datum::Datum;
use crate::finding::Code;
use crate::name::Name;
use crate::source::Place;

/// What is to be seen of one step; what is absent is undefined.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Its status, as text.
    pub status: Option<Datum>,
    /// Its outputs.
    pub outputs: Option<Datum>,
}

/// What an expression can see; what is absent is undefined.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scope<'a> {
    /// The plain values of the parameters; secrets are not among them.
    pub params: Option<&'a Datum>,
    /// The run.
    pub run: Option<&'a Datum>,
    /// The steps that may be named, in any order.
    pub steps: &'a [(Name, Seen)],
    /// The item of a `foreach`.
    pub item: Option<&'a Datum>,
    /// What a validation's call gave.
    pub result: Option<&'a Datum>,
    /// The step's own outputs.
    pub outputs: Option<&'a Datum>,
    /// The runner's environment variables, in environment files.
    pub env: Option<&'a Datum>,
}

/// The value of an expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// This one.
    Known(Value),
    /// Known only after these steps, in the order read, each once.
    After(Vec<Name>),
}

/// The truth of a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Known only after these steps, in the order read, each once.
    After(Vec<Name>),
}

/// An assertion, judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// Whether it holds.
    pub ok: Truth,
    /// What it expected, readable: `between 1 and 5`.
    pub expected: String,
    /// What was found, readable: `7`.
    pub found: String,
}

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EvalError {
    /// Its kind.
    pub code: Code,
    /// The part of the expression that it is about.
    pub place: Place,
    /// What is wrong, one sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}
