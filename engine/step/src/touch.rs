//! What a step touches and does, said before it does it: [`Touch`], [`Action`].

use serde::{Deserialize, Serialize};

/// How something is touched, from harmless to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Only looked at.
    Reads,
    /// Changed or added to.
    Writes,
    /// Lost, unless there is a backup.
    Destroys,
}

/// One thing that a step touches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touch {
    /// The target's name in the plan; `None` for the runner itself.
    pub target: Option<String>,
    /// What of it: `database OctopusDB`, `collection agent_7f3a`, `path /srv/x`; `?` when not known, which counts as everything.
    pub resource: String,
    /// How.
    pub access: Access,
}

/// What kind of thing an action is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActionKind {
    /// A T-SQL or SQL statement.
    Sql,
    /// An HTTP request.
    Http,
    /// A program that is started.
    Process,
    /// Something in an artifact store.
    Artifact,
    /// Something inside the run: a wait, a value, an approval.
    Flow,
}

/// One thing that a step does, as a dry run shows it. `execute` sends nothing that did not come from its actions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// What kind of thing it is.
    pub kind: ActionKind,
    /// The target's name in the plan; `None` for the runner itself.
    pub target: Option<String>,
    /// The statement, request or command line; secrets are `***`, unknown parts `(known after x)`.
    pub text: String,
    /// Whether it changes anything.
    pub writes: bool,
}

impl Action {
    /// An action that only reads.
    pub fn reads(kind: ActionKind, target: Option<&str>, text: impl Into<String>) -> Self {
        Self { kind, target: target.map(str::to_owned), text: text.into(), writes: false }
    }

    /// An action that changes something.
    pub fn writes(kind: ActionKind, target: Option<&str>, text: impl Into<String>) -> Self {
        Self { writes: true, ..Self::reads(kind, target, text) }
    }
}
