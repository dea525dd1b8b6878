//! Statements about restores and the tokens that answer them, one by one.
//!
//! With `DRYDOCK_TEST_SQLSERVER`, an ADO connection string of an administrator, the same statements are sent to that server, which must take
//! connections without encryption. A login `drydock` is made there, and databases whose names begin with `dd_`; what they are restored from
//! lies in the server's own backup folder.

mod sqlserver_support;

use sqlserver_support::raw::Raw;
use sqlserver_support::{Conn, Subject, one, run};

/// A server with backups of a database in it.
struct Ground {
    subject: Subject,
    conn: Conn,
    raw: Raw,
    backup: String,
    data: String,
    log: String,
}

const DATABASES: [&str; 4] = ["dd_shop", "dd_copy", "dd_other", "dd_simple"];

impl Ground {
    async fn new() -> Self {
        let subject = Subject::new().await;
        let mut conn = subject.connect().await;
        if !subject.is_practice() {
            run(&mut conn, "IF SUSER_ID(N'drydock') IS NULL CREATE LOGIN [drydock] WITH PASSWORD = N'Harbour-7', CHECK_POLICY = OFF").await;
            run(&mut conn, "ALTER SERVER ROLE [sysadmin] ADD MEMBER [drydock]").await;
        }
        let raw = Raw::open(subject.address()).await;
        let mut ground =
            Self { subject, conn, raw, backup: String::new(), data: String::new(), log: String::new() };
        ground.backup = ground.folder("InstanceDefaultBackupPath").await;
        ground.data = ground.folder("InstanceDefaultDataPath").await;
        ground.log = ground.folder("InstanceDefaultLogPath").await;
        ground.drop_all().await;
        ground.fill().await;
        ground
    }

    async fn folder(&mut self, property: &str) -> String {
        let sql = format!("SELECT CAST(SERVERPROPERTY(N'{property}') AS nvarchar(260)) AS folder");
        let folder = one(&mut self.conn, &sql).await;
        let separator = if folder.contains('\\') { '\\' } else { '/' };
        format!("{}{separator}", folder.trim_end_matches(separator))
    }

    async fn drop_all(&mut self) {
        for name in DATABASES {
            let drop = format!("IF DB_ID(N'{name}') IS NOT NULL DROP DATABASE [{name}]");
            run(&mut self.conn, &drop).await;
        }
    }

    fn disk(&self, name: &str) -> String {
        format!("DISK = N'{}dd_tokens_{name}'", self.backup)
    }

    /// MOVE of both files of the shop.
    fn moved(&self, to: &str) -> String {
        format!("MOVE N'dd_shop' TO N'{}{to}.mdf', MOVE N'dd_shop_log' TO N'{}{to}.ldf'", self.data, self.log)
    }

    /// A full, a differential, a log with a mark, a log; another database and one without a log.
    async fn fill(&mut self) {
        run(&mut self.conn, "CREATE DATABASE dd_shop").await;
        run(&mut self.conn, "ALTER DATABASE dd_shop SET RECOVERY FULL").await;
        run(&mut self.conn, "CREATE TABLE dd_shop.dbo.t (id int NOT NULL)").await;
        let statements = [
            format!("BACKUP DATABASE dd_shop TO {} WITH FORMAT", self.disk("full.bak")),
            "INSERT INTO dd_shop.dbo.t VALUES (1)".into(),
            format!("BACKUP LOG dd_shop TO {} WITH FORMAT", self.disk("log1.trn")),
            "BEGIN TRANSACTION dd_mark WITH MARK N'here'; INSERT INTO dd_shop.dbo.t VALUES (2); COMMIT TRANSACTION dd_mark".into(),
            "INSERT INTO dd_shop.dbo.t VALUES (3)".into(),
            format!("BACKUP LOG dd_shop TO {} WITH FORMAT", self.disk("log2.trn")),
            format!("BACKUP DATABASE dd_shop TO {} WITH FORMAT, DIFFERENTIAL", self.disk("diff.bak")),
            format!("BACKUP DATABASE dd_shop TO {} WITH FORMAT", self.disk("second.bak")),
            format!("BACKUP DATABASE dd_shop TO {} WITH FORMAT, DIFFERENTIAL", self.disk("of_second.bak")),
            "CREATE DATABASE dd_other".into(),
            "CREATE DATABASE dd_simple".into(),
            "ALTER DATABASE dd_simple SET RECOVERY SIMPLE".into(),
            format!("BACKUP DATABASE dd_simple TO {} WITH FORMAT", self.disk("simple.bak")),
        ];
        for sql in &statements {
            run(&mut self.conn, sql).await;
        }
    }

