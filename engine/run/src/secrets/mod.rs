//! The values of secrets, asked for when they are needed and taken out of everything that comes back: [`Secrets`], [`Redactor`].

mod encoded;
mod redactor;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use drydock_plan::model::SecretSource;
use drydock_step::kind::Fill;
use drydock_step::{ChildOutput, ChildSpec, StepError};
use tokio::time::timeout;

use crate::children::{CancelSignal, ChildEnv, Children};

pub use self::redactor::{MASK, Redactor};

/// How long a program that gives a secret may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest secret that is taken, in bytes.
const LIMIT: usize = 64 * 1024;

/// Gives the value of an environment variable.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Where secrets come from. Values are asked for at each attempt and kept only to be recognised in what comes back.
pub struct Secrets {
    sources: BTreeMap<String, SecretSource>,
    folder: PathBuf,
    /// The folders of those that another file names.
    folders: BTreeMap<String, PathBuf>,
    environment: Environment,
    programs: Option<(Arc<Children>, ChildEnv)>,
    redactor: RwLock<Arc<Redactor>>,
}

/// The values of secrets during one attempt. They never print.
#[derive(Clone)]
pub struct SecretValues(Arc<BTreeMap<String, String>>);

impl SecretValues {
    /// Fills the holes of rendered inputs.
    pub fn fill(&self) -> Fill {
        let values = self.0.clone();
        Arc::new(move |name| values.get(name).cloned())
    }
}

impl std::fmt::Debug for SecretValues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SecretValues").field(&self.0.keys().collect::<Vec<_>>()).finish()
    }
}

impl Secrets {
    /// The secrets of these names, as holes name them (`params.token`). Relative paths are relative to `folder`.
    pub fn new(sources: BTreeMap<String, SecretSource>, folder: PathBuf, environment: Environment) -> Self {
        let (folders, redactor) = (BTreeMap::new(), RwLock::default());
        Self { sources, folder, folders, environment, programs: None, redactor }
    }

    /// The same, but what these secrets' sources name is relative to another folder.
    #[must_use]
    pub fn relative_to(mut self, folder: &Path, names: impl IntoIterator<Item = String>) -> Self {
        self.folders.extend(names.into_iter().map(|name| (name, folder.to_owned())));
        self
    }

    /// The same, and programs that give secrets are started as children of the run.
    #[must_use]
    pub fn with_programs(self, children: Arc<Children>, env: ChildEnv) -> Self {
        Self { programs: Some((children, env)), ..self }
    }

    /// The values of these secrets, asked for now.
    ///
    /// # Errors
    /// `secret`, with its name and source, when one cannot be read.
    pub async fn values(
        &self,
        names: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<SecretValues, StepError> {
        let mut values = BTreeMap::new();
        for name in names {
            let name = name.as_ref();
            let source = self.sources.get(name);
            let source =
                source.ok_or_else(|| StepError::internal(format!("the secret {name} has no source")))?;
            let folder = self.folders.get(name).unwrap_or(&self.folder);
            let value = self.value_in(source, folder).await.map_err(|error| {
                let message = format!("the secret {name} cannot be read: {}", error.message);
                StepError { message, ..error }
            })?;
            values.insert(name.to_owned(), value);
        }
        Ok(SecretValues(Arc::new(values)))
    }

    /// The value that a source gives now; from now on it is masked.
    ///
    /// # Errors
    /// `secret`, when it cannot be read.
    pub async fn value_of(&self, source: &SecretSource) -> Result<String, StepError> {
        self.value_in(source, &self.folder).await
    }

    async fn value_in(&self, source: &SecretSource, folder: &Path) -> Result<String, StepError> {
        let value = match source {
            SecretSource::Env(name) => self.variable_value(name)?,
            SecretSource::File(path) => file_value(&folder.join(path)).await?,
            SecretSource::Command(argv) => self.command_value(argv, folder).await?,
        };
        if value.is_empty() {
            return Err(refused(format!("{} is empty", source_words(source))));
        }
        self.remember(&value);
        Ok(value)
    }

    /// The secrets that cannot be read now, with the reasons. Each source is asked.
    pub async fn missing(&self) -> Vec<(String, StepError)> {
        let mut missing = Vec::new();
        for name in self.sources.keys() {
            if let Err(error) = self.values([name]).await {
                missing.push((name.clone(), error));
            }
        }
        missing
    }

    /// Masks every value that was asked for so far.
    pub fn redactor(&self) -> Arc<Redactor> {
        self.redactor.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remember(&self, value: &str) {
        if self.redactor().knows(value) {
            return;
        }
        let mut redactor = self.redactor.write().unwrap_or_else(PoisonError::into_inner);
        let values = redactor.values().cloned().chain([value.to_owned()]);
        *redactor = Arc::new(Redactor::new(values));
    }

    fn variable_value(&self, name: &str) -> Result<String, StepError> {
        (self.environment)(name).ok_or_else(|| {
            refused(format!("the environment variable {name} is not set"))
                .help(format!("set {name} where Drydock is started"))
        })
    }

    async fn command_value(&self, argv: &[String], folder: &Path) -> Result<String, StepError> {
        let program = argv.first().map_or("", String::as_str);
        let failed = |why: &str| refused(format!("the program `{program}` {why}"));
        let (children, env) = self.programs.as_ref().ok_or_else(|| failed("cannot be started here"))?;
        let spec = ChildSpec {
            argv: argv.to_vec(),
            env: Vec::new(),
            cwd: folder.to_owned(),
            stdin: Vec::new(),
            stdout: ChildOutput::Kept { limit: LIMIT + 1 },
        };
        let (_canceller, signal) = CancelSignal::pair();
        let end = match timeout(COMMAND_TIMEOUT, children.run(spec, env.clone(), &signal)).await {
            Ok(end) => end.map_err(|error| StepError { code: "secret".into(), ..error })?,
            Err(_) => return Err(failed("took longer than 30s")),
        };
        match (end.code, end.stderr.lines().last()) {
            (Some(0), _) => text_of(end.stdout).map_err(failed),
            (Some(code), Some(words)) => Err(failed(&format!("ended with exit code {code}: {words}"))),
            (Some(code), None) => Err(failed(&format!("ended with exit code {code}"))),
            (None, _) => Err(failed("was ended by a signal")),
        }
    }
}

async fn file_value(path: &Path) -> Result<String, StepError> {
    let failed = |why: &str| refused(format!("the file {} {why}", path.display()));
    let bytes = tokio::fs::read(path).await.map_err(|error| failed(&format!("cannot be read: {error}")))?;
    text_of(bytes).map_err(failed)
}

fn refused(message: String) -> StepError {
    StepError::new("secret", message)
}

fn source_words(source: &SecretSource) -> String {
    match source {
        SecretSource::Env(name) => format!("the environment variable {name}"),
        SecretSource::File(path) => format!("the file {path}"),
        SecretSource::Command(argv) => format!("what `{}` gives", argv.first().map_or("", String::as_str)),
    }
}

/// The text of these bytes without one newline at its end.
fn text_of(bytes: Vec<u8>) -> Result<String, &'static str> {
    if bytes.len() > LIMIT {
        return Err("gives more than 64 KiB");
    }
    let mut text = String::from_utf8(bytes).map_err(|_| "gives something else than UTF-8")?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}
