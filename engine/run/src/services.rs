//! What every attempt of a run shares: [`Services`], which connects to targets, starts programs and knows the secrets.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use drydock_plan::model::{Plan, SecretSource, Setting};
use drydock_plan::rendered::Rendered;
use drydock_step::kind::OwnedGiven;
use drydock_step::{ChildEnd, ChildSpec, Connection, Ctx, Ended, Kind, Settings, StepError};
use indexmap::IndexMap;
use serde_json::{Map, Value};

use crate::bound::{Difference, differences};
use crate::children::{CancelSignal, ChildEnv, Children};
use crate::secrets::{SecretValues, Secrets};
use crate::world::{RunSite, World};

/// The engine's services for one sitting of one run.
pub struct Services {
    pub(crate) world: Arc<World>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) site: RunSite,
    /// Secrets of parameters; files are relative to the folder of the file that names them.
    params: Secrets,
    /// Secrets of targets' settings; files are relative to the environment's folder.
    settings: Secrets,
    children: Arc<Children>,
    inherited: ChildEnv,
}

impl Services {
    /// For one sitting of one run.
    pub fn new(world: Arc<World>, plan: Arc<Plan>, site: RunSite) -> Arc<Self> {
        let children = Arc::new(Children::new(world.reaper.clone(), &site.run));
        let hidden = variables_of(&plan);
        let visible =
            world.environment.iter().filter(|(name, _)| !hidden.iter().any(|hidden| name == hidden.as_str()));
        let inherited = ChildEnv::new(visible.cloned());
        let sources =
            plan.secrets.iter().map(|(name, source)| (format!("params.{name}"), source.clone())).collect();
        let secrets = |sources, folder: &Path| {
            Secrets::new(sources, folder.to_owned(), world.variable.clone())
                .with_programs(children.clone(), inherited.clone())
        };
        let of_environment = plan.environment_secrets.iter().map(|name| format!("params.{name}"));
        let params =
            secrets(sources, &site.plan_folder).relative_to(&site.environment_folder, of_environment);
        let settings = secrets(settings_of(&plan), &site.environment_folder);
        Arc::new(Self { params, settings, plan, site, children, inherited, world })
    }

    /// The secrets of the plan and its targets that cannot be read, with the reasons.
    pub async fn missing_secrets(&self) -> Vec<(String, StepError)> {
        let mut missing = self.params.missing().await;
        missing.extend(self.settings.missing().await);
        missing
    }

    /// The values of these secrets, asked for now.
    pub(crate) async fn secret_values(&self, names: &[String]) -> Result<SecretValues, StepError> {
        self.params.values(names).await
    }

    /// Without the value of any secret that was asked for so far.
    pub(crate) fn redact_text(&self, text: &str) -> String {
        let (params, settings) = (self.params.redactor(), self.settings.redactor());
        settings.text(&params.text(text)).into_owned()
    }

    /// Without the value of any secret that was asked for so far.
    pub(crate) fn redact_json(&self, value: Value) -> Value {
        self.settings.redactor().json(self.params.redactor().json(value))
    }

    /// Without the value of any secret that was asked for so far.
    pub(crate) fn redact_error(&self, error: StepError) -> StepError {
        self.settings.redactor().error(self.params.redactor().error(error))
    }

    /// End whatever the run's programs have left.
    pub async fn close(&self) {
        self.children.close().await;
    }

    /// Start a program for an attempt.
    pub(crate) async fn spawn_child(
        &self,
        spec: ChildSpec,
        cancel: &CancelSignal,
    ) -> Result<ChildEnd, StepError> {
        self.children.run(spec, self.inherited.clone(), cancel).await
    }

