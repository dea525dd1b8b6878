//! What a step kind signs: [`StepKind`] with its typed inputs, and [`Kind`], the same with the inputs' type hidden, which the engine
//! calls.

use async_trait::async_trait;
use drydock_plan::catalog::KindShape;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::context::Ctx;
use crate::error::StepError;
use crate::grant::Grant;
use crate::inputs::{Given, Inputs};
use crate::touch::{Action, Touch};

/// How an attempt ended well.
#[derive(Debug, Clone, PartialEq)]
pub enum Ended {
    /// With these outputs, at most 1 MiB as JSON.
    Outputs(Value),
    /// It waits for a person's answer to this message; the answer becomes its outputs.
    Waits(String),
}

/// What the server says about an attempt that was begun and not ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reconciled {
    /// It was done, with these outputs.
    Done(Value),
    /// Nothing of it was done.
    NotDone,
    /// A part was done; the next attempt goes on from here.
    Partly(Value),
    /// It is still going on over there; ask again after so many milliseconds.
    Busy(u64),
    /// Nobody can say, and why.
    Unknown(String),
}

/// What preflight learned, for `actions`.
pub type Facts = Value;

/// Room that a step takes at a place of its server which other steps may share. A kind tells it among its facts, by [`RoomNeeded::KEY`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomNeeded {
    /// The volume or folder, as the server names it.
    pub place: String,
    /// Bytes that are needed beside what becomes free.
    pub needed: i64,
    /// Bytes that are free now.
    pub free: i64,
    /// The code of what a step without room is refused with.
    pub code: String,
}

impl RoomNeeded {
    /// Its key among the facts.
    pub const KEY: &str = "room";

    /// What these facts tell.
    pub fn told(facts: &Facts) -> Vec<Self> {
        let told = facts.get(Self::KEY).map(Vec::<Self>::deserialize);
        told.and_then(Result::ok).unwrap_or_default()
    }
}

/// One thing that preflight found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreflightFinding {
    /// What kind of finding: a code with a page in `docs/codes`.
    pub code: String,
    /// Whether the step cannot work.
    pub fatal: bool,
    /// What was found.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// The answer of a preflight.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Preflight {
    /// What it learned.
    pub facts: Facts,
    /// What it found.
    pub findings: Vec<PreflightFinding>,
}

