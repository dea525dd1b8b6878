//! Every key of the language at every stage: the tests that the reference of keywords names. A file a mapping, a function a key.

/// Makes the tests of keys; each key is a function that gives its [`keyword::Keyword`].
macro_rules! keywords {
    ($($key:ident)*) => {
        $(mod $key {
            #[test]
            fn check() {
                super::$key().check();
            }

            #[test]
            fn dry_run() {
                super::$key().dry_run();
            }

            #[test]
            fn run() {
                super::$key().run();
            }

            #[test]
            fn resume() {
                super::$key().resume();
            }
        })*
    };
}

pub(crate) mod server;
mod keyword;
mod plan;
mod param;
mod objectives;
mod step;
mod retry;
mod validation;
mod environment;
mod target;
mod requests;
mod request;
mod expect;
mod claim;
