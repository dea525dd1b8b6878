//! The two servers beside the store, as far as their capabilities go: [`Sql`] proves backups and answers queries, [`Vectors`] has
//! collections.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use drydock_step::artifact::stream_of;
use drydock_step::target::{Collections, PointPayload, Proves, RowSet, Rows, Script};
use drydock_step::{ArtifactStore, AtWork, Connection, Identity, StepError};
use serde_json::{Map, Value, json};

fn identity(name: &str, version: &str) -> Identity {
    Identity { text: name.to_owned(), name: name.to_owned(), version: version.to_owned() }
}

/// A server of the truth.
#[derive(Default)]
pub(crate) struct Sql {
    /// The header of each backup, by its first file.
    pub(crate) headers: Mutex<BTreeMap<String, Result<Value, StepError>>>,
    /// The answers to queries, by their texts.
    pub(crate) answers: Mutex<BTreeMap<String, Value>>,
    /// The scripts that it ran.
    pub(crate) scripts: Mutex<Vec<String>>,
    /// The answers once it has run one.
    pub(crate) answers_then: Mutex<BTreeMap<String, Value>>,
}

#[async_trait]
impl Connection for Sql {
    async fn ping(&self) -> Result<(), StepError> {
        Ok(())
    }

    async fn identity(&self) -> Result<Identity, StepError> {
        Ok(identity("SQL01", "16.0.4135.4"))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn rows(&self) -> Option<&dyn Rows> {
        Some(self)
    }

    fn script(&self) -> Option<&dyn Script> {
        Some(self)
    }

    fn proves(&self) -> Option<&dyn Proves> {
        Some(self)
    }
}

#[async_trait]
impl Script for Sql {
    async fn run_script(&self, database: &str, script: &str) -> Result<u64, StepError> {
        assert_eq!(database, "OctopusDB");
        self.scripts.lock().unwrap().push(script.to_owned());
        self.answers.lock().unwrap().append(&mut self.answers_then.lock().unwrap());
        Ok(1)
    }
}

#[async_trait]
impl Proves for Sql {
    async fn prove_readable(&self, media: &[String], position: u32) -> Result<Value, StepError> {
        assert_eq!(position, 1);
        // It sees the folder `sql` of the store where it writes its backups to.
        let path = media[0].replace("sql/", r"D:\Backups\");
        self.headers.lock().unwrap()[&path].clone()
    }
}

#[async_trait]
impl Rows for Sql {
    async fn rows(&self, database: Option<&str>, sql: &str) -> Result<RowSet, StepError> {
        assert_eq!(database, Some("OctopusDB"));
        let answers = self.answers.lock().unwrap();
        let rows: Vec<Map<String, Value>> = serde_json::from_value(answers[sql].clone()).unwrap();
        let columns = rows.first().map(|row| row.keys().cloned().collect());
        Ok(RowSet { columns: columns.unwrap_or_else(|| columns_of(sql)), rows })
    }
}

/// The columns that a query names, for an answer without rows.
fn columns_of(sql: &str) -> Vec<String> {
    let list = sql.strip_prefix("SELECT ").unwrap().split(" FROM ").next().unwrap();
    list.split(", ").map(str::to_owned).collect()
}

/// Points by id, each with its payload.
type Points = BTreeMap<u64, Map<String, Value>>;

/// A server of vectors.
#[derive(Default)]
pub(crate) struct Vectors {
    collections: Mutex<BTreeMap<String, Points>>,
    /// How many more calls that remove something it answers; the next one fails.
    pub(crate) removals: Mutex<Option<u32>>,
}

impl Vectors {
    /// Adds chunks of a document, with the ids from `first` on.
    pub(crate) fn add(&self, collection: &str, first: u64, chunks: u64, document: &str, version: u64) {
        let mut collections = self.collections.lock().unwrap();
        let points = collections.entry(collection.to_owned()).or_default();
        for chunk in 0..chunks {
            let payload = json!({"agent_id": collection, "document_id": document, "chunk": chunk, "version": version, "text": "…"});
            points.insert(first + chunk, serde_json::from_value(payload).unwrap());
        }
    }

    /// The ids of a collection's points; `None` when it is gone.
    pub(crate) fn ids(&self, collection: &str) -> Option<Vec<u64>> {
        Some(self.collections.lock().unwrap().get(collection)?.keys().copied().collect())
    }

    fn may_remove(&self) -> Result<(), StepError> {
        match &mut *self.removals.lock().unwrap() {
            Some(0) => Err(StepError::unknown("qdrant.lost", "the connection was lost")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

#[async_trait]
impl Connection for Vectors {
    async fn ping(&self) -> Result<(), StepError> {
        Ok(())
    }

    async fn identity(&self) -> Result<Identity, StepError> {
        Ok(identity("qdrant-0", "1.17.1"))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn collections(&self) -> Option<&dyn Collections> {
        Some(self)
    }
}

#[async_trait]
impl Collections for Vectors {
    async fn collection_names(&self) -> Result<Vec<String>, StepError> {
        Ok(self.collections.lock().unwrap().keys().cloned().collect())
    }

    async fn points_page(
        &self,
        collection: &str,
        fields: &[String],
        after: Option<&Value>,
        limit: usize,
    ) -> Result<(Vec<PointPayload>, Option<Value>), StepError> {
        let after = after.map(|after| after.as_u64().unwrap());
        let collections = self.collections.lock().unwrap();
        let rest = collections[collection].iter().filter(|(id, _)| after.is_none_or(|after| **id > after));
        let page: Vec<PointPayload> = rest
            .take(limit)
            .map(|(id, payload)| {
                let wanted = payload.iter().filter(|(name, _)| fields.contains(name));
                let payload = wanted.map(|(name, value)| (name.clone(), value.clone())).collect();
                PointPayload { id: json!(id), payload }
            })
            .collect();
        let next = if page.len() == limit { page.last().map(|point| point.id.clone()) } else { None };
        Ok((page, next))
    }

    async fn delete_points(&self, collection: &str, ids: &[Value]) -> Result<(), StepError> {
        self.may_remove()?;
        let mut collections = self.collections.lock().unwrap();
        let points = collections.get_mut(collection).unwrap();
        points.retain(|id, _| !ids.contains(&json!(id)));
        Ok(())
    }

    async fn delete_collection(&self, collection: &str) -> Result<bool, StepError> {
        self.may_remove()?;
        Ok(self.collections.lock().unwrap().remove(collection).is_some())
    }

    async fn keep_collection(
        &self,
        _attempt: Arc<dyn AtWork>,
        collection: &str,
        store: &dyn ArtifactStore,
        prefix: &str,
    ) -> Result<String, StepError> {
        let kept = json!({ "collection": collection, "ids": self.ids(collection) });
        Ok(store.put(&format!("{prefix}/collection.json"), stream_of(kept.to_string())).await?.path)
    }
}
