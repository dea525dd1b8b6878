//! `postgres.archive`: [`Archive`] takes stock of an archive of WAL that somebody else keeps: a folder, pgBackRest or Barman.

use std::path::PathBuf;

use async_trait::async_trait;
use drydock_step::{
    Access, Action, ActionKind, Ctx, Ended, Facts, Field, KindShape, PlanPath, Reconciled, Shape, StepError,
    StepKind, TargetNeed, Touch, inputs, known, maybe,
};
use serde_json::Value;

use super::archive_at::{ARCHIVE_AT, ArchiveAt};
use super::archive_folder::found_in;
use super::segment::SegmentSize;
use super::wal_faults::Check;
use super::{archive_barman, archive_pgbackrest};
use crate::described::described;

inputs! {
    /// Inputs of `postgres.archive`.
    pub struct ArchiveInputs {
        /// Where it is: `{ folder: PATH }`, `{ pgbackrest: { stanza: main } }` or `{ barman: { server: main } }`.
        at: ArchiveAt = known(ARCHIVE_AT),
        /// How much of a folder is looked at: how each segment begins, or every page of each. What is compressed, and what pgBackRest and Barman keep, counts by its name.
        check: Check = maybe(Shape::OneOf(&["headers", "whole"])).or("\"headers\""),
        /// How long a segment is in bytes, where nothing in the archive says it and it is larger than 16 MiB.
        segment_size: Option<u64> = maybe(Shape::Integer),
        /// Folders with the programs of pgBackRest and Barman, looked into before what the system finds.
        programs: Vec<PlanPath> = maybe(Shape::List(&Shape::Path)).or("[]"),
    }
}

impl ArchiveInputs {
    fn size(&self) -> Result<Option<SegmentSize>, StepError> {
        let Some(Some(bytes)) = self.segment_size.value() else { return Ok(None) };
        SegmentSize::parse(*bytes).map(Some).ok_or_else(|| {
            let message = format!("`segment_size`, {bytes}, is no length of a segment");
            StepError::new("input", message)
                .help("a power of two from 1048576 to 1073741824, as `SHOW wal_segment_size` tells it")
        })
    }
}

const OUTPUTS: Shape = Shape::Record(&[
    Field::required("tool", Shape::Text, "Who keeps it: `folder`, or the program's own version."),
    Field::optional("system_identifier", Shape::Text, "The cluster's, where the archive tells it."),
    Field::required("segment_size", Shape::Integer, "How long a segment is, in bytes."),
    Field::required("timelines", Shape::List(&Shape::Integer), "The timelines whose segments there are."),
    Field::required("segments", Shape::Integer, "How many segments there are."),
    Field::required("by_name", Shape::Integer, "How many of them were not looked into."),
    Field::optional("first", Shape::Text, "The oldest."),
    Field::optional("last", Shape::Text, "The newest."),
    Field::required(
        "partial",
        Shape::List(&Shape::Text),
        "Segments that a timeline ended in or that were not whole, by name.",
    ),
    Field::required("gaps", Shape::List(&Shape::Text), "What is missing between the segments, by name."),
    Field::required(
        "backups",
        Shape::List(&Shape::Any),
        "The base backups, each with `label`, `kind` (`full`, `diff`, `incr`), `usable`, `start_lsn`, `stop_lsn`, `started_at`, `stopped_at`, `first_wal`, `last_wal`, `size` in bytes, `needs`, and `restore`: the program and its arguments by which its keeper puts it back into the folder that stands for `{into}`, such as `process.run` takes them. A folder has notes of them alone.",
    ),
    Field::required(
        "faults",
        Shape::List(&Shape::Any),
        "What is wrong with it, each with `code`, `message` and `help`; the first hundred. None is a failure of this step.",
    ),
    Field::optional(
        "restore_command",
        Shape::Text,
        "The setting by which a server brings WAL from it; nothing where no one command does.",
    ),
]);

/// Takes stock of archives.
pub struct Archive;

#[async_trait]
impl StepKind for Archive {
    type Inputs = ArchiveInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::None,
            outputs: OUTPUTS,
            permissions: &[
                "the runner's machine: read the folder, or ask pgbackrest or barman as whoever may",
            ],
            example: "archive:\n  uses: postgres.archive\n  with: { at: { folder: /mnt/archive } }\n",
            ..described(
                "postgres.archive",
                "Takes stock of an archive of WAL that somebody else keeps: a folder that an archive_command fills, a repository of pgBackRest's or a catalogue of Barman's. Gaps and files that are cut off or another cluster's are named, and backups whose WAL is missing; the restore_command that brings WAL from it is told. Nothing is changed there.",
            )
        }
    }

    fn judge(&self, inputs: &ArchiveInputs) -> Result<(), StepError> {
        inputs.size()?;
        inputs.at.value().map_or(Ok(()), ArchiveAt::fits)
    }

    fn touches(&self, _target: Option<&str>, inputs: &ArchiveInputs) -> Vec<Touch> {
        let resource = match inputs.at.value() {
            None => "?".into(),
            Some(ArchiveAt::Folder(folder)) => format!("path {folder}"),
            Some(ArchiveAt::Pgbackrest(named)) => format!("stanza {}", named.name),
            Some(ArchiveAt::Barman(named)) => format!("barman {}", named.name),
        };
        vec![Touch { target: None, resource, access: Access::Reads }]
    }

    fn actions(&self, _target: Option<&str>, inputs: &ArchiveInputs, _facts: &Facts) -> Vec<Action> {
        match inputs.at.value() {
            None => Vec::new(),
            Some(ArchiveAt::Folder(folder)) => {
                vec![Action::reads(ActionKind::Artifact, None, format!("list {folder}"))]
            }
            Some(ArchiveAt::Pgbackrest(named)) => {
                let command = |what: &str| format!("pgbackrest --stanza={} --output=json {what}", named.name);
                let read = |what: &str| Action::reads(ActionKind::Process, None, command(what));
                vec![read("info"), read(&format!("--recurse repo-ls archive/{}", named.name))]
            }
            Some(ArchiveAt::Barman(named)) => {
                let read = |what: &str| {
                    Action::reads(ActionKind::Process, None, format!("barman {what} {}", named.name))
                };
                ["list-backups", "show-server", "show-backup", "list-files"].map(read).into()
            }
        }
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &ArchiveInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let size = inputs.size()?;
        let folders: Vec<PathBuf> =
            inputs.programs.known()?.iter().map(|folder| folder.resolved(&ctx.folder)).collect();
        let found = match inputs.at.known()? {
            ArchiveAt::Folder(folder) => {
                let (folder, check) = (folder.resolved(&ctx.folder), *inputs.check.known()?);
                let folder = std::path::absolute(&folder).unwrap_or(folder);
                let reading = tokio::task::spawn_blocking(move || found_in(&folder, check));
                let read = async {
                    reading.await.unwrap_or_else(|error| Err(StepError::internal(error.to_string())))
                };
                ctx.or_cancelled(read).await?
            }
            ArchiveAt::Pgbackrest(named) => archive_pgbackrest::kept(ctx, &folders, named).await?,
            ArchiveAt::Barman(named) => archive_barman::kept(ctx, &folders, named).await?,
        };
        Ok(Ended::Outputs(found.outputs(size)?))
    }

    /// It only reads.
    async fn reconcile(&self, _ctx: &Ctx, _inputs: &ArchiveInputs) -> Result<Reconciled, StepError> {
        Ok(Reconciled::NotDone)
    }
}
