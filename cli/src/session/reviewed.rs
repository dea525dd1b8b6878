//! Executing a saved dry run: whether what would run now is what was reviewed, [`as_shown`], and that it runs once, [`Session::claim`].

use std::path::Path;
use std::sync::Arc;

use drydock_machine::Exit;
use drydock_plan::digest::digest_of;
use drydock_plan::model::Plan;
use drydock_recovery::backup::clock;
use drydock_run::bound::{Difference, as_reviewed, in_words};
use drydock_run::dry_run::{DryRun, DryStep, Runs, Server};
use drydock_run::saved::Saved;
use drydock_run::services::Services;
use drydock_run::state::Reviewed;
use drydock_step::artifact::bytes_of;
use drydock_step::{ArtifactStore, StepError};
use serde_json::{Value, json};

use crate::load::Loaded;

use super::{Above, Refusal, Session, file_difference, runtime};

/// Where a store keeps which saved dry runs were executed.
const CLAIMS: &str = "saved-runs";

/// The longest claim that is read.
const LONGEST: usize = 64 * 1024;

impl Session {
    /// The same, for the plan that a step runs.
    pub(super) fn within(&self, step: &str) -> Self {
        let reviewed = self.reviewed.as_deref();
        let narrowed =
            reviewed.map(|reviewed| Reviewed { steps: reviewed.steps.within(step), ..reviewed.clone() });
        self.reviewing(narrowed.map(Arc::new))
    }

    /// Take the one execution that a saved dry run has, for this run: in the artifact store, where the plan has one, so that it counts on
    /// every runner.
    ///
    /// # Errors
    /// `saved.used` when a run has it, and what the store says.
    pub(crate) fn claim(
        &self,
        saved: &Saved,
        run: &str,
        loaded: &Loaded,
        plan: &Arc<Plan>,
        above: &Above,
    ) -> Result<(), Refusal> {
        for id in self.state.run_ids()? {
            let other = self.state.start(&id).ok().and_then(|start| start.reviewed);
            if other.is_some_and(|other| other.id == saved.id) {
                return Err(used(&format!("by run {id}")));
            }
        }
        let services = self.looking(loaded, plan.clone(), above)?;
        let stores = plan.targets.iter().filter(|(_, target)| target.kind == "artifacts");
        let Some((store, _)) = stores.map(|(name, target)| (name.as_str(), target)).next() else {
            return Ok(());
        };
        let claim = json!({ "run": run, "by": self.outside.by(), "at": clock_of((self.outside.clock)()) });
        let runtime = runtime()?;
        let claimed = runtime.block_on(claimed(&services, store, &saved.id, &claim));
        runtime.shutdown_background();
        match claimed {
            Ok(None) => Ok(()),
            Ok(Some(other)) => Err(used(&other)),
            Err(error) => Err(Refusal::new(
                Exit::CannotSucceed,
                format!("that the saved dry run is executed once cannot be kept in {store}: {error}"),
            )
            .help("nothing was started; mend what is said, and run it again")),
        }
    }
}

/// By whom it was executed, where somebody was faster.
async fn claimed(
    services: &Services,
    store: &str,
    id: &str,
    claim: &Value,
) -> Result<Option<String>, StepError> {
    let connection = services.connect(store, "claim").await?;
    let store: &dyn ArtifactStore =
        connection.store().ok_or_else(|| StepError::internal(format!("{store} is no artifact store")))?;
    let path = format!("{CLAIMS}/{id}.json");
    match store.put_new(&path, format!("{claim:#}\n").into()).await {
        Ok(_) => Ok(None),
        Err(error) if error.code == "artifact.exists" => {
            let bytes = bytes_of(store.open(&path, 0).await?, LONGEST).await.unwrap_or_default();
            let other: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            let word = |key: &str| other[key].as_str().unwrap_or("?").to_owned();
            Ok(Some(format!("by run {} of {} at {}", word("run"), word("by"), word("at"))))
        }
        Err(error) => Err(error),
    }
}

fn used(by: &str) -> Refusal {
    Refusal::new(Exit::CannotSucceed, format!("this saved dry run was executed {by} [saved.used]"))
        .help("it is good for one run: make it anew, review it, and run that")
}

/// A moment as it is shown, in UTC.
pub(crate) fn clock_of(ms: i64) -> String {
    match drydock_recovery::Time::from_timestamp_millis(ms) {
        Some(time) => clock(time),
        None => format!("{ms} ms since 1970"),
    }
}

/// The files that are not what they were, with what differs where their text was kept.
pub(crate) fn changed_files(saved: &Saved, loaded: &Loaded) -> String {
    let now = loaded.sources();
    let mut text = String::new();
    for (at, was) in saved.files.iter().enumerate() {
        let is = now.get(at);
        match is {
            Some((name, bytes)) if digest_of([(name.as_str(), bytes.as_slice())]) == was.digest => {}
            Some((name, bytes)) => text.push_str(&match &was.text {
                Some(old) => file_difference(name, "as it was reviewed", old.as_bytes(), bytes),
                None => format!("  {name} is another than the one that was reviewed\n"),
            }),
            None => text.push_str(&format!("  {} was reviewed, and no input names it any more\n", was.name)),
        }
    }
    for (name, _) in now.iter().skip(saved.files.len()) {
        text.push_str(&format!("  {name} was not reviewed\n"));
    }
    text
}

