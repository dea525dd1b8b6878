//! `qdrant.prune`: what goes, what stays and why, and that a resumed attempt ends as an uncut one.

use drydock_step::test_host::{actions, given, touches};
use drydock_step::{Access, Given, Kind, Reconciled};
use drydock_steps::qdrant::fetch::Fetch;
use drydock_steps::qdrant::prune::Prune;
use drydock_steps::qdrant::recover::Recover;
use drydock_steps::qdrant::snapshot::Snapshot;
use serde_json::{Value, json};

use super::fetch::fetching;
use super::recover::backup_of;
use super::world::{World, asked, die_at_a_held_answer, refused, run, run_from};

const POINT: &str = "01K00000000000000000000002";

fn write(world: &World, path: &str, text: &str) {
    let path = world.stored(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// A sealed point over these collections, as `qdrant.fetch` gave them.
fn seal(world: &World, fetched: &[Value]) {
    let at = "2026-11-22T06:46:22Z";
    let collections: Vec<Value> = fetched
        .iter()
        .map(|one| {
            let mut part = one.clone();
            part["skew_s"] = json!(1.0);
            part
        })
        .collect();
    let manifest = json!({
        "format": "drydock.point", "version": 1, "id": POINT, "state": "sealed",
        "plan": { "name": "backup", "digest": "sha256:0d5c" }, "environment": "test", "run": "r0",
        "mark": format!("dd_{POINT}"), "opened_at": at, "marked_at": at, "sealed_at": at,
        "qdrant": { "version": "1.17.1", "collections": collections },
    });
    write(world, &format!("points/{POINT}/manifest.json"), &manifest.to_string());
}

/// A collection with a snapshot that lies in the store and still on the servers.
async fn kept_on_server(world: &World, collection: &str) -> Value {
    world.fill(collection, 5, world.urls.len() as u64).await;
    let made = run(&Snapshot, &world.host().await, &json!({ "collections": collection })).await.unwrap();
    let mut with = fetching(&made["collections"][0]);
    with["keep_on_server"] = json!(true);
    run(&Fetch, &world.host().await, &with).await.unwrap()
}

async fn by_hand(world: &World, collection: &str) -> String {
    world.fill(collection, 5, 1).await;
    let made = world.done(&format!("POST /collections/{collection}/snapshots"), None).await;
    made["name"].as_str().unwrap().to_owned()
}

/// Inputs that prune these, whatever their age.
fn pruning(collections: &str) -> Value {
    json!({ "collections": collections, "from": "backups", "keep_for": "0s", "keep_last": 0 })
}

fn reasons(told: &Value) -> Vec<(&str, &str)> {
    told.as_array()
        .unwrap()
        .iter()
        .map(|one| (one["collection"].as_str().unwrap(), one["why"].as_str().unwrap()))
        .collect()
}

#[tokio::test]
async fn what_a_point_has_goes_and_what_nobody_knows_is_told() {
    let Some(world) = World::start(1).await else { return };
    let fetched = kept_on_server(&world, "p1_a").await;
    let unknown = by_hand(&world, "p1_b").await;
    seal(&world, std::slice::from_ref(&fetched));
    let host = world.host().await;
    let snapshot = &fetched["snapshots"][0];
    let path = snapshot["artifact"]["path"].as_str().unwrap();
    let pruned = run(&Prune, &host, &pruning("p1_*")).await.unwrap();
    assert_eq!(
        pruned["removed"],
        json!([{
            "collection": "p1_a", "node": world.urls[0], "name": snapshot["name"], "size": snapshot["size"],
            "why": format!("point {POINT} has it as {path}"),
        }])
    );
    assert_eq!(reasons(&pruned["kept"]), [("p1_b", "no point knows it; `unknown: remove` removes such")]);
    assert_eq!(pruned["freed_bytes"], snapshot["size"]);
    assert_eq!(world.snapshots(0, "p1_a").await, [""; 0]);
    assert_eq!(world.snapshots(0, "p1_b").await, [unknown]);
    assert!(world.stored(path).exists());
    let mut with = pruning("p1_*");
    with["unknown"] = json!("remove");
    let pruned = run(&Prune, &world.host().await, &with).await.unwrap();
    assert_eq!(reasons(&pruned["removed"]), [("p1_b", "no point knows it, and `unknown` is `remove`")]);
    assert_eq!(world.snapshots(0, "p1_b").await, [""; 0]);
    let pruned = run(&Prune, &world.host().await, &with).await.unwrap();
    assert_eq!((&pruned["removed_count"], &pruned["kept_count"]), (&json!(0), &json!(0)));
}

#[tokio::test]
async fn every_node_is_pruned() {
    let Some(world) = World::start(2).await else { return };
    let fetched = kept_on_server(&world, "p2").await;
    seal(&world, std::slice::from_ref(&fetched));
    let pruned = run(&Prune, &world.host().await, &pruning("p2")).await.unwrap();
    let nodes: Vec<&str> =
        pruned["removed"].as_array().unwrap().iter().map(|one| one["node"].as_str().unwrap()).collect();
    let mut urls: Vec<&str> = world.urls.iter().map(String::as_str).collect();
    urls.sort_unstable();
    assert_eq!(nodes, urls);
    assert_eq!((world.snapshots(0, "p2").await.len(), world.snapshots(1, "p2").await.len()), (0, 0));
    let alone = world.host_at(&world.urls[..1], &world.key).await;
    refused(run(&Prune, &alone, &pruning("p2")).await, "qdrant.nodes", "the target does not name peer");
}

#[tokio::test]
async fn snapshots_of_single_shards_are_pruned_as_well() {
    let Some(world) = World::start(2).await else { return };
    world.done("DELETE /collections/p5", None).await;
    let config = json!({
        "vectors": { "size": 2, "distance": "Dot" }, "shard_number": 2, "replication_factor": 2,
    });
    world.done("PUT /collections/p5", Some(config)).await;
    world.upsert("p5", 1..=20).await;
    let made = run(&Snapshot, &world.host().await, &json!({ "collections": "p5" })).await.unwrap();
    let mut with = fetching(&made["collections"][0]);
    with["keep_on_server"] = json!(true);
    let fetched = run(&Fetch, &world.host().await, &with).await.unwrap();
    let by_shard = fetched["snapshots"].as_array().unwrap();
    assert!(by_shard.len() == 2 && by_shard.iter().all(|one| one["shard"].is_u64()), "{fetched}");
    seal(&world, std::slice::from_ref(&fetched));
    let mut with = pruning("p5");
    with["keep_last"] = json!(1);
    let pruned = run(&Prune, &world.host().await, &with).await.unwrap();
    assert_eq!(reasons(&pruned["kept"])[0].1, "it is among the newest 1 of shard 0 on this node");
    let pruned = run(&Prune, &world.host().await, &pruning("p5")).await.unwrap();
    let removed = pruned["removed"].as_array().unwrap();
    let mut told: Vec<_> = removed.iter().map(|one| (&one["shard"], &one["name"])).collect();
    told.sort_by_key(|(shard, _)| shard.as_u64());
    let mut expected: Vec<_> = by_shard.iter().map(|one| (&one["shard"], &one["name"])).collect();
    expected.sort_by_key(|(shard, _)| shard.as_u64());
    assert_eq!(told, expected);
    let again = run(&Prune, &world.host().await, &pruning("p5")).await.unwrap();
    assert_eq!((&again["removed_count"], &again["kept_count"]), (&json!(0), &json!(0)));
}

#[tokio::test]
async fn what_the_store_has_no_more_stays() {
    let Some(world) = World::start(1).await else { return };
    let fetched = kept_on_server(&world, "p3").await;
    seal(&world, std::slice::from_ref(&fetched));
    let path = fetched["snapshots"][0]["artifact"]["path"].as_str().unwrap();
    let file = world.stored(path);
    let good = std::fs::read(&file).unwrap();
    let check = async |words: &str| {
        let pruned = run(&Prune, &world.host().await, &pruning("p3")).await.unwrap();
        let kept = reasons(&pruned["kept"]);
        assert!(kept.len() == 1 && kept[0].1.contains(words), "{pruned}");
        assert_eq!((&pruned["removed"], world.snapshots(0, "p3").await.len()), (&json!([]), 1));
    };
    let mut flipped = good.clone();
    flipped[100] ^= 1;
    std::fs::write(&file, flipped).unwrap();
    check(&format!("has it as {path}, whose sha256 is now")).await;
    std::fs::write(&file, &good[1..]).unwrap();
    check("bytes long and was").await;
    std::fs::remove_file(&file).unwrap();
    check("is not in the store").await;
    std::fs::write(&file, good).unwrap();
    let manifest = std::fs::read_to_string(world.stored(&format!("points/{POINT}/manifest.json"))).unwrap();
    write(
        &world,
        &format!("points/{POINT}/manifest.json"),
        &manifest.replace("\"version\":1", "\"version\":9"),
    );
    check("a point may name it whose manifest cannot be read").await;
    write(&world, &format!("points/{POINT}/manifest.json"), &manifest);
    let pruned = run(&Prune, &world.host().await, &pruning("p3")).await.unwrap();
    assert_eq!(pruned["removed_count"], 1, "{pruned}");
}

#[tokio::test]
async fn what_belongs_to_a_point_that_is_not_sealed_stays() {
    let Some(world) = World::start(1).await else { return };
    let fetched = kept_on_server(&world, "p4_a").await;
    by_hand(&world, "p4_b").await;
    let opened = json!({ "id": POINT, "opened_at": "2026-01-01T00:00:00Z" });
    write(&world, &format!("points/{POINT}/opened.json"), &opened.to_string());
    let name = fetched["snapshots"][0]["name"].as_str().unwrap();
    write(&world, &format!("points/{POINT}/qdrant/{name}"), "what was fetched");
    let mut with = pruning("p4_*");
    with["unknown"] = json!("remove");
    let pruned = run(&Prune, &world.host().await, &with).await.unwrap();
    let has = format!("point {POINT} has fetched it and is not sealed");
    let may = format!("it may belong to point {POINT}, opened 2026-01-01T00:00:00Z and not sealed");
    assert_eq!(reasons(&pruned["kept"]), [("p4_a", has.as_str()), ("p4_b", may.as_str())]);
    seal(&world, std::slice::from_ref(&fetched));
    let pruned = run(&Prune, &world.host().await, &with).await.unwrap();
    assert_eq!(pruned["removed_count"], 2, "{pruned}");
}

#[tokio::test]
async fn the_young_and_the_newest_stay() {
    let world = World::with_faults(1, "[]").await;
    world.fill("c", 5, 1).await;
    let mut names = Vec::new();
    for _ in 0..3 {
        let made = world.done("POST /collections/c/snapshots", None).await;
        names.push(made["name"].as_str().unwrap().to_owned());
        world.pass_second();
    }
    let pruned = async |keep_for: &str, keep_last: u64| {
        let with = json!({
            "collections": "c", "from": "backups", "keep_for": keep_for, "keep_last": keep_last, "unknown": "remove",
        });
        run(&Prune, &world.host().await, &with).await.unwrap()
    };
    assert_eq!(pruned("1d", 0).await["removed_count"], 0);
    let left = pruned("0s", 2).await;
    assert_eq!(left["removed"][0]["name"], names[0]);
    assert_eq!(reasons(&left["kept"])[0].1, "it is among the newest 2 of the collection on this node");
    assert_eq!(world.snapshots(0, "c").await.len(), 2);
}

#[tokio::test]
async fn what_a_recovery_has_left_goes() {
    let stuck = r#"[{"attempt": "*", "op": "DELETE */snapshots/drydock-*", "times": 2, "do": "error", "code": 403, "message": "no"}]"#;
    let world = World::with_faults(1, stuck).await;
    world.fill("c", 5, 1).await;
    let backup = backup_of(&world, "c").await;
    world.done("DELETE /collections/c", None).await;
    run(&Recover, &world.host().await, &backup).await.unwrap();
    let left = world.snapshots(0, "c").await;
    assert!(left.len() == 1 && left[0].starts_with("drydock-"), "{left:?}");
    refused(run(&Prune, &world.host().await, &pruning("c")).await, "qdrant.key", "answered 403");
    let mut young = pruning("c");
    young["keep_for"] = json!("1d");
    let pruned = run(&Prune, &world.host().await, &young).await.unwrap();
    assert!(reasons(&pruned["kept"])[0].1.ends_with("less than 1d ago"), "{pruned}");
    let pruned = run(&Prune, &world.host().await, &pruning("c")).await.unwrap();
    assert_eq!(reasons(&pruned["removed"]), [("c", "a recovery has sent it and is over")]);
    assert_eq!(world.snapshots(0, "c").await, [""; 0]);
}

#[tokio::test]
async fn a_resumed_attempt_tells_all_that_went() {
    let held = r#"[{"attempt": "*", "op": "DELETE */c_b/snapshots/*", "do": "hold"}]"#;
    let world = World::with_faults(1, held).await;
    for collection in ["c_a", "c_b", "c_c"] {
        by_hand(&world, collection).await;
    }
    let mut with = pruning("c_*");
    with["unknown"] = json!("remove");
    let host = world.host().await;
    assert_eq!(asked(&Prune, &host, &with).await, Reconciled::NotDone);
    die_at_a_held_answer(&world, &Prune, &host, &with).await;
    let Reconciled::Partly(progress) = asked(&Prune, &host, &with).await else { panic!("two were begun") };
    let pruned = run_from(&Prune, &host, &with, Some(&progress)).await.unwrap();
    let names: Vec<&str> = reasons(&pruned["removed"]).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["c_a", "c_b", "c_c"]);
    let deletes = world.written().into_iter().filter(|line| line.contains("DELETE")).count();
    assert_eq!(deletes, 3, "each once");
    let again = run(&Prune, &host, &with).await.unwrap();
    assert_eq!(again, pruned, "and nothing where all is done");
}

#[tokio::test]
async fn a_dry_run_says_of_each_why() {
    let world = World::with_faults(1, "[]").await;
    let fetched = kept_on_server(&world, "c_a").await;
    let unknown = by_hand(&world, "c_b").await;
    seal(&world, std::slice::from_ref(&fetched));
    let with = pruning("c_*");
    let host = world.host().await;
    let found = Kind::preflight(&Prune, &host.ctx(Some("t")), given(with.clone())).await.unwrap();
    let inputs = given(with.clone());
    let shown = Prune.actions(Some("t"), &Given { with: &inputs.with, fill: None }, &found.facts).unwrap();
    let shown: Vec<(&str, bool)> = shown.iter().map(|action| (action.text.as_str(), action.writes)).collect();
    let (url, name) = (&world.urls[0], fetched["snapshots"][0]["name"].as_str().unwrap());
    let path = fetched["snapshots"][0]["artifact"]["path"].as_str().unwrap();
    assert_eq!(
        shown,
        [
            ("read points/*/manifest.json", false),
            (
                format!(
                    "DELETE {url}/collections/c_a/snapshots/{name}?wait=true (point {POINT} has it as {path})"
                )
                .as_str(),
                true
            ),
            (
                format!("keep {unknown} of c_b on {url}: no point knows it; `unknown: remove` removes such")
                    .as_str(),
                false
            ),
        ]
    );
    assert_eq!(world.written().iter().filter(|line| line.contains("DELETE")).count(), 0);
    let blind: Vec<_> =
        actions(&Prune, with.clone()).unwrap().into_iter().map(|action| action.text).collect();
    assert_eq!(
        blind[1..],
        [
            "GET the snapshots of c_* on every node",
            "DELETE what may go of the snapshots of c_* on every node"
        ]
    );
    let touched = touches(&Prune, with).unwrap();
    assert_eq!(
        (touched[0].resource.as_str(), touched[0].access),
        ("snapshots of collection c_*", Access::Destroys)
    );
    let absent = given(pruning("nobody"));
    let found = Kind::preflight(&Prune, &host.ctx(Some("t")), absent).await.unwrap();
    assert_eq!((found.findings[0].code.as_str(), found.findings[0].fatal), ("qdrant.absent", true));
}
