//! The kinds and target kinds that exist, as plain data: [`Catalog`]. `check` and `schema` read it; the registry of `step` makes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::rendered::Rendered;
use crate::shape::{Field, Shape};

/// Whether a kind changes anything outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It only reads: validations may use it, and its lost attempts are simply tried again.
    Reads,
    /// It may write.
    Writes,
    /// It says so itself: the input of this name is `reads` or `writes`, and `writes` when it is left out.
    ByInput(&'static str),
}

/// What a kind works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetNeed {
    /// It takes no `target`.
    None,
    /// It needs a target of one of these target kinds.
    OneOf(&'static [&'static str]),
    /// It needs a target of any kind.
    Any,
}

/// The inputs by which a kind runs another plan as a part of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunsPlan {
    /// The input that names the plan's file.
    pub plan: &'static str,
    /// The input that gives values to its parameters.
    pub params: &'static str,
}

/// Where an input of a cleaning step comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The first of these inputs of the step that is given.
    First(&'static [&'static str]),
    /// It is `true`.
    True,
}

/// The kind whose step takes away what a step has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanUp {
    /// The kind.
    pub kind: &'static str,
    /// Its inputs, and where each comes from.
    pub inputs: &'static [(&'static str, From)],
}

/// One step kind, described.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KindShape {
    /// The name that `uses:` gives, such as `sqlserver.restore`.
    pub name: &'static str,
    /// What it does: first sentence is the summary.
    pub docs: &'static str,
    /// What it works on.
    pub target: TargetNeed,
    /// Its inputs, the keys of `with`.
    pub inputs: &'static [Field],
    /// The inputs whose texts are names of further targets of the plan, with the target kinds that each may be.
    pub target_inputs: &'static [(&'static str, &'static [&'static str])],
    /// The shape of its outputs.
    pub outputs: Shape,
    /// Whether it writes.
    pub effect: Effect,
    /// Whether a dry run executes it, because it only reads and what follows depends on what it says.
    pub answers_in_dry_run: bool,
    /// How it runs another plan, where it does.
    pub runs_plan: Option<RunsPlan>,
    /// How a drill takes away what it made, where that would stay behind.
    pub clean_up: Option<CleanUp>,
    /// Whether it can be asked after a crash what happened (false: its lost attempts are Unknown).
    pub reconciles: bool,
    /// What the login needs to be allowed to do, for `drydock grants`.
    pub permissions: &'static [&'static str],
    /// An example of a step that uses it, as YAML.
    pub example: &'static str,
}

/// One target kind, described.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TargetKindShape {
    /// The name that a plan's `targets` and an environment's `kind` give.
    pub name: &'static str,
    /// What it is.
    pub docs: &'static str,
    /// The keys of its mapping in an environment file, besides `kind`.
    pub fields: &'static [Field],
}

/// What a kind has against its inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// What is wrong: a value that no server takes, or inputs that do not go together. Inputs stand in back-ticks, the culprit first.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// Judges the inputs of a kind, in as far as they are known; what is known only later is [`Rendered::After`]. Pure.
#[derive(Clone)]
pub struct Judge(Arc<Judging>);

type Judging = dyn Fn(&IndexMap<String, Rendered>) -> Option<Misfit> + Send + Sync;

impl Judge {
    /// The judge that judges so.
    pub fn new(
        judging: impl Fn(&IndexMap<String, Rendered>) -> Option<Misfit> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(judging))
    }

    /// The first thing that is wrong with these inputs.
    pub fn misfit(&self, with: &IndexMap<String, Rendered>) -> Option<Misfit> {
        (self.0)(with)
    }
}

impl std::fmt::Debug for Judge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Judge")
    }
}

/// How a step touches something, from harmless to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// It looks at it.
    Reads,
    /// It changes it or adds to it.
    Writes,
    /// It replaces it or takes it away.
    Destroys,
}

/// One thing that a step touches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// The target's name in the plan; `None` for the runner itself.
    pub target: Option<String>,
    /// What of it: `database OctopusDB`, `collection agent_7f3a`; with a `?` where it is not known.
    pub resource: String,
    /// How.
    pub reach: Reach,
}

/// Says what a step of a kind touches, given its target and its inputs in as far as they are known. Pure.
#[derive(Clone)]
pub struct Toucher(Arc<Touching>);

type Touching = dyn Fn(Option<&str>, &IndexMap<String, Rendered>) -> Vec<Touched> + Send + Sync;

impl Toucher {
    /// The one that says so.
    pub fn new(
        touching: impl Fn(Option<&str>, &IndexMap<String, Rendered>) -> Vec<Touched> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(touching))
    }

    /// What a step with this target and these inputs touches; nothing where that cannot be said.
    pub fn touched(&self, target: Option<&str>, with: &IndexMap<String, Rendered>) -> Vec<Touched> {
        (self.0)(target, with)
    }
}

impl std::fmt::Debug for Toucher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Toucher")
    }
}

/// All kinds and target kinds.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// Step kinds by name.
    pub kinds: BTreeMap<&'static str, KindShape>,
    /// Target kinds by name.
    pub targets: BTreeMap<&'static str, TargetKindShape>,
    /// Who judges the inputs of step kinds, by their names; shapes alone count for a kind that has nobody.
    pub judges: BTreeMap<&'static str, Judge>,
    /// Who says what steps of a kind touch, by the kinds' names; of a kind that has nobody, nothing is known.
    pub touchers: BTreeMap<&'static str, Toucher>,
}

impl Catalog {
    /// A catalog of these.
    pub fn new(
        kinds: impl IntoIterator<Item = KindShape>,
        targets: impl IntoIterator<Item = TargetKindShape>,
    ) -> Self {
        Self {
            kinds: kinds.into_iter().map(|kind| (kind.name, kind)).collect(),
            targets: targets.into_iter().map(|target| (target.name, target)).collect(),
            judges: BTreeMap::new(),
            touchers: BTreeMap::new(),
        }
    }

    /// The same, with judges for the inputs of these step kinds.
    #[must_use]
    pub fn judged_by(self, judges: impl IntoIterator<Item = (&'static str, Judge)>) -> Self {
        Self { judges: judges.into_iter().collect(), ..self }
    }

    /// The same, with those who say what steps of these kinds touch.
    #[must_use]
    pub fn touched_by(self, touchers: impl IntoIterator<Item = (&'static str, Toucher)>) -> Self {
        Self { touchers: touchers.into_iter().collect(), ..self }
    }
}
