//! The warning that all of this began with: SQL Server restored to one moment and vectors to a later one do not agree. Shown as it happens
//! without a recovery point, then with one that was made while everybody wrote, then with one that was made in a pause.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value, json};

use crate::sql_plans::Practice;
use crate::world::World;

pub(crate) const DIMENSIONS: usize = 128;

/// Ids of documents that are written past the application.
const EARLY: &str = "00000000-0000-4000-8000-00000000000e";

/// Servers with an Octopus, and what is asked of them past Drydock.
pub(crate) struct Port {
    pub(crate) world: World,
    _practice: Practice,
    pub(crate) api: String,
    pub(crate) qdrant: String,
    key: String,
}

impl Port {
    pub(crate) fn open() -> Self {
        let world = World::plan("");
        // Beside the servers' own requests stands what a test shows of their order.
        let ledger = world.path("ledger.jsonl");
        let practice = Practice::with(&world, "{}", &["--fill", "--ledger", ledger.to_str().unwrap()]);
        let ports: Value = serde_json::from_str(&world.text("ports.json")).unwrap();
        let text = |pointer: &str| ports.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
        let (api, qdrant, key) = (text("/api/url"), text("/qdrant/nodes/0"), text("/qdrant/api_key"));
        let environment = world.text("env.yaml");
        let more = format!(
            "targets:\n  q: {{ kind: http, url: \"{qdrant}\", headers: {{ api-key: {{ env: Q_KEY }} }} }}\n"
        );
        std::fs::write(world.path("env.yaml"), environment.replace("targets:\n", &more)).unwrap();
        let world = world.with("Q_KEY", &key);
        Self { world, _practice: practice, api, qdrant, key }
    }

