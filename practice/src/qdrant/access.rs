//! What a key may do, and what each request needs, by the rules of the real server. Main types: [`Access`],
//! [`Needs`].

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::Method;
use axum::http::request::Parts;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::Value;

use super::refusal::Refusal;

/// What a key may do: with everything, or with single collections.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub(super) enum Access {
    Global(Global),
    Collections(Vec<CollectionAccess>),
}

/// What may be done with everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Global {
    #[serde(rename = "r")]
    Read,
    #[serde(rename = "m")]
    Manage,
}

/// What may be done with one collection. An alias of it is another name, and needs an entry of its own.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct CollectionAccess {
    pub(super) collection: String,
    access: Mode,
    /// Once a condition on the payload; a token that still has it is refused.
    pub(super) payload: Option<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Mode {
    #[serde(rename = "r")]
    Read,
    #[serde(rename = "rw")]
    ReadWrite,
    /// Points alone: no snapshots, no indexes, no look at the shards.
    #[serde(rename = "prw")]
    PointsReadWrite,
}

/// What a request needs: a right, to a collection or to everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Needs {
    collection: Option<String>,
    right: Right,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Right {
    Read,
    /// Look at what goes with the points: snapshots, shards.
    Look,
    Write,
    /// Change what goes with the points.
    Change,
    Manage,
}

impl Access {
    /// Whether it is enough, or the real server's words for why it is not.
    pub(super) fn meets(&self, needs: &Needs) -> Result<(), Refusal> {
        let refused = |words: String| Err(Refusal::Forbidden(words));
        let writes = matches!(needs.right, Right::Write | Right::Change | Right::Manage);
        let list = match self {
            Self::Global(Global::Read) if writes => {
                return refused("Global manage access is required".into());
            }
            Self::Global(_) => return Ok(()),
            Self::Collections(list) => list,
        };
        let Some(name) = &needs.collection else { return refused("Global access is required".into()) };
        let Some(own) = list.iter().find(|one| one.collection == *name) else {
            return refused(format!("Access to collection {name} is required"));
        };
        let beyond_points = matches!(needs.right, Right::Look | Right::Change | Right::Manage);
        match own.access {
            Mode::PointsReadWrite if beyond_points => {
                refused(format!("Only points access is allowed for collection {name}"))
            }
            Mode::Read if writes => refused(format!("Write access to collection {name} is required")),
            _ if needs.right == Right::Manage => {
                refused("Manage access for this operation is required".into())
            }
            _ => Ok(()),
        }
    }

    /// Whether a list shows a collection, or an alias, of this name.
    pub(super) fn sees(&self, name: &str) -> bool {
        self.meets(&Needs { collection: Some(name.to_owned()), right: Right::Read }).is_ok()
    }
}

