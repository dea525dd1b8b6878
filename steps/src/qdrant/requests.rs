//! Every request that the kinds send: [`Ask`]. A dry run shows these lines, and nothing else is sent.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde_json::{Value, json};

/// What may stand in a part of a path as it is.
const PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// What sending a request twice does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Twice {
    /// Nothing: it reads.
    Reads,
    /// The same as once.
    Same,
    /// More than once: whether it was done must be found out.
    More,
}

/// A request before it is sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ask {
    pub(super) method: Method,
    /// With its query.
    pub(super) path: String,
    pub(super) body: Option<Value>,
    pub(super) twice: Twice,
    /// Whether it may take as long as the data are large.
    pub(super) long: bool,
}

impl Ask {
    fn new(method: Method, path: String, twice: Twice) -> Self {
        Self { method, path, body: None, twice, long: false }
    }

    fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path.into(), Twice::Reads)
    }

    fn with(self, body: Value) -> Self {
        Self { body: Some(body), ..self }
    }

    fn long(self) -> Self {
        Self { long: true, ..self }
    }

    /// As a dry run shows it: method, path and body.
    pub(super) fn line(&self) -> String {
        self.line_on("")
    }

    /// The same with the node that it is sent to.
    pub(super) fn line_on(&self, node: &str) -> String {
        let body = self.body.as_ref().map_or(String::new(), |body| format!(" {body}"));
        format!("{} {node}{}{body}", self.method, self.path)
    }
}

/// A name as a part of a path.
pub(super) fn part(name: &str) -> String {
    utf8_percent_encode(name, PART).to_string()
}

fn of(collection: &str, rest: &str) -> String {
    format!("/collections/{}{rest}", part(collection))
}

pub(super) fn about() -> Ask {
    Ask::get("/")
}

pub(super) fn cluster() -> Ask {
    Ask::get("/cluster")
}

pub(super) fn telemetry() -> Ask {
    Ask::get("/telemetry?details_level=3")
}

pub(super) fn collections() -> Ask {
    Ask::get("/collections")
}

pub(super) fn aliases() -> Ask {
    Ask::get("/aliases")
}

pub(super) fn collection(name: &str) -> Ask {
    Ask::get(of(name, ""))
}

pub(super) fn placement(name: &str) -> Ask {
    Ask::get(of(name, "/cluster"))
}

/// What snapshots are of: all that a node has of a collection, or one shard of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Whose<'a> {
    pub(super) collection: &'a str,
    pub(super) shard: Option<u32>,
}

impl<'a> Whose<'a> {
    /// All that a node has of a collection.
    pub(super) fn collection(collection: &'a str) -> Self {
        Self { collection, shard: None }
    }

    fn path(self, rest: &str) -> String {
        let shard = self.shard.map_or(String::new(), |id| format!("/shards/{id}"));
        of(self.collection, &format!("{shard}/snapshots{rest}"))
    }
}

pub(super) fn snapshots(whose: Whose<'_>) -> Ask {
    Ask::get(whose.path(""))
}

pub(super) fn download(whose: Whose<'_>, snapshot: &str) -> Ask {
    Ask::get(whose.path(&format!("/{}", part(snapshot)))).long()
}

pub(super) fn create_snapshot(whose: Whose<'_>) -> Ask {
    Ask::new(Method::POST, whose.path("?wait=true"), Twice::More).long()
}

pub(super) fn delete_snapshot(whose: Whose<'_>, snapshot: &str) -> Ask {
    Ask::new(Method::DELETE, whose.path(&format!("/{}?wait=true", part(snapshot))), Twice::Same)
}

/// The body is a form with the file in the field `snapshot`.
pub(super) fn upload(whose: Whose<'_>, sha256: &str) -> Ask {
    let query = format!("/upload?wait=true&priority=snapshot&checksum={}", part(sha256));
    Ask::new(Method::POST, whose.path(&query), Twice::More).long()
}

/// Has the server fetch the file from `location` by itself.
pub(super) fn recover(whose: Whose<'_>, location: &str, sha256: &str) -> Ask {
    let body = json!({ "location": location, "priority": "snapshot", "checksum": sha256 });
    Ask::new(Method::PUT, whose.path("/recover?wait=true"), Twice::More).long().with(body)
}

