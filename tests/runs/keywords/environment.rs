//! The keys of an environment.

use super::keyword::{Keyword, Stage};
use super::server::Server;

keywords! { drydock environment description protected targets params }

/// A plan that reads a parameter, under an environment with this in it.
fn with(text: &str) -> Keyword {
    Keyword::of_plan(
        "params: { who: { type: string, default: nobody } }",
        &["it: { needs: [gate], uses: flow.set, with: { values: { who: '{{ params.who }}' } } }"],
    )
    .environment(text)
}

/// The version of the language. An environment of another one is refused wherever it is read.
fn drydock() -> Keyword {
    with("params: { who: you }")
        .refuses("v1\nenvironment", "v2\nenvironment", "DD206", "v2")
        .dry("/steps/1/actions/0/text", "set who = \"you\"")
        .shows("/steps/it/outputs/who", "you")
}

/// Runs of one plan in two environments have nothing to do with each other.
fn environment() -> Keyword {
    with("params: { who: you }")
        .refuses("environment: practice", "environment: ''", "DD204", "must not be empty")
        .dry_alike("environment: practice", "environment: production")
        .shows("/environment", "practice")
        .tried_by(Stage::Resume, |keyword| {
            let world = keyword.world(&Server::start(), None).write("open", "");
            let other = world.text("env.yaml").replace("practice", "production");
            let world = world.write("other.yaml", &other);
            crash(&world, "-e env.yaml");
            world.drydock("run plan.yaml --run-id r2 -e other.yaml").with_exit(0);
            world.drydock("run plan.yaml --run-id r3 -e env.yaml").with_exit(12).says("drydock resume r");
            world.drydock("resume r").with_exit(0);
            assert_eq!(world.shown()["environment"], "practice");
        })
}

fn crash(world: &crate::world::World, flags: &str) {
    let mut command = world.command(&format!("run plan.yaml --run-id r {flags}"));
    assert_eq!(crate::world::ended(command.env("DRYDOCK_CRASH_AT", "2.after")).code, None);
}

/// Words for people: nothing is done with them, but a run in an environment with other words is another one.
fn description() -> Keyword {
    with("description: For people.\nparams: { who: you }")
        .refuses("For people.", "{}", "DD204", "text")
        .dry_alike("description: For people.\n", "")
        .run_alike("description: For people.\n", "")
        .tried_by(Stage::Resume, |keyword| {
            let world = keyword.world(&Server::start(), None);
            world.drydock("run plan.yaml --run-id r -e env.yaml").with_exit(20);
            let text = world.text("env.yaml").replace("For people.", "For others.");
            let world = world.write("env.yaml", &text).write("open", "");
            world.drydock("resume r").with_exit(12).says("+description: For others.");
            world.drydock("resume r --accept-changes").with_exit(0);
        })
}

/// What destroys something wants the server's own name, once: when the run begins.
fn protected() -> Keyword {
    Keyword::of_plan(
        "targets: { vectors: qdrant, backups: artifacts }",
        &["it: { needs: [gate], uses: qdrant.recover, target: vectors, with: { from: backups, collection: agent_7, snapshot: { collection: agent_7, points: [1, 1], params: {}, snapshots: [] } } }"],
    )
    .environment(
        "protected: true\ntargets: { vectors: { kind: qdrant, nodes: ['http://SERVER'] }, backups: { kind: artifacts, url: store } }",
    )
    .refuses("protected: true", "protected: perhaps", "DD204", "true or false")
    .dry("/destroys/0/resource", "collection agent_7")
    .dry_alike("protected: true", "protected: false")
    .tried_by(Stage::Run, |keyword| {
        let server = Server::start();
        // The snapshot is nowhere: a look ahead would say so.
        let run = "run plan.yaml --run-id r -e env.yaml --no-preflight";
        let world = keyword.world(&server, None);
        let ended = world.drydock(run).with_exit(12).says("this run would destroy collection agent_7 (by it)");
        ended.says("--confirm 127.0.0.1");
        world.drydock(&format!("{run} --confirm localhost")).with_exit(12).says("--confirm 127.0.0.1");
        assert!(!world.path(".drydock/r").exists());
        world.drydock(&format!("{run} --confirm 127.0.0.1")).with_exit(20).says("gate failed");
        keyword.world(&server, Some(("protected: true\n", ""))).drydock(run).with_exit(20).says("gate failed");
    })
    .tried_by(Stage::Resume, |keyword| {
        let world = keyword.world(&Server::start(), None);
        world.drydock("run plan.yaml --run-id r -e env.yaml --no-preflight --confirm 127.0.0.1").with_exit(20).says("gate failed");
        world.drydock("resume r").with_exit(20).says("gate failed");
    })
}

fn targets() -> Keyword {
    Keyword::of_plan(
        "targets: { api: http }",
        &["it: { needs: [gate], uses: http.request, target: api, with: { method: GET, path: /x } }"],
    )
    .environment("targets: { api: { kind: http, url: 'http://SERVER/here' } }")
    .refuses("api: { kind: http, url", "app: { kind: http, url", "DD402", "api")
    .dry("/steps/1/actions/0/target", "api")
    .shows("/steps/it/outputs/json/path", "/here/x")
}

/// A value for every plan that declares the parameter; what other plans declare is passed over.
fn params() -> Keyword {
    with("params: { who: you, of_another_plan: 7 }")
        .refuses("who: you", "who: [you]", "DD414", "text")
        .dry("/steps/1/actions/0/text", "set who = \"you\"")
        .shows("/steps/it/outputs/who", "you")
}
