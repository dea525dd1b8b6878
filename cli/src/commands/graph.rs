//! `drydock graph`: a plan as a drawing.

use std::path::Path;

use drydock_machine::Exit;
use drydock_plan::catalog::Effect;
use drydock_plan::check::Demand;
use drydock_plan::model::{Plan, Step};

use crate::args::{Binding, PlanArgs};
use crate::drawing::{self, Class, Drawn};
use crate::formats::Format;
use crate::session::{Refusal, Session};

use super::plan_of::loaded;
use super::print;

pub(crate) fn graph(session: &Session, plan: &Path) -> Result<Exit, Refusal> {
    let quiet =
        Session { common: crate::args::Common { quiet: true, ..session.common.clone() }, ..session.clone() };
    let args = PlanArgs { plan: plan.to_owned(), binding: Binding::default() };
    let Some((_, plan)) = loaded(&quiet, &args, Demand::Form)? else { return Ok(Exit::Invalid) };
    print(&match session.common.format {
        Format::Dot => dot(&plan),
        Format::Svg => svg(&plan),
        Format::Json => format!("{:#}\n", json(&plan)),
        _ => mermaid(&plan),
    });
    Ok(Exit::Done)
}

fn edges(plan: &Plan) -> impl Iterator<Item = (&Step, &Step)> {
    plan.steps.iter().flat_map(move |step| step.needs.iter().map(move |need| (plan.step(*need), step)))
}

fn many(step: &Step) -> &'static str {
    if step.foreach.is_some() { " (each)" } else { "" }
}

fn mermaid(plan: &Plan) -> String {
    let mut text = "flowchart TD\n".to_owned();
    for step in &plan.steps {
        let (open, close) = if step.finally { ("([", "])") } else { ("[", "]") };
        text.push_str(&format!(
            "  {}{open}\"{}{}<br/><small>{}</small>\"{close}\n",
            step.id,
            step.id,
            many(step),
            step.call.kind
        ));
    }
    for (from, to) in edges(plan) {
        text.push_str(&format!("  {} --> {}\n", from.id, to.id));
    }
    text
}

fn dot(plan: &Plan) -> String {
    let mut text = format!("digraph {} {{\n  node [shape=box];\n", plan.name);
    for step in &plan.steps {
        let style = if step.finally { ", style=rounded" } else { "" };
        text.push_str(&format!(
            "  {} [label=\"{}{}\\n{}\"{style}];\n",
            step.id,
            step.id,
            many(step),
            step.call.kind
        ));
    }
    for (from, to) in edges(plan) {
        text.push_str(&format!("  {} -> {};\n", from.id, to.id));
    }
    text + "}\n"
}

fn json(plan: &Plan) -> serde_json::Value {
    let steps: Vec<_> = plan
        .steps
        .iter()
        .map(|step| serde_json::json!({ "id": step.id, "uses": step.call.kind, "finally": step.finally, "needs": names(plan, step) }))
        .collect();
    serde_json::json!({ "plan": plan.name, "steps": steps })
}

fn names(plan: &Plan, step: &Step) -> Vec<String> {
    step.needs.iter().map(|need| plan.step(*need).id.to_string()).collect()
}

fn svg(plan: &Plan) -> String {
    let drawn = |step: &Step| Drawn {
        title: format!("{}{}", step.id, many(step)),
        under: step.call.kind.to_owned(),
        class: if step.call.effect == Effect::Reads { Class::Reads } else { Class::Writes },
        open: step.when.is_some(),
        last: step.finally,
        needs: step.needs.iter().map(|need| need.ix()).collect(),
    };
    drawing::svg(&plan.steps.iter().map(drawn).collect::<Vec<_>>())
}
