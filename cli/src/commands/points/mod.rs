//! `drydock points`: the recovery points of the artifact store that an environment names; a file a subcommand.

mod words;
mod list;
mod show;
mod said;
mod verify;
mod prune;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use drydock_machine::Exit;
use drydock_plan::check::{CheckInput, Checked, Demand, Files, check};
use drydock_plan::params::GivenParams;
use drydock_plan::show::Look;
use drydock_plan::source::SourceFile;
use drydock_recovery::Time;
use drydock_run::services::Services;
use drydock_run::world::RunSite;
use drydock_step::{Connection, StepError};
use drydock_steps::point::catalogue::{Found, catalogue_of};
use drydock_steps::point::resolved::resolved;
use serde_json::Value;

use crate::findings::written;
use crate::load;
use crate::points_args::{ListArgs, PointsCommand};
use crate::session::{Above, Refusal, Session, registry, runtime};

use super::{colored, print};

pub(crate) fn points(
    session: &Session,
    environment: &Path,
    target: Option<&str>,
    what: Option<PointsCommand>,
) -> Result<Exit, Refusal> {
    let what = what.unwrap_or_else(|| PointsCommand::List(ListArgs::default()));
    let text = std::fs::read_to_string(environment).map_err(|error| {
        Refusal::new(Exit::Usage, format!("cannot read {}: {error}", environment.display()))
    })?;
    let source = SourceFile::new(environment.to_string_lossy().as_ref(), text);
    // What is wrong with the environment itself is said before its stores are looked for.
    let own = checked(session, &source, None);
    if own.has_errors() {
        return Ok(invalid(session, &own));
    }
    let name = store_named(environment, target)?;
    let truth = match &what {
        PointsCommand::Verify(args) => args.truth.as_deref(),
        _ => None,
    };
    let checked = checked_with(session, &source, &name, truth);
    if checked.has_errors() {
        return Ok(invalid(session, &checked));
    }
    let store = Store::of(session, environment, name, checked)?;
    match what {
        PointsCommand::List(args) => list::list(session, &store, &args),
        PointsCommand::Show { point } => {
            let found = store.found()?;
            show::show(session, &found, &resolved(&found, &point).map_err(in_words)?)
        }
        PointsCommand::Verify(args) => verify::verify(session, &store, &args),
        PointsCommand::Hold(args) => said::hold(session, &store, args),
        PointsCommand::Bad(args) => said::bad(session, &store, args),
        PointsCommand::Prune(args) => prune::prune(session, &store, &args),
    }
}

/// The artifact store of an environment, and what it is asked on.
struct Store {
    name: String,
    services: Arc<Services>,
    runtime: tokio::runtime::Runtime,
}

impl Store {
    fn of(session: &Session, environment: &Path, name: String, checked: Checked) -> Result<Self, Refusal> {
        let plan = checked
            .plan
            .ok_or_else(|| Refusal::new(Exit::Internal, "the plan of `drydock points` is none"))?;
        let absolute = session.outside.folder().join(environment);
        let folder = absolute.parent().map_or_else(std::path::PathBuf::new, Path::to_owned);
        let site = RunSite {
            run: "points".into(),
            folder: session.state.root().to_owned(),
            run_started_ms: (session.outside.clock)(),
            sitting: 1,
            by: session.outside.by().into(),
            plan_folder: Arc::new(folder.clone()),
            environment_folder: folder,
            bound: None,
        };
        let world = session.world(Some(environment), &Above::outermost(environment))?;
        let services = Services::new(Arc::new(world), Arc::new(plan), site);
        Ok(Self { name, services, runtime: runtime()? })
    }

    /// What comes of some work with the store.
    fn ask<T>(&self, work: impl AsyncFnOnce(&dyn Connection) -> Result<T, StepError>) -> Result<T, Refusal> {
        let asked = self.runtime.block_on(async {
            let connection = self.connect(&self.name).await?;
            connection.ping().await?;
            work(&*connection).await
        });
        asked.map_err(in_words)
    }

    async fn connect(&self, target: &str) -> Result<Arc<dyn Connection>, StepError> {
        self.services.connect(target, "points").await
    }

