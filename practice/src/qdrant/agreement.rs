//! What the nodes of a cluster must agree on, which a node without part in the agreement cannot do. Main function:
//! [`agreed`].

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::node::Node;
use super::refusal::Refusal;

/// Lets a request through to its route, or refuses it where the nodes cannot agree. The real server says so after
/// ten seconds, for which a stand-in does not wait.
pub(super) async fn agreed(State(node): State<Arc<Node>>, request: Request, next: Next) -> Response {
    if node.consensus.is_some() && needs_agreement(request.method(), request.uri().path()) {
        let words = "Waiting for consensus operation commit failed. Timeout set at: 10 seconds";
        return Refusal::Service(words.into()).into_response();
    }
    next.run(request).await
}

/// Whether a request changes what all nodes know: collections, aliases, indexes, shards, and the states of replicas.
fn needs_agreement(method: &Method, path: &str) -> bool {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match (method.as_str(), parts.as_slice()) {
        ("GET", _) => false,
        ("POST", ["collections", "aliases"] | ["collections", _, "cluster"]) => true,
        ("PUT" | "DELETE", ["collections", _] | ["collections", _, "index", ..]) => true,
        (_, ["collections", _, "shards"] | ["collections", _, "shards", "delete"]) => true,
        (_, ["collections", _, .., "recover" | "upload"]) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_nodes_must_agree_on() {
        let check = |request: &str, needs: bool| {
            let (method, path) = request.split_once(' ').unwrap();
            assert_eq!(needs_agreement(&method.parse().unwrap(), path), needs, "{request}");
        };
        for request in [
            "PUT /collections/c",
            "DELETE /collections/c",
            "POST /collections/aliases",
            "PUT /collections/c/index",
            "DELETE /collections/c/index/n",
            "PUT /collections/c/shards",
            "POST /collections/c/shards/delete",
            "POST /collections/c/cluster",
            "PUT /collections/c/snapshots/recover",
            "POST /collections/c/shards/0/snapshots/upload",
        ] {
            check(request, true);
        }
        for request in [
            "GET /collections/c",
            "PUT /collections/c/points",
            "POST /collections/c/points/delete",
            "POST /collections/c/snapshots",
            "DELETE /collections/c/snapshots/s",
            "GET /collections/c/shards/0/snapshot",
        ] {
            check(request, false);
        }
    }
}
