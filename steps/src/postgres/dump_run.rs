//! One attempt of a dump: [`Dumping`]. The snapshot is a session's of our own, so that what is counted is what is dumped.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use drydock_recovery::manifest::Artifact;
use drydock_step::{ArtifactStore, ChildEnd, ChildOutput, ChildSpec, Ctx, StepError};
use serde_json::{Value, json};

use super::base_entry::Tool;
use super::clock::moment;
use super::dump_counts::counted;
use super::dump_entry::{DumpEntry, DumpFormat, DumpedState, Extension, Made};
use super::dump_files::{DumpScratch, local, stored, unchanged};
use super::dump_inputs::{Counts, DumpInputs, Globals};
use super::dump_needs::Needs;
use super::dump_proof::{self, proved};
use super::dump_sealed;
use super::inspection::Inspection;
use super::last_word;
use super::program_access::ProgramAccess;
use super::program_end::ended_badly;
use super::programs::Program;
use super::session::{Session, Snapshot};
use super::sql::quoted;
use super::table_pattern::{TABLES, TablePattern, table};
use super::target::PostgresConnection;
use crate::own_name::own_name;
use crate::piped;

/// The program that dumps.
pub(super) const DUMP: &str = "pg_dump";

/// The program that tells roles and tablespaces.
const GLOBALS: &str = "pg_dumpall";

/// What gives our snapshot to the program, and says which state it is.
pub(super) const EXPORT: &str = "SELECT pg_export_snapshot() AS id, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS micros, \
    CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END AS lsn";

/// How the database was made. Who looks after its sorting is told since 15.
const MADE: &str = "SELECT pg_database_size(d.oid) AS bytes, pg_encoding_to_char(d.encoding) AS encoding, d.datcollate AS collate, d.datctype AS ctype, \
    COALESCE(to_jsonb(d) ->> 'datlocprovider', 'c') AS provider FROM pg_database AS d WHERE d.datname = current_database()";

/// One attempt's work.
pub(super) struct Dumping<'a> {
    /// The attempt.
    pub(super) ctx: &'a Ctx,
    /// Its inputs.
    pub(super) inputs: &'a DumpInputs,
    /// The server.
    pub(super) connection: &'a PostgresConnection,
    /// Where the dump goes.
    pub(super) store: &'a dyn ArtifactStore,
    /// The folder of the store that it fills, once it does.
    pub(super) begun: OnceLock<String>,
}

