//! What a restore needs to know of its server before it begins: [`Ready`].

use drydock_step::StepError;
use serde::{Deserialize, Serialize};

use super::database::{DatabaseFacts, State};
use super::paths::{Sees, ServerPath};
use super::restore_chain::{MarkStop, Piece};
use super::restore_files::{Destination, FileListed, Given, destinations};
use super::restore_inputs::RestoreInputs;
use super::restore_subject::Subject;
use super::server::ServerFacts;
use super::sql::{Identifier, quoted};
use super::target::SqlServerConnection;

/// The files of all databases, with their owners.
pub(super) const OWNERS: &str = "SELECT d.name AS owner, f.physical_name FROM sys.master_files AS f JOIN sys.databases AS d ON d.database_id = f.database_id";

/// Where the backups lie, where the files go, and what is there now.
#[derive(Debug, Clone)]
pub(super) struct Ready {
    /// The media of each set, as this server sees them.
    pub(super) media: Vec<Vec<ServerPath>>,
    /// The files in the full backup.
    pub(super) files: Vec<FileListed>,
    /// Where each of them goes.
    pub(super) destinations: Vec<Destination>,
    /// The database that is there.
    pub(super) existing: Option<DatabaseFacts>,
    /// Where the mark stands that it stops at.
    pub(super) place: Option<MarkStop>,
    /// The files of all other databases.
    pub(super) taken: Vec<ServerPath>,
}

/// The same for a dry run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shown {
    /// The media of each set, quoted.
    pub(super) media: Vec<Vec<String>>,
    /// The MOVE clauses.
    pub(super) moves: Vec<String>,
    /// Whether somebody may be in the database.
    pub(super) fenced: bool,
    /// Where the mark stands that it stops at.
    #[serde(default)]
    pub(super) place: Option<MarkStop>,
}

impl Ready {
    /// What this server says.
    ///
    /// # Errors
    /// `sqlserver.unseen` for media that this server does not see; what the server says.
    pub(super) async fn ask(
        server: &SqlServerConnection,
        subject: &Subject,
        inputs: &RestoreInputs,
    ) -> Result<Self, StepError> {
        let (database, chain) = (&subject.database, &subject.chain);
        let facts = server.facts().await?;
        let sees = server.sees().await?;
        let media = chain.pieces.iter().map(|piece| media_of(piece, facts, &sees));
        let media: Vec<Vec<ServerPath>> = media.collect::<Result<_, _>>()?;
        let existing = DatabaseFacts::ask(server.session(), database).await?;
        let first = chain.pieces.first().map(|piece| piece.backup.position).zip(media.first());
        let files = match first {
            Some((position, media)) => FileListed::ask(server.session(), media, position).await?,
            None => Vec::new(),
        };
        // A database that goes beside lies where the one lies whose place it takes, under names that are free.
        let taken = taken_paths(server, &subject.database).await?;
        let patient = match &subject.patient {
            Some((name, _)) => DatabaseFacts::ask(server.session(), name).await?,
            None => None,
        };
        let beside = subject.patient.is_some() && existing.is_none();
        let model = if beside { patient.as_ref() } else { existing.as_ref() };
        let given = Given {
            taken: &taken,
            beside,
            moves: &subject.moved,
            data_folder: inputs.data_folder.known()?.as_deref(),
            log_folder: inputs.log_folder.known()?.as_deref(),
        };
        let destinations = destinations(database, &files, given, model, facts)?;
        Ok(Self { media, files, destinations, existing, place: subject.place(), taken })
    }

    /// For the statements.
    pub(super) fn shown(&self) -> Shown {
        let quote = |paths: &Vec<ServerPath>| paths.iter().map(|path| quoted(path.as_str())).collect();
        Shown {
            media: self.media.iter().map(quote).collect(),
            moves: self.destinations.iter().map(Destination::clause).collect(),
            fenced: self.fenced(),
            place: self.place.clone(),
        }
    }

    /// Whether the database has to be closed: nobody can be in one that is being restored, and of one that waits for logs the readers are
    /// ended one by one.
    pub(super) fn fenced(&self) -> bool {
        let state = self.existing.as_ref().map(|facts| facts.state);
        let is_standby = self.existing.as_ref().is_some_and(|facts| facts.is_standby);
        matches!(state, Some(State::Online | State::Emergency)) && !is_standby
    }
}

/// The paths of all databases but one.
async fn taken_paths(
    server: &SqlServerConnection,
    except: &Identifier,
) -> Result<Vec<ServerPath>, StepError> {
    let style = server.facts().await?.style;
    let answer = server.session().ask("asking for the files of all databases", OWNERS).await?;
    let mut paths = Vec::new();
    for row in answer.rows() {
        let is_other =
            row.text("owner")?.unwrap_or_default().to_lowercase() != except.as_str().to_lowercase();
        let path = ServerPath::parse(style, row.text("physical_name")?.unwrap_or_default());
        paths.extend(path.ok().filter(|_| is_other));
    }
    Ok(paths)
}

/// Where this server finds a set. The paths that another server gave it mean nothing here.
fn media_of(piece: &Piece, facts: &ServerFacts, sees: &Sees) -> Result<Vec<ServerPath>, StepError> {
    let backup = &piece.backup;
    if !piece.artifacts.is_empty() {
        if piece.artifacts.len() < backup.media.len() {
            let message = format!(
                "the {} is striped over {} files, and {} of them are in the artifact store",
                backup.label(),
                backup.media.len(),
                piece.artifacts.len()
            );
            return Err(
                StepError::new("sqlserver.3132", message).help("bring all of its files into the store")
            );
        }
        return piece.artifacts.iter().map(|artifact| sees.server_path(artifact)).collect();
    }
    if backup.server.eq_ignore_ascii_case(&facts.name) {
        return backup.media.iter().map(|path| ServerPath::parse(facts.style, path)).collect();
    }
    let message = format!(
        "the {} lies on media of {} alone ({}), and this server is {}",
        backup.label(),
        backup.server,
        backup.media.join(", "),
        facts.name
    );
    Err(StepError::new("sqlserver.unseen", message)
        .help("back up into a folder of the artifact store, or bring the file there, and say in `sees` where this server sees it"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlserver::paths::PathStyle;
    use crate::sqlserver::restore_chain::GivenChain;
    use crate::sqlserver::restore_chain::tests::chain;
    use crate::sqlserver::server::tests::on_windows;

    #[test]
    fn media_are_where_this_server_sees_them() {
        let given: GivenChain = serde_json::from_value(chain()).unwrap();
        let mut piece = given.needed(None).unwrap().pieces.remove(0);
        let sees = Sees::parse(PathStyle::Windows, [("sql/", r"N:\sql")].into_iter()).unwrap();
        let found = |piece: &Piece, name: &str| -> Result<Vec<String>, String> {
            let found = media_of(piece, &on_windows(name), &sees).map_err(|error| error.code)?;
            Ok(found.iter().map(ToString::to_string).collect())
        };
        assert_eq!(found(&piece, "DRILL"), Ok(vec![r"N:\sql\a.bak".into()]));
        piece.artifacts.clear();
        assert_eq!(found(&piece, "sql01"), Ok(vec![r"D:\old\a.bak".into()]));
        assert_eq!(found(&piece, "DRILL"), Err("sqlserver.unseen".into()));
        piece.artifacts = vec!["sql/a.bak".into()];
        piece.backup.media.push(r"D:\old\a2.bak".into());
        assert_eq!(found(&piece, "sql01"), Err("sqlserver.3132".into()));
    }
}
