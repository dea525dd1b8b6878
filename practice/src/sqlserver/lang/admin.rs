//! Statements about databases and sessions as written. Main function: [`alter_database`].

use sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::statement::{Body, DatabaseChange, DeclaredFile, RecoveryModel, SetOption, Termination, Text};
use crate::sqlserver::error::SqlError;

/// Reads what follows CREATE DATABASE.
pub fn create_database(cursor: &mut Cursor) -> Result<Body, SqlError> {
    let name = cursor.name()?;
    let mut files = Vec::new();
    if cursor.accept("ON") {
        cursor.accept("PRIMARY");
        declared_files(cursor, false, &mut files)?;
        if cursor.accept_words(&["LOG", "ON"]) {
            declared_files(cursor, true, &mut files)?;
        }
    }
    if cursor.accept("COLLATE") {
        cursor.name()?;
    }
    Ok(Body::CreateDatabase { name, files })
}

fn declared_files(cursor: &mut Cursor, is_log: bool, files: &mut Vec<DeclaredFile>) -> Result<(), SqlError> {
    loop {
        cursor.expect_token(&Token::LParen)?;
        let (mut logical, mut path) = (None, None);
        loop {
            let line = cursor.line();
            let option = cursor.word()?;
            cursor.expect_token(&Token::Eq)?;
            match option.as_str() {
                "NAME" => {
                    logical = Some(match cursor.peek() {
                        Token::Word(_) => cursor.name()?,
                        _ => cursor.string()?,
                    });
                }
                "FILENAME" => path = Some(cursor.string()?),
                "SIZE" | "MAXSIZE" | "FILEGROWTH" => {
                    cursor.advance();
                    for unit in ["KB", "MB", "GB", "TB"] {
                        cursor.accept(unit);
                    }
                    cursor.accept_token(&Token::Mod);
                }
                _ => return Err(SqlError::not_understood(format_args!("the file option {option}")).at(line)),
            }
            if !cursor.accept_token(&Token::Comma) {
                break;
            }
        }
        cursor.expect_token(&Token::RParen)?;
        match (logical, path) {
            (Some(logical), Some(path)) => files.push(DeclaredFile { logical, path, is_log }),
            _ => return Err(cursor.unexpected()),
        }
        if !cursor.accept_token(&Token::Comma) {
            return Ok(());
        }
    }
}

/// Reads what follows DROP DATABASE.
pub fn drop_databases(cursor: &mut Cursor) -> Result<Body, SqlError> {
    let if_exists = cursor.accept_words(&["IF", "EXISTS"]);
    let mut names = vec![cursor.name()?];
    while cursor.accept_token(&Token::Comma) {
        names.push(cursor.name()?);
    }
    Ok(Body::DropDatabases { names, if_exists })
}

/// Reads what follows ALTER DATABASE.
pub fn alter_database(cursor: &mut Cursor) -> Result<Body, SqlError> {
    let name = cursor.name()?;
    let name = if name.eq_ignore_ascii_case("CURRENT") { None } else { Some(name) };
    if cursor.accept("MODIFY") {
        cursor.expect("NAME")?;
        cursor.expect_token(&Token::Eq)?;
        let change = DatabaseChange::Rename(cursor.name()?);
        return Ok(Body::AlterDatabase { name, change, termination: Termination::Wait });
    }
    if !cursor.accept("SET") {
        return Err(SqlError::not_understood("this form of ALTER DATABASE").at(cursor.line()));
    }
    let change = database_option(cursor)?;
    let termination = if cursor.accept("WITH") { termination(cursor)? } else { Termination::Wait };
    Ok(Body::AlterDatabase { name, change, termination })
}

