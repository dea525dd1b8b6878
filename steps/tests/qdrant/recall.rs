//! `qdrant.sample` and `qdrant.recall`: what a collection answered is found again, and what answers otherwise is noticed.

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::Request;
use drydock_step::test_host::{actions, given, touches};
use drydock_step::{Kind, Reconciled};
use drydock_steps::qdrant::recall::Recall;
use drydock_steps::qdrant::recover::Recover;
use drydock_steps::qdrant::sample::Sample;
use serde_json::{Value, json};

use super::recover::backup_of;
use super::world::{World, asked, die_at_a_held_answer, refused, run};

/// Inputs that sample a collection.
fn sampling(collection: &str) -> Value {
    json!({ "collection": collection, "to": "backups", "prefix": "points/p1/qdrant", "queries": 20, "k": 5 })
}

/// Inputs that compare a collection with a sample.
fn recalling(collection: &str, sample: &Value) -> Value {
    json!({ "collection": collection, "from": "backups", "samples": [sample] })
}

fn file(world: &World, sample: &Value) -> Value {
    let path = world.stored(sample["artifact"]["path"].as_str().unwrap());
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn chosen(world: &World, sample: &Value) -> Vec<Value> {
    file(world, sample)["queries"].as_array().unwrap().iter().map(|query| query["point"].clone()).collect()
}

/// Gives points new vectors under their old ids.
async fn rewrite(world: &World, collection: &str, ids: impl Iterator<Item = u64>) {
    let points: Vec<_> =
        ids.map(|id| json!({ "id": id, "vector": [1, 1000 - id], "payload": { "n": id } })).collect();
    let request = format!("PUT /collections/{collection}/points?wait=true");
    world.done(&request, Some(json!({ "points": points }))).await;
}

#[tokio::test]
async fn a_restored_collection_answers_as_it_did() {
    let Some(world) = World::start(1).await else { return };
    world.fill("n1", 60, 1).await;
    let host = world.host().await;
    let sample = run(&Sample, &host, &sampling("n1")).await.unwrap();
    let path = "points/p1/qdrant/n1.sample.json";
    assert_eq!(sample["artifact"]["path"], path);
    let told =
        json!([sample["collection"], sample["points"], sample["sampled"], sample["k"], sample["recall"]]);
    assert_eq!(told, json!(["n1", 60, 20, 5, 1.0]));
    let file = file(&world, &sample);
    assert_eq!((&file["format"], &file["version"]), (&json!("drydock.sample"), &json!(1)));
    for query in file["queries"].as_array().unwrap() {
        let id = query["point"].as_f64().unwrap();
        assert_eq!(query["vector"], json!([id, 1.0]));
        let nearest: Vec<&Value> =
            query["neighbours"].as_array().unwrap().iter().map(|one| &one["id"]).collect();
        assert_eq!(nearest, [60, 59, 58, 57, 56, 55], "the greatest have the greatest dot product");
        assert_eq!(query["neighbours"][0]["score"], json!(id * 60.0 + 1.0));
    }
    let mut backup = backup_of(&world, "n1").await;
    backup["collection"] = json!("n1_restored");
    world.done("DELETE /collections/n1_restored", None).await;
    run(&Recover, &host, &backup).await.unwrap();
    let found = run(&Recall, &host, &recalling("n1_restored", &sample)).await.unwrap();
    let whole = json!({ "recall": 1.0, "recall_then": 1.0, "agreement": 1.0, "queries": 20, "passed_over": 0, "worst": [] });
    assert_eq!(found, whole);
    world.done("DELETE /collections/n1_restored", None).await;
}

#[tokio::test]
async fn other_vectors_under_the_same_ids_are_noticed() {
    let Some(world) = World::start(1).await else { return };
    let host = world.host().await;
    world.fill("n2", 60, 1).await;
    let sample = run(&Sample, &host, &sampling("n2")).await.unwrap();
    rewrite(&world, "n2", 1..=60).await;
    assert_eq!(world.count("n2").await, 60, "a count shows nothing");
    let error = refused(
        run(&Recall, &host, &recalling("n2", &sample)).await,
        "qdrant.recall",
        "of the neighbours that were stored of n2, a search finds 0",
    );
    assert!(error.message.contains("at least 0.95 is wanted. The worst: around point "), "{error}");
    assert!(error.help.unwrap().starts_with("the data are others than those that were sampled"));

    // So few that every search finds all of them: the ids alone would show nothing either.
    world.fill("n2", 4, 1).await;
    let sample = run(&Sample, &world.host().await, &sampling("n2")).await.unwrap();
    rewrite(&world, "n2", 1..=4).await;
    let mut with = recalling("n2", &sample);
    let words = "a search finds 1 (then 1), and 0 are there with the scores that they had";
    refused(run(&Recall, &host, &with).await, "qdrant.recall", words);
    with["min_recall"] = json!(0);
    let found = run(&Recall, &host, &with).await.unwrap();
    assert_eq!((&found["recall"], &found["agreement"]), (&json!(1.0), &json!(0.0)));
    assert_eq!(found["worst"].as_array().unwrap().len(), 4);
}

/// A node before the world's own whose index finds every second hit alone: where it is not asked to compare all points.
async fn poor_index(world: &World) -> String {
    let (behind, http) = (world.urls[0].clone(), reqwest::Client::builder().no_proxy().build().unwrap());
    let forward = move |request: Request| {
        let (behind, http) = (behind.clone(), http.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = to_bytes(body, 1 << 20).await.unwrap();
            let poor = parts.uri.path().ends_with("/points/query")
                && !String::from_utf8_lossy(&body).contains("exact");
            let url = format!("{behind}{}", parts.uri.path_and_query().unwrap());
            let mut asked = http.request(parts.method, url).body(body);
            for name in ["api-key", "content-type"] {
                asked =
                    parts.headers.get(name).into_iter().fold(asked, |asked, value| asked.header(name, value));
            }
            let answer = asked.send().await.unwrap().bytes().await.unwrap();
            if !poor {
                return answer;
            }
            let mut answer: Value = serde_json::from_slice(&answer).unwrap();
            let hits = answer["result"]["points"].as_array_mut().unwrap();
            let mut at = 0;
            hits.retain(|_| {
                at += 1;
                at % 2 == 1
            });
            Bytes::from(answer.to_string())
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(forward)).await.unwrap() });
    format!("http://{address}")
}

