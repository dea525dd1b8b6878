//! Nothing is forgotten: every test file is compiled, nothing is left to do.

use crate::tree::{read, root, sources};

#[test]
fn every_file_of_these_tests_is_compiled() {
    for folder in std::fs::read_dir(root().join("tests"))
        .expect("tests is there")
        .flatten()
        .filter(|entry| entry.path().join("main.rs").is_file())
    {
        let main = std::fs::read_to_string(folder.path().join("main.rs")).expect("main.rs is text");
        for entry in std::fs::read_dir(folder.path()).expect("a folder").flatten() {
            let path = entry.path();
            let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()).filter(|stem| *stem != "main")
            else {
                continue;
            };
            if path.extension().is_some_and(|extension| extension == "rs") {
                assert!(main.contains(&format!("mod {stem};")), "{} is not compiled", path.display());
            }
        }
        let name = folder.file_name().to_string_lossy().into_owned();
        assert!(
            read("cli/Cargo.toml").contains(&format!("../tests/{name}/main.rs")),
            "tests/{name} is in no manifest"
        );
    }
}

#[test]
fn nothing_is_left_to_do() {
    let marks = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["todo", "!("].concat(),
        ["unimplemented", "!("].concat(),
    ];
    let left: Vec<String> = sources(&["engine", "steps", "practice", "cli", "tests"])
        .iter()
        .filter(|source| marks.iter().any(|mark| source.text.contains(mark)))
        .map(|source| source.path.clone())
        .collect();
    assert!(left.is_empty(), "{}", left.join("\n"));
}

#[test]
fn no_test_is_ignored_without_a_word() {
    let mark = ["#[ign", "ore]"].concat();
    let ignored: Vec<String> = sources(&["engine", "steps", "practice", "cli", "tests"])
        .iter()
        .filter(|source| source.text.contains(&mark))
        .map(|source| source.path.clone())
        .collect();
    assert!(ignored.is_empty(), "say why:\n{}", ignored.join("\n"));
}
