//! What the server of the truth proves when it is asked: that it reads each backup, and that the backup is the one that it is
//! said to be. Main function: [`proved_by_server`].

use drydock_recovery::backup::Backup;
use drydock_recovery::manifest::{Claim, Unproved};
use drydock_step::{Ctx, StepError, target::Proves};
use serde::Deserialize;
use serde_json::Value;

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
            Ok(header) => differs(given, header),
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

/// What a server reads in a backup's header.
#[derive(Deserialize)]
struct Header {
    backup: Backup,
    has_checksums: bool,
    encryptor_thumbprint: Option<String>,
}

/// What is another in the header than in what the backup step said. Each is compared: a manifest repeats what the step said.
fn differs(said: &BackupGiven, header: Value) -> Option<String> {
    let header: Header = match serde_json::from_value(header) {
        Ok(header) => header,
        Err(error) => return Some(format!("its header cannot be understood: {error}")),
    };
    let (found, step) = (&header.backup, &said.backup);
    let pairs = [
        (
            "set",
            found.backup_set_guid.to_string().to_lowercase(),
            step.backup_set_guid.to_string().to_lowercase(),
        ),
        ("LSNs", found.range().to_string(), step.range().to_string()),
        ("database", found.database.clone(), step.database.clone()),
        ("type", found.kind.as_str().to_owned(), step.kind.as_str().to_owned()),
        ("bulk-logged data", found.is_bulk_logged().to_string(), step.is_bulk_logged().to_string()),
        ("checksums", header.has_checksums.to_string(), said.has_checksums.to_string()),
        ("encryptor", thumbprint(&header.encryptor_thumbprint), thumbprint(&said.encryptor_thumbprint)),
    ];
    let mut other = pairs.into_iter().filter(|(_, header, said)| header != said);
    other
        .next()
        .map(|(what, header, said)| format!("its header has {what} {header}, the backup step said {said}"))
}

fn thumbprint(text: &Option<String>) -> String {
    text.as_ref().map_or("none".to_owned(), |text| text.to_lowercase())
}
