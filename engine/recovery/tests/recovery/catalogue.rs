//! What is chosen of a catalogue, and what is said when nothing can be.

use chrono::{DateTime, TimeDelta, Utc};
use drydock_recovery::catalogue::{Catalogue, ChainPart, Selection, To, select};
use drydock_recovery::manifest::{
    Band, ClockPart, DatabasePart, LogPoint, Manifest, PointId, PointMark, PointMarkKind,
};

use crate::world::World;

/// Two nights with three log points after each, a quarter of an hour apart.
struct Past {
    world: World,
    points: Vec<Manifest>,
    logs: Vec<LogPoint>,
    marks: Vec<PointMark>,
}

impl Past {
    fn new() -> Past {
        let mut past = Past { world: World::new(), points: Vec::new(), logs: Vec::new(), marks: Vec::new() };
        past.night();
        past.night();
        past
    }

    fn night(&mut self) {
        self.points.push(self.world.point());
        for _ in 0..3 {
            self.world.wait(15);
            let base = self.points.last().map(|point| &point.id);
            self.logs.push(self.world.log_point(base));
        }
        self.world.wait(23 * 60);
    }

    fn say(&mut self, id: PointId, said: PointMarkKind) {
        self.marks.push(PointMark::new(id, self.world.now, "on-call", said));
    }

    fn bad(mut self, id: PointId) -> Past {
        self.say(id, PointMarkKind::Bad { reason: "a drill failed".into() });
        self
    }

    fn catalogue(&self) -> Catalogue {
        Catalogue::new(self.points.clone(), self.logs.clone(), self.marks.clone())
    }

    fn select(&self, to: &str) -> Result<Selection, String> {
        select(&self.catalogue(), &To::parse(to), &[], self.world.now).map_err(|error| error.to_string())
    }

    fn check(&self, to: &str, expected: &PointId, chain: &[&str]) -> Selection {
        let selection = self.select(to).expect("a selection");
        let backups = &selection.sqlserver["octopus"].backups;
        let kinds: Vec<&str> = backups.iter().map(|stored| stored.backup.kind.as_str()).collect();
        assert_eq!((&selection.id, kinds.as_slice()), (expected, chain), "{to}");
        selection
    }

    fn refuses(&self, to: &str, words: &str) {
        let error = self.select(to).expect_err("nothing to choose");
        assert!(error.contains(words), "{error}");
    }
}

fn written(at: DateTime<Utc>) -> String {
    at.to_rfc3339()
}

#[test]
fn each_spelling_of_to_finds_its_point() {
    let past = Past::new();
    past.check("point:latest", &past.points[1].id, &["full", "log"]);
    past.check("end", &past.logs[5].id, &["full", "log", "log", "log", "log"]);
    past.check(past.points[0].id.as_str(), &past.points[0].id, &["full", "log"]);
    past.check(&written(past.points[1].marked_at), &past.points[1].id, &["full", "log"]);
}

#[test]
fn one_database_comes_back_to_the_very_moment_that_a_log_holds() {
    let past = Past::new();
    let between = past.logs[1].marked_at + TimeDelta::minutes(1);
    let exact = past.check(&written(between), &past.logs[1].id, &["full", "log", "log", "log", "log"]);
    let chain = &exact.sqlserver["octopus"];
    assert_eq!(
        (exact.kind, exact.at, chain.stop_at, &chain.stop_at_mark),
        ("time", between, Some(between), &None)
    );
    assert_eq!(exact.rows["Octopus_Episodes"], Band::any(), "nobody counted then");
    // No log reaches behind the last one: the newest record before it is taken, and it is said why.
    let beyond = past.world.now;
    let nearest = past.check(&written(beyond), &past.logs[5].id, &["full", "log", "log", "log", "log"]);
    assert_eq!((nearest.kind, nearest.sqlserver["octopus"].stop_at), ("log", None));
    assert!(nearest.passed_over[0].starts_with("exactly 2026-07-02T"), "{:?}", nearest.passed_over);
}