fn database_option(cursor: &mut Cursor) -> Result<DatabaseChange, SqlError> {
    let line = cursor.line();
    let word = cursor.word()?;
    Ok(match word.as_str() {
        "SINGLE_USER" => DatabaseChange::SingleUser,
        "RESTRICTED_USER" => DatabaseChange::RestrictedUser,
        "MULTI_USER" => DatabaseChange::MultiUser,
        "OFFLINE" => DatabaseChange::Offline,
        "ONLINE" => DatabaseChange::Online,
        "READ_ONLY" => DatabaseChange::ReadOnly(true),
        "READ_WRITE" => DatabaseChange::ReadOnly(false),
        "RECOVERY" => DatabaseChange::Recovery(match cursor.word()?.as_str() {
            "FULL" => RecoveryModel::Full,
            "BULK_LOGGED" => RecoveryModel::BulkLogged,
            "SIMPLE" => RecoveryModel::Simple,
            other => return Err(SqlError::syntax(other).at(line)),
        }),
        "PAGE_VERIFY"
        | "AUTO_CLOSE"
        | "AUTO_SHRINK"
        | "AUTO_CREATE_STATISTICS"
        | "AUTO_UPDATE_STATISTICS"
        | "READ_COMMITTED_SNAPSHOT"
        | "ALLOW_SNAPSHOT_ISOLATION"
        | "TARGET_RECOVERY_TIME" => {
            cursor.accept_token(&Token::Eq);
            cursor.advance();
            for unit in ["SECONDS", "MINUTES"] {
                cursor.accept(unit);
            }
            DatabaseChange::Ignored
        }
        "ENABLE_BROKER" => DatabaseChange::Broker(true),
        "DISABLE_BROKER" => DatabaseChange::Broker(false),
        "NEW_BROKER" => DatabaseChange::NewBroker,
        "COMPATIBILITY_LEVEL" => {
            cursor.expect_token(&Token::Eq)?;
            DatabaseChange::Compatibility(cursor.number()?)
        }
        "TRUSTWORTHY" => DatabaseChange::Trustworthy(on_or_off(cursor)?),
        _ => return Err(SqlError::not_understood(format_args!("the database option {word}")).at(line)),
    })
}

fn termination(cursor: &mut Cursor) -> Result<Termination, SqlError> {
    if cursor.accept("NO_WAIT") {
        return Ok(Termination::NoWait);
    }
    cursor.expect("ROLLBACK")?;
    if cursor.accept("IMMEDIATE") {
        return Ok(Termination::RollbackImmediate);
    }
    cursor.expect("AFTER")?;
    let seconds = cursor.number()?;
    cursor.accept("SECONDS");
    Ok(Termination::RollbackAfter(seconds))
}

/// Reads what follows KILL.
pub fn kill(cursor: &mut Cursor) -> Result<Body, SqlError> {
    let session = cursor.number()?;
    let status_only = cursor.accept_words(&["WITH", "STATUSONLY"]);
    Ok(Body::Kill { session, status_only })
}

/// Reads what follows DBCC.
pub fn dbcc(cursor: &mut Cursor) -> Result<Body, SqlError> {
    let line = cursor.line();
    let word = cursor.word()?;
    if word == "WRITEPAGE" {
        return write_page(cursor);
    }
    if word != "CHECKDB" {
        return Err(SqlError::not_understood(format_args!("DBCC {word}")).at(line));
    }
    let mut name = None;
    if cursor.accept_token(&Token::LParen) {
        name = Some(match cursor.peek() {
            Token::Word(_) => cursor.name_or_variable()?,
            _ => Text::Literal(cursor.string()?),
        });
        cursor.expect_token(&Token::RParen)?;
    }
    let (mut no_messages, mut as_table) = (false, false);
    if cursor.accept("WITH") {
        loop {
            let line = cursor.line();
            match cursor.word()?.as_str() {
                "NO_INFOMSGS" => no_messages = true,
                "TABLERESULTS" => as_table = true,
                "ALL_ERRORMSGS" | "PHYSICAL_ONLY" | "DATA_PURITY" | "EXTENDED_LOGICAL_CHECKS" | "TABLOCK" => {
                }
                "MAXDOP" => {
                    cursor.expect_token(&Token::Eq)?;
                    cursor.number::<u32>()?;
                }
                other => {
                    return Err(SqlError::not_understood(format_args!("the DBCC option {other}")).at(line));
                }
            }
            if !cursor.accept_token(&Token::Comma) {
                break;
            }
        }
    }
    Ok(Body::CheckDatabase { name, no_messages, as_table })
}