/// Nothing, where what a run would do now is what a saved dry run shows.
///
/// # Errors
/// `saved.differs`, with what differs.
pub(crate) fn as_shown(file: &Path, was: &DryRun, now: &DryRun) -> Result<(), Refusal> {
    let asked = servers(&was.servers, &now.servers).into_iter().chain(now.differences.iter().cloned());
    let mut found: Vec<Difference> = asked.collect();
    // What steps would do follows from what servers are and answer.
    if found.is_empty() {
        found = steps(&was.steps, &now.steps);
    }
    if found.is_empty() { Ok(()) } else { Err(differs(file, &in_words(&found))) }
}

/// The refusal of a run that would do something else than what was reviewed.
pub(crate) fn differs(file: &Path, diff: &str) -> Refusal {
    let message = format!(
        "what would run now is not what was reviewed, and nothing was started [saved.differs]\n{}",
        diff.trim_end()
    );
    Refusal::new(Exit::CannotSucceed, message).help(format!(
        "`drydock dry-run --read {}` shows what was reviewed; make it anew, and review that",
        file.display()
    ))
}

fn servers(was: &[Server], now: &[Server]) -> Vec<Difference> {
    let told = |server: &Server| match (&server.identity, &server.silent) {
        (Some(identity), _) => format!("{} {} {}", identity.text, identity.name, identity.version),
        (None, why) => format!("it did not say: {}", why.as_deref().unwrap_or("nobody asked")),
    };
    let differs = |server: &Server| {
        let was = server.identity.as_ref()?;
        let other = now.iter().find(|other| other.target == server.target);
        if other.and_then(|other| other.identity.as_ref()) == Some(was) {
            return None;
        }
        Some(Difference {
            at: format!("server of {}", server.target),
            was: Some(told(server)),
            is: other.map(told),
        })
    };
    was.iter().filter_map(differs).collect()
}

fn steps(was: &[DryStep], now: &[DryStep]) -> Vec<Difference> {
    let mut found = Vec::new();
    let word = |step: &DryStep| match step.runs {
        Runs::Yes => "it would run".to_owned(),
        Runs::No => "it would not run".to_owned(),
        Runs::Unknown => "it depends on what is known during the run".to_owned(),
    };
    for step in was {
        match now.iter().find(|other| other.id == step.id) {
            Some(other) if other.runs == step.runs => {
                found.extend(as_reviewed(&step.id, &step.actions, &other.actions));
            }
            other => {
                found.push(Difference { at: step.id.clone(), was: Some(word(step)), is: other.map(word) })
            }
        }
    }
    let new = now.iter().filter(|step| !was.iter().any(|other| other.id == step.id));
    found.extend(new.map(|step| Difference { at: step.id.clone(), was: None, is: Some(word(step)) }));
    found
}

#[cfg(test)]
mod tests {
    use drydock_plan::name::Name;
    use drydock_step::Identity;

    use super::*;

    fn server(name: Option<&str>) -> Server {
        let identity = name.map(|name| Identity {
            text: format!("sqlserver {name}"),
            name: name.to_owned(),
            version: "16.0".to_owned(),
        });
        let silent = name.is_none().then(|| "refused".to_owned());
        Server { target: Name::parse("sql").unwrap(), identity, silent }
    }

    #[test]
    fn a_server_must_be_the_one_that_was_reviewed() {
        assert_eq!(servers(&[server(Some("A"))], &[server(Some("A"))]), []);
        assert_eq!(servers(&[server(None)], &[server(Some("A"))]), [], "nobody knew who it was");
        for (now, is) in [
            (vec![server(Some("B"))], Some("sqlserver B B 16.0")),
            (vec![server(None)], Some("it did not say: refused")),
            (vec![], None),
        ] {
            let found = servers(&[server(Some("A"))], &now);
            assert_eq!((found.len(), found[0].is.as_deref()), (1, is));
        }
    }

    #[test]
    fn steps_come_and_go_and_change() {
        let step = |id: &str, runs: Runs| DryStep {
            id: id.to_owned(),
            uses: "flow.noop".into(),
            runs,
            why: None,
            actions: Vec::new(),
            unknown: Vec::new(),
            needs: Vec::new(),
            beside: Vec::new(),
            finally: false,
        };
        let was = [step("a", Runs::Yes), step("b", Runs::Yes), step("c", Runs::No)];
        let now = [step("a", Runs::Yes), step("c", Runs::Yes), step("d", Runs::Yes)];
        let found = in_words(&steps(&was, &now));
        assert_eq!(
            found,
            "  b\n    - it would run\n  c\n    - it would not run\n    + it would run\n  d\n    + it would run\n"
        );
    }
}
