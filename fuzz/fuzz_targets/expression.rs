//! `checks/expression.rs`, of bytes that are made up.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, unreachable_pub, reason = "each target asks one of them")]
#[path = "../checks/mod.rs"]
mod checks;

fuzz_target!(|bytes: &[u8]| checks::expression::check(bytes));