#[tokio::test]
async fn an_index_that_finds_less_is_told_from_other_data() {
    let Some(world) = World::start(1).await else { return };
    world.fill("n12", 60, 1).await;
    let poor = world.host_at(&[poor_index(&world).await], &world.key).await;
    let sample = run(&Sample, &world.host().await, &sampling("n12")).await.unwrap();
    let mut with = recalling("n12", &sample);
    let words = "a search finds 0.6 (then 1), and 1 are there with the scores that they had";
    let error = refused(run(&Recall, &poor, &with).await, "qdrant.recall", words);
    assert!(error.help.unwrap().starts_with("the data are the same, and the index finds less than it did"));
    with["min_recall"] = json!(0.6);
    let found = run(&Recall, &poor, &with).await.unwrap();
    assert_eq!((&found["worst"][0]["found"], &found["worst"][0]["absent"]), (&json!(3), &json!(0)));

    // Where it was as poor at the backup, that is stored, and told.
    let sample = run(&Sample, &poor, &sampling("n12")).await.unwrap();
    assert_eq!(sample["recall"], 0.6);
    let found = run(&Recall, &poor, &recalling("n12", &sample)).await.unwrap();
    assert_eq!((&found["recall"], &found["recall_then"]), (&json!(0.6), &json!(0.6)), "no worse than then");
    let mut with = recalling("n12", &sample);
    with["min_recall"] = json!(0.95);
    let error = refused(
        run(&Recall, &poor, &with).await,
        "qdrant.recall",
        "a search finds 0.6 (then 0.6), and 1 are there",
    );
    assert!(error.help.unwrap().contains("`min_recall` is above what it ever was"));
    let found = run(&Recall, &world.host().await, &recalling("n12", &sample)).await.unwrap();
    assert_eq!((&found["recall"], &found["recall_then"]), (&json!(1.0), &json!(0.6)));
}

