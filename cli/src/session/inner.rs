//! Plans inside plans: runs of their own in the same state folder. Main types: [`InnerPlans`], [`Above`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use drydock_machine::{Exit, Machine, RunStatus, Sitting as Begin};
use drydock_plan::check::Demand;
use drydock_plan::model::Plan;
use drydock_plan::name::Name;
use drydock_plan::rendered::Rendered;
use drydock_run::children::CancelSignal;
use drydock_run::dry_run::{DryOptions, DryRun, dry_run};
use drydock_run::state::Given;
use drydock_run::world::{InnerPlan, Subplans};
use drydock_step::StepError;
use serde_json::{Map, Value};

use crate::load::{self, Loaded};

use super::{At, Refusal, Session, registry};

/// So many plans may run each other, one inside the other.
const DEEPEST: usize = 16;

/// The files of the plans that run each other, from the outermost to the one that is looked at.
#[derive(Debug, Clone)]
pub(crate) struct Above(Vec<PathBuf>);

impl Above {
    /// Of a plan that nobody runs but the user.
    pub(crate) fn outermost(plan: &Path) -> Self {
        Self(vec![true_path(plan)])
    }

    /// With a plan that the last one runs.
    fn then(&self, plan: &Path) -> Result<Self, StepError> {
        let plan = true_path(plan);
        let way: Vec<&PathBuf> = self.0.iter().chain([&plan]).collect();
        let words = |way: &[&PathBuf]| {
            way.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" -> ")
        };
        if let Some(at) = self.0.iter().position(|above| *above == plan) {
            let message = format!("the plan would run itself: {}", words(&way[at..]));
            return Err(StepError::new("plan.circle", message).help(
                "take one of these steps out; what is to be done several times goes into a plan of its own, with `foreach`",
            ));
        }
        if self.0.len() >= DEEPEST {
            let message = format!("plans run each other more than {DEEPEST} deep: {}", words(&way));
            return Err(
                StepError::new("plan.circle", message).help("run them one after the other from one plan")
            );
        }
        Ok(Self(way.into_iter().cloned().collect()))
    }
}