#[test]
fn the_vectors_of_a_moment_had_all_ended_before_it() {
    let past = Past::new();
    // The snapshots of the second night had begun, and ended only after this.
    let part = past.points[1].qdrant.as_ref().expect("collections");
    let last = &part.collections[1].snapshots[1];
    let exact = past.select(&written(last.answered_at - TimeDelta::milliseconds(1))).expect("a selection");
    assert_eq!((exact.kind, exact.vector_base.as_ref()), ("time", Some(&past.points[0].id)));
    let exact = past.select(&written(last.answered_at + TimeDelta::milliseconds(1))).expect("a selection");
    assert_eq!((exact.kind, exact.vector_base.as_ref()), ("time", Some(&past.points[1].id)));
}

#[test]
fn two_databases_come_back_to_their_common_mark_alone() {
    let mut past = Past::new();
    let second = |databases: &mut indexmap::IndexMap<String, DatabasePart>| {
        let part = databases["octopus"].clone();
        databases.insert("procedures".into(), part);
    };
    past.points.iter_mut().for_each(|point| second(&mut point.sqlserver));
    past.logs.iter_mut().for_each(|log| second(&mut log.sqlserver));
    let between = past.logs[1].marked_at + TimeDelta::minutes(1);
    let selection = past.check(&written(between), &past.logs[1].id, &["full", "log", "log", "log"]);
    assert_eq!((selection.kind, selection.passed_over.len()), ("log", 0));
}

impl Past {
    /// With the server's clock, and all that it told, so far ahead of the runner's from a record on.
    fn ahead(mut self, from: usize, ahead: TimeDelta) -> Past {
        let set = |clocks: &mut indexmap::IndexMap<String, ClockPart>,
                   sqlserver: &mut indexmap::IndexMap<String, DatabasePart>| {
            clocks["SQL01"].told += ahead;
            let part = &mut sqlserver["octopus"];
            part.mark.at += ahead;
            for one in &mut part.backups {
                one.backup.started_at += ahead;
                one.backup.finished_at += ahead;
            }
        };
        if from == 0 {
            self.points.iter_mut().for_each(|one| set(&mut one.clocks, &mut one.sqlserver));
        }
        self.logs.iter_mut().skip(from).for_each(|one| set(&mut one.clocks, &mut one.sqlserver));
        self
    }
}

/// A moment between two log points leads to the same logs, whatever the server's clock was, cut where that clock stood then.
fn check_ahead(ahead: TimeDelta, words: &str) {
    let right = Past::new();
    let between = written(right.logs[1].marked_at + TimeDelta::minutes(1));
    let expected = right.select(&between).expect("a selection");
    let off = Past::new().ahead(0, ahead).select(&between).expect("a selection");
    assert_eq!(
        (off.kind, off.at, &off.id, &off.vector_base),
        (expected.kind, expected.at, &expected.id, &expected.vector_base)
    );
    let (cut, cut_right) = (&off.sqlserver["octopus"], &expected.sqlserver["octopus"]);
    let logs = |part: &ChainPart| part.backups.iter().map(|one| one.backup.last_lsn).collect::<Vec<_>>();
    assert_eq!(logs(cut), logs(cut_right));
    let later = cut.stop_at.expect("a time") - cut_right.stop_at.expect("a time");
    // The mark was answered 40 ms after it was sent: what may lie that much later than asked for is left out.
    assert!(later <= ahead && later >= ahead - TimeDelta::milliseconds(40), "{later}");
    assert!(cut.problems.iter().any(|one| one.starts_with(words)), "{:?}", cut.problems);
    assert_eq!(off.price.reindex, expected.price.reindex);
}

#[test]
fn a_moment_is_cut_where_the_servers_own_clock_stood_then() {
    check_ahead(TimeDelta::hours(1), "the clock of SQL01 went 3599 s ahead of the runner's");
    check_ahead(-TimeDelta::hours(1), "the clock of SQL01 went 3600 s behind the runner's");
    // A server's clock that is still within the logs would else lead to other logs, in silence.
    check_ahead(TimeDelta::minutes(10), "the clock of SQL01 went 599 s ahead of the runner's");
    check_ahead(-TimeDelta::minutes(10), "the clock of SQL01 went 600 s behind the runner's");
}

