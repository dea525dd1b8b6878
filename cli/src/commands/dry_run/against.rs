//! What a dry run does otherwise than another one: [`Against`], which was saved, or is that of the plan as it stands in a revision of git.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use drydock_machine::Exit;
use drydock_plan::check::Demand;
use drydock_plan::model::Plan;
use drydock_run::bound::Difference;
use drydock_run::dry_run::{DryOptions, DryRun, DryStep, Runs, Touched, dry_run as ask};
use serde::Serialize;

use crate::args::PlanArgs;
use crate::load::{Loaded, given, load};
use crate::session::{Above, Refusal, Session, read, registry, runtime};

use super::first_screen::summary;
use crate::commands::plan_of::unreadable;

/// What differs, and from what.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Against {
    /// The file or the revision.
    pub(super) with: String,
    /// What is otherwise: a side that is missing was or is not there.
    pub(super) changes: Vec<Difference>,
}

impl Against {
    /// With a file that holds a dry run, or with a revision of git.
    ///
    /// # Errors
    /// When there is neither, or what is there cannot be dry-run.
    pub(super) fn of(
        session: &Session,
        with: &str,
        args: &PlanArgs,
        options: &DryOptions,
        now: &DryRun,
    ) -> Result<Self, Refusal> {
        let was = match session.outside.folder().join(with) {
            file if file.is_file() => Some(read(&file)?),
            _ => in_revision(session, with, args, options)?,
        };
        let changes = match was {
            Some(was) => changes(&was, now),
            None => vec![Difference { at: "plan".to_owned(), was: None, is: Some(summary(now)) }],
        };
        Ok(Self { with: with.to_owned(), changes })
    }

    /// How much it is, in a sentence.
    pub(super) fn summary(&self) -> String {
        match self.changes.len() {
            0 => format!("No change against {}.", self.with),
            1 => format!("1 change against {}:", self.with),
            more => format!("{more} changes against {}:", self.with),
        }
    }
}

/// What differs between two: what is destroyed and written first, then step by step.
fn changes(was: &DryRun, now: &DryRun) -> Vec<Difference> {
    let mut found = Vec::new();
    for (at, was, now) in [("destroys", &was.destroys, &now.destroys), ("writes", &was.writes, &now.writes)] {
        found.extend(difference(at, &touched(was), &touched(now)));
    }
    let fatal = |run: &DryRun| -> Vec<String> {
        let fatal = run.findings.iter().filter(|found| found.finding.fatal);
        fatal
            .map(|found| format!("{}: {} [{}]", found.step, found.finding.message, found.finding.code))
            .collect()
    };
    found.extend(difference("cannot succeed", &fatal(was), &fatal(now)));
    for step in &was.steps {
        let other = now.steps.iter().find(|other| other.id == step.id);
        found.extend(difference(&step.id, &lines(step), &other.map(lines).unwrap_or_default()));
    }
    let new = now.steps.iter().filter(|step| !was.steps.iter().any(|other| other.id == step.id));
    found.extend(new.flat_map(|step| difference(&step.id, &[], &lines(step))));
    found
}

fn touched(all: &[Touched]) -> Vec<String> {
    let line = |one: &Touched| match &one.target {
        Some(target) => format!("{} on {target}, by {}", one.words(), one.step),
        None => format!("{}, by {}", one.words(), one.step),
    };
    all.iter().map(line).collect()
}

fn lines(step: &DryStep) -> Vec<String> {
    let runs = match step.runs {
        Runs::Yes => "runs",
        Runs::No => "does not run",
        Runs::Unknown => "may run",
    };
    let needs = step.needs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let after = if needs.is_empty() { String::new() } else { format!(" after {needs}") };
    let head = format!("{} {runs}{after}", step.uses);
    let action = |action: &drydock_step::Action| match &action.target {
        Some(target) => format!("{target}: {}", action.text),
        None => action.text.clone(),
    };
    std::iter::once(head).chain(step.actions.iter().map(action)).collect()
}

/// The lines that only one side has, in their order.
fn difference(at: &str, was: &[String], now: &[String]) -> Option<Difference> {
    let (was, now): (Vec<&str>, Vec<&str>) =
        (was.iter().map(String::as_str).collect(), now.iter().map(String::as_str).collect());
    let diff = similar::TextDiff::from_slices(&was, &now);
    let side = |tag: similar::ChangeTag| {
        let changes = diff.iter_all_changes().filter(|change| change.tag() == tag);
        let lines: Vec<&str> = changes.map(|change| change.value()).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    };
    let (was, is) = (side(similar::ChangeTag::Delete), side(similar::ChangeTag::Insert));
    (was.is_some() || is.is_some()).then(|| Difference { at: at.to_owned(), was, is })
}