/// Where a file really lies; as it was named, where that cannot be found out.
fn true_path(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Runs plans inside one plan.
pub(super) struct InnerPlans {
    pub(super) session: Session,
    pub(super) environment: Option<PathBuf>,
    pub(super) above: Above,
}

#[async_trait]
impl Subplans for InnerPlans {
    async fn dry_run_plan(&self, inner: InnerPlan<'_>) -> Result<DryRun, StepError> {
        let InnerPlan { step, plan, params, probe, follows } = inner;
        let above = self.above.then(plan)?;
        let (known, unknown) = parted(&params);
        let demand = if unknown.is_empty() { Demand::Run } else { Demand::Form };
        let session = self.session.within(step);
        let (loaded, inner) = loaded(&session, plan, self.environment.as_deref(), known, demand)?;
        let services = session.looking(&loaded, inner, &above).map_err(refused)?;
        drop(loaded);
        Ok(dry_run(&services, &DryOptions { probe, follows, unknown, ..DryOptions::default() }).await)
    }

    async fn run_plan(
        &self,
        id: &str,
        step: &str,
        plan: &Path,
        params: Value,
        cancelled: CancelSignal,
    ) -> Result<Value, StepError> {
        let above = self.above.then(plan)?;
        let (session, environment) = (self.session.within(step), self.environment.clone());
        let (id, plan) = (id.to_owned(), plan.to_owned());
        let worked = tokio::task::spawn_blocking(move || {
            let (loaded, inner) = loaded(&session, &plan, environment.as_deref(), params, Demand::Run)?;
            session.nested(&id, inner, &loaded, above, cancelled)
        })
        .await;
        match worked {
            Ok(result) => result,
            Err(error) => Err(StepError::internal(format!("the inner run did not end: {error}"))),
        }
    }
}

/// The values that are known, and the names of the others.
fn parted(params: &Rendered) -> (Value, Vec<Name>) {
    let Rendered::Map(params) = params else { return (Value::Object(Map::new()), Vec::new()) };
    let known = params.iter().filter_map(|(name, value)| Some((name.clone(), value.plain()?))).collect();
    let unknown = params.iter().filter(|(_, value)| value.plain().is_none());
    (Value::Object(known), unknown.filter_map(|(name, _)| Name::parse(name).ok()).collect())
}

/// An inner plan, checked with the values of its parameters.
fn loaded(
    session: &Session,
    plan: &Path,
    environment: Option<&Path>,
    params: Value,
    demand: Demand,
) -> Result<(Loaded, Arc<Plan>), StepError> {
    let file = Some(("the params of plan.run".to_owned(), params.to_string()));
    let given = Given { file, drill: session.drill, ..Given::default() };
    let loaded = load::load(plan, environment, given, demand, registry().catalog(), &session.outside)
        .map_err(|error| StepError::new("plan.run", error.to_string()))?;
    match loaded.plan().cloned() {
        Some(inner) => Ok((loaded, Arc::new(inner))),
        None => {
            let first =
                loaded.checked.findings.first().map_or("it is no plan", |finding| finding.message.as_str());
            Err(StepError::new("plan.run", format!("{}: {first}", plan.display()))
                .help("run `drydock check` on it"))
        }
    }
}

fn refused(refusal: Refusal) -> StepError {
    StepError { help: refusal.help, ..StepError::new("plan.run", refusal.message) }
}

impl Session {
    /// Run a plan inside a plan to its end.
    fn nested(
        &self,
        id: &str,
        inner: Arc<Plan>,
        loaded: &Loaded,
        above: Above,
        cancelled: CancelSignal,
    ) -> Result<Value, StepError> {
        // What it destroys was asked about before the run, as far as it was known then.
        self.confirm(loaded, &inner, &DryOptions::default(), &above)
            .map_err(|refusal| StepError { code: "plan.unconfirmed".to_owned(), ..refused(refusal) })?;
        let (machine, exit) = self.run_inner(id, inner, loaded, above, cancelled)?;
        let report = machine.report();
        if exit == Exit::Done {
            return Ok(serde_json::json!(report.outputs));
        }
        let summary = report.summary.unwrap_or_else(|| format!("{} did not end", report.plan));
        Err(StepError::new("plan.run", format!("{summary} (exit {})", exit.code()))
            .help(format!("`drydock runs show {id}` tells more")))
    }

    /// Begin an inner run, or go on with the one that an earlier attempt began.
    fn run_inner(
        &self,
        id: &str,
        plan: Arc<Plan>,
        loaded: &Loaded,
        above: Above,
        cancelled: CancelSignal,
    ) -> Result<(Machine, Exit), StepError> {
        let begun = self.state.journal(id).is_ok();
        let (folder, _lock, mut machine, journal, begin) = if begun {
            let (folder, lock) = self.state.lock_run(id).map_err(|error| refused(error.into()))?;
            let folded = self.folded(id).map_err(refused)?;
            folded.refuse_unknown(id).map_err(refused)?;
            if folded.machine.status() == RunStatus::Succeeded {
                return Ok((folded.machine, Exit::Done));
            }
            let (machine, begin) = self.changed_inner(id, &folded.machine, plan, loaded)?;
            let journal = self.reopen(&folder, &folded).map_err(refused)?;
            (folder, lock, machine, journal, begin)
        } else {
            let (folder, lock, journal) = self.create(id, loaded).map_err(refused)?;
            (folder, lock, Machine::new(plan), journal, Begin::default())
        };
        let at = At {
            id: id.to_owned(),
            folder,
            plan: loaded.path.clone(),
            environment: loaded.environment.clone(),
            nested: true,
            cancelled: Some(cancelled),
            above,
        };
        let exit = self.sit(&mut machine, journal, &at, begin).map_err(refused)?;
        Ok((machine, exit))
    }

    /// The machine that an inner run goes on with, where its plan may have changed: whoever resumed the outer run accepted that, as far
    /// as it does not come too late.
    fn changed_inner(
        &self,
        id: &str,
        was: &Machine,
        plan: Arc<Plan>,
        loaded: &Loaded,
    ) -> Result<(Machine, Begin), StepError> {
        if was.digest() == Some(&plan.digest) {
            return Ok((was.clone(), Begin::default()));
        }
        let digest = plan.digest.clone();
        let changed = self.fold(id, plan.clone()).map_err(refused)?.machine;
        let too_late = was.too_late(&changed, &Begin::default());
        if let Some(first) = too_late.first() {
            return Err(StepError::new("plan.changed", format!("the inner run {id} cannot go on: {first}"))
                .help(
                    "undo the change, or do all of it again by `--redo` with the step that runs the plan",
                ));
        }
        self.accept(id, &plan, loaded).map_err(refused)?;
        Ok((changed, Begin { accepted: Some(digest), ..Begin::default() }))
    }
}
