//! The warning with a truth in two databases: agents and documents in one, their procedures in another, vectors beside them. Newest backups of
//! each belong to three moments; a point is one mark in both logs, and the vectors of just before it.

use serde_json::{Value, json};

use crate::warning::{DIMENSIONS, Port, Steps, insert, of_document};

/// A document whose vector is written before its row is committed.
const EARLY: &str = "00000000-0000-4000-8000-00000000000e";

/// The other database.
const SECOND: &str = "
CREATE TABLE [Procedures] ([Name] nvarchar(64) NOT NULL CONSTRAINT [PK_Procedures] PRIMARY KEY, [AgentId] nvarchar(32) NOT NULL, [Version] int NOT NULL);
CREATE TABLE [drydock].[marks] ([mark] nvarchar(32) NOT NULL CONSTRAINT [PK_marks] PRIMARY KEY, [at] datetime2 NOT NULL, [run] nvarchar(64) NULL)
";

/// What stands in the two databases.
#[derive(Debug, PartialEq)]
struct Truth {
    agents: Vec<String>,
    /// Name, agent, version.
    procedures: Vec<(String, String, i64)>,
}

impl Truth {
    fn of(port: &Port, id: &str) -> Self {
        let query = |database: &str, sql: &str| json!({ "database": database, "sql": sql });
        let steps = Steps::default()
            .then(
                "agents",
                "sqlserver.query",
                "sql",
                query("OctopusDB", "SELECT Id FROM Octopus_Agents ORDER BY Id"),
            )
            .then(
                "procedures",
                "sqlserver.query",
                "sql",
                query("Second", "SELECT Name, AgentId, Version FROM Procedures ORDER BY Name"),
            );
        std::fs::write(port.world.path("truth.yaml"), steps.plan("truth")).unwrap();
        let steps = port.run("truth.yaml", id, "");
        let rows = |step: &str| steps[step]["outputs"]["rows"].as_array().unwrap().clone();
        let text = |row: &Value, column: &str| row[column].as_str().unwrap().to_owned();
        Self {
            agents: rows("agents").iter().map(|row| text(row, "Id")).collect(),
            procedures: rows("procedures")
                .iter()
                .map(|row| (text(row, "Name"), text(row, "AgentId"), row["Version"].as_i64().unwrap()))
                .collect(),
        }
    }

    /// Procedures of agents that do not exist.
    fn disagree(&self) -> Vec<&str> {
        let lost = self.procedures.iter().filter(|(_, agent, _)| !self.agents.contains(agent));
        lost.map(|(name, ..)| name.as_str()).collect()
    }

    fn named(&self) -> Vec<(&str, i64)> {
        self.procedures.iter().map(|(name, _, version)| (name.as_str(), *version)).collect()
    }
}

/// A procedure of an agent; `agent` may be an expression of the plan.
fn procedure(name: &str, agent: &str) -> String {
    format!("INSERT INTO [Procedures] ([Name], [AgentId], [Version]) VALUES (N'{name}', N'{agent}', 1)")
}

