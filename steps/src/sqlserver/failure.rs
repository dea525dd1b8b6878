//! What the server or the wire says when it fails, as a [`StepError`]: what it means and what to do ([`Failure`]).

use drydock_step::StepError;
use tiberius::error::{Error, IoErrorKind};

use super::told_statement::told;

/// Whether a lost answer leaves something unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// It only reads: ask again.
    Reads,
    /// It changes something: nobody knows whether it did.
    Writes,
}

/// How a run goes on after an error of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reaction {
    /// It may pass by itself.
    Wait,
    /// Somebody has to decide.
    Decide,
    /// These backups do not follow one another like this.
    Replan,
    /// The file is bad.
    BadMedia,
    /// The server's surroundings have to be put right.
    Surroundings,
    /// The login may not.
    Permission,
    /// The statement was cut off in the middle.
    Unclear,
}

/// The errors that are known, each with what to do. The numbers and texts are those of sys.messages.
const KNOWN: &[(&[u32], Reaction, &str)] = &[
    (&[921, 922, 952], Reaction::Wait, "the database is still being recovered; try again in a moment"),
    (&[1205], Reaction::Wait, "it was chosen as the victim of a deadlock; try again"),
    (&[1222, 5061], Reaction::Wait, "somebody else holds a lock on it; see sys.dm_tran_locks"),
    (
        &[3023],
        Reaction::Wait,
        "another backup or file operation runs on this database; see sys.dm_exec_requests",
    ),
    (&[3101], Reaction::Wait, "sessions are still in the database; see sys.dm_exec_sessions"),
    (&[40197, 40501, 40613, 49918, 49919, 49920], Reaction::Wait, "the service is busy or moving; try again"),
    (
        &[3154],
        Reaction::Decide,
        "the database of that name is another one; restore `into:` another name, or say `replace: true` to destroy it",
    ),
    (&[3159, 3173], Reaction::Decide, "back up the tail of its log first, or say `replace: true` to lose it"),
    (
        &[3141, 3142, 1834],
        Reaction::Decide,
        "give the file another place with `move`, or restore `into:` another name",
    ),
    (&[1801], Reaction::Decide, "choose another name, or drop the database first"),
    (
        &[9772],
        Reaction::Decide,
        "another database of this server delivers under the same broker identity: say `broker: new` to give this one its own",
    ),
    (&[923, 924], Reaction::Wait, "the database is closed to most users; `sqlserver.open` lets everybody in"),
    (
        &[3104],
        Reaction::Decide,
        "take the database out of its availability group or mirroring first, and join it again afterwards",
    ),
    (
        &[3117, 3118],
        Reaction::Replan,
        "the database is not waiting for further backups; begin again with the full backup",
    ),
    (&[3120, 4326], Reaction::Replan, "the database is already past this backup; it is not needed"),
    (
        &[3136],
        Reaction::Replan,
        "the differential builds on another full backup; take the one that `differential_base_guid` names",
    ),
    (
        &[4305, 4312, 4303, 4318],
        Reaction::Replan,
        "a log backup is missing between these; `drydock chain` names the gap",
    ),
    (
        &[4330, 4331],
        Reaction::Replan,
        "the backups come from different recovery forks; see `recovery_fork_id`",
    ),
    (
        &[4335, 4338, 4334, 4322, 4329],
        Reaction::Replan,
        "the point lies outside of these backups; `drydock chain --at` says what is reachable",
    ),
    (
        &[3145],
        Reaction::Replan,
        "a database in the SIMPLE model has no points in time; restore the whole backup",
    ),
    (&[4327, 4341], Reaction::Replan, "this log has minimally logged changes and can only be restored whole"),
    (
        &[3132, 3231, 3227],
        Reaction::Replan,
        "the set is striped over several files; give all of them in one `media`",
    ),
    (
        &[3234],
        Reaction::Replan,
        "`move` names a logical file that the backup has not; RESTORE FILELISTONLY shows them",
    ),
    (&[3287], Reaction::Replan, "the file has no backup set at that position; RESTORE HEADERONLY shows them"),
    (
        &[4208],
        Reaction::Replan,
        "log backups need the FULL recovery model: ALTER DATABASE … SET RECOVERY FULL, then a full backup",
    ),
    (&[4214, 3035], Reaction::Replan, "take a full backup first"),
    (
        &[3143, 3183, 3186, 3189, 3203, 3208, 3241, 3242, 3254, 3255, 3256],
        Reaction::BadMedia,
        "the backup file is bad, cut off, or made by a newer server; take another copy of it, or an older chain",
    ),
    (
        &[3182],
        Reaction::BadMedia,
        "the database was damaged when this backup was taken, and so is every copy of it; take an older chain",
    ),
    (&[3187], Reaction::BadMedia, "the backup was made without checksums; restore it with `checksum: false`"),
    (
        &[3043],
        Reaction::BadMedia,
        "the database itself is damaged: DBCC CHECKDB shows where; keep the last good backup",
    ),
    (
        &[3201, 18204],
        Reaction::Surroundings,
        "the path is on the server and opened by its service account: does it exist, may that account use it, does `sees` name it right?",
    ),
    (
        &[3202, 3271, 18210, 3257, 112],
        Reaction::Surroundings,
        "free space on the server's volume, or choose another folder",
    ),
    (
        &[5133, 5120, 5123, 3156, 3119, 3176, 4353],
        Reaction::Surroundings,
        "a database file cannot be made where it should lie; give it another place with `move`",
    ),
    (
        &[1827],
        Reaction::Surroundings,
        "this edition opens no database of that size; restore it on another edition",
    ),
    (
        &[3170],
        Reaction::Surroundings,
        "`standby` names an absolute path in a folder that the server's service account may write",
    ),
    (
        &[1844],
        Reaction::Surroundings,
        "this edition of the server cannot do it; leave the option out (`compression: false`)",
    ),
    (
        &[3169, 948],
        Reaction::Surroundings,
        "the backup comes from a newer server; restore it on that version or a newer one",
    ),
    (
        &[33111],
        Reaction::Surroundings,
        "restore the certificate with its private key into `master` first: `sqlserver.certificate` with `from`",
    ),
    (
        &[208],
        Reaction::Surroundings,
        "the object is not there or not visible to the login; plans/octopus/grants.sql makes drydock.marks and grants what is needed",
    ),
    (
        &[15433],
        Reaction::Decide,
        "a login of another name has this SID here; drop that one, or let `sqlserver.adopt` map the users",
    ),
    (
        &[15025, 15028, 14261],
        Reaction::Decide,
        "something of that name is there already, and is left as it is",
    ),
    (
        &[15401, 15404, 15407],
        Reaction::Surroundings,
        "the server's domain knows no such account; join the domain first, or leave its logins out",
    ),
    (
        &[15007, 15010, 15067, 14234, 14262],
        Reaction::Surroundings,
        "it names something that is not on this server: bring back logins, operators and categories before what names them",
    ),
    (
        &[15063],
        Reaction::Decide,
        "the login is that of another user of the database; name another one in `logins`",
    ),
    (
        &[15110],
        Reaction::Decide,
        "the new owner is a user of the database: drop that user first, or name another `owner`",
    ),
    (
        &[15048],
        Reaction::Surroundings,
        "this version of the server does not follow the rules of that one; name a lower `compatibility_level`",
    ),
    (
        &[15406, 15517],
        Reaction::Permission,
        "this login may not put on the other one: GRANT IMPERSONATE ON LOGIN, or give the application's password",
    ),
    (
        &[15151, 33101],
        Reaction::Surroundings,
        "what it names is not on this server, or this login does not see it; `sqlserver.certificate` brings back a certificate, `sqlserver.restore_objects` a login",
    ),
    (
        &[15240],
        Reaction::Surroundings,
        "the server's service account cannot make the file, or it is there already: certificates are never written over",
    ),
    (
        &[15208, 15465, 15466, 15507],
        Reaction::Surroundings,
        "the certificate's files do not fit: is the password the one that they were written with, and do both belong together?",
    ),
    (
        &[15581],
        Reaction::Surroundings,
        "CREATE MASTER KEY in `master` first: it protects the private keys of certificates",
    ),
    (
        &[3288, 3289, 3298],
        Reaction::Surroundings,
        "a URL needs a credential whose name is the container's URL, or the beginning of the bucket's; see sys.credentials",
    ),
    (
        &[3215, 3098, 3266],
        Reaction::Replan,
        "the file holds media that this backup does not fit on; leave `format` and `init` out, so that every backup begins new media",
    ),
    (&[3217], Reaction::Replan, "a size is out of range; leave it out, and the server chooses"),
    (
        &[3218, 3212, 3214],
        Reaction::Surroundings,
        "mirrors need an Enterprise edition, are at most three, and have as many stripes of the same kind as the first copy",
    ),
    (
        &[3059],
        Reaction::Decide,
        "a secondary replica takes only copy-only fulls and log backups; ask the primary, or say `copy_only: true`",
    ),
    (
        &[40510, 41904],
        Reaction::Decide,
        "a managed service makes its own backups; Managed Instance takes copy-only fulls to a URL besides",
    ),
    (&[911], Reaction::Surroundings, "is the name spelled right, and is it this server?"),
    (
        &[927],
        Reaction::Surroundings,
        "the database is in the middle of a restore; finish that, or begin it again",
    ),
    (&[926, 945, 942], Reaction::Surroundings, "the database cannot be opened; see the server's error log"),
    (
        &[229, 230, 262, 300, 297, 916, 3110, 15247],
        Reaction::Permission,
        "the login may not do this; `drydock kinds` lists what each kind needs",
    ),
    (
        &[4060, 18456, 18452, 18470, 18486, 18487, 18488],
        Reaction::Permission,
        "check user, password and database of the target; the server's error log tells the reason that it hides from clients",
    ),
    (
        &[596, 3204, 6005, 6006],
        Reaction::Unclear,
        "the session was ended from outside; what it did is found out next",
    ),
];

