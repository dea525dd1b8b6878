//! `drydock chain`: which backups lead to a moment, with a word for each.

use serde_json::Value;

use crate::world::World;

/// A full, two logs, and a log of long before.
fn history() -> String {
    let entry = |guid: &str, kind: &str, first: u64, last: u64, hour: u32| {
        format!(
            r#"{{"server": "s", "database": "d", "type": "{kind}", "copy_only": false, "position": 1, "backup_set_guid": "{guid}",
                "first_lsn": "{first}", "last_lsn": "{last}", "started_at": "2026-07-14T{hour:02}:00:00Z",
                "finished_at": "2026-07-14T{hour:02}:05:00Z", "media": ["{guid}.bak"]}}"#
        )
    };
    let all = [
        entry("log-0", "log", 10, 90, 1),
        entry("full", "full", 100, 120, 2),
        entry("log-1", "log", 90, 200, 3),
        entry("log-2", "log", 200, 300, 4),
    ];
    format!("[{}]", all.join(","))
}

#[test]
fn a_choice_is_explained_backup_by_backup() {
    let world = World::plan("").write("history.json", &history());
    let told = world.drydock("chain --history history.json --at 2026-07-14T04:02:00Z").with_exit(0).stdout;
    for words in [
        "the newest full backup from which others lead to 2026-07-14T04:02:00Z",
        "leads on from LSN 120\n",
        "leads on from LSN 200, and 2026-07-14T04:02:00Z lies in it",
        "not used: log backup log-0 of 2026-07-14T01:05:00Z: it ends before LSN 120, from where on logs are needed",
    ] {
        assert!(told.contains(words), "{words}:\n{told}");
    }
    let json = |arguments: &str| -> Value {
        serde_json::from_str(&world.drydock(arguments).with_exit(0).stdout).unwrap()
    };
    assert!(json("chain --history history.json --format json").get("explained").is_none());
    let explained = json("chain --history history.json --format json --explain");
    let words: Vec<_> = explained["explained"].as_array().unwrap().iter().map(|one| &one["used"]).collect();
    assert_eq!(words, [false, true, true, true]);
    assert_eq!(explained["explained"][0]["backup_set_guid"], "log-0");
}

#[test]
fn a_mark_is_reached_by_its_place() {
    let world = World::plan("").write("history.json", &history());
    let told = world.drydock("chain --history history.json --mark 199 --format json").with_exit(0).stdout;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["stop_at_lsn"], told["backups"].as_array().unwrap().len()), (&Value::from("199"), 2));
    let told = world.drydock("chain --history history.json --mark 300").with_exit(11).stderr;
    assert!(told.contains("no chain"), "{told}");
    world.drydock("chain --history history.json --mark x").with_exit(2).says("--mark: \"x\" is not an LSN");
}
