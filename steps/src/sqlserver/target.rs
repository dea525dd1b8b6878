//! The target kind `sqlserver`: [`SqlServer`], and what it connects to, [`SqlServerConnection`], with all that other kinds may ask of it.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use drydock_step::target::{LockClass, Locks, Proves, RowSet, Rows, Script, SeenPlace, SeesFiles};
use drydock_step::{Connection, Grant, Identity, Settings, StepError, TargetKind, TargetKindShape};
use indexmap::IndexMap;
use serde_json::Value;
use tokio::sync::OnceCell;

use super::brought::{self, Asked};
use super::failure::{Effect, Failure};
use super::history::Recorded;
use super::locks::{self, Patience};
use super::media::verify_only;
use super::paths::{Sees, ServerPath};
use super::reading::ReadingQuery;
use super::rights;
use super::script_run::ScriptRun;
use super::script_text::{ScriptText, SqlcmdVariables};
use super::server::{SERVER, ServerFacts, TIME_ZONE};
use super::session::{Parameter, Request, Session};
use super::settings::{FIELDS, SqlServerSettings};
use super::sql::Identifier;

/// The target kind `sqlserver`.
pub struct SqlServer;

#[async_trait]
impl TargetKind for SqlServer {
    fn shape(&self) -> TargetKindShape {
        TargetKindShape {
            name: "sqlserver",
            docs: "An instance of SQL Server 2014 or newer, reached over TCP with a SQL login, a domain user or a token.",
            fields: FIELDS,
        }
    }

    async fn connect(&self, settings: Settings) -> Result<Arc<dyn Connection>, StepError> {
        let settings = SqlServerSettings::of(&settings)?;
        let session = Session::open(&settings).await?;
        Ok(Arc::new(SqlServerConnection { settings, session, facts: OnceCell::new() }))
    }

    fn grant_script(&self, login: &str, grants: &[&Grant]) -> Option<String> {
        Some(rights::script(login, grants))
    }
}

/// A connection to a SQL Server: one session, with its locks, for as long as it lives.
pub struct SqlServerConnection {
    settings: SqlServerSettings,
    session: Session,
    facts: OnceCell<ServerFacts>,
}

impl SqlServerConnection {
    /// The connection behind the trait.
    ///
    /// # Errors
    /// `internal`, when it is of another kind: the check let a plan pass that it should not have.
    pub(super) fn of(connection: &dyn Connection) -> Result<&Self, StepError> {
        let found = connection.as_any().downcast_ref();
        found.ok_or_else(|| StepError::internal("the target of a SQL Server step is no SQL Server"))
    }

    /// Its session.
    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// Another session: of this login, or of a SQL login and its password, in this database.
    ///
    /// # Errors
    /// `sqlserver.connect` (transient), or what the server says to the login.
    pub(super) async fn another(
        &self,
        login: Option<(&str, &str)>,
        database: &str,
    ) -> Result<Session, StepError> {
        match login {
            None => Session::open(&self.settings).await,
            Some((user, password)) => Session::open(&self.settings.by_login(user, password, database)).await,
        }
    }

    /// What the server is.
    ///
    /// # Errors
    /// What the server says.
    pub(super) async fn facts(&self) -> Result<&ServerFacts, StepError> {
        let ask = async {
            let answer = self.session.ask("asking what the server is", SERVER).await?;
            let mut facts = ServerFacts::of(answer.first()?)?;
            // Its name is worth knowing and no more: servers before 2019 have no such function.
            if let Ok(zone) = self.session.ask("asking for the server's time zone", TIME_ZONE).await {
                facts.time_zone = zone.first()?.text("time_zone")?.map(str::to_owned);
            }
            Ok(facts)
        };
        self.facts.get_or_try_init(|| ask).await
    }

    /// What the server sees of the artifact store.
    ///
    /// # Errors
    /// `sqlserver.path`, when `sees` names no folder of such a server.
    pub(super) async fn sees(&self) -> Result<Sees, StepError> {
        self.settings.sees(self.facts().await?.style)
    }

    async fn asked<'a>(&'a self, below: Option<&'a str>) -> Result<Asked<'a>, StepError> {
        Ok(Asked { session: &self.session, facts: self.facts().await?, sees: self.sees().await?, below })
    }

