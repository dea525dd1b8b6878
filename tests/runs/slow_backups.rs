//! A full backup and a download of forty minutes each, on servers whose clocks go fast: log points go on beside them, the point's skew has
//! nothing of either in it, and both kinds are gone back to.

use std::process::Stdio;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::log_points::Story;
use crate::sql_plans::Practice;

/// How fast the servers' clocks go: fifteen seconds are forty minutes, and long enough for several log points on a busy machine.
const PACE: &str = "160";
const SLOW_MS: u64 = 15_000;

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap_or_else(|| panic!("{value} is no time")).parse().unwrap()
}

fn point(story: &Story, id: &str) -> Value {
    let shown =
        story.world.drydock(&format!("points show {id} -e env.yaml --format json")).with_exit(0).stdout;
    serde_json::from_str(&shown).unwrap()
}

/// The lines of the ledger whose operation has these words.
fn ledger(story: &Story, words: &str) -> Vec<Value> {
    let lines = story.world.text("ledger.jsonl");
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["op"].as_str().unwrap().contains(words)).collect()
}

#[test]
fn log_points_go_on_beside_a_backup_of_forty_minutes() {
    let mut story = Story::new();
    // The first night is quick; in the second the full is slow, and so is the first download.
    let faults = json!([
        { "server": "sqlserver", "op": "backup database *", "attempt": "slow/*", "do": "slow", "ms": SLOW_MS },
        { "server": "qdrant*", "op": "GET */snapshots/*", "attempt": "slow/*", "do": "slow", "ms": SLOW_MS },
    ]);
    std::fs::write(story.world.path("faults.json"), faults.to_string()).unwrap();
    let (faults, ledger_file) = (story.world.path("faults.json"), story.world.path("ledger.jsonl"));
    let files = [faults.to_str().unwrap(), ledger_file.to_str().unwrap()];
    let flags = ["--fill", "--pace", PACE, "--faults", files[0], "--ledger", files[1]];
    let _practice = Practice::with(&story.world, "{}", &flags);
    // The runner's clock is not theirs; the lease would last less than a second.
    let how = "-p pause=false -p clocks=30d";
    let first = story.shipped("backup", how)["point"].as_str().unwrap().to_owned();
    story.add("before");

    let plan = format!("{}/../plans/octopus/backup.yaml", env!("CARGO_MANIFEST_DIR"));
    let mut backup = story.world.command(&format!("run {plan} -e env.yaml --run-id slow {how}"));
    let said = std::fs::File::create(story.world.path("slow.log")).unwrap();
    let mut backup = backup.stdout(Stdio::null()).stderr(said).spawn().unwrap();
    let mut logs = Vec::new();
    let status = loop {
        if let Some(status) = backup.try_wait().unwrap() {
            break status;
        }
        logs.push(story.shipped("log", "")["log_point"].as_str().unwrap().to_owned());
        if logs.len() == 1 {
            story.add("meanwhile");
        }
    };
    assert_eq!(status.code(), Some(0), "{}", story.world.text("slow.log"));
    let sealed = story.shown("slow")["outputs"]["point"].as_str().unwrap().to_owned();
    let manifest = point(&story, &sealed);

    // By the servers' own clocks the full took forty minutes, and one download after the mark.
    let backups = manifest["sqlserver"]["octopus"]["backups"].as_array().unwrap();
    let full = &backups[0]["backup"];
    let (began, ended) = (time(&full["started_at"]), time(&full["finished_at"]));
    assert_eq!(full["type"], "full");
    assert!(ended - began >= TimeDelta::minutes(40), "{full}");
    let mark = time(&manifest["sqlserver"]["octopus"]["mark"]["at"]);
    assert!(ended <= mark);
    let downloads = ledger(&story, "/snapshots/agent_");
    let last = downloads.iter().map(|line| time(&line["at"])).max().unwrap();
    assert!(last - mark >= TimeDelta::minutes(40), "{downloads:?}");
    // Nothing slow lies in the skew.
    for collection in manifest["qdrant"]["collections"].as_array().unwrap() {
        assert!(collection["skew_s"].as_f64().unwrap() < SLOW_MS as f64 / 1_000.0, "{collection}");
        let made = time(&collection["snapshots"][0]["created_at"]);
        assert!(ended - TimeDelta::seconds(1) <= made && made <= mark, "{collection}");
    }

    // Log points were sealed beside both, and those beside the full are a part of the chain to the mark.
    let marks: Vec<(String, DateTime<Utc>)> = logs
        .iter()
        .map(|id| (id.clone(), time(&point(&story, id)["sqlserver"]["octopus"]["mark"]["at"])))
        .collect();
    let during = |from, until| marks.iter().filter(|(_, at)| from < *at && *at < until).count();
    assert!(during(began, ended) >= 1 && during(mark, last) >= 1, "{marks:?}");
    let adopted = backups.iter().filter(|one| one["adopted"] == json!(true)).count();
    assert!(adopted >= during(began, ended), "{backups:?}");

    // Back to the point, then to a log point that was made beside the full.
    story.add("after");
    story.shipped("restore", &format!("-p to={sealed}"));
    assert_eq!(story.agents(), ["before", "meanwhile"]);
    let beside = marks.iter().rposition(|(_, at)| began < *at && *at < ended).unwrap();
    story.shipped("restore", &format!("-p to={}", marks[beside].0));
    let expected: &[&str] = if beside < 1 { &["before"] } else { &["before", "meanwhile"] };
    assert_eq!(story.agents(), expected);
    let shown = story.shown(&format!("r{}", story.runs - 1));
    assert_eq!(shown["steps"]["point"]["outputs"]["vector_base"], json!(first));
}
