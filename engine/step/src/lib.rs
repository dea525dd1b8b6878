//! The contract: what a step kind and a target kind sign, the capabilities of targets, the artifact store, and the [`Registry`] that
//! the composition root fills. Small: the narrow door between the engine and everything that acts.

pub mod error;
pub mod child;
pub mod touch;
pub mod grant;
pub mod artifact;
pub mod at_work;
pub mod target;
pub mod inputs;
pub mod context;
pub mod kind;
pub mod registry;
#[cfg(feature = "test-host")]
pub mod test_host;

pub use drydock_plan::catalog::{CleanUp, Effect, From, KindShape, RunsPlan, TargetKindShape, TargetNeed};
pub use drydock_plan::duration::{Bytes as ByteCount, Millis};
pub use drydock_plan::rendered::{Piece, Rendered};
pub use drydock_plan::requests;
pub use drydock_plan::shape::{Field, Shape};

pub use crate::artifact::{ArtifactStore, ByteStream, LockAsked, LockMode, Locked, Sealed, Stored};
pub use crate::at_work::AtWork;
pub use crate::child::{ChildEnd, ChildOutput, ChildPipe, ChildSpec};
pub use crate::context::{Ctx, Host, Sample};
pub use crate::error::StepError;
pub use crate::grant::{Duty, Grant, GrantPlace, LOGIN};
pub use crate::inputs::{Given, In, Inputs, PlanPath, known, maybe};
pub use crate::kind::{Ended, Facts, Kind, Preflight, PreflightFinding, Reconciled, RoomNeeded, StepKind};
pub use crate::registry::Registry;
pub use crate::target::{Connection, Identity, Settings, TargetKind};
pub use crate::touch::{Access, Action, ActionKind, Touch};