/// A step kind with typed inputs. One implementation is one file under `steps/`.
#[async_trait]
pub trait StepKind: Send + Sync + 'static {
    /// Its inputs.
    type Inputs: Inputs;

    /// Its description; `inputs` is filled from [`StepKind::Inputs`].
    fn shape(&self) -> KindShape;

    /// Whether it answers out of its inputs alone and at once: no server, file, program or time is asked. Such a kind is executed where
    /// it was decided on; handing it to another thread would cost more than all that it does.
    fn is_immediate(&self) -> bool {
        false
    }

    /// Whether the inputs go together, in as far as they are known: `check` asks that long before there is a server. Pure.
    ///
    /// # Errors
    /// `input`; it names the inputs in back-ticks, first the one to change.
    fn judge(&self, _inputs: &Self::Inputs) -> Result<(), StepError> {
        Ok(())
    }

    /// What it touches. Pure; what is not known counts as the worst.
    fn touches(&self, target: Option<&str>, inputs: &Self::Inputs) -> Vec<Touch>;

    /// What it does, as a dry run shows it. Pure.
    fn actions(&self, target: Option<&str>, inputs: &Self::Inputs, facts: &Facts) -> Vec<Action>;

    /// What of its answer in a dry run everybody should read first, a line each: what was chosen, and what that costs. Pure.
    fn headlines(&self, _outputs: &Value) -> Vec<String> {
        Vec::new()
    }

    /// The inputs by which it gives this answer again once what is newest has moved on. Pure; none where its inputs do that as they are.
    fn pinned(&self, _outputs: &Value) -> Vec<(&'static str, Value)> {
        Vec::new()
    }

    /// Whether no other step changes what its preflight learns: it comes from the plan's own files and settings.
    fn learns_for_good(&self) -> bool {
        false
    }

    /// What of its answer moves while what was chosen stays, as JSON pointers: a saved dry run does not bind it.
    fn moving(&self) -> &'static [&'static str] {
        &[]
    }

    /// The rights that it needs, as statements for an administrator. Pure; empty where its target gives rights in another way.
    fn grants(&self, _inputs: &Self::Inputs) -> Vec<Grant> {
        Vec::new()
    }

    /// Whether it can work: reads only.
    ///
    /// # Errors
    /// When it could not find out.
    async fn preflight(&self, _ctx: &Ctx, _inputs: &Self::Inputs) -> Result<Preflight, StepError> {
        Ok(Preflight::default())
    }

    /// Whether what it reads is whole: reads all of it, which takes its time, and changes nothing. What speaks against it, beside what
    /// [`StepKind::preflight`] finds at once.
    ///
    /// # Errors
    /// When it could not find out.
    async fn prove(&self, _ctx: &Ctx, _inputs: &Self::Inputs) -> Result<Vec<PreflightFinding>, StepError> {
        Ok(Vec::new())
    }

    /// Do it. `from` is what [`Reconciled::Partly`] said of an earlier attempt.
    ///
    /// # Errors
    /// Why not; `transient` and `unknown` decide what happens next.
    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &Self::Inputs,
        from: Option<&Value>,
    ) -> Result<Ended, StepError>;

    /// After a crash, a lost connection or a cancel that did not answer: ask the server what happened.
    ///
    /// # Errors
    /// When the server cannot be asked now; it is asked again.
    async fn reconcile(&self, ctx: &Ctx, inputs: &Self::Inputs) -> Result<Reconciled, StepError>;

    /// Stop what an attempt started at the server. The attempt itself sees [`Ctx::cancelled`].
    ///
    /// # Errors
    /// When the server did not take it; the attempt is then reconciled.
    async fn cancel(&self, _ctx: &Ctx, _inputs: &Self::Inputs) -> Result<(), StepError> {
        Ok(())
    }
}

/// A step kind as the engine calls it.
#[async_trait]
pub trait Kind: Send + Sync {
    /// Its description.
    fn shape(&self) -> KindShape;

    /// Whether it answers out of its inputs alone and at once.
    fn is_immediate(&self) -> bool;

