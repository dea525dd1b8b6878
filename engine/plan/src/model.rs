//! The plan, resolved and typed: [`Plan`]. It cannot be wrong: `check` is the only place that makes one, and every name in it exists.

use std::collections::BTreeSet;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::catalog::Effect;
use crate::duration::Millis;
use crate::expr::{Expr, Template};
use crate::name::{Digest, Name};
use crate::shape::Shape;

/// Index of a step in [`Plan::steps`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StepIx(pub u32);

impl StepIx {
    /// As an index.
    pub fn ix(self) -> usize {
        self.0 as usize
    }
}

/// A whole plan, bound to its parameters and (where one was given) to its environment.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Its name.
    pub name: Name,
    /// What it is for.
    pub purpose: Purpose,
    /// In its author's words.
    pub description: Option<String>,
    /// What it must keep to.
    pub objectives: Objectives,
    /// How many attempts may run at once in the whole run.
    pub max_parallel: u32,
    /// What `run` does about a run of this plan that died in the middle.
    pub on_unfinished: Option<OnUnfinished>,
    /// The plain values of all parameters that are no secrets.
    pub params: IndexMap<Name, Value>,
    /// Where the value of each secret parameter comes from.
    pub secrets: IndexMap<Name, SecretSource>,
    /// Those of them whose sources the environment file names, so that their files are relative to its folder.
    pub environment_secrets: BTreeSet<Name>,
    /// The parameters that have no value; none where everything was demanded that a run needs.
    pub unset: Vec<Name>,
    /// The targets by the plan's names, bound by the environment; `None` where no environment was given.
    pub targets: IndexMap<Name, Target>,
    /// All steps: the body's in written order, then those of `finally` in written order.
    pub steps: Vec<Step>,
    /// What the plan gives when it has succeeded.
    pub outputs: IndexMap<Name, Template>,
    /// The environment's name, and whether it is protected.
    pub environment: Option<EnvironmentName>,
    /// The content of every file that an input names, by the path that it is named by.
    pub files: IndexMap<String, Digest>,
    /// Whether it is run as a drill: with steps that clean up after it, and to its objectives.
    pub drill: bool,
    /// Over the bytes of plan, environment and every file that an input names.
    pub digest: Digest,
}

/// The head of the environment that a plan is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentName {
    /// Its name.
    pub name: String,
    /// Whether destructive runs ask for a server's own name.
    pub protected: bool,
}

/// What a plan is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// It makes backups.
    Backup,
    /// It restores.
    Restore,
    /// Anything else.
    #[default]
    Maintenance,
}

impl Purpose {
    /// As it is written in a plan.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::Maintenance => "maintenance",
        }
    }
}

/// Recovery point and recovery time objective.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Objectives {
    /// How much may be lost.
    pub rpo: Option<Millis>,
    /// How long a recovery may take.
    pub rto: Option<Millis>,
    /// The step with whose end the system is back: to there a recovery is timed. To the end of the run where nothing is said.
    pub restored_by: Option<StepIx>,
}

/// What `run` does about a run of the same plan and environment that died in the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnUnfinished {
    /// Go on with it.
    Resume,
    /// Close it and start anew.
    Abandon,
    /// Refuse, naming both commands.
    Refuse,
}

/// A named target of the plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Its target kind.
    pub kind: &'static str,
    /// Its settings from the environment: plain values and secrets; `None` where no environment was given.
    pub settings: Option<Setting>,
}

/// A setting of a target: JSON whose leaves may be secrets.
#[derive(Debug, Clone, PartialEq)]
pub enum Setting {
    /// null, true, false, a number or text.
    Plain(Value),
    /// Text whose value is asked of this source at each connection.
    Secret(SecretSource),
    /// A list.
    List(Vec<Setting>),
    /// A mapping.
    Map(IndexMap<String, Setting>),
}

impl Setting {
    /// Whether any leaf of it is a secret.
    pub fn holds_secret(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Secret(_) => true,
            Self::List(items) => items.iter().any(Self::holds_secret),
            Self::Map(entries) => entries.values().any(Self::holds_secret),
        }
    }
}

/// Where a secret's value comes from; never the value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretSource {
    /// An environment variable.
    Env(String),
    /// A file; one last newline is dropped. Relative to the folder of the file that names it.
    File(String),
    /// A program whose standard output is the value; one last newline is dropped.
    Command(Vec<String>),
}

/// One step.
#[derive(Debug, Clone)]
pub struct Step {
    /// Its name.
    pub id: Name,
    /// Whether it stands in `finally`.
    pub finally: bool,
    /// In its author's words.
    pub description: Option<String>,
    /// The call that it makes.
    pub call: Call,
    /// The steps that it waits for, in written order.
    pub needs: Vec<StepIx>,
    /// Runs only where this is true.
    pub when: Option<When>,
    /// One instance per item.
    pub foreach: Option<Foreach>,
    /// When to try again.
    pub retry: Retry,
    /// The longest that one attempt may take.
    pub timeout: Option<Millis>,
    /// What must hold afterwards.
    pub validate: Vec<Validation>,
    /// What its failure means for the run.
    pub on_failure: OnFailure,
    /// What to do about an attempt of which nobody knows what it did.
    pub on_unknown: OnUnknown,
    /// Values added to its outputs when its body has succeeded.
    pub outputs: IndexMap<Name, Template>,
    /// Steps that count as not begun once this one has run.
    pub undoes: Vec<StepIx>,
}

