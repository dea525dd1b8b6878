//! What stands in the way of a load, by questions that only read: [`hindrances`], [`standing`].

use drydock_step::StepError;

use super::dump_entry::DumpEntry;
use super::server::ServerFacts;
use super::session::Session;
use super::sql::quoted;

/// A database of the name, with the mark that a load gives to what it has made.
fn standing_question(name: &str) -> String {
    format!(
        "SELECT shobj_description(oid, 'pg_database') AS mark FROM pg_database WHERE datname = {}",
        quoted(name)
    )
}

/// What has a database's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing.
    Absent,
    /// What this very step has loaded the rows into.
    Own,
    /// Another database.
    Other,
}

/// What has this name.
///
/// # Errors
/// What the server says.
pub(super) async fn standing(session: &Session, name: &str, mark: &str) -> Result<Standing, StepError> {
    let answer = session.ask("looking for the database", &standing_question(name)).await?;
    Ok(match answer.rows().next() {
        None => Standing::Absent,
        Some(row) if row.text("mark")? == Some(mark) => Standing::Own,
        Some(_) => Standing::Other,
    })
}

/// That a database is there already.
pub(super) fn exists(name: &str) -> StepError {
    StepError::new("postgres.exists", format!("there is already a database {name}, which is left as it is"))
        .help("load it under another name, or rename or drop the one that is there")
}

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
    let sql = "SELECT rolcreatedb OR rolsuper AS may_create FROM pg_roles WHERE rolname = current_user";
    if !session.ask("asking for the role's rights", sql).await?.first()?.flag("may_create")? {
        found.push(
            StepError::new("postgres.42501", "the role may not create databases")
                .help("ALTER ROLE … CREATEDB"),
        );
    }
    let sql = "SELECT name, trusted FROM pg_available_extension_versions WHERE version = \
        (SELECT default_version FROM pg_available_extensions AS a WHERE a.name = pg_available_extension_versions.name)";
    let answer = session.ask("asking which extensions the server has", sql).await?;
    let mut available = Vec::new();
    for row in answer.rows() {
        available.push((row.known("name")?.to_owned(), row.flag("trusted")?));
    }
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
