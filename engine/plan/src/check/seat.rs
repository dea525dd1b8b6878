//! One step while it is looked at: what its expressions see, and who reads: [`Lowering`], [`Seat`].

use indexmap::IndexMap;

use crate::catalog::KindShape;
use crate::codes;
use crate::expr::{Expr, GuardedStep};
use crate::finding::{Finding, Findings};
use crate::owned_shape::OwnedShape;
use crate::params::Params;
use crate::source::SourceFile;
use crate::syntax::tree::Entry;

use super::calls::{Calls, CheckedCall};
use super::inputs::{Compiler, NamedFile};
use super::references::{Reader, Readers};
use super::shapes::{Known, StepShapes};
use super::sites::StepSite;
use super::table::StepTable;

/// All steps of a plan, looked at one after the other.
pub(super) struct Lowering<'a, 'n> {
    pub(super) source: &'a SourceFile,
    pub(super) calls: Calls<'a>,
    pub(super) params: &'a Params,
    pub(super) table: &'a StepTable<'n>,
    pub(super) readers: Readers<'a, 'n>,
    pub(super) shapes: StepShapes,
    pub(super) files: Vec<NamedFile>,
}

/// Where an expression of a step stands, and what is visible there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seat<'v> {
    /// The step's number.
    pub(super) number: usize,
    /// Whether it has a `foreach`.
    pub(super) foreach: bool,
    /// The steps that have outputs wherever this is asked.
    pub(super) guards: &'v [GuardedStep],
    /// The shape of `item`.
    pub(super) item: Option<&'v OwnedShape>,
    /// The shape of `result`.
    pub(super) result: Option<&'v OwnedShape>,
    /// The shape of `outputs`.
    pub(super) outputs: Option<&'v OwnedShape>,
}

impl<'v> Seat<'v> {
    /// A seat in a step from which nothing but parameters, steps and the run is visible.
    pub(super) fn bare(number: usize, foreach: bool) -> Self {
        Self { number, foreach, guards: &[], item: None, result: None, outputs: None }
    }
}

impl<'a, 'n> Lowering<'a, 'n> {
    /// A compiler for one place of a step, and the files that inputs name.
    pub(super) fn at<'s>(
        &'s mut self,
        place: &'static StepSite,
        seat: Seat<'s>,
    ) -> (Compiler<'s, 'a, 'n>, &'s mut Vec<NamedFile>) {
        let Seat { number, foreach, guards, item, result, outputs } = seat;
        let compiler = Compiler {
            source: self.source,
            params: self.params,
            known: Known { params: self.params, steps: &self.shapes, item, result, outputs },
            readers: &mut self.readers,
            reader: Reader::Step(number, guards),
            site: place.site(foreach),
        };
        (compiler, &mut self.files)
    }

    /// Judge a condition, `when` or `assert`, that stands at `entry`.
    pub(super) fn judge_condition(
        &mut self,
        expr: &Expr,
        entry: &Entry,
        place: &'static StepSite,
        seat: Seat<'_>,
        findings: &mut Findings,
    ) {
        let (mut compiler, _) = self.at(place, seat);
        compiler.judge(expr, findings);
        expr.check_condition(&compiler.known, findings);
        if expr.refs().is_empty() {
            let message = format!("`{}` reads nothing", entry.key);
            findings.push(
                Finding::warning(codes::CONSTANT_CONDITION, expr.place(), message)
                    .label("always the same")
                    .help("read a parameter or a step, or remove it"),
            );
        }
    }

    /// The shape of what a call gives.
    pub(super) fn outputs_of(&mut self, kind: &KindShape, call: &CheckedCall, seat: Seat<'_>) -> OwnedShape {
        let known = Known {
            params: self.params,
            steps: &self.shapes,
            item: seat.item,
            result: None,
            outputs: seat.outputs,
        };
        let inputs: IndexMap<&str, OwnedShape> =
            call.with.iter().map(|(name, template)| (name.as_str(), template.shape(&known))).collect();
        self.shapes.of_kind(kind, &|name| inputs.get(name).cloned().unwrap_or(OwnedShape::Any))
    }
}
