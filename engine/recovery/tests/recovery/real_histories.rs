//! Chains over the real histories that lie beside the repository; skipped with a word where they are absent.

use drydock_recovery::chain::choose;
use drydock_recovery::history::History;
use serde_json::Value;

fn check(history: &str, expected: &Value) {
    let history = History::parse(history).expect("a history");
    let chain = choose(&history, &crate::asked::request(&expected["args"])).expect("a chain");
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
            other => assert_eq!(other, "an expectation that is known"),
        }
    }
}

#[test]
fn the_chains_of_real_servers_are_found() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures/sqlserver");
    if !folder.is_dir() {
        println!("skipped: {} is absent", folder.display());
        return;
    }
    let pairs = crate::asked::pairs(&folder);
    assert!(!pairs.is_empty(), "{} has no expectations", folder.display());
    for (name, history, expected) in pairs {
        println!("{name}");
        check(&history, &expected);
    }
}