/// A point of both databases and the vectors: what goes before it is done, `between` stands between snapshots and mark.
fn backup(
    before: Steps,
    between: impl FnOnce(Steps) -> Steps,
    after: impl FnOnce(Steps) -> Steps,
    name: &str,
    pause: bool,
) -> String {
    let full = |database: &str| json!({ "database": database, "type": "full" });
    let log = |database: &str| json!({ "database": database, "type": "log" });
    let steps = before
        .then("full", "sqlserver.backup", "sql", full("OctopusDB"))
        .then("full_second", "sqlserver.backup", "sql", full("Second"))
        .then("open", "point.open", "backups", json!({}));
    let lease = |steps: Steps, name: &str, enabled: bool| {
        let lease =
            if enabled { json!({ "enabled": true, "lease_s": 120 }) } else { json!({ "enabled": false }) };
        if pause { steps.http(name, "api", "POST", "/maintenance", lease) } else { steps }
    };
    let look = |steps: Steps, name: &str| {
        if pause {
            steps.then(name, "http.request", "api", json!({ "method": "GET", "path": "/maintenance" }))
        } else {
            steps
        }
    };
    let steps = look(lease(steps, "pause", true), "quiet");
    let steps =
        between(steps.then("snapshot", "qdrant.snapshot", "vectors", json!({ "collections": "agent_*" })));
    let databases = json!({ "octopus": "OctopusDB", "second": "Second" });
    let mark = json!({ "mark": "{{ steps.open.outputs.mark }}", "databases": databases, "rows": ["Octopus_Agents", "Octopus_Documents", "Procedures"] });
    let steps = look(steps.then("mark", "sqlserver.mark", "sql", mark), "still");
    let steps = after(lease(steps, "go_on", false)).then("log", "sqlserver.backup", "sql", log("OctopusDB"));
    // The newest log of the second database is a little younger, and life went on.
    let steps = steps
        .http("last_agent", "api", "POST", "/agents", json!({ "name": format!("zz-last-{name}") }))
        .sql_in(
            "last_procedure",
            "Second",
            &procedure(&format!("last_{name}"), "{{ steps.last_agent.outputs.json.id }}"),
        )
        .then("log_second", "sqlserver.backup", "sql", log("Second"));
    let mut plan: Value = serde_json::from_str(&steps.plan(name)).unwrap();
    plan["steps"]["fetch"] = json!({ "uses": "qdrant.fetch", "target": "vectors", "needs": ["log_second"],
        "foreach": "steps.snapshot.outputs.collections", "key": "item.collection",
        "with": { "snapshot": "{{ item }}", "to": "backups", "prefix": "{{ steps.open.outputs.prefix }}/qdrant" } });
    let mut with = json!({
        "point": "{{ steps.open.outputs }}", "mark": "{{ steps.mark.outputs }}",
        "sqlserver": { "octopus": ["{{ steps.full.outputs }}", "{{ steps.log.outputs }}"],
            "second": ["{{ steps.full_second.outputs }}", "{{ steps.log_second.outputs }}"] },
        "qdrant": { "snapshot": "{{ steps.snapshot.outputs }}", "fetched": "{{ steps.fetch.outputs }}" },
        "truth": "sql", "derived": "vectors" });
    if pause {
        with["pause"] =
            json!({ "before": "{{ steps.quiet.outputs.json }}", "after": "{{ steps.still.outputs.json }}" });
    }
    plan["steps"]["seal"] =
        json!({ "uses": "point.seal", "target": "backups", "needs": ["fetch"], "with": with });
    plan.to_string()
}

/// All collections are lost.
fn disaster(port: &Port) {
    let (_, answer) = port.ask("GET", &format!("{}/collections", port.qdrant), &Value::Null);
    for collection in answer["result"]["collections"].as_array().unwrap() {
        let name = collection["name"].as_str().unwrap();
        let url = format!("{}/collections/{name}?timeout=30", port.qdrant);
        assert_eq!(port.ask("DELETE", &url, &Value::Null).0, 200);
    }
}

/// Orphans are taken out; what has no vectors, or old ones, is listed for whoever indexes.
fn agreeing(needs: Value) -> Value {
    json!({ "uses": "point.reconcile", "target": "backups", "needs": needs, "with": { "truth": "sql", "derived": "vectors",
        "database": "OctopusDB", "on_orphans": "delete", "on_stale": "warn", "on_missing": "list" } })
}

