//! Shards with replicas: where they lie, who wins after a recovery, what is moved, and that it takes looks.

use drydock_practice::qdrant::Deployment;
use serde_json::{Value, json};

use super::server::Server;

/// A cluster whose collection `c` has two replicas of each of its shards, and fifty points.
async fn replicated(nodes: usize, shards: u64) -> Server {
    let server = Server::start(nodes).await;
    server.create("c", json!({"shard_number": shards, "replication_factor": 2})).await;
    server.upsert("c", 1..=50).await;
    server
}

/// What a node says of the collection: the states of all replicas, as `shard@node state`, its own with their points.
async fn states(server: &Server, node: usize) -> Vec<String> {
    let state = look(server, node).await;
    let peers = peers(server).await;
    let at = |peer: &Value| peers.iter().position(|known| known == peer).unwrap();
    let mut told = Vec::new();
    for shard in state["local_shards"].as_array().unwrap() {
        let (id, state) = (&shard["shard_id"], shard["state"].as_str().unwrap());
        told.push(format!("{id}@{node} {state} {}", shard["points_count"]));
    }
    for shard in state["remote_shards"].as_array().unwrap() {
        let (id, state) = (&shard["shard_id"], shard["state"].as_str().unwrap());
        told.push(format!("{id}@{} {state}", at(&shard["peer_id"])));
    }
    told.sort();
    told
}

async fn look(server: &Server, node: usize) -> Value {
    let answered = server.ask_node(node, "GET /collections/c/cluster", None).await;
    answered.json()["result"].clone()
}

/// The peer id of each node.
async fn peers(server: &Server) -> Vec<Value> {
    let mut peers = Vec::new();
    for node in 0..server.qdrant.urls().len() {
        peers.push(server.ask_node(node, "GET /cluster", None).await.json()["result"]["peer_id"].clone());
    }
    peers
}

async fn snapshot(server: &Server, node: usize) -> Vec<u8> {
    let made = server.ask_node(node, "POST /collections/c/snapshots", None).await.json();
    let path = format!("GET /collections/c/snapshots/{}", made["result"]["name"].as_str().unwrap());
    server.send(node, &path, None).await.bytes().await.unwrap().to_vec()
}

async fn upload(server: &Server, node: usize, priority: &str, file: Vec<u8>) {
    let path = format!("/collections/c/snapshots/upload?priority={priority}");
    let answered = server.upload(node, &path, &format!("{node}.snapshot"), file).await;
    assert_eq!(answered.status, 200, "{}", answered.text);
}

async fn change(server: &Server, body: Value) -> super::server::Answered {
    server.ask("POST /collections/c/cluster", Some(body)).await
}

#[tokio::test]
async fn replicas_lie_on_different_nodes_and_all_are_written() {
    let server = replicated(3, 3).await;
    let info = server.done("GET /collections/c", None).await;
    assert_eq!(
        (&info["config"]["params"]["replication_factor"], &info["points_count"]),
        (&json!(2), &json!(50))
    );
    let mut seen = std::collections::BTreeMap::new();
    for node in 0..3 {
        assert_eq!(server.counted(node, "c").await, 50, "each shard once, whoever is asked");
        let state = look(&server, node).await;
        assert_eq!(state["shard_count"], 3);
        assert_eq!(
            (state["local_shards"].as_array().unwrap().len(), &state["shard_transfers"]),
            (2, &json!([]))
        );
        assert_eq!(state["remote_shards"].as_array().unwrap().len(), 4);
        for shard in state["local_shards"].as_array().unwrap() {
            seen.entry(shard["shard_id"].as_u64().unwrap())
                .or_insert_with(Vec::new)
                .push(shard["points_count"].clone());
        }
    }
    let total: u64 = seen.values().map(|counts| counts[0].as_u64().unwrap()).sum();
    assert!(
        total == 50 && seen.values().all(|counts| counts.len() == 2 && counts[0] == counts[1]),
        "{seen:?}"
    );
}

#[tokio::test]
async fn a_snapshot_of_a_node_has_its_replicas_and_names_the_others() {
    let server = replicated(3, 3).await;
    let file = snapshot(&server, 0).await;
    let peers = peers(&server).await;
    let mut tar = tar::Archive::new(&file[..]);
    let mut local = 0;
    for entry in tar.entries().unwrap() {
        let entry = entry.unwrap();
        if entry.path().unwrap().ends_with("replica_state.json") {
            let state: Value = serde_json::from_reader(entry).unwrap();
            assert_eq!((&state["this_peer_id"], state["peers"].as_object().unwrap().len()), (&peers[0], 2));
            assert!(state["peers"].as_object().unwrap().values().all(|state| state == "Active"), "{state}");
            local += usize::from(state["is_local"] == true);
        }
    }
    assert_eq!(local, 2);
}