    /// What a server answers: the status and the body.
    pub(crate) fn ask(&self, method: &str, url: &str, body: &Value) -> (u16, Value) {
        let (host, path) = url.trim_start_matches("http://").split_once('/').unwrap();
        let mut stream = TcpStream::connect(host).unwrap();
        let body = body.to_string();
        write!(
            stream,
            "{method} /{path} HTTP/1.1\r\nhost: {host}\r\napi-key: {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            self.key,
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        // A body in chunks has their lengths around it.
        let json = body.find('{').map_or("null", |from| &body[from..=body.rfind('}').unwrap()]);
        (status, serde_json::from_str(json).unwrap())
    }

    pub(crate) fn agent(&self, name: &str) -> String {
        let (status, answer) = self.ask("POST", &format!("{}/agents", self.api), &json!({ "name": name }));
        assert_eq!(status, 201, "{answer}");
        answer["id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn document(&self, agent: &str, text: &str) -> String {
        let body = json!({ "title": text, "text": text });
        let (status, answer) = self.ask("POST", &format!("{}/agents/{agent}/documents", self.api), &body);
        assert_eq!(status, 201, "{answer}");
        answer["id"].as_str().unwrap().to_owned()
    }

    /// The documents that a collection has points of; nothing where it is gone.
    pub(crate) fn documents_in(&self, agent: &str) -> Option<Vec<String>> {
        let url = format!("{}/collections/agent_{agent}/points/scroll", self.qdrant);
        let (status, answer) = self.ask("POST", &url, &json!({ "limit": 100, "with_payload": true }));
        let points = answer["result"]["points"].as_array();
        let of = |point: &Value| point["payload"]["document_id"].as_str().unwrap().to_owned();
        let mut found: Vec<String> = points.into_iter().flatten().map(of).collect();
        found.sort();
        found.dedup();
        (status == 200).then_some(found)
    }

    /// A plan run to its end; its steps.
    pub(crate) fn run(&self, plan: &str, id: &str, more: &str) -> Value {
        self.world.drydock(&format!("run {plan} -e env.yaml --run-id {id} {more}")).with_exit(0);
        let shown = self.world.drydock(&format!("runs show {id} --format json")).with_exit(0).stdout;
        serde_json::from_str::<Value>(&shown).unwrap()["steps"].clone()
    }

    fn shipped(&self, plan: &str, id: &str, more: &str) -> Value {
        self.run(&format!("{}/../plans/octopus/{plan}.yaml", env!("CARGO_MANIFEST_DIR")), id, more)
    }
}

/// Steps one after the other.
#[derive(Default)]
pub(crate) struct Steps(Map<String, Value>);

impl Steps {
    pub(crate) fn then(mut self, name: &str, uses: &str, target: &str, with: Value) -> Self {
        let before: Vec<&String> = self.0.keys().collect();
        let step =
            json!({ "uses": uses, "target": target, "needs": before, "with": with, "on_unknown": "redo" });
        self.0.insert(name.to_owned(), step);
        self
    }

    /// A step of any shape, after those before it.
    pub(crate) fn step(mut self, name: &str, mut step: Value) -> Self {
        step["needs"] = self.0.keys().cloned().collect();
        self.0.insert(name.to_owned(), step);
        self
    }

    pub(crate) fn sql(self, name: &str, sql: &str) -> Self {
        self.sql_in(name, "OctopusDB", sql)
    }

    pub(crate) fn sql_in(self, name: &str, database: &str, sql: &str) -> Self {
        let with = json!({ "database": database, "sql": sql, "idempotent": true });
        self.then(name, "sqlserver.script", "sql", with)
    }

    pub(crate) fn http(self, name: &str, target: &str, method: &str, path: &str, json: Value) -> Self {
        self.then(name, "http.request", target, json!({ "method": method, "path": path, "json": json }))
    }

    pub(crate) fn plan(self, name: &str) -> String {
        let targets = json!({ "sql": "sqlserver", "vectors": "qdrant", "backups": "artifacts", "api": "http", "q": "http" });
        json!({ "drydock": "v1", "name": name, "targets": targets, "steps": self.0 }).to_string()
    }
}

pub(crate) fn of_document(id: &str) -> Value {
    json!({ "must": [{ "key": "document_id", "match": { "value": id } }] })
}

pub(crate) fn insert(id: &str, agent: &str) -> String {
    format!(
        "INSERT INTO [Octopus_Documents] ([Id], [AgentId], [Title], [Version], [UpdatedAt]) \
         VALUES ('{id}', N'{agent}', N'past the application', 1, SYSUTCDATETIME())"
    )
}

const TRUTH: fn() -> Value = || json!({ "truth": "sql", "derived": "vectors", "database": "OctopusDB" });

#[test]
fn what_is_torn_apart_is_named_and_mended_and_a_pause_leaves_nothing_to_mend() {
    let port = Port::open();
    let [one, gone, lost] = ["zz-one", "zz-gone", "zz-lost"].map(|name| port.agent(name));
    let [stays, changes, deleted] = ["stays", "changes", "deleted"].map(|text| port.document(&one, text));
    port.document(&gone, "of an agent that goes");
    port.document(&lost, "of an agent whose collection is forgotten");
    let collection = format!("/collections/agent_{one}");

    // A point while everybody writes: between the snapshots and the mark a document changes, one and a whole agent go, others come.
    let vector = json!({ "id": 1, "vector": vec![0.1; DIMENSIONS],
        "payload": { "agent_id": one, "document_id": EARLY, "chunk": 0, "version": 1, "text": "early" } });
    let steps = Steps::default()
        .then("full", "sqlserver.backup", "sql", json!({ "database": "OctopusDB", "type": "full" }))
        .then("open", "point.open", "backups", json!({}))
        .http("early", "q", "PUT", &format!("{collection}/points?wait=true"), json!({ "points": [vector] }))
        .then("snapshot", "qdrant.snapshot", "vectors", json!({ "collections": "agent_*" }))
        .sql("delete", &format!("DELETE FROM [Octopus_Documents] WHERE [Id] = '{deleted}'"))
        .http(
            "forget",
            "q",
            "POST",
            &format!("{collection}/points/delete?wait=true"),
            json!({ "filter": of_document(&deleted) }),
        )
        .sql("change", &format!("UPDATE [Octopus_Documents] SET [Version] = 2 WHERE [Id] = '{changes}'"))
        .http(
            "change_vectors",
            "q",
            "POST",
            &format!("{collection}/points/payload?wait=true"),
            json!({ "payload": { "version": 2 }, "filter": of_document(&changes) }),
        )
        .http(
            "come",
            "api",
            "POST",
            &format!("/agents/{one}/documents"),
            json!({ "title": "comes", "text": "It comes." }),
        )
        .http("new_agent", "api", "POST", "/agents", json!({ "name": "zz-new" }))
        .sql("lose", &format!("DELETE FROM [Octopus_Documents] WHERE [AgentId] = N'{lost}'; DELETE FROM [Octopus_Agents] WHERE [Id] = N'{lost}'"))
        .http("go", "api", "DELETE", &format!("/agents/{gone}"), Value::Null)
        .then(
            "mark",
            "sqlserver.mark",
            "sql",
            json!({ "mark": "{{ steps.open.outputs.mark }}", "databases": { "octopus": "OctopusDB" },
                "rows": ["Octopus_Agents", "Octopus_Episodes", "Octopus_Documents"] }),
        )
        .sql("late_row", &insert(EARLY, &one))
        .http(
            "after",
            "api",
            "POST",
            &format!("/agents/{one}/documents"),
            json!({ "title": "after", "text": "After." }),
        )
        .http("after_agent", "api", "POST", "/agents", json!({ "name": "zz-after" }))
        .then("log", "sqlserver.backup", "sql", json!({ "database": "OctopusDB", "type": "log" }));
    let mut plan: Value = serde_json::from_str(&steps.plan("torn")).unwrap();
    plan["steps"]["fetch"] = json!({ "uses": "qdrant.fetch", "target": "vectors", "needs": ["log"],
        "foreach": "steps.snapshot.outputs.collections", "key": "item.collection",
        "with": { "snapshot": "{{ item }}", "to": "backups", "prefix": "{{ steps.open.outputs.prefix }}/qdrant" } });
    plan["steps"]["seal"] = json!({ "uses": "point.seal", "target": "backups", "needs": ["fetch", "full"], "with": {
        "point": "{{ steps.open.outputs }}", "mark": "{{ steps.mark.outputs }}",
        "sqlserver": { "octopus": ["{{ steps.full.outputs }}", "{{ steps.log.outputs }}"] },
        "qdrant": { "snapshot": "{{ steps.snapshot.outputs }}", "fetched": "{{ steps.fetch.outputs }}" },
        "truth": "sql", "derived": "vectors" } });
    std::fs::write(port.world.path("torn.yaml"), plan.to_string()).unwrap();
    let torn = port.run("torn.yaml", "torn", "");
    let point = torn["seal"]["outputs"]["id"].as_str().unwrap();
    let came = torn["come"]["outputs"]["json"]["id"].as_str().unwrap();
    let after = torn["after"]["outputs"]["json"]["id"].as_str().unwrap();
    let after_agent = torn["after_agent"]["outputs"]["json"]["id"].as_str().unwrap();

    // The naive restore: the newest backup of each. The vectors are those of now, and belong to what does not exist.
    let naive = Steps::default()
        .then("point", "point.select", "backups", json!({ "to": point, "accept_missing": [format!("agent_{gone}")] }))
        .then(
            "sql",
            "sqlserver.restore",
            "sql",
            json!({ "database": "OctopusDB", "chain": "{{ steps.point.outputs.sqlserver.octopus }}", "replace": true }),
        )
        .then("agree", "point.reconcile", "backups", {
            let mut with = TRUTH();
            with["on_orphans"] = json!("list");
            with
        });
    std::fs::write(port.world.path("naive.yaml"), naive.plan("naive")).unwrap();
    let naive = port.run("naive.yaml", "naive", "")["agree"]["outputs"].clone();
    let orphaned = |told: &Value| -> Vec<(String, bool)> {
        let entry = |one: &Value| (one["agent"].as_str().unwrap().to_owned(), one["whole"] == json!(true));
        told["orphans"].as_array().unwrap().iter().map(entry).collect()
    };
    let sorted = |mut list: Vec<(String, bool)>| {
        list.sort();
        list
    };
    let torn_apart = sorted(vec![(after_agent.to_owned(), true), (lost.clone(), true), (one.clone(), false)]);
    assert_eq!(sorted(orphaned(&naive)), torn_apart, "{naive}");
    assert!(port.documents_in(&one).unwrap().contains(&after.to_owned()), "its row is gone");

    // The point: exactly what the order of its steps lets through, each named, and mended.
    // The agent that went took its snapshot with it: the point lacks it, and says so.
    assert_eq!(torn["seal"]["outputs"]["incomplete"], json!([format!("agent_{gone}")]));
    let plan = format!("{}/../plans/octopus/restore.yaml", env!("CARGO_MANIFEST_DIR"));
    let refused =
        port.world.drydock(&format!("run {plan} -e env.yaml --run-id refused -p to={point}")).with_exit(11);
    refused.says(&format!("it is incomplete (agent_{gone}); `accept_missing` takes it without"));
    let to = format!("-p to={point} -p accept_missing=[agent_{gone}]");
    let restored = port.shipped("restore", "unpaused", &to);
    let told = &restored["consistent"]["outputs"];
    assert_eq!(sorted(orphaned(told)), torn_apart, "{told}");
    let of_one =
        told["orphans"].as_array().unwrap().iter().find(|entry| entry["agent"] == json!(one)).unwrap();
    assert_eq!(of_one["points"], 2, "of the deleted document, and of the one whose row came late");
    assert_eq!(told["stale"][0]["ids"], json!([{ "id": changes, "vectors": "1", "truth": "2" }]), "{told}");
    let missing = json!({ "collection": format!("agent_{one}"), "agent": one, "whole": false, "documents": 1, "ids": [came] });
    assert_eq!(told["missing"], json!([missing]), "{told}");
    let mut left = vec![stays.clone(), changes.clone()];
    left.sort();
    assert_eq!(port.documents_in(&one), Some(left));
    assert_eq!((port.documents_in(&gone), port.documents_in(&lost)), (None, None));
    let orphans = restored["point"]["outputs"]["price"]["orphans"].as_str().unwrap();
    assert!(orphans.starts_with("those of documents and agents that were deleted in the "), "{orphans}");

    // A point in a pause, while somebody goes on trying to write.
    let stop = AtomicBool::new(false);
    let paused = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let (mut written, mut refused) = (0, 0);
            for n in 0..100_000 {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let body = json!({ "title": format!("n{n}"), "text": format!("Number {n}.") });
                match port.ask("POST", &format!("{}/agents/{one}/documents", port.api), &body).0 {
                    201 => written += 1,
                    503 => refused += 1,
                    status => panic!("{status}"),
                }
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            (written, refused)
        });
        let steps = port.shipped("backup", "paused", "");
        stop.store(true, Ordering::Relaxed);
        let (written, refused) = writer.join().unwrap();
        assert!(written > 0 && refused > 0, "{written} {refused}");
        steps
    });
    let claims = &paused["seal"]["outputs"]["claims"];
    assert!(claims.as_array().unwrap().contains(&json!("paused")), "{claims}");
    let point = paused["seal"]["outputs"]["id"].as_str().unwrap();
    let restored = port.shipped("restore", "from_pause", &format!("-p to={point}"));
    let told = &restored["consistent"]["outputs"];
    assert_eq!(told["counts"]["orphans"], 0, "{told}");
    let of_one = |list: &str| {
        told[list].as_array().unwrap().iter().filter(|entry| entry["agent"] == json!(one)).count()
    };
    // The document whose vectors came late is still to be indexed again, and the one of another version.
    assert_eq!((of_one("missing"), of_one("stale")), (1, 1), "{told}");
    let price = &restored["point"]["outputs"]["price"];
    assert_eq!(price["orphans"], "none: nobody wrote between the vectors and the truth");
}

