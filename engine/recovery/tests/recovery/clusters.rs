//! A point whose vectors lie in a PostgreSQL cluster: each claim about it is proved alone, and its manifest gives what a restore needs.

use crate::world::{World, artifact};
use chrono::TimeDelta;
use drydock_recovery::catalogue::{Catalogue, To, select};
use drydock_recovery::manifest::{
    AgainstPart, Band, BasePart, Claim, ClusterEvidence, Evidence, Manifest, Marked, RestorePointPart,
    SealTerms, TableSamplePart, WalPart, seal,
};
use drydock_recovery::sealed::text_of;
use serde_json::{Value, json};

const SEGMENT: u64 = 16 << 20;

fn base(label: &str, start: &str, end: &str, against: Option<&BasePart>) -> BasePart {
    BasePart {
        label: label.into(),
        system_identifier: Some("7391".into()),
        timeline: 1,
        start_lsn: start.parse().expect("a place"),
        end_lsn: end.parse().expect("a place"),
        segment_size: SEGMENT,
        artifact: artifact(&format!("postgres/base/{label}/base.tar"), 1 << 20),
        manifest: artifact(&format!("postgres/base/{label}/backup_manifest"), 4096),
        against: against.map(|one| AgainstPart {
            label: one.label.clone(),
            manifest_sha256: one.manifest.sha256.clone(),
        }),
        verified: true,
        rest: [("server_major".to_owned(), json!(18))].into_iter().collect(),
    }
}

/// A night with vectors in PostgreSQL instead of Qdrant.
pub(crate) fn night() -> (Marked, Evidence) {
    let (marked, mut evidence) = World::new().night();
    evidence.qdrant = None;
    let full = base("full", "0/2000028", "0/2000158", None);
    let later = base("later", "0/4000028", "0/4000158", Some(&full));
    let segment =
        |n: u32| artifact(&format!("postgres/wal/00000001/{:024X}", (1_u128 << 64) + u128::from(n)), SEGMENT);
    let asked = marked.sent_at - TimeDelta::seconds(2);
    let cluster = ClusterEvidence {
        version: "PostgreSQL 18.6".into(),
        bases: vec![full, later],
        restore_point: RestorePointPart {
            name: "dd_1".into(),
            lsn: "0/6000100".parse().expect("a place"),
            timeline: 1,
            system_identifier: Some("7391".into()),
            at: asked,
            started_at: asked,
            answered_at: asked + TimeDelta::milliseconds(40),
        },
        wal: WalPart {
            prefix: "postgres/wal".into(),
            system_identifier: "7391".into(),
            segments: vec![segment(4), segment(5), segment(6)],
        },
        tables: [("public.vectors".to_owned(), Band::of(70, 72))].into_iter().collect(),
        samples: vec![TableSamplePart {
            database: "octopus".into(),
            table: "public.vectors".into(),
            column: "embedding".into(),
            sampled: 20,
            k: 10,
            recall: 0.99,
            artifact: artifact("postgres/vectors.sample.json", 9000),
        }],
    };
    evidence.rehashed.extend(cluster.artifacts().cloned());
    evidence.postgres.insert("vectors".into(), cluster);
    (marked, evidence)
}

fn check(spoil: impl FnOnce(&mut Marked, &mut ClusterEvidence), claim: Claim, words: &str) {
    let (mut marked, mut evidence) = night();
    spoil(&mut marked, &mut evidence.postgres["vectors"]);
    let refusal = seal(marked, evidence, &SealTerms::default()).expect_err("a spoilt night is not sealed");
    assert_eq!(refusal.unproved.len(), 1, "{refusal}");
    let one = &refusal.unproved[0];
    assert_eq!((one.claim, one.of.as_str()), (claim, "vectors"), "{refusal}");
    assert!(one.why.contains(words), "{refusal}");
}

