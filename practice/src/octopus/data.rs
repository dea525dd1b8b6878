//! Data of one's own for the practice servers, from a document: [`Data`], [`fill_from`]. docs/reference/rehearse-data.md describes it.
//!
//! ```json
//! { "sqlserver": { "SalesDB": ["CREATE TABLE t (id int)", "INSERT INTO t VALUES (1)"] },
//!   "qdrant": { "docs": { "size": 4, "distance": "Cosine", "points": [ { "id": 1, "vector": [1, 0, 0, 0] } ] } } }
//! ```

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use crate::seed::Seed;

use super::addresses::Addresses;
use super::database::{connect, run};
use super::error::OctopusError;
use super::life::fill;
use super::vectors::Vectors;

/// What the servers are filled with.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Data {
    octopus: bool,
    sqlserver: IndexMap<String, Vec<String>>,
    qdrant: IndexMap<String, Collection>,
}

#[derive(Debug, Clone, PartialEq)]
struct Collection {
    size: u64,
    distance: String,
    points: Vec<Value>,
}

/// What of a document is no data, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoData {
    /// The keys and indices that lead there, from the top.
    pub at: Vec<String>,
    /// Why.
    pub why: String,
}

/// The keys at the top.
const TOP: &str = "`octopus`, `sqlserver` and `qdrant`";

/// The distances that Qdrant knows.
const DISTANCES: [&str; 4] = ["Cosine", "Dot", "Euclid", "Manhattan"];

impl Data {
    /// What a document holds.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(document: &Value) -> Result<Self, NoData> {
        let mut data = Self::default();
        for (key, value) in map(document, &[], &format!("the keys {TOP}"))? {
            match key.as_str() {
                "octopus" => {
                    data.octopus = value.as_bool().ok_or_else(|| no(&[key], "it is true or false"))?
                }
                "sqlserver" => {
                    for (name, batches) in map(value, &[key], "the databases by their names")? {
                        data.sqlserver.insert(name.clone(), texts(batches, &[key, name])?);
                    }
                }
                "qdrant" => {
                    for (name, value) in map(value, &[key], "the collections by their names")? {
                        data.qdrant.insert(name.clone(), Collection::parse(value, &[key, name])?);
                    }
                }
                _ => return Err(no(&[key], format!("there is no such key; the keys are {TOP}"))),
            }
        }
        Ok(data)
    }
}

impl Collection {
    fn parse(value: &Value, at: &[&str]) -> Result<Self, NoData> {
        let inside = |key: &str| at.iter().map(|part| (*part).to_owned()).chain([key.to_owned()]).collect();
        let wrong = |key: &str, why: String| NoData { at: inside(key), why };
        let (mut size, mut distance, mut points) = (None, DISTANCES[0].to_owned(), Vec::new());
        for (key, value) in map(value, at, "`size`, and perhaps `distance` and `points`")? {
            match key.as_str() {
                "size" => {
                    size = Some(value.as_u64().filter(|size| *size > 0).ok_or_else(|| {
                        wrong(key, "it is the length of the vectors, a whole number of at least 1".to_owned())
                    })?)
                }
                "distance" => {
                    let known = value.as_str().filter(|name| DISTANCES.contains(name));
                    distance = known
                        .map(str::to_owned)
                        .ok_or_else(|| wrong(key, format!("it is one of {}", DISTANCES.join(", "))))?;
                }
                "points" => {
                    points = value.as_array().cloned().ok_or_else(|| {
                        wrong(
                            key,
                            "it is a list of points, each with `id`, `vector` and perhaps `payload`"
                                .to_owned(),
                        )
                    })?
                }
                _ => {
                    return Err(wrong(
                        key,
                        "there is no such key; a collection has `size`, `distance` and `points`".to_owned(),
                    ));
                }
            }
        }
        let size = size.ok_or_else(|| no(at, "it needs `size`, the length of its vectors"))?;
        for (index, point) in points.iter().enumerate() {
            let length = point.get("vector").and_then(Value::as_array).map(Vec::len);
            let why = match (point.get("id"), length) {
                (None, _) => "it has no `id`".to_owned(),
                (_, None) => "it has no `vector`, a list of numbers".to_owned(),
                (_, Some(length)) if length as u64 != size => {
                    format!("its vector has {length} numbers, and `size` is {size}")
                }
                _ => continue,
            };
            let mut at: Vec<String> = inside("points");
            at.push(index.to_string());
            return Err(NoData { at, why });
        }
        Ok(Self { size, distance, points })
    }
}

