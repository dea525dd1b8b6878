//! What is told of `sqlserver.restore` before it runs.

use std::sync::Arc;

use drydock_step::Kind;
use drydock_step::test_host::given;
use drydock_steps::sqlserver::restore::Restore;
use serde_json::{Value, json};

use crate::restore_story::{assert_found, found, story, with};
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn what_only_a_larger_edition_has_is_found_before() {
    let world = World::practice().await;
    surround(&world, json!({ "edition_features": ["Compression", "TransparentDataEncryption"] }));
    let chain = story(&world).await;
    assert_eq!(chain["backups"][0]["edition_features"], json!(["Compression", "TransparentDataEncryption"]));
    surround(&world, json!({ "engine": 4 }));
    let words = "the database uses TransparentDataEncryption, which this edition";
    assert_found(&found(&world, with(&chain)).await, "restore.edition", false, words);
    surround(&world, json!({ "engine": 2 }));
    let here = found(&world, with(&chain)).await;
    assert!(!here.iter().any(|(code, ..)| code == "restore.edition"), "{here:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_that_asks_shows_what_is_then_sent() {
    use sha2::Digest;
    let world = World::practice().await;
    let chain = story(&world).await;
    let found = Restore.preflight(&world.ctx(), given(with(&chain))).await.unwrap();
    assert!(found.findings.iter().all(|finding| !finding.fatal), "{:?}", found.findings);
    let given = given(with(&chain));
    let shown = Restore
        .actions(Some("t"), &drydock_step::Given { with: &given.with, fill: None }, &found.facts)
        .unwrap();
    assert_eq!(shown.len(), 6, "{shown:?}");
    let full = &shown[1].text;
    assert!(full.contains(&format!("{}/store/sql/Octopus_full_", world.dir.path().display())), "{full}");
    assert!(full.contains("MOVE N'Octopus' TO N'") && full.contains("MOVE N'Octopus_log' TO N'"), "{full}");
    world.outputs(&Restore, with(&chain)).await.unwrap();
    let digest = |text: &str| -> String {
        sha2::Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let shown: Vec<String> = shown.iter().map(|action| digest(&action.text)).collect();
    assert_eq!(world.digests(), shown);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_a_restore_from_working_is_found_before() {
    let world = Arc::new(World::practice().await);
    let chain = story(&world).await;
    let check = |with: Value, expected: Vec<&'static str>| {
        let world = world.clone();
        async move {
            let found = Restore.preflight(&world.ctx(), given(with.clone())).await.unwrap();
            let codes: Vec<_> = found.findings.iter().filter(|f| f.fatal).map(|f| f.code.clone()).collect();
            assert_eq!(codes, expected, "{with}");
        }
    };
    check(with(&chain), vec![]).await;
    let exists = json!({ "database": "Octopus", "chain": chain });
    check(exists, vec!["restore.exists", "sqlserver.3159"]).await;
    let mut gap = chain.clone();
    gap["backups"].as_array_mut().unwrap().remove(1);
    check(with(&gap), vec!["restore.chain"]).await;
    let mut unseen = chain.clone();
    unseen["backups"][0]["artifacts"] = json!(["elsewhere/x.bak"]);
    check(with(&unseen), vec!["sqlserver.unseen"]).await;
    let mut foreign = chain.clone();
    foreign["backups"][0]["artifacts"] = json!([]);
    foreign["backups"][0]["backup"]["server"] = json!("SQL99");
    check(with(&foreign), vec!["sqlserver.unseen"]).await;
    let mut swapped = chain.clone();
    swapped["backups"][1]["artifacts"] = chain["backups"][2]["artifacts"].clone();
    check(with(&swapped), vec!["restore.other_set"]).await;
    let mut absent = chain.clone();
    absent["backups"][1]["artifacts"] = json!(["sql/absent.trn"]);
    check(with(&absent), vec!["sqlserver.3201"]).await;
    let mut placed = with(&chain);
    placed["move"] = json!({ "Octopus": "/nowhere/at/all/x.mdf", "nofile": "/x" });
    check(placed.clone(), vec!["sqlserver.3234"]).await;
    placed["move"] = json!({ "Octopus": "/nowhere/at/all/x.mdf" });
    check(placed, vec!["sqlserver.5133"]).await;
    let file = world.dir.path().join("store").join(chain["backups"][1]["artifacts"][0].as_str().unwrap());
    std::fs::write(file, "this is no backup").unwrap();
    check(with(&chain), vec!["sqlserver.3241"]).await;
}

/// What surrounds the practice server from now on.
fn surround(world: &World, surroundings: Value) {
    let file = world.dir.path().join("server/surroundings.json");
    std::fs::write(file, surroundings.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_surrounds_the_server_is_found_before() {
    let world = World::practice().await;
    let chain = story(&world).await;
    let volume = |bytes: i64| json!({ "volumes": [{ "mount": "/", "total_bytes": 1_i64 << 40, "available_bytes": bytes }] });
    let fresh = json!({ "database": "Octopus", "into": "Fresh", "chain": chain });
    surround(&world, volume(1000));
    assert_found(&found(&world, fresh.clone()).await, "sqlserver.3257", true, "1000 bytes free");
    let error = world.outputs(&Restore, fresh.clone()).await.unwrap_err();
    assert_eq!(error.code, "sqlserver.3257", "the server says the same");
    surround(&world, json!({ "major": 15 }));
    assert_found(&found(&world, fresh.clone()).await, "sqlserver.3169", true, "this server is 15.0.4385.2");
    assert_eq!(world.outputs(&Restore, fresh.clone()).await.unwrap_err().code, "sqlserver.3169");
    surround(&world, json!({ "replicas": ["Octopus"] }));
    assert_found(&found(&world, with(&chain)).await, "sqlserver.3104", true, "REMOVE DATABASE [Octopus]");
    let error = world.outputs(&Restore, with(&chain)).await.unwrap_err();
    assert_eq!(error.code, "sqlserver.3104");
    assert!(error.help.unwrap().ends_with("database Octopus is as it was, and open again"));
    let mut insisted = with(&chain);
    insisted["strategy"] = json!("beside");
    assert_found(&found(&world, insisted).await, "restore.beside", true, "belongs to an availability group");
    surround(&world, json!({ "mirrored": ["octopus"] }));
    assert_found(&found(&world, with(&chain)).await, "sqlserver.3104", true, "SET PARTNER OFF");
    surround(&world, json!({ "published": ["Octopus"] }));
    assert_found(&found(&world, with(&chain)).await, "restore.replicated", false, "keep_replication");
    surround(&world, json!({}));
    let mut auto = with(&chain);
    auto["strategy"] = json!("auto");
    assert_found(&found(&world, auto.clone()).await, "restore.beside", false, "room for both");
    surround(&world, volume(1000));
    assert_found(&found(&world, auto).await, "restore.beside", false, "in place: / has 1000 bytes free");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_restore_would_end_or_lose_is_told_before() {
    let world = World::practice().await;
    let chain = story(&world).await;
    let inside = world.connection().await;
    inside.script().unwrap().run_script("Octopus", "SELECT 1").await.unwrap();
    let all = found(&world, with(&chain)).await;
    assert_found(&all, "sqlserver.3101", false, "login drydock, `drydock r1/other/1` on");
    assert_found(&all, "sqlserver.3101", false, "one of Drydock's own");
    assert_found(&all, "sqlserver.3159", false, "since its last log backup at");
    assert_found(&all, "sqlserver.3159", false, "BACKUP LOG [Octopus] TO … WITH NORECOVERY");
    let without = found(&world, json!({ "database": "Octopus", "chain": chain })).await;
    assert_found(&without, "sqlserver.3159", true, "is in no backup");
    assert_found(&without, "restore.exists", true, "`replace: true`");
    // A file that nobody has lies where one shall be made.
    let stray = world.dir.path().join("server/data/stray.mdf");
    std::fs::write(&stray, "x").unwrap();
    let mut placed =
        json!({ "database": "Octopus", "into": "Fresh", "chain": chain, "move": { "Octopus": stray } });
    assert_found(
        &found(&world, placed.clone()).await,
        "sqlserver.3142",
        true,
        "no database of this server has it",
    );
    assert_eq!(world.outputs(&Restore, placed.clone()).await.unwrap_err().code, "sqlserver.3142");
    placed["move"] = json!({ "Octopus": stray, "Octopus_log": stray });
    assert_found(
        &found(&world, placed).await,
        "sqlserver.3176",
        true,
        "Octopus and Octopus_log would both be",
    );
    let own = world.one("master", "SELECT physical_name FROM sys.master_files WHERE name = N'Octopus'").await;
    let taken = json!({ "database": "Octopus", "into": "Fresh", "chain": chain, "move": { "Octopus": own } });
    assert_found(&found(&world, taken).await, "sqlserver.1834", true, "in use by database Octopus");
    for (standby, words) in
        [("undo.tuf", "it must be absolute"), ("/nowhere/undo.tuf", "sees no folder /nowhere")]
    {
        let standby = json!({ "database": "Octopus", "into": "Fresh", "chain": chain, "standby": standby });
        assert_found(&found(&world, standby).await, "sqlserver.3170", true, words);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_restore_that_runs_is_told_before() {
    let world = World::with_faults(r#"[{"op": "restore database Busy", "do": "slow", "ms": 600000}]"#).await;
    let chain = story(&world).await;
    let host = world.host("r0/busy/1", Vec::new());
    let ctx = host.ctx(Some("t"));
    let busy = json!({ "database": "Octopus", "into": "Busy", "chain": chain });
    let working = Restore.execute(&ctx, given(busy.clone()), None);
    let asking = async {
        let running = "SELECT COUNT_BIG(*) FROM sys.dm_exec_requests WHERE command = N'RESTORE DATABASE'";
        while world.one("master", running).await != json!(1) {
            tokio::task::yield_now().await;
        }
        let all = found(&world, with(&chain)).await;
        assert_found(&all, "sqlserver.3023", false, "`drydock r0/busy/1`");
        Restore.cancel(&world.host("r0/busy/1", host.notes()).ctx(Some("t")), given(busy)).await.unwrap();
    };
    let (ended, ()) = tokio::join!(working, asking);
    assert!(ended.unwrap_err().unknown);
}
