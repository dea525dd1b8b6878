//! A base backup that is cut in the middle, by a kill -9 of the program alone and by Ctrl-C: nothing of it stays anywhere, and a resume ends it.
#![cfg(unix)]

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use drydock_step::ArtifactStore;
use drydock_steps::artifact::folder::FolderStore;
use serde_json::{Value, json};

use crate::postgres_server::{Postgres, os_user};
use crate::postgres_world::PostgresWorld;
use crate::world::World;

/// Rows that take the backup some seconds at its rate.
const ROWS: &str = "CREATE TABLE t AS SELECT n, repeat('x', 900) AS x FROM generate_series(1, 20000) AS n";

const PLAN: &str = "
drydock: v1
name: cut
targets: { pg: postgres, drill: postgres, backups: artifacts }
steps:
  base: { uses: postgres.basebackup, target: pg, with: { to: backups, prefix: pg/base, label: {label}, rate: 8MiB } }
  recover:
    uses: postgres.recover
    target: drill
    needs: [base]
    with: { from: backups, base: \"{{ steps.base.outputs }}\", to: { immediate: true }, into: ./drill, port: {port}, programs: [\"{bin}\"], os_user: {os_user} }
  rows: { uses: postgres.query, target: drill, needs: [recover], with: { sql: SELECT count(*) AS n FROM t } }
";

/// A server, and a run that takes its base backup.
struct Cut {
    /// The label of the backup.
    label: &'static str,
    world: World,
    postgres: PostgresWorld,
    runtime: tokio::runtime::Runtime,
}

impl Cut {
    fn new(label: &'static str) -> Self {
        let world = World::plan("");
        let postgres = PostgresWorld::start(&world, ROWS);
        let plan = PLAN
            .replace("{label}", label)
            .replace("{port}", &postgres.port.to_string())
            .replace("{bin}", &postgres.bin());
        let world = world.write("plan.yaml", &plan.replace("{os_user}", os_user().unwrap_or("null")));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { label, world, postgres, runtime }
    }

    /// Begins the run; returns once the server sends files and some of them have come.
    fn begun(&self) -> Child {
        let mut command = self.world.command("run plan.yaml --run-id r --no-progress -e env.yaml");
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        self.until("files of the backup come", |cut| {
            let sql = "SELECT count(*) FROM pg_stat_progress_basebackup \
                WHERE phase = 'streaming database files' AND backup_streamed BETWEEN 1000000 AND backup_total * 3 / 4";
            cut.asked(sql) == 1
        });
        assert_eq!(self.senders_and_slots(), 2, "it holds a walsender and a slot");
        assert!(self.programs() == ["pg_basebackup"], "{:?}", self.programs());
        child
    }

    fn asked(&self, sql: &str) -> Value {
        self.runtime.block_on(self.server().one("postgres", sql))
    }

    fn server(&self) -> &Postgres {
        &self.postgres.server
    }

    fn senders_and_slots(&self) -> Value {
        self.asked(
            "SELECT (SELECT count(*) FROM pg_stat_replication) + (SELECT count(*) FROM pg_replication_slots)",
        )
    }

    /// Waits, for at most a minute, until something holds.
    #[track_caller]
    fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..3000 {
            if holds(self) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("not within a minute: {what}");
    }

    /// The programs that work for the backup, by their names.
    fn programs(&self) -> Vec<String> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            // A process that has ended meanwhile, or is about to, has no command line.
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let words: Vec<&str> =
                line.split(|byte| *byte == 0).filter_map(|word| std::str::from_utf8(word).ok()).collect();
            if words.contains(&format!("--label={}", self.label).as_str()) {
                let program = words.first().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
                found.push(program.to_owned());
            }
        }
        found
    }

    /// Nothing of the backup is anywhere.
    fn nothing_is_left(&self) {
        self.until("its programs are gone", |cut| cut.programs().is_empty());
        self.until("its walsender and its slot are gone", |cut| cut.senders_and_slots() == 0);
        let store = FolderStore::new(self.world.path("artifacts"));
        let listed = self.runtime.block_on(store.list("pg/base")).unwrap();
        assert_eq!(listed, [], "the store shows something of it");
    }

    /// A resume takes the backup anew, and it recovers with its rows.
    fn goes_on(&self) {
        let resumed = self.world.drydock("resume r --no-progress");
        assert_eq!(resumed.code, Some(0), "{}{}", resumed.stdout, resumed.stderr);
        let shown = self.world.shown();
        let base = &shown["steps"]["base"];
        assert_eq!(
            (&base["outputs"]["label"], &base["outputs"]["verified"]),
            (&json!(self.label), &json!(true))
        );
        assert_eq!(base["attempts"].as_array().unwrap().len(), 2);
        assert_eq!(shown["steps"]["rows"]["outputs"]["rows"][0]["n"], 20_000);
        let store = FolderStore::new(self.world.path("artifacts"));
        let listed = self.runtime.block_on(store.list("pg/base")).unwrap();
        let paths: Vec<&str> = listed.iter().map(|one| one.path.as_str()).collect();
        let of = |name: &str| format!("pg/base/{}/{name}", self.label);
        assert_eq!(paths, [of("backup.json"), of("backup_manifest"), of("base.tar")]);
        assert_eq!(self.senders_and_slots(), 0);
    }
}

#[test]
fn nothing_of_a_base_backup_stays_after_kill_9_and_a_resume_ends_it() {
    let cut = Cut::new("killed_in_the_middle");
    let mut child = cut.begun();
    child.kill().unwrap();
    child.wait().unwrap();
    cut.nothing_is_left();
    cut.goes_on();
}

#[test]
fn nothing_of_a_base_backup_stays_after_ctrl_c_and_a_resume_ends_it() {
    let cut = Cut::new("stopped_in_the_middle");
    let child = cut.begun();
    assert!(Command::new("kill").arg("-INT").arg(child.id().to_string()).status().unwrap().success());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(23), "{}", String::from_utf8_lossy(&ended.stderr));
    cut.nothing_is_left();
    cut.goes_on();
}
