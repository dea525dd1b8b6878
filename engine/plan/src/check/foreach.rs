//! The list and the key of a `foreach`.

use crate::codes;
use crate::expr::{Expr, GuardedStep};
use crate::finding::{Finding, Findings};
use crate::owned_shape::{Fit, Lookup, OwnedShape};
use crate::syntax::plan_file::StepWritten;
use crate::syntax::tree::Entry;

use super::seat::{Lowering, Seat};
use super::sites;

impl Lowering<'_, '_> {
    /// The list of a foreach, and the shape of its items.
    pub(super) fn list(
        &mut self,
        number: usize,
        written: &StepWritten<'_>,
        guards: &[GuardedStep],
        findings: &mut Findings,
    ) -> (Option<Expr>, Option<OwnedShape>) {
        let Some(entry) = written.foreach else { return (None, None) };
        let (mut compiler, _) = self.at(&sites::FOREACH, Seat { guards, ..Seat::bare(number, true) });
        let Some(expr) = compiler.expression(entry, findings) else { return (None, Some(OwnedShape::Any)) };
        let item = match expr.check_shapes(&compiler.known, findings) {
            OwnedShape::List(of) => *of,
            other => {
                if OwnedShape::List(Box::new(OwnedShape::Any)).accepts(&other) == Fit::No {
                    findings.push(
                        Finding::error(codes::NOT_A_LIST, expr.place(), "`foreach` must be a list")
                            .label(format!("this gives {}", other.words()))
                            .help("name a list, for example a step's output or a parameter of type list"),
                    );
                }
                OwnedShape::Any
            }
        };
        if written.key.is_none() && is_nameless(&item) {
            findings.push(
                Finding::error(codes::NO_KEY, expr.place(), "`foreach` needs a `key`")
                    .label("its items have no `name` to call the instances by")
                    .help(format!("add for example `key: {}`", example(Some(&item)))),
            );
        }
        (Some(expr), Some(item))
    }

    /// What names the instances.
    pub(super) fn key(&mut self, entry: &Entry, seat: Seat<'_>, findings: &mut Findings) -> Option<Expr> {
        let (mut compiler, _) = self.at(&sites::KEY, seat);
        let expr = compiler.expression(entry, findings)?;
        let shape = expr.check_shapes(&compiler.known, findings);
        let (message, label) = if is_structure(&shape) {
            ("`key` must be text or a number", format!("this gives {}", shape.words()))
        } else if !expr.names_item() {
            ("`key` is the same for every item", "does not read `item`".to_owned())
        } else {
            return Some(expr);
        };
        let help =
            format!("name a part of the item that is different in each, such as `{}`", example(seat.item));
        findings.push(Finding::error(codes::NO_KEY, expr.place(), message).label(label).help(help));
        Some(expr)
    }
}

/// Whether a shape is a list or a mapping.
fn is_structure(shape: &OwnedShape) -> bool {
    matches!(shape, OwnedShape::List(_) | OwnedShape::Map(_) | OwnedShape::Record(_) | OwnedShape::Band)
}

/// Whether items of this shape cannot name their instances by themselves.
fn is_nameless(item: &OwnedShape) -> bool {
    match item {
        OwnedShape::Record(_) => !matches!(item.field("name"), Lookup::Found(_)),
        OwnedShape::List(_) => true,
        _ => false,
    }
}

/// An expression that could be the key of items of this shape.
fn example(item: Option<&OwnedShape>) -> String {
    let field = match item {
        Some(OwnedShape::Record(fields)) => fields.iter().find(|field| !is_structure(&field.shape)),
        _ => None,
    };
    format!("item.{}", field.map_or("name", |field| &field.name))
}