/// Indexes what a reconciliation has listed, as an application that has the texts does.
fn index(port: &Port, told: &Value) {
    let listed = |list: &str| told[list].as_array().unwrap().clone();
    let url = |entry: &Value, path: &str| {
        format!(
            "{}/collections/agent_{}/points{path}?wait=true",
            port.qdrant,
            entry["agent"].as_str().unwrap()
        )
    };
    // Whose whole collection is missing gets an empty one.
    let asked = json!({ "missing": told["missing"], "stale": told["stale"] });
    assert_eq!(port.ask("POST", &format!("{}/reindex", port.api), &asked).0, 202);
    let mut next = 1_000_000;
    for entry in listed("missing") {
        for id in entry["ids"].as_array().unwrap() {
            next += 1;
            let payload = json!({ "agent_id": entry["agent"], "document_id": id, "chunk": 0, "version": 1, "text": "again" });
            let point = json!({ "id": next, "vector": vec![0.1; DIMENSIONS], "payload": payload });
            assert_eq!(port.ask("PUT", &url(&entry, ""), &json!({ "points": [point] })).0, 200);
        }
    }
    for entry in listed("stale") {
        for one in entry["ids"].as_array().unwrap() {
            let version: i64 = one["truth"].as_str().unwrap().parse().unwrap();
            let body = json!({ "payload": { "version": version }, "filter": of_document(one["id"].as_str().unwrap()) });
            assert_eq!(port.ask("POST", &url(&entry, "/payload"), &body).0, 200);
        }
    }
}

/// Both databases to the mark of a point, its vectors, and what is torn apart named and mended.
fn restore(point: &str) -> String {
    let member = |database: &str, name: &str| json!({ "database": database, "chain": format!("{{{{ steps.point.outputs.sqlserver.{name} }}}}") });
    let steps = Steps::default().then("point", "point.select", "backups", json!({ "to": point })).then(
        "restore",
        "sqlserver.restore",
        "sql",
        json!({ "group": [member("OctopusDB", "octopus"), member("Second", "second")], "replace": true }),
    );
    let mut plan: Value = serde_json::from_str(&steps.plan("restore")).unwrap();
    plan["steps"]["recover"] = json!({ "uses": "qdrant.recover", "target": "vectors", "needs": ["restore"],
        "foreach": "steps.point.outputs.qdrant.collections", "key": "item.collection",
        "with": { "from": "backups", "snapshot": "{{ item }}" } });
    plan["steps"]["agree"] = agreeing(json!(["recover"]));
    plan.to_string()
}

/// The operations on backups in the ledger since so many lines.
fn restores(port: &Port, since: usize) -> Vec<String> {
    let lines = port.world.text("ledger.jsonl");
    let ops = lines
        .lines()
        .skip(since)
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["op"].as_str().unwrap().to_owned());
    ops.filter(|op| ["restore database ", "restore log ", "recover "].iter().any(|word| op.starts_with(word)))
        .collect()
}

fn counts(told: &Value) -> [u64; 4] {
    ["orphans", "stale", "missing", "missing_collections"].map(|name| told["counts"][name].as_u64().unwrap())
}