#[tokio::test]
async fn what_is_missing_is_counted_and_the_bound_decides() {
    let Some(world) = World::start(1).await else { return };
    let host = world.host().await;
    world.fill("n3", 60, 1).await;
    let sample = run(&Sample, &host, &sampling("n3")).await.unwrap();
    // The nearest of all searches but its own.
    world.done("POST /collections/n3/points/delete?wait=true", Some(json!({ "points": [60] }))).await;
    let mut with = recalling("n3", &sample);
    let error = refused(run(&Recall, &host, &with).await, "qdrant.recall", "at least 0.95 is wanted");
    assert!(
        error.message.contains("finds 4 of 5, and 5 of 6 have the scores that they had, and 1 are not there"),
        "{error}"
    );
    assert!(error.help.unwrap().starts_with("what is there is as it was, and some points are not there"));
    // A sample that is younger than the snapshot knows points that are not in it: their searches say nothing.
    with["absent"] = json!("pass_over");
    let found = run(&Recall, &host, &with).await.unwrap();
    assert_eq!(
        (&found["queries"], &found["passed_over"], &found["recall"]),
        (&json!(0), &json!(20), &json!(1.0))
    );
    with["absent"] = json!("fail");
    with["min_recall"] = json!(0.75);
    let found = run(&Recall, &host, &with).await.unwrap();
    let recall = found["recall"].as_f64().unwrap();
    assert!((0.78..0.85).contains(&recall), "{found}");
    assert_eq!(found["worst"][0]["absent"], 1);
}

#[tokio::test]
async fn small_and_empty_collections_are_sampled() {
    let Some(world) = World::start(1).await else { return };
    for (points, sampled) in [(0, 0), (1, 1), (3, 3), (19, 19), (21, 20)] {
        world.fill("n4", points, 1).await;
        let host = world.host().await;
        let sample = run(&Sample, &host, &sampling("n4")).await.unwrap();
        assert_eq!((&sample["points"], &sample["sampled"]), (&json!(points), &json!(sampled)));
        let found = run(&Recall, &host, &recalling("n4", &sample)).await.unwrap();
        let told = json!([found["recall"], found["agreement"], found["queries"]]);
        assert_eq!(told, json!([1.0, 1.0, sampled]), "{points} points");
    }
    let none = json!({ "collection": "n4", "from": "backups", "samples": [] });
    let found = run(&Recall, &world.host().await, &none).await.unwrap();
    assert_eq!((&found["queries"], &found["recall"]), (&json!(0), &json!(1.0)));
    // The one point of a collection has no neighbours, and its own score tells of it.
    world.fill("n4", 1, 1).await;
    let host = world.host().await;
    let sample = run(&Sample, &host, &sampling("n4")).await.unwrap();
    rewrite(&world, "n4", 1..=1).await;
    refused(run(&Recall, &host, &recalling("n4", &sample)).await, "qdrant.recall", "0 of 1 have the scores");
}

#[tokio::test]
async fn points_as_near_as_the_last_are_as_good() {
    let Some(world) = World::start(1).await else { return };
    world.fill("n5", 0, 1).await;
    let alike = |ids: std::ops::Range<u64>| {
        let points: Vec<_> = ids.map(|id| json!({ "id": id, "vector": [3, 4] })).collect();
        json!({ "points": points })
    };
    world.done("PUT /collections/n5/points?wait=true", Some(alike(10..40))).await;
    let host = world.host().await;
    let sample = run(&Sample, &host, &sampling("n5")).await.unwrap();
    // Others come first now, and none is nearer than those that were stored.
    world.done("PUT /collections/n5/points?wait=true", Some(alike(1..10))).await;
    let found = run(&Recall, &host, &recalling("n5", &sample)).await.unwrap();
    assert_eq!((&found["recall"], &found["agreement"]), (&json!(1.0), &json!(1.0)));
}

