//! `qdrant.recover` under other names, by aliases, and from where servers fetch by themselves.

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use drydock_step::Kind;
use drydock_step::test_host::{TestHost, actions, given};
use drydock_steps::qdrant::recover::Recover;
use serde_json::{Value, json};

use super::recover::backup_of;
use super::world::{World, connection, refused, run};

fn with(backup: &Value, more: Value) -> Value {
    let mut backup = backup.clone();
    backup.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    backup
}

async fn alias(world: &World, name: &str, collection: &str) {
    let actions = json!([{ "create_alias": { "collection_name": collection, "alias_name": name } }]);
    world.done("POST /collections/aliases", Some(json!({ "actions": actions }))).await;
}

/// The collection that an alias leads to.
async fn leads_to(world: &World, name: &str) -> String {
    let aliases = world.done("GET /aliases", None).await;
    let found = aliases["aliases"].as_array().unwrap().iter().find(|one| one["alias_name"] == name);
    found.unwrap()["collection_name"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_drill_recovers_under_another_name_and_leaves_the_aliases() {
    let Some(world) = World::start(1).await else { return };
    world.fill("w1", 10, 1).await;
    alias(&world, "now_w1", "w1").await;
    let backup = backup_of(&world, "w1").await;
    world.upsert("w1", 11..=20).await;
    let drill = with(&backup, json!({ "rename": { "pattern": "w*", "to": "drill_w*" } }));
    let recovered = run(&Recover, &world.host().await, &drill).await.unwrap();
    assert_eq!((&recovered["collection"], &recovered["points"]), (&json!("drill_w1"), &json!(10)));
    assert_eq!((world.count("w1").await, leads_to(&world, "now_w1").await), (json!(20), "w1".to_owned()));
    world.done("DELETE /collections/drill_w1", None).await;
    let other = with(&backup, json!({ "rename": { "pattern": "agent_*", "to": "drill_*" } }));
    refused(run(&Recover, &world.host().await, &other).await, "input", "has no name for collection w1");
    assert_eq!(world.count("w1").await, 20);
}

#[tokio::test]
async fn an_alias_is_switched_over_to_what_was_recovered() {
    let Some(world) = World::start(1).await else { return };
    world.fill("w2", 10, 1).await;
    alias(&world, "now_w2", "w2").await;
    let backup = with(&backup_of(&world, "w2").await, json!({ "strategy": "swap" }));
    world.upsert("w2", 11..=20).await;

    let recovered = run(&Recover, &world.host().await, &backup).await.unwrap();
    let new = recovered["collection"].as_str().unwrap().to_owned();
    assert!(new.starts_with("w2__dd_"), "{new}");
    assert_eq!((&recovered["strategy"], &recovered["replaced"]), (&json!("swap"), &json!(["w2"])));
    assert_eq!((world.count("now_w2").await, world.count("w2").await), (json!(10), json!(20)));
    assert_eq!(leads_to(&world, "now_w2").await, new);

    // Of what was switched over to a snapshot is made in turn, and the name does not grow.
    world.pass_second();
    let dropping = with(&backup_of(&world, &new).await, json!({ "strategy": "swap", "drop_replaced": true }));
    world.upsert(&new, 11..=15).await;
    let store = connection("artifacts", json!({ "url": "store" }), &world).await;
    let host = TestHost::new(world.dir.path()).attempt("r1/another/1");
    let host = host.target("t", world.connected(&world.urls, &world.key).await).target("backups", store);
    let host = std::sync::Arc::new(host);
    let again = run(&Recover, &host, &dropping).await.unwrap();
    let newer = again["collection"].as_str().unwrap();
    assert!(newer.starts_with("w2__dd_") && newer.len() == new.len() && newer != new, "{newer} after {new}");
    assert_eq!((&again["replaced"], world.count("now_w2").await), (&json!([new]), json!(10)));
    assert_eq!(world.names().await, ["w2", newer], "what was replaced is gone, and nothing else");
    for name in ["w2", newer] {
        world.done(&format!("DELETE /collections/{name}"), None).await;
    }
}

#[tokio::test]
async fn without_an_alias_there_is_nothing_to_switch() {
    let world = World::with_faults(1, "[]").await;
    world.fill("w3", 10, 1).await;
    let plain = with(&backup_of(&world, "w3").await, json!({ "strategy": "swap" }));
    let before = world.written();
    refused(run(&Recover, &world.host().await, &plain).await, "qdrant.swap", "no alias led to collection w3");
    let mut taken = plain.clone();
    taken["snapshot"]["aliases"] = json!(["w3"]);
    refused(
        run(&Recover, &world.host().await, &taken).await,
        "qdrant.swap",
        "w3 was an alias of collection w3",
    );
    let host = world.host().await;
    let found = Kind::preflight(&Recover, &host.ctx(Some("t")), given(taken)).await.unwrap();
    assert!(found.findings.iter().any(|one| one.code == "qdrant.swap" && one.fatal), "{found:?}");
    assert_eq!(world.written(), before);
}

#[tokio::test]
async fn servers_fetch_from_this_process() {
    let Some(world) = World::start(2).await else { return };
    world.fill("w4", 50, 2).await;
    let backup = backup_of(&world, "w4").await;
    world.done("DELETE /collections/w4", None).await;
    let before = world.written().len();
    let serving = with(&backup, json!({ "by": "serve", "serve": { "bind": "127.0.0.1:0" } }));
    let recovered = run(&Recover, &world.host().await, &serving).await.unwrap();
    assert_eq!((&recovered["points"], world.count("w4").await), (&json!(50), json!(50)));
    if world.is_practice() {
        let written = &world.written()[before..];
        let expected: Vec<_> =
            (0..2).map(|node| format!("qdrant-{node} PUT /collections/w4/snapshots/recover")).collect();
        assert_eq!(written, expected, "and nothing is left to be removed");
    }
}

#[tokio::test]
async fn an_address_that_nobody_reaches_is_refused() {
    let world = World::with_faults(1, "[]").await;
    world.fill("w5", 5, 1).await;
    let backup = backup_of(&world, "w5").await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let cases = [
        (json!({ "bind": taken }), "files cannot be served at 127.0.0.1"),
        (json!({ "bind": "0.0.0.0:0" }), "no address that a server could fetch from"),
        (json!({ "bind": "127.0.0.1:0", "url": "ftp://h" }), "ftp://h is no http or https URL"),
    ];
    for (at, words) in cases {
        let serving = with(&backup, json!({ "by": "serve", "serve": at }));
        refused(run(&Recover, &world.host().await, &serving).await, "qdrant.serve", words);
    }
    let elsewhere = json!({ "by": "serve", "serve": { "bind": "127.0.0.1:0", "url": "http://127.0.0.1:9" } });
    let error = run(&Recover, &world.host().await, &with(&backup, elsewhere)).await.unwrap_err();
    assert_eq!(error.code, "qdrant.server", "{error}");
    assert!(error.message.contains("did not prove good"), "{error}");
    assert_eq!(world.count("w5").await, 5);
}

#[tokio::test]
async fn servers_fetch_from_the_store_s_own_address() {
    let world = World::with_faults(1, "[]").await;
    world.fill("w6", 50, 1).await;
    let backup = with(&backup_of(&world, "w6").await, json!({ "by": "store" }));
    refused(run(&Recover, &world.host().await, &backup).await, "input", "has no address for them");
    world.done("DELETE /collections/w6", None).await;

    let folder = world.stored("");
    let file = move |Path(path): Path<String>| {
        let folder = folder.clone();
        async move { std::fs::read(folder.join(path)).unwrap() }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let served_at = format!("http://{}/store", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        axum::serve(listener, Router::new().route("/store/{*path}", get(file))).await.unwrap();
    });
    let store = connection("artifacts", json!({ "url": "store", "served_at": served_at }), &world).await;
    let host = TestHost::new(world.dir.path());
    let host = host.target("t", world.connected(&world.urls, &world.key).await).target("backups", store);
    let recovered = run(&Recover, &std::sync::Arc::new(host), &backup).await.unwrap();
    assert_eq!((&recovered["points"], world.count("w6").await), (&json!(50), json!(50)));
    serving.abort();
}

#[tokio::test]
async fn inputs_that_do_not_go_together_are_told_before_there_is_a_server() {
    let world = World::with_faults(1, "[]").await;
    world.fill("w7", 5, 1).await;
    let backup = backup_of(&world, "w7").await;
    let rename = json!({ "pattern": "w*", "to": "drill_w*" });
    let cases = [
        (json!({ "rename": rename, "collection": "x" }), "`rename` and `collection` both name"),
        (json!({ "rename": { "pattern": "w*", "to": "drill" } }), "must have as many `*`"),
        (json!({ "strategy": "swap", "rename": rename }), "`strategy` swap names the collection by itself"),
        (json!({ "drop_replaced": true }), "`drop_replaced` goes with `strategy: swap` alone"),
        (json!({ "by": "serve" }), "`by: serve` needs `serve: { bind: ADDRESS:PORT }`"),
        (json!({ "serve": { "bind": "h:1" } }), "`serve` goes with `by: serve` alone"),
    ];
    for (more, words) in cases {
        let with = with(&backup, more);
        let owned = given(with.clone());
        let error =
            Kind::judge(&Recover, &drydock_step::Given { with: &owned.with, fill: None }).unwrap_err();
        assert!(error.message.contains(words), "{error} does not say {words}");
        let shown = actions(&Recover, with).unwrap();
        assert!(shown[0].text.contains(words), "{shown:?}");
    }
}
