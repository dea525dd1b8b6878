//! `drydock check` of any bytes: findings in places that exist, and never a panic.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use drydock_plan::catalog::Catalog;
use drydock_plan::check::{CheckInput, Demand, Files, check};
use drydock_plan::params::GivenParams;
use drydock_plan::show::{Look, json, text};
use drydock_plan::source::SourceFile;
use libfuzzer_sys::fuzz_target;

#[path = "../../engine/plan/tests/kinds/mod.rs"]
mod kinds;

static CATALOG: LazyLock<Catalog> = LazyLock::new(kinds::catalog);

struct OneFile;

impl Files for OneFile {
    fn read(&self, _: &str) -> Result<Vec<u8>, String> {
        Ok(b"a file".to_vec())
    }
}

fuzz_target!(|bytes: &[u8]| {
    let file = SourceFile::of_bytes("fuzzed.yaml", bytes);
    let (given, variables) = (GivenParams::default(), BTreeMap::new());
    let checked = check(&CheckInput {
        file: &file,
        environment: None,
        catalog: &CATALOG,
        given: &given,
        variables: &variables,
        files: &OneFile,
        demand: Demand::Form,
    });
    // Showing walks every place of every finding.
    let _ = text(&checked.findings, &checked.sources, Look::default());
    let _ = json(&checked.findings, &checked.sources);
    assert!(checked.plan.is_none() || !checked.has_errors(), "a plan in spite of errors");
});
