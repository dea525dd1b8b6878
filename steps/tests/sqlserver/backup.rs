//! `sqlserver.backup`, and what is proved about its files.

use drydock_recovery::backup::{Backup as Entry, BackupType};
use drydock_recovery::chain::{ChainRequest, choose};
use drydock_recovery::history::History;
use drydock_step::context::Sample;
use drydock_step::test_host::given;
use drydock_step::{Kind, Reconciled};
use drydock_steps::sqlserver::backup::Backup;
use serde_json::{Value, json};

use crate::world::{World, octopus};

fn with(kind: &str) -> Value {
    json!({ "database": "Octopus", "type": kind, "compression": true })
}

fn entry(outputs: &Value) -> Entry {
    serde_json::from_value(outputs["backup"].clone()).unwrap()
}

/// Takes a backup in a step of its own.
async fn taken(world: &World, step: &str, kind: &str) -> Value {
    let ctx = world.host(&format!("r1/{step}/1"), Vec::new()).ctx(Some("t"));
    match Backup.execute(&ctx, given(with(kind)), None).await.unwrap() {
        drydock_step::Ended::Outputs(outputs) => outputs,
        waits => panic!("{waits:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_told_of_as_a_chain_needs_it() {
    let world = World::practice().await;
    octopus(&world).await;
    let full = taken(&world, "full", "full").await;
    assert_eq!(full["artifacts"].as_array().unwrap().len(), 1, "{full}");
    let artifact = full["artifacts"][0].as_str().unwrap();
    assert!(artifact.starts_with("sql/Octopus_full_") && artifact.ends_with("_r1_full_1.bak"), "{artifact}");
    assert!(world.dir.path().join("store").join(artifact).is_file());
    assert_eq!((&full["has_checksums"], &full["recovery_model"]), (&json!(true), &json!("FULL")));
    assert_eq!(full["server"]["utc_offset_minutes"], 0);
    assert!(full["size"].as_u64().unwrap() >= full["compressed_size"].as_u64().unwrap());
    world.run("Octopus", "INSERT INTO agents VALUES (3, N'Cy')").await;
    let differential = taken(&world, "diff", "differential").await;
    let log = taken(&world, "log", "log").await;
    let entries: Vec<Entry> = [&full, &differential, &log].map(entry).into();
    let kinds: Vec<_> = entries.iter().map(|entry| entry.kind.clone()).collect();
    assert_eq!(kinds, [BackupType::Full, BackupType::Differential, BackupType::Log]);
    assert!(entries[1].builds_on(&entries[0]));
    let history = History::parse(&serde_json::to_string(&entries).unwrap()).unwrap();
    let chain = choose(&history, &ChainRequest::default()).unwrap();
    assert_eq!(chain.backups, entries);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_proves_that_it_can_read_a_backup() {
    let world = World::practice().await;
    octopus(&world).await;
    let full = taken(&world, "full", "full").await;
    let connection = world.connection().await;
    let proves = connection.proves().unwrap();
    let artifact = full["artifacts"][0].as_str().unwrap().to_owned();
    let media = full["media"][0].as_str().unwrap().to_owned();
    for path in [&media, &artifact] {
        let header = proves.prove_readable(std::slice::from_ref(path), 1).await.unwrap();
        assert_eq!(header["backup"], full["backup"], "{path}");
    }
    let error = proves.prove_readable(std::slice::from_ref(&artifact), 2).await.unwrap_err();
    assert_eq!(error.code, "sqlserver.3287");
    let error = proves.prove_readable(&["sql/absent.bak".into()], 1).await.unwrap_err();
    assert!(error.code == "sqlserver.3201" && error.message.contains("absent.bak"), "{error}");
    let error = proves.prove_readable(&["elsewhere/x.bak".into()], 1).await.unwrap_err();
    assert_eq!(error.code, "sqlserver.unseen");
    let file = world.dir.path().join("store").join(&artifact);
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&file, bytes).unwrap();
    let error = proves.prove_readable(&[artifact], 1).await.unwrap_err();
    assert!(error.help.as_deref().unwrap_or_default().contains("take another copy"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_whose_answer_was_lost_is_found_again() {
    let world = World::with_faults(r#"[{"op": "backup database *", "do": "hold"}]"#).await;
    octopus(&world).await;
    let (_, found) = world.crashed(&Backup, with("full")).await;
    let Reconciled::Done(outputs) = found else { panic!("{found:?}") };
    assert_eq!(entry(&outputs).kind, BackupType::Full);
    assert_eq!(world.done("backup database *"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_was_not_made_is_made_by_the_next_attempt() {
    let world = World::with_faults(r#"[{"op": "backup database *", "do": "cut_before"}]"#).await;
    octopus(&world).await;
    let host = world.host("r1/step/1", Vec::new());
    let error = Backup.execute(&host.ctx(Some("t")), given(with("full")), None).await.unwrap_err();
    assert!(error.unknown && error.code == "sqlserver.lost", "{error}");
    assert_eq!(world.settled(&Backup, with("full"), host.notes()).await, Reconciled::NotDone);
    let outputs = world.again(&Backup, with("full"), host.notes(), None).await.unwrap();
    let first = host.notes()[0]["sent"]["file"].as_str().unwrap().to_owned();
    assert_ne!(outputs["media"], json!([first]));
    assert_eq!(world.done("backup database *"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_cancelled_is_stopped_at_the_server() {
    let world = World::with_faults(r#"[{"op": "backup database *", "do": "slow", "ms": 600000}]"#).await;
    octopus(&world).await;
    let host = world.host("r1/step/1", Vec::new());
    let ctx = host.ctx(Some("t"));
    let execute = Backup.execute(&ctx, given(with("full")), None);
    let cancel = async {
        let running = "SELECT COUNT_BIG(*) FROM sys.dm_exec_requests WHERE command LIKE N'BACKUP%'";
        while world.one("master", running).await != json!(1) {
            tokio::task::yield_now().await;
        }
        assert_eq!(
            Backup.reconcile(&world.ctx(), given(with("full"))).await,
            Ok(Reconciled::Busy(1000)),
            "what still runs is not judged"
        );
        let ctx = world.ctx();
        Backup.cancel(&ctx, given(with("full"))).await.unwrap();
    };
    let (ended, ()) = tokio::join!(execute, cancel);
    let error = ended.unwrap_err();
    assert!(error.unknown, "{error:?}");
    assert_eq!(world.settled(&Backup, with("full"), host.notes()).await, Reconciled::NotDone);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_a_backup_from_working_is_found_before() {
    let world = World::practice().await;
    octopus(&world).await;
    for (with, code) in [
        (with("log"), "sqlserver.4214"),
        (with("differential"), "sqlserver.3035"),
        (json!({ "database": "Octopus", "type": "full", "to": "/nowhere/at/all" }), "sqlserver.3201"),
        (json!({ "database": "Octopus", "type": "full", "to": "elsewhere" }), "sqlserver.unseen"),
        (json!({ "database": "Elsewhere", "type": "full" }), "sqlserver.911"),
    ] {
        let found = Backup.preflight(&world.ctx(), given(with.clone())).await.unwrap();
        assert_eq!(found.findings.iter().map(|f| f.code.as_str()).collect::<Vec<_>>(), [code], "{with}");
        let error = world.outputs(&Backup, with.clone()).await.unwrap_err();
        assert_eq!(error.code, code, "{with}");
    }
    let found = Backup.preflight(&world.ctx(), given(with("full"))).await.unwrap();
    assert_eq!(found.findings, []);
    assert!(found.facts["folder"].as_str().unwrap().ends_with("/store/sql"), "{}", found.facts);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_the_cause_that_is_told() {
    let world = World::with_faults(r#"[{"op": "backup database *", "do": "disk_full"}]"#).await;
    octopus(&world).await;
    let error = world.outputs(&Backup, with("full")).await.unwrap_err();
    assert!(
        error.code == "sqlserver.3202" && error.help.as_deref().unwrap().contains("free space"),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_runs_work_on_the_database_is_waited_for() {
    let world = World::new().await;
    octopus(&world).await;
    let other = world.connection().await;
    other.locks().unwrap().lock("octopus", drydock_step::target::LockClass::Exclusive).await.unwrap();
    let error = world.outputs(&Backup, with("full")).await.unwrap_err();
    assert!(error.code == "locked" && error.transient, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_seen_from_another_connection() {
    let world = World::with_faults(r#"[{"op": "backup database *", "do": "slow", "ms": 2500}]"#).await;
    octopus(&world).await;
    let host = world.host("r1/step/1", Vec::new());
    Backup.execute(&host.ctx(Some("t")), given(with("full")), None).await.unwrap();
    let seen = |fits: &dyn Fn(&str) -> bool| {
        host.samples().into_iter().any(|sample| match sample {
            Sample::Progress { of, phase, .. } => of == Some(100) && fits(&phase),
            Sample::Log(_) => false,
        })
    };
    assert!(seen(&|phase| phase.starts_with("BACKUP DATABASE")), "{:?}", host.samples());
    assert!(seen(&|phase| phase.contains("iB/s")), "no rate: {:?}", host.samples());
}
