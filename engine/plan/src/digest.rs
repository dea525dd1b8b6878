//! The digest of a plan and of all that it was read with: [`digest_of`].

use sha2::{Digest as _, Sha256};

use crate::name::Digest;

/// The sha256 over named parts. Each part goes in with the lengths of its name and of its bytes, so that no two lists of parts that
/// differ give the same bytes.
pub fn digest_of<'p>(parts: impl IntoIterator<Item = (&'p str, &'p [u8])>) -> Digest {
    let mut hash = Sha256::new();
    for (name, bytes) in parts {
        for part in [name.as_bytes(), bytes] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    Digest(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_do_not_blur() {
        let all = [
            digest_of([("plan", b"ab".as_slice()), ("environment", b"c")]),
            digest_of([("plan", b"a".as_slice()), ("environment", b"bc")]),
            digest_of([("plan", b"abc".as_slice())]),
            digest_of([("plana", b"bc".as_slice())]),
            digest_of([("plan", b"abc".as_slice()), ("", b"")]),
            digest_of([]),
        ];
        for (ix, digest) in all.iter().enumerate() {
            assert_eq!(digest.0.len(), 64);
            assert!(!all[..ix].contains(digest));
        }
    }
}
