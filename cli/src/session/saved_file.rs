//! The file of a saved dry run: [`text_of`] writes it with a digest of its own, [`read`] reads one and refuses what was changed by hand.

use std::path::Path;

use drydock_machine::Exit;
use drydock_plan::digest::digest_of;
use drydock_plan::duration::Millis;
use drydock_plan::model::Plan;
use drydock_plan::name::Name;
use drydock_recovery::sealed::{self, SealError};
use drydock_run::dry_run::{DryRun, VERSION};
use drydock_run::saved::{Saved, SavedEnvironment, SavedFile};
use serde::Deserialize;

use crate::args::PlanArgs;
use crate::load::Loaded;

use super::{Refusal, Session};

/// The largest file that is read as a saved dry run.
const LARGEST: u64 = 64 * 1024 * 1024;

/// What makes a dry run one that can be executed.
pub(crate) struct SavedRun<'r> {
    pub(crate) args: &'r PlanArgs,
    pub(crate) plan: &'r Plan,
    pub(crate) loaded: &'r Loaded,
    pub(crate) only: &'r [Name],
    pub(crate) skip: &'r [Name],
    pub(crate) probed: bool,
}

impl SavedRun<'_> {
    /// What is kept beside what is shown.
    pub(crate) fn saved(&self, session: &Session, shown: &DryRun) -> Saved {
        let file = |(name, bytes): (String, Vec<u8>), own: bool| SavedFile {
            digest: digest_of([(name.as_str(), bytes.as_slice())]),
            text: own.then(|| String::from_utf8_lossy(&bytes).into_owned()),
            name,
        };
        let own = self.loaded.texts.len();
        let sources = self.loaded.sources().into_iter().enumerate();
        let files: Vec<SavedFile> = sources.map(|(at, source)| file(source, at < own)).collect();
        let environment = self.plan.environment.as_ref().zip(self.args.binding.env.as_ref());
        Saved {
            id: session.outside.new_run_id(),
            at_ms: (session.outside.clock)(),
            by: session.outside.by(),
            plan_file: self.args.plan.clone(),
            environment: environment.zip(files.get(1)).map(|((head, path), file)| SavedEnvironment {
                name: head.name.clone(),
                file: path.clone(),
                digest: file.digest.clone(),
            }),
            params: self.plan.params.iter().map(|(name, value)| (name.to_string(), value.clone())).collect(),
            secrets: self.plan.secrets.keys().cloned().collect(),
            drill: self.plan.drill,
            only: self.only.to_vec(),
            skip: self.skip.to_vec(),
            probed: self.probed,
            files,
            steps: shown.bound.clone(),
        }
    }
}

/// The text of a dry run to be saved.
pub(crate) fn text_of(shown: &DryRun) -> Result<String, Refusal> {
    sealed::text_of(shown, None).map_err(|error| Refusal::new(Exit::Internal, error.to_string()))
}

/// A saved dry run.
///
/// # Errors
/// `saved.form` when it is none, when it was changed after it was saved, or when a newer Drydock wrote it.
pub(crate) fn read(path: &Path) -> Result<DryRun, Refusal> {
    let unreadable = |error| Refusal::new(Exit::Usage, format!("cannot read {}: {error}", path.display()));
    let bad = |why: String| {
        Refusal::new(
            Exit::CannotSucceed,
            format!("{} is no saved dry run: {why} [saved.form]", path.display()),
        )
        .help("save one with `drydock dry-run PLAN --probe --out FILE`")
    };
    if std::fs::metadata(path).map_err(unreadable)?.len() > LARGEST {
        return Err(bad("it is longer than 64 MiB".to_owned()));
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    let text = String::from_utf8(bytes).map_err(|_| bad("it is not UTF-8".to_owned()))?;
    let head: Head = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
    if head.drydock != "dry-run" {
        return Err(bad(format!("it is a `{}`", head.drydock)));
    }
    if head.version > VERSION {
        let (path, found) = (path.display(), head.version);
        return Err(Refusal::new(
            Exit::CannotSucceed,
            format!("{path} was saved by a newer Drydock: it has version {found}, this build reads up to version {VERSION} [saved.form]"),
        )
        .help("use the version of Drydock that saved it"));
    }
    match sealed::parts(&text) {
        Ok(_) => {}
        // Those of the first builds have no digest, and nothing that a run could be bound to.
        Err(SealError::None) if head.saved.is_none() => {}
        Err(error) => return Err(bad(error.to_string())),
    }
    serde_json::from_str(&text).map_err(|error| bad(error.to_string()))
}

/// What tells whether the rest can be read.
#[derive(Deserialize)]
struct Head {
    drydock: String,
    version: u32,
    saved: Option<serde_json::Value>,
}

/// Why a saved dry run is too old, in words; nothing where it is not.
pub(crate) fn too_old(saved: &Saved, now_ms: i64, most: Millis) -> Option<String> {
    let age = Millis(u64::try_from(now_ms.saturating_sub(saved.at_ms)).unwrap_or(0));
    (age > most).then(|| format!("it was saved {} ago, and may be {most} old", whole_minutes(age)))
}

fn whole_minutes(age: Millis) -> Millis {
    if age.0 < 60_000 { age } else { Millis(age.0 - age.0 % 60_000) }
}
