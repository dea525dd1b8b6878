//! Every plan in `tests/plans`: good ones have no findings, bad ones have exactly those of their `.expect` file. `UPDATE=1` rewrites the
//! expectations.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "these are tests")]

mod kinds;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use drydock_plan::check::{CheckInput, Checked, Demand, Files, check};
use drydock_plan::codes;
use drydock_plan::params::GivenParams;
use drydock_plan::show::{Look, text};
use drydock_plan::source::SourceFile;
use drydock_plan::syntax::file::FileKind;

/// The plans of a folder of `tests/plans`, by path.
fn plans(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/plans").join(folder);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.ends_with(".yaml") && name.matches('.').count() == 1
        })
        .collect();
    paths.sort();
    paths
}

struct Folder(PathBuf);

impl Files for Folder {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        std::fs::read(self.0.join(path)).map_err(|_| "not found".to_owned())
    }
}

fn source(path: &Path) -> SourceFile {
    let name = path.file_name().unwrap().to_str().unwrap();
    SourceFile::of_bytes(name, &std::fs::read(path).unwrap())
}

/// A plan is checked with the arguments that its first lines name after `# with:`, and its `.env.yaml` when there is one.
fn checked(path: &Path) -> Checked {
    let file = source(path);
    let environment = path.with_extension("env.yaml");
    let environment = environment.exists().then(|| source(&environment));
    let mut given = GivenParams::default();
    let mut variables = BTreeMap::from([("DATA_ROOT".to_owned(), "/srv/data".to_owned())]);
    let mut demand = Demand::Form;
    for line in file.text.lines().map_while(|line| line.strip_prefix("# with: ")) {
        match line.split_once(' ') {
            None if line == "run" => demand = Demand::Run,
            Some(("-p", flag)) => given.flags.push(flag.to_owned()),
            Some(("--params", name)) => given.file = Some(source(&path.with_file_name(name))),
            _ => {
                let (name, value) = line.split_once('=').expect("a variable");
                given.variables.insert(name.to_owned(), value.to_owned());
                variables.insert(name.to_owned(), value.to_owned());
            }
        }
    }
    let catalog = kinds::catalog();
    check(&CheckInput {
        file: &file,
        environment: environment.as_ref(),
        catalog: &catalog,
        given: &given,
        variables: &variables,
        files: &Folder(path.parent().unwrap().to_owned()),
        demand,
    })
}

#[test]
fn good_plans_have_no_findings() {
    let plans = plans("good");
    assert!(plans.len() >= 20, "{} good plans", plans.len());
    let mut wrong = Vec::new();
    for path in plans {
        let checked = checked(&path);
        if !checked.findings.is_empty() {
            wrong.push(format!(
                "{}:\n{}",
                path.display(),
                text(&checked.findings, &checked.sources, Look::default())
            ));
        } else if checked.kind == Some(FileKind::Plan) {
            let plan = checked.plan.expect("a plan without findings is one");
            assert_eq!(plan.digest.0.len(), 64, "{}", path.display());
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn bad_plans_have_exactly_the_findings_expected() {
    let plans = plans("bad");
    assert!(plans.len() >= 120, "{} bad plans", plans.len());
    let mut wrong = Vec::new();
    for path in plans {
        let checked = checked(&path);
        let shown = text(&checked.findings, &checked.sources, Look::default());
        let expected = path.with_extension("expect");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&expected, &shown).unwrap();
        }
        let errors = checked.has_errors();
        assert!(!shown.is_empty(), "{} has no findings", path.display());
        if checked.kind == Some(FileKind::Plan) {
            assert_eq!(checked.plan.is_none(), errors, "{}", path.display());
        }
        if std::fs::read_to_string(&expected).unwrap_or_default() != shown {
            wrong.push(format!("{}:\n{shown}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Codes that no small file can show: a file of 10 MiB, a plan of 50,001 steps, readers that disagree, an expression too large.
const NOT_BY_A_PLAN: [&str; 4] = ["DD101", "DD114", "DD211", "DD306"];

#[test]
fn every_code_of_check_has_a_bad_plan() {
    let shown: String = plans("bad")
        .into_iter()
        .map(|path| std::fs::read_to_string(path.with_extension("expect")).unwrap_or_default())
        .collect();
    // From DD321 on, codes are of values, which only a run has.
    let of_check = codes::CODES.iter().chain(drydock_plan::expr::CODES).map(|page| page.code);
    let without: Vec<&str> = of_check
        .filter(|code| !("DD321".."DD400").contains(code) && !NOT_BY_A_PLAN.contains(code))
        .filter(|code| !shown.contains(&format!("[{code}]")))
        .collect();
    assert!(without.is_empty(), "without a bad plan: {without:?}");
}
