//! The rows of the server's views of its own state. Main function: [`databases`].

use std::path::Path;

use chrono::{DateTime, Utc};

use super::session::Session;
use crate::sqlserver::store::certificate::Certificate;
use crate::sqlserver::store::database::{COLLATION, DataFile, Database, Fork, State, model_shown};
use crate::sqlserver::store::installation::names;
use crate::sqlserver::store::instance::Catalog;
use crate::sqlserver::store::like::like;
use crate::sqlserver::store::lsn::Lsn;
use crate::sqlserver::store::sessions::SessionEntry;
use crate::sqlserver::value::{Value, datetime_rounded, moment_text};

/// A row of a view.
pub type Row = Vec<Value>;

pub(super) fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

pub(super) fn int(number: u32) -> Value {
    Value::Integer(i64::from(number))
}

pub(super) fn bit(value: bool) -> Value {
    Value::Integer(i64::from(value))
}

pub(super) fn guid(value: uuid::Uuid) -> Value {
    Value::Text(value.hyphenated().to_string().to_uppercase())
}

pub(super) fn lsn(value: Option<Lsn>) -> Value {
    value.map_or(Value::Null, |lsn| Value::Text(lsn.decimal().kept()))
}

pub(super) fn date(moment: DateTime<Utc>) -> Value {
    Value::Text(moment_text(datetime_rounded(moment.naive_utc()), 3))
}

pub(super) fn with_nulls(mut row: Row, width: usize) -> Row {
    row.resize(width, Value::Null);
    row
}

pub(super) fn database_name(session: &Session, id: u32) -> String {
    session.instance.catalog().databases.get(&id).map(|database| database.name.clone()).unwrap_or_default()
}

pub(super) fn databases(session: &Session) -> Vec<Row> {
    let catalog = session.instance.catalog();
    let installation = &session.instance.setup.installation();
    let is_among = |names: &[String], database: &Database| names.contains(&database.name);
    let row = |database: &Database| {
        let is_secondary = is_among(&installation.secondaries, database);
        let is_snapshot = is_among(&installation.snapshots, database);
        let is_replica = is_secondary || names(&installation.replicas, &database.name);
        let replica = is_replica.then_some(guid(database.family));
        let (access, access_name) = database.access.shown();
        let (model, model_name) = model_shown(database.model);
        let online = database.state == State::Online;
        let waits = if database.keeps_log() { (2, "LOG_BACKUP") } else { (0, "NOTHING") };
        let fixed = |is: i64| Value::Integer(is);
        vec![
            text(&database.name),
            int(database.id),
            if is_snapshot { int(1) } else { Value::Null },
            Value::Blob(
                database.owner.as_deref().map_or(vec![1], |owner| catalog.sid_of(owner).unwrap_or_default()),
            ),
            date(database.created),
            fixed(database.compatibility.unwrap_or_else(|| installation.compatibility())),
            if online { text(COLLATION) } else { Value::Null },
            fixed(access),
            text(access_name),
            bit(database.read_only || database.standby.is_some()),
            fixed(0),
            fixed(0),
            fixed(database.state.number()),
            text(database.state.name()),
            bit(database.standby.is_some()),
            fixed(0),
            fixed(0),
            fixed(model),
            text(model_name),
            fixed(2),
            text("CHECKSUM"),
            bit(names(&installation.published, &database.name)),
            bit(database.broker_enabled),
            fixed(0),
            fixed(0),
            bit(database.trustworthy),
            fixed(waits.0),
            text(waits.1),
            replica.clone().unwrap_or(Value::Null),
            replica.unwrap_or(Value::Null),
            guid(database.broker),
        ]
    };
    catalog.databases.values().map(row).collect()
}

/// How many pages of 8 KiB a file has.
pub(super) fn pages(file: &DataFile) -> Value {
    let size = std::fs::metadata(&file.path).map(|meta| meta.len()).unwrap_or(0);
    Value::Integer(i64::try_from(size.div_ceil(8192)).unwrap_or(i64::MAX))
}