/// Makes a collection that is configured as another was: `config` is that of its info.
pub(super) fn create_collection(name: &str, config: &Value) -> Ask {
    // What the info has together the request has apart, and one part has another name in it.
    let mut body = config.get("params").cloned().unwrap_or_else(|| json!({}));
    let apart = [
        ("hnsw_config", "hnsw_config"),
        ("wal_config", "wal_config"),
        ("optimizer_config", "optimizers_config"),
        ("quantization_config", "quantization_config"),
        ("strict_mode_config", "strict_mode_config"),
        ("metadata", "metadata"),
    ];
    for (found, wanted) in apart {
        if let Some(part) = config.get(found).filter(|part| !part.is_null()) {
            body[wanted] = part.clone();
        }
    }
    if let Some(params) = body.as_object_mut() {
        // Only a change of a collection knows these.
        params.retain(|key, value| !value.is_null() && !key.starts_with("read_fan_out_"));
    }
    Ask::new(Method::PUT, of(name, ""), Twice::More).long().with(body)
}

/// Makes a shard key with so many shards.
pub(super) fn create_shard_key(collection: &str, key: &Value, shards: usize) -> Ask {
    let body = json!({ "shard_key": key, "shards_number": shards });
    Ask::new(Method::PUT, of(collection, "/shards"), Twice::More).long().with(body)
}

pub(super) fn delete_collection(name: &str) -> Ask {
    Ask::new(Method::DELETE, of(name, ""), Twice::Same).long()
}

pub(super) fn create_index(collection: &str, field: &str, schema: &Value) -> Ask {
    let body = json!({ "field_name": field, "field_schema": schema });
    Ask::new(Method::PUT, of(collection, "/index?wait=true"), Twice::Same).long().with(body)
}

/// Points these aliases at a collection, in one step, wherever they point now.
pub(super) fn point_aliases(collection: &str, free: &[&str], taken: &[&str]) -> Ask {
    let take = taken.iter().map(|alias| json!({ "delete_alias": { "alias_name": alias } }));
    let give = taken
        .iter()
        .chain(free)
        .map(|alias| json!({ "create_alias": { "collection_name": collection, "alias_name": alias } }));
    let actions: Vec<Value> = take.chain(give).collect();
    Ask::new(Method::POST, "/collections/aliases".into(), Twice::Same).with(json!({ "actions": actions }))
}

pub(super) fn count(collection: &str, exact: bool, filter: Option<&Value>) -> Ask {
    let mut body = json!({ "exact": exact });
    if let Some(filter) = filter {
        body["filter"] = filter.clone();
    }
    let ask = reading_post(collection, "count", body);
    // To count every point takes as long as there are many.
    if exact { ask.long() } else { ask }
}

/// Points with these fields of their payloads, from `offset` on.
pub(super) fn scroll(collection: &str, fields: &[String], offset: Option<&Value>, limit: usize) -> Ask {
    let payload = if fields.is_empty() { json!(false) } else { json!(fields) };
    let mut body = json!({ "limit": limit, "with_payload": payload, "with_vector": false });
    if let Some(offset) = offset {
        body["offset"] = offset.clone();
    }
    reading_post(collection, "scroll", body)
}

/// A search for what is nearest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Search<'a> {
    /// A vector, or the id of a point.
    pub(super) near: &'a Value,
    pub(super) limit: u64,
    pub(super) filter: Option<&'a Value>,
    /// The vector's name, where the collection's have names.
    pub(super) using: Option<&'a str>,
    /// Compare every point, without an index and without quantized vectors.
    pub(super) exact: bool,
    pub(super) with_payload: bool,
}

pub(super) fn search(collection: &str, search: &Search<'_>) -> Ask {
    let mut body =
        json!({ "query": search.near, "limit": search.limit, "with_payload": search.with_payload });
    if let Some(filter) = search.filter {
        body["filter"] = filter.clone();
    }
    if let Some(using) = search.using {
        body["using"] = json!(using);
    }
    if search.exact {
        body["params"] = json!({ "exact": true });
    }
    let ask = reading_post(collection, "query", body);
    // To compare every point takes as long as there are many.
    if search.exact { ask.long() } else { ask }
}

