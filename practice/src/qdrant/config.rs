//! What a collection is configured to be: read from a create request or from a snapshot, shown in its info,
//! compared before a recovery. Main type: [`Config`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::refusal::Refusal;
use super::vector::{Distance, UNNAMED, Vector, Vectors, WithVector};

/// The largest vector that the real server takes.
const MAX_DIMENSIONS: usize = 65_536;

/// A collection's configuration, in the shape of its info and of a snapshot's `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Config {
    pub(super) params: Params,
    hnsw_config: Map<String, Value>,
    optimizer_config: Map<String, Value>,
    wal_config: Map<String, Value>,
    quantization_config: Option<Value>,
}

/// The part that decides where and how points are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Params {
    #[serde(default)]
    vectors: VectorsConfig,
    pub(super) shard_number: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sharding_method: Option<ShardingMethod>,
    pub(super) replication_factor: u32,
    write_consistency_factor: u32,
    on_disk_payload: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sparse_vectors: Option<BTreeMap<String, SparseParams>>,
}

/// Who decides which shard a point lies in: its id, or the key that comes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ShardingMethod {
    Auto,
    Custom,
}

/// The dense vectors of a collection's points: one without a name, or any number with. Named for the error text of
/// the real server, which names its own type so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum VectorsConfig {
    Single(VectorParams),
    Multi(BTreeMap<String, VectorParams>),
}

/// One dense vector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VectorParams {
    pub(super) size: usize,
    pub(super) distance: Distance,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    on_disk: Option<bool>,
}

/// One sparse vector. Its values are compared as they are: a modifier is not done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SparseParams {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    index: Option<SparseIndex>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SparseIndex {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    full_scan_threshold: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    on_disk: Option<bool>,
}

/// The body of `PUT /collections/{name}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateCollection {
    #[serde(default)]
    vectors: VectorsConfig,
    sparse_vectors: Option<BTreeMap<String, SparseParams>>,
    shard_number: Option<u32>,
    sharding_method: Option<ShardingMethod>,
    replication_factor: Option<u32>,
    write_consistency_factor: Option<u32>,
    on_disk_payload: Option<bool>,
    #[serde(default)]
    hnsw_config: Map<String, Value>,
    #[serde(default)]
    optimizers_config: Map<String, Value>,
    #[serde(default)]
    wal_config: Map<String, Value>,
}

impl Default for VectorsConfig {
    fn default() -> Self {
        Self::Multi(BTreeMap::new())
    }
}

impl VectorsConfig {
    fn each(&self) -> Vec<(&str, &VectorParams)> {
        match self {
            Self::Single(params) => vec![(UNNAMED, params)],
            Self::Multi(by_name) => by_name.iter().map(|(name, params)| (name.as_str(), params)).collect(),
        }
    }
}

impl CreateCollection {
    /// The whole configuration: what was asked for, over the server's defaults. `shards` is the number of
    /// shards where none was asked for.
    pub(super) fn config(self, shards: u32) -> Result<Config, Refusal> {
        for (name, VectorParams { size, .. }) in self.vectors.each() {
            if *size == 0 || *size > MAX_DIMENSIONS {
                return Err(Refusal::Invalid(format!(
                    "JSON body: [vectors.size: value {size} invalid, must be from 1 to {MAX_DIMENSIONS}]"
                )));
            }
            if self.sparse_vectors.as_ref().is_some_and(|sparse| sparse.contains_key(name)) {
                return Err(Refusal::BadInput(format!(
                    "Dense and sparse vector names must be unique - duplicate found with '{name}'"
                )));
            }
        }
        // With keys, this is the number of shards of each key.
        let custom = self.sharding_method == Some(ShardingMethod::Custom);
        let shard_number = self.shard_number.unwrap_or(if custom { 1 } else { shards });
        let replication_factor = self.replication_factor.unwrap_or(1);
        let write_consistency_factor = self.write_consistency_factor.unwrap_or(1);
        for (what, value) in [
            ("shard_number", shard_number),
            ("replication_factor", replication_factor),
            ("write_consistency_factor", write_consistency_factor),
        ] {
            if value == 0 {
                return Err(Refusal::Invalid(format!(
                    "JSON body: [{what}: value 0 invalid, must be 1 or larger]"
                )));
            }
        }
        Ok(Config {
            params: Params {
                vectors: self.vectors,
                shard_number,
                sharding_method: self.sharding_method,
                replication_factor,
                write_consistency_factor,
                on_disk_payload: self.on_disk_payload.unwrap_or(true),
                sparse_vectors: self.sparse_vectors,
            },
            hnsw_config: over(hnsw_defaults(), self.hnsw_config, "hnsw_config")?,
            optimizer_config: over(optimizer_defaults(), self.optimizers_config, "optimizers_config")?,
            wal_config: over(wal_defaults(), self.wal_config, "wal_config")?,
            quantization_config: None,
        })
    }
}