/// The dry run of the plan as it stands in a revision; nothing where the revision does not have it.
fn in_revision(
    session: &Session,
    revision: &str,
    args: &PlanArgs,
    options: &DryOptions,
) -> Result<Option<DryRun>, Refusal> {
    let checkout = Checkout::of(session, revision, args)?;
    let Some(plan) = &checkout.plan else { return Ok(None) };
    let given = given(&args.binding, &session.outside).map_err(unreadable)?;
    let environment = checkout.environment.as_deref().or(args.binding.env.as_deref());
    let loaded = load(plan, environment, given, Demand::Run, registry().catalog(), &session.outside);
    let loaded = loaded.map_err(unreadable)?;
    let Some(bound) = loaded.plan().cloned().map(Arc::new) else {
        let first = loaded.checked.findings.first().map_or("it is no plan", |first| first.message.as_str());
        return Err(Refusal::new(
            Exit::Invalid,
            format!("the plan in {revision} cannot be compared with: {first}"),
        )
        .help("compare with a dry run that was saved: `dry-run --out FILE`, then `--against FILE`"));
    };
    shown(session, loaded, bound, args, options).map(Some)
}

/// Its dry run, where relative paths of the environment lead where they lead now.
fn shown(
    session: &Session,
    loaded: Loaded,
    plan: Arc<Plan>,
    args: &PlanArgs,
    options: &DryOptions,
) -> Result<DryRun, Refusal> {
    let environment = args.binding.env.as_ref().map(|path| session.outside.folder().join(path));
    let loaded = Loaded { environment, ..loaded };
    let services = session.looking(&loaded, plan, &Above::outermost(&loaded.path))?;
    let runtime = runtime()?;
    let shown = runtime.block_on(ask(&services, options));
    runtime.shutdown_background();
    Ok(shown)
}

/// The folders of plan and environment as they stand in a revision, in a folder of the system's that goes with this.
struct Checkout {
    _folder: tempfile::TempDir,
    plan: Option<PathBuf>,
    environment: Option<PathBuf>,
}

impl Checkout {
    fn of(session: &Session, revision: &str, args: &PlanArgs) -> Result<Self, Refusal> {
        let usage = |message: String| Refusal::new(Exit::Usage, message);
        let absolute = |path: &Path| {
            let path = session.outside.folder().join(path);
            path.canonicalize().unwrap_or(path)
        };
        let plan = absolute(&args.plan);
        let beside = plan.parent().unwrap_or(Path::new("/"));
        let none = || {
            usage(format!("--against: there is no file {revision}, and no such revision of git"))
                .help("give a dry run that was saved by `--out`, or a commit, a branch or a tag")
        };
        let root = git(beside, &["rev-parse", "--show-toplevel"]).ok_or_else(none)?;
        let root = absolute(Path::new(String::from_utf8_lossy(&root).trim()));
        let commit = format!("{revision}^{{commit}}");
        let commit = git(beside, &["rev-parse", "--verify", "--quiet", "--end-of-options", &commit])
            .ok_or_else(none)?;
        let commit = String::from_utf8_lossy(&commit).trim().to_owned();
        let folder = tempfile::tempdir()
            .map_err(|error| usage(format!("--against: no room for {revision}: {error}")))?;
        let place = |file: &Path| -> Option<PathBuf> {
            let inside = file.strip_prefix(&root).ok()?;
            let parent = inside.parent().unwrap_or(Path::new(""));
            unpack(&root, &commit, parent, folder.path());
            Some(folder.path().join(inside)).filter(|path| path.is_file())
        };
        let (plan, environment) =
            (place(&plan), args.binding.env.as_ref().and_then(|path| place(&absolute(path))));
        Ok(Self { plan, environment, _folder: folder })
    }
}

/// What git answers; nothing where it refuses.
fn git(folder: &Path, arguments: &[&str]) -> Option<Vec<u8>> {
    let output = Command::new("git").arg("-C").arg(folder).args(arguments).output().ok()?;
    output.status.success().then_some(output.stdout)
}

/// Every file of a folder as it stands in a commit. One that cannot be written is missed by whoever looks for it.
fn unpack(root: &Path, commit: &str, inside: &Path, to: &Path) {
    let folder = inside.to_string_lossy();
    let folder = if folder.is_empty() { "." } else { folder.as_ref() };
    if let Some(files) = git(root, &["archive", "--format=tar", commit, "--", folder]) {
        let _ = tar::Archive::new(files.as_slice()).unpack(to);
    }
}