    /// What lies in it. What cannot be read is warned of.
    fn found(&self) -> Result<Found, Refusal> {
        let found = self.ask(async |connection| catalogue_of(connection).await)?;
        for file in &found.unreadable {
            eprintln!("warning: {file}");
        }
        for one in found.doubted.values().flatten() {
            eprintln!("warning: {}: {one}", one.path);
        }
        Ok(found)
    }
}

fn now(session: &Session) -> Time {
    Time::from_timestamp_millis((session.outside.clock)()).unwrap_or_default()
}

/// Who says something of a point.
fn who(session: &Session, by: Option<&str>) -> Result<String, Refusal> {
    let who = by.map(str::to_owned).or_else(|| session.outside.user());
    who.ok_or_else(|| Refusal::new(Exit::Usage, "nobody is known who says so").help("say who with --by NAME"))
}

fn invalid(session: &Session, checked: &Checked) -> Exit {
    print(&written([checked], session.common.format, Look { color: colored(session), ..Look::default() }));
    Exit::Invalid
}

/// The artifact store's name: the one that was asked for, or the only one of the environment.
fn store_named(environment: &Path, target: Option<&str>) -> Result<String, Refusal> {
    let document = load::environment_values(environment).map_err(refused(Exit::Invalid))?;
    let targets = document.get("targets").and_then(Value::as_object);
    let is_store = |value: &Value| value.get("kind").and_then(Value::as_str) == Some("artifacts");
    let stores: Vec<&String> =
        targets.into_iter().flatten().filter(|(_, value)| is_store(value)).map(|(name, _)| name).collect();
    let usage = |message: String| Refusal::new(Exit::Usage, message);
    let named = stores.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
    match (target, stores.as_slice()) {
        (Some(name), _) if stores.iter().any(|store| *store == name) => Ok(name.to_owned()),
        (Some(name), []) => Err(usage(format!(
            "--target: {} names no artifact store {name}, nor any other",
            environment.display()
        ))),
        (Some(name), _) => {
            Err(usage(format!("--target: {} names no artifact store {name}", environment.display()))
                .help(format!("its artifact stores are {named}")))
        }
        (None, [only]) => Ok((*only).clone()),
        (None, []) => Err(usage(format!("{} names no artifact store", environment.display()))
            .help("give an environment with a target of `kind: artifacts`")),
        (None, _) => Err(usage(format!("{} names several artifact stores", environment.display()))
            .help(format!("say which with --target: {named}"))),
    }
}

fn refused(exit: Exit) -> impl Fn(StepError) -> Refusal {
    move |error| Refusal { help: error.help, ..Refusal::new(exit, error.message) }
}

/// What a store or a kind refused, with the exit that goes with it.
fn in_words(error: StepError) -> Refusal {
    let exit = match error.code.as_str() {
        "point.none" | "point.ambiguous" => Exit::Usage,
        "internal" => Exit::Internal,
        _ => Exit::CannotSucceed,
    };
    refused(exit)(error)
}

/// A plan that needs the store alone has no files beside it.
struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _path: &str) -> Result<Vec<u8>, String> {
        Err("there is none".to_owned())
    }
}

/// The environment, checked with a plan that needs the store alone, and the server that reads backups where there is one.
fn checked_with(session: &Session, environment: &SourceFile, store: &str, truth: Option<&str>) -> Checked {
    let (bound, asked) = truth.map_or((String::new(), String::new()), |truth| {
        (format!(", {truth}: sqlserver"), format!(", truth: {{ uses: target.ping, target: {truth} }}"))
    });
    let plan = format!(
        "drydock: v1\nname: points\ntargets: {{ {store}: artifacts{bound} }}\nsteps: {{ ask: {{ uses: target.ping, target: {store} }}{asked} }}\n"
    );
    checked(session, &SourceFile::new("the plan of `drydock points`", plan), Some(environment))
}

fn checked(session: &Session, file: &SourceFile, environment: Option<&SourceFile>) -> Checked {
    let texts = session.outside.environment.iter();
    let variables: BTreeMap<String, String> = texts
        .filter_map(|(name, value)| Some((name.to_str()?.to_owned(), value.to_str()?.to_owned())))
        .collect();
    check(&CheckInput {
        file,
        environment,
        catalog: &registry().catalog(),
        given: &GivenParams::default(),
        variables: &variables,
        files: &NoFiles,
        demand: Demand::Run,
    })
}
