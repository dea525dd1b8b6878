//! Which points a sample is about: [`chosen`], the same for every attempt of a run, however many points there are, in constant memory.

use std::collections::BinaryHeap;

use drydock_step::{Ctx, StepError};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::answers::Page;
use super::measure::Measure;
use super::requests;
use super::target::QdrantConnection;

/// How many ids are read at once: a collection in strict mode may give no more.
const PAGE: usize = 1000;

/// The ids of up to `number` points, in the order of a hash over the run, the collection and the id: all ids are read, and those with the
/// least hashes kept. A point that comes or goes meanwhile changes nothing about the others.
pub(super) async fn chosen(
    ctx: &Ctx,
    qdrant: &QdrantConnection,
    collection: &str,
    measure: &Measure,
    number: usize,
    points: u64,
) -> Result<Vec<Value>, StepError> {
    let mut least = Least { seed: format!("{}\n{collection}\n", ctx.run), number, kept: BinaryHeap::new() };
    // Where a collection has several vectors, many points may lack this one.
    let mut with = measure.using.as_deref().filter(|_| measure.one_of_several);
    let (mut offset, mut read) = (None, 0);
    loop {
        let page = match qdrant.ask::<Page>(&requests::ids(collection, with, offset.as_ref(), PAGE)).await {
            // Servers before 1.13 cannot tell who has it.
            Err(error) if with.is_some() && error.code == "qdrant.refused" => {
                with = None;
                continue;
            }
            page => page?,
        };
        read += page.points.len() as u64;
        page.points.into_iter().for_each(|point| least.see(point.id));
        ctx.progress(read, Some(points.max(read)), "points", "choosing among the ids");
        offset = page.next_page_offset;
        if offset.is_none() {
            return Ok(least.in_order());
        }
    }
}

/// The ids with the least hashes so far.
struct Least {
    seed: String,
    number: usize,
    /// The greatest on top.
    kept: BinaryHeap<([u8; 32], String)>,
}

impl Least {
    fn see(&mut self, id: Value) {
        let id = id.to_string();
        let hash: [u8; 32] = Sha256::digest(format!("{}{id}", self.seed)).into();
        if self.kept.len() >= self.number {
            if self.kept.peek().is_none_or(|(greatest, _)| hash >= *greatest) {
                return;
            }
            self.kept.pop();
        }
        self.kept.push((hash, id));
    }

    fn in_order(self) -> Vec<Value> {
        let kept = self.kept.into_sorted_vec().into_iter();
        kept.filter_map(|(_, id)| serde_json::from_str(&id).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn least(seed: &str, number: usize, ids: impl Iterator<Item = u64>) -> Vec<Value> {
        let mut least = Least { seed: seed.into(), number, kept: BinaryHeap::new() };
        ids.for_each(|id| least.see(json!(id)));
        least.in_order()
    }

    #[test]
    fn the_choice_is_the_seed_s_and_no_order_s() {
        let chosen = least("r1", 10, 0..1000);
        assert_eq!(chosen.len(), 10);
        assert_eq!(least("r1", 10, (0..1000).rev()), chosen);
        assert_ne!(least("r2", 10, 0..1000), chosen);
        assert_eq!(least("r1", 5, 0..1000), chosen[..5], "fewer are the first of more");
        let gone = chosen[3].as_u64().unwrap();
        let without = least("r1", 10, (0..1000).filter(|id| *id != gone));
        assert_eq!((&without[..3], &without[3..9]), (&chosen[..3], &chosen[4..]));
        assert_eq!(least("r1", 10, 0..3).len(), 3);
        assert_eq!(least("r1", 0, 0..3).len(), 0);
    }
}
