//! What each step touches, as far as its inputs are known before a run: [`touched_by`].

use indexmap::IndexMap;
use serde_json::Value as Json;

use crate::catalog::{Catalog, Effect, Touched};
use crate::expr::{Datum, Root, Scope, Template};
use crate::model::{Call, ParamType, Step};
use crate::name::Name;
use crate::params::Params;
use crate::rendered::Rendered;

/// What stands for the run itself among the names of steps that something is known after.
const THE_RUN: &str = "run";

/// What each step changes or destroys, by its number; nothing of steps that could not be made and of those that only read.
pub(super) fn touched_by(steps: &[Option<Step>], catalog: &Catalog, params: &Params) -> Vec<Vec<Touched>> {
    let known = Known::of(params);
    let touched = |step: &Step| {
        let call = &step.call;
        let toucher = catalog.touchers.get(call.kind).filter(|_| call.effect != Effect::Reads)?;
        Some(toucher.touched(call.target.as_ref().map(Name::as_str), &known.inputs(call)))
    };
    steps.iter().map(|step| step.as_ref().and_then(touched).unwrap_or_default()).collect()
}

/// The parameters, those without a value as they are written: two texts that are written alike are alike in the run as well.
struct Known<'a> {
    params: &'a Params,
    values: Datum,
}

impl<'a> Known<'a> {
    fn of(params: &'a Params) -> Self {
        let value = |name: &Name| {
            let shape = params.declared.get(name)?.shape;
            let is_text = matches!(shape, ParamType::String | ParamType::Path | ParamType::Url);
            let written = || is_text.then(|| Json::String(format!("{{{{ params.{name} }}}}")));
            Some((name.to_string(), params.values.get(name).cloned().or_else(written)?))
        };
        let values = Json::Object(params.declared.keys().filter_map(value).collect());
        Self { params, values: Datum::from_json(&values) }
    }

    fn inputs(&self, call: &Call) -> IndexMap<String, Rendered> {
        call.with.iter().map(|(name, template)| (name.clone(), self.rendered(template))).collect()
    }

    fn rendered(&self, template: &Template) -> Rendered {
        if let Some(literal) = template.as_literal() {
            return Rendered::from(literal.clone());
        }
        let is_known = template.secrets().is_empty()
            && template.refs().iter().all(|reference| {
                reference.root == Root::Params
                    && reference.path.first().is_some_and(|name| self.is_known(&name.text))
            });
        let scope = Scope { params: Some(&self.values), ..Scope::default() };
        let rendered = if is_known { template.render(&scope).ok() } else { None };
        rendered.unwrap_or_else(|| Rendered::After(Name::parse(THE_RUN).into_iter().collect()))
    }

    fn is_known(&self, param: &str) -> bool {
        self.params.declared.get(param).is_some_and(|declared| {
            self.params.values.contains_key(param)
                || matches!(declared.shape, ParamType::String | ParamType::Path | ParamType::Url)
        })
    }
}
