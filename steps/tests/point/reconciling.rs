//! `point.reconcile`: every disagreement is found and named, orphans go where they shall, and a lost attempt is gone on with.

use drydock_step::test_host::{actions, given, touches};
use drydock_step::{Access, Ended, Kind, Reconciled};
use drydock_steps::point::reconcile::Reconcile;
use serde_json::{Value, json};

use crate::world::World;

fn with(more: Value) -> Value {
    let mut with = json!({"truth": "sql", "derived": "vectors", "database": "OctopusDB"});
    with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    with
}

fn says(world: &World, agents: Value, documents: Value) {
    let mut answers = world.sql.answers.lock().unwrap();
    answers.insert("SELECT Id FROM Octopus_Agents".into(), agents);
    answers.insert("SELECT Id, AgentId, Version FROM Octopus_Documents".into(), documents);
}

/// Agents a, b and d; a has documents 1 and 2, b has 3, d has 4. Collections of a, b and c, whose agent is gone. In a are 1,200
/// chunks of a document that is gone; document 3 has old vectors; document 2 has none.
async fn torn() -> World {
    let world = World::new().await;
    says(
        &world,
        json!([{"Id": "a"}, {"Id": "b"}, {"Id": "d"}]),
        json!([
            {"Id": 1, "AgentId": "a", "Version": 1}, {"Id": 2, "AgentId": "a", "Version": 1},
            {"Id": 3, "AgentId": "b", "Version": 5}, {"Id": 4, "AgentId": "d", "Version": 1},
        ]),
    );
    world.vectors.add("agent_a", 1, 3, "1", 1);
    world.vectors.add("agent_a", 10, 1200, "gone", 1);
    world.vectors.add("agent_b", 1, 2, "3", 4);
    world.vectors.add("agent_c", 1, 2, "9", 1);
    world.vectors.add("other", 1, 1, "9", 1);
    world
}

#[tokio::test]
async fn every_disagreement_is_found() {
    let world = torn().await;
    let found = world.outputs(&Reconcile, with(json!({"on_orphans": "list"}))).await;
    let expected = json!({
        "agents": 3, "collections": 3, "documents": 4, "points": 1207,
        "orphans": [
            {"collection": "agent_a", "agent": "a", "whole": false, "points": 1200, "ids": ["gone"], "artifacts": []},
            {"collection": "agent_c", "agent": "c", "whole": true, "points": 2, "ids": [], "artifacts": []},
        ],
        "missing": [
            {"collection": "agent_d", "agent": "d", "whole": true, "documents": 1, "ids": ["4"]},
            {"collection": "agent_a", "agent": "a", "whole": false, "documents": 1, "ids": ["2"]},
        ],
        "stale": [
            {"collection": "agent_b", "agent": "b", "documents": 1, "ids": [{"id": "3", "vectors": "4", "truth": "5"}], "artifacts": []},
        ],
        "counts": {"orphans": 1202, "missing": 2, "missing_collections": 1, "stale": 1},
        "deleted": 0,
        "erased": {"agents": [], "documents": [], "points": 0},
    });
    assert_eq!(found, expected);
    assert_eq!(world.vectors.ids("agent_a").unwrap().len(), 1203);
}

#[tokio::test]
async fn orphans_or_missing_documents_fail_where_they_shall_and_change_nothing() {
    async fn check(more: Value, code: &str, message: &str) {
        let world = torn().await;
        let error = world.error(&Reconcile, with(more)).await;
        assert_eq!((error.code.as_str(), error.message.as_str()), (code, message));
        assert_eq!(world.vectors.ids("agent_a").unwrap().len(), 1203);
        assert!(world.vectors.ids("agent_c").is_some());
        assert_eq!(world.host.notes(), Vec::<Value>::new());
    }
    let orphans = "vectors have no document or agent: 1200 points of agent_a, 2 points of agent_c (there is no such agent)";
    check(json!({}), "point.orphans", orphans).await;
    let missing = "documents or agents have no vectors: the collection agent_d, 1 document in agent_a";
    check(json!({"on_orphans": "quarantine", "on_missing": "fail"}), "point.missing", missing).await;
}

#[tokio::test]
async fn a_truth_without_agents_is_not_believed() {
    let world = torn().await;
    says(&world, json!([]), json!([]));
    let error = world.error(&Reconcile, with(json!({"on_orphans": "delete"}))).await;
    assert_eq!(error.code, "point.truth");
    assert!(error.message.contains("no agent at all, and 3 collections"), "{error}");
    assert!(world.vectors.ids("agent_c").is_some());
}

