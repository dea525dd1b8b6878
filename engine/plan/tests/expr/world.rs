//! A scope for a test, written as JSON: [`World`]; and expressions compiled where everything may be read.

use drydock_plan::expr::{
    Answer, Datum, EvalError, Expr, Root, Scope, Seen, Site, Template, compile_expr, compile_text,
};
use drydock_plan::finding::{Finding, Findings};
use drydock_plan::name::Name;
use drydock_plan::rendered::Rendered;
use drydock_plan::source::{Place, Span};
use serde_json::Value;

pub(crate) const EVERYWHERE: Site = Site { roots: &Root::ALL, what: "`when`" };

#[derive(Default)]
pub(crate) struct World {
    params: Option<Datum>,
    item: Option<Datum>,
    result: Option<Datum>,
    outputs: Option<Datum>,
    run: Option<Datum>,
    steps: Vec<(Name, Seen)>,
}

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

impl World {
    /// `{params, item, result, outputs, run, steps: {x: {status, outputs}}}`, all optional.
    pub(crate) fn new(json: &Value) -> Self {
        let datum = |key: &str| json.get(key).map(Datum::from_json);
        let steps = json.get("steps").and_then(Value::as_object).into_iter().flatten();
        let seen = |step: &Value| Seen {
            status: step.get("status").map(Datum::from_json),
            outputs: step.get("outputs").map(Datum::from_json),
        };
        Self {
            params: datum("params"),
            item: datum("item"),
            result: datum("result"),
            outputs: datum("outputs"),
            run: datum("run"),
            steps: steps.map(|(step, json)| (name(step), seen(json))).collect(),
        }
    }

    /// With a step of which nothing is known before it has run.
    pub(crate) fn unknown_step(mut self, step: &str) -> Self {
        let unknown = || Some(Datum::unknown(vec![name(step)]));
        self.steps.push((name(step), Seen { status: unknown(), outputs: unknown() }));
        self
    }

    /// With an item that may have holes and unknown parts.
    pub(crate) fn item(mut self, item: &Rendered) -> Self {
        self.item = Some(Datum::from_rendered(item));
        self
    }

    pub(crate) fn scope(&self) -> Scope<'_> {
        Scope {
            params: self.params.as_ref(),
            run: self.run.as_ref(),
            steps: &self.steps,
            item: self.item.as_ref(),
            result: self.result.as_ref(),
            outputs: self.outputs.as_ref(),
            env: None,
        }
    }

    pub(crate) fn value(&self, text: &str) -> Result<Answer, EvalError> {
        expr(text).value(&self.scope())
    }

    pub(crate) fn rendered(&self, text: &str) -> Result<Rendered, EvalError> {
        template(text).render(&self.scope())
    }
}

/// The place of a whole text that begins at byte 100 of source 2.
pub(crate) fn place(text: &str) -> Place {
    Place::new(2, Span::new(100, 100 + text.len()))
}

/// The part of the text at a place.
pub(crate) fn underlined(text: &str, place: Place) -> &str {
    assert_eq!(place.source, 2);
    &text[place.span.start as usize - 100..place.span.end as usize - 100]
}

pub(crate) fn is_secret(param: &str) -> bool {
    param == "token"
}

pub(crate) fn compiled(text: &str, site: &Site) -> (Option<Expr>, Vec<Finding>) {
    let mut findings = Findings::new();
    let expr = compile_expr(text, place(text), site, &is_secret, &mut findings);
    (expr, findings.into_sorted())
}

pub(crate) fn expr(text: &str) -> Expr {
    let (expr, findings) = compiled(text, &EVERYWHERE);
    expr.unwrap_or_else(|| panic!("{text}: {findings:?}"))
}

pub(crate) fn compiled_text(text: &str) -> (Option<Template>, Vec<Finding>) {
    let mut findings = Findings::new();
    let template = compile_text(text, place(text), &EVERYWHERE, &is_secret, &mut findings);
    (template, findings.into_sorted())
}

pub(crate) fn template(text: &str) -> Template {
    let (template, findings) = compiled_text(text);
    template.unwrap_or_else(|| panic!("{text}: {findings:?}"))
}
