//! A bare expression: [`Expr`], made by [`compile_expr`].

use std::sync::Arc;

use crate::expr::codes;
use crate::expr::compiled::{Compiled, compiled};
use crate::expr::datum::{NotJson, json_of};
use crate::expr::evaluation::Evaluation;
use crate::expr::guard::guarded_steps;
use crate::expr::inference::{Inference, Shapes};
use crate::expr::judgement::judged;
use crate::expr::narrowing::{Narrowed, narrowed};
use crate::expr::node::What;
use crate::expr::operators::no_text;
use crate::expr::origin::Origin;
use crate::expr::reference::{Ref, Root, Segment, Site};
use crate::expr::scope::{Answer, EvalError, Judged, Scope, Truth};
use crate::expr::walk::{Fault, Found};
use crate::finding::{Finding, Findings};
use crate::name::Name;
use crate::owned_shape::OwnedShape;
use crate::source::{Place, Span};

/// A step whose outputs are there wherever a condition holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardedStep {
    /// The step.
    pub step: Name,
}

/// The steps that a condition guards: its conjuncts `steps.x.status == 'succeeded'` and `steps.x.outputs is defined`.
pub fn guards(when: &Expr) -> Vec<GuardedStep> {
    let parsed = &when.compiled.parsed;
    guarded_steps(&parsed.node, &parsed.reads)
        .into_iter()
        .filter_map(|step| Name::parse(step).ok())
        .map(|step| GuardedStep { step })
        .collect()
}

/// Whether two conditions can hold in one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Together {
    /// They say nothing about the same values.
    Possible,
    /// They speak of the same values, and whether they exclude each other is not known.
    Open,
    /// Where one holds, the other does not.
    Never,
}

/// An expression, parsed and checked; cheap to clone.
#[derive(Debug, Clone)]
pub struct Expr {
    compiled: Arc<Compiled>,
    refs: Arc<[Ref]>,
    origin: Origin,
    /// Where in the text of the origin it begins.
    offset: usize,
}

impl Expr {
    /// The expression that this text is, which begins `offset` bytes into the text of its origin.
    pub(crate) fn compile(
        text: &str,
        origin: &Origin,
        offset: usize,
        findings: &mut Findings,
    ) -> Option<Self> {
        let part = |span: Span| origin.part(offset + span.range().start..offset + span.range().end);
        match compiled(text) {
            Ok(compiled) => {
                let refs = compiled.parsed.reads.iter().map(|read| Ref {
                    root: read.root,
                    path: read
                        .keys
                        .iter()
                        .map(|key| Segment { text: key.text(), place: part(key.at) })
                        .collect(),
                    place: part(read.at),
                    guard: read.guard,
                });
                Some(Self { refs: refs.collect(), origin: origin.clone(), offset, compiled })
            }
            Err(found) => {
                for finding in found {
                    findings.push(Finding { place: part(finding.place.span), ..finding });
                }
                None
            }
        }
    }

    /// Its text, without braces.
    pub fn text(&self) -> &str {
        &self.compiled.text
    }

    /// Where it is written, without braces.
    pub fn place(&self) -> Place {
        self.part(Span::new(0, self.compiled.text.len()))
    }

    fn part(&self, span: Span) -> Place {
        self.origin.part(self.offset + span.range().start..self.offset + span.range().end)
    }

    /// All that it reads, in written order.
    pub fn refs(&self) -> &[Ref] {
        &self.refs
    }

    /// The steps that it reads, in written order, each once.
    pub fn steps_read(&self) -> &[Name] {
        &self.compiled.steps
    }

    /// Whether it reads `item`.
    pub fn names_item(&self) -> bool {
        self.refs.iter().any(|reference| reference.root == Root::Item)
    }

    /// The reference that it is, when it is nothing else.
    pub(crate) fn as_ref_alone(&self) -> Option<&Ref> {
        match self.compiled.parsed.node.what {
            What::Path(index) => self.refs.get(index),
            _ => None,
        }
    }

