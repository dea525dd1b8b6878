//! How fast the engine is beside the machine's own limits, measured in one run: `cargo bench -p drydock --bench speed`.
//!
//! Each figure stands beside what bounds it, measured alternately on the same file system, because a figure alone says more about the
//! machine than about us. `docs/benchmarks.md` keeps a run of it.

#![allow(clippy::disallowed_methods, reason = "a benchmark looks at the clock")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use drydock_recovery::manifest::{Manifest, PointId};
use drydock_recovery::sealed::text_of;
use serde_json::Value;

/// How often each pair is measured; the median counts.
const ROUNDS: usize = 5;

fn program() -> &'static str {
    env!("CARGO_BIN_EXE_drydock")
}

/// Where the measurements lie: on the file system of the repository, not on one in memory.
fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix(".bench").tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder")
}

fn drydock(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command
        .args(arguments)
        .arg("-q")
        .current_dir(dir)
        .env("CI", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn timed(command: &mut Command) -> Duration {
    let began = Instant::now();
    let status = command.status().expect("it starts");
    let took = began.elapsed();
    assert!(status.success(), "{command:?} ended with {status}");
    took
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn ms(span: Duration) -> f64 {
    span.as_secs_f64() * 1_000.0
}

fn report(what: &str, found: String, bound: &str) {
    println!("| {what} | {found} | {bound} |");
}

fn chain(steps: usize, with: &str) -> String {
    let mut plan = format!("drydock: v1\nname: chain\nsteps:\n  s0: {{ {with} }}\n");
    for n in 1..steps {
        plan.push_str(&format!("  s{n}: {{ {with}, needs: [s{}] }}\n", n - 1));
    }
    plan
}

/// The bytes of each batch of a run's journal.
fn batches(dir: &Path, run: &str) -> Vec<Vec<u8>> {
    let journal = std::fs::read(dir.join(".drydock").join(run).join("journal.jsonl")).expect("a journal");
    let mut all = vec![Vec::new()];
    for line in journal.split_inclusive(|byte| *byte == b'\n') {
        let last = all.last_mut().expect("at least one");
        last.extend_from_slice(line);
        let value: Value = serde_json::from_slice(line).expect("JSON");
        if value.get("batch").is_some() {
            all.push(Vec::new());
        }
    }
    all.pop();
    all
}

/// Appending and syncing the same batches, with nothing else.
fn bare_syncs(dir: &Path, batches: &[Vec<u8>]) -> Duration {
    let path = dir.join("bare");
    let _ = std::fs::remove_file(&path);
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&path).expect("a file");
    let began = Instant::now();
    for batch in batches {
        file.write_all(batch).expect("written");
        file.sync_data().expect("synced");
    }
    began.elapsed()
}

fn durable_chain() {
    let dir = folder();
    std::fs::write(dir.path().join("chain.yaml"), chain(1_000, "uses: flow.noop")).expect("written");
    let mut ratios = Vec::new();
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let run = format!("r{round}");
        let took = timed(&mut drydock(dir.path(), &["run", "chain.yaml", "--run-id", &run]));
        let limit = bare_syncs(dir.path(), &batches(dir.path(), &run));
        ours.push(ms(took));
        bare.push(ms(limit));
        ratios.push(ms(took) / ms(limit));
    }
    report(
        "chain of 1,000 durable no-op steps, beside a bare append+fdatasync loop of the same bytes",
        format!("{:.0} ms / {:.0} ms = {:.2}", median(ours), median(bare), median(ratios)),
        "<= 1.2",
    );
    let journal: usize = batches(dir.path(), "r0").iter().map(Vec::len).sum();
    report("journal of a no-op step", format!("{} bytes", journal / 1_000), "<= 1,024");
    report("batches (syncs) of a chain of 1,000", batches(dir.path(), "r0").len().to_string(), "<= 1,003");
    report(
        "peak memory of the chain",
        format!("{:.1} MiB", peak_mib(dir.path(), &["run", "chain.yaml", "--run-id", "peak"])),
        "<= 30",
    );
}

/// The most memory that a process had, by asking the system while it lives.
fn peak_mib(dir: &Path, arguments: &[&str]) -> f64 {
    let mut child = drydock(dir, arguments).spawn().expect("it starts");
    let path = format!("/proc/{}/status", child.id());
    let mut peak = 0.0_f64;
    while child.try_wait().expect("waited").is_none() {
        let status = std::fs::read_to_string(&path).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
        let kib: f64 = line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).unwrap_or(0.0);
        peak = peak.max(kib / 1_024.0);
        std::thread::sleep(Duration::from_millis(2));
    }
    peak
}