fn no(at: &[&str], why: impl Into<String>) -> NoData {
    NoData { at: at.iter().map(|part| (*part).to_owned()).collect(), why: why.into() }
}

fn map<'v>(value: &'v Value, at: &[&str], holds: &str) -> Result<&'v Map<String, Value>, NoData> {
    value.as_object().ok_or_else(|| no(at, format!("it is a mapping with {holds}")))
}

fn texts(value: &Value, at: &[&str]) -> Result<Vec<String>, NoData> {
    let wrong = || no(at, "it is a list of T-SQL batches, each a text");
    let items = value.as_array().ok_or_else(wrong)?;
    items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
}

/// Fills empty practice servers.
///
/// # Errors
/// [`OctopusError::Data`] with what could not be put where, the others when a store cannot be reached.
pub async fn fill_from(addresses: &Addresses, seed: Seed, data: &Data) -> Result<(), OctopusError> {
    if data.octopus {
        fill(addresses, seed).await?;
    }
    let put = |what: String| move |error: OctopusError| OctopusError::Data(format!("{what}: {error}"));
    let mut master = connect(&addresses.sqlserver, "master").await?;
    for (database, batches) in &data.sqlserver {
        let name = database.replace(']', "]]");
        let made = format!("the database {database}");
        run(&mut master, &format!("CREATE DATABASE [{name}]")).await.map_err(put(made.clone()))?;
        run(&mut master, &format!("ALTER DATABASE [{name}] SET RECOVERY FULL")).await.map_err(put(made))?;
        let mut sql = connect(&addresses.sqlserver, database).await?;
        for (at, batch) in batches.iter().enumerate() {
            let what = format!("batch {} of the database {database}", at + 1);
            run(&mut sql, batch).await.map_err(put(what))?;
        }
    }
    let vectors = Vectors::new(addresses.qdrant.clone())?;
    for (name, collection) in &data.qdrant {
        let what = format!("the collection {name}");
        let config = json!({ "vectors": { "size": collection.size, "distance": collection.distance } });
        vectors.put(&format!("/collections/{name}"), &config).await.map_err(put(what.clone()))?;
        if !collection.points.is_empty() {
            let points = json!({ "points": collection.points });
            vectors
                .put(&format!("/collections/{name}/points?wait=true"), &points)
                .await
                .map_err(put(what))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_data_is_told_with_its_place() {
        let check = |document: Value, at: &str, why: &str| {
            let found = Data::parse(&document).unwrap_err();
            assert_eq!(found.at.join("/"), at, "{document}");
            assert!(found.why.starts_with(why), "{}", found.why);
        };
        check(json!([]), "", "it is a mapping with the keys `octopus`, `sqlserver` and `qdrant`");
        check(json!({"sqlservr": {}}), "sqlservr", "there is no such key");
        check(json!({"octopus": "yes"}), "octopus", "it is true or false");
        check(json!({"sqlserver": [1]}), "sqlserver", "it is a mapping with the databases");
        check(json!({"sqlserver": {"A": "CREATE"}}), "sqlserver/A", "it is a list of T-SQL batches");
        check(json!({"sqlserver": {"A": [1]}}), "sqlserver/A", "it is a list of T-SQL batches");
        let docs = |docs: Value| json!({ "qdrant": { "docs": docs } });
        check(docs(json!([])), "qdrant/docs", "it is a mapping with `size`");
        check(docs(json!({})), "qdrant/docs", "it needs `size`");
        check(docs(json!({"size": 0})), "qdrant/docs/size", "it is the length of the vectors");
        check(
            docs(json!({"size": 1, "distance": "Far"})),
            "qdrant/docs/distance",
            "it is one of Cosine, Dot",
        );
        check(docs(json!({"size": 1, "vectors": []})), "qdrant/docs/vectors", "there is no such key");
        check(docs(json!({"size": 1, "points": {}})), "qdrant/docs/points", "it is a list of points");
        let point = |point: Value| docs(json!({"size": 2, "points": [{"id": 1, "vector": [1, 0]}, point]}));
        check(point(json!({"vector": [1, 0]})), "qdrant/docs/points/1", "it has no `id`");
        check(point(json!({"id": 1})), "qdrant/docs/points/1", "it has no `vector`");
        check(
            point(json!({"id": 1, "vector": [1]})),
            "qdrant/docs/points/1",
            "its vector has 1 numbers, and",
        );
        assert_eq!(Data::parse(&json!({})), Ok(Data::default()));
    }
}
