//! All kinds and target kinds that a build of Drydock has: [`Registry`]. The composition root fills it; no magic.

use std::collections::BTreeMap;
use std::sync::Arc;

use drydock_plan::catalog::{Catalog, Judge, Misfit, Reach, Touched, Toucher};

use crate::inputs::Given;
use crate::kind::Kind;
use crate::target::TargetKind;
use crate::touch::{Access, Touch};

/// Step kinds and target kinds by name.
#[derive(Default)]
pub struct Registry {
    kinds: BTreeMap<&'static str, Arc<dyn Kind>>,
    targets: BTreeMap<&'static str, Box<dyn TargetKind>>,
}

impl Registry {
    /// With nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Add a step kind.
    pub fn kind(&mut self, kind: impl Kind + 'static) {
        self.kinds.insert(kind.shape().name, Arc::new(kind));
    }

    /// Add a target kind.
    pub fn target(&mut self, target: impl TargetKind + 'static) {
        self.targets.insert(target.shape().name, Box::new(target));
    }

    /// The step kind of this name.
    pub fn kind_named(&self, name: &str) -> Option<&dyn Kind> {
        self.kinds.get(name).map(AsRef::as_ref)
    }

    /// The target kind of this name.
    pub fn target_named(&self, name: &str) -> Option<&dyn TargetKind> {
        self.targets.get(name).map(AsRef::as_ref)
    }

    /// The same as plain data, for `check` and `schema`.
    pub fn catalog(&self) -> Catalog {
        let judges = self.kinds.iter().map(|(name, kind)| (*name, judge(kind.clone())));
        let touchers = self.kinds.iter().map(|(name, kind)| (*name, toucher(kind.clone())));
        let kinds = self.kinds.values().map(|kind| kind.shape());
        Catalog::new(kinds, self.targets.values().map(|target| target.shape()))
            .judged_by(judges)
            .touched_by(touchers)
    }
}

fn judge(kind: Arc<dyn Kind>) -> Judge {
    Judge::new(move |with| {
        let error = kind.judge(&Given { with, fill: None }).err()?;
        Some(Misfit { message: error.message, help: error.help })
    })
}

fn toucher(kind: Arc<dyn Kind>) -> Toucher {
    let reach = |access| match access {
        Access::Reads => Reach::Reads,
        Access::Writes => Reach::Writes,
        Access::Destroys => Reach::Destroys,
    };
    let touched =
        move |Touch { target, resource, access }| Touched { target, resource, reach: reach(access) };
    Toucher::new(move |target, with| {
        let touches = kind.touches(target, &Given { with, fill: None }).unwrap_or_default();
        touches.into_iter().map(touched).collect()
    })
}