#[tokio::test]
async fn the_snapshot_wins_and_the_others_are_filled_from_it() {
    let server = replicated(2, 1).await;
    let old = snapshot(&server, 0).await;
    server.upsert("c", 51..=80).await;
    upload(&server, 0, "snapshot", old).await;
    for node in [0, 1] {
        assert_eq!(server.counted(node, "c").await, 50, "nobody reads the dead replica");
    }
    assert_eq!(states(&server, 0).await, ["0@0 Active 50", "0@1 Dead"]);
    assert_eq!(states(&server, 1).await, ["0@0 Active", "0@1 Recovery 80"]);
    let transfer = look(&server, 0).await["shard_transfers"][0].clone();
    assert_eq!(
        (&transfer["shard_id"], &transfer["sync"], &transfer["method"]),
        (&json!(0), &json!(true), &json!("wal_delta"))
    );
    assert!(transfer["comment"].is_string(), "the node that has the shard tells how far it is");
    assert_eq!(look(&server, 1).await["shard_transfers"][0].get("comment"), None);
    assert_eq!(states(&server, 1).await, ["0@0 Active", "0@1 Partial 80"]);
    states(&server, 1).await;
    assert_eq!(states(&server, 1).await, ["0@0 Active", "0@1 Active 50"]);
    server.upsert("c", 60..=60).await;
    assert_eq!(states(&server, 1).await, ["0@0 Active", "0@1 Active 51"]);
}

#[tokio::test]
async fn the_replicas_win_and_the_recovered_one_is_filled_from_them() {
    let server = replicated(2, 1).await;
    let old = snapshot(&server, 0).await;
    server.upsert("c", 51..=80).await;
    upload(&server, 0, "replica", old.clone()).await;
    assert_eq!(states(&server, 0).await, ["0@0 Partial 50", "0@1 Active"]);
    assert_eq!(server.counted(0, "c").await, 80);
    for _ in 0..4 {
        states(&server, 0).await;
    }
    assert_eq!(states(&server, 0).await, ["0@0 Active 80", "0@1 Active"]);

    server.done("DELETE /collections/c", None).await;
    server.create("c", json!({"shard_number": 1, "replication_factor": 2})).await;
    upload(&server, 0, "replica", old).await;
    for _ in 0..5 {
        states(&server, 0).await;
    }
    assert_eq!(states(&server, 0).await, ["0@0 Active 0", "0@1 Active"], "empty replicas win as well");
}

#[tokio::test]
async fn nobody_wins_and_the_replicas_differ() {
    let server = replicated(2, 1).await;
    let old = snapshot(&server, 0).await;
    server.upsert("c", 51..=80).await;
    upload(&server, 0, "no_sync", old).await;
    assert_eq!(states(&server, 0).await, ["0@0 Active 50", "0@1 Active"]);
    assert_eq!((server.counted(0, "c").await, server.counted(1, "c").await), (json!(50), json!(80)));
}

#[tokio::test]
async fn a_deleted_collection_comes_back_node_by_node() {
    let server = replicated(3, 3).await;
    let mut files = Vec::new();
    for node in 0..3 {
        files.push(snapshot(&server, node).await);
    }
    server.done("DELETE /collections/c", None).await;
    for (node, file) in files.into_iter().enumerate() {
        upload(&server, node, "snapshot", file).await;
        for _ in 0..12 {
            look(&server, node).await;
        }
    }
    let told = states(&server, 0).await;
    assert!(told.len() == 6 && told.iter().all(|replica| replica.contains("Active")), "{told:?}");
    assert_eq!(server.counted(2, "c").await, 50);
}

#[tokio::test]
async fn a_replica_that_does_not_load_is_given_up_and_filled_again() {
    let server = replicated(2, 2).await;
    let mut broken = snapshot(&server, 0).await;
    let at = broken.windows(17).position(|window| window == b"{\"initial_version").unwrap();
    broken[at] = b'X';
    let refused = server.upload(0, "/collections/c/snapshots/upload", "x.snapshot", broken).await;
    refused.refused(500, "Failed to read segment state");
    assert_eq!(server.counted(0, "c").await, 50, "the other node answers");
    let told = states(&server, 0).await;
    assert!(told[0].starts_with("0@0 Dead") && told[2].starts_with("1@0 ManualRecovery"), "{told:?}");
    for _ in 0..5 {
        states(&server, 0).await;
    }
    let told = states(&server, 0).await;
    assert!(told[0].starts_with("0@0 Active"), "{told:?}");
    assert!(
        told[2].starts_with("1@0 ManualRecovery"),
        "nobody comes for the shards that were not reached: {told:?}"
    );
}

