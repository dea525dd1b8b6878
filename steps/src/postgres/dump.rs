//! `postgres.dump`: [`Dump`] dumps one database, in one state of it, into an artifact store, with the exact counts of that very state.

use async_trait::async_trait;
use drydock_step::{
    Access, Action, ActionKind, Ctx, Effect, Ended, Facts, Grant, KindShape, Millis, Preflight, Reconciled,
    Shape, StepError, StepKind, TargetNeed, Touch, inputs, known, maybe,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::dump_entry::{DUMP_ENTRY, DumpEntry, DumpFormat};
use super::dump_run::{DUMP, Dumping, EXPORT};
use super::finding::found;
use super::programs::Program;
use super::rights::reading;
use super::sql::Identifier;
use super::table_pattern::TablePattern;
use super::target::PostgresConnection;
use crate::described::described;
use crate::rehash::hex;

/// The longest label.
const LONGEST: usize = 60;

/// The most connections of one dump.
const MOST_JOBS: u32 = 64;

/// Roles and tablespaces, which no dump of a database has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Globals {
    /// Without them.
    None,
    /// With the roles' password hashes.
    All,
    /// Without those.
    NoPasswords,
}

/// Whether rows are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Counts {
    /// Every table's, in the dump's own snapshot.
    Exact,
    /// Not at all.
    None,
}

inputs! {
    /// Inputs of `postgres.dump`.
    pub struct DumpInputs {
        /// The database.
        database: Identifier = known(Shape::Text),
        /// The target of the artifact store.
        to: String = known(Shape::Text),
        /// Where in the store: the dump lies below it, in a folder of its own.
        prefix: String = maybe(Shape::Text).or("\"postgres/dump\""),
        /// Its name: letters, digits, `.`, `_` and `-`. Made of the run and the step where it is left out.
        label: Option<String> = maybe(Shape::Text),
        /// `custom` is one file, streamed into the store; `directory` is a file a table, made by `jobs` connections in the run's scratch.
        format: DumpFormat = maybe(Shape::OneOf(&["custom", "directory"])).or("\"custom\""),
        /// How many tables are read at once; only with `format: directory`.
        jobs: u32 = maybe(Shape::Integer).or("1"),
        /// How it is compressed, as pg_dump takes it: `0` to `9`; from version 16 on also `gzip:6`, `lz4` or `zstd:3`.
        compress: Option<String> = maybe(Shape::Text),
        /// Tables whose rows are left out; the tables themselves are there.
        exclude_data: Vec<TablePattern> = maybe(Shape::List(&Shape::Text)).or("[]"),
        /// Keep the cluster's roles and tablespaces beside the dump. `all` has the roles' password hashes in it: the store then holds secrets.
        globals: Globals = maybe(Shape::OneOf(&["none", "no_passwords", "all"])).or("\"none\""),
        /// A snapshot that another session has exported and still holds: the dump is of that state.
        snapshot: Option<String> = maybe(Shape::Text),
        /// The longest wait for a table that somebody has locked.
        lock_wait: Millis = maybe(Shape::Duration).or("\"5m\""),
        /// `exact` counts every table's rows in the dump's own snapshot, so that a load can be compared with it.
        counts: Counts = maybe(Shape::OneOf(&["exact", "none"])).or("\"exact\""),
        /// Have pg_restore read what lies in the store, to its end.
        prove: bool = maybe(Shape::Boolean).or("true"),
    }
}

