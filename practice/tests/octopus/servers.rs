//! The servers together: where they are, what an environment file says of them, what a bad start says.

use drydock_practice::octopus::fill;
use drydock_practice::seed::Seed;
use drydock_practice::server::start;
use serde_json::{Value, json};

use super::world::{SEED, World, options};

#[tokio::test(flavor = "multi_thread")]
async fn ports_and_environment_say_where_everything_is() {
    let world = World::empty().await;
    let ports = serde_json::to_value(world.practice.ports()).unwrap();
    assert_eq!(ports["sqlserver"]["host"], "127.0.0.1");
    assert!(ports["sqlserver"]["port"].is_u64() && ports["qdrant"]["nodes"][0].is_string(), "{ports}");
    let ca = ports["sqlserver"]["ca"].as_str().unwrap();
    assert!(std::fs::read_to_string(ca).unwrap().starts_with("-----BEGIN CERTIFICATE-----"));

    let text = world.practice.environment_yaml("/srv/artifacts".as_ref());
    assert!(text.starts_with("drydock: v1\nenvironment: practice\n"), "{text}");
    for part in
        ["kind: sqlserver", "kind: qdrant", "\"file:///srv/artifacts\"", "/hook\"", "\"/srv/artifacts/sql\""]
    {
        assert!(text.contains(part), "{text} has no {part}");
    }
    for secret in [&ports["sqlserver"]["password"], &ports["qdrant"]["api_key"]] {
        assert!(!text.contains(secret.as_str().unwrap()), "no secret stands in it");
    }
    let files: Vec<&str> =
        text.split("file: \"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(files.len(), 2);
    assert_eq!(std::fs::read_to_string(files[0]).unwrap(), ports["sqlserver"]["password"]);
    assert_eq!(std::fs::read_to_string(files[1]).unwrap(), ports["qdrant"]["api_key"]);
    #[cfg(unix)]
    for file in files {
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(file).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_ledger_has_all_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let (mut options, _) = options(&dir);
    let path = dir.path().join("ledger.jsonl");
    options.ledger = Some(path.clone());
    options.qdrant_nodes = 3;
    let practice = start(options).await.unwrap();
    fill(&practice.ports().addresses(), Seed(SEED)).await.unwrap();
    let url = format!("{}/health", practice.ports().api.url);
    assert_eq!(reqwest::get(url).await.unwrap().status(), 200);
    let lines: Vec<Value> = std::fs::read_to_string(path)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for server in ["sqlserver", "qdrant-0", "api"] {
        assert!(lines.iter().any(|line| line["server"] == server), "{server} is not in the ledger");
    }
    assert!(lines.iter().any(|line| line["op"] == "GET /health" && line["writes"] == json!(false)));
    let at = |line: &Value| line["at"].as_str().unwrap().to_owned();
    assert!(lines.windows(2).all(|pair| at(&pair[0]) < at(&pair[1])), "in the order of their times");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_is_gone() {
    let world = World::empty().await;
    let urls = [world.practice.ports().api.url.clone(), world.practice.ports().qdrant.nodes[0].clone()];
    let sql = (world.practice.ports().sqlserver.host.clone(), world.practice.ports().sqlserver.port);
    world.practice.stop();
    for url in urls {
        let error = world.http.get(&url).send().await.unwrap_err();
        assert!(error.is_connect() || error.is_request(), "{error}");
    }
    let refused = tokio::net::TcpStream::connect(sql).await.map(drop).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_bad_start_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let (mut bad_faults, _) = options(&dir);
    bad_faults.faults = Some(r#"[{"do": "slow"}]"#.into());
    let (mut bad_ledger, _) = options(&dir);
    bad_ledger.ledger = Some(dir.path().join("no/such/folder/ledger"));
    let (mut bad_dir, _) = options(&dir);
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    bad_dir.dir = file.join("practice");
    let cases = [
        (bad_faults, "fault rule 1: `do: slow` needs `ms`"),
        (bad_ledger, "opening the ledger"),
        (bad_dir, "making the practice folder"),
    ];
    for (options, words) in cases {
        let error = start(options).await.unwrap_err().to_string();
        assert!(error.contains(words), "{error:?} does not say {words:?}");
    }
}
