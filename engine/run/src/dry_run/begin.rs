//! What a dry run begins with: nothing seen, and the parameters as far as they are known.

use std::collections::HashMap;
use std::sync::Arc;

use drydock_plan::expr::Datum;
use drydock_plan::name::Name;
use drydock_plan::rendered::Rendered;

use super::{DryOptions, Work};
use crate::bound::Bound;
use crate::services::Services;

/// What stands for the run itself among the names of steps that something is known after.
const THE_RUN: &str = "run";

impl<'a> Work<'a> {
    /// Before the first step.
    pub(super) fn new(services: &'a Arc<Services>, options: &'a DryOptions) -> Self {
        Self {
            services,
            options,
            params: params(services, options),
            seen: HashMap::new(),
            entries: HashMap::new(),
            changes: HashMap::new(),
            headlines: Vec::new(),
            destroys: Vec::new(),
            writes: Vec::new(),
            unseen: Vec::new(),
            grants: Vec::new(),
            probes: Vec::new(),
            touched: HashMap::new(),
            findings: Vec::new(),
            servers: Vec::new(),
            bound: Bound::default(),
            differences: Vec::new(),
        }
    }
}

/// The parameters as far as they are known.
fn params(services: &Services, options: &DryOptions) -> Datum {
    let known =
        services.plan.params.iter().map(|(name, value)| (name.to_string(), Rendered::from(value.clone())));
    let unknown = options.unknown.iter().map(|name| (name.to_string(), during_the_run()));
    Datum::from_rendered(&Rendered::Map(known.chain(unknown).collect()))
}

/// Known only during the run.
pub(super) fn during_the_run() -> Rendered {
    Rendered::After(Name::parse(THE_RUN).into_iter().collect())
}
