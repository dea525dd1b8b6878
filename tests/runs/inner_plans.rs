//! Plans that run plans: what the inner ones destroy is asked about, none runs itself, and each has a run of its own.

use serde_json::json;

use crate::keywords::server::Server;
use crate::world::World;

/// Destroys a collection, but for the gate before it.
const DESTROYS: &str = "drydock: v1\nname: destroys\nparams: { collection: { type: string, default: agent_7 } }\ntargets: { vectors: qdrant, backups: artifacts }\nsteps:\n  gate: { uses: process.run, with: { argv: [test, -e, open] } }\n  it: { needs: [gate], uses: qdrant.recover, target: vectors, with: { from: backups, collection: \"{{ params.collection }}\", snapshot: { collection: agent_7, points: [1, 1], params: {}, snapshots: [] } } }\n";

/// Does nothing to anybody.
const HARMLESS: &str = "drydock: v1\nname: harmless\nsteps: { it: { uses: flow.noop } }\n";

/// A plan that runs others.
fn outer(steps: &str) -> String {
    format!("drydock: v1\nname: outer\nsteps:\n{steps}")
}

/// The outer plan beside the two inner ones, in a protected environment whose Qdrant is `127.0.0.1` and whose API `localhost`.
fn world(outer: &str, server: &Server) -> World {
    let port = server.address().rsplit_once(':').unwrap().1.to_owned();
    let environment = format!(
        "drydock: v1\nenvironment: prod\nprotected: true\ntargets:\n  vectors: {{ kind: qdrant, nodes: ['http://127.0.0.1:{port}'] }}\n  \
         backups: {{ kind: artifacts, url: store }}\n  api: {{ kind: http, url: 'http://localhost:{port}' }}\n"
    );
    let world = World::plan(outer).write("env.yaml", &environment);
    std::fs::create_dir(world.path("store")).unwrap();
    world.write("destroys.yaml", DESTROYS).write("harmless.yaml", HARMLESS)
}

const RUN: &str = "run plan.yaml --run-id r -e env.yaml";

#[test]
fn what_an_inner_plan_destroys_is_asked_about_like_what_the_outer_one_does() {
    let server = Server::start();
    let world = world(&outer("  all: { uses: plan.run, with: { plan: destroys.yaml } }\n"), &server);
    world
        .drydock(RUN)
        .with_exit(12)
        .says("prod is a protected environment, and this run would destroy collection agent_7 (by all/it)")
        .says("help: if that is meant, name the servers: --confirm 127.0.0.1\n");
    assert!(!world.path(".drydock/r").exists(), "it began");
    world.drydock(&format!("{RUN} --confirm localhost")).with_exit(12).says("--confirm 127.0.0.1");
    world.drydock(&format!("{RUN} --confirm 127.0.0.1")).with_exit(20).says("destroys failed at gate");
    // The run keeps for which servers it was confirmed.
    world.drydock("resume r").with_exit(20).says("destroys failed at gate");
    // A dry run shows it first.
    let shown = world.drydock("dry-run plan.yaml -e env.yaml").with_exit(0).stdout;
    assert!(shown.contains("  DESTROYS collection agent_7 on vectors, by all/it\n"), "{shown}");
    let harmless = World::plan(&outer("  all: { uses: plan.run, with: { plan: harmless.yaml } }\n"));
    let harmless = harmless.write("harmless.yaml", HARMLESS).write("env.yaml", &world.text("env.yaml"));
    harmless.drydock(RUN).with_exit(0);
}

#[test]
fn it_is_asked_about_through_plans_within_plans_and_with_values_that_only_the_run_knows() {
    let server = Server::start();
    let middle = outer(
        "  name: { uses: process.run, with: { argv: [echo, agent_9] } }\n  inner: { uses: plan.run, needs: [name], with: { plan: destroys.yaml, params: { collection: \"{{ steps.name.outputs.stdout }}\" } } }\n",
    );
    let world = world(&outer("  all: { uses: plan.run, with: { plan: middle.yaml } }\n"), &server);
    let world = world.write("middle.yaml", &middle);
    world
        .drydock(RUN)
        .with_exit(12)
        .says("would destroy something that is known during the run (by all/inner/it)")
        .says("--confirm 127.0.0.1\n");
    // Where the step does not run, neither does its plan.
    world.drydock(&format!("{RUN} --skip all")).with_exit(0);
}

