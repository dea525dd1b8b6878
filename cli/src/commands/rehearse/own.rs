//! A plan of one's own on practice servers: its targets are bound to them by kind, everything else is as its author wrote it.

use std::path::Path;

use drydock_machine::Exit;
use drydock_plan::check::Demand;
use drydock_plan::model::{Plan, Purpose};
use drydock_plan::syntax::yaml;
use drydock_practice::octopus::{Data, fill, fill_from};
use drydock_practice::seed::Seed;
use serde_json::{Map, Value, json};

use crate::args::{Binding, PlanArgs, RehearseArgs};
use crate::commands::plan_of::{loaded, selected};
use crate::commands::print;
use crate::formats::Format;
use crate::load::environment_values;
use crate::session::{Refusal, Session, folder_of, runtime};

use super::data::data_of;
use super::folder::{Folder, failed};
use super::kill::Kill;
use super::process::{Drydock, Went};
use super::servers::Servers;
use super::told::{NOT_SHOWN, Told, steps_of};

/// The id of its run.
const RUN: &str = "own";

/// Kinds whose programs run where the rehearsal does, and not on a practice server.
const HERE: [&str; 2] = ["process.run", "ef.update"];

/// Rehearse it.
pub(super) fn own(
    session: &Session,
    args: &RehearseArgs,
    plan: &Path,
    kill: Option<Kill>,
) -> Result<Exit, Refusal> {
    let binding = Binding { env: None, ..args.binding.clone() };
    let Some((_, written)) = loaded(session, &PlanArgs { plan: plan.to_owned(), binding }, Demand::Form)?
    else {
        return Ok(Exit::Invalid);
    };
    if let Some(kill) = &kill {
        has_step(&written, kill)?;
    }
    let data = args.data.as_deref().map(data_of).transpose()?;
    let mut folder = Folder::new(session, args.keep.as_deref(), &[])?;
    let held = kill.as_ref().filter(|kill| kill.variable().is_none());
    let servers = Servers::start(session, &folder, args.seed, args.qdrant_nodes, held)?;
    let bound = environment(&folder, &written, args.binding.env.as_deref())?;
    std::fs::write(folder.environment(), bound).map_err(|error| failed(&folder.environment(), &error))?;
    let binding = Binding { env: Some(folder.environment()), ..args.binding.clone() };
    // Once more, as the run will read it: what is missing is told before anything is filled.
    let quiet =
        Session { common: crate::args::Common { quiet: true, ..session.common.clone() }, ..session.clone() };
    if loaded(&quiet, &PlanArgs { plan: plan.to_owned(), binding }, Demand::Run)?.is_none() {
        return Ok(Exit::Invalid);
    }
    filled(&servers, Seed(args.seed), data.as_ref())?;
    let began = (session.outside.clock)();
    let went = run(session, args, plan, &folder, kill.as_ref())?;
    drop(servers);
    let took = ((session.outside.clock)() - began) as f64 / 1_000.0;
    if went.exit != 0 {
        folder.keep();
    }
    let told = Told {
        ok: went.exit == 0,
        seed: args.seed,
        runs: vec![RUN.to_owned()],
        steps: steps_of(written.name.as_str(), &went.report),
        rpo_s: None,
        rto_s: (written.purpose == Purpose::Restore).then_some(took),
        dir: folder.is_kept().then(|| folder.root().display().to_string()),
    };
    if session.common.format == Format::Json {
        print(&format!("{}\n", json!(told)));
    } else {
        print(&words(&written, &folder, args.seed, &went, &told, took));
    }
    Ok(u8::try_from(went.exit).ok().and_then(Exit::from_code).unwrap_or(Exit::StepFailed))
}

/// Refused, where the plan does not have the step at which it is to be killed.
fn has_step(plan: &Plan, kill: &Kill) -> Result<(), Refusal> {
    if let Some(other) = kill.plan.as_deref().filter(|named| *named != plan.name.as_str()) {
        let message = format!("--kill-at: this plan is `{}`, not `{other}`", plan.name);
        return Err(Refusal::new(Exit::Usage, message).help("name the step alone"));
    }
    selected(plan, "--kill-at", &kill.step).map(drop)
}

