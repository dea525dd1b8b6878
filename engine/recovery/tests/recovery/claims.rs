//! Proofs that cannot lie: for each claim there is something that breaks it alone, and then sealing refuses with its name. What a manifest
//! still tells of is refused again when it is verified.

use chrono::TimeDelta;
use drydock_recovery::guid::Guid;
use drydock_recovery::manifest::{
    Claim, ClusterEvidence, CollectionEvidence, DatabaseEvidence, Evidence, LockEvidence, Manifest, Marked,
    PauseEvidence, SealTerms, rejudged, rejudged_log, seal,
};

use crate::clusters;
use crate::world::World;

/// What breaks a claim, in a night with Qdrant or in one with PostgreSQL.
enum Breaks {
    Night(fn(&mut Marked, &mut Evidence)),
    ClusterNight(fn(&mut Marked, &mut Evidence)),
}
use Breaks::{ClusterNight, Night};

const LOG: usize = 0;
const FULL: usize = 1;

fn sql(found: &mut Evidence) -> &mut DatabaseEvidence {
    &mut found.sqlserver["octopus"]
}

fn collection(found: &mut Evidence) -> &mut CollectionEvidence {
    &mut found.qdrant.as_mut().expect("the night has collections").collections[0]
}

fn cluster(found: &mut Evidence) -> &mut ClusterEvidence {
    &mut found.postgres["vectors"]
}

/// A claim that nothing breaks does not compile here.
fn breaks(claim: Claim) -> Breaks {
    match claim {
        Claim::BaseBeforeMark => Night(|_, found| drop(sql(found).backups.remove(FULL))),
        Claim::ChainComplete => Night(|_, found| drop(sql(found).backups.remove(LOG))),
        Claim::FilesAtHand => Night(|_, found| sql(found).backups[FULL].artifacts.clear()),
        Claim::MarkLogNotBulk => {
            Night(|_, found| sql(found).backups[LOG].backup.has_bulk_logged_data = Some(true))
        }
        Claim::SameFamily => Night(|_, found| sql(found).family_guid = Guid::new("family-2")),
        Claim::SameFork => Night(|_, found| {
            let log = &mut sql(found).backups[LOG].backup;
            (log.first_recovery_fork_id, log.recovery_fork_id) = (None, None);
        }),
        Claim::Checksums => Night(|_, found| sql(found).backups[LOG].checksums = false),
        Claim::FullRecoveryModel => Night(|_, found| sql(found).recovery_model = "SIMPLE".into()),
        Claim::CertificatesEscrowed => {
            Night(|_, found| sql(found).backups[FULL].encryptor_thumbprint = Some("0xAB".into()))
        }
        Claim::ShardsCovered => Night(|_, found| collection(found).snapshots[1].shards.clear()),
        Claim::NoTransfers => Night(|_, found| collection(found).transfers = 1),
        Claim::SnapshotsBeforeMark => Night(|marked, found| {
            collection(found).snapshots[1].answered_at = marked.answered_at + TimeDelta::milliseconds(1);
        }),
        Claim::SnapshotsDistinct => Night(|_, found| {
            let first = collection(found).snapshots[0].clone();
            collection(found).snapshots.push(first);
        }),
        Claim::CollectionsUnchanged => Night(|_, found| {
            found.qdrant.as_mut().expect("collections").listed_after.push("agent_new".into());
        }),
        Claim::RestorePointBeforeMark => ClusterNight(|marked, found| {
            cluster(found).restore_point.answered_at = marked.answered_at + TimeDelta::milliseconds(1);
        }),
        Claim::SameCluster => ClusterNight(|_, found| cluster(found).wal.system_identifier = "8".into()),
        Claim::WalArchived => ClusterNight(|_, found| drop(cluster(found).wal.segments.remove(1))),
        Claim::Paused => Night(|_, found| {
            let not_paused = serde_json::json!({ "enabled": false, "in_flight": 0 });
            let (before, after) = (not_paused.clone(), not_paused);
            let (watermarks_before, watermarks_after) = Default::default();
            found.pause = Some(PauseEvidence { before, after, watermarks_before, watermarks_after });
        }),
        Claim::ArtifactsLocked => Night(|_, found| {
            let unlocked = [("sql/full-1.bak".to_owned(), None)].into_iter().collect();
            found.locks = Some(LockEvidence { mode: "compliance".into(), found: unlocked });
        }),
        Claim::ArtifactsRehashed => Night(|_, found| found.rehashed[0].size += 1),
    }
}

