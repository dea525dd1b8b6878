//! Batches: statement by statement, with faults, the ledger, and what an error ends. Main function: [`Session::run`].

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::backup::STEPS;
use super::databases::plain_text;
use super::given::Given;
use super::halt::{Done, Halt};
use super::operation::{command, operation, request_command};
use super::output::{Ending, Output};
use super::select_into::{makes_table, select_into};
use super::session::{SERVER, Session};
use super::{
    backup, check, columns, databases, ddl, indexes, keys, logins, machine, principals, procedures,
    read_media, restore, rows, security, tables,
};
use crate::faults::Fault;
use crate::ledger::Line;
use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::batch::parse_batch;
use crate::sqlserver::lang::statement::{Body, ObjectName, Statement, TableChange};
use crate::sqlserver::query::change::{compile_delete, compile_insert, compile_update};
use crate::sqlserver::store::sessions::Reason;
use crate::sqlserver::tds::request::Request;
use crate::sqlserver::tds::tokens::{Change, Command};

/// Where the batch goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
    Return,
}

/// The most characters of a batch that the ledger keeps.
const LONGEST_TEXT: usize = 8 * 1024;

/// Errors after which the rest of a batch does not run, though their severity would allow it.
const ENDS_BATCH: [i32; 7] = [207, 208, 209, 241, 245, 1205, 4104];

impl Session {
    /// Answers a request.
    pub fn run(&mut self, request: &Request, mut out: Output) {
        self.now = self.instance.clock.now();
        let done = match request {
            Request::Batch(text) => {
                self.variables.clear();
                self.request_digest = Some(digest(text));
                self.request_text.clone_from(text);
                self.run_text(text, &mut out)
            }
            Request::Call { procedure, parameters } => {
                let given: Vec<Given> = parameters
                    .iter()
                    .map(|p| Given { name: p.name.to_lowercase(), value: (p.value.clone(), p.ty) })
                    .collect();
                let text = given.first().map(|first| plain_text(&first.value.0)).unwrap_or_default();
                self.request_digest = Some(digest(&text));
                self.request_text.clone_from(&text);
                // The first two are the statement and its declarations, whatever they are called.
                let given = given
                    .into_iter()
                    .enumerate()
                    .map(|(at, g)| if at < 2 { Given { name: String::new(), ..g } } else { g });
                procedures::call(self, procedure, given.collect(), &mut out).map(|_| ())
            }
            Request::Begin => self.begin(None, None, &mut out),
            Request::Commit => self.end(true, &mut out),
            Request::Rollback => self.end(false, &mut out),
            Request::Attention => Ok(()),
        };
        let ending = self.ending(done, &mut out);
        self.tries = 0;
        self.caught = None;
        self.idle();
        out.finish(ending);
    }

    fn ending(&mut self, done: Done<()>, out: &mut Output) -> Ending {
        match done {
            Ok(()) => Ending::Message,
            Err(Halt::Errors(errors)) => {
                let fatal = errors.iter().any(|error| error.class >= 20);
                errors.iter().for_each(|error| out.message(error));
                let compile = errors.first().is_some_and(|error| error.class == 15);
                out.failed(if compile { Command::Compile } else { Command::None });
                if fatal { Ending::Close } else { Ending::Message }
            }
            Err(Halt::Cut | Halt::Stopped(Reason::Gone)) => Ending::Cut,
            Err(Halt::Hold) => Ending::Hold,
            Err(Halt::Stopped(Reason::Attention)) => {
                out.failed(Command::None);
                Ending::Message
            }
            Err(Halt::Stopped(Reason::Killed)) => {
                let text = "Cannot continue the execution because the session is in the kill state.";
                out.message(&SqlError::new(596, text).class(21));
                out.failed(Command::None);
                Ending::Close
            }
        }
    }

    /// Runs a text as statements; when it cannot be read, none of them runs.
    pub fn run_text(&mut self, text: &str, out: &mut Output) -> Done<()> {
        let statements = parse_batch(text)?;
        self.run_all(&statements, out).map(|_| ())
    }