#[tokio::test]
async fn cosine_vectors_are_asked_as_they_are_stored() {
    let Some(world) = World::start(1).await else { return };
    world.done("DELETE /collections/n6", None).await;
    let config = json!({ "vectors": { "size": 3, "distance": "Cosine" } });
    world.done("PUT /collections/n6", Some(config)).await;
    let points: Vec<_> =
        (1..=40).map(|id| json!({ "id": id, "vector": [id, 40 - id, id * id % 7] })).collect();
    world.done("PUT /collections/n6/points?wait=true", Some(json!({ "points": points }))).await;
    let host = world.host().await;
    let sample = run(&Sample, &host, &sampling("n6")).await.unwrap();
    for query in file(&world, &sample)["queries"].as_array().unwrap() {
        let length: f64 =
            query["vector"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap().powi(2)).sum();
        assert!((length - 1.0).abs() < 1e-5, "{query}");
        assert_eq!(query["neighbours"][0]["id"], query["point"], "nothing is nearer than itself");
    }
    let found = run(&Recall, &host, &recalling("n6", &sample)).await.unwrap();
    assert_eq!((&found["recall"], &found["agreement"]), (&json!(1.0), &json!(1.0)));
}

/// A new collection of 30 points with `text`, of which the even ones have `image` as well, and those that 5 divides the
/// sparse `words`, with so many replicas of its two shards.
async fn fill_with_names(world: &World, collection: &str, replicas: usize) {
    world.done(&format!("DELETE /collections/{collection}"), None).await;
    let config = json!({
        "shard_number": 2, "replication_factor": replicas,
        "vectors": { "text": { "size": 2, "distance": "Dot" }, "image": { "size": 3, "distance": "Euclid" } },
        "sparse_vectors": { "words": {} },
    });
    world.done(&format!("PUT /collections/{collection}"), Some(config)).await;
    let point = |id: u64| {
        let mut vectors = json!({ "text": [id, 1] });
        if id.is_multiple_of(2) {
            vectors["image"] = json!([id, 0, 1]);
        }
        if id.is_multiple_of(5) {
            vectors["words"] = json!({ "indices": [7, 100 + id], "values": [id, 1] });
        }
        json!({ "id": id, "vector": vectors })
    };
    let points: Vec<_> = (1..=30).map(point).collect();
    let request = format!("PUT /collections/{collection}/points?wait=true");
    world.done(&request, Some(json!({ "points": points }))).await;
}

