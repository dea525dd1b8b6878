//! What every handler of the API has at hand. Main type: [`Octopus`].

use std::sync::{Mutex, PoisonError};

use chrono::NaiveDateTime;
use serde_json::Value;
use uuid::Uuid;

use crate::clock::Clock;
use crate::seed::Seed;

use super::super::addresses::Addresses;
use super::super::database::Database;
use super::super::error::OctopusError;
use super::super::schema::DATABASE;
use super::super::vectors::Vectors;
use super::answer::ApiError;
use super::maintenance::Fence;

/// The stores, the fence, and the time.
pub(super) struct Octopus {
    pub(super) sql: Database,
    pub(super) vectors: Vectors,
    pub(super) fence: Fence,
    clock: Clock,
    seed: Seed,
    hooks: Mutex<Vec<Value>>,
}

impl Octopus {
    /// Asks nothing yet.
    pub(super) fn new(addresses: Addresses, clock: Clock, seed: Seed) -> Result<Self, OctopusError> {
        Ok(Self {
            sql: Database::new(addresses.sqlserver, DATABASE),
            vectors: Vectors::new(addresses.qdrant)?,
            fence: Fence::new(clock.clone()),
            clock,
            seed,
            hooks: Mutex::default(),
        })
    }

    /// The time, as the database keeps it.
    pub(super) fn now(&self) -> NaiveDateTime {
        self.clock.now().naive_utc()
    }

    /// An id that nothing else has: the clock never shows the same moment twice.
    pub(super) fn new_id(&self) -> Uuid {
        self.seed.uuid(&format!("api {}", self.clock.now().timestamp_micros()))
    }

    /// The name of an agent, or 404.
    pub(super) async fn agent(&self, id: &str) -> Result<String, ApiError> {
        let query = "SELECT [Name] FROM [Octopus_Agents] WHERE [Id] = @P1";
        let rows = self.sql.read(query, &[&id]).await?;
        let row = rows.first().ok_or_else(|| ApiError::NoAgent(id.to_owned()))?;
        Ok(row.try_get::<&str, _>(0).map_err(OctopusError::from)?.unwrap_or_default().to_owned())
    }

    /// Keeps what was sent to the hook.
    pub(super) fn keep_hook(&self, sent: Value) {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner).push(sent);
    }

    /// What was sent to the hook so far.
    pub(super) fn hooks(&self) -> Vec<Value> {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
