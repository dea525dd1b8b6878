//! A point that is made in a pause, and what else is proved of a point as a whole.

use crate::world::{World, artifact};
use chrono::TimeDelta;
use drydock_recovery::catalogue::{Catalogue, To, select};
use drydock_recovery::manifest::{
    Band, Claim, CollectionEvidence, DatabaseEvidence, Evidence, LockEvidence, LockFound, Marked,
    PauseEvidence, RowCount, SealTerms, seal,
};
use serde_json::json;

fn sql(evidence: &mut Evidence) -> &mut DatabaseEvidence {
    &mut evidence.sqlserver["octopus"]
}

fn collection(evidence: &mut Evidence) -> &mut CollectionEvidence {
    &mut evidence.qdrant.as_mut().expect("collections").collections[0]
}

/// A night in a pause: nothing changes, and the application says so.
pub(crate) fn paused_night() -> (Marked, Evidence) {
    let (marked, mut evidence) = World::new().night();
    collection(&mut evidence).points = Band::of(2000, 2000);
    if let Some(found) = &mut evidence.qdrant {
        found.collections[1].points = Band::of(7, 7);
    }
    sql(&mut evidence).rows["Octopus_Episodes"] = RowCount { before: 5000, after: 5000 };
    let told = json!({ "enabled": true, "in_flight": 0, "expires_at": "2026-07-01T00:02:00Z" });
    let marks = json!({ "episodes": 17 });
    evidence.pause = Some(PauseEvidence {
        before: told.clone(),
        after: told,
        watermarks_before: marks.clone(),
        watermarks_after: marks,
    });
    (marked, evidence)
}

#[test]
fn a_pause_is_believed_when_nothing_speaks_against_it() {
    let (marked, evidence) = paused_night();
    let manifest = seal(marked, evidence, &SealTerms::default()).expect("a good night").manifest;
    let expires_at = manifest.pause.as_ref().and_then(|pause| pause.expires_at.as_deref());
    assert_eq!(expires_at, Some("2026-07-01T00:02:00Z"));
    let now = manifest.marked_at;
    let catalogue = Catalogue::new(vec![manifest], Vec::new(), Vec::new());
    let price = select(&catalogue, &To::Latest, &[], now).expect("the point").price;
    assert_eq!(price.orphans, "none: nobody wrote between the vectors and the truth");
    let check = |spoil: &dyn Fn(&mut Evidence, &mut PauseEvidence), words: &str| {
        let (marked, mut evidence) = paused_night();
        let mut pause = evidence.pause.take().expect("a pause");
        spoil(&mut evidence, &mut pause);
        evidence.pause = Some(pause);
        let refusal = seal(marked, evidence, &SealTerms::default()).expect_err("a pause that was none");
        let unproved: Vec<_> = refusal.unproved.iter().map(|one| (one.claim, one.of.as_str())).collect();
        assert_eq!(unproved, [(Claim::Paused, "pause")], "{refusal}");
        assert!(refusal.unproved[0].why.contains(words), "{refusal}");
    };
    check(&|_, pause| pause.before["enabled"] = json!(false), "was not paused before the snapshots");
    check(&|_, pause| pause.after["enabled"] = json!(false), "was not paused after the mark");
    check(&|_, pause| pause.before["in_flight"] = json!(2), "2 writers were in flight before the snapshots");
    check(
        &|_, pause| pause.after = json!({ "enabled": true }),
        "does not tell after the mark what is in flight",
    );
    check(
        &|_, pause| pause.after["expires_at"] = json!("2026-07-01T00:03:00Z"),
        "was another after the mark, until \"2026-07-01T00:03:00Z\"",
    );
    check(&|_, pause| pause.watermarks_after = json!({ "episodes": 18 }), "the watermarks {\"episodes\":17}");
    check(&|found, _| collection(found).waiting = 3, "3 updates of agent_7f3a were accepted and not applied");
    check(&|found, _| collection(found).points = Band::of(2000, 2001), "agent_7f3a had 2000 points before");
    check(
        &|found, _| sql(found).rows["Octopus_Episodes"].after = 5001,
        "the rows of Octopus_Episodes changed around the mark",
    );
}

#[test]
fn scripts_of_servers_are_read_back_as_well() {
    let script = artifact("server_objects/sql01.sql", 900);
    let (marked, mut evidence) = World::new().night();
    evidence.server_objects.insert("sql".into(), script.clone());
    let refusal = seal(marked.clone(), evidence.clone(), &SealTerms::default()).expect_err("not read back");
    assert_eq!(
        (refusal.unproved[0].claim, refusal.unproved[0].of.as_str()),
        (Claim::ArtifactsRehashed, "sql")
    );
    evidence.rehashed.push(script.clone());
    let manifest = seal(marked, evidence, &SealTerms::default()).expect("a good night").manifest;
    assert!(manifest.artifacts().any(|(of, artifact)| of == "sql" && *artifact == script));
}

#[test]
fn a_lock_is_believed_when_the_store_says_so_of_every_file() {
    let night = |lock: &dyn Fn(&Evidence) -> Option<LockFound>| {
        let (marked, mut evidence) = World::new().night();
        let lock = lock(&evidence);
        let found = evidence.rehashed.iter().map(|one| (one.path.clone(), lock.clone())).collect();
        evidence.locks = Some(LockEvidence { mode: "compliance".into(), found });
        seal(marked, evidence, &SealTerms::default())
    };
    let until = |mode: &str, evidence: &Evidence, days: i64| {
        Some(LockFound { mode: mode.into(), until: evidence.sealed_at + TimeDelta::days(days) })
    };
    let sealed = night(&|found| until("compliance", found, 30)).expect("locked as asked").manifest;
    let claim = sealed.claims.iter().find(|claim| claim.name == "artifacts_locked").expect("it is proved");
    assert!(
        claim.proof.starts_with("6 files are locked (compliance), the first until 2026-07-31T"),
        "{}",
        claim.proof
    );
    let refused = |lock: &dyn Fn(&Evidence) -> Option<LockFound>, words: &str| {
        let refusal = night(lock).expect_err("not locked as asked");
        let unproved: Vec<_> = refusal.unproved.iter().map(|one| (one.claim, one.of.as_str())).collect();
        assert_eq!(unproved, [(Claim::ArtifactsLocked, "store")], "{refusal}");
        assert!(refusal.unproved[0].why.contains(words), "{refusal}");
    };
    refused(&|_| None, "is not locked");
    refused(&|found| until("governance", found, 30), "is locked by governance, and compliance was asked for");
    refused(&|found| until("compliance", found, -1), "was locked until 2026-06-30T");
}
