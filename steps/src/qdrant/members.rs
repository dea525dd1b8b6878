//! The nodes of a cluster, all of them and each once: [`Member`], found by [`members`].

use std::collections::BTreeMap;

use drydock_step::StepError;
use futures_util::future::try_join_all;

use super::answers::{Cluster, Peer};
use super::node::Node;
use super::requests;

/// A node, known by the id that it gives itself.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) node: Node,
    /// Nothing where the server is no cluster.
    pub(super) peer: Option<u64>,
}

/// The nodes, each asked who it is.
///
/// # Errors
/// `qdrant.nodes` when a node of the cluster is missing, one is named twice, or one belongs elsewhere: its shards would be lost, or
/// taken for those of another.
pub(super) async fn members(nodes: &[Node]) -> Result<Vec<Member>, StepError> {
    let ask = requests::cluster();
    let answers: Vec<Cluster> = try_join_all(nodes.iter().map(|node| node.ask(&ask))).await?;
    let pairs: Vec<(&str, Cluster)> = nodes.iter().map(|node| node.url.as_str()).zip(answers).collect();
    let peers = peers_of(&pairs).map_err(|why| {
        StepError::new("qdrant.nodes", why)
            .help("`nodes` of the target must name the REST address of every node, each its own and not that of a load balancer")
    })?;
    Ok(nodes.iter().cloned().zip(peers).map(|(node, peer)| Member { node, peer }).collect())
}

/// The id of each node, in order, or why these are not the nodes of one cluster.
fn peers_of(answers: &[(&str, Cluster)]) -> Result<Vec<Option<u64>>, String> {
    if let [(_, only)] = answers
        && only.status != "enabled"
    {
        return Ok(vec![None]);
    }
    let mut found: BTreeMap<u64, &str> = BTreeMap::new();
    let mut known: BTreeMap<&str, &Peer> = BTreeMap::new();
    for (url, cluster) in answers {
        let Some(peer) = cluster.peer_id.filter(|_| cluster.status == "enabled") else {
            return Err(format!("{url} is no cluster, and the target names {} nodes", answers.len()));
        };
        if let Some(other) = found.insert(peer, *url) {
            return Err(format!("{other} and {url} are the same node, peer {peer}"));
        }
        known.extend(cluster.peers.iter().map(|(id, peer)| (id.as_str(), peer)));
    }
    for (url, cluster) in answers {
        let strangers = found.iter().find(|(peer, _)| !cluster.peers.contains_key(&peer.to_string()));
        if let Some((peer, other)) = strangers {
            return Err(format!("{url} does not know {other}, peer {peer}, as a node of its cluster"));
        }
    }
    let missing: Vec<String> = known
        .iter()
        .filter(|(id, _)| !id.parse().is_ok_and(|id| found.contains_key(&id)))
        .map(|(id, peer)| format!("peer {id} ({})", peer.uri))
        .collect();
    if missing.is_empty() {
        Ok(answers.iter().map(|(_, cluster)| cluster.peer_id).collect())
    } else {
        Err(format!(
            "the target does not name {} of its cluster; the shards there would be missing",
            missing.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A node's answer: its own id and those it knows.
    fn node(own: u64, known: &[u64]) -> Cluster {
        let peers: serde_json::Map<_, _> = known
            .iter()
            .map(|id| (id.to_string(), json!({ "uri": format!("http://p{id}:6335/") })))
            .collect();
        serde_json::from_value(json!({ "status": "enabled", "peer_id": own, "peers": peers })).unwrap()
    }

    fn alone() -> Cluster {
        serde_json::from_value(json!({ "status": "disabled" })).unwrap()
    }

    #[test]
    fn all_nodes_of_one_cluster_are_known_by_their_ids() {
        assert_eq!(peers_of(&[("a", alone())]), Ok(vec![None]));
        assert_eq!(peers_of(&[("a", node(7, &[7]))]), Ok(vec![Some(7)]));
        assert_eq!(peers_of(&[("a", node(7, &[7, 8])), ("b", node(8, &[7, 8]))]), Ok(vec![Some(7), Some(8)]));
    }

    #[test]
    fn others_are_refused() {
        let check = |answers: &[(&str, Cluster)], words: &str| {
            let why = peers_of(answers).unwrap_err();
            assert!(why.contains(words), "{why}");
        };
        check(&[("a", node(7, &[7, 8]))], "does not name peer 8 (http://p8:6335/)");
        check(&[("a", node(7, &[7, 8])), ("b", node(7, &[7, 8]))], "a and b are the same node, peer 7");
        check(&[("a", alone()), ("b", alone())], "a is no cluster, and the target names 2 nodes");
        check(&[("a", node(7, &[7])), ("b", node(9, &[9]))], "a does not know b, peer 9");
    }
}
