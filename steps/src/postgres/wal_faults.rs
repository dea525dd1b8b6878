//! What is wrong with an archive of WAL: [`faults`] names each fault with what to do about it.

use drydock_step::{Ctx, StepError};
use serde::Deserialize;
use serde_json::{Value, json};

use super::segment::SegmentSize;
use super::segment_header::{ENOUGH, checked, headed};
use super::wal_archive::{Holdings, System, WalArchive};

/// How much of an archive is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// Names and lengths alone.
    Names,
    /// And how each segment begins.
    Headers,
    /// And every page of each.
    Whole,
}

/// What is wrong with what lies there.
///
/// # Errors
/// What the store says; `cancelled`.
pub(super) async fn faults(
    ctx: &Ctx,
    archive: &WalArchive<'_>,
    system: &System,
    size: SegmentSize,
    holdings: &Holdings,
    check: Check,
) -> Result<Vec<StepError>, StepError> {
    let mut found = Vec::new();
    for gap in holdings.gaps(size) {
        let message = format!("the archive {} has not got {}", archive.prefix, gap.in_words(size));
        found.push(StepError::new("postgres.wal_gap", message).help(
            "put what is missing there from wherever else it was kept; where it is gone, take a new base backup: an older one can be recovered up to here and no further",
        ));
    }
    for (name, length) in &holdings.short {
        // One that is no segment by its length alone is refused whatever it begins with.
        let message =
            format!("{name} is no whole segment of the WAL: it has {length} bytes of {}", size.bytes());
        found.push(StepError::new("postgres.wal_damaged", message).help(HELP));
    }
    if check == Check::Names {
        return Ok(found);
    }
    let total = holdings.segments.len() as u64;
    for (done, segment) in holdings.segments.iter().enumerate() {
        let name = segment.name(size);
        let seen = ctx.or_cancelled(looked_into(archive, &name, size, check)).await;
        match seen {
            Ok(theirs) if theirs != system.system_identifier => {
                let message = format!(
                    "{name} is of system {theirs}, and the archive {} has the WAL of system {}",
                    archive.prefix, system.system_identifier
                );
                found.push(StepError::new("postgres.wal_foreign", message).help(
                    "take it out, for no server of this cluster takes it, and put its own there from wherever else it was kept; where that is gone, take a new base backup",
                ));
            }
            Ok(_) => {}
            Err(error) if error.code == "postgres.wal_damaged" => found.push(error.help(HELP)),
            Err(error) => return Err(error),
        }
        ctx.progress(done as u64 + 1, Some(total), "segments", "looking into the archive");
    }
    Ok(found)
}

/// What to do about a damaged one.
const HELP: &str = "take it out and put a whole one there from wherever else it was kept; where that is gone, take a new base backup: an older one can be recovered up to here and no further";

/// Which system it says it is of.
async fn looked_into(
    archive: &WalArchive<'_>,
    name: &str,
    size: SegmentSize,
    check: Check,
) -> Result<String, StepError> {
    let facts = match check {
        Check::Whole => {
            let bytes = archive.segment(name, size).await?.unwrap_or_default();
            // Every page of a large segment takes a moment of the processor's.
            let name = name.to_owned();
            let checked = tokio::task::spawn_blocking(move || checked(&name, &bytes)).await;
            checked.map_err(|error| StepError::internal(error.to_string()))??
        }
        Check::Names | Check::Headers => {
            let bytes = archive.beginning(name, ENOUGH).await?;
            headed(name, &bytes, size.bytes())?.facts
        }
    };
    Ok(facts.system_identifier)
}

/// As an output.
pub(super) fn told(fault: &StepError) -> Value {
    json!({ "code": fault.code, "message": fault.message, "help": fault.help })
}
