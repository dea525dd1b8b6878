//! What is read from an artifact store and from a backup history: manifests, log points, marks, and the chain that a history gives.

use drydock_recovery::chain::{ChainRequest, choose};
use drydock_recovery::history::History;
use drydock_recovery::manifest::{LogPoint, Manifest, PointMark};

/// Any bytes as each of them.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(manifest) = Manifest::parse(text) {
        let _ = (manifest.artifacts().count(), manifest.skew_s());
    }
    let _ = (LogPoint::parse(text), PointMark::parse(text));
    if let Ok(history) = History::parse(text)
        && let Ok(chain) = choose(&history, &ChainRequest::default())
    {
        assert!(!chain.backups.is_empty(), "a chain of nothing");
    }
}
