//! `qdrant.recover`: what is there afterwards, and what never reaches the server.

use drydock_step::test_host::{actions, given, touches};
use drydock_step::{Access, Given, Kind};
use drydock_steps::bytes::size;
use drydock_steps::qdrant::fetch::Fetch;
use drydock_steps::qdrant::recover::Recover;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::fetch::{fetching, snapshot_of};
use super::world::{READ_ONLY_KEY, World, refused, run};

/// The inputs that recover a collection as it is now.
pub(crate) async fn backup_of(world: &World, collection: &str) -> Value {
    let snapshot = snapshot_of(world, collection).await;
    let fetched = run(&Fetch, &world.host().await, &fetching(&snapshot)).await.unwrap();
    json!({ "from": "backups", "snapshot": fetched })
}

/// Damages a stored file in a way that only loading it shows, and has the backup say so of it.
fn damage(world: &World, backup: &mut Value) {
    let artifact = &mut backup["snapshot"]["snapshots"][0]["artifact"];
    let path = world.stored(artifact["path"].as_str().unwrap());
    let mut bytes = std::fs::read(&path).unwrap();
    let mark = b"{\"initial_version";
    let at = bytes.windows(mark.len()).position(|window| window == mark).unwrap();
    bytes[at] = b'X';
    artifact["sha256"] =
        json!(Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    std::fs::write(&path, bytes).unwrap();
}

fn with(backup: &Value, more: Value) -> Value {
    let mut backup = backup.clone();
    backup.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    backup
}

async fn listed(world: &World, collection: &str) -> usize {
    let mut all = 0;
    for node in 0..world.urls.len() {
        all += world
            .snapshots(node, collection)
            .await
            .iter()
            .filter(|name| name.starts_with("drydock-"))
            .count();
    }
    all
}

#[tokio::test]
async fn an_absent_collection_comes_back_with_all_that_belongs_to_it() {
    let Some(world) = World::start(1).await else { return };
    world.fill("r1", 50, 1).await;
    let index = json!({ "field_name": "n", "field_schema": "integer" });
    world.done("PUT /collections/r1/index?wait=true", Some(index)).await;
    let alias =
        json!({ "actions": [{ "create_alias": { "collection_name": "r1", "alias_name": "current_r1" } }] });
    world.done("POST /collections/aliases", Some(alias)).await;
    let backup = backup_of(&world, "r1").await;
    let before = world.written().len();
    world.done("DELETE /collections/r1", None).await;

    let recovered = run(&Recover, &world.host().await, &backup).await.unwrap();
    let nodes = json!([{ "node": world.urls[0], "points": 50, "shards": [0] }]);
    let expected = json!({
        "collection": "r1", "points": 50, "status": "green", "strategy": "straight", "nodes": nodes, "replaced": [],
        "left_on_server": [],
    });
    assert_eq!(recovered, expected);
    assert_eq!(world.count("r1").await, 50);
    assert_eq!(
        world.done("GET /collections/current_r1", None).await["payload_schema"]["n"]["data_type"],
        "integer"
    );
    assert_eq!(listed(&world, "r1").await, 0, "the uploaded file is removed");
    if world.is_practice() {
        let written = &world.written()[before..];
        assert_eq!(
            written[..2],
            ["qdrant POST /collections/r1/snapshots/upload", "qdrant POST /collections/aliases"]
        );
        assert!(written[2].starts_with("qdrant DELETE /collections/r1/snapshots/drydock-"), "{written:?}");
        assert_eq!(written.len(), 3);
    }
}

#[tokio::test]
async fn every_node_gets_its_own_file_again() {
    let Some(world) = World::start(2).await else { return };
    world.fill("r2", 100, 2).await;
    let backup = backup_of(&world, "r2").await;
    let before = world.done("GET /collections/r2/cluster", None).await["local_shards"].clone();
    world.done("DELETE /collections/r2", None).await;
    let recovered = run(&Recover, &world.host().await, &backup).await.unwrap();
    assert_eq!((&recovered["points"], &recovered["strategy"]), (&json!(100), &json!("straight")));
    assert_eq!(world.done("GET /collections/r2/cluster", None).await["local_shards"], before);
}

#[tokio::test]
async fn what_is_there_is_replaced_once_the_snapshot_is_proved() {
    let Some(world) = World::start(1).await else { return };
    world.fill("r3", 10, 1).await;
    let backup = backup_of(&world, "r3").await;
    world.upsert("r3", 11..=30).await;
    let before = world.written().len();
    let recovered = run(&Recover, &world.host().await, &backup).await.unwrap();
    assert_eq!((&recovered["points"], &recovered["strategy"]), (&json!(10), &json!("prove")));
    assert_eq!((world.count("r3").await, listed(&world, "r3").await), (json!(10), 0));
    assert!(world.names().await.iter().all(|name| !name.starts_with("drydock_scratch_r3")));
    if world.is_practice() {
        let ops = world.written()[before..].to_vec();
        let begins = [
            "qdrant POST /collections/drydock_scratch_r3_",
            "qdrant DELETE /collections/drydock_scratch_r3_",
            "qdrant DELETE /collections/drydock_scratch_r3_",
            "qdrant POST /collections/r3/snapshots/upload",
            "qdrant DELETE /collections/r3/snapshots/drydock-",
        ];
        assert_eq!(ops.len(), begins.len(), "{ops:?}");
        assert!(ops.iter().zip(begins).all(|(op, begin)| op.starts_with(begin)), "{ops:?}");
        assert!(ops[1].contains("/snapshots/drydock-"), "the file before the collection that it belongs to");
    }
    world.upsert("r3", 11..=30).await;
    let at_once =
        run(&Recover, &world.host().await, &with(&backup, json!({ "strategy": "in_place" }))).await.unwrap();
    assert_eq!((&at_once["points"], &at_once["strategy"]), (&json!(10), &json!("in_place")));
}

#[tokio::test]
async fn under_another_name_it_stands_beside_the_old() {
    let Some(world) = World::start(1).await else { return };
    world.fill("r4", 10, 1).await;
    world.done("DELETE /collections/r4_copy", None).await;
    let backup = backup_of(&world, "r4").await;
    let recovered =
        run(&Recover, &world.host().await, &with(&backup, json!({ "collection": "r4_copy" }))).await.unwrap();
    assert_eq!((&recovered["collection"], &recovered["points"]), (&json!("r4_copy"), &json!(10)));
    assert_eq!(world.count("r4").await, 10);
}

#[tokio::test]
async fn a_damaged_file_is_never_sent() {
    let Some(world) = World::start(1).await else { return };
    world.fill("r5", 10, 1).await;
    let backup = backup_of(&world, "r5").await;
    let before = world.written().len();
    let path = world.stored(backup["snapshot"]["snapshots"][0]["artifact"]["path"].as_str().unwrap());
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let expected = backup["snapshot"]["snapshots"][0]["artifact"]["sha256"].as_str().unwrap();
    let error = refused(run(&Recover, &world.host().await, &backup).await, "artifact.damaged", expected);
    assert!(error.message.ends_with("it was not sent"), "{error}");
    bytes.truncate(100);
    std::fs::write(&path, &bytes).unwrap();
    refused(run(&Recover, &world.host().await, &backup).await, "artifact.damaged", "and 100 bytes, expected");
    std::fs::remove_file(&path).unwrap();
    refused(
        run(&Recover, &world.host().await, &backup).await,
        "artifact.absent",
        "there is no artifact points/p1",
    );
    assert_eq!((world.count("r5").await, world.written().len()), (json!(10), before));
}

#[tokio::test]
async fn a_snapshot_that_does_not_load_leaves_what_was_there() {
    let world = World::with_faults(1, "[]").await;
    world.fill("c", 10, 1).await;
    let mut backup = backup_of(&world, "c").await;
    damage(&world, &mut backup);
    world.upsert("c", 11..=30).await;
    let words = "the snapshot of c did not prove good, and the collection was left as it is";
    let error = refused(run(&Recover, &world.host().await, &backup).await, "qdrant.server", words);
    assert!(error.message.contains("Failed to read segment state"), "{error}");
    assert_eq!((world.count("c").await, world.names().await), (json!(30), vec!["c".to_owned()]));

    let host = world.host().await;
    let in_place = with(&backup, json!({ "strategy": "in_place" }));
    let words = "collection c is broken now and was left: POST";
    refused(run(&Recover, &host, &in_place).await, "qdrant.server", words);
    let (status, _) = world.ask(0, "POST /collections/c/points/count", Some(json!({}))).await;
    assert_eq!(status, 500, "as it was told");
}

#[tokio::test]
async fn what_a_failure_made_is_removed_again() {
    let world = World::with_faults(1, "[]").await;
    world.fill("c", 10, 1).await;
    let mut backup = backup_of(&world, "c").await;
    let good =
        std::fs::read(world.stored(backup["snapshot"]["snapshots"][0]["artifact"]["path"].as_str().unwrap()))
            .unwrap();
    let whole = backup.clone();
    damage(&world, &mut backup);
    world.done("DELETE /collections/c", None).await;
    let host = world.host().await;
    let words = "what there was of collection c was removed again";
    refused(run(&Recover, &host, &backup).await, "qdrant.server", words);
    assert_eq!(world.names().await, Vec::<String>::new());
    std::fs::write(
        world.stored(whole["snapshot"]["snapshots"][0]["artifact"]["path"].as_str().unwrap()),
        good,
    )
    .unwrap();
    let recovered = run(&Recover, &host, &whole).await.unwrap();
    assert_eq!((&recovered["points"], &recovered["strategy"]), (&json!(10), &json!("straight")));
    assert_eq!(listed(&world, "c").await, 0);
}

#[tokio::test]
async fn what_a_recovery_has_broken_goes_or_stays_as_the_plan_says() {
    let world = World::with_faults(1, "[]").await;
    for (was_there, on_broken, stays) in
        [(true, "remove", false), (true, "keep", true), (false, "keep", true), (false, "remove", false)]
    {
        world.fill("c", 10, 1).await;
        world.pass_second();
        let mut backup = backup_of(&world, "c").await;
        damage(&world, &mut backup);
        if !was_there {
            world.done("DELETE /collections/c", None).await;
        }
        let with = with(&backup, json!({ "strategy": "in_place", "on_broken": on_broken }));
        let words = if stays { "is broken now and was left" } else { "was removed again" };
        refused(run(&Recover, &world.host().await, &with).await, "qdrant.server", words);
        assert_eq!(world.names().await.contains(&"c".to_owned()), stays, "{was_there} {on_broken}");
    }
}

#[tokio::test]
async fn a_count_outside_the_band_is_an_error() {
    let Some(world) = World::start(1).await else { return };
    world.fill("r8", 10, 1).await;
    let mut backup = backup_of(&world, "r8").await;
    backup["snapshot"]["points"] = json!({ "low": 12, "high": 20 });
    let words = "has 10 points, and the snapshot should have 12 to 20";
    refused(run(&Recover, &world.host().await, &backup).await, "qdrant.count", words);
    assert!(world.names().await.iter().all(|name| !name.starts_with("drydock_scratch_r8")));
    world.done("DELETE /collections/r8", None).await;
    refused(run(&Recover, &world.host().await, &backup).await, "qdrant.count", words);
    assert_eq!(world.count("r8").await, 10, "the data are good to look at");
    let wider = with(&backup, json!({ "points": [10, 20] }));
    assert_eq!(run(&Recover, &world.host().await, &wider).await.unwrap()["points"], 10);
}

#[tokio::test]
async fn what_cannot_work_is_refused_before_anything_is_sent() {
    let world = World::with_faults(1, "[]").await;
    world.fill("c", 10, 1).await;
    let backup = backup_of(&world, "c").await;
    let before = world.written();
    let alias = json!({ "actions": [{ "create_alias": { "collection_name": "c", "alias_name": "now" } }] });
    world.done("POST /collections/aliases", Some(alias)).await;
    let other = json!({ "vectors": { "size": 3, "distance": "Dot" } });
    world.done("PUT /collections/other", Some(other)).await;
    let mut two = backup.clone();
    let mut second = two["snapshot"]["snapshots"][0].clone();
    second["node"] = json!("http://second:6333");
    two["snapshot"]["snapshots"].as_array_mut().unwrap().push(second);
    let mut custom = with(&backup, json!({ "collection": "new" }));
    custom["snapshot"]["params"]["sharding_method"] = json!("custom");
    let cases = [
        (with(&backup, json!({ "collection": "now" })), "qdrant.alias", "now is an alias of collection c"),
        (with(&backup, json!({ "collection": "other" })), "qdrant.compat", "collection other has `vectors`"),
        (
            with(&backup, json!({ "version": "1.19.0" })),
            "qdrant.version",
            "the server is Qdrant 1.17.1, and the snapshot was made by 1.19.0",
        ),
        (two, "qdrant.topology", "is no cluster, which takes only a file with all shards"),
        (custom, "qdrant.sharding", "has shard keys of its own"),
    ];
    let host = world.host().await;
    for (with, code, words) in cases {
        let found = Kind::preflight(&Recover, &host.ctx(Some("t")), given(with.clone())).await.unwrap();
        assert!(found.findings.iter().any(|one| one.code == code && one.fatal), "{code}: {found:?}");
        refused(run(&Recover, &host, &with).await, code, words);
    }
    assert_eq!(world.written(), before);
}

#[tokio::test]
async fn a_key_that_may_only_read_is_told_so() {
    let world = World::with_faults(1, "[]").await;
    world.fill("c", 10, 1).await;
    let backup = backup_of(&world, "c").await;
    world.done("DELETE /collections/c", None).await;
    let host = world.host_at(&world.urls, READ_ONLY_KEY).await;
    refused(run(&Recover, &host, &backup).await, "qdrant.key", "Global manage access is required");
}

#[tokio::test]
async fn a_key_that_may_only_read_is_told_so_also_where_the_server_hangs_up() {
    let hangs_up = r#"[{"attempt": "*", "op": "POST */upload", "times": 9, "do": "cut_before"}]"#;
    let world = World::with_faults(1, hangs_up).await;
    world.fill("c", 10, 1).await;
    let backup = backup_of(&world, "c").await;
    let in_place = with(&backup, json!({ "strategy": "in_place" }));
    let host = world.host_at(&world.urls, READ_ONLY_KEY).await;
    refused(run(&Recover, &host, &in_place).await, "qdrant.key", "Global manage access is required");
    let error =
        refused(run(&Recover, &world.host().await, &in_place).await, "qdrant.lost", "/c/snapshots/upload");
    assert!(error.unknown, "three times nobody answered");
    assert_eq!(world.count("c").await, 10);
}

#[tokio::test]
async fn a_dry_run_shows_what_is_sent_and_lost() {
    let world = World::with_faults(1, "[]").await;
    world.fill("c", 10, 1).await;
    let backup = backup_of(&world, "c").await;
    let artifact = &backup["snapshot"]["snapshots"][0]["artifact"];
    let (path, sha256) = (artifact["path"].as_str().unwrap(), artifact["sha256"].as_str().unwrap());
    let length = artifact["size"].as_f64().unwrap();
    let touched = touches(&Recover, backup.clone()).unwrap();
    let touched: Vec<_> =
        touched.iter().map(|one| (one.target.as_deref(), one.resource.as_str(), one.access)).collect();
    let read = format!("path {path}");
    assert_eq!(
        touched,
        [(Some("backups"), read.as_str(), Access::Reads), (Some("t"), "collection c", Access::Destroys)]
    );
    let plain = actions(&Recover, backup.clone()).unwrap();
    assert_eq!(plain.len(), 7, "unknown whether it is there: the proof is shown");
    assert_eq!(
        plain[3].text,
        "DELETE /collections/drydock_scratch_c_attempt/snapshots/drydock-{file}?wait=true for each file that was sent"
    );

    let found =
        Kind::preflight(&Recover, &world.host().await.ctx(Some("t")), given(backup.clone())).await.unwrap();
    assert_eq!(found.findings[0].message, "collection c is there, with 10 points, and will be replaced");
    world.done("DELETE /collections/c", None).await;
    let found =
        Kind::preflight(&Recover, &world.host().await.ctx(Some("t")), given(backup.clone())).await.unwrap();
    assert_eq!((found.findings.len(), &found.facts), (0, &json!({ "exists": false, "nodes": world.urls })));
    let owned = given(backup.clone());
    let shown =
        Kind::actions(&Recover, Some("t"), &Given { with: &owned.with, fill: None }, &found.facts).unwrap();
    let upload = format!(
        "POST {}/collections/c/snapshots/upload?wait=true&priority=snapshot&checksum={sha256} with {path}",
        world.urls[0]
    );
    assert_eq!(
        shown.iter().map(|action| action.text.clone()).collect::<Vec<_>>(),
        [
            format!("read {path} back and hash it"),
            format!(
                "nodes need about {} free while it is recovered, beside what is there",
                size(2.0 * length)
            ),
            upload,
            "DELETE /collections/c/snapshots/drydock-{file}?wait=true for each file that was sent".to_owned(),
        ]
    );
    std::fs::remove_file(world.stored(path)).unwrap();
    let found = Kind::preflight(&Recover, &world.host().await.ctx(Some("t")), given(backup)).await.unwrap();
    assert_eq!((found.findings[0].code.as_str(), found.findings[0].fatal), ("artifact.absent", true));
}
