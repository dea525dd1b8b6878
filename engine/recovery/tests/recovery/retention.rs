//! What may be pruned: rules case by case, and over random catalogues that nothing said to be restorable is lost.

use chrono::TimeDelta;
use drydock_recovery::catalogue::{Catalogue, To, select};
use drydock_recovery::manifest::{LogPoint, Manifest, PointId, PointMark, PointMarkKind};
use drydock_recovery::retention::{Decision, Keep, Retention, Why, decide, freed};

use crate::model::Dice;
use crate::world::World;

struct Store {
    world: World,
    points: Vec<Manifest>,
    logs: Vec<LogPoint>,
    marks: Vec<PointMark>,
}

impl Store {
    /// A point a day, each followed by so many log points.
    fn days(days: usize, logs: usize) -> Store {
        let mut store =
            Store { world: World::new(), points: Vec::new(), logs: Vec::new(), marks: Vec::new() };
        for _ in 0..days {
            store.points.push(store.world.point());
            for _ in 0..logs {
                store.world.wait(15);
                let base = store.points.last().map(|point| &point.id);
                store.logs.push(store.world.log_point(base));
            }
            store.world.wait(24 * 60 - 15 * i64::try_from(logs).expect("few"));
        }
        store
    }

    fn say(&mut self, id: PointId, said: PointMarkKind) {
        self.marks.push(PointMark::new(id, self.world.now, "on-call", said));
    }

    fn catalogue(&self) -> Catalogue {
        Catalogue::new(self.points.clone(), self.logs.clone(), self.marks.clone())
    }

    fn decide(&self, keep: Keep, pitr: Option<TimeDelta>) -> Vec<Decision> {
        decide(&self.catalogue(), &Retention { keep, pitr }, self.world.now)
    }

    /// What is left after a pruning.
    fn pruned(&self, decisions: &[Decision]) -> Store {
        let stays = |id: &PointId| decisions.iter().any(|one| one.id == *id && one.keep);
        let points = self.points.iter().filter(|point| stays(&point.id)).cloned().collect();
        let logs = self.logs.iter().filter(|log| stays(&log.id)).cloned().collect();
        Store { world: World::new(), points, logs, marks: self.marks.clone() }
    }
}

