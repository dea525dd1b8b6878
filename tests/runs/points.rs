//! `drydock points`, on a folder with the golden manifest of a point and some that are damaged: listed, shown, verified, held, marked as bad
//! and pruned.

use drydock_recovery::manifest::{Manifest, PointId};
use drydock_recovery::sealed::text_of;
use serde_json::{Value, json};

use crate::world::World;

const ID: &str = "01K00000000000000000000002";
const ENVIRONMENT: &str = "drydock: v1\nenvironment: e\ntargets:\n  backups: { kind: artifacts, url: ./store }\n  api: { kind: http, url: 'http://127.0.0.1:1' }\n";

/// A store with one sealed point.
fn world() -> World {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/formats/manifest-v2.json");
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

/// The id of the n-th copy of the golden point.
fn id(n: usize) -> String {
    format!("01K1{n:022}")
}

/// A store with so many copies of the golden point, a day apart and with files of their sizes.
fn past(points: usize) -> World {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/formats/manifest-v2.json");
    let golden = Manifest::parse(&std::fs::read_to_string(golden).unwrap()).unwrap();
    let world = World::plan("").write("e.yaml", ENVIRONMENT);
    for n in 1..=points {
        let mut text = serde_json::to_value(&golden).unwrap().to_string();
        for path in ["sql/", "qdrant/"] {
            text = text.replace(&format!("\"path\":\"{path}"), &format!("\"path\":\"{n}/{path}"));
        }
        let mut point: Manifest = serde_json::from_str(&text).unwrap();
        point.id = PointId::parse(&id(n)).unwrap();
        point.mark = point.id.mark();
        point.marked_at += chrono::TimeDelta::days(i64::try_from(n).unwrap());
        for (_, artifact) in point.artifacts() {
            let path = world.path("store").join(&artifact.path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::File::create(path).unwrap().set_len(artifact.size).unwrap();
        }
        let folder = world.path("store/points").join(point.id.as_str());
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("manifest.json"), text_of(&point, None).unwrap()).unwrap();
    }
    world
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn states(world: &World) -> Vec<Vec<String>> {
    let listed = json_of(&world.drydock("points -e e.yaml list --format json").with_exit(0).stdout);
    listed
        .as_array()
        .unwrap()
        .iter()
        .map(|one| serde_json::from_value(one["state"].clone()).unwrap())
        .collect()
}

#[test]
fn a_point_is_held_released_and_marked_as_bad() {
    let world = past(2);
    let told = world.drydock("points hold 01k1 -e e.yaml --reason audit --by Ann").with_exit(2);
    told.says("01k1 is the beginning of several points' ids");
    let point = id(2);
    let held = world.drydock(&format!(
        "points hold {point} -e e.yaml --until 2099-01-01T00:00:00Z --reason audit --by Ann --format json"
    ));
    let held = json_of(&held.with_exit(0).stdout);
    assert_eq!(
        (&held["by"], &held["said"]["kind"], &held["version"]),
        (&json!("Ann"), &json!("held"), &json!(2))
    );
    let path = held["path"].as_str().unwrap();
    assert!(
        path.starts_with(&format!("points/{point}/marks/20")) && path.ends_with("Z-01-held.json"),
        "{path}"
    );
    assert!(world.text(&format!("store/{path}")).contains("\"sha256\": \""), "it carries its own digest");
    assert_eq!(states(&world)[0], ["sealed", "held"]);
    let released =
        world.drydock("points hold latest -e e.yaml --release --reason over --by Ann").with_exit(0);
    assert!(released.stdout.contains("released"), "{}", released.stdout);
    assert_eq!(states(&world)[0], ["sealed"]);
    drop(world.drydock(&format!("points bad {point} -e e.yaml --reason drill --by Ann")).with_exit(0));
    assert_eq!(states(&world)[0], ["sealed", "bad: drill"]);
    let shown = world.drydock(&format!("points show {point} -e e.yaml")).with_exit(0).stdout;
    for words in ["held until 2099-01-01T00:00:00Z: audit", "  released 20", "  bad since 20"] {
        assert!(shown.contains(words), "no `{words}` in:\n{shown}");
    }
}

#[test]
fn what_cannot_be_said_of_a_point_is_refused() {
    let world = past(1).with("USER", "").with("LOGNAME", "").with("USERNAME", "");
    world.drydock("points hold latest -e e.yaml --reason x").with_exit(2).says("say who with --by NAME");
    let with_by =
        |rest: &str| world.drydock(&format!("points hold latest -e e.yaml --by Ann {rest}")).with_exit(2);
    with_by("--until soon --reason x").says("--until: soon is no time");
    with_by("--until 2020-01-01T00:00:00Z --reason x").says("is over");
    drop(with_by("--until 2099-01-01T00:00:00Z --release --reason x"));
    drop(with_by(""));
    world
        .drydock("points bad 02 -e e.yaml --by Ann --reason x")
        .with_exit(2)
        .says("no point's id begins with 02");
    assert!(!world.path(&format!("store/points/{}/marks", id(1))).exists(), "nothing was written");
}

#[test]
fn a_point_is_verified_or_everything_wrong_is_told() {
    let world = past(1);
    let told = world.drydock("points verify latest -e e.yaml --by Ann --format json").with_exit(0).stdout;
    let told = json_of(&told);
    assert_eq!((&told["files"], &told["findings"]), (&json!(6), &json!([])));
    assert!(told["mark"].as_str().unwrap().ends_with("-verified.json"), "{told}");
    assert!(states(&world)[0][1].starts_with("verified 20"));
    let deep = world.drydock("points verify latest -e e.yaml --by Ann --deep").with_exit(21);
    assert_eq!(deep.stdout.matches("artifacts_rehashed does not hold for 1/").count(), 6, "{}", deep.stdout);
    deep.says("so that nobody restores it");
    std::fs::remove_file(world.path("store/1/sql/full-1.bak")).unwrap();
    let lacking = world.drydock("points verify latest -e e.yaml --by Ann").with_exit(21).stdout;
    assert!(
        lacking.contains("files_at_hand does not hold for 1/sql/full-1.bak: it is not in the store"),
        "{lacking}"
    );
    let manifest = format!("store/points/{}/manifest.json", id(1));
    let changed = world.text(&manifest).replace("OctopusDB", "OctopusDC");
    std::fs::write(world.path(&manifest), changed).unwrap();
    let changed = world.drydock(&format!("points verify {} -e e.yaml --by Ann", id(1))).with_exit(21).stdout;
    assert!(changed.contains("it was changed after it was written"), "{changed}");
    drop(world.drydock("points verify latest -e e.yaml --by Ann --truth sql").with_exit(10));
}

#[test]
fn monitoring_is_told_in_one_line_whether_the_rpo_is_met() {
    let world = past(2);
    let missed = world.drydock("points list -e e.yaml --rpo 24h -q").with_exit(22).stdout;
    let start = format!(
        "rpo 1d MISSED: the newest that can be restored without the servers is point {} of 2026-07-03",
        id(2)
    );
    assert!(missed.starts_with(&start) && missed.lines().count() == 1, "{missed}");
    let met = world.drydock("points list -e e.yaml --rpo 99999d").with_exit(0).stdout;
    assert!(met.starts_with("rpo 99999d met: ") && met.lines().count() == 3, "{met}");
    std::fs::remove_file(world.path("store/2/sql/full-1.bak")).unwrap();
    let told = world.drydock("points list -e e.yaml --rpo 24h --format json").with_exit(22);
    let rpo = json_of(&told.stdout)["rpo"].clone();
    assert_eq!((&rpo["met"], &rpo["newest"]["id"]), (&json!(false), &json!(id(1))));
    assert!(
        rpo["passed_over"][0].as_str().unwrap().contains("2/sql/full-1.bak is not in the store"),
        "{rpo}"
    );
    let empty = past(0);
    let none = empty.drydock("points list -e e.yaml --rpo 24h -q").with_exit(22).stdout;
    assert_eq!(none, "rpo 1d MISSED: nothing can be restored without the servers\n");
    empty.drydock("points list -e e.yaml --rpo soon").with_exit(2).says("--rpo: `soon` is not a duration");
}

#[test]
fn a_rebuilt_list_looks_for_every_file() {
    let world = past(2);
    drop(world.drydock("points list -e e.yaml --rebuild").with_exit(0));
    std::fs::remove_file(world.path("store/1/sql/full-1.bak")).unwrap();
    assert!(!world.drydock("points list -e e.yaml").with_exit(0).stdout.contains("gone"));
    let told = world.drydock("points list -e e.yaml --rebuild").with_exit(21).stdout;
    assert!(told.contains("1 of 6 files gone or changed: 1/sql/full-1.bak"), "{told}");
}

#[test]
fn points_are_pruned_when_it_is_said_and_each_decision_has_its_reason() {
    let world = past(5);
    let prune = |rest: &str| world.drydock(&format!("points prune -e e.yaml --by Ann {rest}"));
    prune("").with_exit(2).says("nothing was said of what stays");
    let stopped = prune("--keep-last 4 --yes").with_exit(11);
    let line = format!(
        "remove   {}  point         2026-07-02T00:00:26  no rule keeps it, and nothing that stays needs it\n",
        id(1)
    );
    assert!(stopped.stdout.contains(&line), "{}", stopped.stdout);
    stopped.says("nothing is removed: 0 verified points would be left, fewer than 3; verify more");
    let shown = prune("--keep-last 4 --min-verified 0").with_exit(0).stdout;
    assert!(shown.contains("would remove 1 points and 6 files of 264.0 KiB; nothing was removed"), "{shown}");
    assert!(world.path("store/1/sql/full-1.bak").exists());
    drop(prune("--keep-last 3 --min-verified 0 --yes").with_exit(11).says("40 % of them and more than 30 %"));
    drop(world.drydock(&format!("points hold {} -e e.yaml --by Ann --reason audit", id(1))).with_exit(0));
    let told = prune("--keep-last 3 --min-verified 0 --yes --format json").with_exit(0).stdout;
    let told = json_of(&told);
    assert_eq!(
        (&told["done"], &told["files"], &told["points"][4]["why"]),
        (&json!(true), &json!(6), &json!("it is held: audit"))
    );
    assert!(!world.path("store/2/sql/full-1.bak").exists() && world.path("store/1/sql/full-1.bak").exists());
    assert!(!world.path(&format!("store/points/{}/manifest.json", id(2))).exists());
    assert_eq!(states(&world).len(), 4);
    assert_eq!(prune("--keep-last 3 --min-verified 0 --yes -q").with_exit(0).stdout, "nothing to remove\n");
}

/// The seed of RFC 8032's first test, and its public key.
const SEED: &str = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
const PUBLIC: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

#[test]
fn only_trusted_signatures_are_believed() {
    let trusting = |keys: &str| {
        let store = format!(
            "{{ kind: artifacts, url: ./store, sign_with: {{ env: SEAL_KEY }}, trusted_keys: [{keys}] }}"
        );
        ENVIRONMENT.replace("{ kind: artifacts, url: ./store }", &store)
    };
    let world = past(1).with("SEAL_KEY", SEED).write("e.yaml", &trusting(&format!("'{PUBLIC}'")));
    assert_eq!(states(&world)[0], ["sealed", "unsigned"]);
    let refused = world.drydock("points verify latest -e e.yaml --by Ann").with_exit(21).stdout;
    assert!(refused.contains("its manifest is not trusted: unsigned"), "{refused}");
    drop(
        world
            .drydock("points list -e e.yaml --rpo 99999d -q")
            .with_exit(22)
            .says("its manifest is not trusted"),
    );
    let held =
        world.drydock("points hold latest -e e.yaml --by Ann --reason audit --format json").with_exit(0);
    let path = format!("store/{}", json_of(&held.stdout)["path"].as_str().unwrap());
    assert!(world.text(&path).contains(&format!("\"signed_by\": \"{PUBLIC}\"")), "{}", world.text(&path));
    assert_eq!(states(&world)[0], ["sealed", "held", "unsigned"]);
    let other = "PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=";
    let world = world.write("e.yaml", &trusting(&format!("'{other}'")));
    world.drydock("points list -e e.yaml").with_exit(11).says("which is not among `trusted_keys`");
    let only_trusting = trusting(&format!("'{other}'")).replace("sign_with: { env: SEAL_KEY }, ", "");
    let world = world.write("e.yaml", &only_trusting);
    world.drydock("points list -e e.yaml").with_exit(0).says("`held` by Ann is not trusted: foreign key");
}
