//! Where a load goes: [`Place`], the name that its database gets in the end and what has that name until then. Rows go into a database of
//! the step's own name; the names change in one moment.

use drydock_step::StepError;

use super::load_kept::kept;
use super::session::Session;
use super::sql::{Identifier, named, quoted};
use super::target::PostgresConnection;

/// How often others are sent away before the names are changed: they may come back in between.
const TRIES: u32 = 5;

/// What somebody has made in a database: relations, functions, types and schemas, but for what extensions brought along.
const FILLED: &str = "SELECT EXISTS (SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace \
    WHERE n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%' AND NOT EXISTS (SELECT FROM pg_depend AS d \
    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')) \
    OR EXISTS (SELECT FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace \
    WHERE n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%' AND NOT EXISTS (SELECT FROM pg_depend AS d \
    WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')) \
    OR EXISTS (SELECT FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace \
    WHERE n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%' AND NOT EXISTS (SELECT FROM pg_depend AS d \
    WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype IN ('e', 'i'))) \
    OR EXISTS (SELECT FROM pg_namespace AS n WHERE n.nspname NOT IN ('information_schema', 'public') AND n.nspname NOT LIKE 'pg\\_%' \
    AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e')) AS filled";

/// What has a database's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing.
    Absent,
    /// What this very step has loaded the rows into.
    Own,
    /// Another database.
    Other {
        /// Whether the role is as good as its owner.
        is_ours: bool,
        /// Who else is in it.
        others: Vec<String>,
    },
}

/// The names of a load.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    /// The server.
    pub(super) connection: &'a PostgresConnection,
    /// The name that is wanted.
    pub(super) name: &'a Identifier,
    /// The step's own name: that of the database until its rows are all there, and its mark until the load is done.
    pub(super) own: &'a str,
    /// Whether what has the name may go.
    pub(super) replace: bool,
    /// Whether others in it may be sent away.
    pub(super) end_sessions: bool,
}