#[tokio::test]
async fn vectors_with_names_are_sampled_by_name() {
    let Some(world) = World::start(1).await else { return };
    fill_with_names(&world, "n7", 1).await;
    let host = world.host().await;
    let mut with = sampling("n7");
    refused(
        run(&Sample, &host, &with).await,
        "input",
        "collection n7 has several vectors, and one must be named: image, text, words",
    );
    with["using"] = json!("sound");
    refused(
        run(&Sample, &host, &with).await,
        "input",
        "collection n7 has no vector sound: image, text, words",
    );
    let mut samples = Vec::new();
    for (name, sampled) in [("text", 20), ("image", 15), ("words", 6)] {
        with["using"] = json!(name);
        let sample = run(&Sample, &host, &with).await.unwrap();
        assert_eq!(
            (&sample["using"], &sample["sampled"]),
            (&json!(name), &json!(sampled)),
            "the others lack it"
        );
        assert_eq!(sample["artifact"]["path"], format!("points/p1/qdrant/n7@{name}.sample.json"));
        samples.push(sample);
    }
    let words = &file(&world, &samples[2])["queries"][0];
    assert_eq!(words["vector"]["indices"][0], 7);
    assert_eq!(words["neighbours"].as_array().unwrap().len(), 6, "one more than the five that are wanted");

    let mut backup = backup_of(&world, "n7").await;
    backup["collection"] = json!("n7_restored");
    world.done("DELETE /collections/n7_restored", None).await;
    run(&Recover, &host, &backup).await.unwrap();
    let with = json!({ "collection": "n7_restored", "from": "backups", "samples": samples });
    let found = run(&Recall, &host, &with).await.unwrap();
    let whole = json!({ "recall": 1.0, "recall_then": 1.0, "agreement": 1.0, "queries": 41, "passed_over": 0, "worst": [] });
    assert_eq!(found, whole);

    // Where sparse vectors have other names, the server would know when the old data are gone; nothing is sent to it.
    let text = json!({ "size": 2, "distance": "Dot" });
    let others = json!({ "vectors": { "text": text, "image": { "size": 3, "distance": "Euclid" } }, "sparse_vectors": { "tags": {} }, "shard_number": 2 });
    world.done("DELETE /collections/n7_others", None).await;
    world.done("PUT /collections/n7_others", Some(others)).await;
    backup["collection"] = json!("n7_others");
    let words = "collection n7_others has the sparse vectors tags, and the snapshot has words";
    refused(run(&Recover, &host, &backup).await, "qdrant.compat", words);
    assert_eq!(world.count("n7_others").await, 0, "it can be read still");
    world.done("DELETE /collections/n7_others", None).await;

    // What is other than it was under one name is told with the name.
    let points: Vec<_> = (1..=30).map(|id| json!({ "id": id, "vector": { "text": [id, 1] } })).collect();
    let request = "PUT /collections/n7_restored/points?wait=true";
    world.done(request, Some(json!({ "points": points }))).await;
    let without = json!({ "collection": "n7_restored", "from": "backups", "samples": [samples[0]] });
    run(&Recall, &host, &without).await.unwrap();
    let error =
        refused(run(&Recall, &host, &with).await, "qdrant.recall", "of the neighbours that were stored");
    assert!(error.message.contains("image") || error.message.contains("words"), "{error}");
    world.done("DELETE /collections/n7_restored", None).await;
}

#[tokio::test]
async fn vectors_with_names_come_back_shard_by_shard() {
    let Some(world) = World::start(2).await else { return };
    fill_with_names(&world, "n12", 2).await;
    let host = world.host().await;
    let mut samples = Vec::new();
    for name in ["text", "image", "words"] {
        let mut with = sampling("n12");
        with["using"] = json!(name);
        samples.push(run(&Sample, &host, &with).await.unwrap());
    }
    let mut backup = backup_of(&world, "n12").await;
    assert!(backup["snapshot"]["snapshots"][0]["shard"].is_u64(), "one of a shard: {backup}");
    backup["collection"] = json!("n12_restored");
    world.done("DELETE /collections/n12_restored", None).await;
    // The collection is made first, with all its vectors, and filled then.
    let recovered = run(&Recover, &host, &backup).await.unwrap();
    assert_eq!(recovered["points"], 30);
    let params = async |name: &str| {
        let info = world.done(&format!("GET /collections/{name}"), None).await;
        info["config"]["params"]["sparse_vectors"].clone()
    };
    assert_eq!(params("n12_restored").await, params("n12").await);
    let with = json!({ "collection": "n12_restored", "from": "backups", "samples": samples });
    let found = run(&Recall, &host, &with).await.unwrap();
    assert_eq!(
        (&found["recall"], &found["agreement"], &found["queries"]),
        (&json!(1.0), &json!(1.0), &json!(41))
    );
    for name in ["n12", "n12_restored"] {
        world.done(&format!("DELETE /collections/{name}"), None).await;
    }
}