impl DumpInputs {
    /// Nothing, when the inputs go together.
    pub(super) fn fits(&self) -> Result<(), StepError> {
        let refused = |message: String, help: &str| Err(StepError::new("input", message).help(help));
        if let Some(Some(label)) = self.label.value() {
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            if label.is_empty() || label.len() > LONGEST || label.starts_with('.') || !label.chars().all(fits)
            {
                let message = format!("input `label`, `{label}`, is no name of a dump");
                return refused(
                    message,
                    "up to 60 letters, digits, `.`, `_` and `-`, the first of them no `.`",
                );
            }
        }
        if let Some(Some(compress)) = self.compress.value() {
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '=' | ',');
            if compress.is_empty() || !compress.chars().all(fits) {
                let message = format!("input `compress`, `{compress}`, is no compression of pg_dump");
                return refused(message, "`0` to `9`, or from version 16 on `gzip:6`, `lz4` or `zstd:3`");
            }
        }
        match (self.jobs.value(), self.format.value()) {
            (Some(jobs), _) if *jobs == 0 || *jobs > MOST_JOBS => {
                refused(format!("input `jobs` is {jobs}"), "from 1 to 64")
            }
            (Some(2..), Some(DumpFormat::Custom)) => refused(
                "input `jobs` is more than one, and a dump of `format: custom` is read by one connection"
                    .into(),
                "say `format: directory`, or leave `jobs` out",
            ),
            _ => Ok(()),
        }
    }

    /// The arguments of pg_dump, as far as they are known.
    pub(super) fn arguments(&self, snapshot: &str, without: &[String], place: &str) -> Vec<String> {
        let mut arguments = match self.format.value() {
            Some(DumpFormat::Custom) => vec!["--format=custom".to_owned()],
            Some(DumpFormat::Directory) => {
                vec![
                    "--format=directory".to_owned(),
                    format!("--jobs={}", self.jobs),
                    format!("--file={place}"),
                ]
            }
            None => vec![format!("--format={}", self.format.or_after(|_| String::new()))],
        };
        arguments.push(format!("--snapshot={snapshot}"));
        arguments.push(format!("--lock-wait-timeout={}", self.lock_wait.or_after(|wait| wait.0.to_string())));
        if let Some(Some(compress)) = self.compress.value() {
            arguments.push(format!("--compress={compress}"));
        }
        arguments.extend(without.iter().map(|table| format!("--exclude-table-data={table}")));
        arguments.push("--no-password".into());
        arguments
    }
}

/// The name of a step's own dump: the same for each of its attempts.
pub(super) fn own_name(ctx: &Ctx) -> String {
    let hash = hex(&<sha2::Sha256 as sha2::Digest>::digest(format!("{}/{}", ctx.run, ctx.step)));
    format!("drydock_{}", hash.get(..16).unwrap_or_default())
}

/// Dumps databases.
pub struct Dump;

#[async_trait]
impl StepKind for Dump {
    type Inputs = DumpInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["postgres"]),
            target_inputs: &[("to", &["artifacts"])],
            outputs: DUMP_ENTRY,
            effect: Effect::Writes,
            permissions: &[
                "postgres: pg_read_all_data, and CONNECT on the database; BYPASSRLS where tables have row level security",
                "artifacts: write to the store",
            ],
            example: "dump:\n  uses: postgres.dump\n  target: vectors\n  with: { database: octopus, to: backups }\n",
            ..described(
                "postgres.dump",
                "Dumps one database into the artifact store, in one state of it, and counts every table's rows in that very state; then reads the dump back, and has pg_restore read it.",
            )
        }
    }

    fn judge(&self, inputs: &DumpInputs) -> Result<(), StepError> {
        inputs.fits()
    }

    fn touches(&self, target: Option<&str>, inputs: &DumpInputs) -> Vec<Touch> {
        let database = inputs.database.value().map_or("?".into(), |name| format!("database {name}"));
        let path = inputs.prefix.value().map_or("?".into(), |prefix| format!("path {prefix}"));
        vec![
            Touch { target: target.map(str::to_owned), resource: database, access: Access::Reads },
            Touch { target: inputs.to.value().cloned(), resource: path, access: Access::Writes },
        ]
    }

    fn actions(&self, target: Option<&str>, inputs: &DumpInputs, _facts: &Facts) -> Vec<Action> {
        let to = inputs.to.value().map(String::as_str);
        let label =
            inputs.label.or_after(|label| label.clone().unwrap_or_else(|| "drydock_<run and step>".into()));
        let without: Vec<String> = inputs.exclude_data.value().map_or_else(Vec::new, |all| {
            all.iter().map(|pattern| format!("<tables of {pattern}>")).collect()
        });
        let arguments = inputs.arguments("<the snapshot of our session>", &without, "<the run's scratch>");
        let mut actions = vec![
            Action::reads(ActionKind::Sql, target, EXPORT),
            Action::reads(
                ActionKind::Process,
                target,
                format!("{DUMP} {} {}", arguments.join(" "), inputs.database),
            ),
        ];
        if inputs.counts.value() != Some(&Counts::None) {
            let text = "SELECT count(*) AS rows FROM (each table, in the same snapshot)";
            actions.push(Action::reads(ActionKind::Sql, target, text));
        }
        let name = match inputs.format.value() {
            Some(DumpFormat::Directory) => "data/*",
            _ => "database.dump",
        };
        actions.push(Action::writes(
            ActionKind::Artifact,
            to,
            format!("store {}/{label}/{name}", inputs.prefix),
        ));
        if inputs.globals.value() != Some(&Globals::None) {
            let text = format!("store {}/{label}/globals.sql, as pg_dumpall writes it", inputs.prefix);
            actions.push(Action::writes(ActionKind::Artifact, to, text));
        }
        if inputs.prove.value() != Some(&false) {
            let text = format!("{} --file=- <the dump>", super::dump_proof::PROGRAM);
            actions.push(Action::reads(ActionKind::Process, None, text));
        }
        actions
    }

    fn grants(&self, inputs: &DumpInputs) -> Vec<Grant> {
        reading(&inputs.database)
    }

    /// There is the database, and a program for its server.
    async fn preflight(&self, ctx: &Ctx, inputs: &DumpInputs) -> Result<Preflight, StepError> {
        let connection = ctx.connection().await?;
        let connection = PostgresConnection::of(&*connection)?;
        let facts = connection.facts().await?;
        let program = Program::find(ctx, &connection.settings().programs, DUMP, facts.major()).await;
        let name = inputs.database.value().map(Identifier::as_str);
        let there = connection.in_database(name).await.err();
        let preflight = found(program.err().into_iter().chain(there));
        Ok(Preflight { facts: json!({ "server": facts }), ..preflight })
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &DumpInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        inputs.fits()?;
        let (connection, store) = (ctx.connection().await?, ctx.host.connect(inputs.to.known()?).await?);
        let dumping = Dumping {
            ctx,
            inputs,
            connection: PostgresConnection::of(&*connection)?,
            store: store
                .store()
                .ok_or_else(|| StepError::internal("`to` of postgres.dump is no artifact store"))?,
        };
        let entry = ctx.or_cancelled(dumping.entry()).await?;
        ctx.note(json!({ "entry": entry })).await?;
        Ok(Ended::Outputs(json!(entry)))
    }

    /// A dump that is in the store whole, and was noted, was taken; of any other the pieces are removed.
    async fn reconcile(&self, ctx: &Ctx, inputs: &DumpInputs) -> Result<Reconciled, StepError> {
        let store = ctx.host.connect(inputs.to.known()?).await?;
        let store =
            store.store().ok_or_else(|| StepError::internal("`to` of postgres.dump is no artifact store"))?;
        let noted = ctx.notes.iter().rev().find_map(|note| DumpEntry::deserialize(note.get("entry")?).ok());
        if let Some(entry) = noted {
            let mut is_there = true;
            for file in entry.artifacts.iter().chain(&entry.globals) {
                is_there &= store.size(&file.path).await? == Some(file.size);
            }
            if is_there {
                return Ok(Reconciled::Done(json!(entry)));
            }
        }
        super::dump_run::removed(ctx, store).await?;
        Ok(Reconciled::NotDone)
    }
}