fn rule(decisions: &[Decision], id: &PointId) -> String {
    match &decisions.iter().find(|one| one.id == *id).expect("every point is decided").why {
        Why::Rule { rule, period } => format!("{rule} {period}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn each_rule_keeps_the_newest_of_its_periods() {
    let store = Store::days(70, 0);
    let keep = Keep { last: 2, daily: 3, weekly: 3, monthly: 3, yearly: 2 };
    let decisions = store.decide(keep, None);
    let kept: Vec<String> =
        decisions.iter().filter(|one| one.keep).map(|one| rule(&decisions, &one.id)).collect();
    let expected =
        ["Newest", "last 2", "daily 2026-09-06", "monthly 2026-08", "weekly 2026-W35", "monthly 2026-07"];
    assert_eq!(kept, expected);
}

#[test]
fn the_window_keeps_its_log_points_and_the_point_before_it() {
    let store = Store::days(4, 3);
    let decisions = store.decide(Keep { last: 1, ..Keep::default() }, Some(TimeDelta::days(1)));
    let kept: Vec<&PointId> = decisions.iter().filter(|one| one.keep).map(|one| &one.id).collect();
    let expected = [11, 10, 9].map(|at| &store.logs[at].id).into_iter().chain([&store.points[3].id]);
    let expected = expected.chain([8, 7, 6].map(|at| &store.logs[at].id)).chain([&store.points[2].id]);
    assert_eq!(kept, expected.collect::<Vec<_>>());
    assert_eq!(
        rule(&decisions, &store.logs[8].id),
        "pitr every moment of the last 1 days is reached through it"
    );
}

#[test]
fn nothing_newer_than_the_newest_point_goes_nor_what_is_held() {
    let mut store = Store::days(3, 2);
    let held = store.points[0].id.clone();
    store.say(held.clone(), PointMarkKind::Held { until: None, reason: "audit".into() });
    let decisions = store.decide(Keep::default(), None);
    let kept: Vec<String> =
        decisions.iter().filter(|one| one.keep).map(|one| rule(&decisions, &one.id)).collect();
    assert_eq!(kept, ["Newest", "Newest", "Newest", "Held { because: \"audit\" }"]);
    let without_points = Store { points: Vec::new(), ..Store::days(1, 3) };
    assert!(without_points.decide(Keep::default(), None).iter().all(|one| one.keep));
}

#[test]
fn what_a_held_log_point_needs_stays_and_says_so() {
    let mut store = Store::days(3, 3);
    let held = store.logs[1].id.clone();
    store.say(held.clone(), PointMarkKind::Held { until: None, reason: "audit".into() });
    let decisions = store.decide(Keep::default(), None);
    let needed: Vec<&PointId> = decisions
        .iter()
        .filter(|one| one.why == Why::Needed { by: held.clone() })
        .map(|one| &one.id)
        .collect();
    assert_eq!(needed, [&store.logs[0].id, &store.points[0].id]);
    assert_eq!(rule(&decisions, &store.logs[2].id), "NoRule");
}

#[test]
fn bad_points_fill_no_rule_and_may_go() {
    let mut store = Store::days(3, 0);
    let bad = store.points[2].id.clone();
    store.say(bad.clone(), PointMarkKind::Bad { reason: "a drill failed".into() });
    let decisions = store.decide(Keep { last: 1, ..Keep::default() }, None);
    // It is newer than the newest good one, and nothing newer than that is ever pruned.
    assert_eq!(rule(&decisions, &bad), "Newest");
    store.points.push(store.world.point());
    let decisions = store.decide(Keep { last: 2, ..Keep::default() }, None);
    assert_eq!(rule(&decisions, &bad), "Bad { because: \"a drill failed\" }");
    assert_eq!(rule(&decisions, &store.points[1].id), "last 2");
}

#[test]
fn a_file_that_a_kept_point_shares_is_not_freed() {
    let mut store = Store::days(2, 0);
    let shared = store.points[0].sqlserver["octopus"].backups[0].artifacts[0].clone();
    store.points[1].sqlserver["octopus"].backups[0].artifacts.push(shared.clone());
    let catalogue = store.catalogue();
    let decisions = store.decide(Keep::default(), None);
    let freed: Vec<&str> =
        freed(&catalogue, &decisions).iter().map(|artifact| artifact.path.as_str()).collect();
    assert_eq!(freed.len(), 5, "{freed:?}");
    assert!(!freed.contains(&shared.path.as_str()));
}

#[test]
fn pruning_never_takes_what_something_kept_needs() {
    let mut pruned_points = 0;
    for seed in 0..150 {
        let mut dice = Dice::new(seed);
        let mut roll = |sides: u64| dice.roll(sides);
        let mut store =
            Store::days(2 + usize::try_from(roll(6)).expect("few"), usize::try_from(roll(4)).expect("few"));
        for at in (0..store.points.len()).rev() {
            match roll(8) {
                0 => drop(store.points.remove(at)),
                1 => store.say(store.points[at].id.clone(), PointMarkKind::Bad { reason: "x".into() }),
                2 => store.say(
                    store.points[at].id.clone(),
                    PointMarkKind::Held { until: None, reason: "x".into() },
                ),
                _ => {}
            }
        }
        for at in (0..store.logs.len()).rev() {
            match roll(12) {
                0 => drop(store.logs.remove(at)),
                1 => store
                    .say(store.logs[at].id.clone(), PointMarkKind::Held { until: None, reason: "x".into() }),
                _ => {}
            }
        }
        let mut count = || usize::try_from(roll(3)).expect("few");
        let keep = Keep { last: count(), daily: count(), weekly: count(), ..Keep::default() };
        let pitr = (count() == 0).then(|| TimeDelta::hours(30));
        let decisions = store.decide(keep, pitr);
        let left = store.pruned(&decisions);
        pruned_points += decisions.iter().filter(|one| !one.keep).count();
        let (before, after) = (store.catalogue(), left.catalogue());
        for one in decisions.iter().filter(|one| one.keep) {
            let to = To::Id(one.id.to_string());
            let chain = |catalogue: &Catalogue| {
                select(catalogue, &to, &[], store.world.now).map(|found| found.vector_base)
            };
            if let Ok(base) = chain(&before) {
                assert_eq!(chain(&after), Ok(base), "seed {seed}: {one:?}");
            }
        }
        let held = |one: &&Decision| before.held(&one.id, store.world.now).is_some();
        assert!(decisions.iter().filter(held).all(|one| one.keep), "seed {seed}");
    }
    assert!(pruned_points > 300, "only {pruned_points} were pruned: the test says too little");
}
