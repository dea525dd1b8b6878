//! `drydock kinds`: the step kinds of this build, or one of them whole.

use drydock_machine::Exit;
use drydock_plan::catalog::{Catalog, Effect, KindShape, TargetNeed};
use drydock_plan::shape::{Field, Shape};
use serde_json::{Value, json};

use crate::formats::Format;
use crate::session::{Refusal, Session, registry};

use super::print;

pub(crate) fn kinds(session: &Session, one: Option<&str>) -> Result<Exit, Refusal> {
    let catalog = registry().catalog();
    let json = session.common.format == Format::Json;
    match one {
        None if json => {
            print(&format!("{:#}\n", Value::Array(catalog.kinds.values().map(as_json).collect())))
        }
        None if session.common.format == Format::Markdown => print(&reference(&catalog)),
        None => print(&list(&catalog)),
        Some(name) => {
            let kind = catalog.kinds.get(name).ok_or_else(|| unknown(&catalog, name))?;
            match session.common.format {
                Format::Json => print(&format!("{:#}\n", as_json(kind))),
                Format::Markdown => print(&section(kind)),
                _ => print(&page(kind)),
            }
        }
    }
    Ok(Exit::Done)
}

fn unknown(catalog: &Catalog, name: &str) -> Refusal {
    let refusal = Refusal::new(Exit::Usage, format!("there is no kind `{name}`"));
    match drydock_plan::suggest::nearest(name, catalog.kinds.keys().copied()) {
        Some(near) => refusal.help(format!("did you mean `{near}`?")),
        None => refusal.help("`drydock kinds` lists them"),
    }
}

/// The first sentence of a kind's docs.
fn summary(docs: &str) -> &str {
    docs.split_once(". ").map_or(docs.trim_end_matches('.'), |(first, _)| first)
}

fn list(catalog: &Catalog) -> String {
    catalog.kinds.values().map(|kind| format!("{:<22} {}\n", kind.name, summary(kind.docs))).collect()
}

/// Every kind on one page, for `docs/reference`.
fn reference(catalog: &Catalog) -> String {
    let mut text =
        "# Kinds\n\nEvery step kind of this build. The page is made from the kinds' own descriptions.\n"
            .to_owned();
    for kind in catalog.kinds.values() {
        text.push_str(&format!("\n{}", section(kind)));
    }
    text
}

/// A kind in that page.
fn section(kind: &KindShape) -> String {
    let mut text = format!("## `{}`\n\n{}\n\n", kind.name, kind.docs.trim());
    let inputs = kind.inputs.iter().map(|field| (field, need(field)));
    text.push_str(&table("input", inputs));
    if let Shape::Record(fields) = kind.outputs {
        text.push_str(&table("output", fields.iter().map(|field| (field, String::new()))));
    }
    text.push_str(&format!("```yaml\n{}\n```\n", kind.example.trim_end()));
    text
}

fn table<'f>(head: &str, fields: impl Iterator<Item = (&'f Field, String)>) -> String {
    let cell = |text: &str| text.trim().replace('|', "\\|");
    let row = |(field, need): (&Field, String)| {
        let shape = field.shape.words();
        let shape = if need.is_empty() { shape } else { format!("{shape}, {need}") };
        format!("| `{}` | {} | {} |\n", field.name, cell(&shape), cell(field.doc))
    };
    let rows: String = fields.map(row).collect();
    if rows.is_empty() { rows } else { format!("| {head} | value | meaning |\n|---|---|---|\n{rows}\n") }
}

/// Whether a field must be given.
fn need(field: &Field) -> String {
    let need = match (field.required, field.default) {
        (true, _) => "required".to_owned(),
        (false, Some(default)) => format!("default `{default}`"),
        (false, None) => "optional".to_owned(),
    };
    match field.deprecated {
        Some(instead) => format!("{need}, deprecated: {instead}"),
        None => need,
    }
}

fn page(kind: &KindShape) -> String {
    let target = match kind.target {
        TargetNeed::None => "takes no target".to_owned(),
        TargetNeed::Any => "works on a target of any kind".to_owned(),
        TargetNeed::OneOf(kinds) => format!("works on a target of kind {}", kinds.join(" or ")),
    };
    let effect = match kind.effect {
        Effect::Reads => "only reads".to_owned(),
        Effect::Writes => "writes".to_owned(),
        Effect::ByInput(input) => format!("writes unless `{input}: reads`"),
    };
    let mut text = format!("{}\n  {}\n  It {target} and {effect}.\n", kind.name, kind.docs.trim());
    if !kind.inputs.is_empty() {
        text.push_str("\ninputs (with:)\n");
        kind.inputs.iter().for_each(|field| text.push_str(&field_line(field)));
    }
    if let Shape::Record(fields) = kind.outputs {
        text.push_str("\noutputs\n");
        fields.iter().for_each(|field| {
            text.push_str(&format!("  {:<14} {} - {}\n", field.name, field.shape.words(), field.doc.trim()))
        });
    }
    if !kind.permissions.is_empty() {
        text.push_str(&format!("\nneeds the right to\n  {}\n", kind.permissions.join("\n  ")));
    }
    text.push_str(&format!(
        "\nexample\n{}\n",
        kind.example.trim_end().lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
    ));
    text
}

fn field_line(field: &Field) -> String {
    format!(
        "  {:<14} {} ({}) - {}\n",
        field.name,
        field.shape.words(),
        need(field).replace('`', ""),
        field.doc.trim()
    )
}

fn as_json(kind: &KindShape) -> Value {
    let field = |field: &Field| {
        json!({
            "name": field.name,
            "shape": field.shape.words(),
            "required": field.required,
            "default": field.default,
            "doc": field.doc.trim(),
        })
    };
    let outputs = if let Shape::Record(fields) = kind.outputs {
        fields.iter().map(field).collect()
    } else {
        Vec::new()
    };
    let (effect, effect_input) = match kind.effect {
        Effect::Reads => ("reads", None),
        Effect::Writes => ("writes", None),
        Effect::ByInput(input) => ("by_input", Some(input)),
    };
    json!({
        "name": kind.name,
        "docs": kind.docs,
        "effect": effect,
        "effect_input": effect_input,
        "inputs": kind.inputs.iter().map(field).collect::<Vec<_>>(),
        "outputs": outputs,
        "answers_in_dry_run": kind.answers_in_dry_run,
        "reconciles": kind.reconciles,
        "permissions": kind.permissions,
        "example": kind.example,
    })
}