    /// Whether the inputs fit, each and together.
    ///
    /// # Errors
    /// When they do not.
    fn judge(&self, given: &Given<'_>) -> Result<(), StepError>;

    /// What it touches.
    ///
    /// # Errors
    /// When the inputs do not fit.
    fn touches(&self, target: Option<&str>, given: &Given<'_>) -> Result<Vec<Touch>, StepError>;

    /// What of its answer in a dry run everybody should read first.
    fn headlines(&self, outputs: &Value) -> Vec<String>;

    /// The inputs by which it gives this answer again.
    fn pinned(&self, outputs: &Value) -> Vec<(&'static str, Value)>;

    /// Whether no other step changes what its preflight learns.
    fn learns_for_good(&self) -> bool;

    /// What of its answer always moves, as JSON pointers.
    fn moving(&self) -> &'static [&'static str];

    /// What it does.
    ///
    /// # Errors
    /// When the inputs do not fit.
    fn actions(
        &self,
        target: Option<&str>,
        given: &Given<'_>,
        facts: &Facts,
    ) -> Result<Vec<Action>, StepError>;

    /// The rights that it needs.
    ///
    /// # Errors
    /// When the inputs do not fit.
    fn grants(&self, given: &Given<'_>) -> Result<Vec<Grant>, StepError>;

    /// Whether it can work.
    ///
    /// # Errors
    /// When the inputs do not fit or it could not find out.
    async fn preflight(&self, ctx: &Ctx, given: OwnedGiven) -> Result<Preflight, StepError>;

    /// Whether what it reads is whole.
    ///
    /// # Errors
    /// When the inputs do not fit or it could not find out.
    async fn prove(&self, ctx: &Ctx, given: OwnedGiven) -> Result<Vec<PreflightFinding>, StepError>;

    /// Do it.
    ///
    /// # Errors
    /// Why not.
    async fn execute(&self, ctx: &Ctx, given: OwnedGiven, from: Option<&Value>) -> Result<Ended, StepError>;

    /// Ask what happened.
    ///
    /// # Errors
    /// When it cannot be asked now.
    async fn reconcile(&self, ctx: &Ctx, given: OwnedGiven) -> Result<Reconciled, StepError>;

    /// Stop it at the server.
    ///
    /// # Errors
    /// When the server did not take it.
    async fn cancel(&self, ctx: &Ctx, given: OwnedGiven) -> Result<(), StepError>;
}

/// Gives a secret's value by its name.
pub type Fill = std::sync::Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// [`Given`] for calls that wait.
#[derive(Clone)]
pub struct OwnedGiven {
    /// The rendered inputs.
    pub with: std::sync::Arc<indexmap::IndexMap<String, drydock_plan::rendered::Rendered>>,
    /// Fills the holes; absent in a dry run.
    pub fill: Option<Fill>,
}

impl OwnedGiven {
    fn read<I: Inputs>(&self) -> Result<I, StepError> {
        match &self.fill {
            Some(fill) => {
                let fill = fill.clone();
                I::read(&Given { with: &self.with, fill: Some(&move |name| fill(name)) })
            }
            None => I::read(&Given { with: &self.with, fill: None }),
        }
    }
}

#[async_trait]
impl<K: StepKind> Kind for K {
    fn shape(&self) -> KindShape {
        KindShape { inputs: K::Inputs::FIELDS, ..StepKind::shape(self) }
    }

    fn is_immediate(&self) -> bool {
        StepKind::is_immediate(self)
    }

    fn judge(&self, given: &Given<'_>) -> Result<(), StepError> {
        StepKind::judge(self, &K::Inputs::read(given)?)
    }

    fn touches(&self, target: Option<&str>, given: &Given<'_>) -> Result<Vec<Touch>, StepError> {
        Ok(StepKind::touches(self, target, &K::Inputs::read(given)?))
    }

    fn headlines(&self, outputs: &Value) -> Vec<String> {
        StepKind::headlines(self, outputs)
    }

    fn pinned(&self, outputs: &Value) -> Vec<(&'static str, Value)> {
        StepKind::pinned(self, outputs)
    }

    fn learns_for_good(&self) -> bool {
        StepKind::learns_for_good(self)
    }

    fn moving(&self) -> &'static [&'static str] {
        StepKind::moving(self)
    }

    fn actions(
        &self,
        target: Option<&str>,
        given: &Given<'_>,
        facts: &Facts,
    ) -> Result<Vec<Action>, StepError> {
        Ok(StepKind::actions(self, target, &K::Inputs::read(given)?, facts))
    }

    fn grants(&self, given: &Given<'_>) -> Result<Vec<Grant>, StepError> {
        Ok(StepKind::grants(self, &K::Inputs::read(given)?))
    }

    async fn preflight(&self, ctx: &Ctx, given: OwnedGiven) -> Result<Preflight, StepError> {
        let inputs = given.read()?;
        StepKind::preflight(self, ctx, &inputs).await
    }

    async fn prove(&self, ctx: &Ctx, given: OwnedGiven) -> Result<Vec<PreflightFinding>, StepError> {
        let inputs = given.read()?;
        StepKind::prove(self, ctx, &inputs).await
    }

    async fn execute(&self, ctx: &Ctx, given: OwnedGiven, from: Option<&Value>) -> Result<Ended, StepError> {
        let inputs = given.read()?;
        StepKind::execute(self, ctx, &inputs, from).await
    }

    async fn reconcile(&self, ctx: &Ctx, given: OwnedGiven) -> Result<Reconciled, StepError> {
        let inputs = given.read()?;
        StepKind::reconcile(self, ctx, &inputs).await
    }

    async fn cancel(&self, ctx: &Ctx, given: OwnedGiven) -> Result<(), StepError> {
        let inputs = given.read()?;
        StepKind::cancel(self, ctx, &inputs).await
    }
}