#[test]
fn every_claim_about_a_cluster_is_proved_alone() {
    check(
        |_, one| one.wal.system_identifier = "8".into(),
        Claim::SameCluster,
        "full is of cluster 7391, the WAL of cluster 8",
    );
    check(
        |_, one| one.bases[1].system_identifier = None,
        Claim::SameCluster,
        "later does not tell its cluster",
    );
    check(
        |_, one| one.restore_point.system_identifier = Some("8".into()),
        Claim::SameCluster,
        "dd_1 is of cluster 8",
    );
    check(
        |_, one| drop(one.bases.remove(0)),
        Claim::ChainComplete,
        "later was made against full, which does not stand before it",
    );
    check(
        |_, one| one.bases[1].against = None,
        Claim::ChainComplete,
        "later is a full backup, and not the first",
    );
    check(|_, one| one.bases[0].verified = false, Claim::Checksums, "pg_verifybackup has not read full");
    check(
        |_, one| one.bases[1].end_lsn = "0/6000101".parse().expect("a place"),
        Claim::BaseBeforeMark,
        "later is consistent from 0/6000101 on, behind the restore point dd_1 at 0/6000100",
    );
    check(
        |marked, one| one.restore_point.answered_at = marked.sent_at + TimeDelta::milliseconds(1),
        Claim::RestorePointBeforeMark,
        "dd_1 was answered after the mark was sent",
    );
    check(
        |_, one| drop(one.wal.segments.remove(1)),
        Claim::WalArchived,
        "after 000000010000000000000005 was looked for, 000000010000000000000006 came",
    );
    check(
        |_, one| drop(one.wal.segments.pop()),
        Claim::WalArchived,
        "segment 000000010000000000000006 is missing",
    );
    check(
        |_, one| one.restore_point.timeline = 2,
        Claim::WalArchived,
        "a base backup is needed after a promotion",
    );
    check(
        |_, one| one.bases[0].artifact.size += 1,
        Claim::ArtifactsRehashed,
        "postgres/base/full/base.tar was stored as 1048577 bytes",
    );
}

#[test]
fn a_segment_that_is_cut_short_is_named() {
    let (marked, mut evidence) = night();
    let short = &mut evidence.postgres["vectors"].wal.segments[1];
    short.size = 4096;
    let short = short.clone();
    evidence.rehashed.retain(|one| one.path != short.path);
    evidence.rehashed.push(short);
    let refusal = seal(marked, evidence, &SealTerms::default()).expect_err("it is too short");
    assert_eq!(
        refusal.to_string(),
        "the point cannot be sealed: wal_archived does not hold for vectors: \
         postgres/wal/00000001/000000010000000000000005 is 4096 bytes long, and not 16777216"
    );
}

#[test]
fn without_a_base_backup_there_is_nothing_to_restore() {
    let (marked, mut evidence) = night();
    evidence.postgres["vectors"].bases.clear();
    let refusal = seal(marked, evidence, &SealTerms::default()).expect_err("nothing to begin with");
    let claims: Vec<Claim> = refusal.unproved.iter().map(|one| one.claim).collect();
    assert_eq!(claims, [Claim::ChainComplete, Claim::BaseBeforeMark, Claim::WalArchived]);
}

#[test]
fn the_manifest_holds_the_cluster_and_a_restore_is_given_it() {
    let (marked, evidence) = night();
    let terms = SealTerms { skew_objective_s: Some(1.0), ..SealTerms::default() };
    let sealed = seal(marked, evidence, &terms).expect("a good night");
    assert_eq!(sealed.skew_missed[0].to_string(), "the skew of vectors is 2.04 s; the objective is 1 s");
    let text = text_of(&sealed.manifest, None).expect("JSON");
    let read = Manifest::parse(&text).expect("it is read");
    assert_eq!(read, sealed.manifest);
    assert_eq!(read.artifacts().filter(|(of, _)| *of == "vectors").count(), 8);
    let now = read.marked_at + TimeDelta::seconds(9);
    let catalogue = Catalogue::new(vec![read], Vec::new(), Vec::new());
    assert_eq!(catalogue.list(now)[0].clusters, 1);
    let chosen = select(&catalogue, &To::Latest, &[], now).expect("there is one").outputs();
    let cluster = &chosen["postgres"]["vectors"];
    assert_eq!(cluster["bases"][1]["server_major"], 18, "what only the restore reads is kept");
    assert_eq!(cluster["restore_point"]["name"], "dd_1");
    assert_eq!(chosen["price"]["reindex"][0]["collection"], "vectors");
    assert_eq!(chosen["price"]["reindex"][0]["seconds"], 2.04);
    assert_eq!(chosen["vector_base"], chosen["id"]);
}

#[test]
fn a_manifest_with_a_place_that_is_none_is_refused() {
    let (marked, evidence) = night();
    let manifest = seal(marked, evidence, &SealTerms::default()).expect("a good night").manifest;
    let mut value: Value = serde_json::to_value(&manifest).expect("JSON");
    value["postgres"]["vectors"]["restore_point"]["lsn"] = json!("0/G");
    let error = Manifest::parse(&text_of(&value, None).expect("JSON")).expect_err("no place").to_string();
    assert!(error.contains("`0/G` is no place in the WAL such as `0/4000028`"), "{error}");
}
