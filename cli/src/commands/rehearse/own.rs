//! A plan of one's own on practice servers: its targets are bound to them by kind, everything else is as its author wrote it.

use std::path::Path;

use drydock_machine::Exit;
use drydock_plan::check::Demand;
use drydock_plan::syntax::yaml;
use drydock_practice::octopus::fill;
use drydock_practice::seed::Seed;
use serde_json::{Map, json};

use crate::args::{Binding, PlanArgs, RehearseArgs};
use crate::commands::plan_of::loaded;
use crate::commands::print;
use crate::formats::Format;
use crate::load::{environment_values, values};
use crate::session::{Refusal, Session, runtime};

use super::folder::{Folder, failed};
use super::kill::Kill;
use super::process::Drydock;
use super::servers::Servers;
use super::told::{NOT_SHOWN, Told, steps_of};

/// Rehearse it.
pub(super) fn own(
    session: &Session,
    args: &RehearseArgs,
    plan: &Path,
    kill: Option<Kill>,
) -> Result<Exit, Refusal> {
    let binding = Binding { env: None, ..args.binding.clone() };
    let Some((_, checked)) = loaded(session, &PlanArgs { plan: plan.to_owned(), binding }, Demand::Form)?
    else {
        return Ok(Exit::Invalid);
    };
    let mut folder = Folder::new(session, args.keep.as_deref())?;
    let held = kill.as_ref().filter(|kill| kill.variable().is_none());
    let servers = Servers::start(session, &folder, args.seed, args.qdrant_nodes, held)?;
    let addresses = servers.ports.addresses();
    let life = runtime()?;
    let unfilled = |error: String| {
        Refusal::new(Exit::Usage, format!("the practice servers could not be filled: {error}"))
    };
    match &args.data {
        None => {
            life.block_on(fill(&addresses, Seed(args.seed))).map_err(|error| unfilled(error.to_string()))?
        }
        Some(path) => {
            let data = values(path).map_err(|error| Refusal::new(Exit::Usage, error.message))?;
            life.block_on(drydock_practice::octopus::fill_from(&addresses, &data))
                .map_err(|error| unfilled(error.to_string()))?;
        }
    }
    let bound = environment(
        &folder,
        checked.targets.iter().map(|(name, target)| (name.as_str(), target.kind)),
        args.binding.env.as_deref(),
    )?;
    std::fs::write(folder.environment(), bound).map_err(|error| failed(&folder.environment(), &error))?;
    let drydock = Drydock::new(session, &folder);
    let mut words: Vec<String> =
        args.binding.param.iter().flat_map(|param| ["-p".to_owned(), param.clone()]).collect();
    if let Some(params) = &args.binding.params {
        words.extend(["--params".to_owned(), params.display().to_string()]);
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let began = (session.outside.clock)();
    let went = drydock.run(&session.outside.folder().join(plan), "own", &words, kill.as_ref())?;
    drop(servers);
    let took = ((session.outside.clock)() - began) as f64 / 1_000.0;
    if went.exit != 0 {
        folder.keep();
    }
    let told = Told {
        ok: went.exit == 0,
        seed: args.seed,
        runs: vec!["own".to_owned()],
        steps: steps_of(checked.name.as_str(), &went.report),
        rpo_s: None,
        rto_s: Some(took),
        dir: folder.is_kept().then(|| folder.root().display().to_string()),
    };
    if session.common.format == Format::Json {
        print(&format!("{}\n", json!(told)));
    } else {
        print(&format!(
            "a rehearsal on practice servers, seed {}\n{}\n{}\n{NOT_SHOWN}\n",
            args.seed,
            went.said,
            told.table(folder.root())
        ));
    }
    Ok(u8::try_from(went.exit).ok().and_then(Exit::from_code).unwrap_or(Exit::StepFailed))
}

/// The environment file: the plan's own target names bound to practice servers of their kinds, with the values that the user's own
/// environment gives to parameters.
fn environment<'t>(
    folder: &Folder,
    targets: impl Iterator<Item = (&'t str, &'t str)>,
    own: Option<&Path>,
) -> Result<String, Refusal> {
    let unreadable = |error: drydock_step::StepError| Refusal::new(Exit::Usage, error.message);
    let practice = environment_values(&folder.environment()).map_err(unreadable)?;
    let of_kind =
        |kind: &str| practice["targets"].as_object()?.values().find(|target| target["kind"] == kind).cloned();
    let mut bound = Map::new();
    for (name, kind) in targets {
        let target = of_kind(kind).ok_or_else(|| {
            Refusal::new(
                Exit::CannotSucceed,
                format!("there is no practice server for target {name} of kind {kind}"),
            )
        })?;
        bound.insert(name.to_owned(), target);
    }
    let params = match own {
        Some(path) => environment_values(path).map_err(unreadable)?["params"].clone(),
        None => practice["params"].clone(),
    };
    let mut file = json!({ "drydock": "v1", "environment": "rehearsal", "targets": bound });
    if params.is_object() && own.is_some() {
        file["params"] = params;
    }
    Ok(yaml::write(&file))
}
