//! What `postgres.wal` finds before it begins: another cluster's archive, a spool that cannot be one, a gap.

use drydock_step::test_host::given;
use drydock_step::{Kind, StepError};
use drydock_steps::postgres::wal::Wal;
use serde_json::{Value, json};

use crate::server::{BOTH, Major};
use crate::wal::{World, host};

/// What speaks against it, each as its code and its message.
async fn findings(world: &World, more: Value) -> Vec<(String, String)> {
    let ctx = world.host("r2/stream/1").await.ctx(Some("t"));
    let found = Wal.preflight(&ctx, given(world.with(more))).await.unwrap();
    found.findings.into_iter().map(|finding| (finding.code, finding.message)).collect()
}

#[tokio::test]
async fn a_foreign_archive_a_bad_spool_and_a_gap_are_found_before_anything_is_streamed()
-> Result<(), StepError> {
    for major in BOTH {
        let world = World::small(major);
        assert_eq!(findings(&world, json!({})).await, []);
        assert!(!world.dir.path().join("spool").exists(), "nothing was made");
        let names = world.streamed(3).await;
        assert_eq!(findings(&world, json!({})).await, []);
        std::fs::write(world.dir.path().join("file"), "").unwrap();
        let found = findings(&world, json!({ "spool": "file/spool" })).await;
        assert!(found.len() == 1 && found[0].0 == "postgres.wal_spool", "{found:?}");
        assert!(found[0].1.contains("file is no folder"), "{found:?}");
        // The spool is gone, and what the archive had last is not what the slot still keeps.
        std::fs::remove_dir_all(world.dir.path().join("spool")).unwrap();
        world.switched().await;
        assert_eq!(findings(&world, json!({})).await, [], "the slot keeps what comes next");
        let advanced = "SELECT pg_replication_slot_advance('archive', pg_current_wal_lsn())";
        world.server.run_script("postgres", advanced).await;
        std::fs::remove_file(world.stored(&names[1])).unwrap();
        std::fs::remove_file(world.stored(&names[2])).unwrap();
        let found = findings(&world, json!({})).await;
        assert!(found.len() == 1 && found[0].0 == "postgres.wal_gap", "{found:?}");
        let words = format!("the newest segment in the archive is {}, and what comes next is ", names[0]);
        assert!(found[0].1.contains(&words), "{found:?}");
        assert_eq!(findings(&world, json!({ "accept_gap": true })).await, []);
        // There never was such a slot: it would keep WAL from the last checkpoint on.
        world.server.run_script("postgres", "SELECT pg_drop_replication_slot('archive')").await;
        world.switched().await;
        world.server.run_script("postgres", "CHECKPOINT").await;
        let found = findings(&world, json!({})).await;
        assert!(found.len() == 1 && found[0].0 == "postgres.wal_gap", "{found:?}");
        // Another cluster's.
        let other = World::small(major);
        let ctx = host(&other.server, world.dir.path(), "r2/stream/1").await.ctx(Some("t"));
        let found = Wal.preflight(&ctx, given(world.with(json!({ "accept_gap": true })))).await?;
        assert_eq!(found.findings.len(), 1, "{found:?}");
        assert_eq!(found.findings[0].code, "postgres.wal_foreign");
        assert!(
            found.findings[0].message.starts_with("the archive pg/wal/ has the WAL of system "),
            "{found:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn wal_that_was_late_is_told_in_the_outputs() {
    let world = World::small(Major::Eighteen);
    let ctx = world.host("r1/stream/1").await;
    let streamer = world.streaming(ctx, world.with(json!({ "max_rpo": "1ms" })));
    world.streams().await;
    // Between two looks at least one thing is written, which counts as late from the first of them.
    for _ in 0..20 {
        world.switched().await;
        if world.status().await["streamer"]["late"] == true {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    let stop = json!({ "to": "backups", "prefix": "pg/wal" });
    let stopper = world.host("r3/stop/1").await;
    crate::basebackup::run(&drydock_steps::postgres::wal_stop::WalStop, &stopper, &stop).await.unwrap();
    let outputs = streamer.await.unwrap().unwrap();
    assert_eq!(outputs["late"], true, "{outputs}");
    assert!(outputs["max_rpo_s"].as_f64().unwrap() > 0.001, "{outputs}");
}
