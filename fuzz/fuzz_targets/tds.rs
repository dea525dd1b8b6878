//! `checks/tds.rs`, of bytes that are made up.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../checks/tds.rs"]
mod tds;

fuzz_target!(|bytes: &[u8]| tds::check(bytes));