impl Dumping<'_> {
    /// The whole of it. The file that says what the dump is comes last, and after the note: it may be put again, the dump may not.
    pub(super) async fn outputs(&self) -> Result<Value, StepError> {
        let entry = self.entry().await?;
        let outputs = json!(entry);
        last_word::noted(self.ctx, &outputs).await?;
        dump_sealed::sealed(self.store, &entry).await?;
        Ok(outputs)
    }

    /// Removes what this attempt has left in the store.
    pub(super) async fn cleared(&self) -> Result<(), StepError> {
        match self.begun.get() {
            Some(folder) => removed_below(self.store, folder).await,
            None => Ok(()),
        }
    }

    async fn entry(&self) -> Result<DumpEntry, StepError> {
        let (inputs, settings) = (self.inputs, self.connection.settings());
        let facts = self.connection.facts().await?;
        let program = self.program(DUMP).await?;
        let own = own_name(self.ctx);
        let label = inputs.label.known()?.clone().unwrap_or_else(|| own.clone());
        let folder = format!("{}/{label}", inputs.prefix.known()?.trim_end_matches('/'));
        self.is_new(&folder).await?;
        self.ctx.note(json!({ "begun": folder })).await?;
        let _ = self.begun.set(folder.clone());
        removed_below(self.store, &folder).await?;
        let scratch = DumpScratch::of(self.ctx.host.scratch(), &own)?;
        let database = inputs.database.known()?.as_str();
        let looked = Inspection::of(&Session::open(settings, database).await?, facts.major()).await?;
        let session = Session::open(settings, database).await?;
        let snapshot = session.snapshot().await?;
        if let Some(id) = inputs.snapshot.known()? {
            let sql = format!("SET TRANSACTION SNAPSHOT {}", quoted(id));
            snapshot.ask("taking over the snapshot", &sql).await?;
        }
        let exported = snapshot.ask("exporting the snapshot", EXPORT).await?;
        let row = exported.first()?;
        let id = row.known("id")?.to_owned();
        let state = DumpedState {
            at: moment(row.number("micros")?.unwrap_or_default())?,
            lsn: row.known("lsn")?.to_owned(),
        };
        let (made, database_bytes) = made(&snapshot).await?;
        let needs = Needs::of(&snapshot).await?;
        let without = excluded(&snapshot, inputs.exclude_data.known()?).await?;
        let counting = async {
            Ok(match inputs.counts.known()? {
                Counts::Exact => Some(counted(self.ctx, &snapshot, &without.shown).await?),
                Counts::None => None,
            })
        };
        let dumping = self.dumped(&program, &id, &without.named, &folder, &scratch);
        let (artifacts, counts) = tokio::try_join!(dumping, counting)?;
        snapshot.end().await?;
        let globals = self.globals(&folder).await?;
        self.read_back(&artifacts, globals.as_ref(), &scratch).await?;
        Ok(DumpEntry {
            label,
            database: database.to_owned(),
            format: *inputs.format.known()?,
            server_version: facts.version.clone(),
            server_major: facts.major(),
            system_identifier: facts.system_identifier.value.clone(),
            tool_major: program.major(),
            tool: Tool { path: program.path, version: program.version },
            snapshot: state,
            made,
            needs: Some(needs),
            database_bytes,
            counts,
            without_data: without.shown,
            vectors: looked.outputs().get("vectors").cloned().unwrap_or(Value::Array(Vec::new())),
            extensions: looked
                .extensions
                .into_iter()
                .map(|extension| Extension { name: extension.name, version: extension.version })
                .collect(),
            bytes: artifacts.iter().map(|file| file.size).sum(),
            artifacts,
            globals,
            proved: *inputs.prove.known()?,
        })
    }

    /// Nothing, when no other dump has this place: what an earlier attempt of this step has begun may be replaced.
    async fn is_new(&self, folder: &str) -> Result<(), StepError> {
        let is_own = begun(&self.ctx.notes).any(|begun| begun == folder);
        if is_own || self.store.list(folder).await?.is_empty() {
            return Ok(());
        }
        Err(StepError::new("artifact.exists", format!("there is already a dump in {folder}"))
            .help("give it another `label`, or leave that out; or another `prefix`"))
    }

    /// The dump, in the store.
    async fn dumped(
        &self,
        program: &Program,
        snapshot: &str,
        without: &[String],
        folder: &str,
        scratch: &DumpScratch,
    ) -> Result<Vec<Artifact>, StepError> {
        let place = scratch.folder.join("data");
        let mut argv = vec![program.path.clone()];
        argv.extend(self.inputs.arguments(snapshot, without, &place.display().to_string()));
        if *self.inputs.format.known()? == DumpFormat::Custom {
            return Ok(vec![self.streamed(argv, DUMP, &format!("{folder}/database.dump")).await?]);
        }
        let access = self.access()?;
        let end = self.ctx.spawn(self.spec(argv, &access)).await?;
        judged(DUMP, &end)?;
        let files = names_in(&place)?;
        let mut artifacts = Vec::new();
        for (at, name) in files.iter().enumerate() {
            self.ctx.progress(at as u64, Some(files.len() as u64), "files", format!("storing {name}"));
            artifacts.push(stored(self.store, &place.join(name), &format!("{folder}/data/{name}")).await?);
        }
        Ok(artifacts)
    }

    async fn program(&self, name: &str) -> Result<Program, StepError> {
        let major = self.connection.facts().await?.major();
        Program::find(self.ctx, &self.connection.settings().programs, name, major).await
    }

    fn access(&self) -> Result<ProgramAccess, StepError> {
        let database = self.inputs.database.known()?.as_str();
        ProgramAccess::of(self.ctx.host.scratch(), self.connection.settings(), database)
    }

    fn spec(&self, argv: Vec<String>, access: &ProgramAccess) -> ChildSpec {
        ChildSpec {
            argv,
            env: access.variables(),
            cwd: self.ctx.folder.to_path_buf(),
            stdin: Vec::new(),
            stdout: ChildOutput::Dropped,
        }
    }

    /// What a program writes, in the store.
    async fn streamed(&self, argv: Vec<String>, name: &str, path: &str) -> Result<Artifact, StepError> {
        let access = self.access()?;
        let (ctx, sent) = (self.ctx.clone(), Arc::new(AtomicU64::new(0)));
        let seen = move |more| {
            let before = sent.fetch_add(more, Ordering::Relaxed);
            if (before >> 20) != ((before + more) >> 20) {
                ctx.progress(before + more, None, "bytes", "dumping");
            }
        };
        let judge = |end: &ChildEnd| judged(name, end);
        let (stored, _) =
            piped::stored(self.ctx, self.spec(argv, &access), self.store, path, judge, seen).await?;
        Ok(Artifact { path: stored.path, size: stored.size, sha256: stored.sha256 })
    }

    /// The cluster's roles and tablespaces, where they are wanted.
    async fn globals(&self, folder: &str) -> Result<Option<Artifact>, StepError> {
        let with = *self.inputs.globals.known()?;
        if with == Globals::None {
            return Ok(None);
        }
        let program = self.program(GLOBALS).await?;
        let mut argv = vec![program.path.clone(), "--globals-only".into(), "--no-password".into()];
        argv.extend((with == Globals::NoPasswords).then(|| "--no-role-passwords".to_owned()));
        self.streamed(argv, GLOBALS, &format!("{folder}/globals.sql")).await.map(Some)
    }

    /// Nothing, when what lies in the store is what the programs wrote, and can be read.
    async fn read_back(
        &self,
        artifacts: &[Artifact],
        globals: Option<&Artifact>,
        scratch: &DumpScratch,
    ) -> Result<(), StepError> {
        let (mut done, total) = (0, artifacts.iter().map(|file| file.size).sum());
        for file in artifacts.iter().chain(globals) {
            unchanged(self.store, file, |more| {
                done += more;
                self.ctx.progress(done, Some(total), "bytes", "reading it back");
            })
            .await?;
        }
        if !*self.inputs.prove.known()? {
            return Ok(());
        }
        let program = self.program(dump_proof::PROGRAM).await?;
        let place = local(self.store, *self.inputs.format.known()?, artifacts, scratch).await?;
        proved(self.ctx, &program, &place).await
    }
}

