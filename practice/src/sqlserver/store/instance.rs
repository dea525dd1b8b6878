//! The server: its databases, sessions and locks, and what of it outlives a restart. Main type: [`Instance`].

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::certificate::Certificate;
use super::database::{Access, DataFile, Database, Fork, State};
use super::files;
use super::guids::Guids;
use super::installation::{Installation, Platform};
use super::log::Log;
use super::logins::{FIRST, FIXED, Login, Permission, Principals, Role};
use super::lsn::Lsn;
use super::machine::Machine;
use super::paths::Paths;
use super::sessions::{AppLock, Reason, SessionEntry, Stop};
use crate::clock::Clock;
use crate::faults::Faults;
use crate::ledger::Ledger;
use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::statement::RecoveryModel;

/// Version 16.0.4236, as bytes of the wire.
pub const VERSION: [u8; 4] = [16, 0, 0x10, 0x8C];
/// The system's databases in the order of their ids.
const SYSTEM: [&str; 4] = ["master", "tempdb", "model", "msdb"];

/// What the server was started with.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The folder that holds everything.
    pub dir: PathBuf,
    /// Its name, `@@SERVERNAME`.
    pub server_name: String,
    /// The one login.
    pub login: String,
    /// Its password.
    pub password: String,
    /// What kind of server it was started as; [`Setup::installation`] says what it is now.
    pub start: Installation,
}

impl Setup {
    /// What kind of server it plays now, and what surrounds it.
    #[must_use]
    pub fn installation(&self) -> Installation {
        self.start.surrounded(&self.dir)
    }

    /// How its paths are written, and where they lead.
    #[must_use]
    pub fn paths(&self) -> Paths {
        Paths::of(&self.dir, &self.start)
    }

    /// Where data files lie unless a statement says otherwise.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.paths().data_dir()
    }

    /// Where logs lie.
    #[must_use]
    pub fn log_dir(&self) -> PathBuf {
        self.paths().log_dir()
    }

    /// Where relative backup paths lie.
    #[must_use]
    pub fn backup_dir(&self) -> PathBuf {
        self.paths().backup_dir()
    }
}

impl Setup {
    /// A database file's path; a relative one lies in the folder for its kind, never in the process's own.
    #[must_use]
    pub fn file_path(&self, written: &str, is_log: bool) -> PathBuf {
        let paths = self.paths();
        paths.place(written, &if is_log { paths.log_dir() } else { paths.data_dir() })
    }
}

/// Everything that sessions share.
#[derive(Debug, Default)]
pub struct Catalog {
    /// The databases by id.
    pub databases: BTreeMap<u32, Database>,
    /// The sessions by id.
    pub sessions: BTreeMap<i16, SessionEntry>,
    /// Application locks.
    pub locks: Vec<AppLock>,
    /// Who may log in; the first is the administrator that the server was started with.
    pub logins: Vec<Login>,
    /// What `master` holds besides: certificates and credentials.
    pub secured: Secured,
    /// Damaged pages of data files, by the databases' bindings, which each restore draws anew.
    pub damaged: Vec<(Uuid, u64)>,
    /// Backups that run: the database, whether it is its log, the session.
    pub backups: Vec<(u32, bool, i16)>,
    /// How the server is set up.
    pub machine: Machine,
    /// Roles of the server, and rights at it.
    pub principals: Principals,
}

/// What `master` holds besides databases.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Secured {
    /// Whether it has a master key.
    pub has_master_key: bool,
    /// Certificates.
    pub certificates: Vec<Certificate>,
    /// Credentials: their names and identities.
    pub credentials: Vec<(String, String)>,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    guids: u64,
    databases: Vec<Database>,
    #[serde(default)]
    logins: Vec<Login>,
    #[serde(default)]
    secured: Secured,
    #[serde(default)]
    damaged: Vec<(Uuid, u64)>,
    #[serde(default)]
    machine: Machine,
    #[serde(default)]
    principals: Principals,
}

/// The most bytes of a database's name in the names of its files.
const LONGEST_STEM: usize = 200;

impl Catalog {
    /// The login of that name, case not counting.
    #[must_use]
    pub fn login(&self, name: &str) -> Option<&Login> {
        self.logins.iter().find(|login| login.name.eq_ignore_ascii_case(name))
    }