    /// What a kind answers that a dry run asks, and what of that is not as it was reviewed: a run that is bound goes by the answer that was
    /// reviewed, for as long as the same choice gives it again.
    ///
    /// # Errors
    /// Those of the kind.
    pub(crate) async fn asked(
        &self,
        instance: &str,
        kind: &dyn Kind,
        ctx: &Ctx,
        mut with: IndexMap<String, Rendered>,
    ) -> Result<(Ended, Vec<Difference>), StepError> {
        let reviewed = self.site.bound.as_ref().and_then(|bound| bound.of(instance)?.answer.as_ref());
        if let Some(reviewed) = reviewed {
            let pinned = kind.pinned(reviewed).into_iter();
            with.extend(pinned.map(|(name, value)| (name.to_owned(), Rendered::from(value))));
        }
        let given = OwnedGiven { with: Arc::new(with), fill: None };
        Ok(match (kind.execute(ctx, given, None).await?, reviewed) {
            (Ended::Outputs(now), Some(reviewed)) => {
                let found = differences(instance, reviewed, &now, kind.moving());
                (Ended::Outputs(reviewed.clone()), found)
            }
            (ended, _) => (ended, Vec::new()),
        })
    }

    /// Whether a step goes by an answer that was reviewed.
    pub(crate) fn is_bound(&self, instance: &str) -> bool {
        self.site
            .bound
            .as_ref()
            .and_then(|bound| bound.of(instance))
            .is_some_and(|step| step.answer.is_some())
    }

    /// A new connection to a target of the plan.
    ///
    /// # Errors
    /// `target.unbound` without a server for it, why a secret has no value, or why the server cannot be reached.
    pub async fn connect(&self, name: &str, attempt: &str) -> Result<Arc<dyn Connection>, StepError> {
        let target = self
            .plan
            .targets
            .get(name)
            .ok_or_else(|| StepError::internal(format!("there is no target {name}")))?;
        let kind = self
            .world
            .registry
            .target_named(target.kind)
            .ok_or_else(|| StepError::internal(format!("there is no target kind {}", target.kind)))?;
        let settings = target.settings.as_ref().ok_or_else(|| {
            StepError::new("target.unbound", format!("target {name} is not bound to a server"))
                .help("give an environment with -e")
        })?;
        let values = match self.setting(settings).await? {
            Value::Object(values) => values,
            _ => Map::new(),
        };
        let settings =
            Settings { values, folder: self.site.environment_folder.clone(), attempt: attempt.to_owned() };
        kind.connect(settings).await
    }

    /// A setting with every secret filled in.
    async fn setting(&self, setting: &Setting) -> Result<Value, StepError> {
        match setting {
            Setting::Plain(value) => Ok(value.clone()),
            Setting::Secret(source) => self.settings.value_of(source).await.map(Value::String),
            Setting::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for item in items {
                    list.push(Box::pin(self.setting(item)).await?);
                }
                Ok(Value::Array(list))
            }
            Setting::Map(entries) => {
                let mut map = Map::new();
                for (key, value) in entries {
                    map.insert(key.clone(), Box::pin(self.setting(value)).await?);
                }
                Ok(Value::Object(map))
            }
        }
    }
}

/// The secrets in targets' settings, by where they stand: `targets.sql.password`.
fn settings_of(plan: &Plan) -> BTreeMap<String, SecretSource> {
    let mut found = BTreeMap::new();
    for (name, target) in &plan.targets {
        if let Some(settings) = &target.settings {
            collect(settings, format!("targets.{name}"), &mut found);
        }
    }
    found
}

fn collect(setting: &Setting, at: String, found: &mut BTreeMap<String, SecretSource>) {
    match setting {
        Setting::Plain(_) => {}
        Setting::Secret(source) => drop(found.insert(at, source.clone())),
        Setting::List(items) => {
            items.iter().enumerate().for_each(|(n, item)| collect(item, format!("{at}.{n}"), found))
        }
        Setting::Map(entries) => {
            entries.iter().for_each(|(key, value)| collect(value, format!("{at}.{key}"), found))
        }
    }
}

/// The variables that secrets are read from: children do not inherit them.
fn variables_of(plan: &Plan) -> Vec<String> {
    let of_targets = settings_of(plan);
    let sources = plan.secrets.values().chain(of_targets.values());
    sources
        .filter_map(|source| if let SecretSource::Env(name) = source { Some(name.clone()) } else { None })
        .collect()
}
