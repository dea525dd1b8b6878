//! A value that may have `{{ … }}` in it: [`Template`], made by [`compile_text`].

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value;

use crate::expr::braces::{Chunk, chunks};
use crate::expr::datum::{Hole, NotJson, json_of, rendered_of};
use crate::expr::expression::{Expr, secret_of};
use crate::expr::filtering::text_of;
use crate::expr::inference::Shapes;
use crate::expr::origin::Origin;
use crate::expr::reference::{Ref, Site};
use crate::expr::scope::{EvalError, Scope};
use crate::expr::walk::Found;
use crate::finding::{Finding, Findings};
use crate::name::Name;
use crate::owned_shape::{OwnedField, OwnedShape};
use crate::rendered::{Piece, Rendered};

/// A value that may have `{{ … }}` in it: a scalar, a list or a mapping of such values. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Template(Arc<Body>);

#[derive(Debug)]
enum Body {
    /// Nothing in it is an expression.
    Literal(Value),
    /// One whole expression: it keeps its type.
    Whole(Expr),
    /// Text with parts.
    Text(Vec<Part>),
    List(Vec<Template>),
    Map(IndexMap<String, Template>),
}

/// A part of a text.
#[derive(Debug)]
enum Part {
    Text(String),
    Expr(Expr),
    /// A secret parameter: `params.token`.
    Secret(String),
}

impl Template {
    /// A value as it stands; nothing in it is an expression.
    pub fn literal(value: Value) -> Self {
        Self(Arc::new(Body::Literal(value)))
    }

    /// A list.
    pub fn list(items: Vec<Template>) -> Self {
        match items.iter().map(|item| item.as_literal().cloned()).collect::<Option<Vec<_>>>() {
            Some(values) => Self::literal(Value::Array(values)),
            None => Self(Arc::new(Body::List(items))),
        }
    }

    /// A mapping, in written order.
    pub fn map(entries: IndexMap<String, Template>) -> Self {
        let literal = |(key, value): (&String, &Template)| Some((key.clone(), value.as_literal()?.clone()));
        match entries.iter().map(literal).collect::<Option<serde_json::Map<_, _>>>() {
            Some(values) => Self::literal(Value::Object(values)),
            None => Self(Arc::new(Body::Map(entries))),
        }
    }

    /// The value, where nothing in it is an expression or a secret.
    pub fn as_literal(&self) -> Option<&Value> {
        match &*self.0 {
            Body::Literal(value) => Some(value),
            _ => None,
        }
    }

    /// The expression, where it is one whole `{{ … }}` and no secret.
    pub fn as_expr(&self) -> Option<&Expr> {
        match &*self.0 {
            Body::Whole(expr) => Some(expr),
            _ => None,
        }
    }

    /// Its value in a scope: secrets are holes in it, and what is known only after other steps says so.
    ///
    /// # Errors
    /// When an expression in it has none, or one that cannot stand inside a text.
    pub fn render(&self, scope: &Scope<'_>) -> Result<Rendered, EvalError> {
        match &*self.0 {
            Body::Literal(value) => Ok(Rendered::from(value.clone())),
            Body::Whole(expr) => match expr.found(scope)? {
                Found::Value(value, _) => rendered_of(&value).map_err(|not| expr.error_here(not)),
                Found::After(after) => Ok(Rendered::After(after)),
                Found::Nothing(_) => Err(expr.error_here(NotJson::Undefined)),
            },
            Body::Text(parts) => rendered_text(parts, scope),
            Body::List(items) => {
                items.iter().map(|item| item.render(scope)).collect::<Result<_, _>>().map(Rendered::List)
            }
            Body::Map(map) => {
                let entry = |(key, value): (&String, &Template)| Ok((key.clone(), value.render(scope)?));
                map.iter().map(entry).collect::<Result<_, _>>().map(Rendered::Map)
            }
        }
    }

    /// All expressions in it, in written order.
    pub fn exprs(&self) -> Vec<&Expr> {
        let mut found = Vec::new();
        self.walk(&mut |part| {
            if let Walked::Expr(expr) = part {
                found.push(expr);
            }
        });
        found
    }

