//! Statements about backups and media, and the tokens that answer them, as captures and the catalogue of messages have them.
//!
//! By default the practice server is asked. With `DRYDOCK_TEST_SQLSERVER` (an ADO connection string, whose server must allow connections
//! without encryption) the same statements go to that server, but for those that plant files or faults, which a real one does not take.

#![allow(clippy::unwrap_used)] // The lints know test functions, not what helps them.

mod sqlserver_support;

use std::path::PathBuf;

use drydock_practice::sqlserver::Installation;
use sqlserver_support::raw::Raw;
use sqlserver_support::{Making, World, connect, one, real_server, run};

/// Who is asked, and where its backups lie.
struct Asked {
    raw: Raw,
    folder: String,
    practice: Option<World>,
}

/// A key of an ADO string.
fn key<'a>(ado: &'a str, names: &[&str]) -> &'a str {
    let pairs = ado.split(';').filter_map(|pair| pair.split_once('='));
    let mut found = pairs.filter(|(name, _)| names.contains(&name.trim().to_lowercase().as_str()));
    found.next().map_or("", |(_, value)| value.trim())
}

impl Asked {
    async fn new() -> Self {
        match real_server() {
            Some(ado) => {
                let address =
                    key(&ado, &["server", "data source"]).trim_start_matches("tcp:").replace(',', ":");
                let (user, password) =
                    (key(&ado, &["user id", "uid", "user"]), key(&ado, &["password", "pwd"]));
                let mut conn = connect(tiberius::Config::from_ado_string(&ado).unwrap()).await.unwrap();
                run(&mut conn, "DROP DATABASE IF EXISTS shop").await;
                let path = "SELECT CAST(SERVERPROPERTY('InstanceDefaultBackupPath') AS nvarchar(260))";
                let folder = one(&mut conn, path).await;
                run(&mut conn, "CREATE DATABASE shop").await;
                run(&mut conn, "ALTER DATABASE shop SET RECOVERY FULL").await;
                Self { raw: Raw::open_as(&address, user, password).await, folder, practice: None }
            }
            None => Self::practice(Making::default()).await,
        }
    }

    async fn practice(making: Making) -> Self {
        let world = World::made(making).await;
        run(&mut world.connect().await, "CREATE DATABASE shop").await;
        let folder = world.media_path("").display().to_string().trim_end_matches('/').to_owned();
        Self { raw: Raw::open(world.server.addr()).await, folder, practice: Some(world) }
    }

    /// A device for T-SQL.
    fn disk(&self, name: &str) -> String {
        format!("DISK = N'{}/dd_tokens_{name}'", self.folder)
    }

    /// The same as a path of this machine.
    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("{}/dd_tokens_{name}", self.folder))
    }

    #[track_caller]
    fn check<'a>(&'a mut self, sql: &'a str, expected: &'a [&'a str]) -> impl Future<Output = ()> + 'a {
        let at = std::panic::Location::caller();
        async move {
            let found = self.raw.ask(sql).await;
            assert_eq!(found, expected, "{at}: {sql}");
        }
    }

    /// An error of the database's backup, followed by 3013.
    async fn refused(&mut self, sql: &str, error: &str, command: u16) {
        let done = format!("DONE 0x02 {command} 0");
        self.check(sql, &[error, "ERROR 3013 state 1 class 16", &done]).await;
    }
}

const DATABASE: u16 = 228;
const LOG: u16 = 235;
const HEADER: u16 = 250;
const FILES: u16 = 376;
const VERIFY: u16 = 377;