    /// The role of the server of that name: its number and its name as it is written.
    #[must_use]
    pub fn server_role(&self, name: &str) -> Option<(i64, &str)> {
        let fixed = FIXED.iter().find(|(_, role)| same_name(role, name)).map(|(id, role)| (*id, *role));
        let made = || self.principals.roles.iter().find(|role| same_name(&role.name, name));
        fixed.or_else(|| made().map(|role| (role.id, role.name.as_str())))
    }

    /// The number of a login or of a role of the server.
    #[must_use]
    pub fn principal_id(&self, name: &str) -> Option<i64> {
        let login = self.login(name).map(|login| login.id).or_else(|| same_name(name, "sa").then_some(1));
        login.or_else(|| self.server_role(name).map(|(id, _)| id))
    }

    /// A number for a new login or role.
    #[must_use]
    pub fn next_principal(&self) -> i64 {
        let roles = self.principals.roles.iter().map(|role| role.id);
        self.logins.iter().map(|login| login.id).chain(roles).max().unwrap_or(0).max(FIRST) + 1
    }

    /// The name of the login with this SID.
    #[must_use]
    pub fn login_of(&self, sid: &[u8]) -> Option<String> {
        let found = self.logins.iter().find(|login| login.sid == sid).map(|login| login.name.clone());
        found.or_else(|| (sid == [1]).then(|| "sa".to_owned()))
    }

    /// The SID of a login.
    #[must_use]
    pub fn sid_of(&self, name: &str) -> Option<Vec<u8>> {
        let found = self.login(name).map(|login| login.sid.clone());
        found.or_else(|| same_name(name, "sa").then(|| vec![1]))
    }

    /// Whether a login is a member of a role of the server.
    #[must_use]
    pub fn has_role(&self, login: &str, role: Role) -> bool {
        self.login(login).is_some_and(|login| login.is(role))
    }

    /// Whether a login has a right at the server; what is denied to it or to a role of its it has not, unless it is an administrator.
    #[must_use]
    pub fn allows(&self, login: &str, right: &str) -> bool {
        self.allows_on(login, right, 100, 0)
    }

    /// The same on a login, a role or an endpoint.
    #[must_use]
    pub fn allows_on(&self, login: &str, right: &str, class: i64, major: i64) -> bool {
        if self.has_role(login, Role::SysAdmin) {
            return true;
        }
        let Some(found) = self.login(login) else { return false };
        let fixed = match right {
            "ALTER ANY LOGIN" => found.is_in("securityadmin"),
            "ALTER ANY CONNECTION" => found.is_in("processadmin"),
            "CREATE ANY DATABASE" | "ALTER ANY DATABASE" => found.is(Role::DbCreator),
            _ => false,
        };
        let own = |held: &&Permission| same_name(&held.grantee, login) || found.is_in(&held.grantee);
        let said = || self.principals.permissions.iter().filter(own);
        let fits = |held: &Permission| {
            (held.right == right && held.class == class && held.major == major)
                || (held.class == 100 && held.right == "CONTROL SERVER")
                || (class == 101 && right == "IMPERSONATE" && held.right == "IMPERSONATE ANY LOGIN")
        };
        let is_denied = said().any(|held| held.state == 'D' && fits(held));
        !is_denied && (fixed || said().any(|held| held.state != 'D' && fits(held)))
    }

    /// Whether a login may create databases, or owns this one: who may replace it, change it, and enter it while it is restricted.
    #[must_use]
    pub fn commands(&self, login: &str, database: Option<&Database>) -> bool {
        let owns = database.and_then(|database| database.owner.as_ref());
        let by_right = match database {
            None => self.allows(login, "CREATE ANY DATABASE"),
            Some(_) => self.has_role(login, Role::SysAdmin),
        };
        by_right
            || self.has_role(login, Role::DbCreator)
            || owns.is_some_and(|owner| owner.eq_ignore_ascii_case(login))
    }

