//! What an artifact is now: [`rehashed`] reads one back to its end and hashes it, in constant memory.

use drydock_step::{ArtifactStore, StepError, Stored};
use futures_util::StreamExt;
use sha2::{Digest, Sha256};

/// The artifact as its bytes are now. `seen` hears the length of every piece that was read.
///
/// # Errors
/// `artifact.absent` when there is none, or what the store says.
pub async fn rehashed(
    store: &dyn ArtifactStore,
    path: &str,
    mut seen: impl FnMut(u64) + Send,
) -> Result<Stored, StepError> {
    let mut pieces = store.open(path, 0).await?;
    let (mut hash, mut size) = (Sha256::new(), 0);
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        hash.update(&piece);
        let length = piece.len() as u64;
        size += length;
        seen(length);
    }
    Ok(Stored { path: path.to_owned(), size, sha256: hex(&hash.finalize()) })
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::hex;

    #[test]
    fn digits_are_lower_case_and_two_a_byte() {
        assert_eq!(hex(&[0, 0x0a, 0xff]), "000aff");
    }
}
