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
