//! What was said about points before there were keys, or by somebody without: it is named, believed by nobody, and takes nothing away.

use chrono::TimeDelta;
use drydock_recovery::Time;
use drydock_recovery::manifest::{Manifest, PointId, PointMark, PointMarkKind};
use drydock_recovery::pruning::Guards;
use drydock_recovery::retention::{Keep, Retention};
use drydock_recovery::sealed::text_of;
use drydock_steps::point::catalogue::catalogue_of;
use drydock_steps::point::pruning::{Planned, Pruner, Terms, planned, pruned};
use drydock_steps::point::said::say;
use drydock_steps::point::select::Select;
use serde_json::json;

use crate::past::{id, past, paths, write};
use crate::world::World;

/// The seed of RFC 8032's first test, and its public key.
const SEED: &str = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
const PUBLIC: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

/// Five signed nights, in a store that believes one key.
async fn nights() -> (World, Vec<Manifest>) {
    let world = World::with(json!({ "sign_with": SEED, "trusted_keys": [PUBLIC] })).await;
    let points = past(&world, 5).await;
    let seals = world.store.seals().unwrap();
    for point in &points {
        let text = text_of(point, seals.signer()).unwrap();
        write(&world, &format!("points/{}/manifest.json", point.id), text.as_bytes());
    }
    (world, points)
}

/// Something that nobody has signed.
fn unsigned(world: &World, place: &str, of: &PointId, at: Time, said: PointMarkKind) {
    let mark = PointMark::new(of.clone(), at, "Ann", said);
    write(world, &format!("points/{of}/{place}"), text_of(&mark, None).unwrap().as_bytes());
}

fn terms() -> Terms {
    Terms {
        retention: Retention { keep: Keep { last: 1, ..Keep::default() }, pitr: None },
        guards: Guards { max_share: 100.0, min_verified: 0 },
        orphans: true,
        unsealed_after: TimeDelta::days(1),
    }
}

fn why<'p>(planned: &'p Planned, of: &PointId) -> (bool, &'p str) {
    let told = planned.points.iter().find(|one| one.id == *of).unwrap();
    (told.keep, told.why.as_str())
}

#[tokio::test(start_paused = true)]
async fn it_is_named_and_neither_believed_nor_taken_for_leave_to_remove() {
    let (world, points) = nights().await;
    let now = points[4].marked_at + TimeDelta::hours(1);
    let reason = || "from before".to_owned();
    unsigned(&world, "marks/1.json", &id(1), now, PointMarkKind::Held { until: None, reason: reason() });
    unsigned(&world, "pruning.json", &id(2), now, PointMarkKind::Pruned { reason: reason() });
    unsigned(
        &world,
        "marks/1.json",
        &id(3),
        now,
        PointMarkKind::Verified { how: "a drill".into(), run: "r1".into(), restored: None },
    );
    unsigned(&world, "marks/1.json", &id(5), now, PointMarkKind::Bad { reason: reason() });

    let found = catalogue_of(&*world.store).await.unwrap();
    assert_eq!((found.unreadable.len(), found.pruning.len(), found.points.len()), (0, 0, 5));
    let catalogue = found.catalogue();
    assert_eq!(
        (catalogue.held(&id(1), now), catalogue.bad(&id(5)), catalogue.marks(&id(3)).len()),
        (None, None, 0)
    );
    let listed = catalogue.list(now);
    let of = |n: usize| listed.iter().find(|one| one.id == id(n)).unwrap().doubted.clone();
    assert_eq!(of(1), ["`held` by Ann is not trusted: unsigned"]);
    assert_eq!(of(2), ["`pruned` by Ann is not trusted: unsigned"]);
    assert_eq!(of(5), ["`bad` by Ann is not trusted: unsigned"]);
    assert_eq!(of(4), Vec::<String>::new());
    let chosen = world.outputs(&Select, json!({ "to": "point:latest" })).await;
    assert_eq!(chosen["id"], json!(id(5)), "what condemns it is not believed");

    // Of the nights that no rule keeps only the fourth goes: nothing was said of it.
    let before = paths(&world).await;
    let decided = planned(&*world.store, &terms(), now).await.unwrap();
    assert_eq!(decided.stops, Vec::<String>::new(), "what is not believed stops nothing");
    assert_eq!(decided.doomed().points, [id(4)]);
    let advice = "hold or release it by somebody who is trusted, and that decides";
    assert_eq!(
        why(&decided, &id(1)),
        (true, format!("`held` by Ann is not trusted: unsigned; {advice}").as_str())
    );
    let path = format!("points/{}/pruning.json", id(2));
    let words = format!("`pruned` by Ann is not trusted: unsigned; move {path} out of the store");
    assert_eq!(why(&decided, &id(2)), (true, words.as_str()));
    let pruner = Pruner { by: "on-call", now };
    let refused = pruned(&*world.store, &decided.doomed(), &terms(), &pruner, &|_| {}).await.unwrap();
    assert_eq!(refused, Vec::<String>::new());
    let gone: Vec<String> =
        before.into_iter().filter(|path| !world.files().local_path(path).unwrap().exists()).collect();
    assert!(gone.iter().all(|path| path.contains(id(4).as_str()) || path == "sql/log.trn.4"), "{gone:?}");
    assert_eq!(gone.len(), 4, "{gone:?}");
}

#[tokio::test(start_paused = true)]
async fn somebody_who_is_trusted_decides() {
    let (world, points) = nights().await;
    let (said, now) = (points[4].marked_at, points[4].marked_at + TimeDelta::hours(1));
    let held = |reason: &str| PointMarkKind::Held { until: None, reason: reason.into() };
    unsigned(&world, "marks/1.json", &id(1), said, held("audit"));
    unsigned(&world, "marks/1.json", &id(2), said, held("audit"));
    unsigned(&world, "pruning.json", &id(3), said, PointMarkKind::Pruned { reason: "x".into() });
    let verified = PointMarkKind::Verified { how: "sizes".into(), run: "r1".into(), restored: None };
    let released =
        |of: usize| PointMark::new(id(of), now, "Ben", PointMarkKind::Released { reason: "over".into() });
    for mark in [released(1), PointMark::new(id(2), now, "night", verified), released(3)] {
        say(&*world.store, &mark).await.unwrap();
    }
    let decided = planned(&*world.store, &terms(), now).await.unwrap();
    assert!(!why(&decided, &id(1)).0, "{decided:?}");
    assert!(why(&decided, &id(2)).0, "that it was verified by night decides nothing: {decided:?}");
    assert!(why(&decided, &id(3)).0, "what says that it is being removed goes by hand: {decided:?}");
}

#[tokio::test(start_paused = true)]
async fn where_no_key_is_named_everybody_is_believed_as_ever() {
    let world = World::new().await;
    let points = past(&world, 3).await;
    let now = points[2].marked_at;
    unsigned(
        &world,
        "marks/1.json",
        &id(1),
        now,
        PointMarkKind::Held { until: None, reason: "audit".into() },
    );
    unsigned(&world, "pruning.json", &id(2), now, PointMarkKind::Pruned { reason: "x".into() });
    let found = catalogue_of(&*world.store).await.unwrap();
    assert_eq!((found.doubted.len(), found.pruning.len()), (0, 1));
    assert_eq!(found.catalogue().held(&id(1), now), Some("audit"));
}
