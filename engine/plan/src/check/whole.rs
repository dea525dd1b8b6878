//! Files to a plan: [`check`].

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::catalog::Catalog;
use crate::codes;
use crate::digest::digest_of;
use crate::environment::{Bound, Environment, Reading};
use crate::finding::{Finding, Findings};
use crate::model::{EnvironmentName, Plan, Target};
use crate::name::Name;
use crate::params::{GivenParams, Params};
use crate::source::{Place, SourceFile};
use crate::syntax::file::FileKind;
use crate::syntax::plan_file::PlanFile;
use crate::syntax::requests_file::requests_of;
use crate::syntax::tree::Node;
use crate::syntax::yaml;

use super::drill::with_clean_up;
use super::files::Files;
use super::inner_plans::inner_plans;
use super::lowering::{Lower, lower};

/// How much must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// What is written must be right; parameters and variables may have no value yet.
    Form,
    /// Everything that a run needs must have a value.
    Run,
}

/// What is checked, and against what.
#[derive(Clone, Copy)]
pub struct CheckInput<'a> {
    /// The file: a plan, or an environment or a requests file, told by its top key.
    pub file: &'a SourceFile,
    /// The environment to check a plan against.
    pub environment: Option<&'a SourceFile>,
    /// The kinds that exist.
    pub catalog: &'a Catalog,
    /// Values of parameters from flags, file and variables.
    pub given: &'a GivenParams,
    /// The variables that environment files may read.
    pub variables: &'a BTreeMap<String, String>,
    /// Gives the files that inputs name.
    pub files: &'a dyn Files,
    /// How much must be there.
    pub demand: Demand,
}

/// A file that an input names, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedSource {
    /// Its path as the plan writes it.
    pub path: String,
    /// Its bytes.
    pub bytes: Arc<[u8]>,
}

/// What came out of a check.
#[derive(Debug)]
pub struct Checked {
    /// What kind of file it is, when that is clear.
    pub kind: Option<FileKind>,
    /// The plan, when the file is one and nothing is wrong with it.
    pub plan: Option<Plan>,
    /// What was found, by source and place.
    pub findings: Vec<Finding>,
    /// The sources that findings point into, by index.
    pub sources: Vec<SourceFile>,
    /// The files that inputs name, by path.
    pub named: Vec<NamedSource>,
    /// The environment, where one was given that can be read.
    pub environment: Option<EnvironmentName>,
    /// Every target that the environment binds, also those that the plan does not name.
    pub bound: IndexMap<Name, Target>,
}

impl Checked {
    /// Whether any finding is an error.
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == crate::finding::Severity::Error)
    }
}

/// Check one file, and where it is a plan make the plan.
pub fn check(input: &CheckInput<'_>) -> Checked {
    let mut work = Work {
        input,
        findings: Findings::new(),
        sources: vec![input.file.clone()],
        named: Vec::new(),
        bound: IndexMap::new(),
        environment: None,
    };
    let node = yaml::read(input.file, 0, &mut work.findings);
    let kind = node.as_ref().and_then(|node| FileKind::of(node, &mut work.findings));
    let plan = match (&node, kind) {
        (Some(node), Some(FileKind::Plan)) if input.given.drill => {
            work.plan(&with_clean_up(node, input.catalog))
        }
        (Some(node), Some(FileKind::Plan)) => work.plan(node),
        (Some(node), Some(FileKind::Environment)) => {
            work.environment_at(node, input.file, 0);
            None
        }
        (Some(node), Some(FileKind::Requests)) => {
            requests_of(node, input.file, &mut work.findings);
            None
        }
        // The environment is read also where the plan cannot be: all errors at once.
        _ => {
            work.environment();
            None
        }
    };
    let Work { findings, sources, named, bound, environment, .. } = work;
    Checked { kind, plan, findings: findings.into_sorted(), sources, named, environment, bound }
}