    fn run_all(&mut self, statements: &[Statement], out: &mut Output) -> Done<Flow> {
        for statement in statements {
            let flow = self.run_one(statement, out)?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    /// Runs a statement; an error that nobody catches is answered here, and says whether the batch goes on.
    fn run_one(&mut self, statement: &Statement, out: &mut Output) -> Done<Flow> {
        self.check_stop()?;
        self.now = self.instance.clock.now();
        self.working(request_command(&statement.body));
        let errors = match self.guarded(&statement.body, out) {
            Ok(flow) => {
                if !matches!(statement.body, Body::If { .. } | Body::Block(_) | Body::Try { .. }) {
                    self.last_error = 0;
                }
                return Ok(flow);
            }
            Err(Halt::Errors(errors)) => errors,
            Err(halt) => return Err(halt),
        };
        let errors: Vec<SqlError> = errors.into_iter().map(|error| error.at(statement.line)).collect();
        self.last_error = errors.iter().rev().find(|error| error.class > 10).map_or(0, |error| error.number);
        let is_deadlock = errors.iter().any(|error| error.number == 1205);
        if self.options.xact_abort || is_deadlock {
            self.abandon(out);
        }
        let fatal = errors.iter().any(|error| error.class >= 20);
        if self.tries > 0 || fatal {
            return Err(Halt::Errors(errors));
        }
        errors.iter().for_each(|error| out.message(error));
        out.failed(command(&statement.body));
        let thrown = matches!(statement.body, Body::Throw(_));
        let compile = errors.iter().any(|error| error.class == 15 || ENDS_BATCH.contains(&error.number));
        Ok(if self.options.xact_abort || thrown || compile { Flow::Return } else { Flow::Next })
    }

    /// Rolls an open transaction back and tells the client.
    fn abandon(&mut self, out: &mut Output) {
        if self.transaction.depth > 0 {
            let id = self.transaction.id;
            self.rollback();
            out.change(&Change::RolledBack(id));
        }
    }

    /// Runs a statement under the fault rules and enters it in the ledger.
    fn guarded(&mut self, body: &Body, out: &mut Output) -> Done<Flow> {
        // What the server runs for itself is nobody's request.
        let named = self.request_digest.as_ref().and_then(|_| operation(self, body));
        let Some((op, writes)) = named else { return self.execute(body, out) };
        let attempt = self.attempt().map(str::to_owned);
        let hit = self.instance.faults.hit(SERVER, attempt.as_deref(), &op);
        let fault = self.due(hit, body, writes);
        match &fault {
            Some(Fault::CutBefore) => return Err(Halt::Cut),
            Some(Fault::Error { code, message }) => {
                let number = i32::try_from(*code).unwrap_or(50_000);
                let mut errors = vec![SqlError::new(number, message.clone())];
                errors.extend(backup::terminating(body));
                return Err(Halt::Errors(errors));
            }
            // A backup or restore is slow all along, so that its progress can be watched and its work be cut short.
            Some(Fault::Slow { ms }) if matches!(body, Body::Backup(_) | Body::Restore(_)) => {
                self.pace = Duration::from_millis(*ms) / STEPS;
            }
            Some(Fault::Slow { ms }) => self.pause(Duration::from_millis(*ms))?,
            Some(Fault::DiskFull) if writes && !matches!(body, Body::Backup(_)) => {
                let text = "Could not allocate space because the filegroup is full. Create disk space by deleting unneeded files.";
                return Err(SqlError::new(1105, text).state(2).class(17).into());
            }
            _ => {}
        }
        self.disk_is_full = fault == Some(Fault::DiskFull);
        let done = self.execute(body, out);
        self.disk_is_full = false;
        self.pace = Duration::ZERO;
        if matches!(done, Err(Halt::Cut | Halt::Hold)) {
            return done;
        }
        let held = fault == Some(Fault::Hold);
        let writes = writes && done.is_ok();
        self.instance.ledger.record(Line {
            server: SERVER.to_owned(),
            attempt,
            op,
            writes,
            sha256: self.request_digest.clone(),
            text: writes.then(|| self.request_text.chars().take(LONGEST_TEXT).collect()),
            held,
        });
        match fault {
            Some(Fault::CutAfter) => Err(Halt::Cut),
            Some(Fault::Hold) => Err(Halt::Hold),
            _ => done,
        }
    }

    /// The fault that is due now: what is done in a transaction is only done at its end, and its answer is held back then.
    fn due(&mut self, hit: Option<Fault>, body: &Body, writes: bool) -> Option<Fault> {
        let ends = matches!(body, Body::Commit) && self.transaction.depth == 1;
        if ends && self.transaction.held {
            return Some(Fault::Hold);
        }
        if hit == Some(Fault::Hold) && writes && !ends && self.transaction.depth > 0 {
            self.transaction.held = true;
            return None;
        }
        hit
    }

    fn execute(&mut self, body: &Body, out: &mut Output) -> Done<Flow> {
        let plain = |done: Done<()>| done.map(|()| Flow::Next);
        match body {
            Body::Select(query) if makes_table(query) => plain(select_into(self, query, out)),
            Body::Select(query) => plain(rows::select(self, query, out)),
            Body::Insert(insert) => {
                self.writes = Some("INSERT");
                let compiled = compile_insert(self, insert)?;
                plain(rows::change(self, &compiled, Command::Insert, out))
            }
            Body::Update(update) => {
                self.writes = Some("UPDATE");
                let compiled = compile_update(self, update)?;
                plain(rows::change(self, &compiled, Command::Update, out))
            }
            Body::Delete(delete) => {
                self.writes = Some("DELETE");
                let compiled = compile_delete(self, delete)?;
                plain(rows::change(self, &compiled, Command::Delete, out))
            }
            Body::CreateTable(_)
            | Body::AlterTable { .. }
            | Body::CreateIndex(_)
            | Body::DropTables { .. }
            | Body::DropIndex { .. }
            | Body::Truncate(_)
            | Body::CreateSchema(_) => {
                self.atomically(|session| session.define(body))?;
                out.done(0, command(body), 0);
                Ok(Flow::Next)
            }
            Body::CreateDatabase { .. }
            | Body::DropDatabases { .. }
            | Body::AlterDatabase { .. }
            | Body::Use(_)
            | Body::Kill { .. }
            | Body::CheckDatabase { .. }
            | Body::DamagePage { .. }
            | Body::Security(_) => plain(self.administer(body, out)),
            Body::Login(change) => self.answered(body, out, |session| logins::administer(session, change)),
            Body::Endpoint(change) => self.answered(body, out, |session| machine::endpoint(session, change)),
            Body::User(change) => self.answered(body, out, |session| principals::change(session, change)),
            Body::Permission(change) => {
                self.answered(body, out, |session| principals::permit(session, change))
            }
            Body::Impersonate { name, is_user } => {
                self.answered(body, out, |session| principals::impersonate(session, name, *is_user))
            }
            Body::Revert => self.answered(body, out, principals::revert),
            Body::Reconfigure => self.answered(body, out, |session| machine::reconfigure(session)),
            Body::Backup(options) => plain(backup::backup(self, options, out)),
            Body::Restore(options) => plain(restore::restore(self, options, out)),
            Body::ReadMedia(read) => plain(read_media::read(self, read, out)),
            Body::Begin { name, mark } => plain(self.begin(name.as_ref(), mark.as_ref(), out)),
            Body::Commit => plain(self.end(true, out)),
            Body::Rollback => plain(self.end(false, out)),
            Body::Declare(_) | Body::SetVariable(..) | Body::SetOption(_) => plain(self.set(body)),
            Body::Execute(execute) => plain(procedures::execute(self, execute, out)),
            Body::Print(_) | Body::RaiseError { .. } | Body::Throw(_) | Body::WaitFor(_) => {
                plain(self.speak(body, out))
            }
            _ => self.steer(body, out),
        }
    }

    /// Does what a statement wants and answers that it is done.
    fn answered(
        &mut self,
        body: &Body,
        out: &mut Output,
        work: impl FnOnce(&mut Self) -> Done<()>,
    ) -> Done<Flow> {
        work(self)?;
        out.done(0, command(body), 0);
        Ok(Flow::Next)
    }

    /// Statements that hold others.
    fn steer(&mut self, body: &Body, out: &mut Output) -> Done<Flow> {
        match body {
            Body::Block(statements) => self.run_all(statements, out),
            Body::If { condition, then, otherwise } => match (self.holds(condition)?, otherwise) {
                (true, _) => self.run_one(then, out),
                (false, Some(otherwise)) => self.run_one(otherwise, out),
                (false, None) => Ok(Flow::Next),
            },
            Body::While { condition, body } => {
                while self.holds(condition)? {
                    match self.run_one(body, out)? {
                        Flow::Break => break,
                        Flow::Return => return Ok(Flow::Return),
                        Flow::Next | Flow::Continue => {}
                    }
                }
                Ok(Flow::Next)
            }
            Body::Try { body, catch } => {
                self.tries += 1;
                let done = self.run_all(body, out);
                self.tries -= 1;
                match done {
                    Err(Halt::Errors(errors)) if errors.iter().all(|error| error.class < 20) => {
                        // What CATCH sees is the last error, as on the real server.
                        let last = errors.into_iter().rev().find(|error| error.class > 10);
                        let before = std::mem::replace(&mut self.caught, last);
                        let done = self.run_all(catch, out);
                        self.caught = before;
                        done
                    }
                    done => done,
                }
            }
            Body::Break => Ok(Flow::Break),
            Body::Continue => Ok(Flow::Continue),
            _ => Ok(Flow::Return),
        }
    }

    fn define(&mut self, body: &Body) -> Done<()> {
        self.may_define(body)?;
        match body {
            Body::CreateTable(create) => ddl::create_table(self, create),
            Body::AlterTable { table, change } => {
                let mut found = tables::expect(self, table)?;
                match change {
                    TableChange::Add { columns, constraints } => {
                        for column in columns {
                            columns::add_column(self, &mut found, column)?;
                        }
                        constraints
                            .iter()
                            .try_for_each(|constraint| keys::add_constraint(self, &found, constraint))
                    }
                    TableChange::AlterColumn { name, ty, nullable } => {
                        columns::alter_column(self, &found, name, *ty, *nullable)
                    }
                    TableChange::DropColumns { names, if_exists } => {
                        let there = |name: &&String| {
                            !*if_exists || found.fields.iter().any(|f| f.name.eq_ignore_ascii_case(name))
                        };
                        names
                            .iter()
                            .filter(there)
                            .try_for_each(|name| columns::drop_column(self, &found, name))
                    }
                    TableChange::DropConstraints { names, if_exists } => names
                        .iter()
                        .try_for_each(|name| keys::drop_constraint(self, &found, name, *if_exists)),
                }
            }
            Body::CreateIndex(create) => indexes::create_index(self, create),
            Body::DropTables { names, if_exists } => {
                names.iter().try_for_each(|name| ddl::drop_table(self, name, *if_exists))
            }
            Body::DropIndex { table, index, if_exists } => {
                indexes::drop_index(self, table, index, *if_exists)
            }
            Body::Truncate(table) => ddl::truncate(self, table),
            Body::CreateSchema(name) => ddl::create_schema(self, name),
            _ => Ok(()),
        }
    }

    /// Fails where the login may not change the schema.
    fn may_define(&mut self, body: &Body) -> Done<()> {
        let nothing = ObjectName { database: None, schema: None, name: String::new() };
        let (name, right) = match body {
            Body::CreateTable(create) => (&create.name, "CREATE TABLE"),
            Body::CreateSchema(_) => (&nothing, "CREATE SCHEMA"),
            Body::AlterTable { table, .. } | Body::DropIndex { table, .. } | Body::Truncate(table) => {
                (table, "ALTER")
            }
            Body::CreateIndex(create) => (&create.table, "ALTER"),
            Body::DropTables { names, .. } => (names.first().unwrap_or(&nothing), "ALTER"),
            _ => return Ok(()),
        };
        let id = tables::database_of(self, name)?;
        if self.allows(id, right, None)? {
            return Ok(());
        }
        if right != "ALTER" {
            return Err(principals::denied(self, id, right).into());
        }
        let text = format!(
            "Cannot find the object \"{}\" because it does not exist or you do not have permissions.",
            tables::shown(name)
        );
        Err(SqlError::new(1088, text).into())
    }

    fn administer(&mut self, body: &Body, out: &mut Output) -> Done<()> {
        match body {
            Body::CreateDatabase { name, files } => {
                databases::create(self, name, files)?;
                out.done(0, Command::CreateDatabase, 0);
                Ok(())
            }
            Body::DropDatabases { names, if_exists } => {
                names.iter().try_for_each(|name| databases::drop_database(self, name, *if_exists))?;
                out.done(0, Command::DropDatabase, 0);
                Ok(())
            }
            Body::AlterDatabase { name, change, termination } => {
                databases::alter(self, name.as_deref(), change, *termination, out)
            }
            Body::Use(name) => databases::enter(self, name, out),
            Body::Kill { session, status_only } => databases::kill(self, *session, *status_only, out),
            Body::CheckDatabase { name, no_messages, as_table } => {
                check::check(self, name.as_ref(), *no_messages, *as_table, out)
            }
            Body::DamagePage { database, page } => check::damage(self, database, *page, out),
            Body::Security(security) => security::execute(self, security, out),
            _ => Ok(()),
        }
    }
}

fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
