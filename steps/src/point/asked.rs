//! What the server of the truth proves when it is asked: that it reads each backup, and that the backup is the one that it is
//! said to be. Main function: [`proved_by_server`].

use drydock_recovery::backup::Backup;
use drydock_recovery::manifest::{Claim, StoredBackup, Unproved};
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
        let said = Said {
            backup,
            media: backup.media.clone(),
            checksums: given.has_checksums,
            encryptor_thumbprint: &given.encryptor_thumbprint,
            by: "the backup step",
        };
        unproved.extend(read_by_server(server, name, &said).await?);
    }
    Ok(unproved)
}

/// The same of a backup that a sealed point names.
///
/// # Errors
/// What kept it from answering; a backup that it refuses is an answer.
pub(super) async fn proved_again(
    server: &dyn Proves,
    name: &str,
    stored: &StoredBackup,
) -> Result<Option<Unproved>, StepError> {
    // What lies in the store is looked for where this server sees it: the one that wrote it may be gone, with its paths.
    let in_store: Vec<String> = stored.artifacts.iter().map(|one| one.path.clone()).collect();
    let whole = in_store.len() >= stored.backup.media.len();
    let said = Said {
        backup: &stored.backup,
        media: if whole { in_store } else { stored.backup.media.clone() },
        checksums: stored.checksums,
        encryptor_thumbprint: &stored.encryptor_thumbprint,
        by: "the manifest",
    };
    read_by_server(server, name, &said).await
}

async fn read_by_server(
    server: &dyn Proves,
    name: &str,
    said: &Said<'_>,
) -> Result<Option<Unproved>, StepError> {
    let backup = said.backup;
    let wrong = match server.prove_readable(&said.media, backup.position).await {
        Ok(header) => differs(said, header),
        Err(error) if error.transient || error.unknown => return Err(error),
        Err(error) => Some(format!("the server cannot read it: {}", error.message)),
    };
    Ok(wrong.map(|why| {
        let why = format!("the {}: {why}", backup.label());
        Unproved { claim: Claim::FilesAtHand, of: name.to_owned(), why }
    }))
}

/// What is said of a backup.
struct Said<'a> {
    backup: &'a Backup,
    /// Where the server reads it: its own paths, or paths in the store.
    media: Vec<String>,
    checksums: bool,
    encryptor_thumbprint: &'a Option<String>,
    /// Who says it.
    by: &'static str,
}

/// What a server reads in a backup's header.
#[derive(Deserialize)]
struct Header {
    backup: Backup,
    has_checksums: bool,
    encryptor_thumbprint: Option<String>,
}

/// What is another in the header than in what was said. Each is compared: a manifest repeats what the backup step said.
fn differs(said: &Said<'_>, header: Value) -> Option<String> {
    let header: Header = match serde_json::from_value(header) {
        Ok(header) => header,
        Err(error) => return Some(format!("its header cannot be understood: {error}")),
    };
    let (found, step) = (&header.backup, said.backup);
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
        ("checksums", header.has_checksums.to_string(), said.checksums.to_string()),
        ("encryptor", thumbprint(&header.encryptor_thumbprint), thumbprint(said.encryptor_thumbprint)),
    ];
    let mut other = pairs.into_iter().filter(|(_, header, told)| header != told);
    other
        .next()
        .map(|(what, header, told)| format!("its header has {what} {header}, {} said {told}", said.by))
}

fn thumbprint(text: &Option<String>) -> String {
    text.as_ref().map_or("none".to_owned(), |text| text.to_lowercase())
}
