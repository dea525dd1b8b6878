//! Whether a snapshot on a server goes or stays, and why: [`verdicts`].

use chrono::TimeDelta;
use drydock_recovery::Time;
use drydock_recovery::backup::clock;
use drydock_step::Millis;
use serde::Deserialize;

use super::prune_listing::{Listed, Shelf, is_leftover};
use super::prune_points::{Copy, Known};

/// How far the clocks of servers and runner may lie apart.
const CLOCKS: TimeDelta = TimeDelta::minutes(10);

/// What becomes of snapshots that no point knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unknown {
    /// They stay and are told.
    Keep,
    /// They go as the others do.
    Remove,
}

/// What stays in any case.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) keep_for: Millis,
    pub(super) keep_last: usize,
    pub(super) unknown: Unknown,
    pub(super) now: Time,
}

/// What becomes of one snapshot.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// It may go, for this reason. Where it has copies, one of them must be proved to be the same first.
    Goes(String, Vec<Copy>),
    /// It stays, for this reason.
    Stays(String),
}

/// A verdict on each snapshot that one node has of a collection.
pub(super) fn verdicts(shelf: &Shelf<'_>, known: &Known, terms: &Terms) -> Vec<Verdict> {
    let (collection, snapshots) = (shelf.collection.as_str(), &shelf.snapshots);
    let mut newest: Vec<&Listed> =
        snapshots.iter().filter(|one| !is_leftover(collection, &one.name)).collect();
    newest.sort_by(|a, b| (b.created, &b.name).cmp(&(a.created, &a.name)));
    newest.truncate(terms.keep_last);
    let of = shelf.shard.map_or("the collection".to_owned(), |id| format!("shard {id}"));
    let verdict = |one: &Listed| {
        if newest.iter().any(|kept| kept.name == one.name) {
            let number = terms.keep_last;
            return Verdict::Stays(format!("it is among the newest {number} of {of} on this node"));
        }
        match too_young(one, terms) {
            Some(why) => Verdict::Stays(why),
            None if is_leftover(collection, &one.name) && shelf.recovers => {
                Verdict::Stays("the collection is being recovered on this node".to_owned())
            }
            None if is_leftover(collection, &one.name) => {
                Verdict::Goes("a recovery has sent it and is over".to_owned(), Vec::new())
            }
            None => of_points(collection, one, known, terms),
        }
    };
    snapshots.iter().map(verdict).collect()
}

fn too_young(one: &Listed, terms: &Terms) -> Option<String> {
    let Some(created) = one.created else { return Some("the server does not tell how old it is".to_owned()) };
    // What was made after now, by a clock that is ahead, was made now.
    let age = u64::try_from((terms.now - created).num_milliseconds()).unwrap_or(0);
    (age < terms.keep_for.0)
        .then(|| format!("it was made {}, less than {} ago", clock(created), terms.keep_for))
}

/// What the recovery points have to say about a snapshot that is old enough.
fn of_points(collection: &str, one: &Listed, known: &Known, terms: &Terms) -> Verdict {
    let copies = known.copies(collection, &one.name);
    let lacks =
        |copy: &Copy| lacking(one, copy).map(|why| format!("point {} names it, and {why}", copy.point));
    let good: Vec<Copy> = copies.iter().filter(|copy| lacks(copy).is_none()).cloned().collect();
    if let Some(copy) = good.first() {
        return Verdict::Goes(format!("point {} has it as {}", copy.point, copy.artifact.path), good);
    }
    if let Some(why) = copies.iter().find_map(lacks) {
        return Verdict::Stays(why);
    }
    if let Some(point) = known.fetched(&one.name) {
        return Verdict::Stays(format!("point {point} has fetched it and is not sealed"));
    }
    // It has an age, or it would have stayed before.
    let may_belong =
        |opened: Option<Time>| opened.zip(one.created).is_none_or(|(opened, made)| made + CLOCKS >= opened);
    if let Some(point) = known.unsealed.iter().find(|point| may_belong(point.opened_at)) {
        return Verdict::Stays(match point.opened_at {
            Some(at) => format!("it may belong to point {}, opened {} and not sealed", point.id, clock(at)),
            None => {
                format!("it may belong to point {}, of which nobody can tell when it was opened", point.id)
            }
        });
    }
    if let Some(file) = known.unreadable.first() {
        return Verdict::Stays(format!("a point may name it whose manifest cannot be read: {file}"));
    }
    match terms.unknown {
        Unknown::Keep => Verdict::Stays("no point knows it; `unknown: remove` removes such".to_owned()),
        Unknown::Remove => {
            Verdict::Goes("no point knows it, and `unknown` is `remove`".to_owned(), Vec::new())
        }
    }
}