#[tokio::test]
async fn a_quarantine_keeps_what_it_takes_out() {
    let world = torn().await;
    let found = world.outputs(&Reconcile, with(json!({"on_orphans": "quarantine"}))).await;
    assert_eq!((&found["deleted"], &found["counts"]["orphans"]), (&json!(1202), &json!(1202)));
    assert_eq!(found["orphans"][0]["artifacts"], json!(["quarantine/r1/agent_a.jsonl"]));
    let lines = world.read("quarantine/r1/agent_a.jsonl").await;
    assert_eq!(lines.lines().count(), 1200);
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    let payload =
        json!({"agent_id": "agent_a", "document_id": "gone", "chunk": 0, "version": 1, "text": "…"});
    assert_eq!(first, json!({"id": 10, "payload": payload}));
    assert_eq!(world.read("quarantine/r1/agent_c.jsonl").await.lines().count(), 2);
    let whole = "quarantine/r1/agent_c/collection.json";
    assert_eq!(found["orphans"][1]["artifacts"], json!(["quarantine/r1/agent_c.jsonl", whole]));
    let kept: Value = serde_json::from_str(&world.read(whole).await).unwrap();
    assert_eq!(kept["ids"].as_array().unwrap().len(), 2, "the collection was kept before it went");
    assert_eq!((world.vectors.ids("agent_a"), world.vectors.ids("agent_c")), (Some(vec![1, 2, 3]), None));
    assert_eq!(world.vectors.ids("other"), Some(vec![1]));
}

#[tokio::test]
async fn a_second_run_finds_nothing_to_do() {
    let mut world = torn().await;
    world.outputs(&Reconcile, with(json!({"on_orphans": "delete"}))).await;
    assert_eq!(world.files().list("quarantine").await.unwrap(), []);
    world.forget();
    let found = world.outputs(&Reconcile, with(json!({"on_orphans": "delete"}))).await;
    assert_eq!((&found["orphans"], &found["deleted"], &found["points"]), (&json!([]), &json!(0), &json!(5)));
}

#[tokio::test]
async fn a_lost_attempt_is_gone_on_with_and_nothing_that_was_kept_is_lost() {
    let world = torn().await;
    let with = with(json!({"on_orphans": "quarantine"}));
    assert_eq!(world.asked(&Reconcile, with.clone()).await, Reconciled::NotDone);
    // The points of agent_a go in two portions; the second is never heard of.
    *world.vectors.removals.lock().unwrap() = Some(1);
    let error = world.error(&Reconcile, with.clone()).await;
    assert_eq!((error.code.as_str(), error.unknown), ("qdrant.lost", true));
    assert_eq!(world.vectors.ids("agent_a").unwrap().len(), 203);
    let Reconciled::Partly(progress) = world.asked(&Reconcile, with.clone()).await else {
        panic!("a part was done")
    };
    assert_eq!(progress["taken"][0]["points"], 1200);
    *world.vectors.removals.lock().unwrap() = None;
    let ended = Kind::execute(&Reconcile, &world.ctx(), given(with), Some(&progress)).await;
    let Ok(Ended::Outputs(found)) = ended else { panic!("it goes on") };
    let kept = json!(["quarantine/r1/agent_a.jsonl"]);
    assert_eq!((&found["orphans"][0]["artifacts"], &found["orphans"][0]["points"]), (&kept, &json!(1200)));
    assert_eq!(
        (&found["deleted"], &found["points"], &found["collections"]),
        (&json!(1202), &json!(1207), &json!(3))
    );
    assert_eq!(world.read("quarantine/r1/agent_a.jsonl").await.lines().count(), 1200);
    assert_eq!(world.files().list("quarantine").await.unwrap().len(), 3, "nothing is kept twice");
    assert_eq!(world.vectors.ids("agent_a"), Some(vec![1, 2, 3]));
}

#[tokio::test]
async fn what_was_not_kept_whole_is_kept_under_another_name() {
    let world = torn().await;
    let with = with(json!({"on_orphans": "quarantine"}));
    *world.vectors.removals.lock().unwrap() = Some(0);
    world.error(&Reconcile, with.clone()).await;
    let Reconciled::Partly(progress) = world.asked(&Reconcile, with.clone()).await else {
        panic!("a part was done")
    };
    // Another orphan has come since.
    world.vectors.add("agent_a", 9000, 1, "gone", 1);
    *world.vectors.removals.lock().unwrap() = None;
    let ended = Kind::execute(&Reconcile, &world.ctx(), given(with), Some(&progress)).await;
    let Ok(Ended::Outputs(found)) = ended else { panic!("it goes on") };
    let kept = json!(["quarantine/r1/agent_a.jsonl", "quarantine/r1/agent_a.2.jsonl"]);
    assert_eq!(found["orphans"][0]["artifacts"], kept);
    assert_eq!(world.read("quarantine/r1/agent_a.2.jsonl").await.lines().count(), 1201);
}