#[test]
fn a_clock_that_was_set_leads_to_no_moment_in_between() {
    let past = Past::new().ahead(2, TimeDelta::minutes(10));
    let between = written(past.logs[1].marked_at + TimeDelta::minutes(1));
    let nearest = past.check(&between, &past.logs[1].id, &["full", "log", "log", "log"]);
    assert_eq!((nearest.kind, &nearest.sqlserver["octopus"].stop_at), ("log", &None));
    let why = &nearest.passed_over[0];
    let words = "the clock of SQL01 was set: it went as the runner's at ";
    assert!(why.starts_with("exactly 2026-07-0") && why.contains(words), "{why}");
    assert!(why.contains("and 599 s ahead of the runner's at "), "{why}");
}

#[test]
fn a_record_without_clocks_is_believed_as_far_as_its_mark_tells() {
    let mut past = Past::new();
    let at = written(past.logs[1].marked_at + TimeDelta::minutes(1));
    past.points.iter_mut().for_each(|one| one.clocks.clear());
    past.logs.iter_mut().for_each(|one| one.clocks.clear());
    assert_eq!(past.select(&at).expect("a selection").kind, "time");
    // Its mark was committed an hour before it was answered, as far as anybody knows: behind, or resumed.
    past.points.iter_mut().for_each(|one| one.sqlserver["octopus"].mark.at -= TimeDelta::hours(1));
    past.logs.iter_mut().for_each(|one| one.sqlserver["octopus"].mark.at -= TimeDelta::hours(1));
    let nearest = past.select(&at).expect("a selection");
    assert_eq!((nearest.kind, &nearest.id), ("log", &past.logs[1].id));
    assert!(
        nearest.passed_over[0].ends_with("no mark tells how the clock of SQL01 went"),
        "{:?}",
        nearest.passed_over
    );
}

#[test]
fn a_log_behind_a_mark_that_another_run_backed_up_is_a_part_of_later_chains() {
    let mut past = Past { world: World::new(), points: Vec::new(), logs: Vec::new(), marks: Vec::new() };
    past.points.push(past.world.point());
    let [overtaken, other] = past.world.overtaken();
    assert_eq!((overtaken.incomplete.as_slice(), other.incomplete.len()), (&["octopus".to_owned()][..], 0));
    let later = past.world.log_point(None);
    past.logs = vec![overtaken.clone(), later.clone()];
    // While the other run is still at its downloads, its log is not known.
    let point = past.points[0].id.clone();
    past.check("end", &point, &["full", "log"]);
    past.logs.push(other);
    past.check("end", &later.id, &["full", "log", "log", "log", "log"]);
    past.refuses(overtaken.id.as_str(), "it is incomplete (octopus); `accept_missing` takes it without");
}

#[test]
fn a_log_point_is_priced_by_its_vector_base() {
    let past = Past::new();
    let selection = past.check("end", &past.logs[5].id, &["full", "log", "log", "log", "log"]);
    assert_eq!(selection.vector_base.as_ref(), Some(&past.points[1].id));
    assert_eq!(selection.qdrant.collections.len(), 2);
    let reindex = &selection.price.reindex[0];
    assert_eq!(reindex.collection, "agent_7f3a");
    assert_eq!(reindex.until, past.logs[5].marked_at);
    assert!(reindex.seconds > 45.0 * 60.0 && selection.price.lost_s > 23.0 * 3600.0, "{:?}", selection.price);
    assert_eq!(selection.migrations.len(), 2);
}

#[test]
fn outputs_have_the_shape_that_plans_read() {
    let past = Past::new();
    let outputs = past.check("point:latest", &past.points[1].id, &["full", "log"]).outputs();
    assert_eq!(outputs["mark"], format!("dd_{}", past.points[1].id));
    assert_eq!(outputs["sqlserver"]["octopus"]["stop_at_mark"]["name"], outputs["mark"]);
    assert_eq!(outputs["sqlserver"]["octopus"]["backups"][0]["artifacts"][0]["size"], 4096);
    let first = &outputs["qdrant"]["collections"][0];
    assert_eq!(
        (&first["collection"], &first["points"]["low"], &first["snapshots"][1]["node"]),
        (&"agent_7f3a".into(), &2000.into(), &"http://qdrant-1:6333".into())
    );
    assert_eq!(outputs["rows"]["Octopus_Episodes"]["high"], 5002);
}

