//! What `postgres.load` is told: [`LoadInputs`], and the statement, arguments and settings that follow from it.

use std::borrow::Cow;

use drydock_step::artifact::path_parts;
use drydock_step::{ArtifactStore, ByteCount, Shape, StepError, inputs, known, maybe};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::dump_entry::DumpEntry;
use super::dump_sealed;
use super::sql::{Identifier, named, quoted};

/// The most connections of one load.
const MOST_JOBS: u32 = 64;

/// A dump as a plan names it.
#[derive(Debug, Clone, PartialEq)]
pub enum DumpSource {
    /// By all that is known of it.
    Entry(Box<DumpEntry>),
    /// By its folder in the store, where `backup.json` says the rest.
    Place(String),
}

impl<'de> Deserialize<'de> for DumpSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        match Value::deserialize(deserializer)? {
            Value::String(place) => {
                let place = place.trim_end_matches('/').to_owned();
                path_parts(&place).map_err(|error| D::Error::custom(error.message))?;
                Ok(Self::Place(place))
            }
            entry => serde_json::from_value(entry).map(Self::Entry).map_err(D::Error::custom),
        }
    }
}

impl DumpSource {
    /// What is known of it without asking the store.
    pub(super) fn entry(&self) -> Option<&DumpEntry> {
        match self {
            Self::Entry(entry) => Some(entry),
            Self::Place(_) => None,
        }
    }

    /// What is known of it, by the store where the plan does not say.
    ///
    /// # Errors
    /// Those of [`dump_sealed::read`].
    pub(super) async fn read(&self, store: &dyn ArtifactStore) -> Result<Cow<'_, DumpEntry>, StepError> {
        match self {
            Self::Entry(entry) => Ok(Cow::Borrowed(entry)),
            Self::Place(place) => dump_sealed::read(store, place).await.map(Cow::Owned),
        }
    }

    /// Where in the store it begins.
    pub(super) fn path(&self) -> Option<&str> {
        match self {
            Self::Entry(entry) => entry.head().map(|head| head.path.as_str()),
            Self::Place(place) => Some(place),
        }
    }
}

/// What becomes of roles and tablespaces that the dump needs and the server lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LoadGlobals {
    /// They are named, and nothing is loaded.
    Check,
    /// They are made as the dump's own `globals` say.
    Apply,
    /// Nobody looks.
    Ignore,
}

inputs! {
    /// Inputs of `postgres.load`.
    pub struct LoadInputs {
        /// The dump: what `postgres.dump` gave, or the path of its folder in the store, whose `backup.json` says the same.
        dump: DumpSource = known(Shape::Either(&Shape::Text, &Shape::Map(&Shape::Any))),
        /// The target of the artifact store.
        from: String = known(Shape::Text),
        /// The database to make. It need not have the name that it had. One that is there already is left as it is, unless it is empty or `replace` is said.
        database: Identifier = known(Shape::Text),
        /// Destroy the database of that name, if there is one: the dump is loaded beside it, the names change in one moment once all rows are proved, and the old one is dropped at the very end. Its owner, its rights and its settings pass to the new one.
        replace: bool = maybe(Shape::Boolean).or("false"),
        /// End the sessions of others in the database that is replaced. Without it the load is refused while there are any.
        end_sessions: bool = maybe(Shape::Boolean).or("false"),
        /// Roles and tablespaces that the dump needs and the server lacks: `check` refuses the load before anything is written, and names them; `apply` makes them as the dump's own `globals` say, and alters none that is there; `ignore` does not look.
        globals: LoadGlobals = maybe(Shape::OneOf(&["check", "apply", "ignore"])).or("\"check\""),
        /// What it is made from.
        template: Identifier = maybe(Shape::Text).or("\"template0\""),
        /// The role that it belongs to; that of the database that it replaces or else the connecting one where none is named.
        owner: Option<Identifier> = maybe(Shape::Text),
        /// How many tables and indexes are worked on at once.
        jobs: u32 = maybe(Shape::Integer).or("1"),
        /// Give everything in it to the roles that had it, which must be there.
        owners: bool = maybe(Shape::Boolean).or("true"),
        /// Give the roles the rights that they had.
        privileges: bool = maybe(Shape::Boolean).or("true"),
        /// Put everything into the tablespace that it was in, which must be there; else all of it lies in the database's own.
        tablespaces: bool = maybe(Shape::Boolean).or("true"),
        /// What building one index may use. An index of vectors that fits into it is built many times faster.
        maintenance_work_mem: Option<ByteCount> = maybe(Shape::Size),
        /// How many processes of the server build one index, besides its own.
        max_parallel_maintenance_workers: Option<u32> = maybe(Shape::Integer),
        /// Take statistics afterwards, without which queries are planned badly.
        analyze: bool = maybe(Shape::Boolean).or("true"),
        /// Prove every file of the dump to be what was stored, before anything is made.
        verify_hash: bool = maybe(Shape::Boolean).or("true"),
    }
}

impl LoadInputs {
    /// Nothing, when the inputs go together.
    pub(super) fn fits(&self) -> Result<(), StepError> {
        match self.jobs.value() {
            Some(jobs) if *jobs == 0 || *jobs > MOST_JOBS => {
                Err(StepError::new("input", format!("input `jobs` is {jobs}")).help("from 1 to 64"))
            }
            _ => Ok(()),
        }
    }

    /// Whether it is known what of roles and tablespaces is wanted.
    pub(super) fn are_wants_known(&self) -> bool {
        [&self.owners, &self.privileges, &self.tablespaces].iter().all(|wanted| wanted.value().is_some())
    }

    /// The statement that makes the database as the dumped one was made.
    pub(super) fn creating(&self, name: &str, dump: &DumpEntry) -> Result<String, StepError> {
        let mut sql = format!("CREATE DATABASE {} TEMPLATE {}", named(name), self.template.known()?.named());
        if let Some(owner) = self.owner.known()? {
            sql.push_str(&format!(" OWNER {}", owner.named()));
        }
        sql.push_str(&format!(" ENCODING {}", quoted(&dump.made.encoding)));
        for (word, value) in [("LC_COLLATE", &dump.made.collate), ("LC_CTYPE", &dump.made.ctype)] {
            if let Some(value) = value {
                sql.push_str(&format!(" {word} {}", quoted(value)));
            }
        }
        Ok(sql)
    }

    /// What pg_restore is told beside the section.
    pub(super) fn arguments(&self) -> Result<Vec<String>, StepError> {
        let mut arguments = vec![format!("--jobs={}", self.jobs.known()?)];
        arguments.extend((!*self.owners.known()?).then(|| "--no-owner".to_owned()));
        arguments.extend((!*self.privileges.known()?).then(|| "--no-privileges".to_owned()));
        arguments.extend((!*self.tablespaces.known()?).then(|| "--no-tablespaces".to_owned()));
        Ok(arguments)
    }

    /// The settings of the sessions that build indexes.
    pub(super) fn options(&self) -> Result<String, StepError> {
        let mut options = Vec::new();
        if let Some(memory) = self.maintenance_work_mem.known()? {
            options.push(format!("-c maintenance_work_mem={}kB", (memory.0 / 1024).max(1024)));
        }
        if let Some(workers) = self.max_parallel_maintenance_workers.known()? {
            options.push(format!("-c max_parallel_maintenance_workers={workers}"));
        }
        Ok(options.join(" "))
    }
}
