//! What an expression reads: [`Ref`], and where it may read from: [`Root`], [`Site`].

use crate::source::Place;

/// The names that an expression may start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Root {
    /// The plan's parameters.
    Params,
    /// The steps, each with `status` and `outputs`.
    Steps,
    /// The item of a `foreach`.
    Item,
    /// The run: `id`, `started_at`, `plan`, `purpose`, `status`, `summary`.
    Run,
    /// What a validation's call gave.
    Result,
    /// The step's own outputs, in its validations.
    Outputs,
    /// The variables of the runner's environment, in environment files.
    Env,
}

impl Root {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Params, Self::Steps, Self::Item, Self::Run, Self::Result, Self::Outputs, Self::Env];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Params => "params",
            Self::Steps => "steps",
            Self::Item => "item",
            Self::Run => "run",
            Self::Result => "result",
            Self::Outputs => "outputs",
            Self::Env => "env",
        }
    }
}

/// A place of the language where an expression may stand, and what it may read there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Site {
    /// What it may start from.
    pub roots: &'static [Root],
    /// What the place is, for messages: `a step's input`, "`when`".
    pub what: &'static str,
}

/// One name or constant subscript of a reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The name, or the subscript as text: `rows[0]` has `rows` and `0`.
    pub text: String,
    /// Where it is written.
    pub place: Place,
}

/// What keeps a reference from failing when there is nothing there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Guard {
    /// Nothing.
    Bare,
    /// `| default(…)` around it.
    Default,
    /// It is what `is defined` asks about, or it stands behind a condition of the same expression that asks whether its step
    /// succeeded (`steps.x.status == 'succeeded' and steps.x.outputs.n > 3`).
    Defined,
}

/// One reference of an expression, as far as its path is constant: `steps.a.outputs[params.n].x` is `steps.a.outputs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ref {
    /// Where it starts.
    pub root: Root,
    /// The names that follow.
    pub path: Vec<Segment>,
    /// Where it is written, whole.
    pub place: Place,
    /// What keeps it from failing.
    pub guard: Guard,
}

impl Ref {
    /// The names of the path, joined with the root by dots: `steps.a.outputs.rows.0`.
    pub fn dotted(&self) -> String {
        std::iter::once(self.root.as_str())
            .chain(self.path.iter().map(|segment| segment.text.as_str()))
            .collect::<Vec<_>>()
            .join(".")
    }
}
