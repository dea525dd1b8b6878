//! BACKUP and RESTORE as written. Main functions: [`backup`], [`restore`].

use sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::security::backup_certificate;
use super::statement::{Backup, Body, Encryption, Ending, ReadMedia, Reading, Restore, Stop, Text};
use crate::sqlserver::error::SqlError;

/// Most devices of one statement.
const DEVICES: usize = 64;
/// Most copies beside the first.
const MIRRORS: usize = 3;

/// Reads what follows BACKUP.
pub fn backup(cursor: &mut Cursor) -> Result<Body, SqlError> {
    if cursor.accept("CERTIFICATE") {
        return backup_certificate(cursor);
    }
    let mut backup = Backup { log: cursor.accept("LOG"), ..Backup::default() };
    if !backup.log {
        cursor.expect("DATABASE")?;
    }
    backup.database = Some(cursor.name_or_variable()?);
    if !cursor.is_at("TO") {
        return Err(SqlError::not_understood("backups of single files or filegroups").at(cursor.line()));
    }
    cursor.advance();
    backup.devices = devices(cursor)?;
    while cursor.accept("MIRROR") {
        cursor.expect("TO")?;
        if backup.mirrors.len() == MIRRORS {
            let text = format!("Too many backup mirrors are specified. Only {} are allowed.", MIRRORS + 1);
            return Err(SqlError::new(3214, text).at(cursor.line()));
        }
        let mirror = devices(cursor)?;
        backup.mirrors.push(mirror);
    }
    if cursor.accept("WITH") {
        loop {
            backup_option(cursor, &mut backup)?;
            if !cursor.accept_token(&Token::Comma) {
                break;
            }
        }
    }
    Ok(Body::Backup(Box::new(backup)))
}

fn devices(cursor: &mut Cursor) -> Result<Vec<Text>, SqlError> {
    let mut devices = Vec::new();
    loop {
        if cursor.accept("DISK") {
            cursor.expect_token(&Token::Eq)?;
            devices.push(match cursor.string_or_variable()? {
                // To DISK a URL is a path like any other, and there is no such folder.
                Text::Literal(path) if is_url(&path) => Text::Literal(format!("./{path}")),
                path => path,
            });
        } else if cursor.accept("URL") {
            cursor.expect_token(&Token::Eq)?;
            let url = cursor.string_or_variable()?;
            if matches!(&url, Text::Literal(text) if !is_url(text)) {
                let text = "The URL provided does not meet specified requirements. The URL must be either resource URI or Shared Access Signature of resource URI.";
                return Err(SqlError::new(3072, text).at(cursor.line()));
            }
            devices.push(url);
        } else if cursor.is_at("TAPE") {
            return Err(SqlError::not_understood("tapes").at(cursor.line()));
        } else {
            let line = cursor.line();
            let name = match cursor.name_or_variable()? {
                Text::Literal(name) | Text::Variable(name) => name,
            };
            let text = format!(
                "Backup device '{name}' does not exist. To view existing backup devices, use the sys.backup_devices \
                 catalog view. To create a new backup device use either sp_addumpdevice or SQL Server Management Studio."
            );
            return Err(SqlError::new(3206, text).at(line));
        }
        if devices.len() > DEVICES {
            let text = "Too many backup devices specified for backup or restore; only 64 are allowed.";
            return Err(SqlError::new(3205, text).at(cursor.line()));
        }
        if !cursor.accept_token(&Token::Comma) {
            return Ok(devices);
        }
    }
}

fn backup_option(cursor: &mut Cursor, backup: &mut Backup) -> Result<(), SqlError> {
    let line = cursor.line();
    let word = cursor.word()?;
    match word.as_str() {
        "DIFFERENTIAL" if !backup.log => backup.differential = true,
        "COPY_ONLY" => backup.copy_only = true,
        "COMPRESSION" if cursor.accept_token(&Token::LParen) => compression(cursor, backup)?,
        "ENCRYPTION" => backup.encryption = Some(encryption(cursor)?),
        "CREDENTIAL" => backup.credential = Some(assigned_text(cursor)?),
        "BLOCKSIZE" => backup.block_size = Some(assigned_number(cursor)?),
        "BUFFERCOUNT" => backup.buffer_count = Some(assigned_number(cursor)?),
        "MAXTRANSFERSIZE" => backup.max_transfer = Some(assigned_number(cursor)?),
        "COMPRESSION" => backup.compression = Some(true),
        "NO_COMPRESSION" => backup.compression = Some(false),
        "CHECKSUM" => backup.checksum = true,
        "NO_CHECKSUM" => backup.checksum = false,
        "FORMAT" => (backup.format, backup.init) = (true, true),
        "INIT" => backup.init = true,
        "NOFORMAT" | "NOINIT" | "SKIP" | "NOSKIP" | "STOP_ON_ERROR" | "RESTART" | "REWIND" | "NOREWIND"
        | "UNLOAD" | "NOUNLOAD" => {}
        "CONTINUE_AFTER_ERROR" => backup.continue_after_error = true,
        "NORECOVERY" if backup.log => backup.norecovery = true,
        "STANDBY" if backup.log => backup.standby = Some(assigned_text(cursor)?),
        "NO_TRUNCATE" if backup.log => backup.no_truncate = true,
        "STATS" => backup.stats = Some(stats(cursor)?),
        "NAME" => backup.name = Some(assigned_text(cursor)?),
        "DESCRIPTION" => backup.description = Some(assigned_text(cursor)?),
        "MEDIANAME" => backup.media_name = Some(assigned_text(cursor)?),
        "MEDIADESCRIPTION" => backup.media_description = Some(assigned_text(cursor)?),
        "RETAINDAYS" => drop(assigned_number(cursor)?),
        "EXPIREDATE" | "FILE_SNAPSHOT" | "METADATA_ONLY" | "SNAPSHOT" => {
            return Err(SqlError::not_understood(format_args!("the BACKUP option {word}")).at(line));
        }
        _ => return Err(not_an_option(&word, "BACKUP", line)),
    }
    Ok(())
}