#[tokio::test]
async fn an_alias_is_its_collection() {
    let Some(world) = World::start(1).await else { return };
    world.fill("n8", 10, 1).await;
    let alias =
        json!({ "actions": [{ "create_alias": { "collection_name": "n8", "alias_name": "n8_now" } }] });
    world.done("POST /collections/aliases", Some(alias)).await;
    let sample = run(&Sample, &world.host().await, &sampling("n8_now")).await.unwrap();
    assert_eq!(
        (&sample["collection"], &sample["artifact"]["path"]),
        (&json!("n8"), &json!("points/p1/qdrant/n8.sample.json"))
    );
    world.done("DELETE /collections/n8", None).await;
}

#[tokio::test]
async fn a_resumed_attempt_samples_the_same_points() {
    let held = r#"[{"attempt": "*", "op": "POST */points/query", "nth": 5, "do": "hold"}]"#;
    let world = World::with_faults(1, held).await;
    world.fill("c", 500, 1).await;
    let host = world.host().await;
    let with = sampling("c");
    assert_eq!(asked(&Sample, &host, &with).await, Reconciled::NotDone);
    die_at_a_held_answer(&world, &Sample, &host, &with).await;
    assert_eq!(asked(&Sample, &host, &with).await, Reconciled::NotDone, "nothing is in the store");
    // Points that came since would be chosen, were it not for what was noted.
    world.upsert("c", 501..=1500).await;
    let scrolls = world.asked("points/scroll");
    let sample = run(&Sample, &host, &with).await.unwrap();
    assert_eq!(world.asked("points/scroll"), scrolls, "the choice was made once");
    let points = chosen(&world, &sample);
    assert!(points.iter().all(|id| id.as_u64().unwrap() <= 500), "{points:?}");

    let Reconciled::Done(outputs) = asked(&Sample, &host, &with).await else { panic!("it is done") };
    assert_eq!(outputs, sample);
    let queries = world.asked("points/query");
    let mut ctx = host.ctx(Some("t"));
    ctx.attempt = "r1/step/2".into();
    Kind::execute(&Sample, &ctx, given(with.clone()), None).await.unwrap();
    assert!(world.asked("points/query") > queries, "a step that is asked to run again samples anew");
}

#[tokio::test]
async fn a_run_chooses_its_own_points() {
    let Some(world) = World::start(1).await else { return };
    world.fill("n9", 500, 1).await;
    let first = chosen(&world, &run(&Sample, &world.host().await, &sampling("n9")).await.unwrap());
    let again = chosen(&world, &run(&Sample, &world.host().await, &sampling("n9")).await.unwrap());
    assert_eq!(first, again);
    let mut ctx = world.host().await.ctx(Some("t"));
    (ctx.run, ctx.attempt) = ("r2".into(), "r2/step/1".into());
    let ended = Kind::execute(&Sample, &ctx, given(sampling("n9")), None).await.unwrap();
    let drydock_step::Ended::Outputs(other) = ended else { panic!("it waits") };
    assert_ne!(chosen(&world, &other), first);
}

/// Every version that was ever written is read.
#[tokio::test]
async fn an_old_sample_is_asked_still() {
    let Some(world) = World::start(1).await else { return };
    world.fill("n11", 4, 1).await;
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/formats/sample-v1.json");
    let text = std::fs::read(golden).unwrap();
    std::fs::create_dir_all(world.stored("q")).unwrap();
    std::fs::write(world.stored("q/old.sample.json"), &text).unwrap();
    let artifact =
        json!({ "path": "q/old.sample.json", "size": text.len(), "sha256": super::fetch::sha256(&text) });
    let sample = json!({ "sampled": 2, "k": 2, "recall": 0.75, "artifact": artifact });
    let found = run(&Recall, &world.host().await, &recalling("n11", &sample)).await.unwrap();
    let told = json!([found["recall"], found["recall_then"], found["agreement"], found["queries"]]);
    assert_eq!(told, json!([1.0, 0.75, 1.0, 2]));
}

