//! Everything that looks random in a practice server, drawn from one number by hashing. Main type: [`Seed`].

use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

/// The number that a set of practice servers is grown from: the same seed, the same ids and texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub u64);

impl Seed {
    /// The number that belongs to `name`, the same each time.
    #[must_use]
    pub fn number(self, name: &str) -> u64 {
        let bytes = self.bytes(name);
        bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// The UUID (version 4 in form) that belongs to `name`.
    #[must_use]
    pub fn uuid(self, name: &str) -> Uuid {
        Builder::from_random_bytes(self.bytes(name)).into_uuid()
    }

    /// A sequence of numbers that belongs to `name`.
    #[must_use]
    pub fn draw(self, name: &str) -> Draw {
        Draw { state: self.number(name) }
    }

    fn bytes(self, name: &str) -> [u8; 16] {
        let digest = Sha256::new().chain_update(self.0.to_be_bytes()).chain_update(name).finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        bytes
    }
}

/// A reproducible sequence of numbers (SplitMix64).
#[derive(Debug, Clone)]
pub struct Draw {
    state: u64,
}

impl Draw {
    /// The next number, over all 64 bits.
    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// The next number from 0 up to, and without, `end`; 0 when `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number().checked_rem(end).unwrap_or(0)
    }

    /// One of `choices`.
    pub fn one_of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        usize::try_from(self.below(choices.len() as u64))
            .ok()
            .and_then(|at| choices.get(at).copied())
            .unwrap_or("")
    }
}

/// Bytes in lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