impl Place<'_> {
    fn session(&self) -> &Session {
        self.connection.session()
    }

    /// The name of what had the name, until the load is done.
    fn aside(&self) -> String {
        format!("{}_old", self.own)
    }

    /// What has the name now.
    ///
    /// # Errors
    /// What the server says.
    pub(super) async fn standing(&self) -> Result<Standing, StepError> {
        let sql = format!(
            "SELECT shobj_description(oid, 'pg_database') AS mark, pg_has_role(datdba, 'MEMBER') AS is_ours FROM pg_database WHERE datname = {}",
            self.name.quoted()
        );
        let answer = self.session().ask("looking for the database", &sql).await?;
        let Some(row) = answer.rows().next() else { return Ok(Standing::Absent) };
        if row.text("mark")? == Some(self.own) {
            return Ok(Standing::Own);
        }
        Ok(Standing::Other { is_ours: row.flag("is_ours")?, others: self.others().await? })
    }

    /// Everybody else in the database of the name, in words.
    async fn others(&self) -> Result<Vec<String>, StepError> {
        let sql = format!(
            "SELECT coalesce(usename, 'somebody') || coalesce(' (' || nullif(application_name, '') || ')', '') AS who FROM pg_stat_activity \
             WHERE datname = {} AND pid <> pg_backend_pid() AND backend_type = 'client backend' \
             UNION ALL SELECT owner || ' (a prepared transaction)' FROM pg_prepared_xacts WHERE database = {0} ORDER BY 1",
            self.name.quoted()
        );
        let answer = self.session().ask("asking who is in the database", &sql).await?;
        answer.rows().map(|row| row.known("who").map(str::to_owned)).collect()
    }

    /// Whether nobody has made anything in the database of the name.
    async fn is_empty(&self) -> Result<bool, StepError> {
        let session = self.connection.in_database(Some(self.name.as_str())).await?;
        Ok(!session.ask("looking whether the database is empty", FILLED).await?.first()?.flag("filled")?)
    }

    /// Whether the load goes beside a database that its name passes from.
    pub(super) fn is_beside(standing: &Standing) -> bool {
        matches!(standing, Standing::Other { .. })
    }

    /// What stands in the way of giving the name to what is loaded. Others in the database may leave until then: whether they are there is
    /// only asked when the load begins.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub(super) async fn hindrance(
        &self,
        standing: &Standing,
        begins: bool,
    ) -> Result<Option<StepError>, StepError> {
        let Standing::Other { is_ours, others } = standing else { return Ok(None) };
        if !self.replace && !self.is_empty().await? {
            let message = format!("there is already a database {}, which is left as it is", self.name);
            return Ok(Some(StepError::new("postgres.exists", message).help(
                "load it under another name, rename or drop the one that is there, or say `replace: true`",
            )));
        }
        if !is_ours {
            let message =
                format!("the database {} is not the role's own, which may not replace it", self.name);
            return Ok(Some(
                StepError::new("postgres.42501", message)
                    .help("load as its owner or as a superuser, or under another name"),
            ));
        }
        if self.connection.settings().database == self.name.as_str() {
            let message =
                format!("the target itself connects to the database {}, which is to be replaced", self.name);
            return Ok(Some(
                StepError::new("postgres.in_use", message)
                    .help("name another database in `database` of the target, such as `postgres`"),
            ));
        }
        Ok((begins && !self.end_sessions && !others.is_empty()).then(|| in_use(self.name, others)))
    }

    /// Gives the name to what was loaded, and puts aside what had it: the name that has now, if anything had it.
    ///
    /// # Errors
    /// `postgres.in_use`, or what the server says; either way both names are as they were.
    pub(super) async fn named(&self, owner: Option<&Identifier>) -> Result<Option<String>, StepError> {
        let renaming = self.renaming();
        let standing = self.standing().await?;
        if !Self::is_beside(&standing) {
            return self.session().work("giving the database its name", &renaming).await.map(|_| None);
        }
        if let Some(error) = self.hindrance(&standing, true).await? {
            return Err(error);
        }
        let mut statements = kept(self.session(), self.name, self.own, owner.is_none()).await?;
        statements.push(format!("ALTER DATABASE {} RENAME TO {}", self.name.named(), named(&self.aside())));
        statements.push(renaming);
        // Several statements that are sent as one are one transaction.
        let swap = statements.join("; ");
        let mut tries = 0;
        loop {
            tries += 1;
            if self.end_sessions {
                let sql = format!(
                    "SELECT count(pg_terminate_backend(pid, 5000)) AS ended FROM pg_stat_activity \
                     WHERE datname = {} AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
                    self.name.quoted()
                );
                self.session().work("ending the sessions in the database that is replaced", &sql).await?;
            }
            match self.session().work("changing the names of the databases", &swap).await {
                Err(error) if error.code == "postgres.55006" => {
                    if !self.end_sessions || tries == TRIES {
                        return Err(in_use(self.name, &self.others().await?));
                    }
                }
                outcome => return outcome.map(|_| Some(self.aside())),
            }
        }
    }

    fn renaming(&self) -> String {
        format!("ALTER DATABASE {} RENAME TO {}", named(self.own), self.name.named())
    }

    /// The statements that give the name, as a dry run shows them.
    pub(super) fn shown(own: &str, name: &str, replace: bool) -> Vec<String> {
        let renaming = format!("ALTER DATABASE {} RENAME TO {name}", named(own));
        if !replace {
            return vec![renaming];
        }
        vec![format!("ALTER DATABASE {name} RENAME TO {}; {renaming}", named(&format!("{own}_old")))]
    }

    /// The statement that drops what had the name.
    pub(super) fn dropping_aside(own: &str) -> String {
        dropping(&format!("{own}_old"))
    }

    /// Ends the load: takes the step's mark off, with the words in its place that the database had which was replaced, and drops that.
    ///
    /// # Errors
    /// What the server says.
    pub(super) async fn done(&self) -> Result<(), StepError> {
        if self.standing().await? == Standing::Own {
            let sql = format!(
                "SELECT shobj_description(oid, 'pg_database') AS words FROM pg_database WHERE datname = {}",
                quoted(&self.aside())
            );
            let answer = self.session().ask("asking what was said of the database", &sql).await?;
            let words = answer.rows().next().map(|row| row.text("words")).transpose()?.flatten();
            let words = words.map_or("NULL".to_owned(), quoted);
            let sql = format!("COMMENT ON DATABASE {} IS {words}", self.name.named());
            self.session().work("taking the mark off the database", &sql).await?;
        }
        let sql = Self::dropping_aside(self.own);
        self.session().work("dropping the database that was replaced", &sql).await.map(drop)
    }

    /// Drops what is half loaded.
    ///
    /// # Errors
    /// What the server says.
    pub(super) async fn cleared(&self) -> Result<(), StepError> {
        // The connection's own session may be lost, or still waits for an answer.
        let session = Session::open(self.connection.settings(), &self.connection.settings().database).await?;
        session.work("dropping what is half loaded", &dropping(self.own)).await.map(drop)
    }
}

fn in_use(name: &Identifier, others: &[String]) -> StepError {
    let message = format!(
        "{} other sessions are in the database {name}, which is to be replaced: {}",
        others.len(),
        others.join(", ")
    );
    StepError::new("postgres.in_use", message).help("stop what uses it first, or say `end_sessions: true`")
}

/// Drops a database that is this step's own, and whoever is still in it.
pub(super) fn dropping(own: &str) -> String {
    format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", named(own))
}
