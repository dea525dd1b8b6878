//! Removing points: each decision has its reason, nothing goes that is needed, and a fall in the middle leaves no point that looks whole
//! and is not.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use drydock_recovery::Time;
use drydock_recovery::catalogue::{Record, To, select};
use drydock_recovery::manifest::{Manifest, Opened, Origin, PlanRef, PointId, PointMark, PointMarkKind};
use drydock_recovery::pruning::Guards;
use drydock_recovery::retention::{Keep, Retention};
use drydock_recovery::sealed::text_of;
use drydock_step::test_host::actions;
use drydock_step::{Connection, Kind, Reconciled};
use drydock_steps::point::catalogue::catalogue_of;
use drydock_steps::point::prune::Prune;
use drydock_steps::point::pruning::{Doomed, Planned, Pruner, Terms, planned, pruned};
use drydock_steps::point::said::say;
use serde_json::{Value, json};

use crate::past::{Falls, id, past, paths, write};
use crate::world::World;

fn terms(last: usize) -> Terms {
    Terms {
        retention: Retention { keep: Keep { last, ..Keep::default() }, pitr: None },
        guards: Guards { max_share: 100.0, min_verified: 0 },
        orphans: false,
        unsealed_after: TimeDelta::days(1),
    }
}

fn now(points: &[Manifest]) -> Time {
    points.last().unwrap().marked_at + TimeDelta::hours(1)
}

async fn plan(world: &World, terms: &Terms, points: &[Manifest]) -> Planned {
    planned(&*world.store, terms, now(points)).await.unwrap()
}

async fn prune(at: &dyn Connection, doomed: &Doomed, points: &[Manifest]) -> Result<Vec<String>, String> {
    let pruner = Pruner { by: "on-call", now: now(points) };
    pruned(at, doomed, &terms(3), &pruner, &|_| {}).await.map_err(|error| error.message)
}