/// `(ALGORITHM = ZSTD, LEVEL = HIGH)`, behind its parenthesis.
fn compression(cursor: &mut Cursor, backup: &mut Backup) -> Result<(), SqlError> {
    cursor.expect("ALGORITHM")?;
    cursor.expect_token(&Token::Eq)?;
    let line = cursor.line();
    let algorithm = cursor.word()?;
    if !["MS_XPRESS", "QAT_DEFLATE", "ZSTD"].contains(&algorithm.as_str()) {
        return Err(not_an_option(&algorithm, "BACKUP", line));
    }
    if cursor.accept_token(&Token::Comma) {
        cursor.expect("LEVEL")?;
        cursor.expect_token(&Token::Eq)?;
        let line = cursor.line();
        let level = cursor.word()?;
        if !["LOW", "MEDIUM", "HIGH"].contains(&level.as_str()) {
            return Err(not_an_option(&level, "BACKUP", line));
        }
        backup.level = Some(level);
    }
    cursor.expect_token(&Token::RParen)?;
    (backup.compression, backup.algorithm) = (Some(true), Some(algorithm));
    Ok(())
}

/// `(ALGORITHM = AES_256, SERVER CERTIFICATE = name)`.
fn encryption(cursor: &mut Cursor) -> Result<Encryption, SqlError> {
    cursor.expect_token(&Token::LParen)?;
    cursor.expect("ALGORITHM")?;
    cursor.expect_token(&Token::Eq)?;
    let line = cursor.line();
    let algorithm = cursor.word()?;
    if !["AES_128", "AES_192", "AES_256", "TRIPLE_DES_3KEY"].contains(&algorithm.as_str()) {
        return Err(not_an_option(&algorithm, "BACKUP", line));
    }
    cursor.expect_token(&Token::Comma)?;
    cursor.expect("SERVER")?;
    if cursor.is_at("ASYMMETRIC") {
        return Err(SqlError::not_understood("SERVER ASYMMETRIC KEY").at(line));
    }
    cursor.expect("CERTIFICATE")?;
    cursor.expect_token(&Token::Eq)?;
    let certificate = cursor.name()?;
    cursor.expect_token(&Token::RParen)?;
    Ok(Encryption { algorithm, certificate })
}

fn assigned_number(cursor: &mut Cursor) -> Result<Text, SqlError> {
    cursor.expect_token(&Token::Eq)?;
    cursor.number_or_variable()
}

/// Whether a device is a blob behind a URL.
#[must_use]
pub fn is_url(text: &str) -> bool {
    let begins = |scheme: &str| text.get(..scheme.len()).is_some_and(|own| own.eq_ignore_ascii_case(scheme));
    begins("https://") || begins("s3://")
}

/// Reads what follows RESTORE.
pub fn restore(cursor: &mut Cursor) -> Result<Body, SqlError> {
    let line = cursor.line();
    let word = cursor.word()?;
    let reading = match word.as_str() {
        "HEADERONLY" => Some(Reading::HeaderOnly),
        "FILELISTONLY" => Some(Reading::FileListOnly),
        "LABELONLY" => Some(Reading::LabelOnly),
        "VERIFYONLY" => Some(Reading::VerifyOnly),
        "DATABASE" | "LOG" => None,
        _ => return Err(SqlError::not_understood(format_args!("RESTORE {word}")).at(line)),
    };
    let mut restore = Restore { log: word == "LOG", ..Restore::default() };
    if reading.is_none() {
        restore.database = Some(cursor.name_or_variable()?);
    }
    if cursor.accept("FROM") {
        if cursor.is_at("DATABASE_SNAPSHOT") {
            return Err(SqlError::not_understood("database snapshots").at(line));
        }
        restore.devices = devices(cursor)?;
    } else if reading.is_some() {
        return Err(cursor.unexpected());
    }
    if cursor.accept("WITH") {
        loop {
            restore_option(cursor, &mut restore)?;
            if !cursor.accept_token(&Token::Comma) {
                break;
            }
        }
    }
    Ok(match reading {
        Some(what) => Body::ReadMedia(Box::new(ReadMedia { what, options: restore })),
        None => Body::Restore(Box::new(restore)),
    })
}