fn fan() {
    let dir = folder();
    let mut plan = "drydock: v1\nname: fan\nmax_parallel: 1000\nsteps:\n".to_owned();
    (0..1_000).for_each(|n| plan.push_str(&format!("  s{n}: {{ uses: flow.noop }}\n")));
    std::fs::write(dir.path().join("fan.yaml"), plan).expect("written");
    let mut rates = Vec::new();
    for round in 0..ROUNDS {
        let run = format!("r{round}");
        timed(&mut drydock(dir.path(), &["run", "fan.yaml", "--run-id", &run]));
        let journal = std::fs::read_to_string(dir.path().join(".drydock").join(&run).join("journal.jsonl"))
            .expect("a journal");
        let at = |event: &str, last: bool| {
            let mut lines = journal.lines().filter(|line| line.contains(&format!("\"event\":\"{event}\"")));
            let line = if last { lines.next_back() } else { lines.next() }.expect("the event");
            let value: Value = serde_json::from_str(line).expect("JSON");
            chrono::DateTime::parse_from_rfc3339(value["at"].as_str().expect("a time"))
                .expect("a time")
                .timestamp_millis()
        };
        let span = (at("step_ended", true) - at("attempt_started", false)).max(1);
        rates.push(1_000.0 * 1_000.0 / span as f64);
    }
    report("fan of 1,000 from first start to last end", format!("{:.0} steps/s", median(rates)), ">= 20,000");
}

fn reading() {
    let dir = folder();
    let mut short = "drydock: v1\nname: short\nsteps:\n".to_owned();
    let mut long =
        "drydock: v1\nname: long\nparams:\n  n: { type: integer, default: 3 }\nsteps:\n".to_owned();
    for n in 0..10_000_u32 {
        let need = n.saturating_sub(1);
        short.push_str(&format!("  s{n}:\n    uses: flow.noop\n    description: step {n}\n"));
        let needs = if n == 0 {
            String::new()
        } else {
            format!("    needs: [s{need}]\n    when: params.n > 1 and steps.s{need}.status == 'succeeded'\n")
        };
        long.push_str(&format!(
            "  s{n}:\n    description: step {n}\n    uses: flow.set\n{needs}    timeout: 5m\n    retry: {{ attempts: 2 }}\n    with:\n      values:\n        n: \"{{{{ params.n + {n} }}}}\"\n        text: \"step {{{{ params.n }}}} of {n}\"\n"
        ));
    }
    std::fs::write(dir.path().join("short.yaml"), short).expect("written");
    std::fs::write(dir.path().join("long.yaml"), long).expect("written");
    for (plan, what, bound) in [
        ("short.yaml", "check of 10,000 steps of three lines", "< 100 ms"),
        ("long.yaml", "check of 10,000 steps of eleven lines with expressions", "< 600 ms"),
    ] {
        let all = (0..ROUNDS).map(|_| ms(timed(&mut drydock(dir.path(), &["check", plan])))).collect();
        report(what, format!("{:.0} ms", median(all)), bound);
    }
    report(
        "peak memory of that check",
        format!("{:.0} MiB", peak_mib(dir.path(), &["check", "long.yaml"])),
        "< 150",
    );
    std::fs::write(dir.path().join("chain.yaml"), chain(1_000, "uses: flow.noop")).expect("written");
    let all = (0..ROUNDS).map(|_| ms(timed(&mut drydock(dir.path(), &["dry-run", "chain.yaml"])))).collect();
    report("dry run of 1,000 steps", format!("{:.0} ms", median(all)), "< 50 ms");
}