    fn evaluation<'a>(&'a self, scope: &'a Scope<'a>) -> Evaluation<'a> {
        Evaluation::new(scope, &self.compiled.parsed.reads)
    }

    fn error(&self, fault: Fault) -> EvalError {
        EvalError { code: fault.code, place: self.part(fault.at), message: fault.message, help: fault.help }
    }

    /// An error about the whole expression.
    pub(crate) fn error_here(&self, not: NotJson) -> EvalError {
        let at = self.compiled.parsed.node.at;
        self.error(match not {
            NotJson::Secret => {
                Fault::new(codes::SECRET_VALUE, at, "this value holds a secret, which can only be passed on")
            }
            NotJson::Undefined => Fault::new(codes::NOTHING_THERE, at, "a part of this value is not there"),
            NotJson::After(_) => Fault::new(codes::UNWRITABLE, at, "this value is not known yet"),
            NotJson::Unwritable(why) => Fault::new(codes::UNWRITABLE, at, why),
        })
    }

    /// An error about the whole expression standing in a text.
    pub(crate) fn error_in_text(&self, why: &str) -> EvalError {
        self.error(no_text(self.compiled.parsed.node.at, why))
    }

    /// What is found, which may hold secrets and unknown parts.
    pub(crate) fn found(&self, scope: &Scope<'_>) -> Result<Found, EvalError> {
        self.evaluation(scope).present(&self.compiled.parsed.node).map_err(|fault| self.error(fault))
    }

    /// Its value.
    ///
    /// # Errors
    /// When it has none: a path leads nowhere, a comparison compares what cannot be compared, a filter refuses its input.
    pub fn value(&self, scope: &Scope<'_>) -> Result<Answer, EvalError> {
        match self.found(scope)? {
            Found::Value(value, _) => match json_of(&value) {
                Ok(json) => Ok(Answer::Known(json)),
                Err(NotJson::After(after)) => Ok(Answer::After(after)),
                Err(not) => Err(self.error_here(not)),
            },
            Found::After(after) => Ok(Answer::After(after)),
            Found::Nothing(fault) => Err(self.error(fault)),
        }
    }

    /// Its truth.
    ///
    /// # Errors
    /// As [`Expr::value`], and when the value is neither true nor false.
    pub fn truth(&self, scope: &Scope<'_>) -> Result<Truth, EvalError> {
        self.evaluation(scope).truth(&self.compiled.parsed.node).map_err(|fault| self.error(fault))
    }

    /// Its truth, with what it expected and what was found.
    ///
    /// # Errors
    /// As [`Expr::truth`].
    pub fn judged(&self, scope: &Scope<'_>) -> Result<Judged, EvalError> {
        judged(&self.evaluation(scope), &self.compiled.parsed.node, self.text())
            .map_err(|fault| self.error(fault))
    }

    /// The shape of its value, inferred without values.
    pub fn shape(&self, shapes: &dyn Shapes) -> OwnedShape {
        self.check_shapes(shapes, &mut Findings::new())
    }

    /// The shape of its value; what is wrong with the shapes of its parts (a decimal compared with a number) is added to `findings`.
    pub fn check_shapes(&self, shapes: &dyn Shapes, findings: &mut Findings) -> OwnedShape {
        let place = |span| self.part(span);
        Inference { shapes, refs: &self.refs, place: &place, findings }.shape(&self.compiled.parsed.node)
    }

    /// As [`Expr::check_shapes`], and it must be true or false: for `when` and `assert`.
    pub fn check_condition(&self, shapes: &dyn Shapes, findings: &mut Findings) {
        let place = |span| self.part(span);
        Inference { shapes, refs: &self.refs, place: &place, findings }.condition(&self.compiled.parsed.node);
    }

    /// Whether this condition can be true, where `known` says which texts a reference can be.
    pub fn can_hold(&self, known: &dyn Fn(&Ref) -> Option<Vec<String>>) -> bool {
        self.narrowed(known).is_some()
    }

    /// Whether this condition and another can be true in one run.
    pub fn together(&self, other: &Self) -> Together {
        match (self.narrowed(&|_| None), other.narrowed(&|_| None)) {
            (Some(own), Some(others)) => {
                let read = |one: &Ref| self.refs.iter().any(|own| own.dotted() == one.dotted());
                let open = if other.refs.iter().any(read) { Together::Open } else { Together::Possible };
                own.and(others).map_or(Together::Never, |_| open)
            }
            _ => Together::Never,
        }
    }

    fn narrowed(&self, known: &dyn Fn(&Ref) -> Option<Vec<String>>) -> Option<Narrowed> {
        let known = |index: usize| self.refs.get(index).and_then(known);
        narrowed(&self.compiled.parsed.node, true, &self.compiled.text, &known)
    }

    /// What it reads must be there to be read, and no secret.
    pub(crate) fn check_reads(
        &self,
        site: &Site,
        secret_params: &dyn Fn(&str) -> bool,
        findings: &mut Findings,
    ) -> bool {
        let before = findings.len();
        for reference in self.refs.iter() {
            if !site.roots.contains(&reference.root) {
                let roots: Vec<String> =
                    site.roots.iter().map(|root| format!("`{}`", root.as_str())).collect();
                let message = format!("`{}` cannot be read in {}", reference.root.as_str(), site.what);
                let finding = Finding::error(codes::NOT_HERE, reference.place, message);
                findings.push(finding.help(format!("an expression here may read {}", roots.join(", "))));
            }
            if let Some(param) = secret_of(reference, secret_params) {
                let message = format!("`params.{param}` is a secret; nothing can be worked out from it");
                let finding = Finding::error(codes::SECRET, reference.place, message).label("a secret");
                findings.push(
                    finding.help(format!("let it stand alone in its braces: `{{{{ params.{param} }}}}`")),
                );
            }
        }
        findings.len() == before
    }
}

/// The secret parameter that this reads, or reads from.
pub(crate) fn secret_of<'r>(reference: &'r Ref, secret_params: &dyn Fn(&str) -> bool) -> Option<&'r str> {
    let first = reference.path.first().filter(|_| reference.root == Root::Params)?;
    secret_params(&first.text).then_some(first.text.as_str())
}

/// The expression that a text is: `when`, `assert`, `foreach`, `key`. With braces around it: accepted, with a warning.
pub fn compile_expr(
    text: &str,
    origin: impl Into<Origin>,
    site: &Site,
    secret_params: &dyn Fn(&str) -> bool,
    findings: &mut Findings,
) -> Option<Expr> {
    let origin = origin.into();
    let blanks = |text: &str| text.len() - text.trim_start().len();
    let (mut bare, mut offset) = (text.trim(), blanks(text));
    if let Some(inner) = bare.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"))
        && !inner.contains("{{")
    {
        let place = origin.part(0..text.len());
        (bare, offset) = (inner.trim(), offset + 2 + blanks(inner));
        let finding =
            Finding::warning(codes::BRACES, place, format!("{} is an expression already", site.what));
        findings.push(finding.help("remove the braces").suggestion(bare));
    }
    let expr = Expr::compile(bare, &origin, offset, findings)?;
    expr.check_reads(site, secret_params, findings).then_some(expr)
}