    /// The database of that name, case not counting.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Database> {
        self.databases.values().find(|database| same_name(&database.name, name))
    }

    /// The database of that name, to be changed.
    pub fn named_mut(&mut self, name: &str) -> Option<&mut Database> {
        self.databases.values_mut().find(|database| same_name(&database.name, name))
    }

    /// The damaged pages of a database's data file.
    #[must_use]
    pub fn damaged_pages(&self, database: &Database) -> Vec<u64> {
        let own = self.damaged.iter().filter(|(binding, _)| *binding == database.binding);
        own.map(|(_, page)| *page).collect()
    }

    /// The sessions other than `session` that stand in a database or have changed it.
    #[must_use]
    pub fn inside(&self, database: u32, session: i16) -> Vec<i16> {
        let writer = self.databases.get(&database).and_then(|database| database.writer);
        let current = self.sessions.iter().filter(|(_, entry)| entry.database == database).map(|(id, _)| *id);
        let mut inside: Vec<i16> = current.chain(writer).filter(|id| *id != session).collect();
        inside.sort_unstable();
        inside.dedup();
        inside
    }

    /// The database, other than `except`, that has a file at `path`.
    #[must_use]
    pub fn owner_of(&self, path: &Path, except: u32, paths: &Paths) -> Option<&Database> {
        let mut others = self.databases.values().filter(|database| database.id != except);
        others.find(|database| database.files.iter().any(|file| paths.same(&file.path, path)))
    }
}

/// Whether two names are the same to the server's collation.
#[must_use]
pub fn same_name(a: &str, b: &str) -> bool {
    super::functions::compare(a, b).is_eq()
}

/// The server.
#[derive(Debug)]
pub struct Instance {
    /// What it was started with.
    pub setup: Setup,
    /// Its time.
    pub clock: Clock,
    /// Where its requests are counted.
    pub ledger: Ledger,
    /// What it does wrong on purpose.
    pub faults: Faults,
    /// Its identifiers.
    pub guids: Guids,
    catalog: Mutex<Catalog>,
    changed: Condvar,
}

