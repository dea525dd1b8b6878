//! One byte flipped in any file that a sealed point names is noticed by `points verify --deep`, which names the file.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::log_points::Story;
use crate::sql_plans::Practice;
use crate::world::World;

/// The paths of the artifacts anywhere in a manifest.
fn paths(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            if let (Some(path), Some(_)) = (fields.get("path").and_then(Value::as_str), fields.get("sha256"))
            {
                found.insert(path.to_owned());
            }
            fields.values().for_each(|value| paths(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| paths(value, found)),
        _ => {}
    }
}

/// The files of a point in the folder store `artifacts` that its manifest names.
pub(crate) fn files_of(world: &World, environment: &str, point: &str) -> BTreeSet<String> {
    let shown =
        world.drydock(&format!("points show {point} -e {environment} --format json")).with_exit(0).stdout;
    let mut found = BTreeSet::new();
    paths(&serde_json::from_str(&shown).unwrap(), &mut found);
    found
}

/// Flips a byte in the middle of each of these files, alone, and asks whether the point holds.
pub(crate) fn each_is_noticed<'f>(
    world: &World,
    environment: &str,
    point: &str,
    files: impl Iterator<Item = &'f String>,
) {
    let verify = format!("points verify {point} --deep --by tester -e {environment} --format json");
    for file in files {
        let path = world.path("artifacts").join(file);
        let sound = std::fs::read(&path).unwrap();
        let mut flipped = sound.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 0x10;
        std::fs::write(&path, flipped).unwrap();
        let told = world.drydock(&verify).with_exit(21).stdout;
        let told: Value = serde_json::from_str(&told).unwrap();
        let findings = told["findings"].as_array().unwrap();
        assert!(findings.len() == 1 && findings[0]["claim"] == "artifacts_rehashed", "{file}: {told}");
        assert!(findings[0].to_string().contains(file.as_str()), "{file}: {told}");
        std::fs::write(&path, sound).unwrap();
    }
    world.drydock(&verify).with_exit(0);
}

#[test]
fn a_flipped_byte_in_any_file_of_a_point_is_noticed_by_its_name() {
    let mut story = Story::new();
    let _practice = Practice::start(&story.world, "{}");
    story.add("one");
    let point = story.shipped("backup", "-p pause=false")["point"].as_str().unwrap().to_owned();
    let files = files_of(&story.world, "env.yaml", &point);
    let of = |part: &str| files.iter().filter(|file| file.contains(part)).count();
    // Full and log, the server's objects, and of each collection a snapshot and a sample.
    assert_eq!((of(".bak"), of(".trn"), of("/qdrant/")), (1, 1, files.len() - 3), "{files:?}");
    assert!(of(".snapshot") > 4 && of(".snapshot") * 2 == of("/qdrant/"), "{files:?}");
    each_is_noticed(&story.world, "env.yaml", &point, files.iter());

    // A dry run names it before a restore begins, where it is asked to read everything.
    let plan = format!("{}/../plans/octopus/restore.yaml", env!("CARGO_MANIFEST_DIR"));
    let ask = |how: &str, exit: i32| {
        let line = format!("dry-run {plan} -e env.yaml -p to={point} --format json {how}");
        let shown: Value = serde_json::from_str(&story.world.drydock(&line).with_exit(exit).stdout).unwrap();
        shown["findings"].as_array().unwrap().clone()
    };
    ask("--probe=deep", 0);
    for (part, step) in
        [(".bak", "point"), (".trn", "point"), ("_objects", "point"), (".snapshot", "recover_vectors[")]
    {
        let file = files.iter().find(|file| file.contains(part)).unwrap();
        let path = story.world.path("artifacts").join(file);
        let sound = std::fs::read(&path).unwrap();
        let mut flipped = sound.clone();
        flipped[sound.len() / 2] ^= 0x10;
        std::fs::write(&path, flipped).unwrap();
        // The middle of a small log is in what the server reads of it at once.
        if part != ".trn" {
            ask("--probe", 0);
        }
        let found = ask("--probe=deep", 11);
        let named = found.iter().find(|found| found["code"] == "artifact.damaged").unwrap();
        assert!(named["step"].as_str().unwrap().starts_with(step), "{found:?}");
        assert!(named["message"].as_str().unwrap().starts_with(&format!("{file} has sha256 ")), "{found:?}");
        assert_eq!(named["severity"], "error");
        // What the server reads itself it does not call sound either.
        let read = found.iter().find(|found| found["step"] == "restore_sql" && found["severity"] == "error");
        assert_eq!(read.is_some(), part.ends_with("bak") || part.ends_with("trn"), "{found:?}");
        std::fs::write(&path, sound).unwrap();
    }
}
