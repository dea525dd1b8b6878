//! The crash matrix: killed before, in the middle of and after every batch, a run is resumed to the end that it would have had.

use crate::world::World;

/// Every step writes a line when it works, so that what was done twice shows. Steps that may be done again say so.
const PLAN: &str = r#"
drydock: v1
name: matrix
steps:
  a:
    uses: process.run
    on_unknown: redo
    with: { argv: [sh, -c, "echo a >> ledger"] }
    validate:
      - name: a has worked
        uses: process.run
        with: { argv: [cat, ledger], capture: lines, effect: reads }
        assert: "'a' in result.stdout"
  quiet:
    uses: flow.noop
    needs: [a]
    when: "false"
  each:
    uses: process.run
    needs: [a]
    foreach: "['x', 'y', 'z']"
    max_parallel: 2
    on_unknown: redo
    with: { argv: [sh, -c, "echo {{ item }} >> ledger"] }
  fails:
    uses: flow.fail
    needs: [a]
    on_failure: ignore
    with: { message: as planned }
  last:
    uses: flow.set
    needs: [quiet, each, fails]
    with: { values: { n: "{{ steps.each.outputs | length }}" } }
finally:
  tidy:
    uses: process.run
    on_unknown: redo
    with: { argv: [sh, -c, "echo tidy >> ledger"] }
outputs:
  n: "{{ steps.last.outputs.n }}"
"#;

/// The lines of the ledger with how often each stands there.
fn counts(world: &World) -> Vec<(String, usize)> {
    let text = world.text("ledger");
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.chunk_by(|a, b| a == b).map(|same| (same[0].to_owned(), same.len())).collect()
}

fn names(counts: &[(String, usize)]) -> Vec<&str> {
    counts.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn killed_at_every_batch_a_run_ends_as_if_it_had_not_been() {
    let whole = World::plan(PLAN);
    whole.run().with_exit(0);
    let expected = whole.statuses();
    let effects = counts(&whole);
    let mut cases = 0;
    for when in ["before", "torn", "after"] {
        for batch in 1.. {
            let world = World::plan(PLAN);
            let crashed = world.run_crashing(&format!("{batch}.{when}"));
            if crashed.code.is_some() {
                crashed.with_exit(0);
                assert!(batch > 5, "the run ended before batch {batch}");
                break;
            }
            cases += 1;
            let checked = world.drydock("runs check r");
            let begun = !(batch == 1 && when != "after");
            if !begun {
                checked.with_exit(2).says("there is no run r");
                world.run().with_exit(0);
            } else {
                checked.with_exit(0);
                world.drydock("resume r").with_exit(0);
            }
            assert_eq!(world.statuses(), expected, "killed at {batch}.{when}");
            let found = counts(&world);
            assert_eq!(names(&found), names(&effects), "killed at {batch}.{when}");
            let lost = world.journal().iter().filter(|line| line["outcome"] == "lost").count();
            let again: usize = found.iter().map(|(_, times)| times - 1).sum();
            assert!(
                again <= lost,
                "killed at {batch}.{when}: {again} done twice, {lost} attempts lost\n{found:?}"
            );
        }
    }
    assert!(cases >= 18, "only {cases} cases");
}

#[test]
fn killed_again_and_again_a_run_still_ends() {
    let world = World::plan(PLAN);
    // A sitting begins, asks what became of the open attempts and begins them again, and ends one step before it is killed.
    world.run_crashing("4.after");
    let mut sittings = 1;
    loop {
        sittings += 1;
        assert!(sittings < 60, "it does not end");
        let mut command = world.command("resume r");
        let ended = crate::world::ended(command.env("DRYDOCK_CRASH_AT", "4.after"));
        if let Some(code) = ended.code {
            assert_eq!(code, 0, "{}", ended.stderr);
            break;
        }
    }
    let shown = world.shown();
    assert_eq!(shown["status"], "succeeded");
    // Where the last kill came after the run's own end, the last resume had nothing to do.
    let found = shown["sittings"].as_array().unwrap().len();
    assert!(found == sittings || found + 1 == sittings, "{found} sittings of {sittings}");
}

#[test]
fn a_step_that_succeeded_is_not_executed_again() {
    let plan = "drydock: v1\nname: p\nsteps:\n  a: { uses: process.run, with: { argv: [sh, -c, 'echo a >> ledger'] } }\n  b: { uses: flow.noop, needs: [a] }\n";
    let world = World::plan(plan);
    world.run_crashing("2.after");
    world.drydock("resume r").with_exit(0);
    assert_eq!(world.text("ledger"), "a\n");
    assert_eq!(world.shown()["steps"]["a"]["attempts"].as_array().unwrap().len(), 1);
}
