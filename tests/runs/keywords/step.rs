//! The keys of a step.

use serde_json::json;

use super::keyword::{Keyword, Stage};
use super::server::Server;
use crate::world::{World, ended};

keywords! { uses target with needs when foreach key max_parallel retry timeout validate on_failure on_unknown outputs undoes description }

fn uses() -> Keyword {
    Keyword::of_step("uses: flow.set, with: { values: { n: 1 } }")
        .refuses("uses: flow.set", "uses: flow.sett", "DD501", "there is no kind `flow.sett`")
        .dry("/steps/1/uses", "flow.set")
        .shows("/steps/it/uses", "flow.set")
        .shows("/steps/it/outputs/n", 1)
}

/// Two targets at one server; each has a path of its own.
fn target() -> Keyword {
    Keyword::of_plan("targets: { one: http, two: http }", &["it: { needs: [gate], uses: http.request, target: two, with: { method: GET, path: /here } }", "other: { needs: [gate], uses: target.ping, target: one }"])
        .environment("targets: { one: { kind: http, url: 'http://SERVER/one' }, two: { kind: http, url: 'http://SERVER/two' } }")
        .refuses("http.request, target: two", "http.request, target: too", "DD504", "did you mean")
        .dry("/steps/1/actions/0/target", "two")
        .shows("/steps/it/outputs/json/path", "/two/here")
}

fn with() -> Keyword {
    Keyword::of_step("uses: process.run, with: { argv: [sh, -c, 'echo done >> ledger'] }")
        .refuses("argv", "arg", "DD507", "did you mean `argv`?")
        .dry("/steps/1/actions/0/text", "sh -c 'echo done >> ledger'")
        .writes("ledger", "done\n")
}

fn needs() -> Keyword {
    Keyword::of_step("uses: flow.set, with: { values: { code: '{{ steps.gate.outputs.exit_code }}' } }")
        .refuses("needs: [gate]", "needs: [gat]", "DD212", "did you mean `gate`?")
        .refuses("needs: [gate], ", "", "DD216", "needs")
        .dry("/steps/1/unknown", json!(["gate"]))
        .before("/steps/it/status", "blocked")
        .before("/steps/it/why", "it needs gate, which failed")
        .shows("/steps/it/outputs/code", 0)
}

fn when() -> Keyword {
    Keyword::of_plan("", &["it: { needs: [gate], when: steps.gate.outputs.exit_code == 1, uses: flow.fail, with: { message: no } }", "never: { when: 'false', uses: flow.fail, with: { message: no } }"])
        .refuses("when: steps", "when: stops", "DD307", "stops")
        .dry("/steps/1/runs", "unknown")
        .dry("/steps/2/runs", "no")
        .dry("/steps/2/why", "`when` is false: false")
        .shows("/steps/it/status", "skipped")
        .shows("/steps/never/status", "skipped")
}

fn foreach() -> Keyword {
    Keyword::of_step("foreach: \"['x', 'y']\", uses: flow.set, with: { values: { it: '{{ item }}' } }")
        .refuses("foreach: \"['x', 'y']\"", "foreach: '3'", "DD221", "list")
        .dry("/steps/1/id", "it[x]")
        .dry("/steps/2/actions/0/text", "set it = \"y\"")
        .shows("/steps/it[y]/outputs/it", "y")
        .shows("/steps/it/outputs/0/key", "x")
}

fn key() -> Keyword {
    Keyword::of_step("foreach: '[{\"k\": \"x\"}, {\"k\": \"y\"}]', key: item.k, uses: flow.noop")
        .refuses("key: item.k", "key: itm.k", "DD307", "itm")
        .dry("/steps/2/id", "it[y]")
        .shows("/steps/it[y]/status", "succeeded")
}

fn max_parallel() -> Keyword {
    Keyword::of_step("foreach: '[1, 2, 3, 4]', max_parallel: 2, uses: flow.noop")
        .refuses("max_parallel: 2", "max_parallel: 0", "DD204", "at least 1")
        .dry_alike("max_parallel: 2", "max_parallel: 1")
        .at_once(2)
}

fn retry() -> Keyword {
    Keyword::of_step("retry: { attempts: 3, errors: any }, uses: process.run, with: { argv: [sh, -c, 'echo try >> ledger; test $(wc -l < ledger) -ge 3'] }")
        .refuses("{ attempts: 3, errors: any }", "3", "DD204", "mapping")
        .dry_alike("retry: { attempts: 3, errors: any }, ", "")
        .writes("ledger", "try\ntry\ntry\n")
        .shows("/steps/it/attempts/2/outcome", "succeeded")
}

fn timeout() -> Keyword {
    Keyword::of_step("timeout: 50ms, uses: flow.wait, with: { for: 10m }")
        .refuses("timeout: 50ms", "timeout: soon", "DD204", "`soon` is not a duration")
        .dry_alike("timeout: 50ms, ", "")
        .exit(20)
        .shows("/steps/it/error/code", "timeout")
        .shows("/steps/it/error/message", "it took longer than its timeout of 50ms")
}

