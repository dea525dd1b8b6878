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

impl Touch {
    /// Whether two may be of one thing. A name with a `*` in it stands for many, a folder for all below it; what is not known may be
    /// anything.
    pub fn meets(&self, other: &Self) -> bool {
        // The last word is the name: `database OctopusDB`, `snapshots of collection agent_*`.
        let name = |touch: &'_ Self| touch.resource.rsplit(' ').next().unwrap_or_default().to_owned();
        let is_open = |touch: &Self| touch.resource == "?" || touch.resource.contains("(known after ");
        self.target == other.target
            && (is_open(self)
                || is_open(other)
                || stands_for(&name(self), &name(other))
                || stands_for(&name(other), &name(self)))
    }
}

/// Whether a name, or a pattern with one `*`, stands for another.
fn stands_for(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        Some((before, after)) => name.strip_prefix(before).is_some_and(|rest| rest.ends_with(after)),
        None => {
            let folder = pattern.trim_end_matches('/');
            name.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_touches_meet_in_one_thing() {
        let touch = |resource: &str| Touch {
            target: Some("t".to_owned()),
            resource: resource.to_owned(),
            access: Access::Writes,
        };
        for (one, other, meet) in [
            ("database OctopusDB", "database OctopusDB", true),
            ("database OctopusDB", "server objects", false),
            ("collections agent_*", "collection agent_7f3a", true),
            ("snapshots of collection agent_*", "collection other", false),
            ("?", "database OctopusDB", true),
            ("path in", "path in/full.bak", true),
            ("path points/", "path points/01K/manifest.json", true),
            ("path in", "path inner/full.bak", false),
            ("collection (known after point)", "collection a", true),
        ] {
            assert_eq!(touch(one).meets(&touch(other)), meet, "{one} {other}");
            assert_eq!(touch(other).meets(&touch(one)), meet, "{other} {one}");
        }
        let elsewhere = Touch { target: None, ..touch("?") };
        assert!(!elsewhere.meets(&touch("?")));
    }
}
