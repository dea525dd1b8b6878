//! One attempt of a load: [`Loading`]. The rows go into a database of a name of its own, which gets the name that is wanted once they are
//! proved to be all; indexes follow under that name.

use std::path::{Path, PathBuf};

use drydock_recovery::Time;
use drydock_step::{ArtifactStore, Ctx, StepError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::dump_counts::{counted, differing};
use super::dump_entry::{DumpEntry, Extension};
use super::dump_files::{DumpScratch, local, unchanged};
use super::inspection::Inspection;
use super::last_word;
use super::load_checks::hindrances;
use super::load_globals::Lacking;
use super::load_indexes::{Rest, rest};
use super::load_inputs::{LoadGlobals, LoadInputs};
use super::load_pass::Pass;
use super::load_place::{Place, Standing, dropping};
use super::programs::Program;
use super::session::Session;
use super::sql::{named, quoted};
use super::target::PostgresConnection;

/// The program.
pub(super) const PROGRAM: &str = "pg_restore";

/// Something that is reached while the load goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Milestone {
    /// `restored` or `indexed`.
    name: String,
    /// So long after the attempt began.
    seconds: u64,
    /// When, by the server's clock.
    at: Time,
}

/// One attempt's work.
pub(super) struct Loading<'a> {
    /// The attempt.
    pub(super) ctx: &'a Ctx,
    /// Its inputs.
    pub(super) inputs: &'a LoadInputs,
    /// The server.
    pub(super) connection: &'a PostgresConnection,
    /// Where the dump is.
    pub(super) store: &'a dyn ArtifactStore,
    /// Where it goes.
    pub(super) place: Place<'a>,
}