impl Instance {
    /// Opens the server's folder, or lays it out when it is empty; logs are applied to data files that a
    /// killed server left behind them.
    ///
    /// # Errors
    /// When a file cannot be read, written or understood.
    pub fn open(setup: Setup, seed: u64, clock: Clock, ledger: Ledger, faults: Faults) -> io::Result<Self> {
        let paths = setup.paths();
        let volumes = setup.start.volumes.iter().filter(|_| setup.start.platform == Platform::Windows);
        let volumes = volumes.map(|volume| paths.place(&volume.mount, &paths.data_dir()));
        for dir in [paths.data_dir(), paths.log_dir(), paths.backup_dir()].into_iter().chain(volumes) {
            std::fs::create_dir_all(dir)?;
        }
        let saved: Saved = match std::fs::read(setup.dir.join("instance.json")) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Saved {
                guids: 0,
                databases: Vec::new(),
                logins: Vec::new(),
                secured: Secured::default(),
                damaged: Vec::new(),
                machine: Machine::default(),
                principals: Principals::default(),
            },
            Err(error) => return Err(error),
        };
        let fresh = saved.databases.is_empty();
        let id = if setup.login.eq_ignore_ascii_case("sa") { 1 } else { FIRST };
        // It is not saved, and is the same at every start.
        let drawn = format!("administrator {} {}", setup.login, setup.password);
        let mut own = Login::new(id, &setup.login, &setup.password, drawn.as_bytes(), clock.now());
        own.roles.push(Role::SysAdmin.name().to_owned());
        if id == 1 {
            own.sid = vec![1];
        }
        let mut logins = vec![own];
        logins
            .extend(saved.logins.into_iter().filter(|login| !login.name.eq_ignore_ascii_case(&setup.login)));
        let mut machine = saved.machine;
        machine.restarted();
        let catalog = Catalog {
            logins,
            secured: saved.secured,
            damaged: saved.damaged,
            machine,
            principals: saved.principals,
            databases: saved.databases.into_iter().map(|database| (database.id, database)).collect(),
            ..Catalog::default()
        };
        let guids = Guids::new(seed, saved.guids);
        let catalog = Mutex::new(catalog);
        let instance = Self { setup, clock, ledger, faults, guids, catalog, changed: Condvar::new() };
        if fresh {
            for name in SYSTEM {
                let files = instance.default_files(name);
                instance.create_database(name, files, RecoveryModel::Simple).map_err(io::Error::other)?;
            }
        } else {
            instance.recover()?;
        }
        Ok(instance)
    }

    /// The shared state; held only for as long as it is read or changed, never while files are.
    pub fn catalog(&self) -> MutexGuard<'_, Catalog> {
        self.catalog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Saves what outlives a restart and wakes whoever waits for a change.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, catalog: &Catalog) -> Result<(), SqlError> {
        let saved = Saved {
            guids: self.guids.drawn(),
            databases: catalog.databases.values().cloned().collect(),
            logins: catalog.logins.iter().skip(1).cloned().collect(),
            secured: catalog.secured.clone(),
            damaged: catalog.damaged.clone(),
            machine: catalog.machine.clone(),
            principals: catalog.principals.clone(),
        };
        let path = self.setup.dir.join("instance.json");
        let fresh = path.with_extension("json.new");
        let written = serde_json::to_vec_pretty(&saved)
            .map_err(io::Error::from)
            .and_then(|bytes| std::fs::write(&fresh, bytes))
            .and_then(|()| std::fs::rename(&fresh, &path));
        self.changed.notify_all();
        written.map_err(|error| SqlError::internal(format_args!("the catalogue could not be saved: {error}")))
    }

    /// Wakes whoever waits for a change of the shared state.
    pub fn wake(&self) {
        self.changed.notify_all();
    }

    /// Waits until `ready` says something, `patience` is over (nothing) or the session is stopped.
    ///
    /// # Errors
    /// The reason for which the session must stop.
    pub fn wait_for<T>(
        &self,
        stop: &Stop,
        patience: Duration,
        mut ready: impl FnMut(&mut Catalog) -> Option<T>,
    ) -> Result<Option<T>, Reason> {
        let end = Instant::now() + patience;
        let mut catalog = self.catalog();
        loop {
            if let Some(reason) = stop.reason() {
                return Err(reason);
            }
            if let Some(found) = ready(&mut catalog) {
                return Ok(Some(found));
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            // Being stopped does not wake the condition, so it is looked at now and then.
            let step = left.min(Duration::from_millis(20));
            catalog = self.changed.wait_timeout(catalog, step).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The files of a database whose creator named none.
    #[must_use]
    pub fn default_files(&self, name: &str) -> Vec<DataFile> {
        // A name may hold what a path must not.
        let safe: String =
            name.chars().map(|c| if c.is_alphanumeric() || "-_. ".contains(c) { c } else { '_' }).collect();
        // Nor may it be longer than a file's name may be here; a GUID tells those apart that begin alike.
        let safe = if safe.len() <= LONGEST_STEM {
            safe
        } else {
            let fits = safe.char_indices().map(|(at, _)| at).take_while(|at| *at <= LONGEST_STEM - 40);
            format!("{}-{}", &safe[..fits.last().unwrap_or_default()], self.guids.next())
        };
        let file =
            |id, logical, path, is_log| DataFile { id, logical, path, is_log, guid: self.guids.next() };
        vec![
            file(1, name.to_owned(), self.setup.data_dir().join(format!("{safe}.mdf")), false),
            file(2, format!("{name}_log"), self.setup.log_dir().join(format!("{safe}_log.ldf")), true),
        ]
    }

    /// A new database's first LSN. Those of every other database lie beyond 64 bits, as they do on servers
    /// that have lived long, so that no client gets away with less.
    fn first_lsn(&self, id: u32) -> Lsn {
        let drawn = self.guids.number("log", u64::from(id), 900);
        let part = if id % 2 == 1 { 17_126_000 + drawn } else { 34 + drawn };
        Lsn::new(part, 16 + self.guids.number("block", u64::from(id), 40) * 8, 1)
    }

    /// Creates a database with its files and adds it to the catalogue.
    ///
    /// # Errors
    /// 1801 when the name is taken, 5133, 5170 and 1802 for its files.
    pub fn create_database(
        &self,
        name: &str,
        files: Vec<DataFile>,
        model: RecoveryModel,
    ) -> Result<u32, SqlError> {
        let paths = self.setup.paths();
        let mut catalog = self.catalog();
        if catalog.named(name).is_some() {
            let text = format!("Database '{name}' already exists. Choose a different database name.");
            return Err(SqlError::new(1801, text).state(3));
        }
        for file in &files {
            let path = paths.shown(&file.path);
            if !file.path.parent().is_some_and(Path::is_dir) {
                return Err(no_directory(&paths, &file.path));
            }
            if file.path.exists() {
                let text = format!(
                    "Cannot create file '{path}' because it already exists. Change the file path or the file name, and retry the operation."
                );
                return Err(SqlError::new(5170, text));
            }
        }
        let id = (1..).find(|id| !catalog.databases.contains_key(id)).unwrap_or(u32::MAX);
        let start = self.first_lsn(id);
        let family = self.guids.next();
        let database = Database {
            id,
            name: name.to_owned(),
            created: self.clock.now(),
            files,
            state: State::Online,
            standby: None,
            read_only: false,
            access: Access::MultiUser,
            model,
            family,
            binding: self.guids.next(),
            forks: vec![Fork { id: self.guids.next(), from: start }],
            differential_base: None,
            last_full: None,
            last_checkpoint: start,
            chain: None,
            redo: None,
            owner: None,
            compatibility: Some(self.setup.installation().compatibility()),
            trustworthy: false,
            broker: family,
            broker_enabled: false,
            generation: 0,
            log: None,
            writer: None,
            taken_by: None,
        };
        let created =
            files::create_data(&database.data_path(), &self.guids, start).map_err(SqlError::internal);
        let log =
            created.and_then(|()| Log::create(&database.log_path(), start).map_err(SqlError::internal))?;
        catalog.databases.insert(id, Database { log: Some(Arc::new(Mutex::new(log))), ..database });
        self.save(&catalog)?;
        Ok(id)
    }

    /// Opens the logs of all databases that were online and applies what a killed server had logged only.
    fn recover(&self) -> io::Result<()> {
        let mut catalog = self.catalog();
        let online = |database: &Database| database.state == State::Online && database.standby.is_none();
        let mut logs = BTreeMap::new();
        for database in catalog.databases.values().filter(|database| online(database)) {
            let path = database.data_path();
            let applied =
                Some(path).filter(|path| path.is_file()).map(|path| files::applied(&path, &self.guids));
            if let (Some(Ok(applied)), Ok(log)) = (applied, Log::open(&database.log_path())) {
                logs.insert(database.id, (log, applied));
            }
        }
        drop_undecided(&mut logs)?;
        for database in catalog.databases.values_mut().filter(|database| online(database)) {
            let sound = logs.remove(&database.id).and_then(|(log, applied)| {
                let missing = log.records().iter().filter(|record| record.lsn >= applied);
                let missing: Vec<_> = missing.cloned().collect();
                files::redo(&database.data_path(), &self.guids, &missing, log.next()).ok()?;
                Some(log)
            });
            match sound {
                Some(log) => database.log = Some(Arc::new(Mutex::new(log))),
                None => database.state = State::RecoveryPending,
            }
        }
        Ok(())
    }
}

/// Takes back the last records of transactions over several databases that did not reach the deciding log. What
/// has been applied to a data file had reached it, whatever a log backup has made of that log since.
fn drop_undecided(logs: &mut BTreeMap<u32, (Log, Lsn)>) -> io::Result<()> {
    let is_undecided = |log: &Log, applied: Lsn| {
        let last = log.records().last().filter(|record| record.lsn >= applied);
        last.and_then(|record| record.shared).is_some_and(|(number, decider)| {
            let has_it = |log: &Log| log.records().iter().any(|r| r.shared.is_some_and(|(n, _)| n == number));
            logs.get(&decider).is_some_and(|(log, _)| !has_it(log))
        })
    };
    let undecided = logs.iter().filter(|(_, (log, applied))| is_undecided(log, *applied));
    let undecided: Vec<u32> = undecided.map(|(id, _)| *id).collect();
    logs.iter_mut().filter(|(id, _)| undecided.contains(id)).try_for_each(|(_, (log, _))| log.take_back())
}

/// 5133.
#[must_use]
pub fn no_directory(paths: &Paths, path: &Path) -> SqlError {
    let text = format!(
        "Directory lookup for the file \"{}\" failed with the operating system error {}.",
        paths.shown(path),
        paths.no_folder(path)
    );
    SqlError::new(5133, text)
}
