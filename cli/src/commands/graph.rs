//! `drydock graph`: a plan as a drawing.

use std::path::Path;

use drydock_machine::Exit;
use drydock_plan::check::Demand;
use drydock_plan::model::{Plan, Step};

use crate::args::{Binding, PlanArgs};
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

/// The size of a box and of the gaps between boxes, in pixels.
const BOX: (usize, usize) = (190, 44);
const GAP: (usize, usize) = (24, 40);

/// A picture: each step one row below the lowest that it needs, steps of a row in written order.
fn svg(plan: &Plan) -> String {
    let mut rows: Vec<usize> = vec![0; plan.steps.len()];
    let mut changed = true;
    while changed {
        changed = false;
        for (at, step) in plan.steps.iter().enumerate() {
            let row = step.needs.iter().map(|need| rows[need.ix()] + 1).max().unwrap_or(0);
            changed |= row > rows[at];
            rows[at] = row.max(rows[at]);
        }
    }
    let body = plan
        .steps
        .iter()
        .zip(&rows)
        .filter(|(step, _)| !step.finally)
        .map(|(_, row)| row + 1)
        .max()
        .unwrap_or(0);
    let mut width = vec![0; plan.steps.len() * 2 + 1];
    let mut places = Vec::with_capacity(plan.steps.len());
    for (step, row) in plan.steps.iter().zip(&rows) {
        let row = if step.finally { row + body } else { *row };
        places.push((GAP.0 + width[row] * (BOX.0 + GAP.0), GAP.1 + row * (BOX.1 + GAP.1)));
        width[row] += 1;
    }
    let columns = width.iter().max().copied().unwrap_or(1);
    let height = places.iter().map(|(_, y)| y + BOX.1 + GAP.1).max().unwrap_or(GAP.1);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{height}\" font-family=\"sans-serif\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        GAP.0 + columns * (BOX.0 + GAP.0)
    );
    for (step, (x, y)) in plan.steps.iter().zip(&places) {
        for need in &step.needs {
            let (from_x, from_y) = places[need.ix()];
            let (x1, y1, x2) = (from_x + BOX.0 / 2, from_y + BOX.1, x + BOX.0 / 2);
            let middle = (y1 + y) / 2;
            text.push_str(&format!("<path d=\"M{x1} {y1} C{x1} {middle} {x2} {middle} {x2} {y}\" fill=\"none\" stroke=\"#888\"/>\n"));
        }
    }
    for (step, (x, y)) in plan.steps.iter().zip(&places) {
        let (fill, round) = if step.finally { ("#f4f0e0", 18) } else { ("#e8f0fa", 4) };
        let (centre, name, kind) = (x + BOX.0 / 2, y + 19, y + 35);
        text.push_str(&format!(
            "<rect x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\" rx=\"{round}\" fill=\"{fill}\" stroke=\"#345\"/>\n\
             <text x=\"{centre}\" y=\"{name}\" font-size=\"13\" text-anchor=\"middle\">{}{}</text>\n\
             <text x=\"{centre}\" y=\"{kind}\" font-size=\"10\" fill=\"#567\" text-anchor=\"middle\">{}</text>\n",
            BOX.0,
            BOX.1,
            step.id,
            many(step),
            step.call.kind
        ));
    }
    text + "</svg>\n"
}
