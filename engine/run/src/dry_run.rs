//! Everything that a run would do, and nothing of it done: [`DryRun`].
//!
//! Steps are taken in the order of their needs. What a step would give is unknown, except for kinds that answer in a dry run; what
//! follows from something unknown is shown as such and never guessed.

mod begin;
mod entry;
mod order;
mod changes;

use std::collections::HashMap;
use std::sync::Arc;

use drydock_plan::expr::{Answer, Datum, EvalError, Expr, Scope, Seen, Truth};
use drydock_plan::model::{Call, Setting, Step, StepIx};
use drydock_plan::name::Name;
use drydock_plan::rendered::Rendered;
use drydock_step::kind::OwnedGiven;
use drydock_step::{Access, Action, Ctx, Ended, Facts, Given, Kind, RunsPlan, StepError, Touch};
use indexmap::IndexMap;
use serde_json::Value;

use crate::bound::{Bound, BoundStep, Difference};
use crate::dry_host::DryHost;
use crate::mending::{causes, weighed};
use crate::probe::{Probe, refused, unanswered};
use crate::probing::Probing;
use crate::rooms::Rooms;
use crate::servers::Servers;
use crate::services::Services;
pub use crate::shown::{
    DryFinding, DryRun, DryStep, Headline, Needed, Runs, Server, Severity, Touched, Unseen, VERSION,
};
use crate::world::InnerPlan;

use self::begin::during_the_run;
use self::entry::{Unlisted, after, entry, known, names};
use self::order::{order_of, ordered};

/// What a dry run is asked to do.
#[derive(Debug, Clone, Default)]
pub struct DryOptions {
    /// Ask the servers too, only reading, and how.
    pub probe: Option<Probing>,
    /// Show only these steps as running.
    pub only: Vec<Name>,
    /// Show these as left out.
    pub skip: Vec<Name>,
    /// Parameters whose values only the run knows that this plan is a part of.
    pub unknown: Vec<Name>,
    /// Whether it follows steps of another plan that change something.
    pub follows: bool,
    /// Ask nobody: what kinds would answer in a dry run is not known either.
    pub offline: bool,
}

/// Show what a run would do.
pub async fn dry_run(services: &Arc<Services>, options: &DryOptions) -> DryRun {
    let mut work = Work::new(services, options);
    let asked = options.probe.as_ref().map(|probing| Servers::begin(services, probing));
    let order = order_of(&services.plan.steps);
    for ix in &order {
        work.step(*ix).await;
    }
    work.answers().await;
    let inner = std::mem::take(&mut work.servers);
    work.servers = match asked {
        Some(asked) => asked.answered(inner).await,
        None => inner,
    };
    let steps = ordered(&services.plan, &order, work.entries);
    DryRun {
        drydock: "dry-run".into(),
        version: VERSION,
        plan: Some(services.plan.name.clone()),
        digest: services.plan.digest.clone(),
        steps,
        headlines: work.headlines,
        destroys: work.destroys,
        writes: work.writes,
        unseen: work.unseen,
        servers: work.servers,
        grants: work.grants,
        findings: causes(work.findings.into_iter().flatten()),
        saved: None,
        bound: work.bound,
        differences: work.differences,
    }
}

struct Work<'a> {
    services: &'a Arc<Services>,
    options: &'a DryOptions,
    params: Datum,
    seen: HashMap<Name, (Datum, Option<Datum>)>,
    entries: HashMap<StepIx, Vec<DryStep>>,
    /// What each step changes.
    changes: HashMap<StepIx, Vec<Touch>>,
    headlines: Vec<Headline>,
    destroys: Vec<Touched>,
    writes: Vec<Touched>,
    unseen: Vec<Unseen>,
    grants: Vec<Needed>,
    /// What is being asked while the walk goes on.
    probes: Vec<Probe>,
    /// What each step touches, by its name.
    touched: HashMap<Name, Vec<Touch>>,
    /// In the order of the walk, whenever an answer comes.
    findings: Vec<Vec<DryFinding>>,
    servers: Vec<Server>,
    bound: Bound,
    differences: Vec<Difference>,
}

