//! What an Octopus holds, how it lives on, how it is lost.

use std::collections::BTreeMap;

use drydock_practice::octopus::{disaster, fill, live_on};
use drydock_practice::seed::Seed;
use serde_json::{Value, json};

use super::world::{SEED, World};

/// Every collection's points: ids with document and version.
async fn collections(world: &World) -> BTreeMap<String, Vec<Value>> {
    let listed = world.vectors("GET /collections", None).await;
    let mut all = BTreeMap::new();
    for name in listed["collections"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()) {
        let body = json!({"limit": 100_000, "with_payload": ["document_id", "version"]});
        let page = world.vectors(&format!("POST /collections/{name}/points/scroll"), Some(body)).await;
        all.insert(name.to_owned(), page["points"].as_array().unwrap().clone());
    }
    all
}

/// Every row of the tables that life changes.
async fn rows(world: &World) -> Vec<String> {
    let queries = [
        "SELECT [Id] + N' ' + [Name] FROM [Octopus_Agents] ORDER BY [Id]",
        "SELECT CAST([Id] AS nvarchar(20)) + [AgentId] + [Summary] + [Outcome] FROM [Octopus_Episodes] ORDER BY [Id]",
        "SELECT CAST([Id] AS nvarchar(36)) + [AgentId] + CAST([Version] AS nvarchar(9)) FROM [Octopus_Documents] ORDER BY [Id]",
    ];
    let mut all = Vec::new();
    for query in queries {
        all.extend(world.sql(query).await);
    }
    all
}

/// Fails unless the vectors are those of the documents: each of its version, and none without a document.
async fn assert_in_step(world: &World) {
    let query = "SELECT LOWER(CAST([Id] AS nvarchar(36))) + N' ' + CAST([Version] AS nvarchar(9)) FROM [Octopus_Documents]";
    let mut documents = world.sql(query).await;
    let mut found: Vec<String> = Vec::new();
    for points in collections(world).await.values() {
        for point in points {
            let payload = &point["payload"];
            found.push(format!("{} {}", payload["document_id"].as_str().unwrap(), payload["version"]));
        }
    }
    documents.sort();
    found.sort();
    found.dedup();
    assert_eq!(documents, found);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_holds_what_a_believable_octopus_holds() {
    let world = World::filled().await;
    let least = [
        ("(SELECT COUNT(*) FROM [Octopus_Agents])", 6),
        ("(SELECT COUNT(*) FROM [Octopus_Procedures])", 24),
        ("(SELECT COUNT(*) FROM [Octopus_Episodes])", 5000),
        ("(SELECT COUNT(*) FROM [__EFMigrationsHistory])", 4),
    ];
    for (counted, least) in least {
        let found = world.number(counted).await;
        assert!(found >= least, "{counted}: {found}");
    }
    assert_eq!(world.number("(SELECT COUNT(*) FROM [drydock].[marks])").await, 0);
    let collections = collections(&world).await;
    assert!(collections.values().filter(|points| points.len() >= 2000).count() >= 3);
    for id in world.sql("SELECT [Id] FROM [Octopus_Agents]").await {
        assert!(collections.contains_key(&format!("agent_{id}")), "{id}");
    }
    assert_in_step(&world).await;
    world.api("GET /health", None).await.done(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_seed_lives_the_same_life() {
    let mut lives = Vec::new();
    for _ in 0..2 {
        let world = World::filled().await;
        let before = rows(&world).await;
        for step in 1..=3 {
            live_on(&world.practice.ports().addresses(), Seed(SEED), step).await.unwrap();
        }
        assert_in_step(&world).await;
        let after = rows(&world).await;
        assert_ne!(before, after);
        assert!(before.iter().any(|row| !after.contains(row)), "something of the old is gone");
        world.api("GET /health", None).await.done(200);
        lives.push((after, collections(&world).await));
    }
    assert!(lives[0] == lives[1], "two lives of one seed differ");
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_come_and_go() {
    let world = World::filled().await;
    let addresses = world.practice.ports().addresses();
    let mut seen = vec![world.sql("SELECT [Id] FROM [Octopus_Agents] ORDER BY [Id]").await];
    for step in 1..=4 {
        live_on(&addresses, Seed(SEED), step).await.unwrap();
        seen.push(world.sql("SELECT [Id] FROM [Octopus_Agents] ORDER BY [Id]").await);
    }
    let gone = |pair: &[Vec<String>]| pair[0].iter().any(|id| !pair[1].contains(id));
    let came = |pair: &[Vec<String>]| pair[1].iter().any(|id| !pair[0].contains(id));
    assert!(seen.windows(2).all(came) && seen.windows(2).any(gone), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disaster_loses_all_and_what_comes_back_is_found_again() {
    let world = World::filled().await;
    let addresses = world.practice.ports().addresses();
    world.api("GET /health", None).await.done(200);
    disaster(&addresses).await.unwrap();
    assert_eq!(world.vectors("GET /collections", None).await, json!({"collections": []}));
    world.api("GET /health", None).await.refused(503, "SQL Server: ");
    world.api("GET /agents", None).await.refused(503, "SQL Server: ");
    disaster(&addresses).await.unwrap();

    fill(&addresses, Seed(SEED)).await.unwrap();
    world.api("GET /health", None).await.done(200);
    let twice = fill(&addresses, Seed(SEED)).await.unwrap_err().to_string();
    assert!(twice.contains("OctopusDB") && twice.contains("already exists"), "{twice}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_backed_up_comes_back_under_a_running_api() {
    let world = World::filled().await;
    let agent = world.some_agent().await;
    let message = || json!({"message": "What about disk pressure in Rotterdam?"});
    let talk = format!("POST /agents/{agent}/conversation");
    let said = world.api(&talk, Some(message())).await.done(200);
    let before = (rows(&world).await, collections(&world).await);
    let media = world.dir.path().join("octopus.bak");
    world.master(&format!("BACKUP DATABASE [OctopusDB] TO DISK = N'{}' WITH INIT", media.display())).await;
    let mut snapshots = BTreeMap::new();
    for name in before.1.keys() {
        let made = world.vectors(&format!("POST /collections/{name}/snapshots"), None).await;
        let file = format!("practice/qdrant/qdrant-0/snapshots/{name}/{}", made["name"].as_str().unwrap());
        snapshots.insert(name.clone(), (world.dir.path().join(file), made["checksum"].clone()));
    }
    live_on(&world.practice.ports().addresses(), Seed(SEED), 1).await.unwrap();
    disaster(&world.practice.ports().addresses()).await.unwrap();
    world.api(&talk, Some(message())).await.refused(503, "SQL Server: ");

    world.master(&format!("RESTORE DATABASE [OctopusDB] FROM DISK = N'{}'", media.display())).await;
    for (name, (file, checksum)) in &snapshots {
        let body = json!({"location": format!("file://{}", file.display()), "checksum": checksum});
        world.vectors(&format!("PUT /collections/{name}/snapshots/recover"), Some(body)).await;
    }
    assert!(before == (rows(&world).await, collections(&world).await), "not what was backed up");
    world.api("GET /health", None).await.done(200);
    let again = world.api(&talk, Some(message())).await.done(200);
    assert_eq!(again["documents"], said["documents"]);
    assert_eq!(
        again["episodes"][0], said["episodes"][0],
        "the best match; the conversation itself ranks after it"
    );
}
