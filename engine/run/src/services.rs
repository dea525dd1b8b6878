//! What every attempt of a run shares: [`Services`], which connects to targets, starts programs and knows the secrets.

use std::sync::Arc;

use drydock_plan::model::{Plan, Setting};
use drydock_step::{ChildEnd, ChildSpec, Connection, Settings, StepError};
use serde_json::{Map, Value};

use crate::children::{CancelSignal, ChildEnv, Children};
use crate::secrets::RunSecrets;
use crate::world::{RunSite, World};

/// The engine's services for one sitting of one run.
pub struct Services {
    pub(crate) world: Arc<World>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) site: RunSite,
    pub(crate) secrets: RunSecrets,
    children: Children,
    inherited: ChildEnv,
}

impl Services {
    /// For one sitting of one run.
    pub fn new(world: Arc<World>, plan: Arc<Plan>, site: RunSite) -> Arc<Self> {
        let children = Children::new(world.reaper.clone(), &site.run);
        let secrets = RunSecrets::new(&plan, &site, world.variable.clone());
        let hidden = secrets.variables();
        let visible = world.environment.iter().filter(|(name, _)| !hidden.iter().any(|hidden| name == hidden.as_str()));
        let inherited = ChildEnv::new(visible.cloned());
        Arc::new(Self { world, plan, site, secrets, children, inherited })
    }

    /// End whatever the run's programs have left.
    pub async fn close(&self) {
        self.children.close().await;
    }

    /// Start a program for an attempt.
    pub(crate) async fn spawn_child(&self, spec: ChildSpec, cancel: &CancelSignal) -> Result<ChildEnd, StepError> {
        self.children.run(spec, self.inherited.clone(), cancel).await
    }

    /// A new connection to a target of the plan.
    pub(crate) async fn connect(&self, name: &str, attempt: &str) -> Result<Arc<dyn Connection>, StepError> {
        let target = self.plan.targets.get(name).ok_or_else(|| StepError::internal(format!("there is no target {name}")))?;
        let kind = self
            .world
            .registry
            .target_named(target.kind)
            .ok_or_else(|| StepError::internal(format!("there is no target kind {}", target.kind)))?;
        let settings = target.settings.as_ref().ok_or_else(|| {
            StepError::new("target.unbound", format!("target {name} is not bound to a server")).help("give an environment with -e")
        })?;
        let values = match self.setting(settings).await? {
            Value::Object(values) => values,
            _ => Map::new(),
        };
        let settings = Settings { values, folder: self.site.environment_folder.clone(), attempt: attempt.to_owned() };
        kind.connect(settings).await
    }

    /// A setting with every secret filled in.
    async fn setting(&self, setting: &Setting) -> Result<Value, StepError> {
        match setting {
            Setting::Plain(value) => Ok(value.clone()),
            Setting::Secret(source) => self.secrets.value_of(source).await.map(Value::String),
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
