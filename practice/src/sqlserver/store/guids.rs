//! Identifiers that follow from the seed, so that two servers with one seed answer alike. Main type: [`Guids`].

use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

/// A source of GUIDs and other drawn numbers; clones share it.
#[derive(Debug, Clone)]
pub struct Guids {
    seed: u64,
    drawn: Arc<Mutex<u64>>,
}

impl Guids {
    /// A source that has already given `drawn` identifiers.
    #[must_use]
    pub fn new(seed: u64, drawn: u64) -> Self {
        Self { seed, drawn: Arc::new(Mutex::new(drawn)) }
    }

    /// How many it has given.
    #[must_use]
    pub fn drawn(&self) -> u64 {
        *self.drawn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next identifier.
    #[must_use]
    pub fn next(&self) -> Uuid {
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        *drawn += 1;
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest("guid", self.seed, *drawn)[..16]);
        Builder::from_random_bytes(bytes).into_uuid()
    }

    /// A number below `bound` that always belongs to `what` and `which`.
    #[must_use]
    pub fn number(&self, what: &str, which: u64, bound: u64) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&digest(what, self.seed, which)[..8]);
        u64::from_le_bytes(bytes) % bound.max(1)
    }
}

fn digest(what: &str, seed: u64, which: u64) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(what.as_bytes());
    hash.update(seed.to_le_bytes());
    hash.update(which.to_le_bytes());
    hash.finalize().into()
}
