//! What at the server stands in the way of a load, by questions that only read: [`hindrances`]. Where its database goes is
//! [`load_place`](super::load_place)'s affair.

use drydock_step::{PreflightFinding, StepError};

use super::dump_entry::DumpEntry;
use super::server::ServerFacts;
use super::session::Session;
use crate::bytes;

/// Everything that would make the load fail: all of it at once.
///
/// # Errors
/// When the server cannot be asked.
pub(super) async fn hindrances(
    session: &Session,
    facts: &ServerFacts,
    dump: &DumpEntry,
) -> Result<Vec<StepError>, StepError> {
    let mut found = Vec::new();
    found.extend(older(facts, dump));
    let sql = "SELECT rolcreatedb OR rolsuper AS may_create FROM pg_roles WHERE rolname = current_user";
    if !session.ask("asking for the role's rights", sql).await?.first()?.flag("may_create")? {
        found.push(
            StepError::new("postgres.42501", "the role may not create databases")
                .help("ALTER ROLE … CREATEDB"),
        );
    }
    found.extend(extensions(session, facts, dump).await?);
    Ok(found)
}

/// That the server is older than the one that was dumped.
fn older(facts: &ServerFacts, dump: &DumpEntry) -> Option<StepError> {
    if facts.major() >= dump.server_major {
        return None;
    }
    let message = format!(
        "the dump is of a server of version {}, and this one is {}: what is newer it does not understand",
        dump.server_version, facts.version
    );
    let help = format!("load it into a server of version {} or later", dump.server_major);
    Some(StepError::new("postgres.version", message).help(help))
}

/// Extensions whose files are not there, or that the role may not create.
async fn extensions(
    session: &Session,
    facts: &ServerFacts,
    dump: &DumpEntry,
) -> Result<Vec<StepError>, StepError> {
    let sql = "SELECT name, trusted FROM pg_available_extension_versions WHERE version = \
        (SELECT default_version FROM pg_available_extensions AS a WHERE a.name = pg_available_extension_versions.name)";
    let answer = session.ask("asking which extensions the server has", sql).await?;
    let mut available = Vec::new();
    for row in answer.rows() {
        available.push((row.known("name")?.to_owned(), row.flag("trusted")?));
    }
    let mut found = Vec::new();
    for extension in dump.extensions.iter().filter(|extension| extension.name != "plpgsql") {
        match available.iter().find(|(name, _)| *name == extension.name) {
            None => {
                let message = format!(
                    "the dump needs the extension {} ({}), whose files are not at this server",
                    extension.name, extension.version
                );
                found.push(
                    StepError::new("postgres.extension", message)
                        .help("install its package at the server; of `vector` that is pgvector"),
                );
            }
            Some((_, trusted)) if !trusted && !facts.is_superuser => {
                let message = format!(
                    "only a superuser may create the extension {}, which the dump needs",
                    extension.name
                );
                found.push(
                    StepError::new("postgres.42501", message)
                        .help("load as a superuser, or mark the extension as trusted in its control file"),
                );
            }
            Some(_) => {}
        }
    }
    Ok(found)
}

/// What is to be said of the room that the load needs. A server tells nobody how much its volume has: nothing is guessed, and nothing refused.
pub(super) fn room(dump: &DumpEntry, is_beside: bool) -> Option<PreflightFinding> {
    #[allow(clippy::cast_precision_loss, reason = "it is only told")]
    let size = bytes::size(dump.database_bytes? as f64);
    let beside = if is_beside { ", beside the database that it replaces" } else { "" };
    Some(PreflightFinding {
        code: "postgres.space".into(),
        fatal: false,
        message: format!(
            "the load takes about {size}{beside}, as much as the dumped database did; how much room the server's volume has is not known: PostgreSQL tells nobody"
        ),
        help: Some("look at the server's volume, if you do not know that it has room".into()),
    })
}
