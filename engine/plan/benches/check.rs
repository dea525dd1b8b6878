//! How long `check` takes by itself, without a process around it: `cargo bench -p drydock-plan --bench check`.
//!
//! The least of many rounds counts: what it takes more is the machine's, which others work on as well. `docs/benchmarks.md` keeps a run of it.

#![allow(clippy::disallowed_methods, reason = "a benchmark looks at the clock")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use drydock_plan::check::{CheckInput, Demand, Files, check};
use drydock_plan::params::GivenParams;
use drydock_plan::source::SourceFile;

#[path = "../tests/kinds/mod.rs"]
mod kinds;

/// How often each plan is checked.
const ROUNDS: u32 = 20;
/// How many steps each plan has.
const STEPS: u32 = 10_000;

/// The text of a plan, for a round.
type Text = fn(u32) -> String;

struct Nothing;

impl Files for Nothing {
    fn read(&self, _: &str) -> Result<Vec<u8>, String> {
        Err("not here".to_owned())
    }
}

/// Steps of three lines, without expressions.
fn short(_: u32) -> String {
    let step = |n| format!("  s{n}:\n    uses: flow.noop\n    description: step {n}\n");
    format!("drydock: v1\nname: short\nsteps:\n{}", (0..STEPS).map(step).collect::<String>())
}

/// Steps of eleven lines, each with three expressions, and each needing the one before. A process that has read an expression knows it, so
/// that each round has expressions of its own.
fn long(round: u32) -> String {
    let step = |n: u32| {
        let before = n.checked_sub(1).map_or(String::new(), |before| {
            format!(
                "    needs: [s{before}]\n    when: params.n > -{round} and steps.s{before}.status == 'succeeded'\n"
            )
        });
        format!(
            "  s{n}:\n    description: step {n}\n    uses: flow.set\n{before}    timeout: 5m\n    retry: {{ attempts: 2 }}\n    with:\n      values:\n        n: \"{{{{ params.n + {n} - {round} }}}}\"\n        text: \"step {{{{ params.n }}}} of {n}\"\n"
        )
    };
    let head = "drydock: v1\nname: long\nparams:\n  n: { type: integer, default: 3 }\nsteps:\n";
    format!("{head}{}", (0..STEPS).map(step).collect::<String>())
}

fn main() {
    let catalog = kinds::catalog();
    let (given, variables) = (GivenParams::default(), BTreeMap::new());
    let plans: [(&str, Text); 2] = [("three lines", short), ("eleven lines with expressions", long)];
    for (what, text) in plans {
        let round = |round| {
            let file = SourceFile::new("plan.yaml", text(round));
            let began = Instant::now();
            let checked = check(&CheckInput {
                file: &file,
                environment: None,
                catalog: &catalog,
                given: &given,
                variables: &variables,
                files: &Nothing,
                demand: Demand::Form,
            });
            let took = began.elapsed();
            assert!(checked.plan.is_some(), "{:?}", checked.findings);
            took
        };
        let least = (0..ROUNDS).map(round).min().unwrap_or(Duration::MAX);
        println!("| check of {STEPS} steps of {what}, in the process | {} ms |", least.as_millis());
    }
}
