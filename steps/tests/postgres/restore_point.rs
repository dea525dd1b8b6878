//! `postgres.restore_point`: it is there, and the WAL that leads to it lies in the archive, whole and of this cluster.

use std::sync::Arc;

use drydock_step::test_host::{TestHost, execute, given};
use drydock_step::{Kind, Reconciled, StepError};
use drydock_steps::postgres::restore_point::RestorePoint;
use drydock_steps::postgres::wal_stop::WalStop;
use serde_json::{Value, json};

use crate::basebackup::run;
use crate::server::{BOTH, Major, Options, Postgres, connected, folder};
use crate::wal::World;

/// A host whose attempt has these notes of attempts before it.
async fn again(world: &World, attempt: &str, notes: Vec<Value>) -> Arc<TestHost> {
    let store = world.host(attempt).await.ctx(None).host.connect("backups").await.unwrap();
    let kind = Arc::new(drydock_steps::postgres::target::Postgres);
    let host =
        TestHost::new(world.dir.path()).server("t", kind, world.server.settings()).target("backups", store);
    Arc::new(host.attempt(attempt).noted(notes))
}

fn refused(outputs: Result<Value, StepError>, code: &str, words: &str) {
    let error = outputs.unwrap_err();
    assert!(
        error.code == code && error.message.contains(words),
        "{error:?} is no {code} that says {words:?}"
    );
}

