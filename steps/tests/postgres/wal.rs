//! `postgres.wal`, its status and its stop: what is streamed is all there, whatever is killed meanwhile, and nothing is overwritten.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use drydock_step::test_host::{TestHost, given};
use drydock_step::{Kind, Reconciled, Settings, StepError, TargetKind};
use drydock_steps::artifact::target::ArtifactsTarget;
use drydock_steps::postgres::wal::Wal;
use drydock_steps::postgres::wal_status::WalStatus;
use drydock_steps::postgres::wal_stop::WalStop;
use serde_json::{Value, json};

use crate::basebackup::run;
use crate::server::{BOTH, Major, Options, Postgres, folder};

/// A host whose `t` is the server and whose `backups` is the folder `store`, for the attempt of this id.
pub(crate) async fn host(server: &Postgres, folder: &Path, attempt: &str) -> Arc<TestHost> {
    let values = json!({ "url": folder.join("store") }).as_object().unwrap().clone();
    let store = Settings { values, folder: folder.into(), attempt: attempt.into() };
    let store = ArtifactsTarget.connect(store).await.unwrap();
    let kind = Arc::new(drydock_steps::postgres::target::Postgres);
    let host = TestHost::new(folder).attempt(attempt).server("t", kind, server.settings());
    Arc::new(host.target("backups", store))
}

/// A server, and a folder with the spool and the store.
pub(crate) struct World {
    pub(crate) server: Postgres,
    pub(crate) dir: tempfile::TempDir,
}

