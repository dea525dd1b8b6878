//! Plans made by hand: [`plan`] of [`step`]s, with expressions compiled as the checker would.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock, Mutex};

use drydock_plan::catalog::Effect;
use drydock_plan::duration::Millis;
use drydock_plan::expr::{Expr, Root, Site, Template, compile_expr, compile_text};
use drydock_plan::finding::Findings;
use drydock_plan::model::{
    Backoff, Call, Foreach, Objectives, OnFailure, OnUnknown, Plan, Purpose, Retry, RetryOn, Step, StepIx,
    Validation, When,
};
use drydock_plan::name::{Digest, Name};
use drydock_plan::source::{Place, Span};
use indexmap::IndexMap;
use serde_json::{Value, json};

static ANYWHERE: Site = Site { roots: &Root::ALL, what: "a test" };

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// A bare expression. The random plans use few texts often, and compiling costs more than evaluating.
pub(crate) fn expr(text: &str) -> Expr {
    static COMPILED: LazyLock<Mutex<HashMap<String, Expr>>> = LazyLock::new(Mutex::default);
    let mut compiled = COMPILED.lock().unwrap();
    let compile = || {
        let mut findings = Findings::new();
        let place = Place::new(0, Span::new(0, text.len()));
        let expr = compile_expr(text, place, &ANYWHERE, &|_| false, &mut findings);
        expr.unwrap_or_else(|| panic!("{text}: {findings:?}"))
    };
    compiled.entry(text.to_owned()).or_insert_with(compile).clone()
}

/// A value whose text may have `{{ … }}` in it.
pub(crate) fn template(value: Value) -> Template {
    let Value::String(text) = &value else { return Template::literal(value) };
    let mut findings = Findings::new();
    let place = Place::new(0, Span::new(0, text.len()));
    let compiled = compile_text(text, place, &ANYWHERE, &|_| false, &mut findings);
    compiled.unwrap_or_else(|| panic!("{text}: {findings:?}"))
}

fn call(effect: Effect, with: Value) -> Call {
    let with = with.as_object().cloned().unwrap_or_default();
    let with = with.into_iter().map(|(key, value)| (key, template(value))).collect();
    Call { kind: "test.kind", effect, target: None, with, further_targets: Vec::new(), files: Vec::new() }
}

/// A step under construction: what the plan language says of it, in its words.
#[derive(Debug, Clone)]
pub(crate) struct StepBuilder {
    pub(crate) step: Step,
    needs: Vec<&'static str>,
    undoes: Vec<&'static str>,
}

/// A step that writes and needs nothing.
pub(crate) fn step(id: &str) -> StepBuilder {
    let step = Step {
        id: name(id),
        finally: false,
        description: None,
        call: call(Effect::Writes, json!({})),
        needs: Vec::new(),
        when: None,
        foreach: None,
        retry: Retry::default(),
        timeout: None,
        validate: Vec::new(),
        on_failure: OnFailure::Stop,
        on_unknown: OnUnknown::Ask,
        outputs: IndexMap::new(),
        undoes: Vec::new(),
    };
    StepBuilder { step, needs: Vec::new(), undoes: Vec::new() }
}

/// A step of `finally`.
pub(crate) fn finally(id: &str) -> StepBuilder {
    let mut builder = step(id);
    builder.step.finally = true;
    builder
}

