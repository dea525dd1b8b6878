//! `drydock points`, on a folder with the golden manifest of a point and some that are damaged.

use serde_json::{Value, json};

use crate::world::World;

const ID: &str = "01K00000000000000000000002";
const ENVIRONMENT: &str = "drydock: v1\nenvironment: e\ntargets:\n  backups: { kind: artifacts, url: ./store }\n  api: { kind: http, url: 'http://127.0.0.1:1' }\n";

/// A store with one sealed point.
fn world() -> World {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/formats/manifest-v1.json");
    let world = World::plan("").write("e.yaml", ENVIRONMENT);
    std::fs::create_dir_all(world.path("store/points").join(ID)).unwrap();
    std::fs::copy(golden, world.path("store/points").join(ID).join("manifest.json")).unwrap();
    world
}

#[test]
fn points_are_listed_with_what_is_to_be_said_of_them() {
    let world = world();
    let listed: Value =
        serde_json::from_str(&world.drydock("points -e e.yaml list --format json").with_exit(0).stdout)
            .unwrap();
    let point = &listed[0];
    assert_eq!(
        (&point["id"], &point["kind"], &point["at"]),
        (&json!(ID), &json!("point"), &json!("2026-07-01T00:00:26.040Z"))
    );
    assert_eq!((&point["databases"], &point["collections"]), (&json!(["octopus"]), &json!(2)));
    assert_eq!((&point["size"], &point["state"]), (&json!(2 * 4096 + 4 * 65_536), &json!(["sealed"])));
    let text = world.drydock("points -e e.yaml").with_exit(0).stdout;
    assert!(
        text.starts_with(ID) && text.contains("2 collections   264.0 KiB  skew   6.0 s  sealed\n"),
        "{text}"
    );
}

#[test]
fn a_point_is_shown_whole() {
    let world = world();
    let shown: Value =
        serde_json::from_str(&world.drydock("points -e e.yaml show 01k0 --format json").with_exit(0).stdout)
            .unwrap();
    assert_eq!(
        (&shown["id"], &shown["sqlserver"]["octopus"]["database"], &shown["marks"]),
        (&json!(ID), &json!("OctopusDB"), &json!([]))
    );
    let text = world.drydock("points -e e.yaml show 01K0").with_exit(0).stdout;
    for words in [
        "mark dd_01K00000000000000000000002",
        "sql/full-1.bak  4.0 KiB  sha256 6fe32a5a",
        "proved base_before_mark: the full backup full-1",
    ] {
        assert!(text.contains(words), "no `{words}` in:\n{text}");
    }
    world.drydock("points -e e.yaml show 02").with_exit(2).says("no point's id begins with 02");
}

#[test]
fn a_damaged_file_is_a_warning_and_the_others_are_listed() {
    let world = world();
    let damaged = world.path("store/points/01K00000000000000000000003");
    std::fs::create_dir_all(&damaged).unwrap();
    std::fs::write(damaged.join("manifest.json"), "{").unwrap();
    let opened = world.path("store/points/01K00000000000000000000004");
    std::fs::create_dir_all(&opened).unwrap();
    std::fs::write(opened.join("opened.json"), "{}").unwrap();
    let ended = world.drydock("points -e e.yaml list").with_exit(0);
    assert!(
        ended.stdout.contains(ID)
            && ended.stdout.ends_with("01K00000000000000000000004  opened, not sealed\n"),
        "{}",
        ended.stdout
    );
    ended.says(
        "warning: points/01K00000000000000000000003/manifest.json cannot be read: this is no drydock.point",
    );
}

#[test]
fn the_store_is_the_environment_s_own() {
    let two = format!("{ENVIRONMENT}  far: {{ kind: artifacts, url: ./far }}\n");
    let none = "drydock: v1\nenvironment: e\ntargets:\n  api: { kind: http, url: 'http://127.0.0.1:1' }\n";
    let bad = "drydock: v1\nenvironment: e\ntargets:\n  backups: { kind: artifacts, urll: ./store }\n";
    let lost = ENVIRONMENT.replace("./store", "./nowhere/store");
    let world = world()
        .write("two.yaml", &two)
        .write("none.yaml", none)
        .write("bad.yaml", bad)
        .write("lost.yaml", &lost);
    world.drydock("points -e two.yaml").with_exit(2).says("say which with --target: backups, far");
    world.drydock("points -e two.yaml --target api").with_exit(2).says("names no artifact store api");
    let far = world.drydock("points -e two.yaml --target far").with_exit(0);
    assert_eq!(far.stdout, "no points yet\n");
    world.drydock("points -e none.yaml").with_exit(2).says("names no artifact store");
    world.drydock("points -e missing.yaml").with_exit(2).says("missing.yaml");
    let found = world.drydock("points -e bad.yaml").with_exit(10);
    assert!(found.stdout.contains("urll"), "{}", found.stdout);
    world.drydock("points -e lost.yaml").with_exit(11).says("is its volume mounted?");
}
