//! Statements that steer a session: variables and options, messages, the ends of transactions. Main function:
//! [`Session::begin`].

use super::databases::plain_text;
use super::halt::Done;
use super::output::Output;
use super::session::Session;
use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::statement::{Body, Mark, SetOption, Text};
use crate::sqlserver::moment;
use crate::sqlserver::query::names::Names;
use crate::sqlserver::sql_type::SqlType;
use crate::sqlserver::store::functions::shown;
use crate::sqlserver::store::record;
use crate::sqlserver::tds::tokens::{Change, Command};
use crate::sqlserver::value::Value;

impl Session {
    pub(super) fn set(&mut self, body: &Body) -> Done<()> {
        match body {
            Body::Declare(variables) => {
                for (name, ty, value) in variables {
                    self.variables.insert(name.clone(), (Value::Null, *ty));
                    if let Some(expression) = value {
                        let (value, from) = self.value_of(expression)?;
                        self.assign(name, value, from)?;
                    }
                }
            }
            Body::SetVariable(name, expression) => {
                let (value, from) = self.value_of(expression)?;
                self.assign(name, value, from)?;
            }
            Body::SetOption(option) => match option {
                SetOption::NoCount(on) => self.options.no_count = *on,
                SetOption::XactAbort(on) => self.options.xact_abort = *on,
                SetOption::LockTimeout(millis) => self.options.lock_timeout = Some(*millis),
                SetOption::IdentityInsert(name, on) => {
                    let table = Names::table(self, name, None)?;
                    self.options.identity_insert = table.database.filter(|_| *on).map(|id| (id, table.sql));
                }
                SetOption::Ignored => {}
            },
            _ => {}
        }
        Ok(())
    }

    pub(super) fn speak(&mut self, body: &Body, out: &mut Output) -> Done<()> {
        match body {
            Body::Print(expression) => {
                let (value, ty) = self.value_of(expression)?;
                let text = shown(&value, ty);
                out.message(&SqlError::new(0, text).class(0));
                Ok(())
            }
            Body::Throw(None) => Err(match self.caught.clone() {
                Some(error) => error.into(),
                None => SqlError::new(
                    10704,
                    "To rethrow an error, a THROW statement must be used inside a CATCH block.",
                )
                .class(15)
                .into(),
            }),
            Body::Throw(Some((number, message, state))) => {
                let number = self.number(number)?;
                let (message, _) = self.value_of(message)?;
                let state = u8::try_from(self.number(state)?).unwrap_or(1);
                let number = i32::try_from(number).unwrap_or(50_000);
                Err(SqlError::new(number, plain_text(&message)).state(state).into())
            }
            Body::RaiseError { message, severity, state, arguments } => {
                let (text, _) = self.value_of(message)?;
                let severity = u8::try_from(self.number(severity)?.clamp(0, 18)).unwrap_or(16);
                let state = u8::try_from(self.number(state)?.clamp(0, 255)).unwrap_or(1);
                let mut parts = Vec::new();
                for argument in arguments {
                    parts.push(plain_text(&self.value_of(argument)?.0));
                }
                let error =
                    SqlError::new(50_000, filled(&plain_text(&text), &parts)).class(severity).state(state);
                if severity > 10 {
                    return Err(error.into());
                }
                out.message(&error);
                Ok(())
            }
            Body::WaitFor(delay) => {
                let (text, _) = self.value_of(delay)?;
                let text = plain_text(&text);
                let read = moment::parse(&text).map(|read| read.local.time());
                let time = read.ok_or_else(|| {
                    SqlError::new(
                        148,
                        format!("Incorrect time syntax in time string '{text}' used with WAITFOR."),
                    )
                    .class(15)
                })?;
                let time = time.signed_duration_since(chrono::NaiveTime::MIN).to_std().unwrap_or_default();
                self.pause(time)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn number(&mut self, expression: &sqlparser::ast::Expr) -> Result<i64, SqlError> {
        let (value, ty) = self.value_of(expression)?;
        match self.converted(value, ty, SqlType::BigInt)? {
            Value::Integer(number) => Ok(number),
            _ => Ok(0),
        }
    }

    /// `BEGIN TRANSACTION`.
    pub(super) fn begin(&mut self, name: Option<&Text>, mark: Option<&Mark>, out: &mut Output) -> Done<()> {
        let name = name.map(|name| self.text(name)).transpose()?;
        if let Some(name) = name.as_deref().filter(|name| name.encode_utf16().count() > 32) {
            let text = format!("The identifier that starts with '{name}' is too long. Maximum length is 32.");
            return Err(SqlError::new(103, text).state(3).class(15).into());
        }
        if self.transaction.depth == 0 {
            self.transaction.id = u64::try_from(self.now.timestamp_micros()).unwrap_or(1);
            out.change(&Change::Begun(self.transaction.id));
            if let Some(description) = mark {
                let name = name.ok_or_else(|| SqlError::syntax("WITH"))?;
                let user = self.client.login.clone();
                self.transaction.mark = Some(record::Mark { name, description: description.clone(), user });
            }
        } else if mark.is_some() {
            let text =
                "WITH MARK option only applies to the first BEGIN TRAN WITH MARK. The option is ignored.";
            out.message(&SqlError::new(3920, text).class(10));
        }
        self.transaction.depth += 1;
        out.done(0, Command::Begin, 0);
        Ok(())
    }

    /// `COMMIT` and `ROLLBACK`.
    pub(super) fn end(&mut self, commit: bool, out: &mut Output) -> Done<()> {
        let (number, word) = if commit { (3902, "COMMIT") } else { (3903, "ROLLBACK") };
        let id = self.transaction.id;
        match (self.transaction.depth, commit) {
            (0, _) => {
                let text = format!("The {word} TRANSACTION request has no corresponding BEGIN TRANSACTION.");
                return Err(SqlError::new(number, text).into());
            }
            (1, true) => {
                self.commit()?;
                out.change(&Change::Committed(id));
            }
            (_, true) => self.transaction.depth -= 1,
            (_, false) => {
                self.rollback();
                out.change(&Change::RolledBack(id));
            }
        }
        out.done(0, if commit { Command::Commit } else { Command::Rollback }, 0);
        Ok(())
    }
}

/// RAISERROR's text with `%s` and `%d` replaced in order.
fn filled(text: &str, arguments: &[String]) -> String {
    let mut filled = String::new();
    let mut rest = text;
    let mut arguments = arguments.iter();
    while let Some(at) = rest.find('%') {
        let (before, after) = rest.split_at(at);
        filled += before;
        rest = match after.as_bytes().get(1) {
            Some(b's' | b'd' | b'i') => {
                filled += arguments.next().map_or("(null)", String::as_str);
                &after[2..]
            }
            Some(b'%') => {
                filled.push('%');
                &after[2..]
            }
            _ => {
                filled.push('%');
                &after[1..]
            }
        };
    }
    filled + rest
}