fn filled(servers: &Servers, seed: Seed, data: Option<&Data>) -> Result<(), Refusal> {
    let addresses = servers.ports.addresses();
    let life = runtime()?;
    let result = match data {
        None => life.block_on(fill(&addresses, seed)),
        Some(data) => life.block_on(fill_from(&addresses, seed, data)),
    };
    result.map_err(|error| {
        let refusal =
            Refusal::new(Exit::Invalid, format!("the practice servers could not be filled: {error}"));
        refusal.help("practice servers know the T-SQL that kinds and shipped plans use, and refuse the rest")
    })
}

fn run(
    session: &Session,
    args: &RehearseArgs,
    plan: &Path,
    folder: &Folder,
    kill: Option<&Kill>,
) -> Result<Went, Refusal> {
    let mut words: Vec<String> =
        args.binding.param.iter().flat_map(|param| ["-p".to_owned(), param.clone()]).collect();
    if let Some(params) = &args.binding.params {
        words.extend(["--params".to_owned(), params.display().to_string()]);
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Drydock::new(session, folder).run(&session.outside.folder().join(plan), RUN, &words, kill)
}

/// For people.
fn words(plan: &Plan, folder: &Folder, seed: u64, went: &Went, told: &Told, took: f64) -> String {
    let mut text = format!("a rehearsal of {} on practice servers, seed {seed}\n", plan.name);
    let here: Vec<&str> = plan
        .steps
        .iter()
        .filter(|step| HERE.contains(&step.call.kind))
        .map(|step| step.id.as_str())
        .collect();
    if !here.is_empty() {
        text.push_str(&format!("the programs of {} ran on this machine\n", here.join(", ")));
    }
    // The servers are gone: there is nothing to go on with.
    let said = went.said.lines().filter(|line| !line.starts_with("go on with: "));
    said.for_each(|line| text.push_str(&format!("{line}\n")));
    text.push_str(&format!("\n{}", told.table(folder.root(), Some(took))));
    if went.exit != 0 {
        let state = folder.state();
        text.push_str(&format!("look at it: drydock runs show {RUN} --state-dir {}\n", state.display()));
    }
    format!("{text}\n{NOT_SHOWN}\n")
}

/// The environment file: the plan's own target names bound to practice servers of their kinds, with the values that the user's own
/// environment gives to parameters.
fn environment(folder: &Folder, plan: &Plan, own: Option<&Path>) -> Result<String, Refusal> {
    let unreadable = |error: drydock_step::StepError| Refusal::new(Exit::Usage, error.message);
    let practice = environment_values(&folder.environment()).map_err(unreadable)?;
    let mut bound = Map::new();
    for (name, target) in &plan.targets {
        let server = server(&practice, name.as_str(), target.kind).ok_or_else(|| {
            let message = format!("there is no practice server for target {name} of kind {}", target.kind);
            Refusal::new(Exit::CannotSucceed, message)
        })?;
        bound.insert(name.to_string(), server);
    }
    let mut file = json!({ "drydock": "v1", "environment": "rehearsal", "targets": bound });
    if let Some(own) = own {
        let params = environment_values(own).map_err(unreadable)?["params"].clone();
        if let Value::Object(params) = params {
            let params = params.into_iter().map(|(name, value)| (name, absolute(value, &folder_of(own))));
            file["params"] = Value::Object(params.collect());
        }
    }
    Ok(yaml::write(&file))
}

/// The practice server of this kind: the one of this name, where there are several.
fn server(practice: &Value, name: &str, kind: &str) -> Option<Value> {
    let targets = practice["targets"].as_object()?;
    let of_kind = |target: &&Value| target["kind"] == kind;
    let named = targets.get(name).filter(of_kind);
    named.or_else(|| targets.values().find(of_kind)).cloned()
}

/// A value of a parameter. Where it is the file of a secret, the path is relative to the user's environment, and not to ours.
fn absolute(value: Value, folder: &Path) -> Value {
    match value.as_object().and_then(|source| source.get("file")?.as_str()) {
        Some(file) if value.as_object().is_some_and(|source| source.len() == 1) => {
            let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
            json!({ "file": folder.join(file) })
        }
        _ => value,
    }
}