/// Why a copy is none, as far as the server and the store tell without reading it.
fn lacking(one: &Listed, copy: &Copy) -> Option<String> {
    let (path, size, sha256) = (&copy.artifact.path, copy.artifact.size, &copy.artifact.sha256);
    match (&one.sha256, copy.size_now) {
        (_, None) => Some(format!("{path} is not in the store")),
        (_, Some(now)) if now != size => {
            Some(format!("{path} is {now} bytes long and was {size} when it was stored"))
        }
        (None, _) => Some(
            "the server does not tell its sha256, so that nobody can say whether it is the same".to_owned(),
        ),
        (Some(own), _) if !own.eq_ignore_ascii_case(sha256) => {
            Some(format!("has another file: sha256 {sha256}, and it is {own} here"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use drydock_recovery::manifest::{Artifact, PointId};

    use super::super::members::Member;
    use super::super::node::Node;
    use super::super::prune_points::Unsealed;
    use super::*;

    fn time(text: &str) -> Time {
        text.parse().unwrap()
    }

    /// A snapshot of collection `c` that was made at this hour of the day before.
    fn made(hour: u32) -> Listed {
        let created = time(&format!("2026-01-01T{hour:02}:00:00Z"));
        Listed {
            name: format!("c-1-{hour:02}.snapshot"),
            size: 5,
            sha256: Some("aa".into()),
            created: Some(created),
        }
    }

    fn terms() -> Terms {
        Terms {
            keep_for: Millis(3_600_000),
            keep_last: 0,
            unknown: Unknown::Remove,
            now: time("2026-01-02T00:00:00Z"),
        }
    }

    fn id() -> PointId {
        PointId::parse("01K00000000000000000000002").unwrap()
    }

    fn copy(sha256: &str, size_now: Option<u64>) -> Copy {
        let artifact = Artifact { path: "p/x".into(), size: 5, sha256: sha256.into() };
        Copy { point: id(), artifact, size_now }
    }

    fn on_shelf(snapshots: &[Listed], recovers: bool, known: &Known, terms: &Terms) -> Vec<Verdict> {
        let node = Node::new("http://q:6333", reqwest::Client::new(), std::time::Duration::from_secs(1));
        let member = Member { node, peer: None };
        let shelf = Shelf {
            collection: "c".into(),
            shard: None,
            member: &member,
            snapshots: snapshots.to_vec(),
            recovers,
        };
        verdicts(&shelf, known, terms)
    }

    /// What becomes of these; the words of each reason, with `-` before those that go.
    #[track_caller]
    fn check(snapshots: &[Listed], known: &Known, terms: &Terms, expected: &[&str]) {
        let found = on_shelf(snapshots, false, known, terms);
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            let found = match found {
                Verdict::Goes(why, _) => format!("-{why}"),
                Verdict::Stays(why) => why.clone(),
            };
            assert!(found.starts_with(expected), "{found:?} does not begin with {expected:?}");
        }
    }

    #[test]
    fn what_is_young_or_among_the_newest_stays() {
        let none = Known::default();
        let all = [made(1), made(22), made(23)];
        check(&all, &none, &terms(), &["-no point knows it", "-no point", "-no point"]);
        let two = Terms { keep_last: 2, ..terms() };
        check(&all, &none, &two, &["-no point", "it is among the newest 2", "it is among"]);
        let long = Terms { keep_for: Millis(2 * 3_600_000), ..terms() };
        let young = "it was made 2026-01-01T23:00:00Z, less than 2h ago";
        check(&all, &none, &long, &["-no point", "-no point", young]);
        let ahead = Listed { created: Some(time("2026-02-01T00:00:00Z")), ..made(1) };
        check(std::slice::from_ref(&ahead), &none, &terms(), &["it was made 2026-02-01"]);
        check(&[ahead], &none, &Terms { keep_for: Millis(0), ..terms() }, &["-no point"]);
        let ageless = Listed { created: None, ..made(1) };
        check(&[ageless], &none, &terms(), &["the server does not tell how old it is"]);
    }

    #[test]
    fn what_a_point_has_may_go_and_what_it_lacks_stays() {
        let check = |listed: Listed, copies: Vec<Copy>, expected: &str| {
            let key = ("c".to_owned(), "c-1-01.snapshot".to_owned());
            let known = Known { copies: [(key, copies)].into_iter().collect(), ..Known::default() };
            check(&[listed], &known, &terms(), &[expected]);
        };
        check(made(1), vec![copy("AA", Some(5))], "-point 01K00000000000000000000002 has it as p/x");
        check(made(1), vec![copy("bb", Some(5)), copy("aa", Some(5))], "-point");
        let names = "point 01K00000000000000000000002 names it, and";
        check(made(1), vec![copy("aa", None)], &format!("{names} p/x is not in the store"));
        check(made(1), vec![copy("aa", Some(4))], &format!("{names} p/x is 4 bytes long and was 5"));
        check(
            made(1),
            vec![copy("bb", Some(5))],
            &format!("{names} has another file: sha256 bb, and it is aa here"),
        );
        let silent = Listed { sha256: None, ..made(1) };
        check(silent, vec![copy("aa", Some(5))], &format!("{names} the server does not tell its sha256"));
        check(made(2), vec![copy("aa", Some(5))], "-no point knows it");
    }

    #[test]
    fn what_may_belong_to_a_point_that_is_not_sealed_stays() {
        let opened = |at: Option<&str>| {
            let unsealed = vec![Unsealed { id: id(), opened_at: at.map(time) }];
            Known { unsealed, ..Known::default() }
        };
        let words =
            "it may belong to point 01K00000000000000000000002, opened 2026-01-01T10:05:00Z and not sealed";
        let known = opened(Some("2026-01-01T10:05:00Z"));
        check(&[made(9), made(10), made(11)], &known, &terms(), &["-no point", words, words]);
        check(&[made(9)], &opened(None), &terms(), &["it may belong to point"]);
        let known = Known { unreadable: vec!["points/x/manifest.json (no)".into()], ..Known::default() };
        check(&[made(9)], &known, &terms(), &["a point may name it whose manifest cannot be read: points/x"]);
    }

    #[test]
    fn what_nobody_knows_stays_unless_it_may_not_and_leftovers_go() {
        let keep = Terms { unknown: Unknown::Keep, ..terms() };
        let leftover = Listed { name: "drydock-00ff-0.snapshot".into(), sha256: None, ..made(1) };
        let gone = "-a recovery has sent it and is over";
        check(
            &[made(1), leftover.clone()],
            &Known::default(),
            &keep,
            &["no point knows it; `unknown: remove`", gone],
        );
        let young = Listed { created: Some(time("2026-01-01T23:30:00Z")), ..leftover.clone() };
        check(&[young], &Known::default(), &keep, &["it was made 2026-01-01T23:30:00Z"]);
        let last = Terms { keep_last: 1, ..keep };
        check(std::slice::from_ref(&leftover), &Known::default(), &last, &[gone]);
        let found = on_shelf(&[leftover], true, &Known::default(), &keep);
        assert_eq!(found, [Verdict::Stays("the collection is being recovered on this node".into())]);
        assert!(!is_leftover("drydock-notes", "drydock-notes-1-2026-01-01-00-00-00.snapshot"));
    }
}
