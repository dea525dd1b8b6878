//! `drydock init`: what it writes runs at once, and nothing that is there is touched.

use serde_json::Value;

use crate::world::World;

#[test]
fn what_is_begun_with_runs_at_once_and_overwrites_nothing() {
    let world = World::plan("");
    let told = world.drydock("init begun").with_exit(0);
    assert!(told.stdout.contains("cd begun") && told.stdout.contains("plans/first.yaml "), "{}", told.stdout);
    let bound = "begun/plans/first.yaml -e begun/environments/local.yaml";
    assert_eq!(
        world.drydock(&format!("check {bound}")).with_exit(0).stdout,
        "1 file checked, nothing wrong\n"
    );
    world.drydock("check begun/plans/first.yaml begun/environments/local.yaml --format github").with_exit(0);
    world.drydock(&format!("dry-run {bound}")).with_exit(0);
    assert!(!world.path("begun/backups").exists(), "a dry run has written");
    world.drydock(&format!("run {bound} --run-id first")).with_exit(0);
    let shown: Value =
        serde_json::from_str(&world.drydock("runs show first --format json").with_exit(0).stdout).unwrap();
    assert_eq!(shown["outputs"]["bytes"], 42, "{shown}");
    let kept = world.text("begun/backups/files/first/hello.txt");
    assert_eq!(kept, world.text("begun/data/hello.txt"));
    // The schemas that editors read are those of this build.
    for (of, file) in [("plan", "plan"), ("environment", "environment")] {
        let schema = world.drydock(&format!("schema {of}")).with_exit(0).stdout;
        assert_eq!(world.text(&format!("begun/schemas/{file}.schema.json")), schema);
    }

    std::fs::remove_file(world.path("begun/plans/first.yaml")).unwrap();
    world
        .drydock("init begun")
        .with_exit(2)
        .says("begun has environments/local.yaml, data/hello.txt, ")
        .says("already, and nothing was written");
    assert!(!world.path("begun/plans/first.yaml").exists());
}