impl Params {
    /// The dense vectors, by name.
    pub(super) fn dense(&self) -> Vec<(&str, &VectorParams)> {
        self.vectors.each()
    }

    /// How the vector of this name is compared; nothing where there is no such vector.
    pub(super) fn distance(&self, name: &str) -> Result<Distance, Refusal> {
        let dense = self.dense().into_iter().find(|(known, _)| *known == name);
        match dense {
            Some((_, params)) => Ok(params.distance),
            // Sparse vectors know the dot product alone.
            None if self.is_sparse(name) => Ok(Distance::Dot),
            None => Err(Refusal::BadInput(format!("Not existing vector name error: {name}"))),
        }
    }

    /// Refuses a vector that the collection has not, or not of this kind or length.
    pub(super) fn check(&self, name: &str, vector: &Vector) -> Result<(), Refusal> {
        vector.check()?;
        let dense = self.dense().into_iter().find(|(known, _)| *known == name);
        match (vector, dense) {
            (Vector::Dense(vector), Some((_, VectorParams { size, .. }))) if vector.len() != *size => {
                Err(Refusal::BadInput(format!(
                    "Vector dimension error: expected dim: {size}, got {}",
                    vector.len()
                )))
            }
            (Vector::Dense(_), Some(_)) => Ok(()),
            (Vector::Sparse(_), None) if self.is_sparse(name) => Ok(()),
            _ => {
                self.distance(name)?;
                Err(Refusal::BadInput("Conversion between sparse and regular vectors failed".into()))
            }
        }
    }

    /// The same of each of a point's.
    pub(super) fn check_all(&self, vectors: &Vectors) -> Result<(), Refusal> {
        vectors.0.iter().try_for_each(|(name, vector)| self.check(name, vector))
    }

    /// The vectors of a point as they are kept, once they are [checked](Self::check_all).
    pub(super) fn stored(&self, vectors: &Vectors) -> Vectors {
        let stored = vectors.0.iter().filter_map(|(name, vector)| {
            Some((name.clone(), vector.clone().stored(self.distance(name).ok()?)))
        });
        Vectors(stored.collect())
    }

    /// Refuses to show vectors that the collection has not.
    pub(super) fn check_shown(&self, wanted: &WithVector) -> Result<(), Refusal> {
        let WithVector::Named(names) = wanted else { return Ok(()) };
        names.iter().try_for_each(|name| self.distance(name).map(drop))
    }

    /// Refuses the data of a segment with other sparse vectors than these. A collection that has none takes any, and
    /// keeps what it cannot search.
    pub(super) fn check_loaded(&self, found: &[&str]) -> Result<(), Refusal> {
        let Some(own) = &self.sparse_vectors else { return Ok(()) };
        let why = if own.len() != found.len() {
            let own: Vec<&str> = own.keys().map(String::as_str).collect();
            format!("vectors [{}], while other vectors [{}]", own.join(", "), found.join(", "))
        } else if let Some(name) = own.keys().find(|name| !found.contains(&name.as_str())) {
            format!("vector {name}, while other collection does not")
        } else {
            return Ok(());
        };
        let words = format!("Vectors configuration is not compatible: origin collection have {why}");
        Err(Refusal::BadInput(words))
    }

    /// The names of the sparse vectors.
    pub(super) fn sparse(&self) -> impl Iterator<Item = &String> {
        self.sparse_vectors.iter().flat_map(BTreeMap::keys)
    }

    fn is_sparse(&self, name: &str) -> bool {
        self.sparse_vectors.as_ref().is_some_and(|sparse| sparse.contains_key(name))
    }

