//! What a dry run shows: [`DryRun`].

use std::borrow::Cow;

use drydock_plan::name::{Digest, Name};
use drydock_step::{Action, Grant, Identity, PreflightFinding};
use serde::{Deserialize, Serialize};

use crate::bound::{Bound, Difference};
use crate::saved::Saved;

/// Whether a step would run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Runs {
    /// It would.
    Yes,
    /// It would not.
    No,
    /// That depends on what is known only during the run.
    Unknown,
}

/// One step, or one instance of it, as a run would do it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DryStep {
    /// Its name, with its key.
    pub id: String,
    /// Its kind.
    pub uses: Cow<'static, str>,
    /// Whether it would run.
    pub runs: Runs,
    /// Why, where that is not plain.
    pub why: Option<String>,
    /// What it would do, in order, its validations last.
    pub actions: Vec<Action>,
    /// The steps whose outputs it waits for.
    pub unknown: Vec<Name>,
    /// The steps that it comes after.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<Name>,
    /// The first of the steps that may be at work at the same time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<Name>,
    /// Whether it comes after all others, whatever became of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub finally: bool,
}

/// A line about what a step that was asked answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Headline {
    /// The step; through inner plans with theirs, `outer/inner`.
    pub step: String,
    /// The line.
    pub text: String,
}

/// A thing that a run would write to, or destroy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touched {
    /// By which step; through inner plans with theirs, `outer/inner`.
    pub step: String,
    /// On which target.
    pub target: Option<String>,
    /// What.
    pub resource: String,
}

impl Touched {
    /// What, in words: a resource may not be known before the run.
    pub fn words(&self) -> &str {
        if self.resource == "?" { "something that is known during the run" } else { &self.resource }
    }
}

/// A step of which only the run knows which plan it runs, and so what that would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unseen {
    /// The step; through inner plans with theirs, `outer/inner`.
    pub step: String,
}

/// The rights that a step needs, or one of its validations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Needed {
    /// The step; through inner plans with theirs, `outer/inner`.
    pub step: String,
    /// The kind.
    pub uses: &'static str,
    /// The target.
    pub target: Option<Name>,
    /// As statements.
    pub grants: Vec<Grant>,
    /// In words.
    pub words: &'static [&'static str],
}

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The run cannot succeed.
    Error,
    /// It may, and somebody should know.
    #[default]
    Warning,
    /// Whether it can could not be asked.
    Unknown,
}

/// What a probe found about a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DryFinding {
    /// The step.
    pub step: String,
    /// The other steps that have found the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// The target that it was asked of, by the plan's name.
    pub target: Option<Name>,
    /// Whether that target answered.
    #[serde(skip)]
    pub answered: bool,
    /// Whether it did, and nothing but what it said counts.
    #[serde(skip)]
    pub asked: bool,
    /// How much it weighs.
    #[serde(default)]
    pub severity: Severity,
    /// What.
    #[serde(flatten)]
    pub finding: PreflightFinding,
}

impl DryFinding {
    /// The steps that have found it, in words.
    pub fn steps(&self) -> String {
        const NAMED: usize = 3;
        let named = self.also.iter().take(NAMED).map(String::as_str);
        let mut words = std::iter::once(self.step.as_str()).chain(named).collect::<Vec<_>>().join(", ");
        match self.also.len().saturating_sub(NAMED) {
            0 => {}
            more => words.push_str(&format!(" and {more} more")),
        }
        words
    }
}

/// A server that a target stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// The target, by the plan's name.
    pub target: Name,
    /// Who it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// Why it did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent: Option<String>,
}

/// The version of a dry run that is written down.
pub const VERSION: u32 = 1;

/// A whole dry run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DryRun {
    /// `dry-run`: what the document is.
    pub drydock: Cow<'static, str>,
    /// The format's version, [`VERSION`].
    pub version: u32,
    /// The plan's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Name>,
    /// Of what was shown.
    pub digest: Digest,
    /// What to read first: what steps that were asked answered, and what that costs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headlines: Vec<Headline>,
    /// The steps in the order in which they are done, those that may be done at the same time as they are written.
    pub steps: Vec<DryStep>,
    /// Everything that would be destroyed.
    pub destroys: Vec<Touched>,
    /// Everything that would be written to beside that.
    #[serde(default)]
    pub writes: Vec<Touched>,
    /// Steps that run a plan which only the run knows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unseen: Vec<Unseen>,
    /// The servers that were asked who they are, by target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<Server>,
    /// The rights that it needs; no part of what is written down.
    #[serde(skip)]
    pub grants: Vec<Needed>,
    /// What speaks against it.
    pub findings: Vec<DryFinding>,
    /// What a run of it is bound to, where it was saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved: Option<Box<Saved>>,
    /// What each step is bound to, to be saved.
    #[serde(skip)]
    pub bound: Bound,
    /// What is not as it was bound.
    #[serde(skip)]
    pub differences: Vec<Difference>,
}

impl DryRun {
    /// Whether something was found that keeps the run from succeeding.
    pub fn cannot_succeed(&self) -> bool {
        self.findings.iter().any(|found| found.finding.fatal)
    }
}