#[test]
fn what_it_touches_follows_from_what_it_does_about_orphans() {
    let access =
        |on_orphans: &str| touches(&Reconcile, with(json!({"on_orphans": on_orphans}))).unwrap()[1].access;
    assert_eq!(access("fail"), Access::Reads);
    assert_eq!(access("quarantine"), Access::Writes);
    assert_eq!(access("delete"), Access::Destroys);
    let shown =
        actions(&Reconcile, with(json!({"on_orphans": "delete", "database": {"$after": ["restore"]}})))
            .unwrap();
    assert_eq!(shown[1].text, "SELECT Id, AgentId, Version FROM Octopus_Documents");
    assert!(shown[3].writes && shown[3].target.as_deref() == Some("vectors"), "{shown:?}");
}

#[tokio::test]
async fn vectors_of_another_version_go_where_they_shall() {
    let world = torn().await;
    let error = world.error(&Reconcile, with(json!({"on_orphans": "list", "on_stale": "fail"}))).await;
    assert_eq!(
        (error.code.as_str(), error.message.as_str()),
        ("point.stale", "vectors are of another version than the truth: 1 document in agent_b")
    );
    let found =
        world.outputs(&Reconcile, with(json!({"on_orphans": "list", "on_stale": "quarantine"}))).await;
    assert_eq!((&found["deleted"], &found["counts"]["stale"]), (&json!(2), &json!(1)));
    assert_eq!(found["stale"][0]["artifacts"], json!(["quarantine/r1/agent_b.jsonl"]));
    assert_eq!(world.read("quarantine/r1/agent_b.jsonl").await.lines().count(), 2);
    assert_eq!(world.vectors.ids("agent_b"), Some(vec![]));
    assert_eq!(world.vectors.ids("agent_a").unwrap().len(), 1203, "orphans were only listed");
    // Now the document has no vectors, and is listed for whoever indexes it again.
    let found = world.outputs(&Reconcile, with(json!({"on_orphans": "list"}))).await;
    let missing =
        json!({"collection": "agent_b", "agent": "b", "whole": false, "documents": 1, "ids": ["3"]});
    assert!(found["missing"].as_array().unwrap().contains(&missing), "{found}");
}

#[tokio::test]
async fn what_was_erased_does_not_come_back() {
    let world = torn().await;
    let erasures = world.ctx().folder.join("erasures.txt");
    std::fs::write(&erasures, "agent d # closed\ndocument 1\ndocument 77\nagent c\n").unwrap();
    let agents = json!([{"Id": "a"}, {"Id": "b"}]);
    let documents = json!([{"Id": 2, "AgentId": "a", "Version": 1}, {"Id": 3, "AgentId": "b", "Version": 5}]);
    {
        let mut then = world.sql.answers_then.lock().unwrap();
        then.insert("SELECT Id FROM Octopus_Agents".into(), agents);
        then.insert("SELECT Id, AgentId, Version FROM Octopus_Documents".into(), documents);
    }
    let with = with(json!({"on_orphans": "quarantine", "erasures": "erasures.txt"}));
    let found = world.outputs(&Reconcile, with.clone()).await;
    assert_eq!(found["erased"], json!({"agents": ["d"], "documents": ["1"], "points": 5}));
    let scripts = world.sql.scripts.lock().unwrap().clone();
    assert_eq!(scripts[0], "DELETE FROM Octopus_Documents WHERE Id = N'1'");
    assert!(scripts[1].ends_with("DELETE FROM Octopus_Agents WHERE Id = N'd'"), "{scripts:?}");
    assert_eq!(scripts.len(), 2);
    // Orphans are kept; of what was erased nothing is, not even of an agent whose collection alone had come back.
    assert_eq!(world.vectors.ids("agent_a"), Some(vec![]));
    assert_eq!(world.vectors.ids("agent_c"), None);
    let kept = world.files().list("quarantine").await.unwrap();
    assert_eq!(kept.iter().map(|one| one.path.as_str()).collect::<Vec<_>>(), ["quarantine/r1/agent_a.jsonl"]);
    assert_eq!(world.read("quarantine/r1/agent_a.jsonl").await.lines().count(), 1200);
    std::fs::write(&erasures, "everything\n").unwrap();
    let error = world.error(&Reconcile, with).await;
    assert_eq!(error.code, "point.erasures");
    assert!(error.message.ends_with("line 1 is `everything`"), "{error}");
}
