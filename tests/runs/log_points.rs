//! Between two points: log points and differentials that are marked, sealed and gone back to, also when nothing is left but the artifact store.

use serde_json::{Value, json};

use crate::sql_plans::Practice;
use crate::world::World;

/// An agent is added by the application, and one document of it; a collection and vectors belong to them.
const ADD: &str = "drydock: v1
name: add
params: { name: { type: string, required: true } }
targets: { api: http, sql: sqlserver }
steps:
  agent: { uses: http.request, target: api, with: { method: POST, path: /agents, json: { name: \"zz-{{ params.name }}\" } }, on_unknown: redo }
  document:
    uses: http.request
    target: api
    needs: [agent]
    with:
      method: POST
      path: \"/agents/{{ steps.agent.outputs.json.id }}/documents\"
      json: { title: \"{{ params.name }}\", text: \"About the {{ params.name }} in the harbour.\" }
    on_unknown: redo
  now: { uses: sqlserver.query, target: sql, needs: [document], with: { sql: SELECT SYSUTCDATETIME() AS now } }
outputs: { now: \"{{ steps.now.outputs.rows[0].now }}\" }
";

/// What is there of that.
const THERE: &str = "drydock: v1
name: there
targets: { sql: sqlserver }
steps:
  agents: { uses: sqlserver.query, target: sql, with: { database: OctopusDB, sql: \"SELECT Name FROM Octopus_Agents WHERE Name LIKE 'zz-%' ORDER BY Name\" } }
outputs: { agents: \"{{ steps.agents.outputs.rows }}\" }
";

/// A user, plans, and how many were run.
pub(crate) struct Story {
    pub(crate) world: World,
    pub(crate) runs: u32,
}

impl Story {
    pub(crate) fn new() -> Self {
        Self { world: World::plan("").write("add.yaml", ADD).write("there.yaml", THERE), runs: 0 }
    }

    /// A plan run to its end; what it gives.
    pub(crate) fn run(&mut self, plan: &str, more: &str) -> Value {
        self.runs += 1;
        let id = format!("r{}", self.runs);
        self.world.drydock(&format!("run {plan} -e env.yaml --run-id {id} {more}")).with_exit(0);
        self.shown(&id)["outputs"].clone()
    }

    pub(crate) fn shown(&self, id: &str) -> Value {
        let shown = self.world.drydock(&format!("runs show {id} --format json")).with_exit(0).stdout;
        serde_json::from_str(&shown).unwrap()
    }

    pub(crate) fn shipped(&mut self, plan: &str, more: &str) -> Value {
        let plan = format!("{}/../plans/octopus/{plan}.yaml", env!("CARGO_MANIFEST_DIR"));
        self.run(&plan, more)
    }

    /// When it was there, by the server's clock.
    pub(crate) fn add(&mut self, name: &str) -> String {
        self.run("add.yaml", &format!("-p name={name}"))["now"].as_str().unwrap().to_owned()
    }

    pub(crate) fn agents(&mut self) -> Vec<String> {
        let rows = self.run("there.yaml", "")["agents"].clone();
        let name = |row: &Value| row["Name"].as_str().unwrap().trim_start_matches("zz-").to_owned();
        rows.as_array().unwrap().iter().map(name).collect()
    }
}

#[test]
fn the_last_log_point_comes_back_from_the_store_alone_on_another_server() {
    let mut story = Story::new();
    let practice = Practice::start(&story.world, r#"{ "platform": "windows" }"#);
    story.add("before");
    let point = story.shipped("backup", "")["point"].clone();
    story.add("first");
    story.shipped("log", "");
    story.add("second");
    story.shipped("differential", "");
    story.add("third");
    let moment = story.add("moment");
    story.add("fourth");
    let last = story.shipped("log", "")["log_point"].clone();
    story.add("never");
    let listed = story.world.drydock("points list -e env.yaml --format json").with_exit(0).stdout;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let kinds: Vec<&str> =
        listed.as_array().unwrap().iter().map(|one| one["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["log", "differential", "log", "point"]);

    // The runner's state, the server, its msdb and its disks are gone; the store is found again elsewhere.
    drop(practice);
    let mut elsewhere = Story::new();
    std::fs::rename(story.world.path("artifacts"), elsewhere.world.path("nas")).unwrap();
    drop(story);
    let share =
        json!({ "platform": "windows", "shares": { r"\\nas02\octopus": elsewhere.world.path("nas") } });
    let _practice = Practice::empty(&elsewhere.world, &share.to_string());
    let environment = elsewhere.world.text("env.yaml");
    let environment = environment.replace(r"\\\\practice\\artifacts\\sql", r"\\\\nas02\\octopus\\sql");
    let environment = environment.replace("/artifacts\"", "/nas\"");
    assert!(environment.contains("nas02") && environment.contains("/nas\""), "{environment}");
    std::fs::write(elsewhere.world.path("env.yaml"), environment).unwrap();

    let restored = elsewhere.shipped("restore", "-p to=end");
    assert_eq!(restored["point"], last);
    assert_eq!(elsewhere.agents(), ["before", "first", "fourth", "moment", "second", "third"]);
    let shown = elsewhere.shown("r1");
    let counts = &shown["steps"]["consistent"]["outputs"]["counts"];
    assert_eq!((&counts["orphans"], &counts["missing_collections"]), (&json!(0), &json!(5)), "{counts}");
    let chosen = &shown["steps"]["point"]["outputs"];
    assert_eq!((&chosen["vector_base"], &chosen["kind"]), (&point, &json!("log")));
    let reindexed = &shown["steps"]["reindex"]["outputs"]["json"]["collections"];
    assert_eq!(reindexed.as_array().map(Vec::len), Some(5), "{reindexed}");

    // And to the very moment between two log points.
    let at = chrono::DateTime::parse_from_rfc3339(&moment).unwrap() + chrono::TimeDelta::milliseconds(10);
    let to = format!("-p to={} -p new_point=true", at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true));
    elsewhere.shipped("restore", &to);
    assert_eq!(elsewhere.agents(), ["before", "first", "moment", "second", "third"]);
    the_line_goes_on_from_there(&mut elsewhere, last.as_str().unwrap());
}

/// A restore begins a line of its own, with a full backup and a point: what it left behind is never chosen unasked again.
fn the_line_goes_on_from_there(story: &mut Story, abandoned: &str) {
    let listed = story.world.drydock("points list -e env.yaml --format json").with_exit(0).stdout;
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    let told: Vec<(&str, bool)> =
        listed.iter().map(|one| (one["kind"].as_str().unwrap(), one["current"].as_bool().unwrap())).collect();
    // From the oldest: the point, the two log points before the moment, the one that lies after it, and the point that the restore made.
    assert_eq!(
        told,
        [("point", true), ("log", false), ("differential", true), ("log", true), ("point", true)]
    );
    assert_eq!(listed[1]["id"], abandoned);
    let newest = listed[0]["id"].as_str().unwrap().to_owned();
    let shown =
        story.world.drydock(&format!("points show {newest} -e env.yaml --format json")).with_exit(0).stdout;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert!(shown["by"].as_str().unwrap().contains('@'), "{}", shown["by"]);
    assert_eq!(shown["versions"]["embedding_models"], "bag-of-words-128", "{}", shown["versions"]);

    story.add("after");
    for (to, agents) in [("end", 5), ("point:latest", 5)] {
        let restored = story.shipped("restore", &format!("-p to={to}"));
        assert_eq!((&restored["point"], story.agents().len()), (&json!(newest), agents), "{to}");
    }
    // It was left, and whoever names it still gets it.
    let restored = story.shipped("restore", &format!("-p to={abandoned}"));
    assert_eq!((restored["point"].as_str(), story.agents().len()), (Some(abandoned), 6));
    // What the four before it took, it was told to take.
    let price = story.shown(&format!("r{}", story.runs - 1))["steps"]["point"]["outputs"]["price"].clone();
    assert_eq!(price["expected"]["restores"], 4, "{price}");
    assert_eq!(price["expected"]["environment"], "practice");
}

/// Answers 200 to everything that comes, and keeps what was asked.
pub(crate) fn obliging() -> (String, std::sync::Arc<std::sync::Mutex<Vec<String>>>) {
    use std::io::{BufRead, BufReader, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = asked.clone();
    // It ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut line = String::new();
            let _ = BufReader::new(&stream).read_line(&mut line);
            // Whoever only looks whether it is there sends nothing.
            if line.is_empty() {
                continue;
            }
            kept.lock().unwrap().push(line.trim_end().trim_end_matches(" HTTP/1.1").to_owned());
            let _ =
                (&stream).write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}");
        }
    });
    (url, asked)
}

#[test]
fn a_failover_waits_for_approval_and_leads_the_name_there_last() {
    let mut story = Story::new();
    let practice = Practice::start(&story.world, "{}");
    story.add("before");
    story.shipped("backup", "");
    story.add("first");
    let last = story.shipped("log", "")["log_point"].clone();
    drop(practice);
    let mut elsewhere = Story::new();
    std::fs::rename(story.world.path("artifacts"), elsewhere.world.path("artifacts")).unwrap();
    drop(story);
    let _practice = Practice::empty(&elsewhere.world, "{}");
    let (url, asked) = obliging();
    let more = format!(
        "targets:\n  hosts: {{ kind: http, url: \"{url}\" }}\n  dns: {{ kind: http, url: \"{url}\" }}\n"
    );
    let environment = elsewhere.world.text("env.yaml").replace("targets:\n", &more);
    std::fs::write(elsewhere.world.path("env.yaml"), environment).unwrap();
    let folders = elsewhere.world.path("servers/sqlserver");
    let plan = format!("{}/../plans/octopus/failover.yaml", env!("CARGO_MANIFEST_DIR"));
    let look = format!(
        "dry-run {plan} -e env.yaml -p to=end -p address=other.example -p data_folder={0}/data -p log_folder={0}/log --probe --out away.json",
        folders.display()
    );
    for folder in ["data", "log"] {
        std::fs::create_dir_all(folders.join(folder)).unwrap();
    }
    // What is approved is what was looked at, and nothing else, also when the run is gone on with.
    elsewhere.world.drydock(&look).with_exit(0);
    elsewhere.world.drydock("run --saved away.json --run-id away").with_exit(24);
    assert!(asked.lock().unwrap().is_empty(), "nothing is touched before somebody has approved");
    elsewhere.world.drydock("approve away approved --as on-call --reason drill").with_exit(0);
    elsewhere.world.drydock("resume away").with_exit(0);
    assert_eq!(elsewhere.shown("away")["outputs"]["point"], last);
    assert_eq!(elsewhere.agents(), ["before", "first"]);
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked, ["POST /stop", "POST /start", "PUT /records/octopus.example"]);
    let saved: Value = serde_json::from_str(&elsewhere.world.text("away.json")).unwrap();
    let steps =
        saved["steps"].as_array().unwrap().iter().flat_map(|step| step["actions"].as_array().unwrap());
    let of_hosts = steps.filter(|action| action["target"] == "hosts" || action["target"] == "dns");
    let shown: Vec<&str> = of_hosts.map(|action| action["text"].as_str().unwrap()).collect();
    let fits = |(shown, asked): (&&str, &String)| shown.replace(&url, "").starts_with(asked.as_str());
    assert!(shown.len() == asked.len() && shown.iter().zip(&asked).all(fits), "{shown:?}");

    // The newest point is verified whole before older ones go.
    let pruned = elsewhere.shipped("prune", "-p last=1");
    assert_eq!(pruned["removed"], 0);
}

/// A log point is made between the full backup and the mark, as it is every quarter of an hour beside a backup of an hour.
const MEANWHILE: &str = "drydock: v1
name: meanwhile
targets: { sql: sqlserver, backups: artifacts }
steps:
  full: { uses: sqlserver.backup, target: sql, with: { database: OctopusDB, type: full } }
  between: { uses: plan.run, needs: [full], with: { plan: LOG } }
  open: { uses: point.open, target: backups, needs: [between] }
  mark:
    uses: sqlserver.mark
    target: sql
    needs: [open]
    with: { mark: \"{{ steps.open.outputs.mark }}\", databases: { octopus: OctopusDB } }
  after: { uses: plan.run, needs: [mark], with: { plan: LOG } }
  log: { uses: sqlserver.backup, target: sql, needs: [after], with: { database: OctopusDB, type: log } }
  seal:
    uses: point.seal
    target: backups
    needs: [full, open, mark, log]
    with:
      point: \"{{ steps.open.outputs }}\"
      mark: \"{{ steps.mark.outputs }}\"
      sqlserver: { octopus: [\"{{ steps.full.outputs }}\", \"{{ steps.log.outputs }}\"] }
      truth: sql
outputs: { point: \"{{ steps.seal.outputs.id }}\" }
";

/// Another run takes the log between a log point's mark and its own log backup.
const WINDOW: &str = "drydock: v1
name: window
targets: { sql: sqlserver, backups: artifacts }
steps:
  open: { uses: point.open, target: backups }
  mark:
    uses: sqlserver.mark
    target: sql
    needs: [open]
    with: { mark: \"{{ steps.open.outputs.mark }}\", databases: { octopus: OctopusDB } }
  other: { uses: plan.run, needs: [mark], with: { plan: LOG } }
  log: { uses: sqlserver.backup, target: sql, needs: [other], with: { database: OctopusDB, type: log } }
  seal:
    uses: point.seal
    target: backups
    needs: [open, mark, log]
    with:
      point: \"{{ steps.open.outputs }}\"
      mark: \"{{ steps.mark.outputs }}\"
      log_point: log
      sqlserver: { octopus: [\"{{ steps.log.outputs }}\"] }
      truth: sql
outputs: { point: \"{{ steps.seal.outputs.id }}\" }
";

const BACK: &str = "drydock: v1
name: back
targets: { sql: sqlserver, backups: artifacts }
steps:
  point: { uses: point.select, target: backups, with: { to: POINT } }
  restore:
    uses: sqlserver.restore
    target: sql
    needs: [point]
    with: { database: OctopusDB, chain: \"{{ steps.point.outputs.sqlserver.octopus }}\", replace: true }
";

#[test]
fn logs_that_other_runs_took_meanwhile_belong_to_the_chain() {
    let mut story = Story::new();
    let _practice = Practice::start(&story.world, "{}");
    let log = format!("{}/../plans/octopus/log.yaml", env!("CARGO_MANIFEST_DIR"));
    std::fs::write(story.world.path("meanwhile.yaml"), MEANWHILE.replace("LOG", &log)).unwrap();
    let point = story.run("meanwhile.yaml", "")["point"].as_str().unwrap().to_owned();
    let shown =
        story.world.drydock(&format!("points show {point} -e env.yaml --format json")).with_exit(0).stdout;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let backups = shown["sqlserver"]["octopus"]["backups"].as_array().unwrap();
    let told: Vec<(&str, bool)> = backups
        .iter()
        .map(|one| (one["backup"]["type"].as_str().unwrap(), one["adopted"].as_bool().unwrap()))
        .collect();
    // The second of the other runs' logs holds the mark, so that our own, which begins behind it, leads nowhere.
    assert_eq!(told, [("full", false), ("log", true), ("log", true)]);
    story.add("later");

    // A log point's mark is held by the log of whoever came between it and its own log backup.
    story.shipped("backup", "");
    story.add("marked");
    std::fs::write(story.world.path("window.yaml"), WINDOW.replace("LOG", &log)).unwrap();
    let log_point = story.run("window.yaml", "")["point"].as_str().unwrap().to_owned();
    story.add("after");

    for (to, agents) in [(point, vec![]), (log_point, vec!["later", "marked"])] {
        std::fs::write(story.world.path("back.yaml"), BACK.replace("POINT", &to)).unwrap();
        story.run("back.yaml", "");
        assert_eq!(story.agents(), agents, "{to}");
    }
}