    /// All that it reads, in written order; secrets are not among them.
    pub fn refs(&self) -> Vec<&Ref> {
        self.exprs().into_iter().flat_map(Expr::refs).collect()
    }

    /// The steps that it reads, in written order, each once.
    pub fn steps_read(&self) -> Vec<Name> {
        let mut steps: Vec<Name> = Vec::new();
        for step in self.exprs().into_iter().flat_map(Expr::steps_read) {
            if !steps.contains(step) {
                steps.push(step.clone());
            }
        }
        steps
    }

    /// Whether it reads `item`.
    pub fn names_item(&self) -> bool {
        self.exprs().into_iter().any(Expr::names_item)
    }

    /// The secrets that stand in it, `params.token`, in written order, each once.
    pub fn secrets(&self) -> Vec<&str> {
        let mut found = Vec::new();
        self.walk(&mut |part| {
            if let Walked::Secret(name) = part
                && !found.contains(&name)
            {
                found.push(name);
            }
        });
        found
    }

    /// The shape of its value, inferred without values.
    pub fn shape(&self, shapes: &dyn Shapes) -> OwnedShape {
        self.check_shapes(shapes, &mut Findings::new())
    }

    /// The shape of its value; what is wrong with the shapes of its parts is added to `findings`.
    pub fn check_shapes(&self, shapes: &dyn Shapes, findings: &mut Findings) -> OwnedShape {
        match &*self.0 {
            Body::Literal(value) => OwnedShape::of_value(value),
            Body::Whole(expr) => expr.check_shapes(shapes, findings),
            Body::Text(parts) => {
                for part in parts {
                    if let Part::Expr(expr) = part {
                        expr.check_shapes(shapes, findings);
                    }
                }
                OwnedShape::Text
            }
            Body::List(items) => {
                let found: Vec<OwnedShape> =
                    items.iter().map(|item| item.check_shapes(shapes, findings)).collect();
                OwnedShape::list(OwnedShape::common(found))
            }
            Body::Map(map) => {
                let mut field = |(name, value): (&String, &Template)| OwnedField {
                    name: name.clone(),
                    shape: value.check_shapes(shapes, findings),
                    required: true,
                };
                OwnedShape::Record(map.iter().map(&mut field).collect())
            }
        }
    }

    /// As it was written, as a value: its expressions stand in braces, with `words` as their texts.
    pub fn written(&self, words: &dyn Fn(&Expr) -> String) -> Value {
        let braced = |text: &str| format!("{{{{ {text} }}}}");
        match &*self.0 {
            Body::Literal(value) => value.clone(),
            Body::Whole(expr) => Value::String(braced(&words(expr))),
            Body::Text(parts) => Value::String(
                parts
                    .iter()
                    .map(|part| match part {
                        Part::Text(text) => text.clone(),
                        Part::Expr(expr) => braced(&words(expr)),
                        Part::Secret(name) => braced(name),
                    })
                    .collect(),
            ),
            Body::List(items) => items.iter().map(|item| item.written(words)).collect(),
            Body::Map(map) => {
                Value::Object(map.iter().map(|(key, value)| (key.clone(), value.written(words))).collect())
            }
        }
    }

    fn walk<'t>(&'t self, visit: &mut dyn FnMut(Walked<'t>)) {
        match &*self.0 {
            Body::Literal(_) => {}
            Body::Whole(expr) => visit(Walked::Expr(expr)),
            Body::Text(parts) => parts.iter().for_each(|part| match part {
                Part::Text(_) => {}
                Part::Expr(expr) => visit(Walked::Expr(expr)),
                Part::Secret(name) => visit(Walked::Secret(name)),
            }),
            Body::List(items) => items.iter().for_each(|item| item.walk(visit)),
            Body::Map(map) => map.values().for_each(|value| value.walk(visit)),
        }
    }
}

