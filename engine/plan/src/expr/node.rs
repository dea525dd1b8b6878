//! An expression as meant: a tree of [`Node`]s of our own, so that nothing but the parser depends on minijinja's.

use minijinja::Value;

use crate::expr::compare::Comparison;
use crate::expr::filter::Filter;
use crate::expr::predicate::Test;
use crate::expr::reference::{Guard, Root};
use crate::source::Span;

/// A part of an expression.
#[derive(Debug)]
pub(crate) struct Node {
    /// Its bytes in the text of the expression.
    pub(crate) at: Span,
    /// What it is.
    pub(crate) what: What,
}

/// What a part of an expression is.
#[derive(Debug)]
pub(crate) enum What {
    /// A value that is written out.
    Constant(Value),
    /// A reference: index into the expression's reads.
    Path(usize),
    /// A computed subscript, or any subscript of something computed.
    Index(Box<Node>, Box<Node>),
    /// `not a`
    Not(Box<Node>),
    /// `a and b`
    And(Box<Node>, Box<Node>),
    /// `a or b`
    Or(Box<Node>, Box<Node>),
    /// `then if condition else otherwise`, as (condition, then, otherwise)
    If(Box<Node>, Box<Node>, Box<Node>),
    /// `a == b`, `a in b` and their like
    Compare(Comparison, Box<Node>, Box<Node>),
    /// `a + b` and its like
    Arithmetic(Operator, Box<Node>, Box<Node>),
    /// `-a`
    Negative(Box<Node>),
    /// `a ~ b`
    Concat(Box<Node>, Box<Node>),
    /// `a | default(b)`
    Default(Box<Node>, Box<Node>),
    /// `a is defined`
    Defined(Box<Node>),
    /// `a | filter(b, c=d)`
    Filter(&'static Filter, Box<Node>, Vec<Argument>),
    /// `a is test(b)`
    Test(&'static Test, Box<Node>, Vec<Argument>),
    /// `[a, b]`
    List(Vec<Node>),
    /// `{a: b}`
    Map(Vec<(Node, Node)>),
}

/// An argument of a filter or test.
#[derive(Debug)]
pub(crate) struct Argument {
    /// Its name, when it is given by name.
    pub(crate) name: Option<String>,
    /// Its value.
    pub(crate) value: Node,
}

/// What is done with two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the signs'")]
pub(crate) enum Operator {
    Plus,
    Minus,
    Times,
    Divided,
    Whole,
    Remainder,
    Power,
}

impl Operator {
    /// All, in the order of their declaration.
    pub(crate) const ALL: [Self; 7] =
        [Self::Plus, Self::Minus, Self::Times, Self::Divided, Self::Whole, Self::Remainder, Self::Power];

    /// As it is written.
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Self::Plus => "+",
            Self::Minus => "-",
            Self::Times => "*",
            Self::Divided => "/",
            Self::Whole => "//",
            Self::Remainder => "%",
            Self::Power => "**",
        }
    }
}

/// One reference of an expression: a [`Ref`](crate::expr::Ref) whose places are bytes of the expression's text.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) root: Root,
    pub(crate) keys: Vec<Key>,
    pub(crate) at: Span,
    pub(crate) guard: Guard,
}

/// A name or constant subscript.
#[derive(Debug)]
pub(crate) struct Key {
    /// Text, or a whole number.
    pub(crate) value: Value,
    pub(crate) at: Span,
}

impl Key {
    /// As text.
    pub(crate) fn text(&self) -> String {
        self.value.to_string()
    }
}

impl Read {
    /// The text of the key at this depth, when it is a name.
    pub(crate) fn name(&self, depth: usize) -> Option<&str> {
        self.keys.get(depth)?.value.as_str()
    }
}
