//! From files and flags to a checked plan: [`Loaded`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use drydock_machine::Exit;
use drydock_plan::catalog::Catalog;
use drydock_plan::check::{CheckInput, Checked, Demand, Files, check};
use drydock_plan::codes;
use drydock_plan::finding::{Finding, Findings};
use drydock_plan::model::Plan;
use drydock_plan::params::{GivenParams, VARIABLE_PREFIX};
use drydock_plan::requests::Requests;
use drydock_plan::source::SourceFile;
use drydock_plan::syntax::environment_file::EnvironmentFile;
use drydock_plan::syntax::file::FileKind;
use drydock_plan::syntax::requests_file::requests_of;
use drydock_plan::syntax::tree::Node;
use drydock_plan::syntax::yaml;
use drydock_run::state::{Given, Start};
use drydock_step::StepError;

use crate::args::Binding;
use crate::outside::Outside;

/// A file that was read, checked.
pub(crate) struct Loaded {
    /// What came out of the check.
    pub(crate) checked: Checked,
    /// The plan file, absolute.
    pub(crate) path: PathBuf,
    /// The environment file, absolute.
    pub(crate) environment: Option<PathBuf>,
    /// What was given for parameters.
    pub(crate) given: Given,
    /// The plan's and the environment's own bytes, by the names that were given.
    pub(crate) texts: Vec<(String, Vec<u8>)>,
}

/// Why a file could not even be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}: {error}", path.display())]
pub(crate) struct Unreadable {
    path: PathBuf,
    error: std::io::Error,
}

impl Unreadable {
    /// With what the command ends.
    pub(crate) fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// Files beside a plan.
struct Beside(PathBuf);

impl Files for Beside {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        std::fs::read(self.0.join(path)).map_err(|error| error.to_string())
    }
}

/// A source file, with the name as it was given. Bytes that are no UTF-8 are a finding with a place, not the end.
fn source(path: &Path) -> Result<SourceFile, Unreadable> {
    let bytes = std::fs::read(path).map_err(|error| Unreadable { path: path.to_owned(), error })?;
    Ok(SourceFile::of_bytes(path.to_string_lossy().as_ref(), &bytes))
}

/// What is given for parameters: flags, a file, variables.
pub(crate) fn given(binding: &Binding, outside: &Outside) -> Result<Given, Unreadable> {
    let file = match &binding.params {
        Some(path) => {
            let file = source(path)?;
            Some((file.name.to_string(), file.text.to_string()))
        }
        None => None,
    };
    let variables = variables(outside, VARIABLE_PREFIX);
    Ok(Given { flags: binding.param.clone(), file, variables, drill: binding.drill })
}

/// The variables of the environment with this prefix.
fn variables(outside: &Outside, prefix: &str) -> BTreeMap<String, String> {
    let texts =
        outside.environment.iter().filter_map(|(name, value)| Some((name.to_str()?, value.to_str()?)));
    texts
        .filter(|(name, _)| name.starts_with(prefix))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Check texts that were read.
fn check_texts(
    texts: &Texts,
    given: &Given,
    files: &dyn Files,
    demand: Demand,
    outside: &Outside,
) -> Checked {
    let params = GivenParams {
        flags: given.flags.clone(),
        file: given.file.as_ref().map(|(name, text)| SourceFile::new(name.as_str(), text.as_str())),
        variables: given.variables.clone(),
        drill: given.drill,
    };
    check(&CheckInput {
        file: &texts.file,
        environment: texts.environment.as_ref(),
        catalog: &texts.catalog,
        given: &params,
        variables: &variables(outside, ""),
        files,
        demand,
    })
}

/// What is checked together.
struct Texts {
    file: SourceFile,
    environment: Option<SourceFile>,
    catalog: Catalog,
}

/// Read and check a file.
pub(crate) fn load(
    path: &Path,
    environment: Option<&Path>,
    given: Given,
    demand: Demand,
    catalog: Catalog,
    outside: &Outside,
) -> Result<Loaded, Unreadable> {
    let texts = Texts { file: source(path)?, environment: environment.map(source).transpose()?, catalog };
    let beside = Beside(path.parent().map_or_else(PathBuf::new, Path::to_owned));
    let checked = check_texts(&texts, &given, &beside, demand, outside);
    let absolute = |path: &Path| outside.folder().join(path);
    let kept = std::iter::once(&texts.file).chain(&texts.environment);
    let kept = kept.map(|file| (file.name.to_string(), file.text.as_bytes().to_vec())).collect();
    Ok(Loaded { checked, path: absolute(path), environment: environment.map(absolute), given, texts: kept })
}

/// Files as a run has kept them.
struct Kept<'a>(&'a [(String, Vec<u8>)]);