#[test]
fn one_agent_comes_back_and_nobody_else_is_touched() {
    let port = Port::open();
    let [one, other] = ["zz-one", "zz-other"].map(|name| port.agent(name));
    let kept = port.document(&one, "kept");
    port.ask("POST", &format!("{}/agents/{one}/episodes", port.api), &json!({ "summary": "It was at sea." }));
    let sealed = port.shipped("backup", "backup", "-p pause=false");
    let point = sealed["seal"]["outputs"]["id"].as_str().unwrap();
    let later = port.document(&other, "later");
    assert_eq!(port.ask("DELETE", &format!("{}/agents/{one}", port.api), &Value::Null).0, 204);

    let restored = port.shipped("restore-agent", "agent", &format!("-p to={point} -p agent={one}"));
    assert_eq!(restored["consistent"]["outputs"]["counts"]["missing"], 0, "{}", restored["consistent"]);
    assert_eq!((port.documents_in(&one), port.documents_in(&other)), (Some(vec![kept]), Some(vec![later])));
    let (_, episodes) = port.ask("GET", &format!("{}/agents/{one}/episodes", port.api), &Value::Null);
    assert_eq!(episodes["episodes"][0]["summary"], "It was at sea.");
    let recovered: Vec<&str> = restored
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, step)| name.starts_with("vectors[") && step["status"] == "succeeded")
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(recovered, [format!("vectors[agent_{one}]")]);
}