    async fn check(&mut self, sql: &str, expected: &[&str]) {
        let found = self.raw.ask(sql).await;
        assert_eq!(found, expected, "{sql}");
    }

    /// A statement that is refused: the causes, then 3013.
    async fn refused(&mut self, sql: &str, causes: &[&str]) {
        let mut expected: Vec<String> =
            causes.iter().map(|cause| format!("ERROR {cause} class 16")).collect();
        expected.extend(["ERROR 3013 state 1 class 16".into(), "DONE 0x02 229 0".into()]);
        let found = self.raw.ask(sql).await;
        assert_eq!(found, expected, "{sql}");
    }

    async fn one(&mut self, sql: &str) -> String {
        one(&mut self.conn, sql).await
    }
}

const RESTORED: [&str; 6] = [
    "INFO 4035 state 1 class 0",
    "DONE 0x01 229 0",
    "INFO 4035 state 1 class 0",
    "DONE 0x01 229 0",
    "INFO 3014 state 1 class 0",
    "DONE 0x00 229 0",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_cannot_begin_says_why_and_then_3013() {
    let mut ground = Ground::new().await;
    let (full, log1, diff, simple) = (
        ground.disk("full.bak"),
        ground.disk("log1.trn"),
        ground.disk("diff.bak"),
        ground.disk("simple.bak"),
    );
    let (absent, copy) = (ground.disk("absent.bak"), ground.moved("dd_copy"));
    let nowhere = format!(
        "MOVE N'dd_shop' TO N'{}nowhere_at_all/x.mdf', MOVE N'dd_shop_log' TO N'{}dd_copy.ldf'",
        ground.data, ground.log
    );
    let one_place = format!(
        "MOVE N'dd_shop' TO N'{0}dd_copy.mdf', MOVE N'dd_shop_log' TO N'{0}dd_copy.mdf'",
        ground.data
    );
    for (sql, causes) in [
        (format!("RESTORE DATABASE dd_copy FROM {absent}"), &["3201 state 2"][..]),
        (format!("RESTORE DATABASE dd_copy FROM {full} WITH FILE = 3"), &["3287 state 1"]),
        (
            format!("RESTORE DATABASE dd_copy FROM {full} WITH MOVE N'x' TO N'{}x'", ground.data),
            &["3234 state 2"],
        ),
        (
            format!("RESTORE DATABASE dd_copy FROM {full}"),
            &["1834 state 1", "3156 state 4", "1834 state 1", "3156 state 4", "3119 state 1"],
        ),
        (format!("RESTORE DATABASE dd_other FROM {full} WITH {copy}"), &["3154 state 4"]),
        (format!("RESTORE LOG dd_shop FROM {log1}"), &["3117 state 1"]),
        (format!("RESTORE LOG dd_copy FROM {log1}"), &["3118 state 1"]),
        (format!("RESTORE DATABASE dd_copy FROM {diff}"), &["3118 state 1"]),
        (format!("RESTORE LOG dd_shop FROM {full}"), &["3135 state 1"]),
        (format!("RESTORE DATABASE dd_copy FROM {full} WITH CHECKSUM, {copy}"), &["3187 state 1"]),
        (
            format!("RESTORE DATABASE dd_simple FROM {simple} WITH REPLACE, STOPAT = '2099-01-01T00:00:00'"),
            &["3145 state 1"],
        ),
        (
            format!("RESTORE DATABASE dd_copy FROM {full} WITH NORECOVERY, KEEP_CDC, {copy}"),
            &["3031 state 1"],
        ),
        (
            format!("RESTORE DATABASE dd_copy FROM {full} WITH NORECOVERY, KEEP_REPLICATION, {copy}"),
            &["3031 state 1"],
        ),
        ("RESTORE DATABASE dd_shop WITH RECOVERY".into(), &["3153 state 1"]),
        (
            format!("RESTORE DATABASE dd_copy FROM {full} WITH STOPATMARK = 'lsn:x', {copy}"),
            &["4334 state 1"],
        ),
    ] {
        ground.refused(&sql, causes).await;
    }
    if ground.subject.is_practice() {
        // How a real server words these is not known to the last token.
        ground
            .refused(
                &format!("RESTORE DATABASE dd_copy FROM {full} WITH {nowhere}"),
                &["5133 state 1", "3156 state 4", "3119 state 1"],
            )
            .await;
        ground
            .refused(
                &format!("RESTORE DATABASE dd_copy FROM {full} WITH {one_place}"),
                &["3176 state 1", "3119 state 1"],
            )
            .await;
        ground.refused("RESTORE DATABASE dd_shop WITH RECOVERY, CHECKSUM", &["3032 state 1"]).await;
        ground
            .refused(
                &format!("RESTORE DATABASE dd_copy FROM {full} WITH STANDBY = N'u', RESTRICTED_USER, {copy}"),
                &["3031 state 1"],
            )
            .await;
    }
    ground.drop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tail_of_a_living_database_is_guarded() {
    let mut ground = Ground::new().await;
    run(&mut ground.conn, "INSERT INTO dd_shop.dbo.t VALUES (9)").await;
    let full = ground.disk("second.bak");
    ground.refused(&format!("RESTORE DATABASE dd_shop FROM {full}"), &["3159 state 1"]).await;
    let beyond =
        format!("RESTORE DATABASE dd_shop FROM {full} WITH NORECOVERY, STOPAT = '2099-01-01T00:00:00'");
    ground.refused(&beyond, &["3173 state 1"]).await;
    ground.check(&format!("RESTORE DATABASE dd_shop FROM {full} WITH REPLACE"), &RESTORED).await;
    ground.drop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sets_follow_one_another_or_are_refused() {
    let mut ground = Ground::new().await;
    let copy = ground.moved("dd_copy");
    let (full, log1, log2) = (ground.disk("full.bak"), ground.disk("log1.trn"), ground.disk("log2.trn"));
    ground.check(&format!("RESTORE DATABASE dd_copy FROM {full} WITH NORECOVERY, {copy}"), &RESTORED).await;
    ground.check("USE dd_copy", &["ERROR 927 state 1 class 14", "DONE 0x02 226 0"]).await;
    if ground.subject.is_practice() {
        // That the second error follows the first is not known of a real server.
        let refused = ["ERROR 5052 state 1 class 16", "ERROR 5069 state 1 class 16", "DONE 0x02 215 0"];
        ground.check("ALTER DATABASE dd_copy SET SINGLE_USER", &refused).await;
    }
    ground.refused(&format!("RESTORE LOG dd_copy FROM {log2} WITH NORECOVERY"), &["4305 state 1"]).await;
    let of_second = ground.disk("of_second.bak");
    ground
        .refused(&format!("RESTORE DATABASE dd_copy FROM {of_second} WITH NORECOVERY"), &["3136 state 1"])
        .await;
    ground.check(&format!("RESTORE LOG dd_copy FROM {log1} WITH NORECOVERY"), &RESTORED).await;
    let redo = ground.one("SELECT MIN(redo_start_lsn) FROM sys.master_files WHERE database_id = DB_ID(N'dd_copy') AND type = 0").await;
    let last = ground.one("SELECT MAX(last_lsn) FROM msdb.dbo.backupset WHERE database_name = N'dd_shop' AND type = 'L' AND first_lsn < (SELECT MAX(first_lsn) FROM msdb.dbo.backupset WHERE database_name = N'dd_shop' AND type = 'L')").await;
    assert_eq!(redo, last, "the database stands where the log leads");
    ground.refused(&format!("RESTORE LOG dd_copy FROM {log1} WITH NORECOVERY"), &["4326 state 1"]).await;
    ground
        .refused(
            &format!("RESTORE LOG dd_copy FROM {log2} WITH NORECOVERY, STOPAT = '2001-01-01T00:00:00'"),
            &["4335 state 1"],
        )
        .await;
    let lsn = ground.one("SELECT MAX(lsn) FROM msdb.dbo.logmarkhistory WHERE database_name = N'dd_shop' AND mark_name = N'dd_mark'").await;
    ground
        .check(
            &format!("RESTORE LOG dd_copy FROM {log2} WITH NORECOVERY, STOPATMARK = N'lsn:{lsn}'"),
            &RESTORED,
        )
        .await;
    let history = "SELECT TOP (1) restore_type FROM msdb.dbo.restorehistory WHERE destination_database_name = N'dd_copy' ORDER BY restore_history_id DESC";
    assert_eq!(ground.one(history).await.trim(), "L");
    ground
        .check(
            "RESTORE DATABASE dd_copy WITH RECOVERY, RESTRICTED_USER",
            &["INFO 3014 state 1 class 0", "DONE 0x00 229 0"],
        )
        .await;
    assert_eq!(ground.one("SELECT MAX(id) FROM dd_copy.dbo.t").await, "2");
    let access = "SELECT user_access_desc FROM sys.databases WHERE name = N'dd_copy'";
    assert_eq!(ground.one(access).await, "RESTRICTED_USER");
    ground.drop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_is_left_out_or_not_in_the_log() {
    let mut ground = Ground::new().await;
    let copy = ground.moved("dd_copy");
    let (full, log1, log2) = (ground.disk("full.bak"), ground.disk("log1.trn"), ground.disk("log2.trn"));
    for (stop, expected) in
        [("STOPBEFOREMARK = N'dd_mark'", "1"), ("STOPATMARK = N'dd_mark' AFTER '2001-01-01T00:00:00'", "2")]
    {
        run(
            &mut ground.conn,
            &format!("RESTORE DATABASE dd_copy FROM {full} WITH NORECOVERY, REPLACE, {copy}"),
        )
        .await;
        run(&mut ground.conn, &format!("RESTORE LOG dd_copy FROM {log1} WITH NORECOVERY")).await;
        run(&mut ground.conn, &format!("RESTORE LOG dd_copy FROM {log2} WITH RECOVERY, {stop}")).await;
        assert_eq!(ground.one("SELECT MAX(id) FROM dd_copy.dbo.t").await, expected, "{stop}");
    }
    run(&mut ground.conn, &format!("RESTORE DATABASE dd_copy FROM {full} WITH NORECOVERY, REPLACE, {copy}"))
        .await;
    let absent = format!("RESTORE LOG dd_copy FROM {log1} WITH RECOVERY, STOPATMARK = N'dd_mark'");
    if ground.subject.is_practice() {
        let expected = [
            "INFO 4329 state 1 class 0",
            "DONE 0x01 229 0",
            "INFO 4035 state 1 class 0",
            "DONE 0x01 229 0",
            "INFO 4035 state 1 class 0",
            "DONE 0x01 229 0",
            "INFO 3014 state 1 class 0",
            "DONE 0x00 229 0",
        ];
        ground.check(&absent, &expected).await;
    } else {
        run(&mut ground.conn, &absent).await;
    }
    let state = "SELECT state_desc FROM sys.databases WHERE name = N'dd_copy'";
    assert_eq!(ground.one(state).await, "RESTORING", "the mark is not in that log, and no error says so");
    ground.drop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_read_between_two_logs_and_a_name_is_given_away() {
    let mut ground = Ground::new().await;
    let copy = ground.moved("dd_copy");
    let (full, log1) = (ground.disk("full.bak"), ground.disk("log1.trn"));
    let undo = format!("{}dd_copy.tuf", ground.data);
    run(&mut ground.conn, &format!("RESTORE DATABASE dd_copy FROM {full} WITH STANDBY = N'{undo}', {copy}"))
        .await;
    let shown = "SELECT state_desc + N' ' + CAST(is_in_standby AS nvarchar(1)) + N' ' + CAST(is_read_only AS nvarchar(1)) FROM sys.databases WHERE name = N'dd_copy'";
    assert_eq!(ground.one(shown).await, "ONLINE 1 1");
    assert_eq!(ground.one("SELECT COUNT(*) FROM dd_copy.dbo.t").await, "0");
    run(&mut ground.conn, &format!("RESTORE LOG dd_copy FROM {log1} WITH NORECOVERY")).await;
    run(&mut ground.conn, "RESTORE DATABASE dd_copy WITH RECOVERY").await;
    assert_eq!(ground.one("SELECT MAX(id) FROM dd_copy.dbo.t").await, "1");
    if ground.subject.is_practice() {
        let refused = ["ERROR 1801 state 1 class 16", "ERROR 5069 state 1 class 16", "DONE 0x02 215 0"];
        ground.check("ALTER DATABASE dd_copy MODIFY NAME = dd_shop", &refused).await;
    }
    run(&mut ground.conn, "DROP DATABASE dd_other").await;
    run(&mut ground.conn, "ALTER DATABASE dd_copy MODIFY NAME = dd_other").await;
    assert_eq!(ground.one("SELECT MAX(id) FROM dd_other.dbo.t").await, "1");
    ground.drop_all().await;
}
