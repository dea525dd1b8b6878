//! What practice servers are asked for in a run is what the saved dry run of it shows, request by request.

use regex::Regex;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::shipped;
use crate::sql_plans::Practice;
use crate::world::World;

/// What a dry run cannot know: times and attempts in names, ids of what is made.
const OPEN: &str = r"\(known after [^)]*\)|\(time\)_attempt|\(attempt\)|\(this run\)|\(outputs\)|_attempt\b|\{[a-z]+\}|<[a-z ]+>|\((each|some|new)[^)]*\)";

/// One text as a pattern for those that may be sent.
fn pattern(text: &str) -> Regex {
    let open = Regex::new(OPEN).unwrap();
    let pieces: Vec<String> = open.split(&spaced(text)).map(regex::escape).collect();
    Regex::new(&format!("^{}$", pieces.join(".*"))).unwrap()
}

fn spaced(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A request to a server that changes something.
struct Received {
    step: String,
    server: String,
    op: String,
    text: String,
    sha256: String,
}

/// What the servers received in a run, step by step; those of inner runs by their outer step.
fn received(world: &World, run: &str) -> Vec<Received> {
    let lines = world.text("ledger.jsonl");
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let attempt = line["attempt"].as_str()?;
        let (own, step) = attempt.split_once('/')?;
        let outer = own.strip_prefix(run)?;
        let step = step.rsplit_once('/')?.0;
        let step = match outer.strip_prefix('-') {
            Some(outer) => format!("{outer}/{step}"),
            None if outer.is_empty() => step.to_owned(),
            None => return None,
        };
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        let (op, lock) = (text("op"), "exec sp_getapplock");
        // A lock is no change: it is gone with its session.
        (line["writes"] == true && op != lock).then(|| Received {
            step,
            server: text("server"),
            op,
            text: text("text"),
            sha256: text("sha256"),
        })
    };
    lines.lines().filter_map(line).collect()
}

impl Received {
    /// Whether this action shows it.
    fn is(&self, action: &Value) -> bool {
        let (kind, text) = (action["kind"].as_str().unwrap(), action["text"].as_str().unwrap());
        match kind {
            "sql" if self.server == "sqlserver" => {
                pattern(text).is_match(&spaced(&self.text)) || self.is_of_script(text)
            }
            "http" if self.server != "sqlserver" => self.is_request(text),
            _ => false,
        }
    }

    /// A script of a file is shown by its name, and sent as it stands there.
    fn is_of_script(&self, text: &str) -> bool {
        let Some(file) = text.strip_prefix("run ./").and_then(|rest| rest.split(' ').next()) else {
            return false;
        };
        let script =
            std::fs::read_to_string(format!("{}/../plans/octopus/{file}", env!("CARGO_MANIFEST_DIR")));
        spaced(&script.unwrap()).contains(&spaced(&self.text))
    }

