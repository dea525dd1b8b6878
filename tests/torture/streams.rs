//! The torture: [`tortured`] kills the program, pg_receivewal and the server while pgbench writes, and proves afterwards that every segment
//! is there once, as it was, and leads a base backup to the last row.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::{Cluster, number, receiver, segment};
use crate::load::Load;
use crate::postgres_world::bind;
use crate::watch::Watch;
use crate::world::World;

const PLAN: &str = "drydock: v1
name: torture
targets: { pg: postgres, backups: artifacts }
steps:
  stream: { uses: postgres.wal, target: pg, with: { to: backups, prefix: pg/wal, spool: ./spool, slot: archive, max_rpo: 10s } }
";
const STOP: &str = "drydock: v1
name: stop
targets: { backups: artifacts }
steps:
  stop: { uses: postgres.wal_stop, with: { to: backups, prefix: pg/wal } }
";
const STATUS: &str = "drydock: v1
name: status
targets: { pg: postgres, backups: artifacts }
steps:
  status: { uses: postgres.wal_status, with: { from: backups, prefix: pg/wal, server: pg } }
";
const ENVIRONMENT: &str =
    "drydock: v1\nenvironment: torture\ntargets:\n  backups: { kind: artifacts, url: artifacts }\n";

/// How long anything may take that is waited for, in steps of 20 ms.
const PATIENCE: u32 = 10_000;

/// How hard it is.
#[derive(Debug, Clone, Copy)]
struct Torture {
    seed: u64,
    /// How many segments shall come while something is killed, at the least.
    segments: usize,
    kills: usize,
    /// How large the tables are that are written to, as pgbench counts it.
    scale: u32,
    /// How many transactions a second there are, at the most.
    rate: u32,
}

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Victim {
    Runner,
    Program,
    Server,
    ServerStopped,
}

const VICTIMS: [Victim; 4] = [Victim::Program, Victim::Runner, Victim::Server, Victim::ServerStopped];

/// The same numbers for the same seed.
struct Dice(u64);

impl Dice {
    /// From 0 up to this, which is not among them.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end.max(1)
    }
}

/// What came of it.
struct Outcome {
    killed: [usize; 4],
    stored: usize,
    /// Transactions that pgbench was told are committed, and rows in the end at the server.
    committed: u64,
    rows: u64,
    outputs: Value,
    status: Value,
    took: Duration,
}

/// The world of one torture.
struct Bench {
    world: World,
    cluster: Cluster,
    watch: Watch,
    runner: Child,
}

fn started(world: &World, arguments: &str) -> Child {
    let mut command = world.command(arguments);
    let log = std::fs::File::options().create(true).append(true).open(world.path("log")).unwrap();
    command.stdout(log.try_clone().unwrap()).stderr(log).stdin(Stdio::null());
    command.spawn().unwrap()
}

impl Bench {
    fn begin() -> Self {
        let world = World::plan(PLAN).write("stop.yaml", STOP).write("status.yaml", STATUS);
        let world = world.write("env.yaml", ENVIRONMENT);
        let cluster = Cluster::start();
        // The recovered server is another user's, who must come by the archive.
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(world.path(""), std::fs::Permissions::from_mode(0o711)).unwrap();
        bind(&world, &[("pg", cluster.server.settings())]);
        let runner = started(&world, "run plan.yaml --run-id r --no-progress -e env.yaml");
        cluster.wait_until("SELECT count(*) = 1 FROM pg_replication_slots WHERE active");
        let watch = Watch::begin(world.path("artifacts/pg/wal/00000001"));
        Self { world, cluster, watch, runner }
    }

