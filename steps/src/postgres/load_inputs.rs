//! What `postgres.load` is told: [`LoadInputs`], and the statement, arguments and settings that follow from it.

use drydock_step::{ByteCount, Shape, StepError, inputs, known, maybe};

use super::dump_entry::DumpEntry;
use super::sql::{Identifier, named, quoted};

/// The most connections of one load.
const MOST_JOBS: u32 = 64;

inputs! {
    /// Inputs of `postgres.load`.
    pub struct LoadInputs {
        /// The dump, as `postgres.dump` gave it.
        dump: DumpEntry = known(Shape::Map(&Shape::Any)),
        /// The target of the artifact store.
        from: String = known(Shape::Text),
        /// The database to make. It need not have the name that it had; a database that is there already is left as it is.
        database: Identifier = known(Shape::Text),
        /// What it is made from.
        template: Identifier = maybe(Shape::Text).or("\"template0\""),
        /// The role that it belongs to; the connecting one where none is named.
        owner: Option<Identifier> = maybe(Shape::Text),
        /// How many tables and indexes are worked on at once.
        jobs: u32 = maybe(Shape::Integer).or("1"),
        /// Give everything in it to the roles that had it, which must be there.
        owners: bool = maybe(Shape::Boolean).or("true"),
        /// Give the roles the rights that they had.
        privileges: bool = maybe(Shape::Boolean).or("true"),
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