#[tokio::test]
async fn its_segment_is_seen_in_the_store_that_wal_is_streamed_to() {
    for major in BOTH {
        let world = World::start(major, Vec::new());
        let streamer = world.streaming(world.host("r1/stream/1").await, world.with(json!({})));
        world.streams().await;
        let host = world.host("r1/named/1").await;
        let with =
            json!({ "name": "before it's \\ big", "archived": { "from": "backups", "prefix": "pg/wal" } });
        let point = run(&RestorePoint, &host, &with).await.unwrap();
        assert_eq!(point["name"], "before it's \\ big");
        let segment = point["segment"].as_str().unwrap();
        let bytes = std::fs::read(world.stored(segment)).unwrap();
        let words = b"before it's \\ big";
        assert!(bytes.windows(words.len()).any(|found| found == words), "the point's record is in {segment}");
        assert_eq!(point["timeline"], 1);
        let id =
            world.server.one("postgres", "SELECT system_identifier::text FROM pg_control_system()").await;
        assert_eq!(point["system_identifier"], id);
        assert!(point["archived_at"].as_str().unwrap() >= point["at"].as_str().unwrap(), "{point}");
        let verdict = RestorePoint.reconcile(&host.ctx(Some("t")), given(with.clone())).await.unwrap();
        assert_eq!(verdict, Reconciled::Done(point.clone()));
        // A killed attempt whose point was noted makes none anew.
        let notes: Vec<Value> = host.notes().into_iter().filter(|note| note.get("given").is_none()).collect();
        let killed = again(&world, "r1/named/1", notes).await;
        let verdict = RestorePoint.reconcile(&killed.ctx(Some("t")), given(with.clone())).await.unwrap();
        assert!(matches!(&verdict, Reconciled::Partly(made) if made["lsn"] == point["lsn"]), "{verdict:?}");
        let went_on = run(&RestorePoint, &killed, &with).await.unwrap();
        assert_eq!((&went_on["lsn"], &went_on["name"]), (&point["lsn"], &point["name"]));
        // One that is asked for again makes its own, under a name of its own.
        let redone = again(&world, "r1/named/2", host.notes()).await;
        let verdict = RestorePoint.reconcile(&redone.ctx(Some("t")), given(with.clone())).await.unwrap();
        assert_eq!(verdict, Reconciled::NotDone);
        let other = run(&RestorePoint, &redone, &with).await.unwrap();
        assert_eq!(other["name"], "before it's \\ big_2");
        assert_ne!(other["lsn"], point["lsn"]);
        let verdict = RestorePoint.reconcile(&redone.ctx(Some("t")), given(with.clone())).await.unwrap();
        assert_eq!(verdict, Reconciled::Done(other));
        run(&WalStop, &world.host("r3/stop/1").await, &json!({ "to": "backups", "prefix": "pg/wal" }))
            .await
            .unwrap();
        streamer.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn an_answer_that_was_lost_gives_the_next_one_another_name() {
    let world = World::start(Major::Eighteen, Vec::new());
    let host = world.host("r1/named/2").await;
    let ctx = host.ctx(Some("t"));
    ctx.note(json!({ "trying": "p" })).await.unwrap();
    let with = json!({ "name": "p" });
    let verdict = RestorePoint.reconcile(&host.ctx(Some("t")), given(with.clone())).await.unwrap();
    assert_eq!(verdict, Reconciled::Partly(json!({ "tried": 1 })));
    let point = run(&RestorePoint, &host, &with).await.unwrap();
    assert_eq!((&point["name"], &point["archived_at"]), (&json!("p_2"), &Value::Null));
    let log = world.server.log();
    assert!(log.contains("restore point \"p_2\" created at"), "{log}");
}

#[tokio::test]
async fn a_folder_that_is_archived_into_is_looked_at() {
    let dir = folder();
    let archive = dir.path().join("archive");
    std::fs::create_dir(&archive).unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&archive, std::fs::Permissions::from_mode(0o777)).unwrap();
    let switch = dir.path().join("works");
    let command =
        format!("test -e {} && cp %p {1}/.%f && mv {1}/.%f {1}/%f", switch.display(), archive.display());
    let settings = vec![("archive_mode", "on".to_owned()), ("archive_command", command)];
    let server = Postgres::start(Major::Fifteen, Options { settings, own: true, ..Options::default() });
    let world = World { server, dir };
    let with = |name: &str, within: &str| json!({ "name": name, "within": within, "archived": { "folder": archive } });
    let host = world.host("r1/named/1").await;
    let error = run(&RestorePoint, &host, &with("first", "2s")).await.unwrap_err();
    assert!(error.code == "postgres.not_archived" && error.transient, "{error:?}");
    assert!(error.message.contains(" is not in the archive: it is not there"), "{error}");
    std::fs::write(&switch, "").unwrap();
    let point = run(&RestorePoint, &host, &with("first", "2m")).await.unwrap();
    let path = archive.join(point["segment"].as_str().unwrap());
    // Cut short, and of another cluster.
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    refused(
        run(&RestorePoint, &host, &with("first", "1s")).await,
        "postgres.not_archived",
        "it has 8388608 bytes of 16777216",
    );
    let mut foreign = whole.clone();
    foreign[24] ^= 1;
    std::fs::write(&path, &foreign).unwrap();
    refused(
        run(&RestorePoint, &host, &with("first", "1m")).await,
        "postgres.wal_foreign",
        "of another cluster: system ",
    );
    std::fs::remove_file(&path).unwrap();
    refused(
        run(&RestorePoint, &host, &with("first", "1s")).await,
        "postgres.not_archived",
        "it is not there",
    );
}

#[tokio::test]
async fn what_cannot_be_made_is_refused_before() {
    let world = World::start(Major::Fifteen, Vec::new());
    let host = world.host("r1/named/1").await;
    let refuse = |with: Value| {
        let given = given(with);
        let given = drydock_step::Given { with: &given.with, fill: None };
        let error = RestorePoint.judge(&given).unwrap_err();
        assert_eq!(error.code, "input");
        error.message
    };
    assert!(refuse(json!({ "name": "x".repeat(64) })).starts_with("`name` has 64 bytes"));
    assert!(refuse(json!({ "name": "p", "archived": {} })).starts_with("`archived` names no archive"));
    assert!(
        refuse(json!({ "name": "p", "archived": { "folder": "x", "from": "backups" } })).contains("or two")
    );
    world.server.run_script("postgres", "CREATE ROLE watcher LOGIN PASSWORD 'w'").await;
    let settings =
        world.server.settings_with(json!({ "user": "watcher", "password": "w", "database": "postgres" }));
    let kind = std::sync::Arc::new(drydock_steps::postgres::target::Postgres);
    drop(connected(settings.clone()).await.unwrap());
    let watcher = std::sync::Arc::new(
        drydock_step::test_host::TestHost::new(world.dir.path()).server("t", kind, settings),
    );
    let error = execute(&RestorePoint, &watcher.ctx(Some("t")), json!({ "name": "p" })).await.unwrap_err();
    assert_eq!(error.code, "postgres.unavailable");
    assert!(
        error
            .help
            .unwrap()
            .starts_with("GRANT EXECUTE ON FUNCTION pg_create_restore_point(text), pg_switch_wal()")
    );
    assert!(watcher.notes().is_empty(), "nothing was tried");
    drop(host);
}
