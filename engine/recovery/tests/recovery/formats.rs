//! The formats that last: golden files of every version are read, the newest is written as ever, and no changed byte goes unnoticed.

use drydock_recovery::manifest::{LogPoint, Manifest, Opened, PlanRef, PointMark, PointMarkKind, Restored};
use drydock_recovery::sealed::{Signature, Signs, parts, text_of};
use serde_json::Value;

use crate::world::World;

fn golden(version: u32) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/formats");
    std::fs::read_to_string(format!("{folder}/manifest-v{version}.json")).expect("a golden manifest")
}

/// A point as it was sealed before it told of its servers' clocks, which whoever does not know them passes over.
fn point() -> Manifest {
    let point = World::new().point();
    assert_eq!(point.clocks.keys().collect::<Vec<_>>(), ["SQL01"]);
    Manifest { clocks: Default::default(), ..point }
}

#[test]
fn version_1_is_read_as_ever() {
    let text = golden(1);
    let manifest = Manifest::parse(&text).expect("version 1 is read");
    let written = serde_json::to_value(&manifest).expect("JSON");
    assert_eq!(written, serde_json::from_str::<Value>(&text).expect("JSON"));
    assert_eq!(Manifest { version: 2, ..manifest }, point(), "version 2 says the same");
}

#[test]
fn version_2_is_written_as_ever() {
    let text = text_of(&point(), None).expect("JSON");
    assert_eq!(text, golden(2));
    assert_eq!(Manifest::parse(&text).expect("it is read"), point());
    let with_clocks = World::new().point();
    let text = text_of(&with_clocks, None).expect("JSON");
    assert_eq!(Manifest::parse(&text).expect("it is read"), with_clocks);
}

struct Somebody;

impl Signs for Somebody {
    fn sign(&self, bytes: &[u8]) -> Signature {
        Signature { key: "c29tZWJvZHk=".into(), value: format!("c2lnbmF0dXJl{}", bytes.len()) }
    }
}

/// What may become of a byte: a bit, the case, all bits, or another digit.
fn flipped(byte: u8) -> Vec<u8> {
    let mut others = vec![byte ^ 0x01, byte ^ 0x20, byte ^ 0xff];
    if byte.is_ascii_digit() {
        others.extend((b'0'..=b'9').filter(|digit| *digit != byte));
    }
    others
}

/// What a reader gets of changed bytes; what is no text comes to it with a mark in the byte's place.
fn read(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Changes every byte of a text in turn. `parse` says whether it is still read.
fn each_byte_counts(what: &str, text: &str, parse: impl Fn(&str) -> bool) {
    assert!(parse(text), "{what} is not read as it was written");
    let signature = parts(text).expect("it has a digest").signature;
    let mut bytes = text.as_bytes().to_vec();
    for place in 0..bytes.len() {
        let byte = bytes[place];
        for other in flipped(byte) {
            bytes[place] = other;
            let changed = read(&bytes);
            // A changed signature is seen by whoever knows the keys.
            let unnoticed =
                parse(&changed) && parts(&changed).map(|parts| parts.signature).ok().flatten() == signature;
            assert!(!unnoticed, "{what}: byte {place}, {byte:#04x}, may be {other:#04x}");
        }
        bytes[place] = byte;
    }
}

#[test]
fn every_changed_byte_of_a_manifest_is_noticed() {
    let parse = |text: &str| Manifest::parse(text).is_ok();
    each_byte_counts("the manifest", &golden(2), parse);
    let point = World::new().point();
    let small = Manifest { claims: Vec::new(), qdrant: None, ..point };
    let signed = text_of(&small, Some(&Somebody)).expect("JSON");
    each_byte_counts("a signed manifest", &signed, parse);
}

fn restored() -> Restored {
    let plan = PlanRef { name: "octopus_restore".into(), digest: "sha256:0d5c".into() };
    let (artifacts, environment) = ("ab12".to_owned(), "drill".to_owned());
    Restored { took_ms: 91_000, sittings: 1, bytes: 4_096, artifacts, plan, environment }
}

#[test]
fn every_changed_byte_of_a_record_a_mark_and_an_opening_is_noticed() {
    let mut world = World::new();
    world.point();
    let log = world.log_point(None);
    each_byte_counts("a record", &text_of(&log, None).expect("JSON"), |text| LogPoint::parse(text).is_ok());
    for said in [
        PointMarkKind::Held { until: Some(world.now), reason: "audit".into() },
        PointMarkKind::Verified { how: "hashed".into(), run: "r1".into(), restored: None },
        PointMarkKind::Verified { how: "a drill".into(), run: "r1".into(), restored: Some(restored()) },
        PointMarkKind::Released { reason: "over".into() },
    ] {
        let mark = PointMark::new(log.id.clone(), world.now, "on-call", said);
        let text = text_of(&mark, None).expect("JSON");
        each_byte_counts("a mark", &text, |text| PointMark::parse(text).is_ok());
    }
    let opened = world.night().0.opened;
    let text = text_of(&opened.file(), None).expect("JSON");
    each_byte_counts("an opening", &text, |text| Opened::parse(text).is_ok());
}

#[test]
fn an_older_version_with_a_digest_is_held_to_it_and_version_2_must_have_one() {
    let refused = |text: &str| Manifest::parse(text).expect_err("it is refused").to_string();
    let cannot = "this drydock.point cannot be believed: it";
    let older = golden(2).replacen("\"version\": 2", "\"version\": 1", 1);
    assert_eq!(
        refused(&older),
        format!("{cannot} was changed after it was written: it is not what its `sha256` says")
    );
    let newer = golden(1).replacen("\"version\": 1", "\"version\": 2", 1);
    assert_eq!(refused(&newer), format!("{cannot} has no `sha256` of its own"));
    let of_old = Manifest { version: 1, ..World::new().point() };
    assert!(Manifest::parse(&text_of(&of_old, None).expect("JSON")).is_ok());
}