    fn is_request(&self, text: &str) -> bool {
        // What an earlier request of a scenario captures.
        let text = text.replace("{{ ", "{").replace(" }}", "}");
        let Some((method, rest)) = text.split_once(' ') else { return false };
        let (url, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let path = match url.split_once("://") {
            Some((_, rest)) => rest.split_once('/').map_or(String::new(), |(_, path)| format!("/{path}")),
            None => url.to_owned(),
        };
        let (path, query) = path.split_once('?').unwrap_or((&path, ""));
        let body: Option<Value> = serde_json::from_str(rest).ok();
        let digest = |body: &Value| -> String {
            Sha256::digest(body.to_string()).iter().map(|byte| format!("{byte:02x}")).collect()
        };
        pattern(&format!("{method} {path}")).is_match(&self.op)
            && pattern(query).is_match(&self.text)
            && body.is_none_or(|body| digest(&body) == self.sha256)
    }
}

/// Whether an action is one that is done in any case: a statement or a request, and not only where something is so or for each of a list.
fn is_certain(action: &Value) -> bool {
    let text = action["text"].as_str().unwrap();
    let verb = text.split_whitespace().next().unwrap();
    verb.chars().all(|c| c.is_ascii_uppercase())
        // To begin a transaction changes nothing, and no line of the ledger has its text.
        && !text.ends_with("BEGIN TRANSACTION")
        && !["(known after", " where ", " for each", "…", "{{"].iter().any(|word| text.contains(word))
}

/// The plan is dry-run, saved, and run; what the servers received is compared with what was saved.
fn check(world: &World, plan: &str, given: &str) {
    let path = shipped(plan);
    world.drydock(&format!("dry-run {path} -e env.yaml {given} --probe --out {plan}.json")).with_exit(0);
    let lines = world.text("ledger.jsonl");
    world.drydock(&format!("run --saved {plan}.json --run-id {plan}")).with_exit(0);
    let ledger = world.text("ledger.jsonl");
    let dry: Vec<&str> = lines.lines().filter(|line| line.contains("\"attempt\":\"dry-run")).collect();
    assert!(!dry.is_empty() || plan == "prune", "{plan}: nobody was asked");
    assert!(dry.iter().all(|line| line.contains("\"writes\":false")), "{plan}: a dry run wrote");
    assert!(ledger.len() >= lines.len());
    let saved: Value = serde_json::from_str(&world.text(&format!("{plan}.json"))).unwrap();
    let steps = saved["saved"]["steps"].as_object().unwrap();
    let actions = |step: &str| {
        let unlisted = step.split('[').next().unwrap();
        let found = steps.get(step).or_else(|| steps.get(unlisted));
        found.map(|step| step["actions"].as_array().unwrap().clone())
    };
    let received = received(world, plan);
    for request in &received {
        let Received { step, op, text, .. } = request;
        let shown = actions(step).unwrap_or_else(|| panic!("{plan}: {op} of {step}, which is not shown"));
        let writing: Vec<&Value> = shown.iter().filter(|action| action["writes"] == true).collect();
        assert!(
            writing.iter().any(|action| request.is(action)),
            "{plan}: {step} sent {op}\n{text}\nand shows {writing:#?}"
        );
    }
    let shown = world.drydock(&format!("runs show {plan} --format json")).with_exit(0).stdout;
    let run: Value = serde_json::from_str(&shown).unwrap();
    for (step, bound) in steps.iter().filter(|(step, _)| !step.contains('/') && !step.contains('[')) {
        if run["steps"][step]["status"] != "succeeded" {
            continue;
        }
        for action in bound["actions"].as_array().unwrap().iter().filter(|action| action["writes"] == true) {
            let asks = matches!(action["kind"].as_str(), Some("sql" | "http")) && is_certain(action);
            // A webhook is no practice server.
            let known = action["target"] != "hook";
            let sent = || received.iter().any(|request| request.step == *step && request.is(action));
            assert!(!asks || !known || sent(), "{plan}: {step} shows and never sent\n{action:#}");
        }
    }
    let reads = ["sql-objects", "sql-objects-restore", "qdrant-prune", "prune"].contains(&plan);
    assert_eq!(received.is_empty(), reads, "{plan}: {} requests", received.len());
}

#[test]
fn servers_are_asked_for_what_was_reviewed() {
    let world = World::plan("");
    let ledger = world.path("ledger.jsonl");
    let _practice =
        Practice::with(&world, "{}", &["--seed", "7", "--fill", "--ledger", ledger.to_str().unwrap()]);
    let environment = world.text("env.yaml").replace("new_point: false", "new_point: true");
    std::fs::write(world.path("env.yaml"), environment).unwrap();
    check(&world, "backup", "");
    check(&world, "log", "");
    check(&world, "differential", "");
    check(&world, "restore", "-p to=point:latest");
    check(&world, "sql-full", "");
    check(&world, "sql-differential", "");
    check(&world, "sql-log", "");
    check(&world, "sql-objects", "");
    check(&world, "qdrant-prune", "");
    check(&world, "prune", "");
    let text = |name: &str| -> Value { serde_json::from_str(&world.text(name)).unwrap() };
    let agent =
        text("restore.json")["saved"]["steps"]["point"]["answer"]["qdrant"]["collections"][0]["collection"]
            .clone();
    let agent = agent.as_str().unwrap().trim_start_matches("agent_");
    check(&world, "restore-agent", &format!("-p to=point:latest -p agent={agent}"));
    let shown = world.drydock("runs show sql-objects --format json").with_exit(0).stdout;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    check(
        &world,
        "sql-objects-restore",
        &format!(
            "-p script={}",
            shown["outputs"]["script"]["path"].as_str().unwrap_or_else(|| panic!("{shown:#}"))
        ),
    );
    let shown = world.drydock("runs show sql-log --format json").with_exit(0).stdout;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let at = shown["outputs"]["backup"]["started_at"].as_str().unwrap_or_else(|| panic!("{shown:#}"));
    check(&world, "sql-restore", &format!("-p at={at}"));
}