pub(super) fn files(session: &Session, only: Option<u32>) -> Vec<Row> {
    let paths = session.instance.setup.paths();
    let catalog = session.instance.catalog();
    let mut rows = Vec::new();
    for database in catalog.databases.values().filter(|database| only.is_none_or(|id| id == database.id)) {
        let redo = database
            .redo
            .as_ref()
            .filter(|_| database.state == State::Restoring || database.standby.is_some());
        let fork = database.forks.last().map_or(Value::Null, |fork| guid(fork.id));
        let base = database.differential_base.as_ref();
        for file in &database.files {
            let base = base.filter(|_| !file.is_log);
            rows.push(vec![
                int(database.id),
                int(file.id),
                guid(file.guid),
                bit(file.is_log),
                text(if file.is_log { "LOG" } else { "ROWS" }),
                bit(!file.is_log),
                text(&file.logical),
                text(&paths.shown(&file.path)),
                Value::Integer(database.state.number()),
                text(database.state.name()),
                pages(file),
                Value::Integer(if file.is_log { 268_435_456 } else { -1 }),
                Value::Integer(8192),
                Value::Integer(0),
                Value::Null,
                lsn(redo.map(|redo| redo.lsn)),
                if redo.is_some() { fork.clone() } else { Value::Null },
                Value::Null,
                Value::Null,
                lsn(base.map(|base| base.lsn)),
                base.map_or(Value::Null, |base| guid(base.guid)),
                Value::Null,
                lsn(database.last_full),
            ]);
        }
    }
    rows
}

pub(super) fn recovery_status(session: &Session) -> Vec<Row> {
    let catalog = session.instance.catalog();
    let row = |database: &Database| {
        let last_log = database.chain.as_ref().map(|chain| chain.from);
        let forks = (database.forks.first(), database.forks.last());
        let fork = |fork: Option<&Fork>| fork.map_or(Value::Null, |fork| guid(fork.id));
        let point = forks.1.filter(|_| database.forks.len() > 1).map(|fork| fork.from);
        let online = database.state == State::Online;
        vec![
            int(database.id),
            if online { guid(database.binding) } else { Value::Null },
            guid(database.family),
            lsn(last_log.filter(|_| online)),
            fork(forks.1),
            if point.is_some() { fork(forks.0) } else { Value::Null },
            lsn(point),
        ]
    };
    catalog.databases.values().map(row).collect()
}

pub(super) fn sessions(session: &Session) -> Vec<Row> {
    let catalog = session.instance.catalog();
    let row = |(id, entry): (&i16, &SessionEntry)| {
        let login = text(&entry.login);
        let running = entry.work.is_some() || *id == session.id;
        vec![
            Value::Integer(i64::from(*id)),
            date(entry.since),
            text(&entry.host),
            text(&entry.program),
            Value::Null,
            text("TDS"),
            login.clone(),
            text(if running { "running" } else { "sleeping" }),
            int(entry.database),
            int(entry.open_transactions),
            bit(true),
            login,
            Value::Integer(-1),
            Value::Integer(0),
        ]
    };
    let may_see = |id: &i16| sees_all(session, &catalog) || *id == session.id;
    catalog.sessions.iter().filter(|(id, _)| may_see(id)).map(row).collect()
}

/// Whether a session may see others: without that right it sees itself alone.
fn sees_all(session: &Session, catalog: &Catalog) -> bool {
    catalog.allows(&session.client.login, "VIEW SERVER STATE")
}