/// What only the moment of sealing knew, and no manifest tells.
const OF_THE_MOMENT: &[Claim] = &[
    Claim::Paused,
    Claim::NoTransfers,
    Claim::CollectionsUnchanged,
    Claim::ArtifactsRehashed,
    Claim::ArtifactsLocked,
];

fn night(claim: Claim) -> (Marked, Evidence, Marked, Evidence) {
    let (good, breaks) = match breaks(claim) {
        Night(breaks) => (World::new().night(), breaks),
        ClusterNight(breaks) => (clusters::night(), breaks),
    };
    let (mut marked, mut found) = good.clone();
    breaks(&mut marked, &mut found);
    (good.0, good.1, marked, found)
}

fn sealed(marked: Marked, found: Evidence) -> Manifest {
    seal(marked, found, &SealTerms::default()).expect("a good night is sealed").manifest
}

#[test]
fn the_list_of_claims_is_whole() {
    let source = include_str!("../../src/manifest/claim.rs");
    let (_, body) = source.split_once("pub enum Claim {").expect("the claims");
    let (body, _) = body.split_once("\n}").expect("their end");
    let names = body.lines().filter(|line| line.starts_with("    ") && line.ends_with(','));
    assert_eq!(names.count(), Claim::ALL.len());
}

#[test]
fn what_breaks_a_claim_alone_is_refused_with_its_name_when_sealing() {
    for claim in Claim::ALL {
        let (_, _, marked, found) = night(*claim);
        let refusal = seal(marked, found, &SealTerms::default()).expect_err("a spoilt night");
        let names: Vec<Claim> = refusal.unproved.iter().map(|one| one.claim).collect();
        assert_eq!(names, [*claim], "{refusal}");
        assert!(refusal.to_string().contains(&claim.to_string()), "{refusal}");
    }
}

/// The manifest of a good night, in which stands what a spoilt one would have brought in.
fn lying(claim: Claim) -> Manifest {
    let (marked, found, _, spoilt) = night(claim);
    let mut manifest = sealed(marked, found);
    let part = &mut manifest.sqlserver["octopus"];
    let of = &spoilt.sqlserver["octopus"];
    part.family_guid = of.family_guid.clone();
    part.recovery_model = of.recovery_model.clone();
    part.certificates = of.certificates.clone();
    let mut backups = of.backups.clone();
    backups.reverse();
    part.backups = backups;
    if let (Some(part), Some(found)) = (&mut manifest.qdrant, &spoilt.qdrant) {
        let spoilt = &found.collections[0];
        let own = part.collections.iter_mut().find(|one| one.collection == spoilt.collection);
        own.expect("the same collections").snapshots = spoilt.snapshots.clone();
    }
    for (name, part) in &mut manifest.postgres {
        part.cluster = spoilt.postgres[name].clone();
    }
    manifest
}

#[test]
fn what_a_manifest_tells_is_judged_again() {
    for claim in Claim::ALL {
        let found: Vec<Claim> = rejudged(&lying(*claim)).iter().map(|one| one.claim).collect();
        let expected = if OF_THE_MOMENT.contains(claim) { Vec::new() } else { vec![*claim] };
        assert_eq!(found, expected, "{claim}");
    }
}

#[test]
fn what_a_point_says_that_it_lacks_is_not_held_against_it() {
    let mut manifest = lying(Claim::Checksums);
    manifest.incomplete = vec!["octopus".into()];
    assert_eq!(rejudged(&manifest), []);
}

#[test]
fn backups_that_do_not_belong_to_the_chain_are_seen() {
    let mut world = World::new();
    let (first, second) = (world.point(), world.point());
    let mut manifest = second;
    let stranger = first.sqlserver["octopus"].backups[0].clone();
    manifest.sqlserver["octopus"].backups.insert(0, stranger);
    let found = rejudged(&manifest);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].claim, Claim::ChainComplete);
}

#[test]
fn a_log_point_is_judged_again() {
    let mut world = World::new();
    world.point();
    let log = world.log_point(None);
    assert_eq!(rejudged_log(&log), []);
    let mut other = log.clone();
    other.sqlserver["octopus"].mark.lsn = other.sqlserver["octopus"].backups[0].backup.last_lsn;
    let found: Vec<Claim> = rejudged_log(&other).iter().map(|one| one.claim).collect();
    assert_eq!(found, [Claim::ChainComplete]);
    let mut other = log;
    other.sqlserver["octopus"].backups[0].checksums = false;
    let found: Vec<Claim> = rejudged_log(&other).iter().map(|one| one.claim).collect();
    assert_eq!(found, [Claim::Checksums]);
}