/// Every point that is still one can be restored from files that are all there.
async fn assert_whole(world: &World, when: &str) {
    let found = catalogue_of(&*world.store).await.unwrap();
    assert_eq!(found.unreadable, [], "{when}");
    let (catalogue, there) = (found.catalogue(), paths(world).await);
    for record in catalogue.records() {
        let to = To::Id(record.id().to_string());
        select(&catalogue, &to, &[], Time::MAX_UTC).unwrap_or_else(|error| panic!("{when}: {error}"));
        for file in Record::artifacts(record) {
            assert!(there.contains(&file.path), "{when}: {} lacks {}", record.id(), file.path);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_goes_and_what_stays_is_said_with_reasons() {
    let world = World::new().await;
    let points = past(&world, 6).await;
    let planned = plan(&world, &terms(3), &points).await;
    let told: Vec<(&PointId, bool, &str)> =
        planned.points.iter().map(|one| (&one.id, one.keep, one.why.as_str())).collect();
    assert_eq!(told[0], (&id(6), true, "no sealed point is newer"));
    assert_eq!(told[1], (&id(5), true, "it is number 2 of the newest (last)"));
    assert_eq!(told[3], (&id(3), false, "no rule keeps it, and nothing that stays needs it"));
    assert_eq!(planned.doomed().points, [id(3), id(2), id(1)]);
    // Three logs, six snapshots, and the fulls of nights 1 and of 2 and 3; night 4 shares its own with 5.
    assert_eq!((planned.files, planned.stops.len()), (11, 0));
}

#[tokio::test(start_paused = true)]
async fn a_fall_in_the_middle_leaves_no_point_that_only_looks_whole_and_is_gone_on_from() {
    let uncut = World::new().await;
    let points = past(&uncut, 5).await;
    let doomed = plan(&uncut, &terms(3), &points).await.doomed();
    assert_eq!(prune(&*uncut.store, &doomed, &points).await, Ok(Vec::new()));
    assert_whole(&uncut, "uncut").await;
    let left = paths(&uncut).await;
    assert!(left.iter().all(|path| !path.contains(id(1).as_str())), "{left:?}");
    assert!(left.contains(&"sql/full.bak.1".to_owned()), "nights 2 and 3 share it: {left:?}");
    let mut falls = 0;
    loop {
        let world = World::new().await;
        past(&world, 5).await;
        let when = format!("after {falls} changes");
        let fell = prune(&Falls::after(&world, falls), &doomed, &points).await;
        assert_whole(&world, &when).await;
        let there: BTreeSet<PointId> =
            catalogue_of(&*world.store).await.unwrap().points.into_iter().map(|point| point.id).collect();
        assert!([id(3), id(4), id(5)].iter().all(|kept| there.contains(kept)), "{when}");
        // The next pruning, of another run, ends what was begun.
        let again = plan(&world, &terms(3), &points).await.doomed();
        assert_eq!(prune(&*world.store, &again, &points).await, Ok(Vec::new()), "{when}");
        assert_eq!(paths(&world).await, left, "{when}");
        falls += 1;
        if fell.is_ok() {
            break;
        }
    }
    assert!(falls > 10, "it fell {falls} times only");
}

#[tokio::test(start_paused = true)]
async fn what_the_store_does_not_let_go_is_told_and_tried_again() {
    let world = World::new().await;
    let points = past(&world, 5).await;
    let doomed = plan(&world, &terms(3), &points).await.doomed();
    let refused = prune(&Falls::locking(&world, "sql/log.trn.1"), &doomed, &points).await.unwrap();
    assert_eq!(refused, ["sql/log.trn.1 stays: it is locked until 2027"]);
    assert_whole(&world, "locked").await;
    let found = catalogue_of(&*world.store).await.unwrap();
    assert_eq!(found.pruning.keys().collect::<Vec<_>>(), [&id(1)], "the other is gone wholly");
    let planned = plan(&world, &terms(3), &points).await;
    assert_eq!((planned.interrupted, planned.files), (vec![id(1)], 1));
    assert_eq!(prune(&*world.store, &Doomed::default(), &points).await, Ok(Vec::new()));
    assert!(catalogue_of(&*world.store).await.unwrap().pruning.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_was_sealed_meanwhile_keeps_its_files() {
    let world = World::new().await;
    let points = past(&world, 5).await;
    let doomed = plan(&world, &terms(3), &points).await.doomed();
    let mut late = points[0].clone();
    late.id = id(9);
    late.marked_at = now(&points);
    write(&world, &format!("points/{}/manifest.json", late.id), text_of(&late, None).unwrap().as_bytes());
    assert_eq!(prune(&*world.store, &doomed, &points).await, Ok(Vec::new()));
    assert_whole(&world, "with a late one").await;
}

#[tokio::test(start_paused = true)]
async fn a_manifest_that_nobody_can_read_stops_it() {
    let world = World::new().await;
    let points = past(&world, 5).await;
    write(&world, &format!("points/{}/manifest.json", id(8)), b"{");
    let planned = plan(&world, &terms(3), &points).await;
    assert_eq!(planned.stops.len(), 1);
    assert!(planned.stops[0].contains("nobody knows what it needs"), "{:?}", planned.stops);
    let error = prune(&*world.store, &planned.doomed(), &points).await.unwrap_err();
    assert!(error.contains("nobody knows what it needs"), "{error}");
    assert!(paths(&world).await.contains(&"sql/log.trn.1".to_owned()), "nothing went");
}

fn opened(n: usize, points: &[Manifest], days: i64) -> (String, String) {
    let plan = PlanRef { name: "b".into(), digest: "d".into() };
    let origin = Origin { plan, environment: "e".into(), run: "r".into(), by: String::new() };
    let opened = Opened::new(id(n), origin, now(points) - TimeDelta::days(days));
    (format!("points/{}", id(n)), text_of(&opened.file(), None).unwrap())
}

#[tokio::test(start_paused = true)]
async fn orphans_are_listed_and_go_when_they_are_asked_for() {
    let world = World::new().await;
    let points = past(&world, 5).await;
    for (n, days) in [(20, 3), (21, 0)] {
        let (folder, text) = opened(n, &points, days);
        write(&world, &format!("{folder}/opened.json"), text.as_bytes());
        write(&world, &format!("{folder}/qdrant/a.snapshot"), b"vectors");
    }
    let planned_of = async |orphans: bool| plan(&world, &Terms { orphans, ..terms(5) }, &points).await;
    let told = |planned: &Planned| -> Vec<(bool, String)> {
        planned.unsealed.iter().map(|one| (one.keep, one.why.clone())).collect()
    };
    let listed = told(&planned_of(false).await);
    assert!(listed[0].0 && listed[0].1.ends_with("it goes where orphans are asked for"), "{listed:?}");
    assert!(listed[1].0 && listed[1].1.ends_with("it may still be sealed"), "{listed:?}");
    let asked = planned_of(true).await;
    assert_eq!((asked.doomed().unsealed, asked.files), (vec![id(20)], 1));
    assert_eq!(prune(&*world.store, &asked.doomed(), &points).await, Ok(Vec::new()));
    let left = paths(&world).await;
    assert!(!left.iter().any(|path| path.contains(id(20).as_str())), "{left:?}");
    assert!(left.iter().any(|path| path.contains(id(21).as_str())), "{left:?}");
}

/// Gives a point a cluster with a base backup of this name and these segments of WAL, and the store their files.
fn with_cluster(world: &World, point: &mut Manifest, name: &str, segments: &[u32]) {
    let at = point.marked_at;
    let segment = |n: &u32| json!({ "path": segment(*n), "size": 1, "sha256": "s" });
    let file = |file: &str| json!({ "path": format!("pg/base/{name}/{file}"), "size": 1, "sha256": format!("m-{name}") });
    let cluster: Value = json!({
        "version": "18", "skew_s": 1.0,
        "restore_point": { "name": "p", "lsn": "0/6000100", "timeline": 1, "at": at, "started_at": at, "answered_at": at },
        "wal": { "prefix": "pg/wal", "system_identifier": "7", "segments": segments.iter().map(segment).collect::<Vec<_>>() },
        "bases": [{
            "label": name, "timeline": 1, "start_lsn": "0/2000028", "end_lsn": "0/2000158", "segment_size": 16_777_216,
            "artifact": file("base.tar"), "manifest": file("backup_manifest"), "verified": true,
        }],
    });
    point.postgres.insert("vectors".into(), serde_json::from_value(cluster).unwrap());
    let text = text_of(point, None).unwrap();
    write(world, &format!("points/{}/manifest.json", point.id), text.as_bytes());
    for file in ["base.tar", "backup_manifest"] {
        write(world, &format!("pg/base/{name}/{file}"), b"x");
    }
}

/// Where a segment of WAL lies.
fn segment(n: u32) -> String {
    format!("pg/wal/00000001/{:024X}", (1_u128 << 64) + u128::from(n))
}

#[tokio::test(start_paused = true)]
async fn wal_that_leads_nowhere_goes_where_orphans_are_asked_for_and_all_other_stays() {
    let world = World::new().await;
    let mut points = past(&world, 4).await;
    with_cluster(&world, &mut points[0], "a", &[2, 3]);
    with_cluster(&world, &mut points[1], "b", &[5, 6]);
    with_cluster(&world, &mut points[3], "c", &[8, 9]);
    (1..=12).for_each(|n| write(&world, &segment(n), b"x"));
    write(&world, "pg/wal/00000002.history", b"x");
    let hold = PointMarkKind::Held { until: None, reason: "audit".into() };
    say(&*world.store, &PointMark::new(id(2), now(&points), "on-call", hold)).await.unwrap();
    let left = async || -> Vec<u32> {
        let there = paths(&world).await;
        (1..=12).filter(|n| there.contains(&segment(*n))).collect()
    };
    let without = plan(&world, &terms(1), &points).await;
    assert_eq!((without.doomed().points, without.spent_wal), (vec![id(3), id(1)], 0));
    assert_eq!(prune(&*world.store, &without.doomed(), &points).await, Ok(Vec::new()));
    assert_eq!(left().await, [1, 4, 5, 6, 7, 8, 9, 10, 11, 12], "only what a point that went had named");
    let orphans = Terms { orphans: true, ..terms(1) };
    assert_eq!(plan(&world, &orphans, &points).await.spent_wal, 3);
    let pruner = Pruner { by: "on-call", now: now(&points) };
    let refused = pruned(&*world.store, &Doomed::default(), &orphans, &pruner, &|_| {}).await.unwrap();
    assert_eq!(refused, [""; 0]);
    assert_eq!(left().await, [5, 6, 8, 9, 10, 11, 12], "what is held stays, and all from the newest base on");
    assert!(paths(&world).await.contains(&"pg/wal/00000002.history".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_base_backup_stays_that_another_was_made_against() {
    let world = World::new().await;
    let mut points = past(&world, 4).await;
    let record = |name: &str, against: Option<&str>| {
        let mut record = json!({ "manifest": { "path": "x", "size": 1, "sha256": format!("m-{name}") } });
        if let Some(against) = against {
            record["against"] = json!({ "label": against, "manifest_sha256": format!("M-{against}") });
        }
        record.to_string()
    };
    for (n, name) in [(0, "old"), (1, "lonely")] {
        with_cluster(&world, &mut points[n], name, &[]);
        write(&world, &format!("pg/base/{name}/backup.json"), record(name, None).as_bytes());
    }
    write(&world, "pg/base/newer/backup.json", record("newer", Some("old")).as_bytes());
    let planned = plan(&world, &terms(1), &points).await;
    assert_eq!(planned.spared, ["pg/base/old stays: pg/base/newer was made against it"]);
    assert_eq!(prune(&*world.store, &planned.doomed(), &points).await, Ok(Vec::new()));
    let left = paths(&world).await;
    assert!(left.contains(&"pg/base/old/base.tar".to_owned()), "{left:?}");
    assert!(!left.iter().any(|path| path.contains("lonely")), "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn the_kind_says_all_beforehand_and_does_it() {
    let world = World::new().await;
    let points = past(&world, 5).await;
    tokio::time::advance(std::time::Duration::from_secs(6 * 86_400)).await;
    let with = |more: Value| {
        let mut with = json!({ "keep": { "last": 3 } });
        with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        with
    };
    let error = world.error(&Prune, with(json!({}))).await;
    assert_eq!(error.code, "point.prune");
    assert!(error.message.contains("2 of 5 points and log points would be removed, 40 %"), "{error}");
    assert!(error.message.contains("0 verified points would be left, fewer than 3"), "{error}");
    let allowed = with(json!({ "max_share": 60, "min_verified": 1 }));
    let error = world.error(&Prune, allowed.clone()).await;
    assert!(error.message.contains("0 verified points would be left, fewer than 1"), "{error}");
    let said = PointMarkKind::Verified { how: "hashes".into(), run: "r".into(), restored: None };
    say(&*world.store, &PointMark::new(id(5), points[4].marked_at, "on-call", said)).await.unwrap();
    let facts =
        Kind::preflight(&Prune, &world.ctx(), drydock_step::test_host::given(allowed.clone())).await.unwrap();
    assert_eq!(facts.findings, []);
    assert_eq!(facts.facts["points"].as_array().unwrap().len(), 5);
    let outputs = world.outputs(&Prune, allowed.clone()).await;
    assert_eq!((&outputs["removed_count"], &outputs["kept_count"]), (&json!(2), &json!(3)));
    assert_eq!(outputs["removed"][0]["id"], json!(id(2)));
    assert_whole(&world, "by the kind").await;
    assert!(matches!(world.asked(&Prune, allowed).await, Reconciled::Partly(_)));
    assert!(actions(&Prune, json!({ "keep": { "last": 3 } })).unwrap()[1].text.contains("remove the points"));
}

#[tokio::test(start_paused = true)]
async fn what_keeps_nothing_is_refused() {
    let world = World::new().await;
    let judged = |with: Value| {
        let given = drydock_step::test_host::given(with);
        drydock_step::Kind::judge(&Prune, &drydock_step::Given { with: &given.with, fill: None })
    };
    let error = judged(json!({ "keep": {} })).unwrap_err();
    assert!(error.message.contains("keeps nothing"), "{error}");
    assert_eq!(judged(json!({ "keep": {}, "pitr": "7d" })), Ok(()));
    let error = judged(json!({ "keep": { "last": 1 }, "max_share": 101 })).unwrap_err();
    assert!(error.message.contains("`max_share`"), "{error}");
    drop(world);
}

#[tokio::test(start_paused = true)]
async fn what_puts_that_were_cut_have_left_goes_where_orphans_are_asked_for() {
    let recipient = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";
    let world = World::new().await;
    let points = past(&world, 4).await;
    let root = world.files().local_path("sql").unwrap().parent().unwrap().to_owned();
    let encrypted = World::with(json!({ "url": root, "encrypt_to": [recipient] })).await;
    let half = root.join("sql/.full.bak.9.77-0.drydock-part");
    std::fs::write(&half, "half").unwrap();
    let stray = |name: &str| root.join(format!("sql/{name}.200-0123456789abcdef.age"));
    for name in ["old", "young"] {
        std::fs::write(stray(name), "nobody's").unwrap();
    }
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    std::fs::File::options().write(true).open(stray("old")).unwrap().set_modified(long_ago).unwrap();

    let asked = Terms { orphans: true, ..terms(4) };
    let told = plan(&encrypted, &terms(4), &points).await;
    assert_eq!((told.leftovers, told.is_empty()), (0, true), "nobody has asked");
    let told = plan(&encrypted, &asked, &points).await;
    assert_eq!((told.leftovers, told.files, told.bytes, told.is_empty()), (2, 2, 12, false));
    assert!(half.exists() && stray("old").exists(), "a plan removes nothing");
    let pruner = Pruner { by: "on-call", now: now(&points) };
    let refused = pruned(&*encrypted.store, &told.doomed(), &asked, &pruner, &|_| {}).await.unwrap();
    assert_eq!(refused, Vec::<String>::new());
    assert!(!half.exists() && !stray("old").exists());
    assert!(stray("young").exists(), "a put may be at it");
    assert_whole(&world, "without what was left").await;
}