    /// Whether shards have keys.
    pub(super) fn custom_sharding(&self) -> bool {
        self.sharding_method == Some(ShardingMethod::Custom)
    }
}

impl Config {
    /// Whether a snapshot with `other` may replace the data of a collection with this configuration: only
    /// vectors and the number of shards are compared.
    pub(super) fn accepts(&self, other: &Self) -> Result<(), Refusal> {
        let (mine, theirs) = (&self.params, &other.params);
        if mine.vectors != theirs.vectors {
            return Err(incompatible("vectors", &json!(theirs.vectors), &json!(mine.vectors)));
        }
        if mine.shard_number != theirs.shard_number {
            return Err(incompatible("shard_number", &json!(theirs.shard_number), &json!(mine.shard_number)));
        }
        Ok(())
    }
}

fn incompatible(what: &str, snapshot: &Value, collection: &Value) -> Refusal {
    Refusal::BadInput(format!(
        "Snapshot is not compatible with existing collection: {what} of the snapshot {snapshot}, of the collection {collection}"
    ))
}

fn over(
    mut defaults: Map<String, Value>,
    asked: Map<String, Value>,
    what: &str,
) -> Result<Map<String, Value>, Refusal> {
    for (key, value) in asked {
        match defaults.get_mut(&key) {
            Some(place) => *place = value,
            None => return Err(Refusal::NotDone(format!("`{key}` in `{what}`"))),
        }
    }
    Ok(defaults)
}

fn hnsw_defaults() -> Map<String, Value> {
    entries([
        ("m", json!(16)),
        ("ef_construct", json!(100)),
        ("full_scan_threshold", json!(10_000)),
        ("max_indexing_threads", json!(0)),
        ("on_disk", json!(false)),
    ])
}

fn optimizer_defaults() -> Map<String, Value> {
    entries([
        ("deleted_threshold", json!(0.2)),
        ("vacuum_min_vector_number", json!(1000)),
        ("default_segment_number", json!(0)),
        ("max_segment_size", Value::Null),
        ("memmap_threshold", Value::Null),
        ("indexing_threshold", json!(10_000)),
        ("flush_interval_sec", json!(5)),
        ("max_optimization_threads", Value::Null),
        ("prevent_unoptimized", Value::Null),
    ])
}

fn wal_defaults() -> Map<String, Value> {
    entries([
        ("wal_capacity_mb", json!(32)),
        ("wal_segments_ahead", json!(0)),
        ("wal_retain_closed", json!(1)),
    ])
}

fn entries<const N: usize>(pairs: [(&str, Value); N]) -> Map<String, Value> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(body: &str, expected: &str) {
        let said = match serde_json::from_str::<CreateCollection>(body) {
            Err(error) => error.to_string(),
            Ok(read) => read.config(1).unwrap_err().to_string(),
        };
        assert!(said.contains(expected), "{said:?} does not say {expected:?}");
    }

    #[test]
    fn what_cannot_be_created() {
        refused(
            r#"{"vectors": {"size": "x"}}"#,
            "did not match any variant of untagged enum VectorsConfig at line 1 column 26",
        );
        refused(
            r#"{"vectors": {"a": {"size": 4, "distance": "Dot"}, "b": {"size": 4}}}"#,
            "untagged enum VectorsConfig",
        );
        refused(
            r#"{"vectors": {"a": {"size": 4, "distance": "Dot"}}, "sparse_vectors": {"a": {}}}"#,
            "Dense and sparse vector names must be unique - duplicate found with 'a'",
        );
        refused(r#"{"sparse_vectors": {"a": {"modifier": "idf"}}}"#, "unknown field `modifier`");
        refused(r#"{"vectors": {"size": 0, "distance": "Dot"}}"#, "vectors.size: value 0 invalid");
        refused(
            r#"{"vectors": {"size": 4, "distance": "Dot"}, "replication_factor": 0}"#,
            "replication_factor: value 0",
        );
        refused(r#"{"vectors": {"size": 4, "distance": "Dot"}, "quantization_config": {}}"#, "unknown field");
        refused(
            r#"{"vectors": {"size": 4, "distance": "Dot"}, "hnsw_config": {"n": 1}}"#,
            "`n` in `hnsw_config`",
        );
    }
}