    /// Returns when this is so. Meanwhile nobody may end by himself.
    fn wait_until(&mut self, what: &str, so: impl Fn(&Self) -> bool) {
        for _ in 0..PATIENCE {
            if so(self) {
                return;
            }
            if let Some(ended) = self.runner.try_wait().unwrap() {
                panic!("it ended by itself with {ended} before {what}:\n{}", self.world.text("log"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("never {what}:\n{}\n{}", self.world.text("log"), self.cluster.server.log());
    }

    fn kill(&mut self, victim: Victim) {
        match victim {
            Victim::Runner => {
                self.runner.kill().unwrap();
                self.runner.wait().unwrap();
                self.runner = started(&self.world, "resume r --no-progress");
            }
            Victim::Program => {
                let spool = self.world.path("spool");
                self.wait_until("pg_receivewal runs", |_| receiver(&spool).is_some());
                let pid = receiver(&spool).map(|pid| pid.to_string()).unwrap_or_default();
                // It may have ended a moment ago, which is as good.
                let _ = std::process::Command::new("kill").args(["-KILL", &pid]).status().unwrap();
            }
            Victim::Server => {
                self.cluster.server.kill();
                assert!(self.cluster.server.run(), "{}", self.cluster.server.log());
            }
            Victim::ServerStopped => {
                self.cluster.server.stop();
                assert!(self.cluster.server.run(), "{}", self.cluster.server.log());
            }
        }
    }

    /// The outputs of the one step of a plan that ends by itself.
    fn asked(&self, plan: &str) -> Value {
        drop(self.world.drydock(&format!("run {plan}.yaml --run-id {plan} -e env.yaml")).with_exit(0));
        let shown = self.world.drydock(&format!("runs show {plan} --format json")).with_exit(0).stdout;
        serde_json::from_str::<Value>(&shown).unwrap()["steps"][plan]["outputs"].clone()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = self.runner.kill();
        let _ = self.runner.wait();
    }
}

/// Tortures, and proves.
fn tortured(torture: Torture) -> Outcome {
    println!("{torture:?}");
    let began = Instant::now();
    let mut dice = Dice(torture.seed);
    let mut bench = Bench::begin();
    Load::tables(&bench.cluster.server, torture.scale);
    let base = bench.cluster.base();
    let load = Load::begin(&bench.cluster.server, torture.rate);
    let wanted = bench.watch.count() + torture.segments;
    let mut killed = [0; 4];
    let between = (torture.segments / torture.kills.max(1)) as u64;
    for n in 0..torture.kills {
        let enough = bench.watch.count() + dice.below(2 * between) as usize;
        bench.wait_until(&format!("{enough} segments have come"), |bench| bench.watch.count() >= enough);
        std::thread::sleep(Duration::from_millis(dice.below(700)));
        let die = dice.below(4) as usize;
        let at = if n < VICTIMS.len() { n } else { die };
        println!(
            "{:.1} s: {} segments, kill {:?}",
            began.elapsed().as_secs_f64(),
            bench.watch.count(),
            VICTIMS[at]
        );
        bench.kill(VICTIMS[at]);
        killed[at] += 1;
    }
    bench.wait_until("enough segments have come", |bench| bench.watch.count() >= wanted);
    let committed = load.end();
    let rows = bench.cluster.rows();
    assert!(committed > 0 && committed <= rows, "{committed} committed, {rows} rows");
    let end = bench.cluster.one("SELECT pg_switch_wal()::text").as_str().unwrap().to_owned();
    let sql = format!("SELECT pg_walfile_name('{end}'::pg_lsn - 1)");
    let last = bench.cluster.one(&sql).as_str().unwrap().to_owned();
    bench.wait_until(&format!("{last} has come"), |bench| bench.watch.has(&last));
    let stopped = bench.asked("stop");
    assert_eq!(stopped["stopped"], true, "{stopped}");
    let ended = bench.runner.wait().unwrap();
    assert!(ended.success(), "{ended}:\n{}", bench.world.text("log"));
    let status = bench.asked("status");
    let outputs = bench.world.shown()["steps"]["stream"]["outputs"].clone();
    let Bench { ref world, ref cluster, .. } = bench;
    let archive = world.path("artifacts/pg/wal/00000001");
    let watch = std::mem::replace(&mut bench.watch, Watch::begin(world.path("nothing")));
    let names = watch.proved();
    let first = number(&names[0]);
    let expected: Vec<String> = (first..=number(&last)).map(segment).collect();
    assert_eq!(names, expected, "each segment from the first to the last");
    assert_eq!(
        (&status["gaps"], &status["short"]),
        (&Value::from([""; 0].to_vec()), &Value::from([""; 0].to_vec()))
    );
    assert_eq!((&status["segments"], &status["newest"]), (&names.len().into(), &last.as_str().into()));
    assert_eq!(outputs["segments"], names.len(), "each is counted once: {outputs}");
    cluster.read_whole(&archive, &names[0], &end);
    let recovered = Cluster::recovered(base, &archive);
    assert_eq!(recovered.rows(), rows, "the recovered rows");
    let sum = "SELECT sum(delta)::text FROM pgbench_history";
    assert_eq!(recovered.one(sum), cluster.one(sum));
    Outcome { killed, stored: names.len(), committed, rows, outputs, status, took: began.elapsed() }
}

impl Outcome {
    /// As a table in Markdown.
    fn table(&self, torture: Torture) -> String {
        let [program, runner, server, stopped] = self.killed;
        let line = |what: &str, found: String| format!("| {what} | {found} |\n");
        let mut text = "| what | found |\n|---|---|\n".to_owned();
        for (what, found) in [
            ("seed", torture.seed.to_string()),
            ("kills of drydock (SIGKILL, then `drydock resume`)", runner.to_string()),
            ("kills of pg_receivewal (SIGKILL)", program.to_string()),
            ("kills of the server (SIGKILL of the postmaster)", server.to_string()),
            ("crashes of the server (immediate shutdown)", stopped.to_string()),
            ("segments of 1 MiB stored", self.stored.to_string()),
            ("segments missing between the first and the last", "0".to_owned()),
            ("segments changed, put again or removed after they came", "0".to_owned()),
            ("gaps by `postgres.wal_status`", self.status["gaps"].as_array().map_or(0, Vec::len).to_string()),
            ("transactions that pgbench was told are committed", self.committed.to_string()),
            ("rows at the server", self.rows.to_string()),
            ("rows after recovery from the base backup and the archive", self.rows.to_string()),
            (
                "starts of pg_receivewal again, without those of a resume",
                self.outputs["restarts"].to_string(),
            ),
            ("RPO at the end, in seconds", self.outputs["rpo_s"].to_string()),
            ("the largest RPO, in seconds", self.outputs["max_rpo_s"].to_string()),
            ("time in all, in seconds", self.took.as_secs().to_string()),
        ] {
            text.push_str(&line(what, found));
        }
        text
    }
}

#[test]
fn killed_under_load_it_stores_each_segment_once_and_all_of_them_lead_to_the_last_row() {
    let torture = Torture { seed: 7, segments: 20, kills: 4, scale: 1, rate: 1000 };
    let outcome = tortured(torture);
    println!("{}", outcome.table(torture));
    assert_eq!(outcome.killed, [1, 1, 1, 1]);
    assert!(outcome.outputs["max_rpo_s"].as_f64().unwrap() > 0.0, "{}", outcome.outputs);
}

#[test]
#[ignore = "it takes long: scripts/wal-torture says how long, and writes the table down"]
#[allow(clippy::disallowed_methods, reason = "a test has the environment to hand in")]
fn as_hard_as_the_script_asks_for() {
    let asked = |name: &str, usual: u64| {
        let text = std::env::var(format!("WAL_TORTURE_{name}"));
        text.map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
    };
    let torture = Torture {
        seed: asked("SEED", 1),
        segments: asked("SEGMENTS", 500) as usize,
        kills: asked("KILLS", 50) as usize,
        scale: 4,
        rate: 1000,
    };
    let table = tortured(torture).table(torture);
    println!("{table}");
    if let Ok(path) = std::env::var("WAL_TORTURE_TABLE") {
        std::fs::write(path, table).unwrap();
    }
}