/// `WRITEPAGE ('database', file, page, offset, length, 0x…, direct)`: what damages a page on purpose. What is written does not matter
/// here: the page's checksum is wrong from now on.
fn write_page(cursor: &mut Cursor) -> Result<Body, SqlError> {
    let line = cursor.line();
    cursor.expect_token(&Token::LParen)?;
    let database = match cursor.peek() {
        Token::Word(_) => cursor.name_or_variable()?,
        _ => Text::Literal(cursor.string()?),
    };
    cursor.expect_token(&Token::Comma)?;
    if cursor.number::<u64>()? != 1 {
        return Err(SqlError::not_understood("DBCC WRITEPAGE of another file than the first").at(line));
    }
    cursor.expect_token(&Token::Comma)?;
    let page = cursor.number()?;
    while cursor.accept_token(&Token::Comma) {
        cursor.advance();
    }
    cursor.expect_token(&Token::RParen)?;
    Ok(Body::DamagePage { database, page })
}

/// Reads what follows SET, when it does not set a variable.
pub fn set_option(cursor: &mut Cursor) -> Result<Body, SqlError> {
    let line = cursor.line();
    let word = cursor.word()?;
    let option = match word.as_str() {
        "NOCOUNT" => SetOption::NoCount(on_or_off(cursor)?),
        "XACT_ABORT" => SetOption::XactAbort(on_or_off(cursor)?),
        "LOCK_TIMEOUT" => {
            let negative = cursor.accept_token(&Token::Minus);
            let millis: i64 = cursor.number()?;
            SetOption::LockTimeout(if negative { -millis } else { millis })
        }
        "IDENTITY_INSERT" => {
            let table = cursor.object_name()?;
            SetOption::IdentityInsert(table, on_or_off(cursor)?)
        }
        "ANSI_NULLS"
        | "ANSI_PADDING"
        | "ANSI_WARNINGS"
        | "ARITHABORT"
        | "CONCAT_NULL_YIELDS_NULL"
        | "QUOTED_IDENTIFIER"
        | "ANSI_NULL_DFLT_ON"
        | "CURSOR_CLOSE_ON_COMMIT"
        | "NUMERIC_ROUNDABORT" => {
            let mut others = true;
            while others {
                others = cursor.accept_token(&Token::Comma);
                if others {
                    cursor.word()?;
                }
            }
            on_or_off(cursor)?;
            SetOption::Ignored
        }
        "TEXTSIZE" | "DEADLOCK_PRIORITY" | "LANGUAGE" | "DATEFORMAT" => {
            cursor.advance();
            SetOption::Ignored
        }
        "TRANSACTION" => {
            cursor.expect("ISOLATION")?;
            cursor.expect("LEVEL")?;
            for word in ["READ", "UNCOMMITTED", "COMMITTED", "REPEATABLE", "SERIALIZABLE", "SNAPSHOT"] {
                cursor.accept(word);
            }
            // `REPEATABLE READ` has its words the other way round.
            cursor.accept("READ");
            SetOption::Ignored
        }
        "IMPLICIT_TRANSACTIONS" if cursor.accept("OFF") => SetOption::Ignored,
        _ => return Err(SqlError::not_understood(format_args!("SET {word}")).at(line)),
    };
    Ok(Body::SetOption(option))
}

fn on_or_off(cursor: &mut Cursor) -> Result<bool, SqlError> {
    match cursor.word()?.as_str() {
        "ON" => Ok(true),
        "OFF" => Ok(false),
        other => Err(SqlError::syntax(other).at(cursor.line())),
    }
}
