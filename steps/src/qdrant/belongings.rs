//! What belongs to a collection and may not be in its snapshot: [`make_indexes`] makes its payload indexes, [`point`] its aliases.

use drydock_step::StepError;
use serde_json::{Map, Value};

use super::requests;
use super::target::QdrantConnection;

/// The aliases of a collection, of all that there are.
pub(super) fn aliases_of(all: &[(String, String)], collection: &str) -> Vec<String> {
    all.iter().filter(|(_, to)| to == collection).map(|(alias, _)| alias.clone()).collect()
}

/// Points the aliases at the collection in one step, also those that point elsewhere now.
///
/// # Errors
/// What the server says.
pub(super) async fn point(
    qdrant: &QdrantConnection,
    name: &str,
    aliases: &[String],
) -> Result<(), StepError> {
    let now = if aliases.is_empty() { Vec::new() } else { qdrant.aliases().await? };
    let pointing = |alias: &String| {
        now.iter().find(|(known, _)| known == alias).map(|(_, collection)| collection.as_str())
    };
    let (mut free, mut taken) = (Vec::new(), Vec::new());
    for alias in aliases {
        match pointing(alias) {
            Some(collection) if collection == name => {}
            Some(_) => taken.push(alias.as_str()),
            None => free.push(alias.as_str()),
        }
    }
    if !free.is_empty() || !taken.is_empty() {
        let _: bool = qdrant.ask(&requests::point_aliases(name, &free, &taken)).await?;
    }
    Ok(())
}

/// Makes the payload indexes that are missing.
///
/// # Errors
/// What the server says.
pub(super) async fn make_indexes(
    qdrant: &QdrantConnection,
    name: &str,
    indexes: &Value,
    has: &Map<String, Value>,
) -> Result<(), StepError> {
    for (field, schema) in missing(indexes, has) {
        let _: Value = qdrant.ask(&requests::create_index(name, field, schema)).await?;
    }
    Ok(())
}

/// The fields that have no index, each with the schema to make it by: with its parameters where it had some.
fn missing<'a>(
    indexes: &'a Value,
    has: &'a Map<String, Value>,
) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let wanted = indexes.as_object().into_iter().flatten().filter(|(field, _)| !has.contains_key(*field));
    wanted.filter_map(|(field, index)| {
        let params = index.get("params").filter(|params| params.get("type").is_some());
        Some((field.as_str(), params.or_else(|| index.get("data_type"))?))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_missing_indexes_are_made_with_their_parameters() {
        let indexes = json!({
            "agent_id": { "data_type": "keyword", "points": 5 },
            "text": { "data_type": "text", "params": { "type": "text", "lowercase": true }, "points": 5 },
            "there": { "data_type": "integer", "points": 5 },
        });
        let has = json!({ "there": {} });
        let made: Vec<_> = missing(&indexes, has.as_object().unwrap()).collect();
        assert_eq!(
            made,
            [("agent_id", &json!("keyword")), ("text", &json!({ "type": "text", "lowercase": true }))]
        );
        assert_eq!(missing(&Value::Null, &Map::new()).count(), 0);
    }
}