#[test]
fn what_cannot_be_found_is_said_with_what_there_is() {
    let past = Past::new();
    past.refuses("01K0XYZ", "no point's id begins with 01K0XYZ; `drydock points list` shows them");
    past.refuses("01K0", "01K0 is the beginning of several points' ids: ");
    let oldest = &past.points[0];
    past.refuses(
        "2026-06-01T00:00:00Z",
        &format!(
            "no point or log point stands at or before 2026-06-01T00:00:00Z; the oldest is {} of",
            oldest.id
        ),
    );
    let empty = Past { points: Vec::new(), logs: Vec::new(), ..Past::new() };
    empty.refuses("end", "the store holds no recovery point");
}

#[test]
fn bad_and_incomplete_points_are_passed_over_or_refused() {
    let (newest, older) = (Past::new().points[1].id.clone(), Past::new().points[0].id.clone());
    let past = Past::new().bad(newest.clone());
    let selection = past.check("point:latest", &older, &["full", "log"]);
    assert_eq!(selection.passed_over.len(), 1);
    assert!(
        selection.passed_over[0].contains("it is marked bad: a drill failed"),
        "{:?}",
        selection.passed_over
    );
    past.refuses(newest.as_str(), "cannot be used: it is marked bad: a drill failed");
    let mut past = Past::new();
    past.points[1].incomplete = vec!["agent_7f3a".into()];
    past.check("point:latest", &older, &["full", "log"]);
    past.refuses(newest.as_str(), "it is incomplete (agent_7f3a); `accept_missing` takes it without");
    let to = To::parse(newest.as_str());
    let taken =
        select(&past.catalogue(), &to, &["agent_7f3a".into()], past.world.now).expect("it was accepted");
    assert_eq!(taken.incomplete, ["agent_7f3a"]);
}

#[test]
fn a_lost_log_point_ends_what_can_be_proved() {
    let mut past = Past::new();
    past.logs.remove(4);
    let selection = past.check("end", &past.logs[3].id, &["full", "log", "log"]);
    assert!(
        selection.passed_over[0].contains("octopus: a log backup is missing: none holds LSN"),
        "{:?}",
        selection.passed_over
    );
}

#[test]
fn latest_never_leaves_the_current_line_of_history() {
    let mut past = Past::new();
    let back_to = past.points[1].sqlserver["octopus"].clone();
    let last_log = back_to.backups[0].backup.last_lsn;
    // The full of the second night ended on the common part; its log backup holds the fork's point.
    past.world.restored_to(back_to.mark, last_log, "fork-b");
    past.logs.push(past.world.log_point(None));
    let logs = past.logs.len();
    past.check("point:latest", &past.points[0].id, &["full", "log"]);
    let selection = past.check("end", &past.logs[logs - 1].id, &["full", "log"]);
    assert_eq!(selection.sqlserver["octopus"].recovery_fork.as_str(), "fork-b");
    let listed = past.catalogue().list(past.world.now);
    let on_line: Vec<bool> = listed.iter().map(|one| one.current).collect();
    assert_eq!(on_line, [true, false, false, false, false, true, true, true, true]);
    past.check(&written(past.logs[4].marked_at), &past.logs[4].id, &["full", "log", "log", "log"]);
}

#[test]
fn the_list_tells_what_was_said() {
    let mut past = Past::new();
    let (first, second) = (past.points[0].id.clone(), past.points[1].id.clone());
    past.say(first.clone(), PointMarkKind::Verified { how: "drill".into(), run: "r".into(), restored: None });
    past.say(
        first,
        PointMarkKind::Held { until: Some(past.world.now + TimeDelta::days(1)), reason: "audit".into() },
    );
    past.say(second, PointMarkKind::Held { until: Some(past.world.now), reason: "over".into() });
    let listed = past.catalogue().list(past.world.now);
    let points: Vec<_> = listed.iter().filter(|one| one.kind == "point").collect();
    assert_eq!((points.len(), points[0].held, points[1].held), (2, false, true));
    assert_eq!((points[0].verified_at, points[1].verified_at), (None, Some(past.world.now)));
    assert_eq!(
        (points[0].collections, points[0].size, points[0].skew_s),
        (2, 2 * 4096 + 4 * 65_536, Some(6.04))
    );
}
