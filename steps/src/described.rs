//! The part of a kind's description that most kinds share: [`described`].

use drydock_step::{Effect, KindShape, Shape, TargetNeed};

/// A kind that takes no target, only reads, gives nothing and can always say what became of an attempt. Each kind overrides what is
/// different about it.
pub const fn described(name: &'static str, docs: &'static str) -> KindShape {
    KindShape {
        name,
        docs,
        target: TargetNeed::None,
        inputs: &[],
        target_inputs: &[],
        outputs: Shape::Record(&[]),
        effect: Effect::Reads,
        answers_in_dry_run: false,
        runs_plan: None,
        clean_up: None,
        reconciles: true,
        permissions: &[],
        example: "",
    }
}
