//! What the end of pg_receivewal means: [`meaning`], by its last words.

use drydock_step::{ChildEnd, StepError};

use super::program_end::{ended_badly, last_words};

/// How streaming goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It is tried again; why, in words.
    Again(String),
    /// WAL that is needed is gone at the server.
    Gap(String),
    /// It stays broken.
    Broken(StepError),
}

/// Words after which WAL is gone, and with it the way on.
const GONE: [&str; 3] = ["has already been removed", "can no longer", "has been invalidated"];
/// Words of a disk.
const DISK: [&str; 4] =
    ["No space left", "could not write to file", "could not fsync file", "could not create directory"];
/// Words of a server that lets nobody in with these settings, whenever it is asked.
const SHUT: [&str; 5] = [
    "authentication failed",
    "no pg_hba.conf entry",
    "must be superuser or replication role",
    "permission denied",
    "wal_level",
];
/// Words of a connection or a server that may do better next time.
const PASSING: [&str; 8] = [
    "connection to server",
    "server closed the connection",
    "could not receive data",
    "could not send",
    "unexpected termination of replication stream",
    "terminating connection",
    "is active for PID",
    "max_wal_senders",
];

/// What an end means that nobody asked for.
pub(super) fn meaning(end: &ChildEnd) -> Meaning {
    let says = |words: &[&str]| words.iter().any(|words| end.stderr.contains(words));
    let slot_is_gone = end.stderr.contains("replication slot") && end.stderr.contains("does not exist");
    if says(&GONE) || slot_is_gone {
        return Meaning::Gap(last_words(&end.stderr));
    }
    if says(&DISK) {
        let message = format!("pg_receivewal cannot write its spool: {}", last_words(&end.stderr));
        return Meaning::Broken(StepError::new("postgres.wal_spool", message).help(
            "free some space on the runner, then resume: the slot keeps the WAL at the server meanwhile",
        ));
    }
    let error = ended_badly("pg_receivewal", end);
    if says(&SHUT) {
        return Meaning::Broken(error.help(
            "the role needs REPLICATION, a `replication` line in pg_hba.conf, and a server with wal_level = replica",
        ));
    }
    // Whoever has ended it from outside did not say that streaming shall end.
    match end.code {
        None | Some(0) => Meaning::Again(error.message),
        _ if says(&PASSING) => Meaning::Again(error.message),
        _ => Meaning::Broken(
            error.help("its words say why; what is in the spool stays there, and the slot keeps the rest"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_words_say_how_it_goes_on() {
        let check = |code: Option<i32>, stderr: &str, expected: &str| {
            let end =
                ChildEnd { code, signal: None, stdout: Vec::new(), truncated: false, stderr: stderr.into() };
            let found = match meaning(&end) {
                Meaning::Again(_) => "again".to_owned(),
                Meaning::Gap(_) => "gap".to_owned(),
                Meaning::Broken(error) => error.code,
            };
            assert_eq!(found, expected, "{stderr}");
        };
        let program = "pg_receivewal: error: ";
        check(None, "", "again");
        check(Some(0), "", "again");
        check(
            Some(1),
            &format!("{program}connection to server at \"127.0.0.1\", port 1 failed: Connection refused"),
            "again",
        );
        check(
            Some(1),
            &format!(
                "{program}could not send replication command \"START_REPLICATION\": ERROR:  requested WAL segment 000000010000000000000003 has already been removed"
            ),
            "gap",
        );
        check(
            Some(1),
            &format!(
                "{program}could not send replication command \"START_REPLICATION\": ERROR:  replication slot \"s\" does not exist"
            ),
            "gap",
        );
        check(
            Some(1),
            &format!(
                "{program}could not send replication command \"START_REPLICATION\": ERROR:  replication slot \"s\" is active for PID 12"
            ),
            "again",
        );
        check(
            Some(1),
            &format!("{program}could not write to file \"x\": No space left on device"),
            "postgres.wal_spool",
        );
        check(
            Some(1),
            &format!(
                "{program}connection to server at \"127.0.0.1\" failed: FATAL:  password authentication failed"
            ),
            "postgres.program",
        );
        check(Some(1), "something new", "postgres.program");
    }
}