#[cfg(test)]
mod tests {
    use drydock_step::test_host::actions;

    use super::*;

    #[test]
    fn a_dry_run_shows_the_programs_arguments() {
        let with = json!({ "database": "octopus", "to": "backups", "format": "directory", "jobs": 4, "compress": "6",
            "exclude_data": ["public.cache"], "globals": "no_passwords", "lock_wait": "90s" });
        let texts: Vec<String> =
            actions(&Dump, with).unwrap().into_iter().map(|action| action.text).collect();
        assert_eq!(
            texts[1],
            "pg_dump --format=directory --jobs=4 --file=<the run's scratch> --snapshot=<the snapshot of our session> \
             --lock-wait-timeout=90000 --compress=6 --exclude-table-data=<tables of public.cache> --no-password octopus"
        );
        assert!(
            texts.iter().any(|text| text == "store postgres/dump/drydock_<run and step>/data/*"),
            "{texts:?}"
        );
        assert!(
            texts.iter().any(|text| text.ends_with("/globals.sql, as pg_dumpall writes it")),
            "{texts:?}"
        );
    }

    #[test]
    fn inputs_that_do_not_go_together_are_refused() {
        for (more, words) in [
            (json!({ "label": "a/b" }), "`a/b`, is no name of a dump"),
            (json!({ "jobs": 4 }), "`format: custom` is read by one connection"),
            (json!({ "jobs": 0, "format": "directory" }), "input `jobs` is 0"),
            (json!({ "compress": "9 --file=/etc/x" }), "is no compression of pg_dump"),
        ] {
            let mut with = json!({ "database": "octopus", "to": "backups" });
            with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let given = drydock_step::test_host::given(with);
            let inputs = drydock_step::Given { with: &given.with, fill: None };
            let error = drydock_step::Kind::judge(&Dump, &inputs).unwrap_err();
            assert!(error.code == "input" && error.message.contains(words), "{error}");
        }
    }
}