fn reading_post(collection: &str, what: &str, body: Value) -> Ask {
    Ask::new(Method::POST, of(collection, &format!("/points/{what}")), Twice::Reads).with(body)
}

/// The number of points under one shard key.
pub(super) fn count_of_key(collection: &str, key: &Value) -> Ask {
    reading_post(collection, "count", json!({ "exact": true, "shard_key": key })).long()
}

/// Ids alone, from `offset` on; only of points with this vector, where one is named.
pub(super) fn ids(collection: &str, with: Option<&str>, offset: Option<&Value>, limit: usize) -> Ask {
    let mut ask = scroll(collection, &[], offset, limit);
    if let (Some(body), Some(name)) = (&mut ask.body, with) {
        body["filter"] = json!({ "must": [{ "has_vector": name }] });
    }
    ask
}

/// These points, with the vector of this name or the one without, or without any.
pub(super) fn points(collection: &str, ids: &[Value], vector: Option<Option<&str>>) -> Ask {
    let vector = match vector {
        Some(Some(name)) => json!([name]),
        Some(None) => json!(true),
        None => json!(false),
    };
    let body = json!({ "ids": ids, "with_payload": false, "with_vector": vector });
    Ask::new(Method::POST, of(collection, "/points"), Twice::Reads).with(body)
}

pub(super) fn delete_points(collection: &str, ids: &[Value]) -> Ask {
    let path = of(collection, "/points/delete?wait=true");
    Ask::new(Method::POST, path, Twice::Same).with(json!({ "points": ids }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_and_lines_are_whole() {
        let check = |ask: Ask, line: &str| assert_eq!(ask.line(), line);
        check(collection("agent_7f3a"), "GET /collections/agent_7f3a");
        check(collection("a b/ü?"), "GET /collections/a%20b%2F%C3%BC%3F");
        let (whole, shard) = (Whose::collection("a"), Whose { collection: "a", shard: Some(3) });
        check(create_snapshot(whole), "POST /collections/a/snapshots?wait=true");
        check(create_snapshot(shard), "POST /collections/a/shards/3/snapshots?wait=true");
        check(
            upload(whole, "00ff"),
            "POST /collections/a/snapshots/upload?wait=true&priority=snapshot&checksum=00ff",
        );
        check(
            recover(shard, "http://r:1/x", "00ff"),
            r#"PUT /collections/a/shards/3/snapshots/recover?wait=true {"location":"http://r:1/x","priority":"snapshot","checksum":"00ff"}"#,
        );
        check(count("a", true, None), r#"POST /collections/a/points/count {"exact":true}"#);
        check(
            point_aliases("a", &["new"], &["old"]),
            concat!(
                r#"POST /collections/aliases {"actions":[{"delete_alias":{"alias_name":"old"}},"#,
                r#"{"create_alias":{"collection_name":"a","alias_name":"old"}},"#,
                r#"{"create_alias":{"collection_name":"a","alias_name":"new"}}]}"#
            ),
        );
    }

    #[test]
    fn a_collection_is_made_as_its_info_says_that_it_was() {
        let config = json!({
            "params": { "vectors": { "size": 4, "distance": "Dot" }, "shard_number": 2, "read_fan_out_factor": 2 },
            "hnsw_config": { "m": 16 },
            "optimizer_config": { "max_segment_size": null },
            "quantization_config": null,
        });
        let body = json!({
            "vectors": { "size": 4, "distance": "Dot" }, "shard_number": 2, "hnsw_config": { "m": 16 },
            "optimizers_config": { "max_segment_size": null },
        });
        assert_eq!(create_collection("c", &config).body, Some(body));
        assert_eq!(create_collection("c", &Value::Null).body, Some(json!({})));
    }

    #[test]
    fn only_what_does_no_harm_twice_is_sent_twice() {
        let twice = [
            about(),
            create_snapshot(Whose::collection("a")),
            upload(Whose::collection("a"), "0"),
            delete_snapshot(Whose::collection("a"), "s"),
            scroll("a", &[], None, 1),
        ];
        let expected = [Twice::Reads, Twice::More, Twice::More, Twice::Same, Twice::Reads];
        assert_eq!(twice.map(|ask| ask.twice), expected);
    }
}