/// A history of logs every quarter of an hour, differentials every four hours, a full a day; as JSON.
fn history(backups: usize) -> String {
    let mut entries: Vec<String> = Vec::with_capacity(backups);
    let (mut lsn, mut last_log, mut full) = (1_000_000_000_u64, 1_000_000_000_u64, (0, 0));
    let mut quarter = 0;
    while entries.len() < backups {
        let kinds: &[&str] = match quarter % 96 {
            0 => &["full", "log"],
            at if at % 16 == 0 => &["differential", "log"],
            _ => &["log"],
        };
        for kind in kinds {
            let (first, number) = (if *kind == "log" { last_log } else { lsn }, entries.len());
            lsn += 500;
            if *kind == "full" {
                full = (number, first);
            }
            let base = if *kind == "differential" {
                format!(
                    "\"differential_base_lsn\":\"{}\",\"differential_base_guid\":\"{:08x}-0000-4000-8000-000000000000\",",
                    full.1, full.0
                )
            } else {
                String::new()
            };
            let at = chrono::DateTime::from_timestamp(1_672_531_200 + quarter * 900, 0).expect("a time");
            let at = at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
            entries.push(format!(
                "{{\"server\":\"sql01\",\"database\":\"OctopusDB\",\"type\":\"{kind}\",\"copy_only\":false,\"position\":1,\"backup_set_guid\":\"{number:08x}-0000-4000-8000-000000000000\",\"first_lsn\":\"{first}\",\"last_lsn\":\"{lsn}\",\"checkpoint_lsn\":\"{first}\",{base}\"recovery_fork_id\":\"f0000000-0000-4000-8000-000000000001\",\"family_guid\":\"fa000000-0000-4000-8000-000000000001\",\"started_at\":\"{at}\",\"finished_at\":\"{at}\",\"media\":[\"D:\\\\Backups\\\\{number}.bak\"]}}"
            ));
            if *kind == "log" {
                last_log = lsn;
            }
        }
        quarter += 1;
    }
    format!("[{}]", entries.join(","))
}

/// The choice of a chain in a long history.
fn histories() {
    let dir = folder();
    let text = history(100_000);
    let read = drydock_recovery::history::History::parse(&text).expect("a history");
    let request = drydock_recovery::chain::ChainRequest::default();
    let all = (0..ROUNDS).map(|_| {
        let begin = Instant::now();
        drydock_recovery::chain::choose(&read, &request).expect("a chain");
        ms(begin.elapsed())
    });
    report("a chain out of 100,000 backups", format!("{:.0} ms", median(all.collect())), "< 200 ms");
    std::fs::write(dir.path().join("history.json"), &text).expect("written");
    let arguments = ["chain", "--history", "history.json", "--format", "json"];
    let all = (0..ROUNDS).map(|_| ms(timed(&mut drydock(dir.path(), &arguments)))).collect();
    let size = text.len() >> 20;
    report("the same as a command, reading its JSON", format!("{:.0} ms ({size} MiB)", median(all)), "");
}

fn resuming() {
    let dir = folder();
    std::fs::write(dir.path().join("chain.yaml"), chain(1_000, "uses: flow.noop")).expect("written");
    let mut spans = Vec::new();
    for round in 0..ROUNDS {
        let run = format!("r{round}");
        let mut command = drydock(dir.path(), &["run", "chain.yaml", "--run-id", &run]);
        assert!(!command.env("DRYDOCK_CRASH_AT", "501").status().expect("it starts").success());
        let journal = dir.path().join(".drydock").join(&run).join("journal.jsonl");
        // Behind the last line there is room, which the sitting that goes on writes into.
        let before = std::fs::read(&journal).expect("a journal").trim_ascii_end().len();
        let began = Instant::now();
        let mut child = drydock(dir.path(), &["resume", &run]).spawn().expect("it starts");
        let span = loop {
            let text = std::fs::read(&journal).expect("a journal");
            if String::from_utf8_lossy(&text[before.min(text.len())..]).contains("attempt_started") {
                break began.elapsed();
            }
            assert!(began.elapsed() < Duration::from_secs(20), "it does not go on");
        };
        spans.push(ms(span));
        assert!(child.wait().expect("waited").success());
    }
    report(
        "resume after a kill at 500 of 1,000, from exec to the next body",
        format!("{:.0} ms", median(spans)),
        "< 50 ms",
    );
}

fn processes() {
    let dir = folder();
    std::fs::write(
        dir.path().join("chain.yaml"),
        chain(1_000, "uses: process.run, with: { argv: [/bin/true] }"),
    )
    .expect("written");
    let (mut ours, mut bare, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..3 {
        let run = format!("r{round}");
        let took = timed(&mut drydock(dir.path(), &["run", "chain.yaml", "--run-id", &run]));
        let began = Instant::now();
        for _ in 0..1_000 {
            assert!(Command::new("/bin/true").status().expect("it starts").success());
        }
        let limit = began.elapsed();
        ours.push(ms(took));
        bare.push(ms(limit));
        ratios.push(ms(took) / ms(limit));
    }
    report(
        "chain of 1,000 process.run of /bin/true, beside a bare spawn+wait loop",
        format!("{:.0} ms / {:.0} ms = {:.2}", median(ours), median(bare), median(ratios)),
        "<= 1.8",
    );
}

/// A shell command of a user, which must end well.
fn shell(dir: &Path, text: &str) -> Duration {
    timed(Command::new("sh").args(["-ec", text]).current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()))
}

