//! The whole story: an Octopus is filled, backed up, goes on living, is lost, is restored, and proves that it is back.

use drydock_machine::Exit;
use drydock_practice::octopus::{disaster, fill, live_on};
use drydock_practice::seed::Seed;
use serde_json::Value;

use crate::args::RehearseArgs;
use crate::commands::print;
use crate::formats::Format;
use crate::session::{Refusal, Session, runtime};

use super::folder::{Folder, SHIPPED};
use super::kill::Kill;
use super::process::{Drydock, Went};
use super::servers::Servers;
use super::told::{NOT_SHOWN, Told, steps_of};

/// How many steps of life go by between backup and disaster.
const LIFE: u64 = 2;

/// Tells the story and its end.
pub(super) fn story(session: &Session, args: &RehearseArgs, kill: Option<Kill>) -> Result<Exit, Refusal> {
    let mut folder = Folder::new(session, args.keep.as_deref(), SHIPPED)?;
    let result = Story { session, args, folder: &folder, kill }.tell();
    match &result {
        Ok((told, _)) if told.ok => {}
        _ => folder.keep(),
    }
    let (mut told, exit) = result?;
    told.dir = folder.is_kept().then(|| folder.root().display().to_string());
    if session.common.format == Format::Json {
        let text =
            serde_json::to_string(&told).map_err(|error| Refusal::new(Exit::Internal, error.to_string()))?;
        print(&format!("{text}\n"));
    } else {
        print(&format!("\n{}\n{NOT_SHOWN}\n", told.table(folder.root(), None)));
    }
    Ok(exit)
}

/// A moment of a report, in seconds since 1970.
fn seconds_of(moment: &serde_json::Value) -> Option<f64> {
    let at = chrono::DateTime::parse_from_rfc3339(moment.as_str()?).ok()?;
    Some(at.timestamp_millis() as f64 / 1_000.0)
}

struct Story<'a> {
    session: &'a Session,
    args: &'a RehearseArgs,
    folder: &'a Folder,
    kill: Option<Kill>,
}

impl Story<'_> {
    fn say(&self, line: &str) {
        if self.session.common.format != Format::Json && !self.session.common.quiet {
            print(&format!("{line}\n"));
        }
    }

    fn now_s(&self) -> f64 {
        (self.session.outside.clock)() as f64 / 1_000.0
    }

    fn tell(&self) -> Result<(Told, Exit), Refusal> {
        let (session, folder, seed) = (self.session, self.folder, self.args.seed);
        self.say(&format!("a rehearsal on practice servers, seed {seed}: nothing of yours is touched"));
        let drydock = Drydock::new(session, folder);
        let (backup, restore) = (folder.plans().join("backup.yaml"), folder.plans().join("restore.yaml"));
        let kills = self.kills(&drydock)?;
        let held = kills.iter().flatten().find(|kill| kill.variable().is_none());
        let servers = Servers::start(session, folder, seed, self.args.qdrant_nodes, held)?;
        let addresses = servers.ports.addresses();
        let life = runtime()?;
        let lived = |result: Result<(), drydock_practice::octopus::OctopusError>| {
            result.map_err(|error| Refusal::new(Exit::Internal, format!("Octopus could not live: {error}")))
        };
        lived(life.block_on(fill(&addresses, Seed(seed))))?;
        self.say("an Octopus lives: agents, procedures and episodes in SQL Server, vectors in Qdrant");

        let mut told = Told {
            ok: false,
            seed,
            runs: Vec::new(),
            steps: Vec::new(),
            rpo_s: None,
            rto_s: None,
            dir: None,
        };
        let went = drydock.run(&backup, "backup", &[], kills[0].as_ref())?;
        if !self.went_well("backup", &went, &mut told) {
            return Ok((told, Exit::StepFailed));
        }
        let marked = went.report["steps"]["mark"]["outputs"]["answered_at"].clone();
        for step in 1..=LIFE {
            lived(life.block_on(live_on(&addresses, Seed(seed), step)))?;
        }
        self.say("life goes on: agents, episodes and documents come, change and go");
        lived(life.block_on(disaster(&addresses)))?;
        let lost_at = self.now_s();
        self.say("disaster: the database and all collections are gone");

        self.dry_run(&drydock, &restore)?;
        let went = drydock.run(&restore, "restore", &["-p", "to=point:latest"], kills[1].as_ref())?;
        let ok = self.went_well("restore", &went, &mut told);
        // The new point that follows is not part of the recovery.
        let back = went.report["steps"]["recall"]["attempts"].as_array().and_then(|attempts| attempts.last());
        let back = back.and_then(|attempt| seconds_of(&attempt["ended_at"]));
        told.rto_s = Some(back.unwrap_or_else(|| self.now_s()) - lost_at);
        told.rpo_s = seconds_of(&marked).map(|marked| lost_at - marked);
        told.ok = ok;
        drop(servers);
        Ok((told, if ok { Exit::Done } else { Exit::StepFailed }))
    }

    /// The kill for each of the two plans.
    fn kills(&self, drydock: &Drydock<'_>) -> Result<[Option<Kill>; 2], Refusal> {
        let mut kills = [None, None];
        let Some(kill) = &self.kill else { return Ok(kills) };
        for (at, name) in ["backup", "restore"].into_iter().enumerate() {
            let steps = drydock.steps_of(&self.folder.plans().join(format!("{name}.yaml")))?;
            if kills.iter().all(Option::is_none) && kill.is_for(name, &steps) {
                kills[at] = Some(kill.clone());
            }
        }
        if kills.iter().all(Option::is_none) {
            return Err(Refusal::new(Exit::Usage, format!("--kill-at: no plan has a step `{}`", kill.step)));
        }
        Ok(kills)
    }

    fn dry_run(&self, drydock: &Drydock<'_>, restore: &std::path::Path) -> Result<(), Refusal> {
        let (plan, environment) = (restore.to_string_lossy(), self.folder.environment());
        let output = drydock.output(&[
            "dry-run",
            &plan,
            "-e",
            &environment.to_string_lossy(),
            "-p",
            "to=point:latest",
        ])?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(Refusal::new(
                Exit::CannotSucceed,
                format!("the dry run of the restore says no:\n{text}{said}"),
            ));
        }
        self.say(&format!("\n{}", text.trim_end()));
        Ok(())
    }

    fn went_well(&self, plan: &str, went: &Went, told: &mut Told) -> bool {
        let run: &Value = &went.report["run"];
        told.runs.push(run.as_str().unwrap_or_default().to_owned());
        told.steps.extend(steps_of(plan, &went.report));
        let killed = if went.kills > 0 { ", killed once and resumed" } else { "" };
        let summary = went.report["summary"].as_str().unwrap_or(&went.said);
        self.say(&format!("{summary}{killed}"));
        if went.exit != 0 {
            self.say(&format!("it ended with exit {}:\n{}", went.exit, went.said));
        }
        went.exit == 0
    }
}