fn validate() -> Keyword {
    Keyword::of_step("uses: flow.set, with: { values: { n: 1 } }, validate: [{ name: n is two, assert: outputs.n == 2 }, { name: it lists, uses: process.run, with: { argv: [ls], effect: reads }, assert: result.exit_code == 0 }]")
        .refuses("validate: [{ name: n is two,", "validate: [{", "DD203", "name")
        .dry("/steps/1/actions/1/text", "ls")
        .exit(21)
        .shows("/steps/it/validations/0", json!({ "name": "n is two", "expected": "2", "found": "1", "ok": false }))
        .shows("/steps/it/error/code", "validation")
}

fn on_failure() -> Keyword {
    Keyword::of_plan(
        "",
        &[
            "ignored: { needs: [gate], uses: flow.fail, on_failure: ignore, with: { message: as planned } }",
            "goes_on: { needs: [ignored], uses: flow.fail, on_failure: continue, with: { message: alas } }",
            "blocked: { needs: [goes_on], uses: flow.noop }",
            "other: { needs: [gate], uses: flow.wait, with: { for: 50ms } }",
        ],
    )
    .refuses("on_failure: continue", "on_failure: proceed", "DD207", "continue")
    .dry_alike("on_failure: continue", "on_failure: stop")
    .exit(20)
    .shows("/warnings/0", "ignored failed and was ignored: as planned")
    .shows("/steps/blocked/why", "it needs goes_on, which failed")
    .shows("/steps/other/status", "succeeded")
}

/// The first answer never comes, and nobody can say whether the request was done: that is settled unasked.
fn on_unknown() -> Keyword {
    Keyword::of_plan("targets: { api: http }", &["it: { needs: [gate], on_unknown: done, uses: http.request, target: api, with: { method: POST, path: /cut } }"])
        .environment("targets: { api: { kind: http, url: 'http://SERVER' } }")
        .refuses("on_unknown: done", "on_unknown: maybe", "DD207", "ask")
        .dry_alike("on_unknown: done", "on_unknown: ask")
        .shows("/steps/it/status", "succeeded")
        .tried_by(Stage::Resume, |_| {
            let plan = "drydock: v1\nname: p\nsteps:\n  it: { on_unknown: ANSWER, uses: process.run, with: { argv: [sh, -c, 'echo it >> ledger'] } }\n";
            for (answer, exit, effects) in [("redo", 0, "it\nit\n"), ("done", 0, "it\n"), ("ask", 24, "it\n")] {
                let world = World::plan(&plan.replace("ANSWER", answer));
                // The program has worked, and the journal does not say so.
                assert_eq!(world.run_crashing("2.before").code, None);
                world.drydock("resume r").with_exit(exit);
                assert_eq!(world.text("ledger"), effects, "{answer}");
            }
        })
}

fn outputs() -> Keyword {
    Keyword::of_plan("", &["it: { needs: [gate], uses: flow.set, with: { values: { n: 2 } }, outputs: { twice: '{{ outputs.n * 2 }}' } }", "next: { needs: [it], uses: flow.set, with: { values: { got: '{{ steps.it.outputs.twice }}' } } }"])
        .refuses("outputs.n * 2", "outputs.m * 2", "DD219", "`m`")
        .dry("/steps/2/actions/0/text", "set got = 4")
        .shows("/steps/next/outputs/got", 4)
        .shows("/steps/it/outputs/twice", 4)
}

/// What `finally` has undone is done again by the next sitting, and not within this one.
fn undoes() -> Keyword {
    Keyword::of_plan(
        "",
        &[
            "pause: { uses: process.run, with: { argv: [sh, -c, 'echo pause >> ledger'] } }",
            "it: { needs: [pause, gate], uses: flow.noop }",
        ],
    )
    .finally(
        "unpause: { undoes: [pause], uses: process.run, with: { argv: [sh, -c, 'echo unpause >> ledger'] } }",
    )
    .refuses("undoes: [pause]", "undoes: [paws]", "DD212", "paws")
    .dry_alike("undoes: [pause], ", "")
    .writes("ledger", "pause\nunpause\n")
    .shows("/steps/pause/status", "succeeded")
    .tried_by(Stage::Resume, |keyword| {
        let server = Server::start();
        for (without, done) in [
            (None, "pause\nunpause\npause\nunpause\n"),
            (Some(("undoes: [pause], ", "")), "pause\nunpause\nunpause\n"),
        ] {
            let world = keyword.world(&server, without);
            world.run().with_exit(20);
            let world = world.write("open", "");
            world.drydock("resume r").with_exit(0);
            assert_eq!(world.text("ledger"), done);
        }
    })
}

/// Words for people: nothing is done with them, but a run whose plan has other words is another plan's.
fn description() -> Keyword {
    Keyword::of_step("description: For people., uses: flow.noop")
        .refuses("description: For people.", "description: [a]", "DD204", "text")
        .dry_alike("description: For people., ", "")
        .run_alike("description: For people., ", "")
        .tried_by(Stage::Resume, |keyword| {
            let server = Server::start();
            let world = keyword.world(&server, None);
            world.run().with_exit(20);
            let text = world.text("plan.yaml").replace("For people.", "For others.");
            let world = world.write("plan.yaml", &text).write("open", "");
            ended(&mut world.command("resume r")).with_exit(12).says("For others.");
            world.drydock("resume r --accept-changes").with_exit(0);
        })
}
