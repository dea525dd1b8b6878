//! The API: what its users see, from agents to a conversation, and the fence.

use serde_json::json;

use super::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_written_found_and_talked_about() {
    let world = World::filled().await;
    let created = world.api("POST /agents", Some(json!({"name": "Tide watch"}))).await.done(201);
    let id = created["id"].as_str().unwrap();
    let text = "The spring tide reaches Ghent at noon. Boats wait at the lock. Lanterns are lit at dusk. Nobody rows.";
    let document = json!({"title": "Tides", "text": text});
    let written = world.api(&format!("POST /agents/{id}/documents"), Some(document)).await.done(201);
    assert_eq!((&written["version"], &written["chunks"]), (&json!(1), &json!(2)));
    let query = json!({"query": "when are the lanterns lit", "limit": 1});
    let found = world.api(&format!("POST /agents/{id}/search"), Some(query)).await.done(200);
    assert_eq!(found["documents"][0]["text"], "Lanterns are lit at dusk. Nobody rows.");
    assert_eq!(found["documents"][0]["document_id"], written["id"]);

    let episode = json!({"summary": "Counted 12 boats at the lock in Ghent."});
    world.api(&format!("POST /agents/{id}/episodes"), Some(episode)).await.done(201);
    let message = json!({"message": "How many boats were at the lock?"});
    let said = world.api(&format!("POST /agents/{id}/conversation"), Some(message)).await.done(200);
    assert_eq!(said["episodes"][0]["summary"], "Counted 12 boats at the lock in Ghent.");
    assert_eq!(
        said["documents"][0]["text"],
        "The spring tide reaches Ghent at noon. Boats wait at the lock."
    );
    let reply = said["reply"].as_str().unwrap();
    assert!(reply.starts_with("Tide watch: I remember: Counted 12 boats"), "{reply}");

    let episodes = world.api(&format!("GET /agents/{id}/episodes"), None).await.done(200);
    assert_eq!(episodes["episodes"][0]["summary"], "Conversation: How many boats were at the lock?");
    world.api(&format!("DELETE /agents/{id}"), None).await.done(204);
    world.api(&format!("GET /agents/{id}/episodes"), None).await.refused(404, "there is no agent");
    world.api("GET /health", None).await.done(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ephemeral_conversation_leaves_no_trace() {
    let world = World::filled().await;
    let id = world.some_agent().await;
    let count = "(SELECT COUNT(*) FROM [Octopus_Episodes])";
    let before = world.number(count).await;
    let message = json!({"message": "What about disk pressure in Rotterdam?", "ephemeral": true});
    let said = world.api(&format!("POST /agents/{id}/conversation"), Some(message)).await.done(200);
    assert_eq!(
        (said["episodes"].as_array().unwrap().len(), said["documents"].as_array().unwrap().len()),
        (5, 5)
    );
    assert!(said["documents"][0]["text"].as_str().unwrap().contains("isk pressure"), "{said}");
    assert_eq!(world.number(count).await, before);
    let message = json!({"message": "And now for the record."});
    world.api(&format!("POST /agents/{id}/conversation"), Some(message)).await.done(200);
    assert_eq!(world.number(count).await, before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fence_keeps_writers_out_until_its_lease_ends() {
    let world = World::filled().await;
    let id = world.some_agent().await;
    let down = json!({"enabled": false, "in_flight": 0, "expires_at": null});
    assert_eq!(world.api("GET /maintenance", None).await.done(200), down);
    let up = world.api("POST /maintenance", Some(json!({"enabled": true, "lease_s": 60}))).await.done(200);
    assert_eq!((&up["enabled"], up["expires_at"].is_string()), (&json!(true), true));
    let episode = json!({"summary": "x"});
    let writes = [
        ("POST /agents".to_owned(), json!({"name": "x"})),
        (format!("POST /agents/{id}/episodes"), episode.clone()),
        (format!("POST /agents/{id}/documents"), json!({"title": "x", "text": "x"})),
        (format!("POST /agents/{id}/conversation"), json!({"message": "x"})),
        (format!("DELETE /agents/{id}"), json!({})),
    ];
    for (request, body) in writes {
        world.api(&request, Some(body)).await.refused(503, "Octopus is in maintenance: nothing is written");
    }
    let silent = json!({"message": "still there?", "ephemeral": true});
    world.api(&format!("POST /agents/{id}/conversation"), Some(silent)).await.done(200);
    world.api("GET /health", None).await.refused(503, "Octopus is in maintenance");
    world.pass(61);
    assert_eq!(world.api("GET /maintenance", None).await.done(200), down);
    world.api(&format!("POST /agents/{id}/episodes"), Some(episode)).await.done(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_and_what_is_unhealthy() {
    let world = World::filled().await;
    let id = world.some_agent().await;
    let cases = [
        (
            "POST /agents/nobody/episodes".to_owned(),
            json!({"summary": "x"}),
            404,
            "there is no agent `nobody`",
        ),
        (format!("POST /agents/{id}/search"), json!({"text": "x"}), 400, "unknown field `text`"),
        ("POST /maintenance".to_owned(), json!({"enabled": "yes"}), 400, "invalid type"),
        ("POST /nowhere".to_owned(), json!({}), 404, ""),
    ];
    for (request, body, status, words) in cases {
        world.api(&request, Some(body)).await.refused(status, words);
    }
    world.vectors(&format!("DELETE /collections/agent_{id}"), None).await;
    world.api("GET /health", None).await.refused(503, &format!("the collection `agent_{id}` is not there"));
    let search = json!({"query": "x"});
    world.api(&format!("POST /agents/{id}/search"), Some(search)).await.refused(503, "Qdrant answered 404");
    world.api("POST /hook", Some(json!({"text": "it failed"}))).await.done(204);
    assert_eq!(world.api("GET /hook", None).await.done(200), json!([{"text": "it failed"}]));
}
