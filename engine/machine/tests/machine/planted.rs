//! The faults of `tests/planted` fit the code as it is: `tests/planted-faults.sh` can plant each of them.

use std::fs;
use std::path::Path;

/// The lines of a patch's hunks as they stand before it: context and what it takes away.
fn lines_before(patch: &str) -> Vec<String> {
    let hunks = patch.split("\n@@ ").skip(1);
    let before = |hunk: &str| {
        let lines = hunk.lines().skip(1).filter(|line| !line.starts_with('+'));
        lines.map(|line| line.get(1..).unwrap_or_default()).collect::<Vec<_>>().join("\n")
    };
    hunks.map(before).collect()
}

#[test]
fn every_planted_fault_fits_the_code() {
    let krate = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(krate.join("tests/planted/README.md")).unwrap();
    let mut count = 0;
    for entry in fs::read_dir(krate.join("tests/planted")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "patch") {
            continue;
        }
        let patch = fs::read_to_string(&path).unwrap();
        let file = patch.lines().find_map(|line| line.strip_prefix("--- a/")).unwrap();
        let source = fs::read_to_string(krate.join(file)).unwrap();
        for before in lines_before(&patch) {
            assert!(source.contains(&before), "{} no longer fits {file}:\n{before}", path.display());
        }
        let name = path.file_stem().unwrap().to_string_lossy();
        assert!(readme.contains(&*name), "the README does not list {name}");
        count += 1;
    }
    assert_eq!(count, 10);
}
