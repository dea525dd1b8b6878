//! What the server of the truth proves when it is asked: that it reads each backup, and that the backup is the one that it is
//! said to be. Main function: [`proved_by_server`].

use drydock_recovery::backup::Backup;
use drydock_recovery::manifest::{Claim, Unproved};
use drydock_step::{Ctx, StepError, target::Proves};

use super::given::BackupGiven;

/// Has the server read every backup whole, with its checksums. What it cannot read, or what is another backup, is in the answer.
///
/// # Errors
/// What kept it from answering; a backup that it refuses is an answer.
pub(super) async fn proved_by_server(
    ctx: &Ctx,
    server: &dyn Proves,
    name: &str,
    backups: &[BackupGiven],
) -> Result<Vec<Unproved>, StepError> {
    let mut unproved = Vec::new();
    for given in backups {
        let backup = &given.backup;
        ctx.log(format!("the server reads the {}", backup.label()));
        let wrong = match server.prove_readable(&backup.media, backup.position).await {
            Ok(header) => differs(backup, header),
            Err(error) if error.transient || error.unknown => return Err(error),
            Err(error) => Some(format!("the server cannot read it: {}", error.message)),
        };
        if let Some(why) = wrong {
            let why = format!("the {}: {why}", backup.label());
            unproved.push(Unproved { claim: Claim::FilesAtHand, of: name.to_owned(), why });
        }
    }
    Ok(unproved)
}

/// What is another in the header than in what the backup step said.
fn differs(said: &Backup, header: serde_json::Value) -> Option<String> {
    let found: Backup = match serde_json::from_value(header) {
        Ok(found) => found,
        Err(error) => return Some(format!("its header cannot be understood: {error}")),
    };
    let pair = |what: &str, header: &dyn std::fmt::Display, said: &dyn std::fmt::Display| {
        Some(format!("its header has {what} {header}, the backup step said {said}"))
    };
    if found.backup_set_guid != said.backup_set_guid {
        return pair("set", &found.backup_set_guid, &said.backup_set_guid);
    }
    if found.range() != said.range() {
        return pair("LSNs", &found.range(), &said.range());
    }
    if found.database != said.database {
        return pair("database", &found.database, &said.database);
    }
    (found.kind != said.kind).then(|| pair("type", &found.kind.as_str(), &said.kind.as_str())).flatten()
}
