//! Sealing: a good night gives the manifest of `tests/formats/manifest-v2.json`; with one thing wrong it gives the
//! name of the claim that does not hold.

use crate::world::World;
use chrono::TimeDelta;
use drydock_recovery::guid::Guid;
use drydock_recovery::manifest::{
    Certificate, Claim, Evidence, FormatError, LogPointKind, Manifest, Marked, SealTerms, seal,
    seal_log_point,
};
use serde_json::{Value, json};

fn golden() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/formats/manifest-v1.json");
    std::fs::read_to_string(path).expect("the golden manifest")
}

/// Seals a night after something was done to it, and gives what does not hold.
fn unproved(spoil: impl FnOnce(&mut Marked, &mut Evidence)) -> Vec<(Claim, String, String)> {
    let (mut marked, mut evidence) = World::new().night();
    spoil(&mut marked, &mut evidence);
    let refusal = seal(marked, evidence, &SealTerms::default()).expect_err("a spoilt night is not sealed");
    refusal.unproved.into_iter().map(|one| (one.claim, one.of, one.why)).collect()
}

fn check(spoil: impl FnOnce(&mut Marked, &mut Evidence), claim: Claim, of: &str, words: &str) {
    let found = unproved(spoil);
    assert_eq!(found.len(), 1, "{found:?}");
    let (found_claim, found_of, why) = &found[0];
    assert_eq!((*found_claim, found_of.as_str()), (claim, of), "{why}");
    assert!(why.contains(words), "{why}");
}

const LOG: usize = 0;
const FULL: usize = 1;

fn sql(evidence: &mut Evidence) -> &mut drydock_recovery::manifest::DatabaseEvidence {
    &mut evidence.sqlserver["octopus"]
}

#[test]
fn every_claim_about_a_database_is_proved_alone() {
    check(
        |_, found| drop(sql(found).backups.remove(FULL)),
        Claim::BaseBeforeMark,
        "octopus",
        "no usable full backup of OctopusDB",
    );
    check(
        |marked, _| marked.places["octopus"].lsn = 39_000_000_099_900_001_u64.into(),
        Claim::BaseBeforeMark,
        "octopus",
        "no full backup ended at or before the mark at LSN 39000000099900001",
    );
    check(
        |_, found| drop(sql(found).backups.remove(LOG)),
        Claim::ChainComplete,
        "octopus",
        "no backup holds what happened after",
    );
    check(
        |_, found| sql(found).backups[LOG].backup.has_bulk_logged_data = Some(true),
        Claim::MarkLogNotBulk,
        "octopus",
        "holds bulk-logged changes",
    );
    check(
        |_, found| sql(found).backups[FULL].artifacts.clear(),
        Claim::FilesAtHand,
        "octopus",
        "has 1 files, and 0 of them are in the store",
    );
    check(
        |_, found| sql(found).family_guid = Guid::new("family-2"),
        Claim::SameFamily,
        "octopus",
        "is of family family-1, the database of family-2",
    );
    check(
        |_, found| sql(found).backups[LOG].checksums = false,
        Claim::Checksums,
        "octopus",
        "was written without checksums",
    );
    check(
        |_, found| sql(found).recovery_model = "BULK_LOGGED".into(),
        Claim::FullRecoveryModel,
        "octopus",
        "the database is in the BULK_LOGGED recovery model",
    );
    check(
        |_, found| sql(found).backups[FULL].encryptor_thumbprint = Some("0xAB".into()),
        Claim::CertificatesEscrowed,
        "octopus",
        "is encrypted with certificate 0xAB, which is not known",
    );
    check(
        |_, found| {
            sql(found).backups[FULL].encryptor_thumbprint = Some("0xAB".into());
            sql(found).certificates = vec![Certificate { thumbprint: "0xab".into(), escrow: None }];
        },
        Claim::CertificatesEscrowed,
        "octopus",
        "which is not in escrow",
    );
    check(
        |_, found| drop(found.rehashed.remove(0)),
        Claim::ArtifactsRehashed,
        "octopus",
        "was not read back",
    );
    check(
        |_, found| found.rehashed[0].sha256 = "00".repeat(32),
        Claim::ArtifactsRehashed,
        "octopus",
        "was stored as 4096 bytes, sha256 ",
    );
    check(
        |_, found| drop(found.sqlserver.shift_remove("octopus")),
        Claim::FilesAtHand,
        "octopus",
        "nothing of it was backed up",
    );
    check(|marked, _| marked.places.clear(), Claim::BaseBeforeMark, "octopus", "its log has no mark");
}

#[test]
fn a_mark_on_another_fork_is_no_mark_of_this_database() {
    let found = unproved(|_, found| sql(found).recovery_fork = Guid::new("fork-b"));
    assert_eq!(found[0].0, Claim::BaseBeforeMark, "{found:?}");
}

fn collection(found: &mut Evidence) -> &mut drydock_recovery::manifest::CollectionEvidence {
    &mut found.qdrant.as_mut().expect("the night has collections").collections[0]
}