impl World {
    pub(crate) fn start(major: Major, settings: Vec<(&'static str, String)>) -> Self {
        let server = Postgres::start(major, Options { settings, own: true, ..Options::default() });
        Self { server, dir: folder() }
    }

    /// The same with segments of 1 MiB.
    pub(crate) fn small(major: Major) -> Self {
        let options = Options { own: true, initdb: &["--wal-segsize=1"], ..Options::default() };
        Self { server: Postgres::start(major, options), dir: folder() }
    }

    /// Streams until so many segments were written one after another, and ends; their names.
    pub(crate) async fn streamed(&self, segments: usize) -> Vec<String> {
        let host = self.host("r1/stream/1").await;
        let streamer = self.streaming(host.clone(), self.with(json!({})));
        self.streams().await;
        let mut names = Vec::new();
        for _ in 0..segments {
            names.push(self.switched().await.0);
        }
        there(&self.stored(&names[segments - 1])).await;
        host.cancel();
        assert_eq!(streamer.await.unwrap().unwrap_err().code, "cancelled");
        names
    }

    pub(crate) async fn host(&self, attempt: &str) -> Arc<TestHost> {
        host(&self.server, self.dir.path(), attempt).await
    }

    pub(crate) fn with(&self, more: Value) -> Value {
        let mut with = json!({ "to": "backups", "prefix": "pg/wal", "spool": "spool", "slot": "archive" });
        with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        with
    }

    pub(crate) fn stored(&self, name: &str) -> PathBuf {
        self.dir.path().join("store/pg/wal").join(&name[..8]).join(name)
    }

    /// Writes something and ends the segment; its name, and the place behind what was written.
    pub(crate) async fn switched(&self) -> (String, String) {
        self.server.run_script("postgres", "SELECT txid_current()").await;
        let sql = "SELECT pg_walfile_name(lsn) || ' ' || lsn::text FROM (SELECT pg_switch_wal() - 1 AS lsn) AS here";
        let found = self.server.one("postgres", sql).await;
        let (name, lsn) = found.as_str().unwrap().split_once(' ').unwrap();
        (name.to_owned(), lsn.to_owned())
    }

    pub(crate) async fn status(&self) -> Value {
        self.status_with(json!({ "server": "t" })).await.unwrap()
    }

    pub(crate) async fn status_with(&self, more: Value) -> Result<Value, StepError> {
        let mut with = json!({ "from": "backups", "prefix": "pg/wal" });
        with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        run(&WalStatus, &self.host("r9/status/1").await, &with).await
    }

    /// Walsenders at the server.
    async fn senders(&self) -> Value {
        self.server.one("postgres", "SELECT count(*) FROM pg_stat_replication").await
    }

    /// A streamer that goes on beside the test.
    pub(crate) fn streaming(
        &self,
        host: Arc<TestHost>,
        with: Value,
    ) -> tokio::task::JoinHandle<Result<Value, StepError>> {
        tokio::spawn(async move { run(&Wal, &host, &with).await })
    }

    /// Returns when the slot is read from.
    pub(crate) async fn streams(&self) {
        let sql = "SELECT count(*) FROM pg_replication_slots WHERE active";
        for _ in 0..600 {
            if self.server.one("postgres", sql).await == 1 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("nobody streams:\n{}", self.server.log());
    }
}

/// Returns when there is a file.
pub(crate) async fn there(path: &Path) {
    for _ in 0..1200 {
        if path.exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{} never came", path.display());
}

#[tokio::test]
async fn what_is_written_is_stored_until_it_is_asked_to_stop() {
    for major in BOTH {
        let world = World::start(major, Vec::new());
        let host = world.host("r1/stream/1").await;
        let streamer = world.streaming(host.clone(), world.with(json!({})));
        world.streams().await;
        let mut names = Vec::new();
        for _ in 0..3 {
            let (name, _) = world.switched().await;
            there(&world.stored(&name)).await;
            names.push(name);
        }
        let status = world.status().await;
        assert_eq!((&status["streaming"], &status["gaps"]), (&json!(true), &json!([])), "{status}");
        assert_eq!((&status["newest"], &status["segments"]), (&json!(names[2]), &json!(3)), "{status}");
        assert_eq!(status["slot"]["active"], true, "{status}");
        // Somebody else may not stream into the same place.
        let other = world.host("r2/stream/1").await;
        let error = run(&Wal, &other, &world.with(json!({ "spool": "other" }))).await.unwrap_err();
        assert!(error.code == "postgres.wal_busy" && error.transient, "{error}");
        assert!(error.message.starts_with("run r1, step stream, streams from 127.0.0.1:"), "{error}");
        let stop = json!({ "to": "backups", "prefix": "pg/wal" });
        let stopped = run(&WalStop, &world.host("r3/stop/1").await, &stop).await.unwrap();
        assert_eq!((&stopped["stopped"], &stopped["run"]), (&json!(true), &json!("r1")), "{stopped}");
        let outputs = streamer.await.unwrap().unwrap();
        assert_eq!(outputs, stopped["streamed"]);
        assert_eq!((&outputs["segments"], &outputs["first"]), (&json!(3), &json!(names[0])), "{outputs}");
        assert_eq!((&outputs["last"], &outputs["timeline"]), (&json!(names[2]), &json!(1)), "{outputs}");
        assert_eq!(world.senders().await, 0);
        let spool: Vec<String> = std::fs::read_dir(world.dir.path().join("spool"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.len() == 24)
            .collect();
        assert_eq!(spool, [names[2].clone()], "the newest alone stays in the spool");
        let status = world.status().await;
        assert_eq!((&status["streaming"], &status["streamer"]["done"]), (&json!(false), &json!(true)));
        let verdict = Wal.reconcile(&host.ctx(Some("t")), given(world.with(json!({})))).await.unwrap();
        assert_eq!(verdict, Reconciled::Done(outputs));
        let again = run(&WalStop, &world.host("r3/stop/2").await, &stop).await.unwrap();
        assert_eq!(again["stopped"], false);
    }
}

#[tokio::test]
async fn it_ends_when_a_place_is_stored_and_a_cancel_leaves_nothing_at_the_server() {
    let world = World::start(Major::Eighteen, Vec::new());
    let host = world.host("r1/stream/1").await;
    let streamer = world.streaming(host.clone(), world.with(json!({})));
    world.streams().await;
    let (first, _) = world.switched().await;
    there(&world.stored(&first)).await;
    host.cancel();
    let error = streamer.await.unwrap().unwrap_err();
    assert_eq!(error.code, "cancelled");
    assert_eq!(world.senders().await, 0);
    let verdict = Wal.reconcile(&host.ctx(Some("t")), given(world.with(json!({})))).await.unwrap();
    let Reconciled::Partly(from) = verdict else { panic!("{verdict:?}") };
    // Meanwhile nobody streams, and the slot keeps it.
    let (_, _) = world.switched().await;
    let (third, lsn) = world.switched().await;
    let next = world.host("r1/stream/2").await;
    let with = given(world.with(json!({ "until": lsn })));
    let ended = Wal.execute(&next.ctx(Some("t")), with, Some(&from)).await.unwrap();
    let drydock_step::Ended::Outputs(outputs) = ended else { panic!("{ended:?}") };
    assert_eq!((&outputs["segments"], &outputs["first"]), (&json!(3), &json!(first)), "{outputs}");
    assert!(outputs["last"].as_str().unwrap() >= third.as_str(), "{outputs}");
    assert_eq!(world.status().await["gaps"], json!([]));
}

#[tokio::test]
async fn a_killed_program_and_a_crashed_server_leave_no_gap() {
    let mut world = World::start(Major::Fifteen, Vec::new());
    let host = world.host("r1/stream/1").await;
    let streamer = world.streaming(host, world.with(json!({})));
    world.streams().await;
    let (first, _) = world.switched().await;
    there(&world.stored(&first)).await;
    // The one pg_receivewal whose arguments name this spool.
    let spool = world.dir.path().join("spool").display().to_string();
    let found = std::process::Command::new("pgrep")
        .args(["-f", &format!("pg_receivewal.*{spool}")])
        .output()
        .unwrap();
    for pid in String::from_utf8(found.stdout).unwrap().lines() {
        assert!(std::process::Command::new("kill").args(["-KILL", pid]).status().unwrap().success());
    }
    let (second, _) = world.switched().await;
    there(&world.stored(&second)).await;
    world.server.stop();
    assert!(world.server.run(), "{}", world.server.log());
    world.streams().await;
    let (third, _) = world.switched().await;
    there(&world.stored(&third)).await;
    let stop = json!({ "to": "backups", "prefix": "pg/wal" });
    run(&WalStop, &world.host("r3/stop/1").await, &stop).await.unwrap();
    let outputs = streamer.await.unwrap().unwrap();
    assert!(outputs["restarts"].as_u64().unwrap() >= 2, "{outputs}");
    let status = world.status().await;
    assert_eq!((&status["gaps"], &status["first"]), (&json!([]), &json!(first)), "{status}");
}

#[tokio::test]
async fn wal_that_is_gone_is_a_gap_until_that_is_accepted() {
    for major in BOTH {
        let world = World::start(
            major,
            vec![("min_wal_size", "32MB".to_owned()), ("max_wal_size", "32MB".to_owned())],
        );
        let host = world.host("r1/stream/1").await;
        let streamer = world.streaming(host.clone(), world.with(json!({})));
        world.streams().await;
        let (first, _) = world.switched().await;
        there(&world.stored(&first)).await;
        host.cancel();
        drop(streamer.await.unwrap());
        // Not before: a slot that is only a little behind would be given up as well.
        world.server.run_script("postgres", "ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'").await;
        world.server.run_script("postgres", "SELECT pg_reload_conf()").await;
        for _ in 0..6 {
            world.switched().await;
        }
        let lost = "SELECT wal_status FROM pg_replication_slots";
        for _ in 0..100 {
            // The process that gives slots up learns of the setting in its own time.
            world.server.run_script("postgres", "CHECKPOINT").await;
            if world.server.one("postgres", lost).await == "lost" {
                break;
            }
            world.switched().await;
        }
        assert_eq!(world.server.one("postgres", lost).await, "lost", "{major:?}");
        let status = world.status().await;
        assert_eq!(status["faults"][0]["code"], "postgres.wal_gap", "{status}");
        let words = status["faults"][0]["message"].as_str().unwrap();
        assert!(words.ends_with("the server has given up what slot archive keeps"), "{status}");
        let error = run(&Wal, &world.host("r1/stream/2").await, &world.with(json!({}))).await.unwrap_err();
        assert_eq!(error.code, "postgres.wal_gap", "{error}");
        assert!(error.message.contains("the server has given up what slot archive keeps"), "{error}");
        assert!(error.help.unwrap().starts_with("take a new base backup"));
        let found = Wal
            .preflight(&world.host("r1/stream/3").await.ctx(Some("t")), given(world.with(json!({}))))
            .await
            .unwrap();
        assert_eq!(found.findings[0].code, "postgres.wal_gap", "{found:?}");
        // With room for the slot it goes on.
        world.server.run_script("postgres", "ALTER SYSTEM SET max_slot_wal_keep_size = -1").await;
        world.server.run_script("postgres", "SELECT pg_reload_conf()").await;
        let next = world.host("r1/stream/4").await;
        let streamer = world.streaming(next, world.with(json!({ "accept_gap": true })));
        world.streams().await;
        let (last, _) = world.switched().await;
        there(&world.stored(&last)).await;
        let stop = json!({ "to": "backups", "prefix": "pg/wal" });
        run(&WalStop, &world.host("r3/stop/1").await, &stop).await.unwrap();
        streamer.await.unwrap().unwrap();
        let status = world.status().await;
        assert_eq!(status["gaps"].as_array().unwrap().len(), 1, "the gap stays named: {status}");
    }
}

#[tokio::test]
async fn what_would_overwrite_or_mix_clusters_is_refused() {
    let world = World::start(Major::Eighteen, Vec::new());
    let stream = async |with: Value, attempt: &str| {
        let host = world.host(attempt).await;
        let streamer = world.streaming(host.clone(), with);
        let mut name = String::new();
        for _ in 0..600 {
            if streamer.is_finished() {
                break;
            }
            if name.is_empty()
                && world
                    .server
                    .one("postgres", "SELECT count(*) FROM pg_replication_slots WHERE active")
                    .await
                    == 1
            {
                name = world.switched().await.0;
            }
            if !name.is_empty() && world.stored(&name).exists() {
                host.cancel();
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        (name, streamer.await.unwrap().unwrap_err())
    };
    let (name, error) = stream(world.with(json!({})), "r1/stream/1").await;
    assert_eq!(error.code, "cancelled");
    // The archive has something else by the name of a segment that comes anew.
    let path = world.stored(&name);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    std::fs::remove_dir_all(world.dir.path().join("spool")).unwrap();
    world.server.run_script("postgres", "SELECT pg_drop_replication_slot('archive')").await;
    let (_, error) = stream(world.with(json!({})), "r1/stream/2").await;
    assert_eq!(error.code, "postgres.wal_differs", "{error}");
    assert!(error.message.contains(&format!("{name} is there with sha256 ")), "{error}");
    assert!(std::fs::read(&path).unwrap() == bytes, "it was left alone");
    // Another cluster.
    let other = World {
        server: Postgres::start(Major::Eighteen, Options { own: true, ..Options::default() }),
        dir: folder(),
    };
    let host = host(&other.server, world.dir.path(), "r1/stream/3").await;
    let error = run(&Wal, &host, &world.with(json!({}))).await.unwrap_err();
    assert_eq!(error.code, "postgres.wal_foreign", "{error}");
    assert!(error.message.starts_with("the archive pg/wal/ has the WAL of system "), "{error}");
    // A spool that cannot be one.
    std::fs::write(world.dir.path().join("file"), "").unwrap();
    let error = run(&Wal, &world.host("r1/stream/4").await, &world.with(json!({ "spool": "file" })))
        .await
        .unwrap_err();
    assert_eq!(error.code, "postgres.wal_spool", "{error}");
}