impl Work<'_> {
    async fn step(&mut self, ix: StepIx) {
        let services = self.services.clone();
        let step = services.plan.step(ix);
        let (runs, why) = self.whether(step);
        let before = (self.destroys.len(), self.writes.len(), self.unseen.len());
        let mut entries = Vec::new();
        let (status, outputs) = match (&step.foreach, runs) {
            (_, Runs::No) => {
                entries.push(entry(step, None, Runs::No, why));
                (known("skipped"), None)
            }
            (None, _) => {
                let (shown, outputs) = self.instance(step, None, None, runs, why).await;
                entries.push(shown);
                let status =
                    if outputs.is_some() && runs == Runs::Yes { known("succeeded") } else { after(step) };
                (status, Some(outputs.unwrap_or_else(|| after(step))))
            }
            (Some(foreach), _) => match self.items(&foreach.list, foreach.key.as_ref()) {
                Ok(items) => {
                    for (key, item) in items {
                        let datum = Datum::from_json(&item);
                        let (shown, _) =
                            self.instance(step, Some(&key), Some(&datum), runs, why.clone()).await;
                        entries.push(shown);
                    }
                    (after(step), Some(after(step)))
                }
                Err(unknown) => {
                    entries.push(self.unlisted(step, unknown).await);
                    (after(step), Some(after(step)))
                }
            },
        };
        self.seen.insert(step.id.clone(), (status, outputs));
        self.entries.insert(ix, entries);
        let changes = self.changes_since(before);
        self.changes.insert(ix, changes);
    }

    /// Whether a step would run, as far as that is known.
    fn whether(&self, step: &Step) -> (Runs, Option<String>) {
        if self.options.skip.contains(&step.id) {
            return (Runs::No, Some("left out by --skip".to_owned()));
        }
        if !step.finally && !self.options.only.is_empty() && !self.options.only.contains(&step.id) {
            return (Runs::No, Some("not chosen by --only".to_owned()));
        }
        match step.when.as_ref().filter(|when| !when.per_item) {
            Some(when) => self.judged(&when.expr, None),
            None => (Runs::Yes, None),
        }
    }

    fn judged(&self, when: &Expr, item: Option<&Datum>) -> (Runs, Option<String>) {
        let steps = self.view(when.steps_read());
        match when.truth(&self.scope(&steps, item, &self.run())) {
            Ok(Truth::True) => (Runs::Yes, None),
            Ok(Truth::False) => (Runs::No, Some(format!("`when` is false: {}", when.text()))),
            Ok(Truth::After(after)) => {
                (Runs::Unknown, Some(format!("decided after {}: {}", names(&after), when.text())))
            }
            Err(error) => (Runs::Unknown, Some(format!("`when` cannot be asked: {}", error.message))),
        }
    }

    /// One instance with its actions, and its outputs where they are known.
    async fn instance(
        &mut self,
        step: &Step,
        key: Option<&str>,
        item: Option<&Datum>,
        runs: Runs,
        why: Option<String>,
    ) -> (DryStep, Option<Datum>) {
        let mut shown = entry(step, key, runs, why);
        if let Some(when) = step.when.as_ref().filter(|when| when.per_item) {
            (shown.runs, shown.why) = self.judged(&when.expr, item);
        }
        if shown.runs == Runs::No {
            return (shown, None);
        }
        let outputs = match self.inputs(&step.call, item, None) {
            Ok(with) => self.call(&mut shown, step, &step.call, with).await,
            Err(error) => {
                self.refuse(&shown.id, error.code.0, error.message, error.help);
                None
            }
        };
        let unknown_outputs = Datum::unknown(vec![step.id.clone()]);
        for validation in &step.validate {
            let Some(call) = &validation.call else { continue };
            let own = outputs.as_ref().unwrap_or(&unknown_outputs);
            if let Ok(with) = self.inputs(call, item, Some(own)) {
                self.note_grants(&shown.id, call, &with);
                let actions = self.actions_of(call, &with, &Facts::Null);
                shown.actions.extend(actions.unwrap_or_default());
            }
        }
        (shown, outputs)
    }

    /// The actions of a step's body; its outputs, where its kind answers in a dry run.
    async fn call(
        &mut self,
        shown: &mut DryStep,
        step: &Step,
        call: &Call,
        with: IndexMap<String, Rendered>,
    ) -> Option<Datum> {
        shown.unknown = with.values().flat_map(Rendered::after).fold(Vec::new(), |mut all, name| {
            if !all.contains(&name) {
                all.push(name);
            }
            all
        });
        let services = self.services.clone();
        let kind = services.world.registry.kind_named(call.kind)?;
        self.bound.insert(&shown.id, BoundStep::default());
        if !self.probe(shown, step, call, &with) {
            match self.actions_of(call, &with, &Facts::Null) {
                Ok(actions) => {
                    shown.actions.clone_from(&actions);
                    self.bound.acts(&shown.id, actions, false);
                }
                Err(error) => self.refuse(&shown.id, &error.code, error.message, error.help),
            }
        }
        self.note_touched(shown, step, kind, &with);
        self.note_grants(&shown.id, call, &with);
        if let Some(runs) = kind.shape().runs_plan {
            self.inner_plan(shown, step, runs, &with).await;
        }
        let may = kind.shape().answers_in_dry_run && !self.options.offline && self.may_ask(call);
        let plain = shown.unknown.is_empty() && with.values().all(|value| value.secrets().is_empty());
        if !(may && plain && shown.runs == Runs::Yes) {
            return None;
        }
        self.answer(shown, step, kind, call, with).await
    }

    async fn answer(
        &mut self,
        shown: &DryStep,
        step: &Step,
        kind: &dyn Kind,
        call: &Call,
        with: IndexMap<String, Rendered>,
    ) -> Option<Datum> {
        let ctx = self.ctx(&shown.id, call);
        let asked = self.services.asked(&shown.id, kind, &ctx, with);
        let asked = match &self.options.probe {
            Some(probing) => probing.in_time(call.target.as_ref(), asked).await,
            None => asked.await,
        };
        match asked {
            Ok((Ended::Outputs(mut outputs), differences)) => {
                self.differences.extend(differences);
                self.bound.answered(&shown.id, outputs.clone());
                let told = kind.headlines(&outputs).into_iter();
                self.headlines.extend(told.map(|text| Headline { step: shown.id.clone(), text }));
                let own = Datum::from_json(&outputs);
                for (name, template) in &step.outputs {
                    let steps = self.view(&template.steps_read());
                    let run = self.run();
                    let scope = Scope { outputs: Some(&own), ..self.scope(&steps, None, &run) };
                    if let (Ok(value), Some(map)) = (template.render(&scope), outputs.as_object_mut()) {
                        map.insert(name.to_string(), value.plain()?);
                    }
                }
                Some(Datum::from_json(&outputs))
            }
            Ok((Ended::Waits(_), _)) => None,
            Err(error) if error.code == "probe.timeout" => {
                self.findings.push(vec![unanswered(&shown.id, call.target.as_ref(), error)]);
                None
            }
            Err(error) => {
                if self.services.is_bound(&shown.id) {
                    let is = Some(format!("{} [{}]", error.message, error.code));
                    self.differences.push(Difference { at: shown.id.clone(), was: None, is });
                }
                self.refuse(&shown.id, &error.code, error.message, error.help);
                None
            }
        }
    }

    /// Begins to ask the server whether the step can work, where that was wanted and its inputs are known; its actions are told with the
    /// answer then.
    fn probe(
        &mut self,
        shown: &DryStep,
        step: &Step,
        call: &Call,
        with: &IndexMap<String, Rendered>,
    ) -> bool {
        let Some(probing) = self.options.probe.as_ref().filter(|_| shown.unknown.is_empty()) else {
            return false;
        };
        let given = OwnedGiven { with: Arc::new(with.clone()), fill: None };
        let asking = (self.ctx(&shown.id, call), given);
        let named = (&step.id, shown.id.as_str(), self.findings.len());
        self.probes.push(Probe::begin(self.services, probing, named, call, asking));
        self.findings.push(Vec::new());
        true
    }

    /// Hears what the servers have said, in the order in which they were asked.
    async fn answers(&mut self) {
        let services = self.services.clone();
        let mut rooms = Rooms::default();
        for mut probe in std::mem::take(&mut self.probes) {
            let answered = probe.answered().await;
            rooms.hear(&probe.step, &probe.id, probe.call.target.as_ref(), &answered.facts);
            let Some(step) = services.plan.steps.iter().find(|step| step.id == probe.step) else { continue };
            let mut findings = weighed(&self.services.plan, &self.touched, step, answered.findings);
            // What a server said counts only where no step before this one makes it something else.
            let steady = !answered.facts.is_null() && self.is_steady(step, &probe.call, probe.given().with);
            let facts = if steady { answered.facts } else { Facts::Null };
            match self.actions_of(&probe.call, probe.given().with, &facts) {
                Ok(actions) => {
                    self.bound.acts(&probe.id, actions.clone(), steady);
                    let mut entries = self.entries.values_mut().flatten();
                    if let Some(shown) = entries.find(|shown| shown.id == probe.id) {
                        shown.actions.splice(0..0, actions);
                    }
                }
                Err(error) => findings.push(refused(&probe.id, &error.code, error.message, error.help)),
            }
            self.findings[probe.place].extend(findings);
        }
        self.findings.push(rooms.short(&self.touched));
    }

    /// Whether the target of a step may be asked: where that takes a secret, only a probe asks its source.
    fn may_ask(&self, call: &Call) -> bool {
        let plan = &self.services.plan;
        let target = call.target.as_ref().and_then(|name| plan.targets.get(name));
        self.options.probe.is_some()
            || !target.and_then(|target| target.settings.as_ref()).is_some_and(Setting::holds_secret)
    }

    /// What the plan would do that a step runs: it is a part of this run, and what it destroys this run destroys.
    async fn inner_plan(
        &mut self,
        shown: &mut DryStep,
        step: &Step,
        runs: RunsPlan,
        with: &IndexMap<String, Rendered>,
    ) {
        let path = with.get(runs.plan).and_then(Rendered::plain);
        let Some(path) = path.as_ref().and_then(Value::as_str) else {
            self.unseen.push(Unseen { step: shown.id.clone() });
            return;
        };
        let services = self.services.clone();
        let path = services.site.plan_folder.join(path);
        let params = with.get(runs.params).cloned().unwrap_or(Rendered::Map(IndexMap::new()));
        let id = shown.id.clone();
        let follows = self.options.follows || self.changed_before(step).next().is_some();
        let probe = self.options.probe.clone();
        let asked = InnerPlan { step: &id, plan: &path, params, probe, follows };
        match services.world.subplans.dry_run_plan(asked).await {
            Ok(inner) => {
                let name = |step: &str| format!("{id}/{step}");
                let actions = inner.steps.iter().flat_map(|step| {
                    let said = |action: &Action| Action {
                        text: format!("{}: {}", step.id, action.text),
                        ..action.clone()
                    };
                    step.actions.iter().map(said).collect::<Vec<_>>()
                });
                shown.actions.extend(actions);
                let named = |one: Touched| Touched { step: name(&one.step), ..one };
                let headlines = inner.headlines.into_iter();
                self.headlines.extend(headlines.map(|one| Headline { step: name(&one.step), ..one }));
                self.destroys.extend(inner.destroys.into_iter().map(named));
                self.writes.extend(inner.writes.into_iter().map(named));
                self.unseen.extend(inner.unseen.into_iter().map(|one| Unseen { step: name(&one.step) }));
                self.servers.extend(inner.servers);
                self.bound.insert_inner(&id, inner.bound);
                let differences = inner.differences.into_iter();
                self.differences.extend(differences.map(|one| Difference { at: name(&one.at), ..one }));
                let grants = inner.grants.into_iter();
                self.grants.extend(grants.map(|one| Needed { step: name(&one.step), ..one }));
                let also = |one: &DryFinding| one.also.iter().map(|step| name(step)).collect();
                let findings = inner.findings.into_iter();
                let findings = findings
                    .map(|one| DryFinding { step: name(&one.step), also: also(&one), ..one })
                    .collect();
                self.findings.push(weighed(&self.services.plan, &self.touched, step, findings));
            }
            Err(error) => self.refuse(&id, &error.code, error.message, error.help),
        }
    }

    fn note_touched(
        &mut self,
        shown: &DryStep,
        step: &Step,
        kind: &dyn Kind,
        with: &IndexMap<String, Rendered>,
    ) {
        // What another plan touches is told by its own steps.
        if kind.shape().runs_plan.is_some() {
            return;
        }
        let target = step.call.target.as_ref().map(Name::as_str);
        let touches = kind.touches(target, &Given { with, fill: None }).unwrap_or_default();
        self.touched.entry(step.id.clone()).or_default().extend(touches.iter().cloned());
        for Touch { target, resource, access } in touches {
            let touched = Touched { step: shown.id.clone(), target, resource };
            match access {
                Access::Destroys => self.destroys.push(touched),
                Access::Writes => self.writes.push(touched),
                Access::Reads => {}
            }
        }
    }

    /// The rights that a call needs; where its target gives none by statements, the words of its kind.
    fn note_grants(&mut self, step: &str, call: &Call, with: &IndexMap<String, Rendered>) {
        let Some(kind) = self.services.world.registry.kind_named(call.kind) else { return };
        let grants = kind.grants(&Given { with, fill: None }).unwrap_or_default();
        self.grants.push(Needed {
            step: step.to_owned(),
            uses: call.kind,
            target: call.target.clone(),
            grants,
            words: kind.shape().permissions,
        });
    }

    fn actions_of(
        &self,
        call: &Call,
        with: &IndexMap<String, Rendered>,
        facts: &Facts,
    ) -> Result<Vec<Action>, StepError> {
        let kind = self.services.world.registry.kind_named(call.kind);
        let kind = kind.ok_or_else(|| StepError::internal(format!("there is no kind {}", call.kind)))?;
        kind.actions(call.target.as_ref().map(Name::as_str), &Given { with, fill: None }, facts)
    }

    /// What each instance would do whose item is not known yet: also of such a one it is told what it would destroy.
    async fn unlisted(&mut self, step: &Step, unknown: Unlisted) -> DryStep {
        let after = match unknown {
            Unlisted::After(after) => after,
            Unlisted::Never(why) => return entry(step, None, Runs::Unknown, Some(why)),
        };
        let why = format!("one instance per item of a list that is known after {}", names(&after));
        let item = Datum::unknown(after.clone());
        let (mut shown, _) = self.instance(step, None, Some(&item), Runs::Unknown, Some(why)).await;
        let more = after.into_iter().filter(|name| !shown.unknown.contains(name)).collect::<Vec<_>>();
        shown.unknown.extend(more);
        shown
    }

    fn items(&self, list: &Expr, key: Option<&Expr>) -> Result<Vec<(String, Value)>, Unlisted> {
        let steps = self.view(list.steps_read());
        let run = self.run();
        let items = match list.value(&self.scope(&steps, None, &run)) {
            Ok(Answer::Known(Value::Array(items))) => items,
            Ok(Answer::Known(_)) => return Err(Unlisted::Never(format!("`{}` is not a list", list.text()))),
            Ok(Answer::After(after)) => return Err(Unlisted::After(after)),
            Err(error) => return Err(Unlisted::Never(error.message)),
        };
        let keyed = items.into_iter().map(|item| {
            let value = match key {
                Some(key) => {
                    let datum = Datum::from_json(&item);
                    let steps = self.view(key.steps_read());
                    match key.value(&self.scope(&steps, Some(&datum), &run)) {
                        Ok(Answer::Known(value)) => value,
                        Ok(Answer::After(after)) => return Err(Unlisted::After(after)),
                        Err(error) => return Err(Unlisted::Never(error.message)),
                    }
                }
                None if item.is_object() => item.get("name").cloned().unwrap_or(Value::Null),
                None => item.clone(),
            };
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            Ok((text, item))
        });
        keyed.collect()
    }

    fn inputs(
        &self,
        call: &Call,
        item: Option<&Datum>,
        outputs: Option<&Datum>,
    ) -> Result<IndexMap<String, Rendered>, EvalError> {
        let run = self.run();
        let render = |(name, template): (&String, &drydock_plan::expr::Template)| {
            let steps = self.view(&template.steps_read());
            let scope = Scope { outputs, ..self.scope(&steps, item, &run) };
            Ok((name.clone(), template.render(&scope)?))
        };
        call.with.iter().map(render).collect()
    }

    fn view(&self, reads: &[Name]) -> Vec<(Name, Seen)> {
        let seen = |name: &Name| {
            let unknown = || Datum::unknown(vec![name.clone()]);
            let (status, outputs) =
                self.seen.get(name).cloned().unwrap_or_else(|| (unknown(), Some(unknown())));
            (name.clone(), Seen { status: Some(status), outputs })
        };
        reads.iter().map(seen).collect()
    }

    fn scope<'a>(&'a self, steps: &'a [(Name, Seen)], item: Option<&'a Datum>, run: &'a Datum) -> Scope<'a> {
        Scope { params: Some(&self.params), run: Some(run), steps, item, ..Scope::default() }
    }

    /// `run`: what it is called and how it ends is not known before it runs.
    fn run(&self) -> Datum {
        let plan = &self.services.plan;
        let unknown = during_the_run;
        let entries = [
            ("id", unknown()),
            ("started_at", unknown()),
            ("plan", Rendered::Text(plan.name.to_string())),
            ("purpose", Rendered::Text(plan.purpose.as_str().to_owned())),
            ("status", unknown()),
            ("summary", unknown()),
        ];
        Datum::from_rendered(&Rendered::Map(
            entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        ))
    }

    fn refuse(&mut self, step: &str, code: &str, message: String, help: Option<String>) {
        self.findings.push(vec![refused(step, code, message, help)]);
    }

    fn ctx(&self, step: &str, call: &Call) -> Ctx {
        let site = &self.services.site;
        let attempt: Arc<str> = format!("{}/{step}/dry", site.run).into();
        Ctx {
            run: site.run.clone(),
            plan: self.services.plan.name.as_str().into(),
            digest: self.services.plan.digest.to_string().into(),
            environment: self.services.plan.environment.as_ref().map(|bound| bound.name.as_str().into()),
            step: step.into(),
            attempt: attempt.clone(),
            target: call.target.as_ref().map(|target| target.as_str().into()),
            folder: site.plan_folder.clone(),
            run_started_ms: site.run_started_ms,
            sitting: site.sitting,
            by: site.by.clone(),
            notes: Arc::new(Vec::new()),
            host: Arc::new(DryHost { services: self.services.clone(), attempt }),
        }
    }
}