/// The tables whose rows are left out.
struct Without {
    /// As pg_dump is told of them: it reads what is between double quotes as it is.
    named: Vec<String>,
    /// As an entry tells them.
    shown: Vec<String>,
}

/// Which tables these are. The rows of a table with partitions lie in those.
async fn excluded(snapshot: &Snapshot<'_>, patterns: &[TablePattern]) -> Result<Without, StepError> {
    let mut without = Without { named: Vec::new(), shown: Vec::new() };
    if patterns.is_empty() {
        return Ok(without);
    }
    let conditions: Vec<String> = patterns.iter().map(TablePattern::condition).collect();
    let sql = format!("{TABLES} AND ({}) ORDER BY 1, 2", conditions.join(" OR "));
    let meant = snapshot.ask("listing the tables without rows", &sql).await?;
    for row in meant.rows() {
        let (schema, name) = (row.known("schema")?, row.known("name")?);
        without.shown.push(format!("{schema}.{name}"));
        let sql = format!(
            "SELECT n.nspname AS schema, c.relname AS name FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace \
             WHERE c.oid = {of}::regclass OR c.oid IN (SELECT relid FROM pg_partition_tree({of}::regclass)) ORDER BY 1, 2",
            of = quoted(&table(schema, name))
        );
        let parts = snapshot.ask("listing the partitions of a table", &sql).await?;
        for part in parts.rows() {
            without.named.push(table(part.known("schema")?, part.known("name")?));
        }
    }
    Ok(without)
}