impl Files for Kept<'_> {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let found = self.0.iter().find(|(name, _)| name == path);
        found.map(|(_, bytes)| bytes.clone()).ok_or_else(|| "it is not among the run's sources".to_owned())
    }
}

/// The plan of a run as its sources give it.
pub(crate) fn kept_plan(
    start: &Start,
    sources: &[(String, Vec<u8>)],
    catalog: Catalog,
    outside: &Outside,
) -> Option<Plan> {
    let text = |at: usize| {
        let (name, bytes) = sources.get(at)?;
        Some(SourceFile::new(name.as_str(), String::from_utf8(bytes.clone()).ok()?))
    };
    let environment = if start.environment.is_some() { Some(text(1)?) } else { None };
    let named = sources.get(1 + usize::from(environment.is_some())..).unwrap_or_default();
    let texts = Texts { file: text(0)?, environment, catalog };
    check_texts(&texts, &start.given, &Kept(named), Demand::Run, outside).plan
}

/// Whether every file that a run was started with has the bytes that the run has kept of it.
pub(crate) fn is_as_kept(start: &Start, sources: &[(String, Vec<u8>)]) -> bool {
    let beside = start.plan.parent().map_or_else(PathBuf::new, Path::to_owned);
    let mut paths = vec![start.plan.clone()];
    paths.extend(start.environment.clone());
    let own = paths.len();
    paths.extend(sources.iter().skip(own).map(|(name, _)| beside.join(name)));
    paths.len() == sources.len()
        && paths
            .iter()
            .zip(sources)
            .all(|(path, (_, kept))| std::fs::read(path).is_ok_and(|bytes| bytes == *kept))
}

/// A requests file, as `check` reads it.
pub(crate) fn requests(path: &Path) -> Result<Requests, StepError> {
    let read = |node: &Node, source: &SourceFile, findings: &mut Findings| {
        let kind = FileKind::of(node, findings);
        if let Some(FileKind::Plan | FileKind::Environment) = kind {
            let message = "this is no requests file: it has no `requests` at its top";
            findings.push(Finding::error(codes::FILE_KIND, node.place, message));
        }
        kind.map(|_| requests_of(node, source, findings)).unwrap_or_default()
    };
    strictly("http.file", path, read)
}

/// An environment as plain values.
pub(crate) fn environment_values(path: &Path) -> Result<serde_json::Value, StepError> {
    strictly("file", path, |node, _, findings| {
        match FileKind::of(node, findings) {
            Some(FileKind::Plan | FileKind::Requests) => {
                let message = "this is no environment: it has no `environment` at its top";
                findings.push(Finding::error(codes::NOT_AN_ENVIRONMENT, node.place, message));
            }
            Some(FileKind::Environment) => drop(EnvironmentFile::of(node, findings)),
            None => {}
        }
        node.json()
    })
}

/// A YAML file of any kind, read as strictly as a plan, with the source that its places point into.
pub(crate) fn with_places(path: &Path) -> Result<(Node, SourceFile), StepError> {
    strictly("file", path, |node, source, _| (node.clone(), source.clone()))
}

/// What is made of a file in which nothing is wrong; else an error of this code with the first thing that is.
fn strictly<T>(
    code: &str,
    path: &Path,
    make: impl FnOnce(&Node, &SourceFile, &mut Findings) -> T,
) -> Result<T, StepError> {
    let bytes = std::fs::read(path)
        .map_err(|error| StepError::new(code, format!("cannot read {}: {error}", path.display())))?;
    let mut findings = Findings::new();
    let name = path.to_string_lossy();
    let source = yaml::decode(&name, &bytes, 0, &mut findings);
    let node = yaml::read(&source, 0, &mut findings);
    let made = node.map(|node| make(&node, &source, &mut findings));
    match (made, findings.into_sorted().first()) {
        (Some(made), None) => Ok(made),
        (_, finding) => {
            let (line, _) =
                finding.map_or((1, 1), |finding| source.line_column(finding.place.span.start as usize));
            let message = finding.map_or("it is empty", |finding| finding.message.as_str());
            Err(StepError::new(code, format!("{name}:{line}: {message}"))
                .help(format!("`drydock check {name}` shows all of it")))
        }
    }
}

impl Loaded {
    /// The plan, where nothing is wrong with it.
    pub(crate) fn plan(&self) -> Option<&Plan> {
        self.checked.plan.as_ref().filter(|_| !self.checked.has_errors())
    }

    /// Everything that was read for the run: plan, environment, and the files that inputs name.
    pub(crate) fn sources(&self) -> Vec<(String, Vec<u8>)> {
        let named = self.checked.named.iter().map(|named| (named.path.clone(), named.bytes.to_vec()));
        self.texts.iter().cloned().chain(named).collect()
    }
}
