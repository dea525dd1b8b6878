//! Whatever bytes a file has, a check answers with findings and never panics: all plans of `tests/plans`, mutated by a seeded generator.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "these are tests")]

mod kinds;

use std::collections::BTreeMap;
use std::path::Path;

use drydock_plan::check::{CheckInput, Demand, Files, check};
use drydock_plan::params::GivenParams;
use drydock_plan::show::{Look, annotations, json, sarif, text};
use drydock_plan::source::SourceFile;

/// How many mutants of each file are checked.
const MUTANTS: usize = 60;

/// Pieces that break things where they land.
const PIECES: [&str; 40] = [
    "{{",
    "}}",
    "{{ x }}",
    "{%",
    "\t",
    "\n",
    "\r\n",
    ":",
    ": ",
    "- ",
    "\"",
    "'",
    "|\n",
    ">-\n  ",
    "[",
    "]",
    "{",
    "}",
    "&a ",
    "*a",
    "<<: *a\n",
    "!!str ",
    "---\n",
    "#",
    "\u{feff}",
    "\u{0}",
    "é",
    "🦀",
    "\\",
    "\\u12",
    "99999999999999999999999",
    ".inf",
    "0x",
    "steps.",
    "params",
    "| default(",
    "~",
    "null",
    "1e999",
    "\u{2028}",
];

struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _path: &str) -> Result<Vec<u8>, String> {
        Ok(b"a file".to_vec())
    }
}

/// The numbers of a xorshift generator: the same on every machine.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }
}

/// Some bytes taken out, doubled, exchanged, or a piece put in; one to four times.
fn mutated(bytes: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(out.len() + 1);
        let to = (at + numbers.below(12)).min(out.len());
        match numbers.below(6) {
            0 => drop(out.drain(at..to)),
            1 => {
                let part = out[at..to].to_vec();
                let there = numbers.below(out.len() + 1);
                out.splice(there..there, part);
            }
            2 => out.truncate(at),
            3 if at < out.len() => out[at] = u8::try_from(numbers.below(256)).unwrap(),
            _ => drop(out.splice(at..at, PIECES[numbers.below(PIECES.len())].bytes())),
        }
    }
    out
}

/// All files of a folder of `tests/plans`, as bytes.
fn files(folder: &str) -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/plans").join(folder);
    let mut all: Vec<_> = std::fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap()))
        .collect();
    all.sort();
    all
}

#[test]
fn no_mutant_makes_a_check_panic() {
    let catalog = kinds::catalog();
    let all = [files("good"), files("bad")].concat();
    let variables = BTreeMap::from([("DATA_ROOT".to_owned(), "/srv".to_owned())]);
    let mut numbers = Numbers(0x5eed_d0c4);
    let mut checked = 0;
    for (name, bytes) in &all {
        let environment = all
            .iter()
            .find(|(other, _)| *other == name.replace(".yaml", ".env.yaml"))
            .map(|(_, bytes)| bytes);
        for mutant in 0..MUTANTS {
            let file = SourceFile::of_bytes("mutant.yaml", &mutated(bytes, &mut numbers));
            let environment = environment
                .map(|bytes| SourceFile::of_bytes("mutant.env.yaml", &mutated(bytes, &mut numbers)));
            let given = GivenParams {
                flags: vec![format!("count={}", PIECES[mutant % PIECES.len()])],
                ..GivenParams::default()
            };
            let outcome = check(&CheckInput {
                file: &file,
                environment: environment.as_ref(),
                catalog: &catalog,
                given: &given,
                variables: &variables,
                files: &NoFiles,
                demand: if mutant % 2 == 0 { Demand::Form } else { Demand::Run },
            });
            assert!(outcome.plan.is_none() || !outcome.has_errors(), "{name}: a plan in spite of errors");
            assert!(!file.text.is_empty() || outcome.has_errors(), "{name}: nothing found in an empty file");
            for finding in &outcome.findings {
                let source = &outcome.sources[usize::from(finding.place.source)];
                assert!(
                    source.text.get(finding.place.span.range()).is_some(),
                    "{name}: {finding:?} stands nowhere in {:?}",
                    source.text
                );
                assert!(
                    !finding.message.is_empty() && !finding.message.ends_with('.'),
                    "{name}: {finding:?}"
                );
            }
            text(&outcome.findings, &outcome.sources, Look::default());
            annotations(&outcome.findings, &outcome.sources);
            let shown = json(&outcome.findings, &outcome.sources);
            let logged = sarif(&outcome.findings, &outcome.sources, "0");
            assert_eq!(
                shown["findings"].as_array().unwrap().len(),
                logged["runs"][0]["results"].as_array().unwrap().len()
            );
            checked += 1;
        }
    }
    assert!(checked > 5_000, "only {checked} mutants");
}