impl Loading<'_> {
    /// The whole of it.
    pub(super) async fn outputs(&self) -> Result<Value, StepError> {
        let dump = self.inputs.dump.known()?.read(self.store).await?;
        let (dump, name) = (dump.as_ref(), self.place.name.as_str());
        let admin = self.connection.session();
        let facts = self.connection.facts().await?;
        let began = self.ctx.now_ms();
        let stands = self.place.standing().await?;
        let mut hindering: Vec<StepError> = self.place.hindrance(&stands, true).await?.into_iter().collect();
        hindering.extend(hindrances(admin, facts, dump).await?);
        let globals = *self.inputs.globals.known()?;
        let lacking = match globals {
            LoadGlobals::Ignore => Lacking::default(),
            LoadGlobals::Check | LoadGlobals::Apply => Lacking::of(admin, dump, self.inputs).await?,
        };
        hindering.extend(match globals {
            LoadGlobals::Check => lacking.refused(),
            LoadGlobals::Apply | LoadGlobals::Ignore => lacking.untold(dump),
        });
        if let Some(first) = hindering.into_iter().next() {
            return Err(first);
        }
        let programs = &self.connection.settings().programs;
        let program = Program::find(self.ctx, programs, PROGRAM, facts.major().max(dump.tool_major)).await?;
        let scratch = DumpScratch::of(self.ctx.host.scratch(), self.place.own)?;
        let place = self.proved(dump, &scratch).await?;
        lacking.made(self.ctx, admin, self.store, dump).await?;
        let restored = match stands {
            Standing::Own => self.restored_before().await?,
            _ => self.restored(dump, &program, &place, began).await?,
        };
        self.indexed(name, &program, &place, &scratch, stands == Standing::Own).await?;
        let indexed = self.reached("indexed", began).await?;
        self.told(dump, name, &[restored, indexed]).await
    }

    /// Where the dump is, once every file of it is known to be what was stored.
    async fn proved(&self, dump: &DumpEntry, scratch: &DumpScratch) -> Result<PathBuf, StepError> {
        if *self.inputs.verify_hash.known()? {
            let mut done = 0;
            for file in &dump.artifacts {
                unchanged(self.store, file, |more| {
                    done += more;
                    self.ctx.progress(done, Some(dump.bytes), "bytes", "proving the dump");
                })
                .await?;
            }
        }
        local(self.store, dump.format, &dump.artifacts, scratch).await
    }

    fn pass<'p>(
        &'p self,
        program: &'p Program,
        place: &'p Path,
        database: &'p str,
        arguments: &'p [String],
    ) -> Pass<'p> {
        Pass { ctx: self.ctx, connection: self.connection, program, place, database, arguments }
    }

    /// Tables and rows, proved and under the name that is wanted.
    async fn restored(
        &self,
        dump: &DumpEntry,
        program: &Program,
        place: &Path,
        began: i64,
    ) -> Result<Milestone, StepError> {
        let (admin, own) = (self.connection.session(), self.place.own);
        // What an attempt before this one has half filled.
        admin.work("dropping what an earlier attempt left", &dropping(own)).await?;
        admin.work("making the database", &self.inputs.creating(own, dump)?).await?;
        let mark = format!("COMMENT ON DATABASE {} IS {}", named(own), quoted(own));
        admin.work("marking the database", &mark).await?;
        let arguments = self.inputs.arguments()?;
        let pass = self.pass(program, place, own, &arguments);
        pass.of("pre-data", &[], "").await?;
        pass.of("data", &[], "").await?;
        if let Some(expected) = &dump.counts {
            let session = Session::open(self.connection.settings(), own).await?;
            let snapshot = session.snapshot().await?;
            let found = counted(self.ctx, &snapshot, &dump.without_data).await?;
            snapshot.end().await?;
            if let Some(words) = differing(expected, &found) {
                return Err(StepError::new("postgres.counts", format!("the rows are not those of the dump: {words}"))
                    .help("what was loaded is dropped; see what writes into a database while it is loaded: triggers, jobs, extensions"));
            }
        }
        if let Some(aside) = self.place.named(self.inputs.owner.known()?.as_ref()).await? {
            self.ctx.log(format!(
                "what had the name {} is called {aside} until the load is done",
                self.place.name
            ));
        }
        let reached = self.reached("restored", began).await?;
        self.ctx.note(json!({ "restored": reached })).await?;
        Ok(reached)
    }

    /// The rows are all there: an earlier attempt has given the database its name.
    async fn restored_before(&self) -> Result<Milestone, StepError> {
        let notes = last_word::open_notes(self.ctx).iter().rev();
        match notes.filter_map(|note| Milestone::deserialize(note.get("restored")?).ok()).next() {
            Some(reached) => Ok(reached),
            None => self.reached("restored", self.ctx.now_ms()).await,
        }
    }

    async fn reached(&self, name: &str, began: i64) -> Result<Milestone, StepError> {
        let seconds = u64::try_from((self.ctx.now_ms() - began) / 1000).unwrap_or_default();
        let at = super::clock::now(self.connection.session()).await?;
        Ok(Milestone { name: name.to_owned(), seconds, at })
    }

    /// Indexes, keys and triggers. What an earlier attempt has made of them and is whole stays.
    async fn indexed(
        &self,
        name: &str,
        program: &Program,
        place: &Path,
        scratch: &DumpScratch,
        is_again: bool,
    ) -> Result<(), StepError> {
        let arguments = self.inputs.arguments()?;
        let options = self.inputs.options()?;
        let mut more = Vec::new();
        let list = scratch.folder.join("rest");
        if is_again {
            // A server that builds an index sees only at its end that nobody waits for it any more.
            let sql = format!(
                "SELECT count(pg_terminate_backend(pid, 60000)) FROM pg_stat_activity WHERE datname = {} AND usename = current_user \
                 AND application_name LIKE 'drydock %' AND pid <> pg_backend_pid()",
                quoted(name)
            );
            self.connection.session().work("ending what a lost attempt still does", &sql).await?;
        }
        if is_again {
            let session = Session::open(self.connection.settings(), name).await?;
            match rest(self.ctx, &session, program, place).await? {
                Rest::All => more.extend(["--clean".to_owned(), "--if-exists".to_owned()]),
                Rest::Lines(lines) => {
                    std::fs::write(&list, lines).map_err(|error| {
                        StepError::new(
                            "postgres.unpack",
                            format!("{} cannot be written: {error}", list.display()),
                        )
                    })?;
                    more.push(format!("--use-list={}", list.display()));
                }
            }
        }
        self.pass(program, place, name, &arguments).of("post-data", &more, &options).await
    }

    /// What is to be said of indexes of vectors that outgrew their memory. The server's own notice of it is not heard: a dump begins with a
    /// statement that silences notices. A graph is about as large in memory as its index is.
    async fn outgrown(&self, looked: &Value) -> Result<Vec<String>, StepError> {
        let sql =
            "SELECT setting::bigint * 1024 AS bytes FROM pg_settings WHERE name = 'maintenance_work_mem'";
        let memory = match self.inputs.maintenance_work_mem.known()? {
            Some(memory) => memory.0,
            None => {
                let answer = self.connection.session().ask("asking for maintenance_work_mem", sql).await?;
                u64::try_from(answer.first()?.number("bytes")?.unwrap_or_default()).unwrap_or_default()
            }
        };
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        let outgrown = graphs(looked).into_iter().filter(|(_, bytes)| *bytes > memory);
        let words = outgrown.map(|(name, bytes)| {
            format!(
                "the index {name} of {} MiB no longer fits into maintenance_work_mem ({} MiB), and took far longer to build than it would have: say `maintenance_work_mem: {}MiB`",
                mib(bytes),
                mib(memory),
                mib(bytes * 5 / 4)
            )
        });
        Ok(words.collect())
    }

    /// What the database has become.
    async fn told(&self, dump: &DumpEntry, name: &str, milestones: &[Milestone]) -> Result<Value, StepError> {
        let facts = self.connection.facts().await?;
        let session = Session::open(self.connection.settings(), name).await?;
        if *self.inputs.analyze.known()? {
            self.ctx.log(format!("analysing {name}"));
            session.work("analysing the database", "ANALYZE").await?;
        }
        let looked = Inspection::of(&session, facts.major()).await?;
        if let Some(first) = looked.invalid.first() {
            let message = format!("the index {} of {} is invalid after the load", first.name, first.of);
            return Err(StepError::new("postgres.index", message)
                .help("REINDEX INDEX it, and find out why it failed"));
        }
        let mut warnings = self.outgrown(&looked.outputs()).await?;
        let extensions: Vec<Extension> = looked
            .extensions
            .iter()
            .map(|found| Extension { name: found.name.clone(), version: found.version.clone() })
            .collect();
        for extension in &extensions {
            let before = dump.extensions.iter().find(|known| known.name == extension.name);
            if let Some(before) = before.filter(|before| before.version != extension.version) {
                warnings.push(format!(
                    "the extension {} is {} here and was {} in the dump",
                    extension.name, extension.version, before.version
                ));
            }
        }
        for warning in &warnings {
            self.ctx.log(warning.clone());
        }
        Ok(json!({
            "database": name,
            "milestones": milestones,
            "restored_at": milestones.first().map(|reached| reached.at),
            "indexed_at": milestones.last().map(|reached| reached.at),
            "counts": dump.counts,
            "extensions": extensions,
            "warnings": warnings,
        }))
    }
}

/// The indexes of vectors that are built as graphs, with their sizes in bytes.
fn graphs(looked: &Value) -> Vec<(&str, u64)> {
    let columns = looked.get("vectors").and_then(Value::as_array).into_iter().flatten();
    let indexes = columns.filter_map(|column| column.get("indexes")?.as_array()).flatten();
    let graph = |index: &'_ Value| index.get("method").and_then(Value::as_str) == Some("hnsw");
    indexes
        .filter(|index| graph(index))
        .filter_map(|index| Some((index.get("name")?.as_str()?, index.get("bytes")?.as_u64()?)))
        .collect()
}