fn restore_option(cursor: &mut Cursor, restore: &mut Restore) -> Result<(), SqlError> {
    let line = cursor.line();
    let word = cursor.word()?;
    match word.as_str() {
        "RECOVERY" => restore.ending = Some(one_ending(restore, Ending::Recovery, line)?),
        "NORECOVERY" => restore.ending = Some(one_ending(restore, Ending::NoRecovery, line)?),
        "STANDBY" => {
            let file = assigned_text(cursor)?;
            restore.ending = Some(one_ending(restore, Ending::Standby(file), line)?);
        }
        "REPLACE" => restore.replace = true,
        "RESTART" => restore.restart = true,
        "RESTRICTED_USER" => restore.restricted_user = true,
        "KEEP_REPLICATION" => restore.keep = Some("KEEP_REPLICATION"),
        "KEEP_CDC" => restore.keep = Some("KEEP_CDC"),
        "FILE" => {
            cursor.expect_token(&Token::Eq)?;
            restore.file = Some(cursor.number_or_variable()?);
        }
        "MOVE" => {
            let logical = cursor.string()?;
            cursor.expect("TO")?;
            restore.moves.push((logical, cursor.string()?));
        }
        "CHECKSUM" => restore.checksum = Some(true),
        "NO_CHECKSUM" => restore.checksum = Some(false),
        "CONTINUE_AFTER_ERROR" => restore.continue_after_error = true,
        "STATS" => restore.stats = Some(stats(cursor)?),
        "STOPAT" => restore.stop = Some(Stop::At(assigned_text(cursor)?)),
        "STOPATMARK" | "STOPBEFOREMARK" => restore.stop = Some(mark(cursor, word == "STOPBEFOREMARK")?),
        "STOP_ON_ERROR" | "REWIND" | "NOREWIND" | "UNLOAD" | "NOUNLOAD" | "LOADHISTORY" => {}
        "BLOCKSIZE" | "BUFFERCOUNT" | "MAXTRANSFERSIZE" => {
            cursor.expect_token(&Token::Eq)?;
            cursor.number_or_variable()?;
        }
        "MEDIANAME" => {
            assigned_text(cursor)?;
        }
        "PARTIAL"
        | "CREDENTIAL"
        | "ENABLE_BROKER"
        | "ERROR_BROKER_CONVERSATIONS"
        | "NEW_BROKER"
        | "METADATA_ONLY" => {
            return Err(SqlError::not_understood(format_args!("the RESTORE option {word}")).at(line));
        }
        _ => return Err(not_an_option(&word, "RESTORE", line)),
    }
    Ok(())
}

fn one_ending(restore: &Restore, ending: Ending, line: u32) -> Result<Ending, SqlError> {
    match &restore.ending {
        Some(other) if *other != ending => {
            let text = "Conflicting options: only one of RECOVERY, NORECOVERY and STANDBY may be specified.";
            Err(SqlError::new(3031, text).at(line))
        }
        _ => Ok(ending),
    }
}

/// `= 'mark' [AFTER 'datetime']`; literals only, as in the real grammar.
fn mark(cursor: &mut Cursor, before: bool) -> Result<Stop, SqlError> {
    cursor.expect_token(&Token::Eq)?;
    let name = cursor.string()?;
    let after = if cursor.accept("AFTER") { Some(cursor.string()?) } else { None };
    Ok(Stop::Mark { name, after, before })
}

fn assigned_text(cursor: &mut Cursor) -> Result<Text, SqlError> {
    cursor.expect_token(&Token::Eq)?;
    cursor.string_or_variable()
}

/// `STATS [= percent]`; ten by default.
fn stats(cursor: &mut Cursor) -> Result<u32, SqlError> {
    let percent = if cursor.accept_token(&Token::Eq) { cursor.number()? } else { 10 };
    if (1..=100).contains(&percent) { Ok(percent) } else { Err(cursor.unexpected()) }
}

fn not_an_option(word: &str, verb: &str, line: u32) -> SqlError {
    SqlError::new(155, format!("'{word}' is not a recognized {verb} option.")).class(15).at(line)
}