/// The tokens of a full backup without STATS, of a database with one data file.
const FULL: &[&str] = &[
    "INFO 4035 state 1 class 0",
    "DONE 0x01 228 0",
    "INFO 4035 state 1 class 0",
    "DONE 0x01 228 0",
    "INFO 3014 state 1 class 0",
    "DONE 0x00 228 0",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_a_backup_is_refused_with() {
    let mut asked = Asked::new().await;
    let full = asked.disk("refused.bak");
    for (sql, error, command) in [
        (format!("BACKUP DATABASE nowhere TO {full}"), "ERROR 911 state 11 class 16", DATABASE),
        (format!("BACKUP LOG shop TO {full}"), "ERROR 4214 state 1 class 16", LOG),
        (
            format!("BACKUP DATABASE shop TO {full} WITH DIFFERENTIAL"),
            "ERROR 3035 state 1 class 16",
            DATABASE,
        ),
        (
            format!("BACKUP DATABASE master TO {full} WITH DIFFERENTIAL"),
            "ERROR 3024 state 1 class 16",
            DATABASE,
        ),
        ("BACKUP DATABASE shop TO DISK = N'/nowhere/x.bak'".into(), "ERROR 3201 state 1 class 16", DATABASE),
        (
            format!("BACKUP DATABASE shop TO {full} WITH FORMAT, BLOCKSIZE = 1000"),
            "ERROR 3217 state 1 class 16",
            DATABASE,
        ),
        (
            format!("BACKUP DATABASE shop TO {full} WITH FORMAT, MAXTRANSFERSIZE = 1000"),
            "ERROR 3217 state 1 class 16",
            DATABASE,
        ),
        (
            format!(
                "BACKUP DATABASE shop TO {full} WITH FORMAT, ENCRYPTION (ALGORITHM = AES_256, SERVER CERTIFICATE = dd_no_such)"
            ),
            "ERROR 15151 state 1 class 16",
            DATABASE,
        ),
    ] {
        asked.refused(&sql, error, command).await;
    }
    // What is found while compiling has no 3013 behind it.
    for (sql, error) in [
        (format!("BACKUP DATABASE shop TO {full} WITH BOGUS"), "ERROR 155 state 1 class 15"),
        (
            format!("BACKUP DATABASE shop TO {full} WITH COMPRESSION (ALGORITHM = LZ4)"),
            "ERROR 155 state 1 class 15",
        ),
        (format!("BACKUP DATABASE shop TO {full} WITH NORECOVERY"), "ERROR 155 state 1 class 15"),
    ] {
        asked.check(&sql, &[error, "DONE 0x02 253 0"]).await;
    }
    asked.check(&format!("BACKUP DATABASE shop TO {full} WITH FORMAT"), FULL).await;
    asked.check("ALTER DATABASE shop SET RECOVERY SIMPLE", &["DONE 0x00 215 0"]).await;
    asked.refused(&format!("BACKUP LOG shop TO {full}"), "ERROR 4208 state 1 class 16", LOG).await;
    let within = format!("BEGIN TRAN; BACKUP DATABASE shop TO {full}; ROLLBACK");
    asked
        .check(
            &within,
            &[
                "ENVCHANGE 8",
                "DONE 0x01 212 0",
                "ERROR 3021 state 0 class 16",
                "ERROR 3013 state 1 class 16",
                "DONE 0x03 228 0",
                "ENVCHANGE 10",
                "DONE 0x00 210 0",
            ],
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stripes_belong_together() {
    let mut asked = Asked::new().await;
    let [a, b, other_a, other_b, single] = ["s1", "s2", "o1", "o2", "one"].map(|name| asked.disk(name));
    asked.check(&format!("BACKUP DATABASE shop TO {a}, {b} WITH FORMAT, CHECKSUM"), FULL).await;
    asked.check(&format!("BACKUP DATABASE shop TO {other_a}, {other_b} WITH FORMAT"), FULL).await;
    asked.check(&format!("BACKUP DATABASE shop TO {single} WITH FORMAT"), FULL).await;
    let valid = ["INFO 3262 state 1 class 0", "DONE 0x00 377 0"];
    asked.check(&format!("RESTORE VERIFYONLY FROM {a}, {b}"), &valid).await;
    asked.check(&format!("RESTORE VERIFYONLY FROM {b}, {a} WITH CHECKSUM"), &valid).await;
    for (sql, error, command) in [
        (format!("RESTORE VERIFYONLY FROM {a}"), "ERROR 3132 state 1 class 16", VERIFY),
        (format!("RESTORE VERIFYONLY FROM {a}, {a}"), "ERROR 3227 state 1 class 16", VERIFY),
        (format!("RESTORE VERIFYONLY FROM {a}, {other_b}"), "ERROR 3232 state 1 class 16", VERIFY),
        (format!("BACKUP DATABASE shop TO {a}"), "ERROR 3231 state 1 class 16", DATABASE),
        (format!("BACKUP DATABASE shop TO {a}, {b}, {single}"), "ERROR 3231 state 1 class 16", DATABASE),
        (
            format!("RESTORE VERIFYONLY FROM {other_a}, {other_b} WITH CHECKSUM"),
            "ERROR 3187 state 1 class 16",
            VERIFY,
        ),
        (format!("RESTORE VERIFYONLY FROM {single} WITH FILE = 3"), "ERROR 3287 state 1 class 16", VERIFY),
        (format!("RESTORE HEADERONLY FROM {single} WITH FILE = 3"), "ERROR 3287 state 1 class 16", HEADER),
        (format!("RESTORE FILELISTONLY FROM {single} WITH FILE = 3"), "ERROR 3287 state 1 class 16", FILES),
        (
            format!("BACKUP DATABASE shop TO {single} WITH COMPRESSION"),
            "ERROR 3098 state 1 class 16",
            DATABASE,
        ),
    ] {
        asked.refused(&sql, error, command).await;
    }
    let many = vec![a.as_str(); 65].join(", ");
    asked
        .check(&format!("BACKUP DATABASE shop TO {many}"), &["ERROR 3205 state 1 class 16", "DONE 0x02 0 0"])
        .await;
    asked
        .check("BACKUP DATABASE shop TO no_such_device", &["ERROR 3206 state 1 class 16", "DONE 0x02 0 0"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mirrors_begin_new_media() {
    let mut asked = Asked::new().await;
    let [a, b, c] = ["m1", "m2", "m3"].map(|name| asked.disk(name));
    asked
        .refused(
            &format!("BACKUP DATABASE shop TO {a} MIRROR TO {b}"),
            "ERROR 3215 state 1 class 16",
            DATABASE,
        )
        .await;
    let unlike = format!("BACKUP DATABASE shop TO {a} MIRROR TO {b}, {c} WITH FORMAT");
    asked.refused(&unlike, "ERROR 3212 state 1 class 16", DATABASE).await;
    asked.check(&format!("BACKUP DATABASE shop TO {a} MIRROR TO {b} WITH FORMAT"), FULL).await;
    for copy in [&a, &b] {
        let valid = ["INFO 3262 state 1 class 0", "DONE 0x00 377 0"];
        asked.check(&format!("RESTORE VERIFYONLY FROM {copy}"), &valid).await;
    }
    let five = format!(
        "BACKUP DATABASE shop TO {a} MIRROR TO {b} MIRROR TO {c} MIRROR TO {a} MIRROR TO {b} WITH FORMAT"
    );
    asked.check(&five, &["ERROR 3214 state 1 class 16", "DONE 0x02 0 0"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_no_backups_or_half_of_one() {
    let mut asked = Asked::practice(Making::default()).await;
    let whole = asked.disk("whole.bak");
    asked.check(&format!("BACKUP DATABASE shop TO {whole} WITH FORMAT, CHECKSUM"), FULL).await;
    let bytes = std::fs::read(asked.path("whole.bak")).unwrap();
    std::fs::write(asked.path("garbage.bak"), "no backup").unwrap();
    std::fs::write(asked.path("empty.bak"), "").unwrap();
    std::fs::write(asked.path("tape.bkf"), "TAPE of another program").unwrap();
    std::fs::write(asked.path("cut.bak"), &bytes[..bytes.len() / 2]).unwrap();
    let set = bytes.windows(8).position(|part| part == b"DRYDOCKS").unwrap();
    std::fs::write(asked.path("label.bak"), &bytes[..set + 20]).unwrap();
    let mut damaged = bytes.clone();
    damaged[bytes.len() / 2] ^= 0xff;
    std::fs::write(asked.path("damaged.bak"), &damaged).unwrap();
    let [garbage, empty, cut, label, damaged, missing] =
        ["garbage.bak", "empty.bak", "cut.bak", "label.bak", "damaged.bak", "missing.bak"]
            .map(|name| asked.disk(name));
    let tape = asked.disk("tape.bkf");
    let readers =
        [("HEADERONLY", HEADER), ("FILELISTONLY", FILES), ("LABELONLY", HEADER), ("VERIFYONLY", VERIFY)];
    for (what, command) in readers {
        for (device, error) in [
            (&missing, "ERROR 3201 state 2 class 16"),
            (&garbage, "ERROR 3241 state 0 class 16"),
            (&empty, "ERROR 3254 state 1 class 16"),
            (&tape, "ERROR 3143 state 1 class 16"),
        ] {
            asked.refused(&format!("RESTORE {what} FROM {device}"), error, command).await;
        }
    }
    for (sql, error, command) in [
        (format!("RESTORE VERIFYONLY FROM {cut}"), "ERROR 3203 state 1 class 16", VERIFY),
        (format!("RESTORE VERIFYONLY FROM {damaged}"), "ERROR 3189 state 1 class 16", VERIFY),
        (format!("RESTORE HEADERONLY FROM {label}"), "ERROR 3208 state 1 class 16", HEADER),
        (format!("RESTORE VERIFYONLY FROM {label}"), "ERROR 3208 state 1 class 16", VERIFY),
        (format!("BACKUP DATABASE shop TO {tape}"), "ERROR 3143 state 1 class 16", DATABASE),
        (format!("BACKUP DATABASE shop TO {garbage}"), "ERROR 3242 state 1 class 16", DATABASE),
        (format!("BACKUP DATABASE shop TO {label}"), "ERROR 3266 state 1 class 16", DATABASE),
    ] {
        asked.refused(&sql, error, command).await;
    }
    let labelled = ["COLUMNS 13", "ROW", "DONE 0x11 230 1", "DONE 0x00 250 0"];
    asked.check(&format!("RESTORE LABELONLY FROM {label}"), &labelled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_leaves_an_incomplete_set() {
    let faults = r#"[{"op": "backup log shop", "do": "disk_full"}]"#;
    let mut asked = Asked::practice(Making { faults, ..Making::default() }).await;
    let disk = asked.disk("append.bak");
    asked.check(&format!("BACKUP DATABASE shop TO {disk} WITH FORMAT"), FULL).await;
    asked.refused(&format!("BACKUP LOG shop TO {disk}"), "ERROR 3202 state 1 class 16", LOG).await;
    let headers = ["COLUMNS 59", "ROW", "ROW", "DONE 0x11 230 2", "DONE 0x00 250 0"];
    asked.check(&format!("RESTORE HEADERONLY FROM {disk}"), &headers).await;
    asked
        .refused(
            &format!("RESTORE VERIFYONLY FROM {disk} WITH FILE = 2"),
            "ERROR 3256 state 1 class 16",
            VERIFY,
        )
        .await;
    asked.refused(&format!("BACKUP LOG shop TO {disk}"), "ERROR 3266 state 1 class 16", LOG).await;
    let valid = ["INFO 3262 state 1 class 0", "DONE 0x00 377 0"];
    asked.check(&format!("RESTORE VERIFYONLY FROM {disk}"), &valid).await;
    let mut conn = asked.practice.as_ref().unwrap().connect().await;
    let names = sqlserver_support::rows(&mut conn, &format!("RESTORE HEADERONLY FROM {disk}")).await;
    assert_eq!(names[1][0], "*** INCOMPLETE ***");
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_pages_and_databases() {
    let mut asked = Asked::practice(Making::default()).await;
    let disk = asked.disk("damaged.bak");
    asked.check(&format!("BACKUP DATABASE shop TO {disk} WITH FORMAT"), FULL).await;
    asked.check("DBCC WRITEPAGE ('shop', 1, 55, 0, 1, 0x00, 1)", &["DONE 0x00 0 0"]).await;
    asked
        .refused(
            &format!("BACKUP DATABASE shop TO {disk} WITH FORMAT, CHECKSUM"),
            "ERROR 3043 state 1 class 16",
            DATABASE,
        )
        .await;
    let salvaged = format!("BACKUP DATABASE shop TO {disk} WITH FORMAT, CHECKSUM, CONTINUE_AFTER_ERROR");
    asked.check(&salvaged, FULL).await;
    let mut conn = asked.practice.as_ref().unwrap().connect().await;
    let header = sqlserver_support::rows(&mut conn, &format!("RESTORE HEADERONLY FROM {disk}")).await;
    assert_eq!((header[0][39].as_str(), header[0][29].as_str()), ("1", "560"), "IsDamaged and Flags");
    let suspects = "SELECT COUNT(*) FROM msdb.dbo.suspect_pages WHERE page_id = 55";
    assert_eq!(one(&mut conn, suspects).await, "2");
    let check = [
        "ERROR 8928 state 1 class 16",
        "ERROR 8939 state 1 class 16",
        "INFO 8989 state 1 class 0",
        "INFO 8958 state 1 class 0",
        "DONE 0x02 0 0",
    ];
    asked.check("DBCC CHECKDB (N'shop') WITH NO_INFOMSGS, ALL_ERRORMSGS", &check).await;
    let rows = ["COLUMNS 17", "ROW", "ROW", "ROW", "ROW", "DONE 0x10 0 4"];
    asked.check("DBCC CHECKDB (N'shop') WITH NO_INFOMSGS, ALL_ERRORMSGS, TABLERESULTS", &rows).await;
    asked
        .check("DBCC CHECKDB (N'master') WITH NO_INFOMSGS, ALL_ERRORMSGS, TABLERESULTS", &["DONE 0x00 0 0"])
        .await;
    let file = one(&mut conn, "SELECT physical_name FROM sys.master_files WHERE name = N'shop'").await;
    std::fs::remove_file(file).unwrap();
    let log = asked.disk("tail.trn");
    asked.refused(&format!("BACKUP LOG shop TO {log} WITH FORMAT"), "ERROR 945 state 2 class 14", LOG).await;
    let tail =
        ["INFO 4035 state 1 class 0", "DONE 0x01 235 0", "INFO 3014 state 1 class 0", "DONE 0x00 235 0"];
    asked.check(&format!("BACKUP LOG shop TO {log} WITH FORMAT, NO_TRUNCATE, NORECOVERY"), &tail).await;
    asked.refused(&format!("BACKUP LOG shop TO {log}"), "ERROR 927 state 1 class 14", LOG).await;
    asked.refused(&format!("BACKUP DATABASE shop TO {log}"), "ERROR 927 state 1 class 14", DATABASE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn encrypted_media() {
    let mut asked = Asked::practice(Making::default()).await;
    let disk = asked.disk("encrypted.bak");
    let encrypted = "FORMAT, ENCRYPTION (ALGORITHM = AES_256, SERVER CERTIFICATE = backups)";
    let made = |name: &str| format!("CREATE CERTIFICATE {name} WITH SUBJECT = 'Backups'");
    asked.check(&made("backups"), &["ERROR 15581 state 1 class 16", "DONE 0x02 0 0"]).await;
    asked.check("CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'Harbour-8'", &["DONE 0x00 0 0"]).await;
    asked.check(&made("backups"), &["DONE 0x00 0 0"]).await;
    asked.check(&made("backups"), &["ERROR 15232 state 1 class 16", "DONE 0x02 0 0"]).await;
    let warned = [&["INFO 33091 state 1 class 0"], FULL].concat();
    asked.check(&format!("BACKUP DATABASE shop TO {disk} WITH {encrypted}"), &warned).await;
    asked.refused(&format!("BACKUP DATABASE shop TO {disk}"), "ERROR 3098 state 1 class 16", DATABASE).await;
    let files = |folder: &str, verb: &str, password: &str| {
        format!(
            "FILE = '{folder}/c.cer' WITH PRIVATE KEY (FILE = '{folder}/c.pvk', {verb} BY PASSWORD = '{password}')"
        )
    };
    let save = format!("BACKUP CERTIFICATE backups TO {}", files(&asked.folder, "ENCRYPTION", "Key-9"));
    asked.check(&save, &["DONE 0x00 0 0"]).await;
    asked.check(&save, &["ERROR 15240 state 1 class 16", "DONE 0x02 0 0"]).await;
    asked.check(&format!("BACKUP DATABASE shop TO {disk} WITH {encrypted}"), FULL).await;
    asked.check("DROP CERTIFICATE backups", &["DONE 0x00 0 0"]).await;
    let headers = ["COLUMNS 59", "ROW", "DONE 0x11 230 1", "DONE 0x00 250 0"];
    asked.check(&format!("RESTORE HEADERONLY FROM {disk}"), &headers).await;
    for (what, command) in [("VERIFYONLY", VERIFY), ("FILELISTONLY", FILES)] {
        asked.refused(&format!("RESTORE {what} FROM {disk}"), "ERROR 33111 state 1 class 16", command).await;
    }
    let back = |password: &str| {
        format!("CREATE CERTIFICATE again FROM {}", files(&asked.folder, "DECRYPTION", password))
    };
    let (wrong, right) = (back("other"), back("Key-9"));
    asked.check(&wrong, &["ERROR 15465 state 1 class 16", "DONE 0x02 0 0"]).await;
    asked.check(&right, &["DONE 0x00 0 0"]).await;
    let valid = ["INFO 3262 state 1 class 0", "DONE 0x00 377 0"];
    asked.check(&format!("RESTORE VERIFYONLY FROM {disk}"), &valid).await;
    asked
        .check("BACKUP CERTIFICATE absent TO FILE = 'x'", &["ERROR 15151 state 1 class 16", "DONE 0x02 0 0"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn urls_and_what_editions_have_not() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = dir.path().join("blobs");
    std::fs::create_dir(&blobs).unwrap();
    let url = "https://acct.blob.core.windows.net/c";
    let playing = Installation { urls: [(url.into(), blobs)].into(), engine: 4, ..Installation::default() };
    let world = World::playing(dir, Making::default(), playing).await;
    run(&mut world.connect().await, "CREATE DATABASE shop").await;
    let folder = world.media_path("").display().to_string();
    let mut asked = Asked { raw: Raw::open(world.server.addr()).await, folder, practice: Some(world) };
    let to = format!("URL = N'{url}/shop.bak'");
    asked.refused(&format!("BACKUP DATABASE shop TO {to}"), "ERROR 3298 state 1 class 16", DATABASE).await;
    let credential =
        format!("CREATE CREDENTIAL [{url}] WITH IDENTITY = 'SHARED ACCESS SIGNATURE', SECRET = 'sv=1'");
    asked.check(&credential, &["DONE 0x00 0 0"]).await;
    asked.check(&format!("BACKUP DATABASE shop TO {to}"), FULL).await;
    asked.refused(&format!("BACKUP DATABASE shop TO {to}"), "ERROR 3271 state 1 class 16", DATABASE).await;
    asked.check(&format!("BACKUP DATABASE shop TO {to} WITH FORMAT"), FULL).await;
    asked
        .check(&format!("RESTORE VERIFYONLY FROM {to}"), &["INFO 3262 state 1 class 0", "DONE 0x00 377 0"])
        .await;
    let as_disk = format!("BACKUP DATABASE shop TO DISK = N'{url}/shop.bak'");
    asked.refused(&as_disk, "ERROR 3201 state 1 class 16", DATABASE).await;
    let [a, b] = ["e1", "e2"].map(|name| asked.disk(name));
    for (more, error) in [
        (format!("TO {a} WITH FORMAT, COMPRESSION"), "ERROR 1844 state 1 class 16"),
        (format!("TO {a} MIRROR TO {b} WITH FORMAT"), "ERROR 3218 state 1 class 16"),
    ] {
        asked.refused(&format!("BACKUP DATABASE shop {more}"), error, DATABASE).await;
    }
    let zstd =
        format!("BACKUP DATABASE shop TO {a} WITH FORMAT, COMPRESSION (ALGORITHM = ZSTD, LEVEL = HIGH)");
    asked.check(&zstd, &["ERROR 155 state 1 class 15", "DONE 0x02 228 0"]).await;
}