/// The failure of a question that came after the work was done: it must not be done again, but asked about.
pub(super) fn after_the_work(error: StepError) -> StepError {
    StepError { transient: false, unknown: true, ..error }
}

/// An error as the server words it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Its number.
    pub(super) number: u32,
    /// Its severity; from 20 on the connection is gone.
    pub(super) class: u8,
    /// Its state.
    pub(super) state: u8,
    /// Its words.
    pub(super) message: String,
    /// The procedure it comes from, or nothing.
    pub(super) procedure: String,
    /// The line of the batch or procedure.
    pub(super) line: u32,
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The server refused it. Of several errors of one answer this is the first, the cause.
    Refused(Refusal),
    /// No whole answer came.
    Lost(String),
    /// The answer took longer than it may.
    TimedOut(std::time::Duration),
    /// What came is not what was asked for.
    Garbled(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Server(token) => Self::Refused(Refusal {
                number: token.code(),
                class: token.class(),
                state: token.state(),
                message: token.message().to_owned(),
                procedure: token.procedure().to_owned(),
                line: token.line(),
            }),
            Error::Io { kind: IoErrorKind::UnexpectedEof, .. } => {
                Self::Lost("the server closed the connection".into())
            }
            Error::Io { message, .. } => Self::Lost(message),
            // The library goes on with advice to programmers.
            Error::Tls(why) => {
                let why = why.split(" To connect anyway").next().unwrap_or_default();
                Self::Lost(format!("the encryption failed: {}", why.trim_end_matches('.')))
            }
            other => Self::Garbled(other.to_string()),
        }
    }
}

