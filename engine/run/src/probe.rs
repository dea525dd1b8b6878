//! Asking beforehand whether a step can work, beside others and for a limited time: [`Probe`].

use std::sync::Arc;

use drydock_plan::model::Call;
use drydock_plan::name::Name;
use drydock_step::kind::OwnedGiven;
use drydock_step::{Ctx, Facts, Given, Kind, PreflightFinding, StepError};
use tokio::task::JoinHandle;

use crate::probing::Probing;
use crate::services::Services;
use crate::shown::{DryFinding, Severity};

/// What was found out about a step.
pub(crate) struct Answered {
    /// For its actions.
    pub(crate) facts: Facts,
    /// What was found.
    pub(crate) findings: Vec<DryFinding>,
}

/// A step that is being asked about.
pub(crate) struct Probe {
    /// The step.
    pub(crate) step: Name,
    /// As it is shown, with its key.
    pub(crate) id: String,
    /// Where its findings go.
    pub(crate) place: usize,
    /// Its call.
    pub(crate) call: Call,
    given: OwnedGiven,
    services: Arc<Services>,
    asked: JoinHandle<Said>,
}

/// What a kind said: quick, and where more was asked for, after reading everything.
struct Said {
    quick: Result<drydock_step::Preflight, StepError>,
    deep: Option<Result<Vec<PreflightFinding>, StepError>>,
}

impl Probe {
    /// Begins to ask.
    pub(crate) fn begin(
        services: &Arc<Services>,
        probing: &Probing,
        (step, id, place): (&Name, &str, usize),
        call: &Call,
        (ctx, given): (Ctx, OwnedGiven),
    ) -> Self {
        let (of_task, of_step) = (services.clone(), given.clone());
        let (probing, name, target) = (probing.clone(), call.kind, call.target.clone());
        let asked = tokio::spawn(async move {
            let _place = probing.turn().await;
            let Some(kind) = of_task.world.registry.kind_named(name) else {
                return Said {
                    quick: Err(StepError::internal(format!("there is no kind {name}"))),
                    deep: None,
                };
            };
            let quick = probing.in_time(target.as_ref(), kind.preflight(&ctx, given.clone())).await;
            let deep = match probing.deep && quick.is_ok() {
                true => Some(kind.prove(&ctx, given).await),
                false => None,
            };
            Said { quick, deep }
        });
        let (step, id) = (step.clone(), id.to_owned());
        Self { step, id, place, call: call.clone(), given: of_step, services: services.clone(), asked }
    }

    /// The inputs that it was asked with.
    pub(crate) fn given(&self) -> Given<'_> {
        Given { with: &self.given.with, fill: None }
    }

    /// What came of it.
    pub(crate) async fn answered(&mut self) -> Answered {
        let said = (&mut self.asked).await.unwrap_or_else(|error| Said {
            quick: Err(StepError::internal(format!("the kind could not be asked to its end: {error}"))),
            deep: None,
        });
        let mut findings = Vec::new();
        let facts = match said.quick {
            Ok(preflight) => {
                findings.extend(preflight.findings.into_iter().map(|finding| self.found(finding)));
                preflight.facts
            }
            Err(error) => {
                findings.push(unanswered(&self.id, self.call.target.as_ref(), error));
                Facts::Null
            }
        };
        match said.deep {
            Some(Ok(proved)) => {
                // What was seen at once is not told a second time.
                let new = proved.into_iter().map(|finding| self.found(finding));
                let new: Vec<DryFinding> = new
                    .filter(|new| findings.iter().all(|old| old.finding.message != new.finding.message))
                    .collect();
                findings.extend(new);
            }
            Some(Err(error)) => findings.push(unanswered(&self.id, self.call.target.as_ref(), error)),
            None => {}
        }
        Answered { facts, findings }
    }

    fn found(&self, finding: PreflightFinding) -> DryFinding {
        let target = self.call.target.as_ref();
        let kind: Option<&dyn Kind> = self.services.world.registry.kind_named(self.call.kind);
        let touched = kind.and_then(|kind| kind.touches(target.map(Name::as_str), &self.given()).ok());
        DryFinding {
            step: self.id.clone(),
            also: Vec::new(),
            target: target.cloned(),
            answered: true,
            asked: touched.unwrap_or_default().iter().all(|touch| touch.target.is_some()),
            severity: if finding.fatal { Severity::Error } else { Severity::Warning },
            finding,
        }
    }
}

/// What speaks against a run whatever a server says.
pub(crate) fn refused(step: &str, code: &str, message: String, help: Option<String>) -> DryFinding {
    let finding = PreflightFinding { code: code.to_owned(), fatal: true, message, help };
    let (step, also, target) = (step.to_owned(), Vec::new(), None);
    DryFinding { step, also, target, answered: true, asked: true, severity: Severity::Error, finding }
}

/// That a step was asked about and not answered: nothing speaks against it but that, where it was only too late.
pub(crate) fn unanswered(step: &str, target: Option<&Name>, error: StepError) -> DryFinding {
    let StepError { code, message, help, .. } = error;
    let found = refused(step, &code, message, help);
    let is_late = code == "probe.timeout";
    let severity = if is_late { Severity::Unknown } else { Severity::Error };
    let finding = PreflightFinding { fatal: !is_late, ..found.finding };
    DryFinding { answered: false, asked: false, severity, target: target.cloned(), finding, ..found }
}