impl StepBuilder {
    pub(crate) fn needs(mut self, needs: &[&'static str]) -> Self {
        self.needs.extend(needs);
        self
    }

    pub(crate) fn undoes(mut self, undoes: &[&'static str]) -> Self {
        self.undoes.extend(undoes);
        self
    }

    pub(crate) fn effect(mut self, effect: Effect) -> Self {
        self.step.call.effect = effect;
        self
    }

    pub(crate) fn reads(self) -> Self {
        self.effect(Effect::Reads)
    }

    pub(crate) fn with(mut self, with: Value) -> Self {
        self.step.call = call(self.step.call.effect, with);
        self
    }

    pub(crate) fn when(mut self, text: &str) -> Self {
        let expr = expr(text);
        self.step.when = Some(When { per_item: expr.names_item(), expr });
        self
    }

    pub(crate) fn foreach(mut self, list: &str) -> Self {
        self.step.foreach = Some(Foreach { list: expr(list), key: None, max_parallel: None });
        self
    }

    pub(crate) fn key(mut self, text: &str) -> Self {
        self.step.foreach.as_mut().unwrap().key = Some(expr(text));
        self
    }

    pub(crate) fn max_parallel(mut self, count: u32) -> Self {
        self.step.foreach.as_mut().unwrap().max_parallel = Some(count);
        self
    }

    pub(crate) fn retry(mut self, attempts: u32, delay_ms: u64, errors: &[RetryOn]) -> Self {
        let (delay, errors) = (Millis(delay_ms), errors.to_vec());
        self.step.retry = Retry { attempts, delay, errors, ..Retry::default() };
        self
    }

    pub(crate) fn backoff(mut self, backoff: Backoff, max_delay: Option<u64>) -> Self {
        (self.step.retry.backoff, self.step.retry.max_delay) = (backoff, max_delay.map(Millis));
        self
    }

    pub(crate) fn timeout(mut self, ms: u64) -> Self {
        self.step.timeout = Some(Millis(ms));
        self
    }

    /// A validation that asks a kind.
    pub(crate) fn check(mut self, assert: &str) -> Self {
        let call = Some(call(Effect::Reads, json!({})));
        self.step.validate.push(Validation { name: assert.into(), call, assert: expr(assert) });
        self
    }

    /// A validation that judges the step's outputs alone.
    pub(crate) fn judges(mut self, assert: &str) -> Self {
        self.step.validate.push(Validation { name: assert.into(), call: None, assert: expr(assert) });
        self
    }

    pub(crate) fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.step.on_failure = on_failure;
        self
    }

    pub(crate) fn continues(self) -> Self {
        self.on_failure(OnFailure::Continue)
    }

    pub(crate) fn ignored(self) -> Self {
        self.on_failure(OnFailure::Ignore)
    }

    pub(crate) fn on_unknown(mut self, on_unknown: OnUnknown) -> Self {
        self.step.on_unknown = on_unknown;
        self
    }

    pub(crate) fn output(mut self, id: &str, value: &str) -> Self {
        self.step.outputs.insert(name(id), template(json!(value)));
        self
    }
}

/// A plan under construction.
#[derive(Debug, Clone)]
pub(crate) struct PlanBuilder(Plan);

/// A plan of these steps; those of `finally` come last, as the checker puts them.
pub(crate) fn plan(steps: impl IntoIterator<Item = StepBuilder>) -> PlanBuilder {
    let mut steps: Vec<StepBuilder> = steps.into_iter().collect();
    steps.sort_by_key(|builder| builder.step.finally);
    let index: HashMap<Name, StepIx> =
        steps.iter().zip(0..).map(|(builder, ix)| (builder.step.id.clone(), StepIx(ix))).collect();
    let named = |names: &[&str]| names.iter().map(|id| index[*id]).collect();
    let steps = steps
        .iter()
        .map(|builder| Step {
            needs: named(&builder.needs),
            undoes: named(&builder.undoes),
            ..builder.step.clone()
        })
        .collect();
    PlanBuilder(Plan {
        name: name("story"),
        purpose: Purpose::Restore,
        description: None,
        objectives: Objectives::default(),
        max_parallel: 8,
        on_unfinished: None,
        params: IndexMap::new(),
        secrets: IndexMap::new(),
        environment_secrets: BTreeSet::new(),
        unset: Vec::new(),
        targets: IndexMap::new(),
        steps,
        outputs: IndexMap::new(),
        environment: None,
        files: IndexMap::new(),
        drill: false,
        digest: Digest("d1".to_owned()),
    })
}

impl PlanBuilder {
    pub(crate) fn param(mut self, id: &str, value: Value) -> Self {
        self.0.params.insert(name(id), value);
        self
    }

    pub(crate) fn max_parallel(mut self, count: u32) -> Self {
        self.0.max_parallel = count;
        self
    }

    pub(crate) fn rto(mut self, ms: u64) -> Self {
        self.0.objectives.rto = Some(Millis(ms));
        self
    }

    pub(crate) fn drill(mut self) -> Self {
        self.0.drill = true;
        self
    }

    pub(crate) fn restored_by(mut self, id: &str) -> Self {
        self.0.objectives.restored_by = self.0.indices().find(|ix| self.0.step(*ix).id == name(id));
        self
    }

    pub(crate) fn output(mut self, id: &str, value: &str) -> Self {
        self.0.outputs.insert(name(id), template(json!(value)));
        self
    }

    pub(crate) fn built(self) -> Arc<Plan> {
        Arc::new(self.0)
    }
}