/// Practice servers in a process of their own; they end with this value.
struct Practice(std::process::Child);

impl Practice {
    fn start(dir: &Path) -> Self {
        let environment = std::fs::File::create(dir.join("env.yaml")).expect("a file");
        let mut command = Command::new(program());
        command.args(["practice", "--dir", "practice", "--ports", "ports.json"]).current_dir(dir);
        let child = command.stdin(Stdio::null()).stdout(environment).stderr(Stdio::null()).spawn();
        let began = Instant::now();
        while !dir.join("ports.json").exists() {
            assert!(began.elapsed() < Duration::from_secs(60), "the practice servers do not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self(child.expect("it starts"))
    }
}

impl Drop for Practice {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A snapshot of 1 GiB that is downloaded, hashed and synced, beside `curl` and then `sha256sum` of the same from the same server.
fn fetching() {
    let dir = folder();
    let at = dir.path();
    let practice = Practice::start(at);
    let ports = std::fs::read_to_string(at.join("ports.json")).expect("ports");
    let ports: Value = serde_json::from_str(&ports).expect("JSON");
    let node = ports.pointer("/qdrant/nodes/0").and_then(Value::as_str).expect("a node");
    let key = ports.pointer("/qdrant/api_key").and_then(Value::as_str).expect("a key");
    let curl = format!("curl -sf -H 'api-key: {key}'");
    let config = r#"{"vectors":{"size":4,"distance":"Dot"}}"#;
    shell(
        at,
        &format!("{curl} -X PUT -H 'content-type: application/json' -d '{config}' {node}/collections/big"),
    );
    let name = "big-1-2026-11-22-06-46-22.snapshot";
    let file = format!("practice/qdrant/qdrant-0/snapshots/big/{name}");
    shell(
        at,
        &format!(
            r#"mkdir -p whole/0/segments whole/0/wal practice/qdrant/qdrant-0/snapshots/big
            echo '{{"params":{{"vectors":{{"size":4,"distance":"Dot"}},"shard_number":1}}}}' > whole/config.json
            echo '{{"is_local":true}}' > whole/0/replica_state.json
            echo x > whole/0/wal/open-1
            head -c 1G /dev/urandom > whole/0/segments/s.tar
            tar -C whole -cf {file} 0 config.json
            sha256sum {file} | cut -c1-64 > sum"#
        ),
    );
    let sum = std::fs::read_to_string(at.join("sum")).expect("a sum");
    let size = std::fs::metadata(at.join(&file)).expect("a file").len();
    let plan = format!(
        "drydock: v1\nname: fetching\ntargets: {{ vectors: qdrant, backups: artifacts }}\nsteps:\n  fetch:\n    uses: qdrant.fetch\n    target: vectors\n    with:\n      to: backups\n      keep_on_server: true\n      snapshot:\n        collection: big\n        points: {{ low: 0, high: 0 }}\n        params: {{ vectors: {{ size: 4, distance: Dot }}, shard_number: 1 }}\n        shards: [0]\n        snapshots:\n          - node: \"{node}\"\n            shards: [0]\n            name: {name}\n            size: {size}\n            sha256: {}\n            started_at: 2026-11-22T06:46:22Z\n            answered_at: 2026-11-22T06:46:23Z\n",
        sum.trim()
    );
    std::fs::write(at.join("plan.yaml"), plan).expect("written");
    let (mut ours, mut loads, mut sums) = (Vec::new(), Vec::new(), Vec::new());
    let (mut sum_ratios, mut slower_ratios) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let _ = std::fs::remove_dir_all(at.join("practice/artifacts/qdrant"));
        let run = format!("r{round}");
        let took = ms(timed(&mut drydock(at, &["run", "plan.yaml", "-e", "env.yaml", "--run-id", &run])));
        let load = ms(shell(at, &format!("{curl} -o got {node}/collections/big/snapshots/{name}")));
        let hashed = ms(shell(at, "sha256sum got"));
        shell(at, "rm got; sync");
        sum_ratios.push((load + hashed) / took);
        slower_ratios.push(load.max(hashed) / took);
        ours.push(took);
        loads.push(load);
        sums.push(hashed);
    }
    let _ = std::fs::remove_dir_all(at.join("practice/artifacts/qdrant"));
    let peak = peak_mib(at, &["run", "plan.yaml", "-e", "env.yaml", "--run-id", "peak"]);
    drop(practice);
    let (ours, loads, sums) = (median(ours), median(loads), median(sums));
    report(
        "a Qdrant snapshot of 1 GiB downloaded, hashed, synced and looked into; `curl -o` then `sha256sum`, unsynced, of the same",
        format!("{ours:.0} ms; {loads:.0} ms + {sums:.0} ms = {:.2} times as fast", median(sum_ratios)),
        ">= 1.0",
    );
    report(
        "the same beside the slower of the two alone",
        format!("{:.2} times as fast", median(slower_ratios)),
        ">= 0.9",
    );
    report("peak memory of that download", format!("{peak:.1} MiB"), "< 64");
}

/// Makes what a point says of its backups its own: their ids, and where they stand in the log. Without that, ten thousand points would be of one
/// backup, and its chain of one link.
fn as_its_own(value: &mut Value, n: u64) {
    let Some(fields) = value.as_object_mut() else {
        return value.as_array_mut().into_iter().flatten().for_each(|one| as_its_own(one, n));
    };
    for (key, value) in fields {
        match value {
            Value::String(text) if key.ends_with("lsn") => {
                let number: u64 = text.parse().expect("a number");
                *text = (number + n * 10_000_000_000).to_string();
            }
            Value::String(text) if key == "backup_set_guid" => text.push_str(&format!("-{n}")),
            _ => as_its_own(value, n),
        }
    }
}

/// So many points like the golden one, a minute apart, each with backups of its own, in a folder of a store.
fn points_of(dir: &Path, points: u64) {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/formats/manifest-v2.json");
    let golden = Manifest::parse(&std::fs::read_to_string(golden).expect("a manifest")).expect("it is read");
    let value = serde_json::to_value(&golden).expect("JSON");
    for n in 1..=points {
        let mut value = value.clone();
        as_its_own(&mut value, n);
        let mut point: Manifest = serde_json::from_value(value).expect("a manifest");
        point.id = PointId::parse(&format!("01K1{n:022}")).expect("a ULID");
        point.mark = point.id.mark();
        point.marked_at += chrono::TimeDelta::minutes(i64::try_from(n).expect("few"));
        let folder = dir.join("store/points").join(point.id.as_str());
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("manifest.json"), text_of(&point, None).expect("JSON")).expect("written");
    }
    for (_, artifact) in golden.artifacts() {
        let path = dir.join("store").join(&artifact.path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::File::create(path).expect("a file").set_len(artifact.size).expect("long enough");
    }
}

fn points() {
    let dir = folder();
    points_of(dir.path(), 10_000);
    let environment = "drydock: v1\nenvironment: e\ntargets:\n  backups: { kind: artifacts, url: ./store }\n";
    std::fs::write(dir.path().join("e.yaml"), environment).expect("written");
    let plan = "drydock: v1\nname: chosen\ntargets: { backups: artifacts }\nsteps:\n  point: { uses: point.select, target: backups, with: { to: 'point:latest' } }\n";
    std::fs::write(dir.path().join("chosen.yaml"), plan).expect("written");
    let median_of = |arguments: &[&str]| {
        median((0..ROUNDS).map(|_| ms(timed(&mut drydock(dir.path(), arguments)))).collect())
    };
    let list = median_of(&["points", "list", "-e", "e.yaml"]);
    report(
        "`points list` of 10,000 points in a folder, each digest checked",
        format!("{list:.0} ms"),
        "< 1,000 ms",
    );
    let chosen = |mark: &str, more: &[&str]| {
        let took = (0..ROUNDS).map(|round| {
            let run = format!("{mark}{round}");
            let arguments = [&["run", "chosen.yaml", "-e", "e.yaml", "--run-id", &run], more].concat();
            ms(timed(&mut drydock(dir.path(), &arguments)))
        });
        median(took.collect())
    };
    report(
        "a run that chooses the newest of them (`point.select`)",
        format!("{:.0} ms", chosen("c", &["--no-preflight"])),
        "< 1,000 ms",
    );
    report(
        "the same looking ahead before it begins, which chooses once more",
        format!("{:.0} ms", chosen("p", &[])),
        "",
    );
}

fn main() {
    // `cargo test --benches` only asks whether it compiles.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    // One part alone: `cargo bench -p drydock --bench speed -- fetching`, or `points`.
    if std::env::args().any(|argument| argument == "fetching") {
        return fetching();
    }
    if std::env::args().any(|argument| argument == "points") {
        return points();
    }
    println!("| what | found | wanted |\n|---|---|---|");
    durable_chain();
    fan();
    reading();
    histories();
    resuming();
    processes();
    points();
    fetching();
}
