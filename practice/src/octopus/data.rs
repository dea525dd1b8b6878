//! Data of one's own for the practice servers, from a document: [`fill_from`].
//!
//! ```json
//! { "sqlserver": { "SalesDB": ["CREATE TABLE t (id int)", "INSERT INTO t VALUES (1)"] },
//!   "qdrant": { "docs": { "size": 4, "distance": "Cosine", "points": [ { "id": 1, "vector": [1, 0, 0, 0] } ] } } }
//! ```

use serde::Deserialize;
use serde_json::{Value, json};

use super::addresses::Addresses;
use super::database::{connect, run};
use super::error::OctopusError;
use super::vectors::Vectors;

/// The document.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Data {
    /// The batches that fill each database, which is created.
    #[serde(default)]
    sqlserver: indexmap::IndexMap<String, Vec<String>>,
    /// The collections.
    #[serde(default)]
    qdrant: indexmap::IndexMap<String, Collection>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Collection {
    size: u64,
    #[serde(default = "cosine")]
    distance: String,
    #[serde(default)]
    points: Vec<Value>,
}

fn cosine() -> String {
    "Cosine".to_owned()
}

/// Fills empty practice servers with what a document holds.
///
/// # Errors
/// [`OctopusError::Data`] when the document is not of the shape above, the others when a store refuses.
pub async fn fill_from(addresses: &Addresses, document: &Value) -> Result<(), OctopusError> {
    let data: Data =
        serde_json::from_value(document.clone()).map_err(|error| OctopusError::Data(error.to_string()))?;
    let mut master = connect(&addresses.sqlserver, "master").await?;
    for (database, batches) in &data.sqlserver {
        let name = database.replace(']', "]]");
        run(&mut master, &format!("CREATE DATABASE [{name}]")).await?;
        run(&mut master, &format!("ALTER DATABASE [{name}] SET RECOVERY FULL")).await?;
        let mut sql = connect(&addresses.sqlserver, database).await?;
        for batch in batches {
            run(&mut sql, batch).await?;
        }
    }
    let vectors = Vectors::new(addresses.qdrant.clone())?;
    for (name, collection) in data.qdrant {
        let config = json!({ "vectors": { "size": collection.size, "distance": collection.distance } });
        vectors.put(&format!("/collections/{name}"), &config).await?;
        if !collection.points.is_empty() {
            let points = json!({ "points": collection.points });
            vectors.put(&format!("/collections/{name}/points?wait=true"), &points).await?;
        }
    }
    Ok(())
}
