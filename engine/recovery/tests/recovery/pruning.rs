//! What stops a pruning, and which WAL is wanted though no point names it.

use chrono::TimeDelta;
use drydock_recovery::catalogue::Catalogue;
use drydock_recovery::manifest::{LogPoint, Manifest, PointId, PointMark, PointMarkKind, SealTerms, seal};
use drydock_recovery::pruning::{Guards, Outlook, WalFloor, wal_floors};
use drydock_recovery::retention::{Keep, Retention};

use crate::clusters;
use crate::world::World;

struct Past {
    world: World,
    points: Vec<Manifest>,
    logs: Vec<LogPoint>,
    marks: Vec<PointMark>,
}

impl Past {
    /// A point a day.
    fn days(days: usize) -> Past {
        let mut past = Past { world: World::new(), points: Vec::new(), logs: Vec::new(), marks: Vec::new() };
        for _ in 0..days {
            past.points.push(past.world.point());
            past.world.wait(24 * 60);
        }
        past
    }

    fn say(&mut self, id: PointId, said: PointMarkKind) {
        self.marks.push(PointMark::new(id, self.world.now, "on-call", said));
    }

    fn verify_all(&mut self) {
        for id in self.points.iter().map(|point| point.id.clone()).collect::<Vec<_>>() {
            self.say(id, PointMarkKind::Verified { how: "hashes".into(), run: "r".into(), restored: None });
        }
    }

    fn catalogue(&self) -> Catalogue {
        Catalogue::new(self.points.clone(), self.logs.clone(), self.marks.clone())
    }

    fn stops(&self, last: usize, guards: Guards) -> Vec<String> {
        let retention = Retention { keep: Keep { last, ..Keep::default() }, pitr: None };
        let catalogue = self.catalogue();
        let outlook = Outlook::of(&catalogue, &retention, guards, self.world.now);
        outlook.stops.iter().map(ToString::to_string).collect()
    }
}

const USUAL: Guards = Guards { max_share: 30.0, min_verified: 3 };

#[test]
fn a_modest_pruning_of_verified_points_goes_on() {
    let mut past = Past::days(10);
    past.verify_all();
    assert_eq!(past.stops(7, USUAL), [""; 0]);
}

#[test]
fn too_much_at_once_is_stopped_unless_it_was_said() {
    let mut past = Past::days(10);
    past.verify_all();
    let stops = past.stops(6, USUAL);
    assert_eq!(stops.len(), 2, "{stops:?}");
    assert!(
        stops[0]
            .starts_with("4 of 10 points and log points would be removed, 40 % of them and more than 30 %; ")
    );
    assert!(stops[1].contains("bytes would be removed, 40 % of them"), "{stops:?}");
    assert_eq!(past.stops(6, Guards { max_share: 40.0, ..USUAL }), [""; 0]);
}

#[test]
fn too_few_verified_points_are_not_left_unless_it_was_said() {
    let mut past = Past::days(10);
    let ids: Vec<PointId> = past.points.iter().rev().take(2).map(|point| point.id.clone()).collect();
    for id in ids {
        past.say(id, PointMarkKind::Verified { how: "hashes".into(), run: "r".into(), restored: None });
    }
    let stops = past.stops(9, USUAL);
    assert_eq!(stops.len(), 1, "{stops:?}");
    assert!(stops[0].starts_with("2 verified points would be left, fewer than 3; verify more"));
    assert_eq!(past.stops(9, Guards { min_verified: 2, ..USUAL }), [""; 0]);
    // What is bad counts for nothing, verified or not.
    let newest = past.points[8].id.clone();
    past.say(newest, PointMarkKind::Bad { reason: "a drill failed".into() });
    assert_eq!(past.stops(8, Guards { min_verified: 2, ..USUAL }).len(), 1);
    assert_eq!(Past::days(10).stops(10, USUAL), [""; 0], "where nothing goes, nothing is stopped");
}

#[test]
fn a_clock_that_is_wrong_stops_it() {
    let mut past = Past::days(10);
    past.verify_all();
    past.world.now = past.points[5].marked_at;
    let stops = past.stops(7, USUAL);
    assert!(stops[0].contains("one of the two clocks is wrong"), "{stops:?}");
}

#[test]
fn a_hold_ends_with_its_time_by_the_newest_point_and_with_its_release() {
    let mut past = Past::days(10);
    let (first, second) = (past.points[0].id.clone(), past.points[1].id.clone());
    let until = Some(past.points[9].marked_at + TimeDelta::hours(1));
    past.say(first.clone(), PointMarkKind::Held { until, reason: "audit".into() });
    past.say(second.clone(), PointMarkKind::Held { until: None, reason: "audit".into() });
    past.world.wait(30 * 24 * 60);
    let kept = |past: &Past| -> Vec<PointId> {
        let catalogue = past.catalogue();
        let retention = Retention { keep: Keep { last: 1, ..Keep::default() }, pitr: None };
        let outlook = Outlook::of(&catalogue, &retention, USUAL, past.world.now);
        outlook.decisions.into_iter().filter(|one| one.keep).map(|one| one.id).collect()
    };
    let newest = past.points[9].id.clone();
    assert_eq!(kept(&past), [newest.clone(), second.clone(), first.clone()]);
    past.say(second, PointMarkKind::Released { reason: "it is over".into() });
    assert_eq!(kept(&past), [newest, first.clone()]);
    let later = past.world.point();
    past.points.push(later.clone());
    assert_eq!(kept(&past), [later.id], "the newest point is later than the hold");
}

#[test]
fn wal_is_wanted_from_the_base_of_the_window_on() {
    let (marked, found) = clusters::night();
    let old = seal(marked, found, &SealTerms::default()).expect("a good night").manifest;
    let later = |days: i64, first: &str| {
        let mut point = old.clone();
        point.id = PointId::parse(&format!("01K1{days:022}")).expect("a ULID");
        point.marked_at += TimeDelta::days(days);
        point.postgres["vectors"].cluster.wal.segments[0].path = format!("postgres/wal/00000001/{first}");
        point
    };
    let points =
        vec![later(1, "000000010000000100000040"), later(5, "000000010000000100000050"), old.clone()];
    let floors = |pitr: Option<i64>| {
        let catalogue = Catalogue::new(points.clone(), Vec::new(), Vec::new());
        wal_floors(&catalogue, &Retention { keep: Keep::default(), pitr: pitr.map(TimeDelta::days) })
    };
    let floor = |segment: &str| vec![WalFloor { prefix: "postgres/wal".into(), segment: segment.into() }];
    assert_eq!(floors(None), floor("000000010000000100000050"));
    assert_eq!(floors(Some(2)), floor("000000010000000100000040"));
    assert_eq!(floors(Some(5)), floor("000000010000000000000004"));
    assert_eq!(floors(Some(9)), [], "the window reaches further back than all points");
}
