//! What is found of artifacts before a run begins; and that what a step before makes is no reason not to.

use crate::world::World;

const ENVIRONMENT: &str = "drydock: v1\nenvironment: e\ntargets:\n  here: { kind: artifacts, url: ./here }\n  there: { kind: artifacts, url: ./there }\n";

fn plan(steps: &str) -> String {
    format!("drydock: v1\nname: p\ntargets: {{ here: artifacts, there: artifacts }}\nsteps:\n{steps}")
}

fn world(steps: &str) -> World {
    let world = World::plan(&plan(steps)).write("e.yaml", ENVIRONMENT);
    std::fs::create_dir_all(world.path("here")).unwrap();
    world.write("here/a", "hello")
}

#[test]
fn what_cannot_be_placed_is_known_before_the_first_step() {
    let steps = "  first: { uses: process.run, with: { argv: [touch, begun] } }
  place: { uses: artifact.place, target: here, with: { artifacts: [a, b], folder: no/folder } }
";
    let world = world(steps);
    let refused = world.drydock("run plan.yaml -e e.yaml --run-id r").with_exit(11);
    let refused = refused.says("place: the folder ").says("nor is the folder above it there [artifact.io]");
    assert!(!refused.stderr.contains("no artifact b"), "what is asked first says enough: {}", refused.stderr);
    assert!(!world.path("begun").exists() && !world.path(".drydock/r").exists());
    std::fs::create_dir(world.path("no")).unwrap();
    let shown = world.drydock("dry-run plan.yaml -e e.yaml --probe").with_exit(11).stdout;
    assert!(shown.contains("there is no artifact b"), "{shown}");
}

#[test]
fn a_folder_that_a_step_before_makes_is_waited_for() {
    let steps = "  make: { uses: process.run, with: { argv: [mkdir, -p, made/by] } }
  write: { uses: process.run, needs: [make], with: { argv: [cp, here/a, made/c] } }
  place: { uses: artifact.place, target: here, needs: [make], with: { artifacts: [a], folder: made/by/now } }
  collect: { uses: artifact.collect, target: there, needs: [write], with: { folder: made, files: [c], prefix: in } }
";
    let world = world(steps);
    let shown = world.drydock("dry-run plan.yaml -e e.yaml --probe").with_exit(0);
    assert!(shown.stdout.contains("unless a step before it changes that"), "{}", shown.stdout);
    world.drydock("run plan.yaml -e e.yaml --run-id r").with_exit(0);
    assert_eq!((world.text("made/by/now/a").as_str(), world.text("there/in/c").as_str()), ("hello", "hello"));
}

#[test]
fn a_run_is_forced_past_what_is_found_and_fails_for_that_very_reason() {
    let steps = "  place: { uses: artifact.place, target: here, with: { artifacts: [a, b], folder: new } }\n";
    let world = world(steps);
    let run = "run plan.yaml -e e.yaml --run-id r";
    let way_on =
        "`--force-past artifact.absent` starts it all the same, and `--no-preflight` without having asked";
    world.drydock(run).with_exit(11).says("place: there is no artifact b [artifact.absent]").says(way_on);
    let other = "--force-past artifact.io,artifact.exists --force-past sqlserver.3169";
    world.drydock(&format!("{run} {other}")).with_exit(11).says("[artifact.absent]");

    let forced = world.drydock(&format!("{run} -v --force-past artifact.absent")).with_exit(20);
    let forced = forced.says("warning: forced past: place: there is no artifact b [artifact.absent]");
    let said = format!("{}{}", forced.stdout, forced.stderr);
    assert!(said.contains("place: forced past: there is no artifact b [artifact.absent]"), "{said}");
    let shown = world.shown();
    assert_eq!(shown["steps"]["place"]["error"]["code"], "artifact.absent");
    assert_eq!(shown["forced_past"], serde_json::json!(["artifact.absent"]));
    let shown = world.drydock("runs show r").with_exit(0).stdout;
    assert!(shown.ends_with("  forced past findings of artifact.absent\n"), "{shown}");

    // A resume is forced past the same.
    let resumed = world.drydock("resume r -v").with_exit(20);
    let said = format!("{}{}", resumed.stdout, resumed.stderr);
    assert!(said.contains("place: forced past: there is no artifact b [artifact.absent]"), "{said}");
    let world = world.write("here/b", "there now");
    world.drydock("resume r").with_exit(0);
}

#[test]
fn a_code_that_no_finding_has_is_named_with_the_nearest() {
    let world = world("  first: { uses: process.run, with: { argv: [touch, begun] } }\n");
    let run = "run plan.yaml -e e.yaml --force-past";
    world
        .drydock(&format!("{run} artifact.absnt"))
        .with_exit(2)
        .says("--force-past: no finding has the code `artifact.absnt`")
        .says("did you mean `artifact.absent`?");
    world
        .drydock(&format!("{run} everything-at-all"))
        .with_exit(2)
        .says("a finding shows its code in brackets");
    assert!(!world.path("begun").exists());
    world.drydock(&format!("{run} SQLSERVER.3169,postgres.42P01")).with_exit(0);
}
