//! The keys at the top of a plan.

use serde_json::json;

use super::keyword::{Keyword, Stage};
use super::server::Server;

keywords! { drydock name purpose description params targets objectives max_parallel on_unfinished steps finally outputs }

const NOOP: &[&str] = &["it: { needs: [gate], uses: flow.noop }"];

/// The version of the language. A plan of another one is refused wherever it is read.
fn drydock() -> Keyword {
    Keyword::of_plan("", NOOP)
        .refuses("drydock: v1", "drydock: v2", "DD206", "v2")
        .refuses("drydock: v1\n", "", "DD203", "`drydock`")
        .dry("/steps/1/runs", "yes")
        .shows("/steps/it/status", "succeeded")
}

fn name() -> Keyword {
    Keyword::of_plan(
        "",
        &["it: { needs: [gate], uses: flow.set, with: { values: { plan: '{{ run.plan }}' } } }"],
    )
    .refuses("name: p", "name: my-plan", "DD205", "my-plan")
    .dry("/steps/1/actions/0/text", "set plan = \"p\"")
    .shows("/plan", "p")
    .shows("/steps/it/outputs/plan", "p")
}

fn purpose() -> Keyword {
    Keyword::of_plan(
        "purpose: backup",
        &["it: { needs: [gate], uses: flow.set, with: { values: { purpose: '{{ run.purpose }}' } } }"],
    )
    .refuses("purpose: backup", "purpose: back up", "DD207", "`backup`")
    .dry("/steps/1/actions/0/text", "set purpose = \"backup\"")
    .shows("/steps/it/outputs/purpose", "backup")
}

/// Words for people: nothing is done with them, but a run whose plan has other words is another plan's.
fn description() -> Keyword {
    Keyword::of_plan("description: For people.", NOOP)
        .refuses("description: For people.", "description: 7", "DD204", "text")
        .dry_alike("description: For people.\n", "")
        .run_alike("description: For people.\n", "")
        .tried_by(Stage::Resume, |keyword| {
            let world = keyword.world(&Server::start(), None);
            world.run().with_exit(20);
            let text = world.text("plan.yaml").replace("For people.", "For others.");
            let world = world.write("plan.yaml", &text).write("open", "");
            world.drydock("resume r").with_exit(12).says("+description: For others.");
            world.drydock("resume r --accept-changes").with_exit(0);
        })
}

/// A second sitting takes no new values: what the run was started with stays.
fn params() -> Keyword {
    Keyword::of_plan(
        "params: { who: { type: string } }",
        &["it: { needs: [gate], uses: flow.set, with: { values: { who: '{{ params.who }}' } } }"],
    )
    .flags("-p who=you")
    .refuses("params: { who: { type: string } }\n", "", "DD412", "who")
    .refuses("-p who=you", "-p whom=you", "DD412", "did you mean `who`?")
    .dry("/steps/1/actions/0/text", "set who = \"you\"")
    .shows("/steps/it/outputs/who", "you")
}

fn targets() -> Keyword {
    Keyword::of_plan(
        "targets: { api: http }",
        &["it: { needs: [gate], uses: http.request, target: api, with: { method: GET, path: /here } }"],
    )
    .environment("targets: { api: { kind: http, url: 'http://SERVER' } }")
    .refuses("targets: { api: http }", "targets: { api: htpp }", "DD401", "did you mean `http`?")
    .dry("/steps/1/actions/0/target", "api")
    .shows("/steps/it/outputs/status", 200)
}

fn objectives() -> Keyword {
    Keyword::of_plan(
        "purpose: restore\nobjectives: { rto: 1ms }",
        &["it: { needs: [gate], uses: flow.wait, with: { for: 10ms } }"],
    )
    .refuses("objectives: { rto: 1ms }", "objectives: 1ms", "DD204", "mapping")
    .dry_alike("\nobjectives: { rto: 1ms }", "")
    .shows("/status", "succeeded")
    .warns("longer than the recovery time objective of 1ms")
}

fn max_parallel() -> Keyword {
    Keyword::of_plan(
        "max_parallel: 2",
        &[
            "it: { needs: [gate], foreach: '[1, 2, 3, 4]', uses: flow.noop }",
            "other: { needs: [gate], uses: flow.noop }",
        ],
    )
    .refuses("max_parallel: 2", "max_parallel: many", "DD204", "at least 1")
    .dry_alike("max_parallel: 2", "max_parallel: 3")
    .at_once(2)
}

/// What `run` does about a run that died; who resumes that one himself has decided.
fn on_unfinished() -> Keyword {
    Keyword::of_plan("on_unfinished: resume", NOOP)
        .refuses("on_unfinished: resume", "on_unfinished: ignore", "DD207", "`abandon`")
        .dry_alike("on_unfinished: resume", "on_unfinished: abandon")
        .tried_by(Stage::Run, |keyword| {
            let server = Server::start();
            for (answer, exit, status) in
                [("resume", 0, "succeeded"), ("abandon", 0, "abandoned"), ("refuse", 12, "running")]
            {
                let world = keyword
                    .world(&server, Some(("on_unfinished: resume", edit_to(answer))))
                    .write("open", "");
                assert_eq!(world.run_crashing("2.after").code, None);
                world.drydock("run plan.yaml --run-id r2").with_exit(exit);
                assert_eq!(world.shown()["status"], status, "{answer}");
                assert_eq!(world.path(".drydock/r2").exists(), answer == "abandon", "{answer}");
            }
        })
        .tried_by(Stage::Resume, |keyword| {
            let world = keyword
                .world(&Server::start(), Some(("on_unfinished: resume", "on_unfinished: abandon")))
                .write("open", "");
            assert_eq!(world.run_crashing("2.after").code, None);
            world.drydock("resume r").with_exit(0);
            assert_eq!(world.shown()["status"], "succeeded");
        })
}

fn edit_to(answer: &str) -> &'static str {
    match answer {
        "abandon" => "on_unfinished: abandon",
        "refuse" => "on_unfinished: refuse",
        _ => "on_unfinished: resume",
    }
}

fn steps() -> Keyword {
    Keyword::of_plan("", &["it: { needs: [gate], uses: process.run, with: { argv: [touch, made] } }"])
        .refuses("steps:", "stops:", "DD201", "did you mean `steps`?")
        .dry("/steps/1/id", "it")
        .before("/steps/it/attempts", json!([]))
        .shows("/steps/it/status", "succeeded")
        .writes("made", "")
}

/// Its steps run at the end of every sitting: once in one, twice in two.
fn finally() -> Keyword {
    Keyword::of_plan("", NOOP)
        .finally("tidy: { uses: process.run, with: { argv: [sh, -c, 'echo {{ run.status }} >> ledger'] } }")
        .refuses("finally:", "finaly:", "DD202", "did you mean `finally`?")
        .dry("/steps/2/id", "tidy")
        .writes("ledger", "succeeded\n")
        .tried_by(Stage::Resume, |keyword| {
            let world = keyword.world(&Server::start(), None);
            world.run().with_exit(20);
            let world = world.write("open", "");
            world.drydock("resume r").with_exit(0);
            assert_eq!(world.text("ledger"), "failed\nsucceeded\n");
        })
}

fn outputs() -> Keyword {
    Keyword::of_plan("outputs: { code: '{{ steps.gate.outputs.exit_code }}' }", NOOP)
        .refuses("steps.gate", "steps.gat", "DD212", "did you mean `gate`?")
        .dry_alike("outputs: { code: '{{ steps.gate.outputs.exit_code }}' }\n", "")
        .shows("/outputs", json!({ "code": 0 }))
        .tells(json!({ "code": 0 }))
}