pub(super) fn requests(session: &Session) -> Vec<Row> {
    let catalog = session.instance.catalog();
    let mut rows = Vec::new();
    for (id, entry) in &catalog.sessions {
        let Some(work) = entry.work.as_ref().filter(|_| sees_all(session, &catalog) || *id == session.id)
        else {
            continue;
        };
        let elapsed = (session.now - work.since).num_milliseconds().clamp(0, i64::from(i32::MAX));
        let left = if work.percent > 0.0 {
            (elapsed as f64 * (100.0 - work.percent) / work.percent) as i64
        } else {
            0
        };
        let is_media = work.command.starts_with("BACKUP") || work.command.starts_with("RESTORE");
        rows.push(vec![
            Value::Integer(i64::from(*id)),
            Value::Integer(0),
            date(work.since),
            text(if work.blocked_by == 0 { "running" } else { "suspended" }),
            text(work.command),
            int(entry.database),
            Value::Integer(i64::from(work.blocked_by)),
            if is_media { text("BACKUPIO") } else { Value::Null },
            Value::Integer(0),
            text(""),
            Value::Real(work.percent),
            Value::Integer(left),
            Value::Integer(elapsed),
            Value::Integer(0),
            int(entry.open_transactions),
        ]);
    }
    rows
}

pub(super) fn locks(session: &Session) -> Vec<Row> {
    let catalog = session.instance.catalog();
    let mut rows: Vec<Row> = catalog
        .locks
        .iter()
        .map(|lock| {
            let short: String = lock.resource.chars().take(32).collect();
            let mode = match lock.mode.as_str() {
                "Exclusive" => "X",
                "Shared" => "S",
                "Update" => "U",
                "IntentExclusive" => "IX",
                _ => "IS",
            };
            vec![
                text("APPLICATION"),
                text(""),
                int(lock.database),
                text(&format!("0:[{short}]:(0)")),
                text(mode),
                text("LOCK"),
                text("GRANT"),
                Value::Integer(i64::from(lock.session)),
                text(if lock.of_transaction { "TRANSACTION" } else { "SESSION" }),
            ]
        })
        .collect();
    for (database, is_log, holder) in &catalog.backups {
        let what = if *is_log { "BULKOP_BACKUP_LOG" } else { "BULKOP_BACKUP_DB" };
        let words = [
            text("U"),
            text("LOCK"),
            text("GRANT"),
            Value::Integer(i64::from(*holder)),
            text("SHARED_TRANSACTION_WORKSPACE"),
        ];
        rows.push([vec![text("DATABASE"), text(what), int(*database), text("")], words.to_vec()].concat());
    }
    for (id, entry) in &catalog.sessions {
        let holder = Value::Integer(i64::from(*id));
        let words = [text("S"), text("LOCK"), text("GRANT"), holder, text("SHARED_TRANSACTION_WORKSPACE")];
        rows.push([vec![text("DATABASE"), text(""), int(entry.database), text("")], words.to_vec()].concat());
    }
    rows
}

/// Volumes of sizes of their own: a practice server does not tell of this machine's disks.
pub(super) fn volumes(session: &Session) -> Vec<Row> {
    let (installation, paths) = (session.instance.setup.installation(), session.instance.setup.paths());
    let catalog = session.instance.catalog();
    let mut rows = Vec::new();
    for database in catalog.databases.values() {
        for file in &database.files {
            let volume = paths.volume_of(&file.path, &installation.volumes);
            let root = volume.map_or_else(|| paths.mount(&file.path), |volume| volume.mount.clone());
            let sizes = volume.map_or((512 << 30, installation.free_bytes), |volume| {
                (volume.total_bytes, volume.available_bytes)
            });
            let words = [text(&root), text("practice"), text("practice"), text("practice")];
            let sizes = [Value::Integer(sizes.0), Value::Integer(sizes.1)];
            rows.push([vec![int(database.id), int(file.id)], words.to_vec(), sizes.to_vec()].concat());
        }
    }
    rows
}

