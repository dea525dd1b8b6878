//! `drydock`: the composition root.
fn main() {}