impl Failure {
    /// Whether the connection can be used again.
    pub(super) fn leaves_connection(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.class < 20)
    }

    /// The same, with the statement that failed as its detail.
    pub(super) fn of_statement(self, sql: &str, doing: &str, effect: Effect) -> StepError {
        self.while_doing(doing, effect).detail(told(sql))
    }

    /// As the failure of what was being done, such as `BACKUP LOG [OctopusDB]`.
    pub(super) fn while_doing(self, doing: &str, effect: Effect) -> StepError {
        let lost = |why: String| match effect {
            Effect::Reads => StepError::transient("sqlserver.lost", format!("{doing}: {why}")),
            Effect::Writes => StepError::unknown(
                "sqlserver.lost",
                format!("{doing}: {why}; whether the server did it is not known"),
            ),
        };
        match self {
            Self::Refused(refusal) => refusal.while_doing(doing, effect),
            Self::Lost(why) => lost(why),
            Self::TimedOut(limit) => lost(format!("no answer came within {} s", limit.as_secs())),
            Self::Garbled(why) => lost(format!("the answer could not be read: {why}")),
        }
    }
}

impl Refusal {
    /// How a run goes on, and what to do, where the number is known.
    pub(super) fn known(&self) -> Option<(Reaction, &'static str)> {
        let found = KNOWN.iter().find(|(numbers, ..)| numbers.contains(&self.number));
        found.map(|(_, reaction, help)| (*reaction, *help))
    }

