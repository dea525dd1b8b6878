//! Golden files: `tests/formats` holds one of each format and version that was ever written, with all that it may have. This crate reads each as
//! it was meant, and writes the newest as ever. None of them is written anew: a change that breaks one needs a version of its own.
//!
//! Version 1 was written of manifests and openings alone; records and marks came with version 2. Their readers take version 1 all the same.

use drydock_recovery::manifest::{
    LogPoint, LogPointKind, Manifest, Opened, PlanRef, PointId, PointMark, PointMarkKind, Restored,
    SamplePart, SealTerms, seal, seal_log_point,
};
use drydock_recovery::sealed::text_of;
use serde_json::{Value, json};

use crate::clusters::{night as cluster_night, stretch};
use crate::pauses::paused_night;
use crate::world::{World, artifact};

fn golden(name: &str) -> String {
    let path = format!("{}/../../tests/formats/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).expect("a golden file")
}

/// Complains where what is written is another text than ever.
#[track_caller]
fn assert_as_ever(name: &str, value: &impl serde::Serialize) -> String {
    let (written, ever) = (text_of(value, None).expect("JSON"), golden(name));
    assert_eq!(written, ever, "{name} is written in another way than ever");
    ever
}

/// A point in a pause, with scripts of a server and a sample; everything that a manifest with collections may have.
fn whole() -> Manifest {
    let (mut marked, mut evidence) = paused_night();
    marked.opened.origin.by = "ops@runner".into();
    let script = artifact("server_objects/sql01.sql", 900);
    let sample = artifact("qdrant/agent_7f3a.sample.json", 4000);
    evidence.rehashed.extend([script.clone(), sample.clone()]);
    evidence.server_objects.insert("sql".into(), script);
    let collections = &mut evidence.qdrant.as_mut().expect("collections").collections;
    collections[0].samples.push(SamplePart {
        using: None,
        sampled: 20,
        k: 10,
        recall: 0.99,
        artifact: sample,
    });
    seal(marked, evidence, &SealTerms::default()).expect("a good night").manifest
}

fn cluster() -> Manifest {
    let (marked, evidence) = cluster_night();
    seal(marked, evidence, &SealTerms::default()).expect("a good night").manifest
}

fn record(with_cluster: bool) -> LogPoint {
    let mut world = World::new();
    let point = world.point();
    world.wait(15);
    if !with_cluster {
        return world.log_point(Some(&point.id));
    }
    let (marked, mut evidence) = world.quarter();
    let found = stretch(&marked, 6, 8);
    evidence.rehashed.extend(found.wal.segments.iter().cloned());
    evidence.stretches.insert("vectors".into(), found);
    seal_log_point(marked, LogPointKind::Log, evidence, None, &SealTerms::default()).expect("a good quarter")
}

fn opened() -> Opened {
    World::new().night().0.opened
}

fn restored() -> Restored {
    let plan = PlanRef { name: "octopus_restore".into(), digest: "sha256:0d5c".into() };
    let (artifacts, environment) = ("ab12".to_owned(), "drill".to_owned());
    Restored { took_ms: 91_000, sittings: 1, bytes: 4_096, artifacts, plan, environment }
}

/// Everything that can be said of a point.
fn said() -> Vec<(&'static str, PointMark)> {
    let world = World::new();
    let id = PointId::parse("01K00000000000000000000002").expect("a ULID");
    let reason = || "audit".to_owned();
    let all = [
        (
            "verified",
            PointMarkKind::Verified { how: "hashed".into(), run: "verify-1".into(), restored: None },
        ),
        (
            "verified-by-a-drill",
            PointMarkKind::Verified {
                how: "a drill".into(),
                run: "drill-1".into(),
                restored: Some(restored()),
            },
        ),
        ("held", PointMarkKind::Held { until: Some(world.now), reason: reason() }),
        ("held-for-ever", PointMarkKind::Held { until: None, reason: reason() }),
        ("released", PointMarkKind::Released { reason: reason() }),
        ("bad", PointMarkKind::Bad { reason: reason() }),
        ("pruned", PointMarkKind::Pruned { reason: reason() }),
    ];
    all.map(|(name, said)| (name, PointMark::new(id.clone(), world.now, "on-call", said))).into()
}

#[test]
fn manifests_with_all_that_they_may_have_are_written_and_read_as_ever() {
    for (name, point) in [("manifest-v2-whole", whole()), ("manifest-v2-cluster", cluster())] {
        let text = assert_as_ever(name, &point);
        assert_eq!(Manifest::parse(&text).expect("it is read"), point, "{name}");
    }
}

#[test]
fn records_are_written_and_read_as_ever() {
    for (name, log) in [("log_point-v2", record(false)), ("log_point-v2-cluster", record(true))] {
        let text = assert_as_ever(name, &log);
        assert_eq!(LogPoint::parse(&text).expect("it is read"), log, "{name}");
    }
}

#[test]
fn marks_are_written_and_read_as_ever() {
    for (name, mark) in said() {
        let text = assert_as_ever(&format!("point_mark-v2-{name}"), &mark);
        assert_eq!(PointMark::parse(&text).expect("it is read"), mark, "{name}");
        assert!(name.starts_with(mark.said.word()), "{name} is called {}", mark.said.word());
    }
}

#[test]
fn an_opening_is_written_as_ever_and_read_in_both_versions() {
    let opened = opened();
    let text = assert_as_ever("opened-v2", &opened.file());
    assert_eq!(Opened::parse(&text), Ok(opened.clone()));
    let first = golden("opened-v1");
    assert!(!first.contains("\"sha256\""), "version 1 bore no digest of its own");
    assert_eq!(Opened::parse(&first), Ok(opened));
}

/// What a reader of any version gets beyond what it knows: a field more.
fn with_more(text: &str) -> String {
    let mut value: Value = serde_json::from_str(text).expect("JSON");
    let fields = value.as_object_mut().expect("an object");
    fields.shift_remove("sha256");
    fields.insert("of_tomorrow".into(), json!({ "yes": true }));
    text_of(&value, None).expect("JSON")
}

#[test]
fn readers_pass_over_fields_of_tomorrow_and_refuse_versions_of_tomorrow() {
    type Reads = fn(&str) -> Result<(), String>;
    let readers: [(&str, Reads); 4] = [
        ("manifest-v2-whole", |text| Manifest::parse(text).map(drop).map_err(|error| error.to_string())),
        ("log_point-v2", |text| LogPoint::parse(text).map(drop).map_err(|error| error.to_string())),
        ("point_mark-v2-held", |text| PointMark::parse(text).map(drop).map_err(|error| error.to_string())),
        ("opened-v2", |text| Opened::parse(text).map(drop).map_err(|error| error.to_string())),
    ];
    for (name, reads) in readers {
        assert_eq!(reads(&with_more(&golden(name))), Ok(()), "{name}");
        let newer = golden(name).replacen("\"version\": 2", "\"version\": 3", 1);
        let error = reads(&newer).expect_err("it is of tomorrow");
        assert!(error.contains("has version 3; this Drydock reads versions up to 2"), "{name}: {error}");
        // Nor is one format taken for another.
        for (other, _) in readers.iter().filter(|(other, _)| *other != name) {
            let error = reads(&golden(other)).expect_err("it is another format");
            assert!(error.contains("not a \"drydock."), "{name} reads {other}: {error}");
        }
    }
}
