//! Searches for what lies nearest, whatever holds the vectors: [`Searches`]; and how two answers are compared: [`matched`].

use async_trait::async_trait;
use drydock_step::StepError;
use serde_json::Value;

use crate::sample_file::Neighbour;

/// Asks what is nearest in one collection or table.
#[async_trait]
pub trait Searches: Send + Sync {
    /// Its name.
    fn of(&self) -> &str;

    /// How many others are looked for around each point.
    fn k(&self) -> u64;

    /// The nearest to a vector, best first, one more than `k`: by comparing all, or as anybody's search finds them.
    ///
    /// # Errors
    /// What the server says.
    async fn to(&self, vector: &Value, exact: bool) -> Result<Vec<Neighbour>, StepError>;

    /// The vector of a point as the server stores it; nothing where the point is gone or lacks it.
    ///
    /// # Errors
    /// What the server says.
    async fn vector_of(&self, point: &Value) -> Result<Option<Value>, StepError>;

    /// How many of these points are there.
    ///
    /// # Errors
    /// What the server says.
    async fn there(&self, points: &[Value]) -> Result<u64, StepError>;
}

/// How far two scores may lie apart and be the same, measured by the greater of them and 1. Another processor adds up in another order.
const SAME: f64 = 1e-4;

/// The nearest `k` of them but for the point itself.
pub fn others<'n>(neighbours: &'n [Neighbour], point: &Value, k: u64) -> Vec<&'n Neighbour> {
    let k = usize::try_from(k).unwrap_or(usize::MAX);
    neighbours.iter().filter(|one| one.id != *point).take(k).collect()
}

/// How many of the `wanted` are among the `found`. Where several are as near as the last that is wanted, any of them is as good.
/// `with_scores`: a point counts only when its score is what it was.
pub fn matched(wanted: &[&Neighbour], found: &[&Neighbour], with_scores: bool) -> u64 {
    let Some(last) = wanted.last() else { return 0 };
    let is_in = |one: &Neighbour, among: &[&Neighbour]| {
        among.iter().any(|other| other.id == one.id && (!with_scores || same(one.score, other.score)))
    };
    let ties = |of: &[&Neighbour], among: &[&Neighbour]| {
        of.iter().filter(|one| same(one.score, last.score) && !is_in(one, among)).count()
    };
    let both = wanted.iter().filter(|one| is_in(one, found)).count();
    (both + ties(wanted, found).min(ties(found, wanted))) as u64
}

fn same(a: f64, b: f64) -> bool {
    (a - b).abs() <= SAME * a.abs().max(b.abs()).max(1.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(pairs: &[(u64, f64)]) -> Vec<Neighbour> {
        pairs.iter().map(|(id, score)| Neighbour { id: json!(id), score: *score }).collect()
    }

    #[track_caller]
    fn check(wanted: &[(u64, f64)], found: &[(u64, f64)], by_id: u64, with_scores: u64) {
        let (wanted, found) = (of(wanted), of(found));
        let (wanted, found): (Vec<_>, Vec<_>) = (wanted.iter().collect(), found.iter().collect());
        assert_eq!((matched(&wanted, &found, false), matched(&wanted, &found, true)), (by_id, with_scores));
    }

    #[test]
    fn neighbours_are_found_by_id_and_by_score() {
        check(&[], &[(1, 0.5)], 0, 0);
        check(&[(1, 0.9), (2, 0.8)], &[(1, 0.9), (2, 0.8)], 2, 2);
        check(&[(1, 0.9), (2, 0.8)], &[(2, 0.800_01), (3, 0.7)], 1, 1);
        check(&[(1, 0.9), (2, 0.8)], &[(2, 0.4), (1, 0.3)], 2, 0);
    }

    #[test]
    fn whatever_is_as_near_as_the_last_will_do() {
        check(&[(1, 0.9), (2, 0.8), (3, 0.8)], &[(1, 0.9), (4, 0.8), (5, 0.8)], 3, 3);
        check(&[(1, 0.9), (2, 0.8), (3, 0.8)], &[(1, 0.9), (4, 0.8), (6, 0.7)], 2, 2);
        // What was nearer than the last is not made up for by it.
        check(&[(1, 0.9), (2, 0.8)], &[(2, 0.8), (4, 0.8)], 1, 1);
    }

    #[test]
    fn the_point_itself_is_no_neighbour_of_its_own() {
        let found = of(&[(7, 1.0), (1, 0.9), (2, 0.8), (3, 0.7)]);
        let ids = |point: u64, k: u64| {
            others(&found, &json!(point), k).iter().map(|one| one.id.as_u64().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!((ids(7, 3), ids(9, 3)), (vec![1, 2, 3], vec![7, 1, 2]));
    }
}