    fn while_doing(self, doing: &str, effect: Effect) -> StepError {
        let place = match (self.procedure.as_str(), self.line) {
            ("", 0 | 1) => String::new(),
            ("", line) => format!(", line {line}"),
            (procedure, line) => format!(", line {line} of {procedure}"),
        };
        let words = self.message.trim().trim_end_matches('.');
        let (number, class, state) = (self.number, self.class, self.state);
        let message = format!("{doing}: {words} (error {number}, severity {class}, state {state}{place})");
        let error = StepError::new(format!("sqlserver.{number}"), message);
        let Some((reaction, help)) = self.known() else {
            // A fatal error of the server ends the connection, and perhaps the statement in its middle.
            let unknown = class >= 20 && effect == Effect::Writes;
            return StepError { unknown, ..error };
        };
        StepError {
            transient: reaction == Reaction::Wait
                || (reaction == Reaction::Unclear && effect == Effect::Reads),
            unknown: reaction == Reaction::Unclear && effect == Effect::Writes,
            ..error.help(help)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn refusal(number: u32, class: u8) -> Failure {
        let message = "It is so.".into();
        Failure::Refused(Refusal { number, class, state: 2, message, procedure: String::new(), line: 1 })
    }

    #[test]
    fn each_class_of_error_leads_to_its_reaction() {
        let check = |number: u32, class: u8, effect: Effect, transient: bool, unknown: bool| {
            let error = refusal(number, class).while_doing("BACKUP LOG [X]", effect);
            assert_eq!(error.code, format!("sqlserver.{number}"));
            assert_eq!((error.transient, error.unknown), (transient, unknown), "{number}");
        };
        check(3101, 16, Effect::Writes, true, false);
        check(1205, 13, Effect::Reads, true, false);
        check(3154, 16, Effect::Writes, false, false);
        check(4305, 16, Effect::Writes, false, false);
        check(3241, 16, Effect::Reads, false, false);
        check(3201, 16, Effect::Writes, false, false);
        check(18456, 14, Effect::Reads, false, false);
        check(596, 21, Effect::Writes, false, true);
        check(596, 21, Effect::Reads, true, false);
        check(3204, 16, Effect::Writes, false, true);
        check(824, 24, Effect::Writes, false, true);
        check(824, 24, Effect::Reads, false, false);
        check(102, 15, Effect::Writes, false, false);
    }

    #[test]
    fn messages_tell_all_that_the_server_told() {
        let error = refusal(3201, 16).while_doing("RESTORE DATABASE [X]", Effect::Writes);
        assert_eq!(error.message, "RESTORE DATABASE [X]: It is so (error 3201, severity 16, state 2)");
        assert!(error.help.unwrap().contains("service account"));
        let Failure::Refused(refusal) = refusal(50000, 16) else { unreachable!() };
        let nested = Refusal { procedure: "p".into(), line: 7, ..refusal };
        let error = Failure::Refused(nested).while_doing("a query", Effect::Reads);
        assert!(error.message.ends_with("state 2, line 7 of p)") && error.help.is_none(), "{error}");
    }

    #[test]
    fn a_failed_statement_is_a_detail_of_its_failure() {
        let sql = "CREATE LOGIN [a] WITH PASSWORD = N'Quay-7'";
        let error = refusal(15025, 16).of_statement(sql, "making the login a", Effect::Writes);
        assert_eq!(error.detail.as_deref(), Some("CREATE LOGIN [a] WITH PASSWORD = ***"));
        assert!(!error.message.contains("PASSWORD"), "{error}");
    }

    #[test]
    fn a_lost_answer_is_unknown_only_where_something_was_changed() {
        let eof = || Failure::from(Error::Io { kind: IoErrorKind::UnexpectedEof, message: "x".into() });
        let reads = eof().while_doing("a query", Effect::Reads);
        assert_eq!((reads.code.as_str(), reads.transient, reads.unknown), ("sqlserver.lost", true, false));
        let writes = Failure::TimedOut(Duration::from_secs(60)).while_doing("KILL 51", Effect::Writes);
        assert_eq!((writes.transient, writes.unknown), (false, true));
        assert!(writes.message.contains("no answer came within 60 s"), "{writes}");
        assert!(!eof().leaves_connection() && refusal(3201, 16).leaves_connection());
        assert!(!refusal(596, 21).leaves_connection());
    }

    #[test]
    fn no_error_has_two_meanings() {
        let mut numbers: Vec<u32> = KNOWN.iter().flat_map(|(numbers, ..)| numbers.iter().copied()).collect();
        let all = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), all);
    }
}
