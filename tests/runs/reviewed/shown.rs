//! How a dry run is shown: as a page, as JSON, briefly, and against another one.

use std::process::Command;

use serde_json::Value;

use crate::world::World;

const PLAN: &str = "drydock: v1
name: p
targets: { here: artifacts }
steps:
  first: { uses: process.run, with: { argv: [echo, \"<script>alert(1)</script>\"] } }
  second: { uses: process.run, needs: [first], with: { argv: [echo, two] } }
  aside: { uses: flow.noop, needs: [first] }
finally:
  tidy: { uses: flow.noop }
";

fn world() -> World {
    let world = World::plan(PLAN).write(
        "e.yaml",
        "drydock: v1\nenvironment: e\ntargets: { here: { kind: artifacts, url: ./store } }\n",
    );
    std::fs::create_dir(world.path("store")).unwrap();
    world
}

/// A repository in the user's folder, with everything that is there committed.
fn committed(world: &World) {
    for arguments in [
        "init -q -b main",
        "add plan.yaml e.yaml",
        "-c user.name=a -c user.email=a@b -c commit.gpgsign=false commit -q -m plans",
    ] {
        let git = Command::new("git").args(arguments.split(' ')).current_dir(world.path("")).status();
        assert!(git.unwrap().success(), "{arguments}");
    }
}

#[test]
fn a_page_needs_nothing_else_and_runs_nothing_of_a_plan() {
    let page = world().drydock("dry-run plan.yaml -e e.yaml --format html").with_exit(0).stdout;
    for there in [
        "<title>Dry run of p</title>",
        "<p>4 steps would run. Nothing was changed.</p>",
        "<svg xmlns=",
        "<p class=\"place\">after first; beside aside</p>",
        "<p class=\"place\">after all others, whatever became of them</p>",
        "echo &#39;&lt;script&gt;alert(1)&lt;/script&gt;&#39;",
    ] {
        assert!(page.contains(there), "{there} is not in\n{page}");
    }
    let mentions = page.replace("http://www.w3.org/2000/svg", "");
    for outside in ["<script", "http://", "https://", "src=", "href=", "url("] {
        assert!(!mentions.contains(outside), "{outside} is in\n{page}");
    }
}

#[test]
fn what_is_asked_for_briefly_is_the_first_screen() {
    let brief = world().drydock("dry-run plan.yaml -e e.yaml -q").with_exit(0).stdout;
    assert_eq!(
        brief,
        "dry run of p: 4 steps would run. Nothing was changed.\n  writes on the runner: something that is known during the run (by first, second)\n"
    );
}

#[test]
fn what_is_otherwise_than_in_a_saved_one_or_in_a_revision_is_said() {
    let world = world();
    committed(&world);
    world.drydock("dry-run plan.yaml -e e.yaml --out base.json").with_exit(0);
    let before = world.every_file();
    for with in ["base.json", "main", "HEAD"] {
        let same =
            world.drydock(&format!("dry-run plan.yaml -e e.yaml --against {with}")).with_exit(0).stdout;
        assert!(same.contains(&format!("\nNo change against {with}.\n")), "{same}");
    }
    assert_eq!(world.every_file(), before, "comparing leaves nothing behind");
    let changed = PLAN
        .replace("argv: [echo, two]", "argv: [echo, three]")
        .replace("  aside: { uses: flow.noop, needs: [first] }\n", "")
        .replace(
            "finally:",
            "  new: { uses: process.run, needs: [second], with: { argv: [rm, x] } }\nfinally:",
        );
    std::fs::write(world.path("plan.yaml"), changed).unwrap();
    for with in ["base.json", "main"] {
        let ask = format!("dry-run plan.yaml -e e.yaml --against {with}");
        let shown = world.drydock(&ask).with_exit(0).stdout;
        let expected = format!(
            "\n4 changes against {with}:\n  writes\n    + something that is known during the run, by new\n  second\n    - echo two\n    + echo three\n  \
             aside\n    - flow.noop runs after first\n    - do nothing\n  new\n    + process.run runs after second\n    + rm x\n"
        );
        assert!(shown.contains(&expected), "{expected} is not in\n{shown}");
        let shown = world.drydock(&format!("{ask} --format markdown")).with_exit(0).stdout;
        assert!(shown.contains("\n`second`\n\n```diff\n- echo two\n+ echo three\n```\n"), "{shown}");
        let shown = world.drydock(&format!("{ask} --format html")).with_exit(0).stdout;
        assert!(shown.contains("<span class=\"was\">- echo two</span>"), "{shown}");
        let shown = world.drydock(&format!("{ask} --format json")).with_exit(0).stdout;
        let shown: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(shown["against"]["changes"][1]["is"], "echo three");
    }
    std::fs::write(world.path("other.yaml"), PLAN).unwrap();
    let new = world.drydock("dry-run other.yaml -e e.yaml --against main").with_exit(0).stdout;
    assert!(
        new.contains("1 change against main:\n  plan\n    + 4 steps would run. Nothing was changed.\n"),
        "{new}"
    );
    let refused = world.drydock("dry-run plan.yaml -e e.yaml --against nowhere").with_exit(2);
    refused
        .says("--against: there is no file nowhere, and no such revision of git")
        .says("help: give a dry run");
}
