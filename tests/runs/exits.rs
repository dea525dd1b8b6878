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
    world.drydock("practice --sqlserver absent.json").with_exit(2).says("cannot read ");
    let world = world.write("old.json", r#"{ "edition": "Express" }"#);
    world.drydock("practice --sqlserver old.json").with_exit(2).says("unknown field `edition`");
    world.run().with_exit(0);
    world.run().with_exit(12).says("run r is there already");
}

#[test]
fn bad_values_of_the_test_variables_are_usage() {
    let world = World::plan(&one("{ uses: flow.noop }")).with("DRYDOCK_CRASH_AT", "soon");
    world.run().with_exit(2).says("write N, N.before, N.torn or N.after");
}

#[test]
fn an_ignored_failure_is_a_warning_wherever_the_run_is_told_about() {
    let plan = "drydock: v1\nname: p\nsteps:\n  fence: { uses: flow.fail, on_failure: ignore, with: { message: it is dead already } }\n  go: { uses: flow.noop, needs: [fence] }\nfinally:\n  tell: { uses: flow.set, with: { values: { text: '{{ run.summary }}' } } }\n";
    let warning = "fence failed and was ignored: it is dead already";
    let summary = format!("p succeeded; 2 succeeded; warning: {warning}");
    let world = World::plan(plan);
    let ended = world.run().with_exit(0).says(&format!("warning: {warning}"));
    assert_eq!(ended.stderr.lines().last(), Some(&*summary), "the last line");
    let shown = world.shown();
    assert_eq!(
        (&shown["status"], &shown["steps"]["fence"]["status"]),
        (&"succeeded".into(), &"failed".into())
    );
    assert_eq!((&shown["summary"], &shown["warnings"][0]), (&summary.clone().into(), &warning.into()));
    assert_eq!(
        shown["steps"]["tell"]["outputs"]["text"],
        format!("p succeeded; 1 succeeded; warning: {warning}")
    );
    let text = world.drydock("runs show r").with_exit(0).stdout;
    assert!(
        text.contains(&format!("  warning: {warning}\n")) && text.ends_with(&format!("{summary}\n")),
        "{text}"
    );
    let list = world.drydock("runs list").with_exit(0).stdout;
    assert!(list.ends_with("p in -, 1 warning\n"), "{list}");
    // Who wants little still hears of it, and so do programs, in the last line.
    let ended = world.drydock("run plan.yaml --quiet").with_exit(0);
    assert!(ended.stderr.contains(&format!("warning: {warning}\n")), "{}", ended.stderr);
    let events = world.drydock("run plan.yaml --format json").with_exit(0).stdout;
    let last: serde_json::Value = serde_json::from_str(events.lines().last().unwrap()).unwrap();
    assert_eq!((&last["event"], &last["summary"]), (&"run_ended".into(), &summary.into()));
    assert_eq!(last["warnings"], serde_json::json!([warning]));
}

#[test]
fn a_code_is_explained_whether_it_is_a_number_or_words() {
    let world = World::plan("");
    let said = |code: &str| world.drydock(&format!("explain {code}")).with_exit(0).stdout;
    assert!(
        said("DD217").starts_with("DD217: outputs may be missing\n\nAn expression reads"),
        "{}",
        said("DD217")
    );
    assert_eq!(said("dd217"), said("DD217"));
    let text = said("target.unbound");
    assert!(
        text.starts_with("target.unbound: target without a server\n\nA step works on a target"),
        "{text}"
    );
    assert!(text.ends_with("\nWhat to do: give an environment that binds it: `-e FILE`.\n"), "{text}");
    // A number of the server finds what its table says of it.
    let text = said("sqlserver.3154");
    assert!(
        text.contains("Its class is **decide**") && text.contains("`replace: true` to destroy it"),
        "{text}"
    );
    assert!(said("sqlserver.50001").contains("A number that is not listed fails the step"));
    let shown = world.drydock("explain http.status --format json").with_exit(0).stdout;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        (&shown["code"], &shown["title"]),
        (&"http.status".into(), &"answer with another status".into())
    );
    assert!(shown["remedy"].as_str().unwrap().contains("expect_status"), "{shown}");
    for (wrong, help) in [
        ("htpt.status", "did you mean `http.status`?"),
        ("DD2O3", "did you mean `DD203`?"),
        ("target.unbond", "did you mean `target.unbound`?"),
        ("nonsense", "codes look like DD203, http.status or sqlserver.3201"),
    ] {
        world
            .drydock(&format!("explain {wrong}"))
            .with_exit(2)
            .says(&format!("there is no code `{wrong}`"))
            .says(help);
    }
}
