//! `postgres.wal_status` on archives with faults: each is named, with what to do, and WAL that is too old is a failure.

use drydock_step::test_host::TEST_BEGINS_MS;
use serde_json::{Value, json};

use crate::server::{BOTH, Major};
use crate::wal::World;

/// The faults that a status names, each as its code and its message; every one says what to do.
fn faults(status: &Value) -> Vec<(String, String)> {
    let text = |fault: &Value, key: &str| fault[key].as_str().unwrap_or_else(|| panic!("{fault}")).to_owned();
    let faults = status["faults"].as_array().unwrap().iter();
    faults
        .inspect(|fault| assert!(text(fault, "help").contains("new base backup"), "{fault}"))
        .map(|fault| (text(fault, "code"), text(fault, "message")))
        .collect()
}

#[tokio::test]
async fn a_missing_a_cut_off_a_foreign_and_a_misplaced_segment_are_named_with_what_to_do() {
    for major in BOTH {
        let (world, other) = (World::small(major), World::small(major));
        let names = world.streamed(6).await;
        assert_eq!(faults(&world.status_with(json!({ "check": "whole" })).await.unwrap()), []);
        other.streamed(6).await;
        let system = async |world: &World| {
            let sql = "SELECT system_identifier::text FROM pg_control_system()";
            world.server.one("postgres", sql).await.as_str().unwrap().to_owned()
        };
        let (ours, theirs) = (system(&world).await, system(&other).await);
        let path = |n: usize| world.stored(&names[n]);
        std::fs::remove_file(path(0)).unwrap();
        std::fs::remove_file(path(1)).unwrap();
        // Somebody else's of the same name.
        std::fs::copy(other.stored(&names[2]), path(2)).unwrap();
        let whole = std::fs::read(path(3)).unwrap();
        std::fs::write(path(3), &whole[..whole.len() / 2]).unwrap();
        std::fs::copy(path(5), path(4)).unwrap();
        let status = world.status().await;
        let first = status["first"].as_str().unwrap().to_owned();
        // What is older than the first that is left was not there before either, as far as anybody knows.
        let expected = [
            ("postgres.wal_gap", format!("the archive pg/wal has not got {}", names[3])),
            (
                "postgres.wal_damaged",
                format!("{} is no whole segment of the WAL: it has 524288 bytes of 1048576", names[3]),
            ),
            (
                "postgres.wal_foreign",
                format!(
                    "{} is of system {theirs}, and the archive pg/wal has the WAL of system {ours}",
                    names[2]
                ),
            ),
        ];
        let mut found = faults(&status);
        let (code, message) = found.pop().unwrap();
        assert_eq!(code, "postgres.wal_damaged");
        assert!(
            message.starts_with(&format!(
                "{} is no whole segment of the WAL: by its header it begins at ",
                names[4]
            )),
            "{message}"
        );
        if first < names[0] {
            let words = format!("the archive pg/wal has not got {} to {} (2 segments)", names[0], names[1]);
            assert_eq!(found.remove(0), ("postgres.wal_gap".to_owned(), words));
        }
        assert_eq!(found, expected.map(|(code, message)| (code.to_owned(), message)), "{status}");
        assert_eq!(status["short"], json!([names[3]]));
        // By names and lengths alone the half of it is seen, and no page is read where none is asked for.
        let by_name = faults(&world.status_with(json!({ "check": "names" })).await.unwrap());
        assert!(by_name.iter().all(|(code, _)| code != "postgres.wal_foreign"), "{by_name:?}");
        let mut bytes = std::fs::read(path(5)).unwrap();
        bytes[8192 * 2 + 8] ^= 1;
        std::fs::write(path(5), bytes).unwrap();
        assert_eq!(faults(&world.status().await).len(), faults(&status).len(), "it begins as it should");
        let whole = faults(&world.status_with(json!({ "check": "whole" })).await.unwrap());
        let (_, message) = whole.last().unwrap();
        assert!(
            message.starts_with(&format!("{} is no whole segment of the WAL: its page at ", names[5])),
            "{message}"
        );
    }
}

#[tokio::test]
async fn a_slot_that_is_gone_and_wal_that_is_too_old_are_told() {
    let world = World::small(Major::Eighteen);
    let error = world.status_with(json!({ "max_rpo": "10s" })).await.unwrap_err();
    assert_eq!(error.code, "postgres.wal_late");
    assert_eq!(error.message, "nobody has ever streamed into this archive");
    world.streamed(2).await;
    let status = world.status_with(json!({ "server": "t", "max_rpo": "1h" })).await.unwrap();
    assert_eq!(status["faults"], json!([]), "{status}");
    world.server.run_script("postgres", "SELECT pg_drop_replication_slot('archive')").await;
    let status = world.status().await;
    assert_eq!(status["faults"][0]["code"], "postgres.wal_gap", "{status}");
    let words = "the server has no replication slot archive, so that it keeps nothing for the archive";
    assert_eq!(status["faults"][0]["message"], words, "{status}");
    // The last word of one that was killed a minute ago.
    let path = world.dir.path().join("store/pg/wal/streaming.json");
    let mut streaming: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    streaming["at_ms"] = json!(TEST_BEGINS_MS - 60_000);
    streaming["rpo_s"] = json!(0.5);
    for (ended, words) in [(false, "has not been heard since"), (true, "has ended")] {
        streaming["ended"] = json!(ended);
        std::fs::write(&path, streaming.to_string()).unwrap();
        world.status_with(json!({ "max_rpo": "2m" })).await.unwrap();
        let error = world.status_with(json!({ "max_rpo": "10s" })).await.unwrap_err();
        assert_eq!(error.code, "postgres.wal_late");
        assert!(error.message.starts_with("the newest WAL on the runner may be 60."), "{error}");
        assert!(
            error.message.contains("and `max_rpo` is 10 s: run r1, step stream, from 127.0.0.1:"),
            "{error}"
        );
        assert!(error.message.ends_with(words), "{error}");
        assert!(error.help.unwrap().contains("the slot keeps the WAL at the server meanwhile"));
    }
}
