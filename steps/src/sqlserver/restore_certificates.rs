//! Whether a server has the certificates that backups are encrypted with: [`missing`].

use drydock_step::{PreflightFinding, StepError};

use super::finding::fatal;
use super::history::Recorded;
use super::target::SqlServerConnection;

/// The finding for a set whose certificate is not there, or has no private key; nothing for one that is not encrypted.
///
/// # Errors
/// What the server says.
pub(super) async fn missing(
    server: &SqlServerConnection,
    recorded: &Recorded,
) -> Result<Option<PreflightFinding>, StepError> {
    let Some(thumbprint) = &recorded.encryptor_thumbprint else { return Ok(None) };
    if recorded.set["encryptor_type"].as_str().is_some_and(|kind| kind.contains("ASYMMETRIC")) {
        return Ok(None);
    }
    let sql = "SELECT name, thumbprint, pvt_key_encryption_type FROM master.sys.certificates";
    let answer = server.session().ask("asking for certificates", sql).await?;
    let label = recorded.backup.label();
    for row in answer.rows() {
        if row.hex("thumbprint")?.as_deref() != Some(thumbprint.as_str()) {
            continue;
        }
        let name = row.text("name")?.unwrap_or_default();
        let message =
            format!("certificate {name}, which encrypts the {label}, has no private key on this server");
        let help = "drop it, and bring it back with its private key: `sqlserver.certificate` with `from`";
        let has_key = row.text("pvt_key_encryption_type")? != Some("NA");
        return Ok((!has_key).then(|| fatal("sqlserver.33111", message, help)));
    }
    let message =
        format!("the server has no certificate with thumbprint {thumbprint}, which encrypts the {label}");
    let help = "bring it back from its files with its private key before the restore: `sqlserver.certificate` with `from`";
    Ok(Some(fatal("sqlserver.33111", message, help)))
}