#[tokio::test]
async fn a_sample_that_is_not_what_was_stored_is_refused() {
    let Some(world) = World::start(1).await else { return };
    world.fill("n10", 10, 1).await;
    let host = world.host().await;
    let mut sample = run(&Sample, &host, &sampling("n10")).await.unwrap();
    let path = world.stored(sample["artifact"]["path"].as_str().unwrap());
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"k\":5", "\"k\":6")).unwrap();
    refused(run(&Recall, &host, &recalling("n10", &sample)).await, "artifact.damaged", "and is now");
    let mut put = async |text: &str| {
        std::fs::write(&path, text).unwrap();
        sample["artifact"]["size"] = json!(text.len());
        sample["artifact"]["sha256"] = json!(super::fetch::sha256(text.as_bytes()));
        run(&Recall, &host, &recalling("n10", &sample)).await
    };
    let newer = put(r#"{"format":"drydock.sample","version":2}"#).await;
    refused(newer, "qdrant.sample", "it has version 2, and this Drydock reads versions up to 1");
    refused(put("[]").await, "qdrant.sample", "is no sample that can be read");
    std::fs::remove_file(&path).unwrap();
    let error =
        refused(run(&Recall, &host, &recalling("n10", &sample)).await, "artifact.absent", "n10.sample.json");
    assert!(error.help.unwrap().contains("what was restored is not worse for it"));
    world.done("DELETE /collections/n10", None).await;
    refused(run(&Sample, &host, &sampling("n10")).await, "qdrant.absent", "Collection `n10` doesn't exist!");
}

#[tokio::test]
async fn inputs_that_cannot_be_meant_are_refused() {
    let world = World::with_faults(1, "[]").await;
    let host = world.host().await;
    let of = |key: &str, value: Value| {
        let mut with = sampling("c");
        with[key] = value;
        with
    };
    refused(
        run(&Sample, &host, &of("queries", json!(0))).await,
        "input",
        "`queries` is 0, and must be 1 to 1000",
    );
    refused(run(&Sample, &host, &of("k", json!(1001))).await, "input", "`k` is 1001, and must be 1 to 1000");
    let with = json!({ "collection": "c", "from": "backups", "samples": [], "min_recall": 95 });
    refused(run(&Recall, &host, &with).await, "input", "`min_recall` is 95, and must be 0 to 1");
}

#[tokio::test]
async fn dry_runs_show_what_is_asked() {
    let texts = |kind: &dyn Kind, with: Value| {
        actions(kind, with).unwrap().into_iter().map(|action| action.text).collect::<Vec<_>>()
    };
    assert_eq!(
        texts(&Sample, sampling("a b")),
        [
            "POST /collections/a%20b/points/scroll: all ids, of which 20 are chosen",
            "POST /collections/a%20b/points/query: the 5 nearest to each, exactly and by the index",
            "store points/p1/qdrant/a%20b.sample.json",
        ]
    );
    let sample = json!({ "sampled": 7, "k": 5, "recall": 1, "artifact": { "path": "q/a", "size": 1, "sha256": "00" } });
    assert_eq!(
        texts(&Recall, recalling("c", &sample)),
        ["read q/a", "POST /collections/c/points/query: 7 queries, exactly and by the index"]
    );
    let later = json!({ "collection": "c", "from": "backups", "samples": { "$after": ["point"] } });
    let expected =
        "POST /collections/c/points/query: the queries of (known after point), exactly and by the index";
    assert_eq!(texts(&Recall, later), [expected]);
    let touched = touches(&Recall, recalling("c", &sample)).unwrap();
    let touched: Vec<_> = touched.iter().map(|touch| touch.resource.as_str()).collect();
    assert_eq!(touched, ["collection c", "path q/a"]);
}