#[test]
fn a_plan_that_only_the_run_knows_may_destroy_on_every_server() {
    let server = Server::start();
    let steps = "  which: { uses: process.run, with: { argv: [echo, harmless.yaml] } }\n  all: { uses: plan.run, needs: [which], with: { plan: \"{{ steps.which.outputs.stdout }}\" } }\n";
    let world = world(&outer(steps), &server);
    let said = "prod is a protected environment, and which plan all runs is known only during the run: it could destroy something on every server of the environment";
    world
        .drydock(RUN)
        .with_exit(12)
        .says(said)
        .says("help: write the plan's path so that it is known before the run; if that is meant, name the servers: --confirm 127.0.0.1 --confirm localhost --confirm store\n");
    let shown = world.drydock("dry-run plan.yaml -e env.yaml --format json").with_exit(0).stdout;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["unseen"], json!([{ "step": "all" }]));
    world
        .drydock(&format!("{RUN} --confirm 127.0.0.1 --confirm localhost"))
        .with_exit(12)
        .says("name the servers: --confirm store\n");
    world.drydock(&format!("{RUN} --confirm 127.0.0.1 --confirm localhost --confirm store")).with_exit(0);
    // An environment that nobody protects asks nothing.
    let text = world.text("env.yaml").replace("protected: true\n", "");
    let world = world.write("env.yaml", &text);
    world.drydock("run plan.yaml -e env.yaml").with_exit(0);
}

#[test]
fn a_plan_that_became_another_during_the_run_is_asked_about_before_it_begins() {
    let server = Server::start();
    let steps = "  swap: { uses: process.run, with: { argv: [cp, destroys.yaml, harmless.yaml] } }\n  all: { uses: plan.run, needs: [swap], with: { plan: harmless.yaml } }\n";
    let world = world(&outer(steps), &server);
    world.drydock(RUN).with_exit(20).says("would destroy collection agent_7 (by it) [plan.unconfirmed]");
    assert!(!world.path(".drydock/r-all").exists(), "the inner run began");
}

#[test]
fn changes_that_destroy_are_asked_about_when_they_are_accepted() {
    let server = Server::start();
    let steps =
        "  one: { uses: flow.noop }\n  two: { uses: flow.fail, needs: [one], with: { message: no } }\n";
    let world = world(&outer(steps), &server);
    world.drydock(RUN).with_exit(20);
    let steps = "  one: { uses: flow.noop }\n  all: { uses: plan.run, needs: [one], with: { plan: destroys.yaml } }\n";
    let world = world.write("plan.yaml", &outer(steps));
    world
        .drydock("resume r --accept-changes")
        .with_exit(12)
        .says("this run would destroy collection agent_7 (by all/it)");
    world
        .drydock("resume r --accept-changes --confirm 127.0.0.1")
        .with_exit(20)
        .says("destroys failed at gate");
    // What the run was started without is no part of it.
    let steps = "  all: { uses: plan.run, with: { plan: destroys.yaml } }\n  two: { uses: flow.fail, with: { message: no } }\n";
    let world = world.write("plan.yaml", &outer(steps));
    world.drydock("run plan.yaml --run-id s -e env.yaml --skip all").with_exit(20);
    let world = world.write("plan.yaml", &outer(&steps.replace("message: no", "message: still no")));
    world.drydock("resume s --accept-changes").with_exit(20).says("still no");
}

