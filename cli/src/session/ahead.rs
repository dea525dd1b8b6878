//! Looking ahead: what speaks against a run is found before it begins, while nothing is changed yet.

use std::sync::Arc;

use drydock_machine::Exit;
use drydock_plan::model::Plan;
use drydock_run::attempts::is_forced;
use drydock_run::dry_run::{DryFinding, DryOptions, DryRun, dry_run};

use drydock_run::probing::Probing;

use super::{Above, Refusal, Session, runtime};
use crate::formats::Format;
use crate::load::Loaded;

impl Session {
    /// Asks the servers of a plan, only reading, whether its steps can work. A plan without targets has nobody to ask.
    pub(crate) fn look_ahead(
        &self,
        loaded: &Loaded,
        plan: &Arc<Plan>,
        chosen: &DryOptions,
        above: &Above,
    ) -> Result<(), Refusal> {
        if plan.targets.is_empty() {
            return Ok(());
        }
        self.judged(&self.asked_ahead(loaded, plan, chosen, above)?)
    }

    /// What a run would do, the servers asked.
    pub(crate) fn asked_ahead(
        &self,
        loaded: &Loaded,
        plan: &Arc<Plan>,
        chosen: &DryOptions,
        above: &Above,
    ) -> Result<DryRun, Refusal> {
        let services = self.looking(loaded, plan.clone(), above)?;
        let runtime = runtime()?;
        let options = DryOptions { probe: Some(Probing::default()), ..chosen.clone() };
        let shown = runtime.block_on(dry_run(&services, &options));
        runtime.shutdown_background();
        Ok(shown)
    }

    /// Refused, where something speaks against a run.
    pub(crate) fn judged(&self, shown: &DryRun) -> Result<(), Refusal> {
        let (fatal, notes): (Vec<&DryFinding>, Vec<&DryFinding>) =
            shown.findings.iter().partition(|found| found.finding.fatal);
        if self.common.format == Format::Text && self.common.verbose > 0 {
            notes.iter().for_each(|note| eprintln!("note: {}", words(note)));
        }
        let (passed, fatal): (Vec<&DryFinding>, Vec<&DryFinding>) =
            fatal.into_iter().partition(|found| is_forced(&self.forced_past, &found.finding.code));
        passed.iter().for_each(|found| eprintln!("warning: forced past: {}", words(found)));
        let Some(first) = fatal.first() else { return Ok(()) };
        let all: Vec<String> = fatal.iter().map(|found| words(found)).collect();
        let message = format!("this run cannot succeed, and nothing was started: {}", all.join("\n       "));
        let mut codes: Vec<&str> = fatal.iter().map(|found| found.finding.code.as_str()).collect();
        codes.sort_unstable();
        codes.dedup();
        let past = format!("`--force-past {}` starts it all the same", codes.join(","));
        let way_on = match self.reviewed {
            Some(_) => past,
            None => format!("{past}, and `--no-preflight` without having asked"),
        };
        Err(Refusal::new(Exit::CannotSucceed, message).help(match &first.finding.help {
            Some(help) => format!("{help}\n      {way_on}"),
            None => way_on,
        }))
    }
}

fn words(found: &DryFinding) -> String {
    format!("{}: {} [{}]", found.steps(), found.finding.message, found.finding.code)
}