/// Drives with their free megabytes, as `xp_fixeddrives` tells them.
pub(super) fn drives(session: &Session) -> Vec<Row> {
    let installation = session.instance.setup.installation();
    let row = |letter: String, free: i64| vec![text(&letter), Value::Integer(free >> 20)];
    let mut rows = Vec::new();
    for volume in installation.volumes.iter().filter(|volume| volume.mount.get(1..2) == Some(":")) {
        rows.push(row(volume.mount[..1].to_uppercase(), volume.available_bytes));
    }
    if !rows.iter().any(|row| row.first() == Some(&text("C"))) {
        rows.insert(0, row("C".into(), installation.free_bytes));
    }
    rows
}

pub(super) fn host(session: &Session) -> Vec<Row> {
    let (platform, distribution, release) = session.instance.setup.start.platform.shown();
    let numbers = [Value::Integer(7), Value::Integer(1033)];
    let words = vec![text(platform), text(distribution), text(release), text("")];
    vec![[words, numbers.to_vec(), vec![text("X64")]].concat()]
}

pub(super) fn certificates(session: &Session) -> Vec<Row> {
    let catalog = session.instance.catalog();
    let row = |own: &Certificate| {
        vec![
            text(&own.name),
            int(own.id),
            int(1),
            text(if own.has_key { "MK" } else { "NA" }),
            Value::Blob(own.thumbprint.clone()),
            text(&own.subject),
            date(own.expires),
            own.backed_up.map_or(Value::Null, date),
        ]
    };
    catalog.secured.certificates.iter().map(row).collect()
}

pub(super) fn credentials(session: &Session) -> Vec<Row> {
    let catalog = session.instance.catalog();
    let mut rows = Vec::new();
    for (id, (name, identity)) in (65_536..).zip(&catalog.secured.credentials) {
        rows.push(vec![int(id), text(name), text(identity)]);
    }
    rows
}

pub(super) fn master_key(session: &Session) -> Vec<Row> {
    let has_key = session.instance.catalog().secured.has_master_key;
    if has_key { vec![vec![text("##MS_DatabaseMasterKey##"), int(101)]] } else { Vec::new() }
}

pub(super) fn argument(arguments: &[Value], at: usize) -> &str {
    if let Some(Value::Text(text)) = arguments.get(at) { text } else { "" }
}

/// Whether a path is a file, whether a folder, whether its parent is there.
#[must_use]
pub fn file_exists(session: &Session, path: &str) -> Row {
    let path = session.instance.setup.file_path(path, false);
    vec![bit(path.is_file()), bit(path.is_dir()), bit(path.parent().is_some_and(Path::is_dir))]
}

pub(super) fn enumerated(session: &Session, arguments: &[Value]) -> Vec<Row> {
    let (dir, pattern) = (argument(arguments, 0), argument(arguments, 1));
    let pattern = pattern.replace('*', "%").replace('?', "_");
    let paths = session.instance.setup.paths();
    let mut rows = Vec::new();
    for (name, is_directory, size, modified) in listed(&paths.place(dir, &paths.data_dir())) {
        if !like(&name, &pattern, None) {
            continue;
        }
        let at = modified.map_or(Value::Null, |at| Value::Text(moment_text(at.naive_utc(), 7)));
        let flags = vec![bit(false); 6];
        let head =
            vec![text(&paths.join(dir, &name)), text(dir), text(&name), Value::Integer(0), bit(is_directory)];
        let tail = vec![at.clone(), at.clone(), at, Value::Integer(i64::try_from(size).unwrap_or(i64::MAX))];
        rows.push([head, flags, tail].concat());
    }
    rows
}

/// What lies in a folder, by name: whether it is a folder, its size, when it was changed.
#[must_use]
pub fn listed(dir: &Path) -> Vec<(String, bool, u64, Option<DateTime<Utc>>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(meta) = entry.metadata() else { continue };
        let name = entry.file_name().to_string_lossy().into_owned();
        found.push((name, meta.is_dir(), meta.len(), meta.modified().ok().map(DateTime::from)));
    }
    found.sort();
    found
}
