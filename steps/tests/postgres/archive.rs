//! `postgres.archive` on archives that real servers fill: by `cp`, by gzip, through pgBackRest and through Barman; each brings a base backup
//! back to its last row by the restore_command that was told.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use drydock_step::StepError;
use drydock_steps::postgres::archive::Archive;
use serde_json::{Value, json};

use crate::server::{BOTH, Major, Options, PASSWORD, Postgres, as_user, folder};

/// Who may come in: over the socket everybody, for the programs have no password.
const HBA: &str = "local all all trust\nlocal replication all trust\nhost all all 127.0.0.1/32 scram-sha-256\nhost replication all 127.0.0.1/32 scram-sha-256\n";

/// A server that archives by a command, and a folder that both may write.
struct World {
    server: Postgres,
    dir: tempfile::TempDir,
}

impl World {
    /// A server whose archive_command has the path of the folder for `{here}`.
    fn start(major: Major, command: &str) -> Self {
        let dir = folder();
        let command = command.replace("{here}", &dir.path().display().to_string());
        let settings = vec![("archive_mode", "on".to_owned()), ("archive_command", command)];
        let (own, hba, initdb) = (true, Some(HBA.to_owned()), ["--wal-segsize=1"].as_slice());
        let server = Postgres::start(major, Options { settings, own, hba, initdb, ..Options::default() });
        Self { server, dir }
    }

    fn made(&self, name: &str) -> std::path::PathBuf {
        let path = self.dir.path().join(name);
        done(as_user(Path::new("mkdir")).arg("-p").arg(&path));
        path
    }

