//! What is read from an artifact store and from a backup history: manifests, log points, marks, and the chain that a history gives.
#![no_main]

use drydock_recovery::chain::{ChainRequest, choose};
use drydock_recovery::history::History;
use drydock_recovery::manifest::{LogPoint, Manifest, PointMark};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(manifest) = Manifest::parse(text) {
        let _ = (manifest.artifacts().count(), manifest.skew_s());
    }
    let _ = (LogPoint::parse(text), PointMark::parse(text));
    if let Ok(history) = History::parse(text)
        && let Ok(chain) = choose(&history, &ChainRequest::default())
    {
        assert!(!chain.backups.is_empty(), "a chain of nothing");
    }
});