#[test]
fn a_plan_that_would_run_itself_is_refused_by_check_and_by_the_run() {
    let world = World::plan(&outer("  again: { uses: plan.run, with: { plan: ./plan.yaml } }\n"));
    let found = world.drydock("check plan.yaml").with_exit(10).stdout;
    assert!(found.contains("error[DD227]: the plan `plan.yaml` would run itself"), "{found}");
    // Where only the values of parameters lead back, the run sees it before the inner one begins.
    let by_param = |name: &str, next: &str| {
        format!(
            "drydock: v1\nname: {name}\nparams: {{ next: {{ type: path, default: {next} }} }}\nsteps:\n  on: {{ uses: plan.run, with: {{ plan: \"{{{{ params.next }}}}\" }} }}\n"
        )
    };
    let world = World::plan(&by_param("a", "b.yaml")).write("b.yaml", &by_param("b", "./plan.yaml"));
    let ended = world.run().with_exit(20).says("the plan would run itself: ");
    assert!(
        ended.stderr.contains("plan.yaml -> ") && ended.stderr.contains("b.yaml -> "),
        "{}",
        ended.stderr
    );
    let inner = world.drydock("runs show r-on").with_exit(0).stdout;
    assert!(inner.contains("[plan.circle]"), "{inner}");
    assert_eq!(world.drydock("runs list --format json").with_exit(0).stdout.matches("\"run\":").count(), 2);
    let shown = world.drydock("dry-run plan.yaml").with_exit(11).stdout;
    assert!(shown.contains("cannot succeed: on/on: the plan would run itself: "), "{shown}");
}

#[test]
fn plans_may_not_run_each_other_without_end() {
    let mut world = World::plan(&outer("  on: { uses: plan.run, with: { plan: p1.yaml } }\n"));
    for at in 1..=20 {
        let next = format!("  on: {{ uses: plan.run, with: {{ plan: p{}.yaml }} }}\n", at + 1);
        world = world.write(&format!("p{at}.yaml"), &outer(&next));
    }
    let world = world.write("p21.yaml", HARMLESS);
    let shown = world.drydock("dry-run plan.yaml").with_exit(11).stdout;
    assert!(shown.contains("plans run each other more than 16 deep: "), "{shown}");
}

#[test]
fn each_instance_has_an_inner_run_of_its_own() {
    let says = "drydock: v1\nname: says\nparams: { word: { type: string, required: true } }\nsteps: { it: { uses: flow.set, with: { values: { word: \"{{ params.word }}\" } } } }\noutputs: { word: \"{{ steps.it.outputs.word }}\" }\n";
    let steps = "  each: { uses: plan.run, foreach: \"['a b', 'a_b', 'a/b']\", key: item, with: { plan: says.yaml, params: { word: \"{{ item }}\" } } }\n";
    let world = World::plan(&outer(steps)).write("says.yaml", says);
    world.run().with_exit(0);
    let shown = world.shown();
    for word in ["a b", "a_b", "a/b"] {
        assert_eq!(shown["steps"][format!("each[{word}]")]["outputs"]["word"], word);
    }
}

#[test]
fn an_inner_plan_that_is_done_again_has_a_new_run() {
    let says = "drydock: v1\nname: says\nsteps: { it: { uses: process.run, with: { argv: [sh, -c, 'echo said >> ledger'] } } }\n";
    let steps = "  first: { uses: plan.run, with: { plan: says.yaml } }\n";
    let world = World::plan(&outer(steps)).write("says.yaml", says);
    world.run().with_exit(0);
    world.drydock("resume r --redo first").with_exit(0);
    assert_eq!(world.text("ledger"), "said\nsaid\n");
    assert!(world.path(".drydock/r-first").exists() && world.path(".drydock/r-first-2").exists());
}

#[test]
fn an_inner_run_goes_on_with_what_was_accepted_and_not_with_what_comes_too_late() {
    let inner = "drydock: v1\nname: inner\nsteps:\n  done: { uses: process.run, with: { argv: [sh, -c, 'echo done >> ledger'] } }\n  bad: { uses: flow.fail, needs: [done], with: { message: alas } }\n";
    let steps = "  all: { uses: plan.run, with: { plan: inner.yaml } }\n";
    let world = World::plan(&outer(steps)).write("inner.yaml", inner);
    world.run().with_exit(20).says("inner failed at bad: alas");
    let world = world.write("inner.yaml", &inner.replace("echo done", "echo other"));
    world
        .drydock("resume r --accept-changes")
        .with_exit(20)
        .says("the inner run r-all cannot go on: done has succeeded, and the step is changed:")
        .says("[plan.changed]");
    let world = world.write(
        "inner.yaml",
        &inner.replace("uses: flow.fail", "uses: flow.set").replace("message: alas", "values: {}"),
    );
    world.drydock("resume r --accept-changes").with_exit(0);
    assert_eq!(world.text("ledger"), "done\n");
    assert_eq!(world.drydock("runs check r-all").with_exit(0).stdout, "run r-all: sound\n");
}