impl Default for Access {
    /// What a token says that says nothing, and what everybody may where no key is asked for.
    fn default() -> Self {
        Self::Global(Global::Manage)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Access {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}

impl Needs {
    /// What a request with this method and path needs; nothing, where the answer shows what the key may see.
    pub(super) fn of(method: &Method, path: &str) -> Option<Self> {
        let decoded: Vec<String> = path
            .trim_matches('/')
            .split('/')
            .map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned())
            .collect();
        let parts: Vec<&str> = decoded.iter().map(String::as_str).collect();
        let global = |right| Some(Self { collection: None, right });
        match (method.as_str(), parts.as_slice()) {
            ("GET", ["collections" | "aliases" | "telemetry" | "issues"]) => None,
            ("GET", ["cluster" | "metrics" | "snapshots", ..]) => global(Right::Read),
            ("POST", ["collections", "aliases"]) => global(Right::Manage),
            (method, ["collections", name, rest @ ..]) => match right_to(method, rest) {
                Some(right) => Some(Self { collection: Some((*name).to_owned()), right }),
                None => global(Right::Manage),
            },
            ("GET", _) => global(Right::Read),
            _ => global(Right::Manage),
        }
    }
}

/// What a request on a collection needs of it; nothing, where access to everything is needed.
fn right_to(method: &str, rest: &[&str]) -> Option<Right> {
    Some(match (method, rest) {
        ("GET", [] | ["exists" | "aliases" | "shards"] | ["points", _]) => Right::Read,
        ("POST", ["points"] | ["points", "count" | "scroll" | "query" | "search"]) => Right::Read,
        ("PUT", ["points"]) | ("POST", ["points", "delete" | "payload"]) => Right::Write,
        (_, ["index", ..]) => Right::Change,
        ("GET", ["cluster"]) => Right::Look,
        ("POST", ["cluster"]) => Right::Manage,
        // Streaming a shard makes a snapshot, and counts as a change.
        ("GET", ["shards", _, "snapshot"]) => Right::Change,
        ("PUT", [.., "recover"]) | ("POST", [.., "upload"]) => return None,
        ("GET", ["snapshots", ..] | ["shards", _, "snapshots", ..]) => Right::Look,
        (_, ["snapshots", ..] | ["shards", _, "snapshots", ..]) => Right::Change,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What a key with this access is told of a request; nothing where it may.
    #[track_caller]
    fn check(access: Value, request: &str, refused: Option<&str>) {
        let (method, path) = request.split_once(' ').unwrap();
        let access: Access = serde_json::from_value(access).unwrap();
        let needs = Needs::of(&method.parse().unwrap(), path);
        let told = needs.and_then(|needs| access.meets(&needs).err()).map(|refusal| refusal.to_string());
        assert_eq!(told.as_deref(), refused, "{request}");
    }

    #[test]
    fn access_to_everything() {
        let refused = Some("Forbidden: Global manage access is required");
        for request in [
            "PUT /collections/c",
            "PUT /collections/c/points",
            "POST /collections/c/snapshots",
            "PUT /collections/c/snapshots/recover",
            "GET /collections/c/shards/0/snapshot",
            "POST /collections/c/cluster",
            "POST /collections/aliases",
            "DELETE /snapshots/x",
            "DELETE /issues",
        ] {
            check(json!("r"), request, refused);
            check(json!("m"), request, None);
        }
        for request in
            ["GET /collections", "GET /snapshots/x", "POST /collections/c/points/query", "GET /cluster"]
        {
            check(json!("r"), request, None);
        }
    }

    #[test]
    fn access_to_single_collections() {
        let one = |access: &str| json!([{ "collection": "c d", "access": access }]);
        let (write, points) = (
            "Forbidden: Write access to collection c d is required",
            "Forbidden: Only points access is allowed for collection c d",
        );
        for (request, read, read_write, points_only) in [
            ("GET /collections/c%20d", None, None, None),
            ("POST /collections/c%20d/points/scroll", None, None, None),
            ("PUT /collections/c%20d/points", Some(write), None, None),
            ("PUT /collections/c%20d/index", Some(write), None, Some(points)),
            ("GET /collections/c%20d/cluster", None, None, Some(points)),
            ("GET /collections/c%20d/snapshots/x", None, None, Some(points)),
            ("POST /collections/c%20d/snapshots", Some(write), None, Some(points)),
            ("DELETE /collections/c%20d/shards/0/snapshots/x", Some(write), None, Some(points)),
            ("GET /collections/c%20d/shards/0/snapshot", Some(write), None, Some(points)),
            (
                "POST /collections/c%20d/cluster",
                Some(write),
                Some("Forbidden: Manage access for this operation is required"),
                Some(points),
            ),
        ] {
            check(one("r"), request, read);
            check(one("rw"), request, read_write);
            check(one("prw"), request, points_only);
        }
        for request in [
            "GET /cluster",
            "GET /snapshots",
            "POST /collections/c%20d/snapshots/upload",
            "DELETE /collections/c%20d",
        ] {
            check(one("rw"), request, Some("Forbidden: Global access is required"));
        }
        check(one("rw"), "GET /collections/e", Some("Forbidden: Access to collection e is required"));
    }
}
