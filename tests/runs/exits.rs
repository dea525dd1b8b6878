//! Every exit code, by a run that ends with it.

use crate::world::World;

fn one(step: &str) -> String {
    format!("drydock: v1\nname: p\nsteps:\n  a: {step}\n")
}

#[test]
fn a_run_ends_with_the_code_of_what_happened() {
    let cases = [
        ("{ uses: flow.noop }", 0),
        ("{ uses: flow.fail, with: { message: no } }", 20),
        (
            "{ uses: flow.set, with: { values: { n: 1 } }, validate: [ { name: n is two, assert: outputs.n == 2 } ] }",
            21,
        ),
        ("{ uses: flow.fail, on_failure: ignore, with: { message: no } }", 0),
        ("{ uses: flow.fail, on_failure: continue, with: { message: no } }", 20),
        ("{ uses: flow.approve, with: { message: may I } }", 24),
        ("{ uses: process.run, with: { argv: [sh, -c, 'exit 3'] } }", 20),
        ("{ uses: process.run, with: { argv: [sh, -c, 'exit 3'], expect_exit: [3] } }", 0),
        ("{ uses: flow.wait, timeout: 50ms, with: { for: 10m } }", 20),
        ("{ uses: flow.noop, when: 'params.nope' }", 10),
    ];
    for (step, code) in cases {
        let world = World::plan(&one(step));
        let ended = world.run();
        assert_eq!(ended.code, Some(code), "{step}\n{}{}", ended.stdout, ended.stderr);
        if code != 10 {
            assert_eq!(world.shown()["exit"], code, "{step}");
        }
    }
}

#[test]
fn what_is_not_understood_is_usage() {
    let world = World::plan(&one("{ uses: flow.noop }"));
    world.drydock("sail").with_exit(2);
    world.drydock("run").with_exit(2);
    world.drydock("run absent.yaml").with_exit(2).says("cannot read absent.yaml");
    let ended =
        world.drydock("check absent.yaml plan.yaml gone.yaml").with_exit(2).says("cannot read absent.yaml");
    ended.says("cannot read gone.yaml");
    world.drydock("runs show r").with_exit(2).says("there is no run");
    world.drydock("run plan.yaml --run-id ../r").with_exit(2).says("is no id of a run");
    world.drydock("explain DD999").with_exit(2).says("there is no code `DD999`");
    world.drydock("kinds flow.nop").with_exit(2).says("did you mean `flow.noop`?");
    world.run().with_exit(0);
    world.run().with_exit(12).says("run r is there already");
}

#[test]
fn bad_values_of_the_test_variables_are_usage() {
    let world = World::plan(&one("{ uses: flow.noop }")).with("DRYDOCK_CRASH_AT", "soon");
    world.run().with_exit(2).says("write N, N.before, N.torn or N.after");
}