#[test]
fn two_databases_and_vectors_are_torn_apart_and_come_back_to_one_mark() {
    let port = Port::open();
    let made = Steps::default()
        .sql_in("create", "master", "CREATE DATABASE [Second]")
        .sql_in("model", "master", "ALTER DATABASE [Second] SET RECOVERY FULL")
        .sql_in("schema", "Second", "CREATE SCHEMA [drydock]")
        .sql_in("tables", "Second", SECOND);
    std::fs::write(port.world.path("made.yaml"), made.plan("made")).unwrap();
    port.run("made.yaml", "made", "");
    let one = port.agent("zz-one");
    let [stays, changes, deleted] = ["stays", "changes", "deleted"].map(|text| port.document(&one, text));
    let collection = format!("/collections/agent_{one}");
    let vector = json!({ "id": 1, "vector": vec![0.1; DIMENSIONS],
        "payload": { "agent_id": one, "document_id": EARLY, "chunk": 0, "version": 1, "text": "early" } });

    // Everybody writes: created, changed and deleted before, between and after, in all three.
    let before = Steps::default()
        .sql_in("first", "Second", &procedure("changes", &one))
        .sql_in("second", "Second", &procedure("deleted", &one))
        .http("early", "q", "PUT", &format!("{collection}/points?wait=true"), json!({ "points": [vector] }));
    let between = |steps: Steps| {
        steps
            .sql_in(
                "delete",
                "OctopusDB",
                &format!("DELETE FROM [Octopus_Documents] WHERE [Id] = '{deleted}'"),
            )
            .http(
                "forget",
                "q",
                "POST",
                &format!("{collection}/points/delete?wait=true"),
                json!({ "filter": of_document(&deleted) }),
            )
            .sql_in(
                "change",
                "OctopusDB",
                &format!("UPDATE [Octopus_Documents] SET [Version] = 2 WHERE [Id] = '{changes}'"),
            )
            .sql_in(
                "change_procedure",
                "Second",
                "UPDATE [Procedures] SET [Version] = 2 WHERE [Name] = N'changes'",
            )
            .sql_in("delete_procedure", "Second", "DELETE FROM [Procedures] WHERE [Name] = N'deleted'")
            .http(
                "come",
                "api",
                "POST",
                &format!("/agents/{one}/documents"),
                json!({ "title": "comes", "text": "It comes." }),
            )
            .http("agent", "api", "POST", "/agents", json!({ "name": "zz-between" }))
            .sql_in("between", "Second", &procedure("between", "{{ steps.agent.outputs.json.id }}"))
    };
    let after = |steps: Steps| {
        steps
            .sql_in("late_row", "OctopusDB", &insert(EARLY, &one))
            .sql_in(
                "change_again",
                "Second",
                "UPDATE [Procedures] SET [Version] = 3 WHERE [Name] = N'changes'",
            )
            .http("after_agent", "api", "POST", "/agents", json!({ "name": "zz-after" }))
            .sql_in("after", "Second", &procedure("after", "{{ steps.after_agent.outputs.json.id }}"))
    };
    std::fs::write(port.world.path("torn.yaml"), backup(before, between, after, "torn", false)).unwrap();
    let torn = port.run("torn.yaml", "torn", "");
    let point = torn["seal"]["outputs"]["id"].as_str().unwrap();
    let id = |step: &str| torn[step]["outputs"]["json"]["id"].as_str().unwrap().to_owned();
    let (came, last) = (id("come"), id("last_agent"));

    // The naive restore: the newest backups of each database, and the newest vectors. The second database has a procedure of an agent that
    // the first has not, and so have the vectors.
    let whole = |full: &str, log: &str| torn_chain(&torn, full, log);
    let naive = Steps::default()
        .then(
            "first",
            "sqlserver.restore",
            "sql",
            json!({ "database": "OctopusDB", "chain": whole("full", "log"), "replace": true }),
        )
        .then(
            "second",
            "sqlserver.restore",
            "sql",
            json!({ "database": "Second", "chain": whole("full_second", "log_second"), "replace": true }),
        )
        .then(
            "agree",
            "point.reconcile",
            "backups",
            json!({ "truth": "sql", "derived": "vectors", "database": "OctopusDB", "on_orphans": "list" }),
        );
    std::fs::write(port.world.path("naive.yaml"), naive.plan("naive")).unwrap();
    let naive = port.run("naive.yaml", "naive", "")["agree"]["outputs"].clone();
    let truth = Truth::of(&port, "truth_naive");
    assert_eq!(truth.disagree(), ["last_torn"], "{truth:?}");
    let orphans: Vec<&str> =
        naive["orphans"].as_array().unwrap().iter().map(|one| one["agent"].as_str().unwrap()).collect();
    assert_eq!(orphans, [last.as_str()], "{naive}");

    // The unpaused point: both databases at the mark, and of the vectors exactly what the order lets through.
    std::fs::write(port.world.path("restore.yaml"), restore(point)).unwrap();
    disaster(&port);
    let lines = port.world.text("ledger.jsonl").lines().count();
    let restored = port.run("restore.yaml", "unpaused", "");
    let done = restores(&port, lines);
    let opened = done.iter().position(|op| op.starts_with("recover ")).unwrap();
    let (brought, recovered) = done.split_at(opened);
    for word in ["restore database ", "restore log "] {
        assert_eq!(brought.iter().filter(|op| op.starts_with(word)).count(), 2, "{done:?}");
    }
    assert!(recovered.len() == 2 && recovered.iter().all(|op| op.starts_with("recover ")), "{done:?}");
    let truth = Truth::of(&port, "truth_unpaused");
    assert_eq!(
        (truth.disagree(), truth.named()),
        (Vec::new(), vec![("between", 1), ("changes", 2)]),
        "{truth:?}"
    );
    let told = &restored["agree"]["outputs"];
    let mut orphans = [deleted.as_str(), EARLY];
    orphans.sort_unstable();
    let orphans = json!(orphans);
    let of_one = |list: &str| {
        told[list]
            .as_array()
            .unwrap()
            .iter()
            .find(|entry| entry["agent"] == json!(one))
            .cloned()
            .unwrap_or_default()
    };
    // Of the deleted document, and of the one whose row came late.
    assert_eq!(
        (of_one("orphans")["points"].clone(), of_one("orphans")["ids"].clone()),
        (json!(2), orphans),
        "{told}"
    );
    assert_eq!(of_one("stale")["ids"], json!([{ "id": changes, "vectors": "1", "truth": "2" }]), "{told}");
    assert_eq!(of_one("missing")["ids"], json!([came]), "{told}");
    let without: Vec<&Value> =
        told["missing"].as_array().unwrap().iter().filter(|entry| entry["whole"] == json!(true)).collect();
    assert!(
        without.len() == 1 && without[0]["agent"] == json!(id("agent")),
        "the agent that came between: {told}"
    );
    assert_eq!(counts(told), [2, 1, 1, 1], "and nothing else: {told}");
    // As it was listed it is indexed, and then all agree.
    index(&port, told);
    let mut plan: Value = serde_json::from_str(&Steps::default().plan("agree")).unwrap();
    plan["steps"]["agree"] = agreeing(json!([]));
    std::fs::write(port.world.path("agree.yaml"), plan.to_string()).unwrap();
    let again = port.run("agree.yaml", "again", "")["agree"]["outputs"].clone();
    assert_eq!(counts(&again), [0; 4], "all is mended: {again}");
    let mut left = vec![stays, changes, came];
    left.sort();
    assert_eq!(port.documents_in(&one), Some(left));

    // The application finds that the restore has ended its session by reading, and has another one.
    assert_eq!(port.ask("GET", &format!("{}/agents", port.api), &Value::Null).0, 200);

    // In a pause nobody comes between, though they try.
    let refused = |steps: Steps| {
        steps.then("try", "http.request", "api", json!({ "method": "POST", "path": "/agents", "json": { "name": "zz-try" }, "expect_status": [503] }))
    };
    let after = |steps: Steps| {
        steps.http("after_agent", "api", "POST", "/agents", json!({ "name": "zz-after" })).sql_in(
            "after",
            "Second",
            &procedure("after_pause", "{{ steps.after_agent.outputs.json.id }}"),
        )
    };
    let before = Steps::default().sql_in("first", "Second", &procedure("paused", &one));
    std::fs::write(port.world.path("paused.yaml"), backup(before, refused, after, "paused", true)).unwrap();
    let paused = port.run("paused.yaml", "paused", "");
    let seal = &paused["seal"]["outputs"];
    assert!(seal["claims"].as_array().unwrap().contains(&json!("paused")), "{seal}");
    std::fs::write(port.world.path("restore.yaml"), restore(seal["id"].as_str().unwrap())).unwrap();
    disaster(&port);
    let restored = port.run("restore.yaml", "from_pause", "");
    let told = &restored["agree"]["outputs"];
    assert_eq!(counts(told), [0; 4], "{told}");
    let truth = Truth::of(&port, "truth_paused");
    let named = vec![("between", 1), ("changes", 2), ("paused", 1)];
    assert_eq!((truth.disagree(), truth.named()), (Vec::new(), named), "{truth:?}");
}

/// What two steps of a run gave, as a chain to its end.
fn torn_chain(run: &Value, full: &str, log: &str) -> Value {
    json!([run[full]["outputs"], run[log]["outputs"]])
}