    /// Writes rows and ends the segment; its name, once the server says that it is archived.
    async fn archived(&self, rows: &str) -> String {
        self.server.run_script("postgres", rows).await;
        let name = self.server.one("postgres", "SELECT pg_walfile_name(pg_switch_wal() - 1)").await;
        let name = name.as_str().unwrap().to_owned();
        let sql = format!("SELECT last_archived_wal COLLATE \"C\" >= '{name}' FROM pg_stat_archiver");
        for _ in 0..1200 {
            if self.server.one("postgres", &sql).await == true {
                return name;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{name} was never archived:\n{}", self.server.log());
    }

    /// A base backup without WAL, in a folder `data` of its own.
    fn base(&self) -> tempfile::TempDir {
        let dir = folder();
        let mut base = as_user(&self.server.bin().join("pg_basebackup"));
        base.args(["-h", "127.0.0.1", "-U", "postgres", "-p", &self.server.port.to_string()]);
        base.args(["--wal-method=none", "--checkpoint=fast", "-D"]).arg(dir.path().join("data"));
        done(base.env("PGPASSWORD", PASSWORD));
        dir
    }

    async fn taken_stock(&self, with: Value) -> Result<Value, StepError> {
        crate::world::outputs(&self.server, &Archive, with).await
    }

    /// Rows of a server that a base backup has become by this command.
    async fn recovered_rows(&self, base: tempfile::TempDir, restore_command: &str) -> Value {
        std::fs::write(base.path().join("data/recovery.signal"), "").unwrap();
        let settings = vec![("restore_command", restore_command.to_owned())];
        let recovered = Postgres::over(base, self.server.major, &Options { settings, ..Options::default() });
        for _ in 0..1200 {
            if recovered.one("postgres", "SELECT NOT pg_is_in_recovery()").await == true {
                return recovered.one("postgres", "SELECT count(*) FROM t").await;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it never came to the end:\n{}", recovered.log());
    }

    async fn system(&self) -> Value {
        self.server.one("postgres", "SELECT system_identifier::text FROM pg_control_system()").await
    }
}

fn done(command: &mut Command) {
    let output = command.current_dir("/").stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {said}{}", String::from_utf8_lossy(&output.stdout));
}

/// What a backup of somebody else's is put back into by the command that is told of it, in a folder `data` of its own.
fn put_back(backup: &Value) -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let dir = folder();
    let into = dir.path().join("data");
    done(as_user(Path::new("mkdir")).arg("-m").arg("700").arg(&into));
    let words = backup["restore"].as_array().unwrap().iter().map(|word| word.as_str().unwrap());
    let words: Vec<String> = words.map(|word| word.replace("{into}", into.to_str().unwrap())).collect();
    done(as_user(Path::new(&words[0])).args(&words[1..]));
    assert_eq!(std::fs::metadata(&into).unwrap().permissions().mode() & 0o777, 0o700);
    dir
}

/// Whether a program is there; where it is not, the test says that it proves nothing.
fn is_there(program: &str) -> bool {
    let found = Command::new(program).arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_err() {
        println!("skipped: {program} is not installed here (Debian: apt-get install {program})");
    }
    found.is_ok()
}

const MADE: &str = "CREATE TABLE t AS SELECT generate_series(1, 100) AS n";
const MORE: &str = "INSERT INTO t SELECT generate_series(101, 150)";

#[tokio::test]
async fn a_folder_is_read_its_faults_are_named_and_its_command_brings_a_server_back() {
    for major in BOTH {
        let world = World::start(major, "test ! -f {here}/%f && cp %p {here}/%f");
        let first = world.archived(MADE).await;
        let base = world.base();
        world.archived(MORE).await;
        // Most of it stays its own whatever is done to some below.
        for _ in 0..3 {
            world.archived("CHECKPOINT").await;
        }
        let last = world.archived("CHECKPOINT").await;
        let at = json!({ "at": { "folder": world.dir.path() }, "check": "whole" });
        let found = world.taken_stock(at.clone()).await.unwrap();
        assert_eq!(
            (&found["gaps"], &found["faults"], &found["by_name"]),
            (&json!([]), &json!([]), &json!(0)),
            "{found}"
        );
        assert_eq!((&found["last"], &found["segment_size"]), (&json!(last), &json!(1 << 20)), "{found}");
        assert!(found["first"].as_str().unwrap() <= first.as_str(), "{found}");
        assert_eq!(found["system_identifier"], world.system().await);
        let backup = &found["backups"][0];
        assert_eq!(
            (&backup["label"], &backup["usable"]),
            (&json!("pg_basebackup base backup"), &json!(true)),
            "{found}"
        );
        assert!(backup["start_lsn"].is_string() && backup["first_wal"].is_string(), "{found}");
        let command = found["restore_command"].as_str().unwrap();
        assert_eq!(world.recovered_rows(base, command).await, 150);
        // What goes wrong with such folders.
        let number = |name: &str| u64::from_str_radix(&name[8..], 16).unwrap();
        let path = |number: u64| world.dir.path().join(format!("00000001{number:016X}"));
        let (start, end) = (number(backup["first_wal"].as_str().unwrap()), number(&last));
        std::fs::rename(path(start), path(start).with_extension("partial")).unwrap();
        std::fs::remove_file(path(start + 2)).unwrap();
        let half = std::fs::read(path(end)).unwrap();
        std::fs::write(path(end), &half[..half.len() / 2]).unwrap();
        let other = World::start(major, "cp %p {here}/%f");
        other.archived(MADE).await;
        let (theirs, name) = std::fs::read_dir(other.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.path(), entry.file_name().into_string().unwrap()))
            .filter(|(_, name)| name.len() == 24)
            .min_by(|one, other| one.1.cmp(&other.1))
            .unwrap();
        assert!(number(&name) < start, "{name}");
        std::fs::copy(theirs, world.dir.path().join(&name)).unwrap();
        let found = world.taken_stock(at).await.unwrap();
        let faults: Vec<(&str, &str)> = found["faults"]
            .as_array()
            .unwrap()
            .iter()
            .map(|fault| (fault["code"].as_str().unwrap(), fault["message"].as_str().unwrap()))
            .collect();
        let has = |code: &str, words: &str| {
            assert!(
                faults.iter().any(|(found, message)| *found == code && message.contains(words)),
                "no {code} with {words:?} in {faults:?}"
            );
        };
        let of = |number: u64| path(number).file_name().unwrap().to_str().unwrap().to_owned();
        has("postgres.wal_gap", &format!("the archive has not got {}", of(start + 2)));
        has("postgres.wal_gap", &format!("needs {} to be consistent", of(start)));
        has("postgres.wal_damaged", &format!("{last} is no whole segment of the WAL: it has 524288 bytes"));
        has("postgres.wal_foreign", &format!("{name} is of system "));
        assert_eq!(found["partial"], json!([of(start) + ".partial"]));
    }
}

#[tokio::test]
async fn compressed_segments_count_by_name_and_are_brought_back_through_gzip() {
    let world = World::start(Major::Eighteen, "gzip < %p > {here}/%f.gz");
    world.archived(MADE).await;
    let base = world.base();
    let last = world.archived(MORE).await;
    let found = world.taken_stock(json!({ "at": { "folder": world.dir.path() } })).await.unwrap();
    assert_eq!((&found["gaps"], &found["last"]), (&json!([]), &json!(last)), "{found}");
    assert_eq!(
        (&found["by_name"], &found["system_identifier"]),
        (&found["segments"], &Value::Null),
        "{found}"
    );
    assert_eq!(world.recovered_rows(base, found["restore_command"].as_str().unwrap()).await, 150);
    let error = world.taken_stock(json!({ "at": { "folder": "/nowhere" } })).await.unwrap_err();
    assert_eq!(error.code, "postgres.archive");
    assert!(error.message.starts_with("the archive cannot be read at /nowhere: "), "{error}");
    let programs =
        json!({ "at": { "barman": { "server": "main", "config": "/nowhere" } }, "programs": ["/nowhere"] });
    let error = world.taken_stock(programs).await.unwrap_err();
    assert_eq!(error.code, "postgres.archive", "{error}");
}

#[tokio::test]
async fn a_repository_of_pgbackrest_is_taken_stock_of_and_brings_a_server_back() {
    if !is_there("pgbackrest") {
        return;
    }
    // The version that Debian has knows no server that is newer than 15.
    let world =
        World::start(Major::Fifteen, "pgbackrest --config={here}/it.conf --stanza=main archive-push %p");
    let here = world.dir.path().display().to_string();
    let config = world.dir.path().join("it.conf");
    for name in ["repo", "log", "lock"] {
        world.made(name);
    }
    let text = format!(
        "[global]\nrepo1-path={here}/repo\nlog-path={here}/log\nlock-path={here}/lock\nlog-level-console=warn\nstart-fast=y\nrepo1-retention-full=9\n\
         [main]\npg1-path={}\npg1-port={}\npg1-socket-path={}\npg1-user=postgres\n",
        world.server.data().display(),
        world.server.port,
        world.server.dir().display()
    );
    std::fs::write(&config, text).unwrap();
    let pgbackrest = |arguments: &[&str]| {
        let mut command = as_user(Path::new("pgbackrest"));
        done(command.arg(format!("--config={}", config.display())).arg("--stanza=main").args(arguments));
    };
    pgbackrest(&["stanza-create"]);
    world.archived(MADE).await;
    pgbackrest(&["backup", "--type=full"]);
    let base = world.base();
    world.archived("CREATE TABLE u ()").await;
    pgbackrest(&["backup", "--type=diff"]);
    pgbackrest(&["backup", "--type=incr"]);
    let last = world.archived(MORE).await;
    let at = json!({ "at": { "pgbackrest": { "stanza": "main", "config": config } } });
    let found = world.taken_stock(at.clone()).await.unwrap();
    assert_eq!(
        (&found["gaps"], &found["faults"], &found["last"]),
        (&json!([]), &json!([]), &json!(last)),
        "{found}"
    );
    assert_eq!(found["system_identifier"], world.system().await);
    assert!(found["tool"].as_str().unwrap().starts_with("pgBackRest "), "{found}");
    let kinds: Vec<&Value> =
        found["backups"].as_array().unwrap().iter().map(|backup| &backup["kind"]).collect();
    assert_eq!(kinds, ["full", "diff", "incr"], "{found}");
    assert_eq!(found["backups"][2]["needs"].as_array().unwrap().len(), 2, "{found}");
    let command = found["restore_command"].as_str().unwrap();
    assert_eq!(world.recovered_rows(base, command).await, 150);
    assert_eq!(
        world.recovered_rows(put_back(&found["backups"][2]), command).await,
        150,
        "by its own program"
    );
    // A segment of the diff's goes.
    let gone = found["backups"][1]["first_wal"].as_str().unwrap();
    let segments = world.dir.path().join("repo/archive/main/15-1").join(&gone[..16]);
    let stored = std::fs::read_dir(segments).unwrap().map(|entry| entry.unwrap().path());
    let stored: Vec<_> =
        stored.filter(|path| path.display().to_string().contains(&format!("{gone}-"))).collect();
    std::fs::remove_file(&stored[0]).unwrap();
    let found = world.taken_stock(at).await.unwrap();
    assert_eq!(found["gaps"], json!([gone]), "{found}");
    let words = format!("needs {gone} to be consistent, which the archive has not got");
    assert!(found["faults"][1]["message"].as_str().unwrap().ends_with(&words), "{found}");
    let none = json!({ "at": { "pgbackrest": { "stanza": "none", "config": config } } });
    let error = world.taken_stock(none).await.unwrap_err();
    assert_eq!(error.code, "postgres.archive");
    assert!(error.message.starts_with("pgBackRest has no stanza none: missing stanza path"), "{error}");
}

#[tokio::test]
async fn a_catalogue_of_barman_is_taken_stock_of_and_brings_a_server_back() {
    if !is_there("barman") {
        return;
    }
    let world = World::start(Major::Fifteen, "cp %p {here}/home/main/incoming/%f");
    let here = world.dir.path().display().to_string();
    let config = world.dir.path().join("barman.conf");
    for name in ["d", "home/main/incoming"] {
        world.made(name);
    }
    let connection =
        format!("host={} port={} user=postgres", world.server.dir().display(), world.server.port);
    let user = crate::server::os_user().map_or(String::new(), |user| format!("barman_user = {user}\n"));
    let text = format!(
        "[barman]\n{user}barman_home = {here}/home\nbarman_lock_directory = {here}\nlog_file = {here}/log\nconfiguration_files_directory = {here}/d\n\
         path_prefix = {}\n[main]\ndescription = main\nconninfo = {connection} dbname=postgres\nstreaming_conninfo = {connection}\n\
         backup_method = postgres\narchiver = on\n",
        world.server.bin().display()
    );
    std::fs::write(&config, text).unwrap();
    let barman = |arguments: &[&str]| {
        let mut command = as_user(Path::new("barman"));
        done(command.arg("-c").arg(&config).args(arguments));
    };
    world.archived(MADE).await;
    barman(&["archive-wal", "main"]);
    barman(&["backup", "main"]);
    let base = world.base();
    let last = world.archived(MORE).await;
    barman(&["archive-wal", "main"]);
    let at = json!({ "at": { "barman": { "server": "main", "config": config } } });
    let found = world.taken_stock(at.clone()).await.unwrap();
    assert_eq!(
        (&found["gaps"], &found["faults"], &found["last"]),
        (&json!([]), &json!([]), &json!(last)),
        "{found}"
    );
    assert_eq!(
        (&found["segment_size"], &found["system_identifier"]),
        (&json!(1 << 20), &world.system().await),
        "{found}"
    );
    assert!(found["tool"].as_str().unwrap().starts_with("Barman "), "{found}");
    let backup = &found["backups"][0];
    assert_eq!((&backup["kind"], &backup["usable"]), (&json!("full"), &json!(true)), "{found}");
    assert!(backup["size"].as_u64().unwrap() > 1 << 20, "{found}");
    let command = found["restore_command"].as_str().unwrap();
    assert_eq!(world.recovered_rows(base, command).await, 150);
    assert_eq!(world.recovered_rows(put_back(backup), command).await, 150, "by its own program");
    let none = json!({ "at": { "barman": { "server": "none", "config": config } } });
    let error = world.taken_stock(none).await.unwrap_err();
    assert_eq!(error.code, "postgres.archive");
    assert!(error.message.contains("Unknown server 'none'"), "{error}");
}
