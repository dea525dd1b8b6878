//! Which shard a point lives in: the consistent hashing of a real cluster, so that the same points lie in
//! the same shards. Main function: [`shard_of`].

use std::hash::{Hash, Hasher};

use super::point::PointId;

/// How many places a shard has on the ring.
const PLACES: u32 = 100;

/// The ring for some shards: places in order, each with its shard.
#[derive(Debug, Clone)]
pub(super) struct Ring {
    shards: Vec<u32>,
    places: Vec<(u64, u32)>,
}

impl Ring {
    /// The ring of these shards.
    pub(super) fn new(shards: impl IntoIterator<Item = u32>) -> Self {
        let shards: Vec<u32> = shards.into_iter().collect();
        let places = shards.iter().flat_map(|shard| (0..PLACES).map(move |place| (*shard, place)));
        let mut places: Vec<_> = places.map(|(shard, place)| (hash(&(shard, place)), shard)).collect();
        places.sort_unstable();
        Self { shards, places }
    }

    /// The shards on the ring.
    pub(super) fn shards(&self) -> &[u32] {
        &self.shards
    }

    /// The shard that `id` belongs to.
    pub(super) fn shard_of(&self, id: &PointId) -> u32 {
        let wanted = hash(id);
        let at = self.places.partition_point(|(place, _)| *place < wanted);
        self.places.get(at).or_else(|| self.places.first()).map_or(0, |(_, shard)| *shard)
    }
}

/// SipHash-2-4 with a zero key, which the ring of the real server uses; the standard library's newer hasher
/// is another one (1-3).
#[expect(deprecated, reason = "the very algorithm is needed, and std will not drop it")]
fn hash(value: &impl Hash) -> u64 {
    let mut hasher = std::hash::SipHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_spread_as_in_the_recorded_cluster() {
        let ring = Ring::new(0..3);
        let mut counts = [0; 3];
        for id in 1..=60 {
            counts[ring.shard_of(&PointId::Number(id)) as usize] += 1;
        }
        assert_eq!(counts, [21, 16, 23]);
    }
}
