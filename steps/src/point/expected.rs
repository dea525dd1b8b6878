//! How long a restore may be expected to take, by what earlier ones took: [`expected`].

use drydock_recovery::manifest::{PointMark, PointMarkKind, Restored};
use serde::Serialize;

/// How many of the newest restores are looked at.
const NEWEST: usize = 9;

/// What earlier restores say about the next one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Expected {
    /// The median of what they took, in seconds.
    pub(super) seconds: f64,
    /// The fastest of them.
    pub(super) least_s: f64,
    /// The slowest.
    pub(super) most_s: f64,
    /// How many there are.
    pub(super) restores: usize,
    /// Bytes that the median one came from.
    pub(super) from_bytes: u64,
    /// Bytes that this one comes from.
    pub(super) bytes: u64,
    /// Where they were done: the environment's name, or `several`.
    pub(super) environment: String,
}

/// What the newest restores by this plan took: those in this environment, or where there is none, those in any. One that was interrupted
/// says little about the next, and does not count.
pub(super) fn expected(
    marks: &[PointMark],
    plan: &str,
    environment: &str,
    bytes: u64,
) -> Result<Expected, String> {
    let of = |mark: &'_ PointMark| match &mark.said {
        PointMarkKind::Verified { restored: Some(restored), .. } => Some((mark.at, restored.clone())),
        _ => None,
    };
    let mut all: Vec<_> = marks.iter().filter_map(of).filter(|(_, one)| one.plan.name == plan).collect();
    let interrupted = all.iter().filter(|(_, one)| one.sittings > 1).count();
    all.retain(|(_, one)| one.sittings <= 1);
    if all.iter().any(|(_, one)| one.environment == environment) {
        all.retain(|(_, one)| one.environment == environment);
    }
    all.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let mut newest: Vec<Restored> = all.into_iter().take(NEWEST).map(|(_, restored)| restored).collect();
    newest.sort_by_key(|one| one.took_ms);
    let (Some(least), Some(most)) = (newest.first(), newest.last()) else {
        return Err(match interrupted {
            0 => format!("no restore by {plan} has left its time in the store"),
            some => format!("each restore by {plan} was interrupted ({some}), and its time says little"),
        });
    };
    let seconds = |one: &Restored| one.took_ms as f64 / 1_000.0;
    let median = &newest[newest.len() / 2];
    let alike = newest.iter().all(|one| one.environment == median.environment);
    Ok(Expected {
        seconds: seconds(median),
        least_s: seconds(least),
        most_s: seconds(most),
        restores: newest.len(),
        from_bytes: median.bytes,
        bytes,
        environment: if alike { median.environment.clone() } else { "several".to_owned() },
    })
}

#[cfg(test)]
mod tests {
    use drydock_recovery::manifest::{PlanRef, PointId};

    use super::*;

    fn mark(at_s: i64, environment: &str, plan: &str, took_ms: u64, sittings: u32) -> PointMark {
        let plan = PlanRef { name: plan.into(), digest: "sha256:0d5c".into() };
        let (artifacts, environment) = (String::new(), environment.to_owned());
        let restored = Restored { took_ms, sittings, bytes: took_ms * 10, artifacts, plan, environment };
        let said =
            PointMarkKind::Verified { how: "restored".into(), run: "r".into(), restored: Some(restored) };
        let id = PointId::parse("01K00000000000000000000000").unwrap();
        PointMark::new(id, drydock_recovery::Time::from_timestamp(at_s, 0).unwrap(), "ops", said)
    }

    #[track_caller]
    fn check(marks: &[PointMark], environment: &str, told: Result<(f64, f64, f64, usize, &str), &str>) {
        let found = expected(marks, "restore", environment, 7);
        match (found, told) {
            (Ok(found), Ok((seconds, least, most, restores, place))) => {
                let shown = (found.seconds, found.least_s, found.most_s, found.restores);
                assert_eq!(shown, (seconds, least, most, restores));
                assert_eq!((found.environment.as_str(), found.bytes), (place, 7));
                assert_eq!(found.from_bytes as f64, seconds * 10_000.0);
            }
            (Err(found), Err(told)) => assert_eq!(found, told),
            (found, told) => panic!("{found:?} is not {told:?}"),
        }
    }

    #[test]
    fn the_median_of_the_newest_in_this_place_is_expected() {
        let none = "no restore by restore has left its time in the store";
        check(&[], "drill", Err(none));
        check(&[mark(1, "drill", "another", 5_000, 1)], "drill", Err(none));
        let cut = "each restore by restore was interrupted (1), and its time says little";
        check(&[mark(1, "drill", "restore", 5_000, 2)], "drill", Err(cut));
        let mut marks = vec![
            mark(1, "drill", "restore", 9_000, 1),
            mark(2, "drill", "restore", 60_000, 2),
            mark(3, "drill", "restore", 5_000, 1),
            mark(4, "drill", "restore", 7_000, 1),
        ];
        check(&marks, "drill", Ok((7.0, 5.0, 9.0, 3, "drill")));
        // Elsewhere nothing is known, and these are better than nothing.
        check(&marks, "production", Ok((7.0, 5.0, 9.0, 3, "drill")));
        marks.push(mark(5, "production", "restore", 30_000, 1));
        check(&marks, "production", Ok((30.0, 30.0, 30.0, 1, "production")));
        check(&marks, "staging", Ok((9.0, 5.0, 30.0, 4, "several")));
        // Only the newest nine count.
        marks.extend((6..15).map(|at| mark(at, "drill", "restore", 1_000, 1)));
        check(&marks, "drill", Ok((1.0, 1.0, 1.0, 9, "drill")));
    }
}