#[test]
fn every_claim_about_a_collection_is_proved_alone() {
    let of = "agent_7f3a";
    check(
        |_, found| collection(found).snapshots[1].shards.clear(),
        Claim::ShardsCovered,
        of,
        "no snapshot holds shard 1",
    );
    check(|_, found| collection(found).shards.clear(), Claim::ShardsCovered, of, "its shards are not known");
    check(|_, found| collection(found).transfers = 2, Claim::NoTransfers, of, "2 shards were in transfer");
    check(
        |marked, found| {
            collection(found).snapshots[1].answered_at = marked.sent_at + TimeDelta::milliseconds(1)
        },
        Claim::SnapshotsBeforeMark,
        of,
        "of http://qdrant-1:6333 was answered after the mark was sent",
    );
    check(
        |_, found| {
            let first = collection(found).snapshots[0].clone();
            collection(found).snapshots.push(first);
        },
        Claim::SnapshotsDistinct,
        of,
        "the second replaced the first",
    );
    check(
        |_, found| collection(found).snapshots[0].artifact.size += 1,
        Claim::ArtifactsRehashed,
        of,
        "was stored as 65537 bytes",
    );
    let listed =
        |found: &mut Evidence| found.qdrant.as_mut().map(|found| std::mem::take(&mut found.listed_after));
    check(
        |_, found| {
            let mut names = listed(found).expect("names");
            names.push("agent_new".into());
            found.qdrant.as_mut().expect("collections").listed_after = names;
        },
        Claim::CollectionsUnchanged,
        "agent_new",
        "it came while snapshots were made",
    );
}

#[test]
fn what_may_be_missing_is_named_in_the_manifest() {
    let (marked, mut evidence) = World::new().night();
    collection(&mut evidence).transfers = 1;
    sql(&mut evidence).backups[LOG].checksums = false;
    let terms = SealTerms { accept_missing: vec!["agent_7f3a".into()], ..SealTerms::default() };
    let refusal = seal(marked.clone(), evidence.clone(), &terms).expect_err("the database was not accepted");
    assert_eq!(refusal.unproved[0].claim, Claim::Checksums);
    assert!(
        refusal
            .to_string()
            .starts_with("the point cannot be sealed: checksums does not hold for octopus: the log backup")
    );
    let terms = SealTerms { accept_missing: vec!["octopus".into(), "agent_7f3a".into()], ..terms };
    let sealed = seal(marked, evidence, &terms).expect("both were accepted");
    assert_eq!(sealed.manifest.incomplete, ["agent_7f3a", "octopus"]);
    assert!(!sealed.manifest.claims.iter().any(|claim| claim.name == "checksums"));
}

#[test]
fn skew_is_measured_from_the_first_snapshot_and_a_missed_objective_does_not_spoil_the_point() {
    let (marked, evidence) = World::new().night();
    let terms = SealTerms { skew_objective_s: Some(4.0), ..SealTerms::default() };
    let sealed = seal(marked, evidence, &terms).expect("a good night");
    let missed: Vec<String> = sealed.skew_missed.iter().map(ToString::to_string).collect();
    assert_eq!(missed, ["the skew of agent_7f3a is 6.04 s; the objective is 4 s"]);
    assert_eq!(sealed.manifest.skew_s(), Some(6.04));
}

#[test]
fn the_chain_is_in_restore_order_and_bands_are_there() {
    let manifest = World::new().point();
    let kinds: Vec<&str> =
        manifest.sqlserver["octopus"].backups.iter().map(|one| one.backup.kind.as_str()).collect();
    assert_eq!(kinds, ["full", "log"]);
    assert_eq!(
        serde_json::to_value(&manifest.rows).expect("JSON"),
        json!({"Octopus_Episodes": {"low": 5000, "high": 5002}})
    );
}

#[test]
fn a_log_point_must_hold_its_own_mark() {
    let mut world = World::new();
    world.point();
    let (mut marked, evidence) = world.quarter();
    marked.places["octopus"].lsn = evidence.sqlserver["octopus"].backups[0].backup.last_lsn;
    let refusal = seal_log_point(marked, LogPointKind::Log, evidence, None, &SealTerms::default())
        .expect_err("too late");
    assert_eq!(refusal.unproved[0].claim, Claim::ChainComplete);
    assert!(refusal.unproved[0].why.starts_with("no backup of this run holds the mark at LSN 390000001"));
}

#[test]
fn unknown_fields_are_ignored_and_newer_versions_refused() {
    let mut value: Value = serde_json::from_str(&golden()).expect("JSON");
    value["moon_phase"] = json!("waxing");
    value["sqlserver"]["octopus"]["backups"][0]["backup"]["colour"] = json!("green");
    assert!(Manifest::parse(&value.to_string()).is_ok());
    value["version"] = json!(3);
    let newer = Manifest::parse(&value.to_string()).expect_err("newer");
    assert_eq!(newer, FormatError::TooNew { format: "drydock.point", found: 3 });
    assert_eq!(
        newer.to_string(),
        "this drydock.point has version 3; this Drydock reads versions up to 2. Read it with a newer Drydock"
    );
    value["format"] = json!("drydock.log_point");
    let other = Manifest::parse(&value.to_string()).expect_err("another format").to_string();
    assert_eq!(other, "this is a \"drydock.log_point\", not a \"drydock.point\"");
    let cut = Manifest::parse(&golden()[..200]).expect_err("cut short").to_string();
    assert!(cut.starts_with("this is no drydock.point: EOF while parsing"), "{cut}");
}
