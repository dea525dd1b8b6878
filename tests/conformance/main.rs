//! The conformance suite of step kinds: every kind that writes is killed when begun, while acting, and when done but not journalled; after
//! a resume each of its effects is there once, and its outputs are those of a run that nobody killed. Unknown is accepted from `process.run`
//! and `http.request` alone.
//!
//! The program itself runs as a process against practice servers that are a process of their own, so that a kill is a real one. Effects
//! are counted on the servers' side of the wire, in their ledger, which real servers do not keep: the suite always needs the practice
//! servers (and a real PostgreSQL, for which there is none), whatever `DRYDOCK_TEST_SQLSERVER` and `DRYDOCK_TEST_QDRANT` name.
//!
//! A new kind adds one function that gives its [`case::Case`]; without one `the_suite_has_every_kind` fails.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

/// Makes the tests of cases; each is a function that gives its [`case::Case`].
macro_rules! cases {
    ($($case:ident)*) => {
        /// All of them.
        pub(crate) fn all() -> Vec<crate::case::Case> {
            vec![$($case()),*]
        }

        mod killed {
            $(#[test]
            fn $case() {
                crate::trial::hold(&super::$case());
            })*
        }
    };
}

#[path = "../runs/world.rs"]
#[allow(dead_code, reason = "the runs use all of it")]
mod world;
#[path = "../../steps/tests/support/postgres.rs"]
mod postgres_server;
mod postgres_world;
mod practice;
mod masked;
mod case;
mod effects;
mod trial;
mod sqlserver;
mod qdrant;
mod postgres;
mod postgres_cuts;
mod points;
mod artifacts;
mod runner;
mod readers;
mod coverage;
