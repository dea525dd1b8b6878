//! `drydock check` of any bytes: findings in places that exist, and never a panic.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use drydock_plan::catalog::Catalog;
use drydock_plan::check::{CheckInput, Checked, Demand, Files};
use drydock_plan::params::GivenParams;
use drydock_plan::show::{Look, annotations, json, sarif, text};
use drydock_plan::source::SourceFile;

#[path = "../../engine/plan/tests/kinds/mod.rs"]
mod kinds;

static CATALOG: LazyLock<Catalog> = LazyLock::new(kinds::catalog);

struct OneFile;

impl Files for OneFile {
    fn read(&self, _: &str) -> Result<Vec<u8>, String> {
        Ok(b"a file".to_vec())
    }
}

/// What `check` makes of a file, with an environment and as a drill where that is wanted; all that it finds is shown in every way.
pub fn checked(file: &SourceFile, environment: Option<&SourceFile>, drill: bool) -> Checked {
    let given = GivenParams { drill, ..GivenParams::default() };
    let variables = BTreeMap::from([("HOME".to_owned(), "/home/octopus".to_owned())]);
    let checked = drydock_plan::check::check(&CheckInput {
        file,
        environment,
        catalog: &CATALOG,
        given: &given,
        variables: &variables,
        files: &OneFile,
        demand: if drill { Demand::Run } else { Demand::Form },
    });
    // Showing walks every place of every finding.
    let _ = text(&checked.findings, &checked.sources, Look::default());
    let _ = json(&checked.findings, &checked.sources);
    let _ = annotations(&checked.findings, &checked.sources);
    let _ = sarif(&checked.findings, &checked.sources, "0");
    assert!(checked.plan.is_none() || !checked.has_errors(), "a plan in spite of errors");
    checked
}

/// Any bytes as a plan, and as one that is drilled.
pub fn check(bytes: &[u8]) {
    let file = SourceFile::of_bytes("fuzzed.yaml", bytes);
    checked(&file, None, false);
    checked(&file, None, true);
}
