//! Chains over the real histories that lie beside the repository; skipped with a word where they are absent.

use std::path::PathBuf;

use drydock_recovery::chain::{ChainRequest, Goal, choose};
use drydock_recovery::history::History;
use serde_json::Value;

fn request(args: &[Value]) -> ChainRequest {
    let mut request = ChainRequest::default();
    let mut args = args.iter().map(|arg| arg.as_str().expect("options are text"));
    while let Some(option) = args.next() {
        let mut value = || args.next().expect("the option has a value");
        match option {
            "--at" => request.goal = Goal::At(value().parse().expect("a time")),
            "--database" => request.database = Some(value().to_owned()),
            "--continue-from" => request.continue_from = Some(value().parse().expect("an LSN")),
            "--no-logs" => request.no_logs = true,
            "--no-differentials" => request.no_differentials = true,
            other => panic!("no such option: {other}"),
        }
    }
    request
}

fn check(history: &str, expected: &Value) {
    let history = History::parse(history).expect("a history");
    let args = expected["args"].as_array().cloned().unwrap_or_default();
    let chain = choose(&history, &request(&args)).expect("a chain");
    let guids = |kind: &str| -> Vec<&str> {
        let of_kind = chain.backups.iter().filter(|backup| backup.kind.as_str() == kind);
        of_kind.map(|backup| backup.backup_set_guid.as_str()).collect()
    };
    for (field, value) in expected["expect"].as_object().expect("expectations") {
        match field.as_str() {
            "total" => assert_eq!(*value, chain.backups.len(), "{field}"),
            "full" | "differential" | "log" => assert_eq!(*value, guids(field).len(), "{field}"),
            "full_guid" => assert_eq!(guids("full"), [value.as_str().expect("a GUID")]),
            "log_guids" => assert_eq!(serde_json::json!(guids("log")), *value),
            "absent_guid" => {
                assert!(
                    !["full", "differential", "log"]
                        .iter()
                        .any(|kind| guids(kind).contains(&value.as_str().expect("a GUID")))
                );
            }
            other => panic!("no such expectation: {other}"),
        }
    }
}

#[test]
fn the_chains_of_real_servers_are_found() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures/sqlserver");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("skipped: {} is absent", folder.display());
        return;
    };
    let mut checked = 0;
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name in UTF-8");
        let Some(stem) = name.strip_suffix(".expect.json") else { continue };
        let read =
            |suffix: &str| std::fs::read_to_string(folder.join(format!("{stem}{suffix}"))).expect("a file");
        println!("{stem}");
        check(&read(".history.json"), &serde_json::from_str(&read(".expect.json")).expect("JSON"));
        checked += 1;
    }
    assert!(checked > 0, "the folder has no expectations");
}
