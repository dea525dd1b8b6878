//! The target kind `postgres`: [`Postgres`], and what it connects to, [`PostgresConnection`], with all that other kinds may ask of it.

use std::any::Any;
use std::ops::Deref;
use std::sync::Arc;

use async_trait::async_trait;
use drydock_step::target::{AgentNames, Collections, LockClass, Locks, RowSet, Rows, Script, VectorTable};
use drydock_step::{Connection, Grant, Identity, Settings, StepError, TargetKind, TargetKindShape};
use tokio::sync::OnceCell;

use super::locks::{self, LOCK_DATABASE};
use super::reading::ReadingQuery;
use super::rights;
use super::server::ServerFacts;
use super::session::Session;
use super::settings::{FIELDS, PostgresSettings};
use super::vector_table::AgentRows;

/// The target kind `postgres`.
pub struct Postgres;

#[async_trait]
impl TargetKind for Postgres {
    fn shape(&self) -> TargetKindShape {
        TargetKindShape {
            name: "postgres",
            docs: "A PostgreSQL server of version 14 or newer, with all its databases, reached over TCP or a Unix socket. Nothing of the runner's own environment (PGHOST, PGSERVICE, a password file) changes where it connects.",
            fields: FIELDS,
        }
    }

    async fn connect(&self, settings: Settings) -> Result<Arc<dyn Connection>, StepError> {
        let settings = PostgresSettings::of(&settings)?;
        let session = Session::open(&settings, &settings.database).await?;
        Ok(Arc::new(PostgresConnection {
            settings,
            session,
            facts: OnceCell::new(),
            lock_session: OnceCell::new(),
        }))
    }

    fn grant_script(&self, login: &str, grants: &[&Grant]) -> Option<String> {
        Some(rights::script(login, grants))
    }
}

/// A connection to a PostgreSQL: one session in the target's own database, others in other databases as long as they are needed, and one
/// that holds the locks.
pub struct PostgresConnection {
    settings: PostgresSettings,
    session: Session,
    facts: OnceCell<ServerFacts>,
    lock_session: OnceCell<Session>,
}

/// A session in a database: the connection's own, or one for this use alone.
pub(super) enum InDatabase<'c> {
    Own(&'c Session),
    Another(Box<Session>),
}

impl Deref for InDatabase<'_> {
    type Target = Session;

    fn deref(&self) -> &Session {
        match self {
            Self::Own(session) => session,
            Self::Another(session) => session,
        }
    }
}

impl PostgresConnection {
    /// The connection behind the trait.
    ///
    /// # Errors
    /// `internal`, when it is of another kind: the check let a plan pass that it should not have.
    pub(super) fn of(connection: &dyn Connection) -> Result<&Self, StepError> {
        let found = connection.as_any().downcast_ref();
        found.ok_or_else(|| StepError::internal("the target of a PostgreSQL step is no PostgreSQL"))
    }

    /// How it is reached.
    pub(super) fn settings(&self) -> &PostgresSettings {
        &self.settings
    }

    /// The session in the target's own database.
    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// A session in this database; in the target's own where none is named.
    ///
    /// # Errors
    /// Those of [`Session::open`].
    pub(super) async fn in_database(&self, database: Option<&str>) -> Result<InDatabase<'_>, StepError> {
        match database.filter(|name| *name != self.settings.database) {
            None => Ok(InDatabase::Own(&self.session)),
            Some(name) => Ok(InDatabase::Another(Box::new(Session::open(&self.settings, name).await?))),
        }
    }

    /// What the server is.
    ///
    /// # Errors
    /// What the server says.
    pub(super) async fn facts(&self) -> Result<&ServerFacts, StepError> {
        self.facts.get_or_try_init(|| ServerFacts::of(&self.session)).await
    }
}

#[async_trait]
impl Connection for PostgresConnection {
    async fn ping(&self) -> Result<(), StepError> {
        self.session.ask("asking for a sign of life", "SELECT 1 AS alive").await.map(|_| ())
    }

    /// A physical copy has the same system identifier as what it was made of: the places are a part of who a server is.
    async fn identity(&self) -> Result<Identity, StepError> {
        let facts = self.facts().await?;
        let place = self.settings.place();
        let system = facts.system_identifier.value.as_ref();
        let system = system.map_or(String::new(), |id| format!(" (system {id})"));
        Ok(Identity {
            text: format!("postgres {place}{system}"),
            name: place,
            version: facts.version.clone(),
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn rows(&self) -> Option<&dyn Rows> {
        Some(self)
    }

    fn script(&self) -> Option<&dyn Script> {
        Some(self)
    }

    fn vector_table(self: Arc<Self>, table: VectorTable, names: AgentNames) -> Option<Box<dyn Collections>> {
        Some(Box::new(AgentRows::new(self.settings.clone(), table, names)))
    }

    fn locks(&self) -> Option<&dyn Locks> {
        Some(self)
    }
}

#[async_trait]
impl Rows for PostgresConnection {
    async fn rows(&self, database: Option<&str>, sql: &str) -> Result<RowSet, StepError> {
        let query = ReadingQuery::with(sql, &[])?;
        self.in_database(database).await?.read(&query, usize::MAX).await
    }
}

#[async_trait]
impl Script for PostgresConnection {
    /// All statements are one transaction, unless the script has transactions of its own.
    async fn run_script(&self, database: &str, script: &str) -> Result<u64, StepError> {
        Session::open(&self.settings, database).await?.script(script).await
    }
}

#[async_trait]
impl Locks for PostgresConnection {
    async fn lock(&self, resource: &str, class: LockClass) -> Result<(), StepError> {
        let open = || Session::open(&self.settings, LOCK_DATABASE);
        let session = self.lock_session.get_or_try_init(open).await?;
        locks::take(session, resource, class).await
    }
}
