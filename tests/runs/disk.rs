//! A disk that is full for real: the run ends with 13, says so, and is resumed once there is room.

use crate::world::{World, ended, program};

#[test]
#[cfg(unix)]
fn a_journal_that_may_not_grow_ends_the_run_and_is_resumed() {
    let mut plan = "drydock: v1\nname: long\nsteps:\n  s0: { uses: flow.noop }\n".to_owned();
    for n in 1..60 {
        plan.push_str(&format!("  s{n}: {{ uses: flow.noop, needs: [s{}] }}\n", n - 1));
    }
    let world = World::plan(&plan);
    // Files may have 8 blocks of 1,024 bytes; SIGXFSZ is ignored so that the write fails as on a full disk.
    let mut command = std::process::Command::new("bash");
    command.arg("-c").arg(format!("trap '' XFSZ; ulimit -f 8; exec {} run plan.yaml --run-id r", program()));
    command.current_dir(world.path(".")).env("CI", "true");
    let full = ended(&mut command).with_exit(13).says("cannot write");
    assert!(full.stderr.contains("drydock resume r"), "{}", full.stderr);
    let before = world.shown();
    assert_eq!(before["status"], "running");
    world.drydock("resume r").with_exit(0);
    let shown = world.shown();
    assert_eq!(shown["status"], "succeeded");
    let attempts: usize = shown["steps"]
        .as_object()
        .unwrap()
        .values()
        .map(|step| step["attempts"].as_array().unwrap().len())
        .sum();
    assert!((60..=61).contains(&attempts), "{attempts} attempts of 60 steps");
}

#[test]
fn damage_is_told_with_its_place_and_stands_in_the_way_of_resume_alone() {
    let world =
        World::plan("drydock: v1\nname: p\nsteps:\n  a: { uses: flow.fail, with: { message: no } }\n");
    world.run().with_exit(20);
    let path = world.path(".drydock/r/journal.jsonl");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[200] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let checked = world.drydock("runs check r").with_exit(12);
    assert!(checked.stdout.starts_with("run r: damaged at byte "), "{}", checked.stdout);
    world.drydock("resume r").with_exit(12).says("damaged at byte");
    world.drydock("run plan.yaml --run-id r2").with_exit(20);
}
