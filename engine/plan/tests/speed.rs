//! How long a check of a large plan takes, and how much memory. Not asserted on, so ignored: `cargo test --release -p drydock-plan --test
//! speed -- --ignored --nocapture` prints the figures.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "these are tests")]

mod kinds;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

use drydock_plan::check::{CheckInput, Demand, Files, check};
use drydock_plan::finding::Findings;
use drydock_plan::params::GivenParams;
use drydock_plan::source::SourceFile;
use drydock_plan::syntax::yaml;

struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _path: &str) -> Result<Vec<u8>, String> {
        Err("not here".to_owned())
    }
}

/// Steps of three lines, each after the one before.
fn three_lines(steps: usize) -> String {
    let mut plan = "drydock: v1\nname: large\nsteps:\n".to_owned();
    for step in 0..steps {
        let needs = step.checked_sub(1).map_or(String::new(), |before| format!("s{before}"));
        writeln!(plan, "  s{step}:\n    uses: flow.noop\n    needs: [{needs}]").unwrap();
    }
    plan
}

/// Steps of eleven lines with expressions that read parameters, near steps and far ones.
fn eleven_lines(steps: usize) -> String {
    let mut plan = "drydock: v1\nname: large\nparams: { name: { type: string, default: x } }\ntargets: { sql: sqlserver }\nsteps:\n".to_owned();
    plan.push_str("  s0: { uses: sqlserver.query, target: sql, with: { sql: SELECT 1 AS n } }\n");
    for step in 1..steps {
        let before = step - 1;
        let far = step / 2;
        write!(
            plan,
            "  s{step}:\n    uses: sqlserver.query\n    target: sql\n    needs: [s{before}]\n    when: steps.s{before}.status == 'succeeded'\n    \
             timeout: 2h\n    with:\n      database: \"{{{{ params.name }}}}_{step}\"\n      \
             sql: \"SELECT {{{{ steps.s{before}.outputs.count }}}} AS n FROM T{step}\"\n    validate:\n      \
             - {{ name: rows came, assert: \"outputs.count > 0 and steps.s{far}.status != 'failed'\" }}\n"
        )
        .unwrap();
    }
    plan
}

/// The high-water mark of this process's memory in MiB, where the system says it.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib / 1024)
}

fn measure(name: &str, text: String) {
    let catalog = kinds::catalog();
    let file = SourceFile::new("large.yaml", text);
    let (given, variables) = (GivenParams::default(), BTreeMap::new());
    let input = CheckInput {
        file: &file,
        environment: None,
        catalog: &catalog,
        given: &given,
        variables: &variables,
        files: &NoFiles,
        demand: Demand::Run,
    };
    let start = Instant::now();
    let checked = check(&input);
    let first = start.elapsed();
    assert!(checked.findings.is_empty(), "{:?}", checked.findings.first());
    let peak = peak();
    drop(checked);
    let best = |work: &dyn Fn()| {
        let mut best = Duration::MAX;
        for _ in 0..7 {
            let start = Instant::now();
            work();
            best = best.min(start.elapsed());
        }
        best
    };
    let read = best(&|| {
        assert!(yaml::read(&file, 0, &mut Findings::new()).is_some());
    });
    let whole = best(&|| assert!(check(&input).plan.is_some()));
    println!(
        "{name}: {} bytes, first check {first:?}; best of seven: read {read:?}, check {whole:?}; peak {:?} MiB",
        file.text.len(),
        peak
    );
}

#[test]
#[ignore = "prints figures; run it in release, and alone for the memory"]
fn three_lines_a_step() {
    measure("10,000 steps of three lines", three_lines(10_000));
}

#[test]
#[ignore = "prints figures; run it in release, and alone for the memory"]
fn eleven_lines_a_step() {
    measure("10,000 steps of eleven lines", eleven_lines(10_000));
}

#[test]
#[ignore = "prints figures; run it in release, and alone for the memory"]
fn as_large_as_a_plan_may_be() {
    measure("50,000 steps of three lines", three_lines(50_000));
    measure("25,000 steps of eleven lines", eleven_lines(25_000));
}