/// How the database was made, and its size in bytes.
async fn made(snapshot: &Snapshot<'_>) -> Result<(Made, Option<u64>), StepError> {
    let answer = snapshot.ask("asking how the database was made", MADE).await?;
    let row = answer.first()?;
    let is_systems = row.known("provider")? == "c";
    let of = |column: &str| row.text(column).map(|text| text.filter(|_| is_systems).map(str::to_owned));
    let made =
        Made { encoding: row.known("encoding")?.to_owned(), collate: of("collate")?, ctype: of("ctype")? };
    Ok((made, row.number("bytes")?.and_then(|bytes| u64::try_from(bytes).ok())))
}

fn names_in(folder: &Path) -> Result<Vec<String>, StepError> {
    let failed = |error: std::io::Error| {
        StepError::new("postgres.unpack", format!("{} cannot be read: {error}", folder.display()))
    };
    let mut names = Vec::new();
    for file in std::fs::read_dir(folder).map_err(failed)? {
        names.push(file.map_err(failed)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Nothing, when the program has done all.
fn judged(name: &str, end: &ChildEnd) -> Result<(), StepError> {
    if end.code == Some(0) {
        return Ok(());
    }
    let (error, words) = (ended_badly(name, end), &end.stderr);
    // pg_dump has the server watch the wait as it watches any statement.
    let is_locked = words.contains("statement timeout") && words.contains("LOCK TABLE");
    let (transient, help) = if is_locked || words.contains("lock timeout") {
        (
            true,
            "somebody else holds a lock on a table; see pg_locks and pg_stat_activity, or give `lock_wait` more time",
        )
    } else if words.contains("permission denied") {
        (false, "GRANT pg_read_all_data to the role; `drydock grants` prints what a plan needs")
    } else if words.contains("row-level security") {
        (false, "ALTER ROLE … BYPASSRLS: a dump without the rows that a policy hides would not be whole")
    } else if words.contains("server closed the connection") || words.contains("connection to server") {
        (true, "the server was shut down or could not be reached; nothing of this dump is left in the store")
    } else if words.contains("No space left") {
        let help = "free space where the run's scratch lies, which `format: directory` fills, or say `format: custom`; then resume";
        return Err(StepError { code: "postgres.space".into(), ..error.help(help) });
    } else {
        (false, "its words say why; nothing of this dump is left in the store")
    };
    Err(StepError { transient, ..error.help(help) })
}

/// The folders of the store that these notes say were begun to be filled.
fn begun(notes: &[Value]) -> impl Iterator<Item = &str> {
    notes.iter().filter_map(|note| note.get("begun").and_then(Value::as_str))
}

/// Removes what attempts of this step have left in the store. A dump that was handed on is no leaving.
///
/// # Errors
/// What the store says.
pub(super) async fn removed(ctx: &Ctx, store: &dyn ArtifactStore) -> Result<(), StepError> {
    for folder in begun(last_word::open_notes(ctx)) {
        removed_below(store, folder).await?;
    }
    Ok(())
}

/// The file that says what the dump is goes first: from then on it is an unfinished one.
async fn removed_below(store: &dyn ArtifactStore, folder: &str) -> Result<(), StepError> {
    store.delete(&dump_sealed::path_in(folder)).await?;
    for file in store.list(folder).await? {
        store.delete(&file.path).await?;
    }
    Ok(())
}