    /// The rows of a query that only reads, at most so many and one more; it is run in a transaction that is rolled back, so that a
    /// change that slipped through the judgement does not stay.
    ///
    /// # Errors
    /// What the server says.
    pub(super) async fn read(
        &self,
        database: Option<&str>,
        query: &ReadingQuery,
        parameters: &[Parameter],
        rows: usize,
    ) -> Result<RowSet, StepError> {
        let run = async {
            let database = database.unwrap_or(&self.settings.database);
            let begin = Request { database: Some(database), ..Request::of("BEGIN TRANSACTION") };
            self.session.answer(begin).await?;
            let request = Request { parameters, rows: rows.saturating_add(1), ..Request::of(&query.text) };
            let answer = self.session.answer(request).await;
            let lost = answer.as_ref().err().is_some_and(|failure| !failure.leaves_connection());
            if !lost {
                self.session.answer(Request::of("IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION")).await?;
            }
            answer
        };
        let answer = run
            .await
            .map_err(|failure: Failure| failure.of_statement(&query.text, "the query", Effect::Reads))?;
        answer.row_set()
    }
}

#[async_trait]
impl Connection for SqlServerConnection {
    async fn ping(&self) -> Result<(), StepError> {
        self.session.ask("asking for a sign of life", "SELECT 1 AS alive").await.map(|_| ())
    }

    async fn identity(&self) -> Result<Identity, StepError> {
        let facts = self.facts().await?;
        Ok(Identity {
            text: format!("sqlserver {} {}", facts.name, facts.version),
            name: facts.name.clone(),
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

    fn proves(&self) -> Option<&dyn Proves> {
        Some(self)
    }

    fn sees_files(&self) -> Option<&dyn SeesFiles> {
        Some(self)
    }

    fn locks(&self) -> Option<&dyn Locks> {
        Some(self)
    }

    fn connection_string(&self, database: &str) -> Option<String> {
        self.settings.ado_net(database)
    }
}

#[async_trait]
impl Rows for SqlServerConnection {
    async fn rows(&self, database: Option<&str>, sql: &str) -> Result<RowSet, StepError> {
        let query = ReadingQuery::parse(sql, &[])?;
        self.read(database, &query, &[], usize::MAX).await
    }
}

#[async_trait]
impl Script for SqlServerConnection {
    async fn run_script(&self, database: &str, script: &str) -> Result<u64, StepError> {
        let script = ScriptText::parse(script, &IndexMap::new(), SqlcmdVariables::Refused)?;
        let database = Identifier::parse(database)?;
        ScriptRun { session: &self.session, script: &script, database: &database, max_rows: usize::MAX }
            .plain()
            .await
            .map(|ran| ran.get("batches").and_then(Value::as_u64).unwrap_or_default())
    }
}

#[async_trait]
impl Proves for SqlServerConnection {
    async fn prove_readable(&self, media: &[String], position: u32) -> Result<Value, StepError> {
        let facts = self.facts().await?;
        let style = facts.style;
        let paths = if media.iter().all(|path| style.is_absolute(path)) {
            media.iter().map(|path| ServerPath::parse(style, path)).collect::<Result<Vec<_>, _>>()?
        } else {
            let sees = self.sees().await?;
            media.iter().map(|path| sees.server_path(path)).collect::<Result<Vec<_>, _>>()?
        };
        let recorded = Recorded::in_media(&self.session, facts, &paths, position).await?;
        let doing = format!("verifying set {position} of {}", media.join(", "));
        self.session.ask_long(&doing, &verify_only(&paths, position, true)).await?;
        recorded.header()
    }
}

#[async_trait]
impl SeesFiles for SqlServerConnection {
    async fn sees_file(&self, path: &str, below: Option<&str>) -> Result<SeenPlace, StepError> {
        brought::file(&self.asked(below).await?, path).await
    }

    async fn sees_folder(&self, path: &str, below: Option<&str>) -> Result<SeenPlace, StepError> {
        brought::folder(&self.asked(below).await?, path).await
    }
}

#[async_trait]
impl Locks for SqlServerConnection {
    async fn lock(&self, resource: &str, class: LockClass) -> Result<(), StepError> {
        locks::take(&self.session, resource, class, Patience::None).await
    }
}