/// One check as it goes on.
struct Work<'a> {
    input: &'a CheckInput<'a>,
    findings: Findings,
    sources: Vec<SourceFile>,
    named: Vec<NamedSource>,
    bound: IndexMap<Name, Target>,
    environment: Option<EnvironmentName>,
}

impl Work<'_> {
    fn plan(&mut self, node: &Node) -> Option<Plan> {
        let environment = self.environment();
        let file = PlanFile::of(node, &mut self.findings);
        let mut params = Params::declare(&file.params, &mut self.findings);
        if let Some(environment) = &environment {
            params.take_environment(&environment.params, &mut self.findings);
            let bound = |(name, bound): (&Name, &Option<Bound>)| {
                let Bound { kind, settings, .. } = bound.as_ref()?;
                Some((name.clone(), Target { kind, settings: Some(settings.clone()) }))
            };
            let (name, protected) = (environment.name.clone(), environment.protected);
            self.environment = Some(EnvironmentName { name, protected });
            self.bound = environment.targets.iter().filter_map(bound).collect();
        }
        params.take(self.input.given, &mut self.sources, &mut self.findings);
        let Work { input, findings, .. } = self;
        inner_plans(&file, &input.file.name, input.catalog, input.files, findings);
        let with = Lower {
            source: self.input.file,
            catalog: self.input.catalog,
            environment: environment.as_ref(),
            demands: self.input.demand == Demand::Run,
        };
        let lowered = lower(&file, &params, &with, &mut self.findings);
        for (path, place) in &lowered.files {
            self.named_file(path, *place);
        }
        let mut plan = lowered.plan.filter(|_| !self.findings.has_errors())?;
        plan.drill = self.input.given.drill;
        let own = [("plan", Some(self.input.file)), ("environment", self.input.environment)];
        let own = own.into_iter().filter_map(|(name, source)| Some((name, source?.text.as_bytes())));
        let digest = |file: &NamedSource| digest_of([("file", &*file.bytes)]);
        plan.files = self.named.iter().map(|file| (file.path.clone(), digest(file))).collect();
        plan.digest = digest_of(own.chain(self.named.iter().map(|file| (file.path.as_str(), &*file.bytes))));
        Some(plan)
    }

    fn environment(&mut self) -> Option<Environment> {
        let source = self.input.environment?;
        self.sources.push(source.clone());
        let node = yaml::read(source, 1, &mut self.findings)?;
        match FileKind::of(&node, &mut self.findings)? {
            FileKind::Environment => Some(self.environment_at(&node, source, 1)),
            other => {
                let top = node
                    .map()
                    .and_then(|entries| entries.first())
                    .map_or(node.place, |entry| entry.key_place);
                let what = if other == FileKind::Plan { "a plan" } else { "a list of requests" };
                self.findings.push(
                    Finding::error(
                        codes::NOT_AN_ENVIRONMENT,
                        top,
                        format!("this is {what}, not an environment"),
                    )
                    .label(format!("begins {what}"))
                    .help("give the environment file by `-e`; it has `environment: NAME` at its top"),
                );
                None
            }
        }
    }

    fn environment_at(&mut self, node: &Node, source: &SourceFile, index: u16) -> Environment {
        let reading = Reading {
            source,
            index,
            catalog: self.input.catalog,
            variables: self.input.variables,
            demands: self.input.demand == Demand::Run,
        };
        Environment::of(node, reading, &mut self.findings)
    }

    fn named_file(&mut self, path: &str, place: Place) {
        match self.input.files.read(path) {
            Ok(bytes) => self.named.push(NamedSource { path: path.to_owned(), bytes: bytes.into() }),
            Err(why) => self.findings.push(
                Finding::error(codes::FILE_UNREADABLE, place, format!("the file `{path}` cannot be read"))
                    .label(why)
                    .help("a relative path is relative to the plan's folder"),
            ),
        }
    }
}
