//! What a plan says about a call that its kind cannot judge: [`SaidEffect`], the input `effect`.

use drydock_step::Shape;
use serde::Deserialize;

/// What a plan may write for a [`SaidEffect`].
pub const SAID_EFFECT: Shape = Shape::OneOf(&["writes", "reads"]);

/// Whether a program or a request changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SaidEffect {
    /// It may.
    Writes,
    /// It only looks.
    Reads,
}
