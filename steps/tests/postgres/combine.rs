//! `postgres.combine`: what it makes of a chain is a full base backup like any other, and what is no chain it refuses.

use std::path::Path;
use std::sync::Arc;

use drydock_step::test_host::{TestHost, given};
use drydock_step::{Ended, Kind, Reconciled};
use drydock_steps::postgres::basebackup::Basebackup;
use drydock_steps::postgres::combine::Combine;
use drydock_steps::postgres::recover::Recover;
use serde_json::{Value, json};

use crate::basebackup::{host, run};
use crate::recover::{World, refused};

/// A full base backup `full`, and `one` and `two` after it, each with a row more in `t`, and what is between them compressed.
async fn chain(world: &World) -> (Arc<TestHost>, [Value; 3]) {
    let host = host(&world.server, world.dir.path()).await;
    world.server.run_script("postgres", "CREATE TABLE t (n int); INSERT INTO t VALUES (1)").await;
    let full = run(&Basebackup, &host, &json!({ "to": "backups", "label": "full" })).await.unwrap();
    world.server.run_script("postgres", "INSERT INTO t VALUES (2)").await;
    let with = json!({ "to": "backups", "label": "one", "against": full, "compress": "gzip" });
    let one = run(&Basebackup, &host, &with).await.unwrap();
    world.server.run_script("postgres", "INSERT INTO t VALUES (3)").await;
    let with = json!({ "to": "backups", "label": "two", "against": "postgres/base/one" });
    let two = run(&Basebackup, &host, &with).await.unwrap();
    (host, [full, one, two])
}

fn with(world: &World, base: Value, label: &str) -> Value {
    json!({
        "from": "backups", "base": base, "to": "backups", "prefix": "weekly", "label": label,
        "programs": [world.server.bin()],
    })
}

/// The files in a folder of the store.
fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).map(|entries| entries.flatten().collect::<Vec<_>>());
    let names = entries.unwrap_or_default().into_iter().map(|entry| entry.file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_chain_becomes_one_full_backup_that_recovers_without_it() {
    let world = World::summarizing();
    let (host, [full, one, two]) = chain(&world).await;
    let mut with = with(&world, json!("postgres/base/two"), "made");
    with["compress"] = json!("gzip");
    let looked = Kind::preflight(&Combine, &host.ctx(None), given(with.clone())).await.unwrap();
    assert_eq!(looked.findings, []);
    let made = run(&Combine, &host, &with).await.unwrap();
    assert_eq!(
        (&made["label"], &made["against"], &made["verified"]),
        (&json!("made"), &Value::Null, &json!(true))
    );
    for same in ["started_at", "ended_at", "end_lsn", "timeline", "system_identifier", "server_major"] {
        assert_eq!(made[same], two[same], "{same}");
    }
    assert!(
        made["tool"]["version"].as_str().unwrap().starts_with("pg_combinebackup (PostgreSQL) 18"),
        "{made}"
    );
    assert!(made["bytes"].as_u64().unwrap() > two["bytes"].as_u64().unwrap());
    assert_eq!(
        files(&world.dir.path().join("store/weekly/made")),
        ["backup.json", "backup_manifest", "base.tar.gz"]
    );
    let left = files(world.dir.path());
    assert_eq!(left, ["store"], "nothing is left in the scratch");
    let verdict = Combine.reconcile(&host.ctx(None), given(with.clone())).await.unwrap();
    assert_eq!(verdict, Reconciled::Done(made.clone()));
    // Killed before the last file: only that is written.
    std::fs::remove_file(world.dir.path().join("store/weekly/made/backup.json")).unwrap();
    let verdict = Combine.reconcile(&host.ctx(None), given(with.clone())).await.unwrap();
    let Reconciled::Partly(from) = verdict else { panic!("{verdict:?}") };
    let ended = Kind::execute(&Combine, &host.ctx(None), given(with.clone()), Some(&from)).await.unwrap();
    assert_eq!(ended, Ended::Outputs(made.clone()));
    // A later incremental backup can be made against it.
    world.server.run_script("postgres", "INSERT INTO t VALUES (4)").await;
    let later = json!({ "to": "backups", "prefix": "weekly", "label": "later", "against": "weekly/made" });
    let later = run(&Basebackup, &host, &later).await.unwrap();
    assert_eq!(later["against"]["manifest_sha256"], made["manifest"]["sha256"]);
    // What it was made of is gone.
    for entry in [full, one, two] {
        let folder = format!("store/postgres/base/{}", entry["label"].as_str().unwrap());
        std::fs::remove_dir_all(world.dir.path().join(folder)).unwrap();
    }
    for (base, rows) in [("weekly/made", "{1,2,3}"), ("weekly/later", "{1,2,3,4}")] {
        let mut with = world.with(&json!(base), json!({ "immediate": true }));
        with["wal"] = Value::Null;
        run(&Recover, &world.drill().await, &with).await.unwrap();
        assert_eq!(world.value("SELECT array_agg(n ORDER BY n)::text FROM t").await, rows, "{base}");
    }
}

#[tokio::test]
async fn what_is_no_chain_or_is_damaged_leaves_nothing_in_the_store() {
    let world = World::summarizing();
    let (host, [full, one, two]) = chain(&world).await;
    let check = async |base: Value, code: &str, words: &str| {
        let error = refused(run(&Combine, &host, &with(&world, base.clone(), "made")).await, code, words);
        assert_eq!(files(&world.dir.path().join("store/weekly/made")), [""; 0], "{base}");
        error
    };
    check(json!(full), "input", "full of 18").await;
    check(json!("postgres/base/full"), "input", "is a full one already: there is nothing to combine").await;
    check(json!([full, two]), "postgres.chain", "two was made against one, and full stands before it").await;
    check(json!("postgres/base/three"), "artifact.absent", "there is no base backup in postgres/base/three")
        .await;
    // A byte of a part is another.
    let tar = world.dir.path().join("store").join(one["artifact"]["path"].as_str().unwrap());
    let whole = std::fs::read(&tar).unwrap();
    let mut bytes = whole.clone();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&tar, &bytes).unwrap();
    let error = run(&Combine, &host, &with(&world, json!("postgres/base/two"), "made")).await.unwrap_err();
    assert!(["artifact.damaged", "postgres.base"].contains(&error.code.as_str()), "{error}");
    assert_eq!(files(&world.dir.path().join("store/weekly/made")), [""; 0]);
    std::fs::write(&tar, &whole).unwrap();
    // What another step has put there is never written over.
    let other = world.dir.path().join("store/weekly/made");
    std::fs::create_dir_all(&other).unwrap();
    std::fs::write(other.join("base.tar"), "precious").unwrap();
    let fresh = self::host(&world.server, world.dir.path()).await;
    let words = "there is already something in weekly/made";
    let base = json!([full, one, two]);
    refused(run(&Combine, &fresh, &with(&world, base, "made")).await, "artifact.exists", words);
    assert_eq!(std::fs::read(other.join("base.tar")).unwrap(), b"precious");
}
