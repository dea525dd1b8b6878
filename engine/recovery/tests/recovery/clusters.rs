//! A point whose vectors lie in a PostgreSQL cluster: each claim about it is proved alone, and its manifest gives what a restore needs.

use crate::world::{World, artifact};
use chrono::TimeDelta;
use drydock_recovery::catalogue::{Catalogue, ClusterStop, Selection, To, select};
use drydock_recovery::manifest::{
    AgainstPart, Artifact, Band, BasePart, Claim, ClusterEvidence, Evidence, LogPoint, LogPointKind,
    Manifest, Marked, RestorePointPart, SealTerms, StretchEvidence, TableSamplePart, WalPart, seal,
    seal_log_point,
};
use drydock_recovery::sealed::text_of;
use drydock_recovery::wal::WalLsn;
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
    with_cluster(World::new().night())
}

fn segment(n: u32) -> Artifact {
    artifact(&format!("postgres/wal/00000001/{:024X}", (1_u128 << 64) + u128::from(n)), SEGMENT)
}

fn with_cluster((marked, mut evidence): (Marked, Evidence)) -> (Marked, Evidence) {
    evidence.qdrant = None;
    let full = base("full", "0/2000028", "0/2000158", None);
    let later = base("later", "0/4000028", "0/4000158", Some(&full));
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

/// The WAL that a quarter of an hour leaves behind the one before it, in the segments from `first` to `last`.
pub(crate) fn stretch(marked: &Marked, first: u32, last: u32) -> StretchEvidence {
    let asked = marked.sent_at - TimeDelta::seconds(1);
    StretchEvidence {
        from: WalLsn((u64::from(first) << 24) + 0x100),
        restore_point: RestorePointPart {
            name: marked.opened.mark.as_str().to_owned(),
            lsn: WalLsn((u64::from(last) << 24) + 0x200),
            timeline: 1,
            system_identifier: Some("7391".into()),
            at: asked,
            started_at: asked,
            answered_at: asked + TimeDelta::milliseconds(20),
        },
        wal: WalPart {
            prefix: "postgres/wal".into(),
            system_identifier: "7391".into(),
            segments: (first..=last).map(segment).collect(),
        },
        tables: [("public.vectors".to_owned(), Band::of(80, 80))].into_iter().collect(),
    }
}

/// A point and two log points after it.
struct Past {
    world: World,
    point: Manifest,
    logs: Vec<LogPoint>,
}

impl Past {
    fn new() -> Past {
        let mut world = World::new();
        let (marked, evidence) = with_cluster(world.night());
        let point = seal(marked, evidence, &SealTerms::default()).expect("a good night").manifest;
        let mut past = Past { world, point, logs: Vec::new() };
        past.quarter(6, 8);
        past.quarter(8, 9);
        past
    }

    fn quarter(&mut self, first: u32, last: u32) {
        self.world.wait(15);
        let (marked, mut evidence) = self.world.quarter();
        let found = stretch(&marked, first, last);
        evidence.rehashed.extend(found.wal.segments.iter().cloned());
        evidence.stretches.insert("vectors".into(), found);
        let base = Some(self.point.id.clone());
        let log = seal_log_point(marked, LogPointKind::Log, evidence, base, &SealTerms::default());
        self.logs.push(log.expect("a good quarter"));
    }

    fn select(&self, to: &str) -> Result<Selection, String> {
        let catalogue = Catalogue::new(vec![self.point.clone()], self.logs.clone(), Vec::new());
        select(&catalogue, &To::parse(to), &[], self.world.now).map_err(|error| error.to_string())
    }
}

#[test]
fn a_log_point_brings_the_vectors_to_its_own_moment() {
    let past = Past::new();
    let read = LogPoint::parse(&text_of(&past.logs[1], None).expect("JSON")).expect("it is read");
    assert_eq!(read, past.logs[1]);
    let chosen = past.select("end").expect("the last log point").outputs();
    let cluster = &chosen["postgres"]["vectors"];
    assert_eq!(chosen["id"], past.logs[1].id.as_str());
    assert_eq!(cluster["to"], json!({ "name": past.logs[1].mark }));
    assert_eq!(cluster["bases"][1]["label"], "later");
    let segments = cluster["wal"]["segments"].as_array().expect("a list");
    assert_eq!(segments.len(), 6, "from the base backup on, each once");
    assert_eq!(cluster["tables"]["public.vectors"], json!({ "low": 80, "high": 80 }));
    let reindex = &chosen["price"]["reindex"][0];
    assert_eq!((&reindex["collection"], &reindex["seconds"]), (&json!("vectors"), &json!(1.04)));
    let point = past.select("point:latest").expect("the point").outputs();
    assert_eq!(point["postgres"]["vectors"]["to"], json!({ "name": "dd_1" }));
}

#[test]
fn a_moment_is_reached_by_the_wal_that_goes_over_it() {
    let past = Past::new();
    let at = past.logs[0].marked_at + TimeDelta::minutes(2);
    let chosen = past.select(&at.to_rfc3339()).expect("a moment").outputs();
    assert_eq!((&chosen["kind"], &chosen["id"]), (&json!("time"), &json!(past.logs[0].id)));
    let cluster = &chosen["postgres"]["vectors"];
    assert_eq!(cluster["to"], json!({ "time": at }));
    assert_eq!(
        cluster["wal"]["segments"].as_array().map(Vec::len),
        Some(6),
        "over it, to the next restore point"
    );
    assert_eq!(chosen["price"]["reindex"], json!([]), "the vectors are of the same moment");
}

#[test]
fn a_moment_is_cut_where_the_clusters_own_clock_stood_then() {
    for (ahead, words) in [
        (TimeDelta::hours(1), "the clock of vectors went 3599 s ahead of the runner's"),
        (-TimeDelta::minutes(10), "the clock of vectors went 600 s behind the runner's"),
    ] {
        let mut past = Past::new();
        past.point.postgres["vectors"].cluster.restore_point.at += ahead;
        past.logs.iter_mut().for_each(|log| log.postgres["vectors"].stretch.restore_point.at += ahead);
        let at = past.logs[0].marked_at + TimeDelta::minutes(2);
        let chosen = past.select(&at.to_rfc3339()).expect("a moment");
        let cluster = &chosen.postgres["vectors"];
        let ClusterStop::Time(cut) = cluster.to else { panic!("{:?}", cluster.to) };
        assert!(cut - at <= ahead && cut - at >= ahead - TimeDelta::milliseconds(40), "{cut}");
        assert_eq!(cluster.part.cluster.wal.segments.len(), 6, "over it, to the next restore point");
        assert!(cluster.clock.as_ref().is_some_and(|told| told.starts_with(words)), "{:?}", cluster.clock);
        assert_eq!(chosen.price.reindex, [], "the vectors are of the same moment");
    }
}

#[test]
fn wal_that_is_lost_between_two_log_points_is_named_and_the_one_before_is_taken() {
    let mut past = Past::new();
    past.logs[0].postgres["vectors"].stretch.wal.segments.remove(1);
    let chosen = past.select("end").expect("the point itself");
    assert_eq!(chosen.id, past.point.id);
    let lost = "vectors: after 000000010000000000000007 was looked for, 000000010000000000000008 came";
    assert!(chosen.passed_over.iter().all(|one| one.ends_with(lost)), "{:?}", chosen.passed_over);
    let mut past = Past::new();
    past.logs[1].postgres["vectors"].stretch.wal.segments[0].sha256 = "0".repeat(64);
    let chosen = past.select("end").expect("the first log point");
    assert_eq!(chosen.id, past.logs[0].id);
    let told = "two records tell segment 000000010000000000000008 with other content";
    assert!(chosen.passed_over[0].contains(told), "{:?}", chosen.passed_over);
    let mut past = Past::new();
    past.logs[1].postgres["vectors"].stretch.restore_point.timeline = 2;
    let chosen = past.select("end").expect("the first log point");
    assert!(chosen.passed_over[0].contains("no base backup of cluster 7391 on timeline 2 stands before it"));
}

#[test]
fn every_claim_about_the_wal_of_a_log_point_is_proved_alone() {
    let check = |spoil: &dyn Fn(&mut Marked, &mut StretchEvidence), claim: Claim, words: &str| {
        let mut world = World::new();
        world.point();
        let (mut marked, mut evidence) = world.quarter();
        let mut found = stretch(&marked, 6, 8);
        evidence.rehashed.extend(found.wal.segments.iter().cloned());
        spoil(&mut marked, &mut found);
        evidence.stretches.insert("vectors".into(), found);
        let refusal = seal_log_point(marked, LogPointKind::Log, evidence, None, &SealTerms::default())
            .expect_err("a spoilt quarter");
        let unproved: Vec<_> = refusal.unproved.iter().map(|one| (one.claim, one.of.as_str())).collect();
        assert_eq!(unproved, [(claim, "vectors")], "{refusal}");
        assert!(refusal.unproved[0].why.contains(words), "{refusal}");
    };
    let another = |_: &mut Marked, one: &mut StretchEvidence| one.wal.system_identifier = "8".into();
    check(&another, Claim::SameCluster, "is of cluster 7391, the WAL of cluster 8");
    let late = |marked: &mut Marked, one: &mut StretchEvidence| {
        one.restore_point.answered_at = marked.sent_at + TimeDelta::milliseconds(1);
    };
    check(&late, Claim::RestorePointBeforeMark, "was answered after the mark was sent");
    let lost = |_: &mut Marked, one: &mut StretchEvidence| drop(one.wal.segments.remove(1));
    check(&lost, Claim::WalArchived, "after 000000010000000000000007 was looked for");
    let none = |_: &mut Marked, one: &mut StretchEvidence| one.wal.segments.clear();
    check(&none, Claim::WalArchived, "no segment is 0 bytes long");
    let flipped = |_: &mut Marked, one: &mut StretchEvidence| one.wal.segments[2].sha256 = "0".repeat(64);
    check(&flipped, Claim::ArtifactsRehashed, "and read back as");
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