/// What a walk over a template meets.
enum Walked<'t> {
    Expr(&'t Expr),
    Secret(&'t str),
}

/// Text with its parts put in.
fn rendered_text(parts: &[Part], scope: &Scope<'_>) -> Result<Rendered, EvalError> {
    let (mut pieces, mut after): (Vec<Piece>, Vec<Name>) = (Vec::new(), Vec::new());
    for part in parts {
        match part {
            Part::Text(text) => add_text(&mut pieces, text),
            Part::Secret(name) => pieces.push(Piece::Secret(name.clone())),
            Part::Expr(expr) => match expr.found(scope)? {
                Found::After(more) => add_names(&mut after, more),
                Found::Nothing(_) => return Err(expr.error_here(NotJson::Undefined)),
                Found::Value(value, _) => {
                    if let Some(hole) = value.downcast_object_ref::<Hole>() {
                        pieces.extend(hole.0.iter().cloned());
                        continue;
                    }
                    match json_of(&value) {
                        Err(NotJson::After(more)) => add_names(&mut after, more),
                        Err(not @ NotJson::Secret) => return Err(expr.error_here(not)),
                        _ => add_text(&mut pieces, &text_of(&value).map_err(|why| expr.error_in_text(&why))?),
                    }
                }
            },
        }
    }
    if !after.is_empty() {
        return Ok(Rendered::After(after));
    }
    let secret = pieces.iter().any(|piece| matches!(piece, Piece::Secret(_)));
    match (secret, pieces.pop()) {
        (false, Some(Piece::Text(text))) => Ok(Rendered::Text(text)),
        (false, _) => Ok(Rendered::Text(String::new())),
        (true, last) => {
            pieces.extend(last);
            Ok(Rendered::Holes(pieces))
        }
    }
}

fn add_text(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        Some(Piece::Text(before)) => before.push_str(text),
        _ if text.is_empty() => {}
        _ => pieces.push(Piece::Text(text.to_owned())),
    }
}

fn add_names(names: &mut Vec<Name>, more: Vec<Name>) {
    for name in more {
        if !names.contains(&name) {
            names.push(name);
        }
    }
}

/// The template that a scalar's text is: one whole `{{ … }}` keeps its type, anything else is text.
pub fn compile_text(
    text: &str,
    origin: impl Into<Origin>,
    site: &Site,
    secret_params: &dyn Fn(&str) -> bool,
    findings: &mut Findings,
) -> Option<Template> {
    let origin = origin.into();
    let chunks = match chunks(text) {
        Ok(chunks) => chunks,
        Err(finding) => {
            findings.push(Finding { place: origin.part(finding.place.span.range()), ..*finding });
            return None;
        }
    };
    let mut parts = Vec::new();
    for chunk in chunks {
        match chunk {
            Chunk::Text(text) => parts.push(Some(Part::Text(text.to_owned()))),
            Chunk::Expr { text, offset } => {
                parts.push(compile_part(text, &origin, offset, site, secret_params, findings))
            }
        }
    }
    let mut parts = parts.into_iter().collect::<Option<Vec<_>>>()?;
    let whole = parts.len() == 1;
    Some(match parts.pop() {
        None => Template::literal(Value::String(String::new())),
        Some(Part::Text(text)) if whole => Template::literal(Value::String(text)),
        Some(Part::Expr(expr)) if whole => Template(Arc::new(Body::Whole(expr))),
        Some(last) => {
            parts.push(last);
            Template(Arc::new(Body::Text(parts)))
        }
    })
}

fn compile_part(
    text: &str,
    origin: &Origin,
    offset: usize,
    site: &Site,
    secret_params: &dyn Fn(&str) -> bool,
    findings: &mut Findings,
) -> Option<Part> {
    let expr = Expr::compile(text, origin, offset, findings)?;
    let alone = expr.as_ref_alone().filter(|reference| reference.path.len() == 1);
    if let Some(param) = alone.and_then(|reference| secret_of(reference, secret_params)) {
        return Some(Part::Secret(format!("params.{param}")));
    }
    expr.check_reads(site, secret_params, findings).then_some(Part::Expr(expr))
}
