//! What a step's needs mean for it: order, failures that stop, continue or are ignored, and who is blocked or cancelled by them.

use crate::plans::{finally, plan, step};
use crate::world::{World, permanent};

#[test]
fn steps_run_when_what_they_need_has_ended_well() {
    World::new(plan([step("c").needs(&["a", "b"]), step("a"), step("b").needs(&["a"])]))
        .run()
        .expect("c succeeded, a succeeded, b succeeded -> 0")
        .expect_started("a/1 b/1 c/1");
}

#[test]
fn a_failure_stops_the_run() {
    World::new(
        plan([step("a"), step("b").needs(&["a"]), step("c").needs(&["b"]), step("d")]).max_parallel(1),
    )
    .fails("a", permanent("x"))
    .run()
    .expect("a failed, b blocked, c blocked, d cancelled -> 20")
    .expect_error("a", "x", "it broke: x")
    .expect_why("b", "it needs a, which failed")
    .expect_why("c", "it needs b, which was blocked")
    .expect_why("d", "a failed");
}

#[test]
fn what_runs_when_a_step_fails_runs_to_its_end() {
    World::new(plan([step("a"), step("b"), step("c").needs(&["b"]), finally("f")]))
        .fails("a", permanent("x"))
        .takes("b", 50)
        .run()
        .expect("a failed, b succeeded, c cancelled, f succeeded -> 20")
        .expect_started("a/1 b/1 f/1");
}