/// A condition of a step.
#[derive(Debug, Clone)]
pub struct When {
    /// The condition.
    pub expr: Expr,
    /// Whether it names `item`: then it is asked for each instance, else once for the step.
    pub per_item: bool,
}

/// A call of a kind.
#[derive(Debug, Clone)]
pub struct Call {
    /// The kind.
    pub kind: &'static str,
    /// Whether it writes, as far as the catalog knows.
    pub effect: Effect,
    /// The target's name in the plan.
    pub target: Option<Name>,
    /// Its inputs.
    pub with: IndexMap<String, Template>,
    /// The further targets that its inputs name.
    pub further_targets: Vec<Name>,
    /// The paths of the files that its inputs name.
    pub files: Vec<Template>,
}

/// One instance of a step per item.
#[derive(Debug, Clone)]
pub struct Foreach {
    /// The list.
    pub list: Expr,
    /// Names the instances; default: the item if it is text or a number, else its `name`.
    pub key: Option<Expr>,
    /// How many instances may run at once.
    pub max_parallel: Option<u32>,
}

/// What must hold after a step's body has succeeded.
#[derive(Debug, Clone)]
pub struct Validation {
    /// Its name.
    pub name: Arc<str>,
    /// What it asks; `None` when it judges the step's own outputs alone.
    pub call: Option<Call>,
    /// The condition: `result`, `outputs` and the step's scope are visible.
    pub assert: Expr,
}

/// When to try a step again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// All tries together; at least 1.
    pub attempts: u32,
    /// Before the second try.
    pub delay: Millis,
    /// How the delay grows.
    pub backoff: Backoff,
    /// The longest delay.
    pub max_delay: Option<Millis>,
    /// Which errors are tried again.
    pub errors: Vec<RetryOn>,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 1,
            delay: Millis(0),
            backoff: Backoff::None,
            max_delay: None,
            errors: vec![RetryOn::Transient],
        }
    }
}

/// How the delay between tries grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backoff {
    /// Always the same.
    #[default]
    None,
    /// delay, 2 × delay, 3 × delay …
    Linear,
    /// delay, 2 × delay, 4 × delay …
    Exponential,
}

/// A class of errors that is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RetryOn {
    /// What the kind says may pass.
    Transient,
    /// An attempt that took longer than its `timeout`.
    Timeout,
    /// A validation that did not hold.
    Validation,
    /// Everything.
    Any,
    /// An error of this code.
    Code(String),
}

/// What a step's failure means for the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// Start nothing new anywhere, let running steps end, then `finally`.
    #[default]
    Stop,
    /// Only what needs it is blocked; the run ends as failed.
    Continue,
    /// It satisfies `needs`; a warning.
    Ignore,
}

/// What to do about an attempt of which nobody knows what it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnUnknown {
    /// End the sitting and ask.
    #[default]
    Ask,
    /// Run it again.
    Redo,
    /// Take it as done.
    Done,
}

impl Plan {
    /// The step of this index.
    pub fn step(&self, ix: StepIx) -> &Step {
        &self.steps[ix.ix()]
    }

    /// The index of the step of this name.
    pub fn index_of(&self, name: &str) -> Option<StepIx> {
        self.steps
            .iter()
            .position(|step| step.id.as_str() == name)
            .and_then(|at| u32::try_from(at).ok())
            .map(StepIx)
    }

    /// All indices, in written order.
    pub fn indices(&self) -> impl Iterator<Item = StepIx> + use<> {
        (0..u32::try_from(self.steps.len()).unwrap_or(u32::MAX)).map(StepIx)
    }
}

/// A parameter as the plan declares it.
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    /// Its type.
    pub shape: ParamType,
    /// Whether a value must be given.
    pub required: bool,
    /// The value when none is given.
    pub default: Option<Value>,
    /// The texts that it may be.
    pub one_of: Vec<Value>,
    /// A regular expression that text must match, whole.
    pub pattern: Option<String>,
    /// The smallest number, duration or size.
    pub min: Option<Value>,
    /// The largest.
    pub max: Option<Value>,
    /// In its author's words.
    pub description: Option<String>,
}

/// The types of parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the words of the plan language")]
pub enum ParamType {
    String,
    Integer,
    Number,
    Boolean,
    Duration,
    Size,
    Datetime,
    Path,
    Url,
    List,
    Map,
    Secret,
}

impl ParamType {
    /// The type of this name, as a plan writes it.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "string" => Self::String,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            "duration" => Self::Duration,
            "size" => Self::Size,
            "datetime" => Self::Datetime,
            "path" => Self::Path,
            "url" => Self::Url,
            "list" => Self::List,
            "map" => Self::Map,
            "secret" => Self::Secret,
            _ => return None,
        })
    }

    /// The shape that expressions see.
    pub fn shape(self) -> Shape {
        match self {
            Self::String | Self::Secret => Shape::Text,
            Self::Integer => Shape::Integer,
            Self::Number => Shape::Number,
            Self::Boolean => Shape::Boolean,
            Self::Duration => Shape::Duration,
            Self::Size => Shape::Size,
            Self::Datetime => Shape::Datetime,
            Self::Path => Shape::Path,
            Self::Url => Shape::Url,
            Self::List => Shape::List(&Shape::Any),
            Self::Map => Shape::Map(&Shape::Any),
        }
    }
}