#[tokio::test]
async fn a_shard_alone_follows_the_same_rules() {
    let server = replicated(2, 1).await;
    let shard = "/collections/c/shards/0";
    let old = server.send(0, &format!("GET {shard}/snapshot"), None).await.bytes().await.unwrap().to_vec();
    server.upsert("c", 51..=80).await;
    let path = format!("{shard}/snapshots/upload?priority=snapshot");
    assert_eq!(server.upload(0, &path, "x", old.clone()).await.status, 200);
    assert_eq!(states(&server, 0).await, ["0@0 Active 50", "0@1 Dead"]);
    for _ in 0..4 {
        states(&server, 0).await;
    }
    assert_eq!(states(&server, 1).await, ["0@0 Active", "0@1 Active 50"]);
    server.upsert("c", 51..=80).await;
    let path = format!("{shard}/snapshots/upload?priority=replica");
    assert_eq!(server.upload(0, &path, "x", old).await.status, 200);
    assert_eq!(states(&server, 0).await, ["0@0 Dead 50", "0@1 Active"]);
    for _ in 0..4 {
        states(&server, 0).await;
    }
    assert_eq!(states(&server, 0).await, ["0@0 Active 80", "0@1 Active"]);
}

#[tokio::test]
async fn a_move_stays_for_some_looks() {
    let deployment = Deployment { transfer_looks: 3, ..Deployment::default() };
    let server = Server::start_as(2, "[]", deployment).await;
    server.create("c", json!({"shard_number": 1})).await;
    server.upsert("c", 1..=50).await;
    let peers = peers(&server).await;
    let way = json!({"shard_id": 0, "from_peer_id": peers[0], "to_peer_id": peers[1]});
    assert_eq!(change(&server, json!({"move_shard": way})).await.status, 200);
    for _ in 0..6 {
        let state = look(&server, 0).await;
        let transfer = &state["shard_transfers"][0];
        assert_eq!(
            (&transfer["from"], &transfer["to"], &transfer["sync"]),
            (&peers[0], &peers[1], &json!(false))
        );
        assert_eq!(
            (&transfer["method"], &state["remote_shards"][0]["state"]),
            (&json!("stream_records"), &json!("Partial"))
        );
    }
    assert_eq!(states(&server, 1).await, ["0@1 Active 50"]);
    assert_eq!(server.counted(0, "c").await, 50);
}

#[tokio::test]
async fn replicated_dropped_aborted_and_refused() {
    let server = Server::start(3).await;
    server.create("c", json!({"shard_number": 1})).await;
    server.upsert("c", 1..=50).await;
    let peers = peers(&server).await;
    let way =
        |from: usize, to: usize| json!({"shard_id": 0, "from_peer_id": peers[from], "to_peer_id": peers[to]});
    assert_eq!(change(&server, json!({"replicate_shard": way(0, 1)})).await.status, 200);
    change(&server, json!({"move_shard": way(0, 2)})).await.refused(400, "already involved in transfer");
    assert_eq!(states(&server, 1).await, ["0@0 Active", "0@1 Partial 0"]);
    for _ in 0..3 {
        states(&server, 1).await;
    }
    assert_eq!(states(&server, 1).await, ["0@0 Active", "0@1 Active 50"]);

    change(&server, json!({"replicate_shard": way(0, 2)})).await;
    change(&server, json!({"abort_transfer": way(1, 2)}))
        .await
        .refused(404, "for collection c:0 does not exist");
    assert_eq!(change(&server, json!({"abort_transfer": way(0, 2)})).await.status, 200);
    assert_eq!(states(&server, 2).await, ["0@0 Active", "0@1 Active", "0@2 Dead 0"]);
    let replica = |node: usize| json!({"shard_id": 0, "peer_id": peers[node]});
    assert_eq!(change(&server, json!({"drop_replica": replica(2)})).await.status, 200);
    assert_eq!(change(&server, json!({"drop_replica": replica(0)})).await.status, 200);
    for (body, status, words) in [
        (json!({"drop_replica": replica(0)}), 400, "has no replica of shard 0"),
        (json!({"drop_replica": replica(1)}), 400, "must have at least one active replica"),
        (json!({"drop_replica": {"shard_id": 9, "peer_id": peers[1]}}), 400, "Shard 9 of c does not exist"),
        (json!({"move_shard": way(1, 1)}), 422, "to_peer_id"),
        (json!({"move_shard": way(0, 2)}), 400, "Shard 0 is not active on peer"),
        (
            json!({"move_shard": {"shard_id": 0, "from_peer_id": 5, "to_peer_id": peers[1]}}),
            400,
            "Peer 5 does not exist",
        ),
        (json!({"start_resharding": {"direction": "up"}}), 400, "unknown variant `start_resharding`"),
    ] {
        change(&server, body).await.refused(status, words);
    }
    assert_eq!(states(&server, 0).await, ["0@1 Active"]);
    assert_eq!(server.counted(0, "c").await, 50);
    let single = Server::start(1).await;
    single.create("c", json!({})).await;
    change(&single, json!({"drop_replica": replica(0)}))
        .await
        .refused(400, "Bad request: Distributed mode disabled");
}
