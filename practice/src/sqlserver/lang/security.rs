//! Certificates, credentials and master keys as written. Main functions: [`create`], [`backup_certificate`].

use sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::statement::{Body, Security};
use crate::sqlserver::error::SqlError;

/// Reads what follows CREATE, where it is about security; nothing where it is not.
pub fn create(cursor: &mut Cursor) -> Result<Option<Body>, SqlError> {
    let security = if cursor.accept("MASTER") {
        cursor.expect("KEY")?;
        cursor.expect("ENCRYPTION")?;
        by_password(cursor)?;
        Security::CreateMasterKey
    } else if cursor.accept("CERTIFICATE") {
        certificate(cursor)?
    } else if cursor.accept("CREDENTIAL") {
        credential(cursor)?
    } else {
        return Ok(None);
    };
    Ok(Some(Body::Security(Box::new(security))))
}

/// Reads what follows DROP CERTIFICATE or DROP CREDENTIAL.
pub fn drop_named(cursor: &mut Cursor, what: &str) -> Result<Body, SqlError> {
    let name = cursor.name()?;
    let is_certificate = what == "CERTIFICATE";
    let security =
        if is_certificate { Security::DropCertificate(name) } else { Security::DropCredential(name) };
    Ok(Body::Security(Box::new(security)))
}

fn credential(cursor: &mut Cursor) -> Result<Security, SqlError> {
    let name = cursor.name()?;
    cursor.expect("WITH")?;
    cursor.expect("IDENTITY")?;
    cursor.expect_token(&Token::Eq)?;
    let identity = cursor.string()?;
    if cursor.accept_token(&Token::Comma) {
        cursor.expect("SECRET")?;
        cursor.expect_token(&Token::Eq)?;
        cursor.string()?;
    }
    Ok(Security::CreateCredential { name, identity })
}

fn certificate(cursor: &mut Cursor) -> Result<Security, SqlError> {
    let name = cursor.name()?;
    if cursor.accept("FROM") {
        cursor.expect("FILE")?;
        cursor.expect_token(&Token::Eq)?;
        let file = cursor.string()?;
        let key = private_key(cursor, "DECRYPTION")?;
        return Ok(Security::CertificateFromFile { name, file, key });
    }
    cursor.expect("WITH")?;
    cursor.expect("SUBJECT")?;
    cursor.expect_token(&Token::Eq)?;
    let (subject, mut expires) = (cursor.string()?, None);
    while cursor.accept_token(&Token::Comma) {
        let line = cursor.line();
        let word = cursor.word()?;
        cursor.expect_token(&Token::Eq)?;
        match word.as_str() {
            "EXPIRY_DATE" => expires = Some(cursor.string()?),
            "START_DATE" => drop(cursor.string()?),
            _ => return Err(SqlError::syntax(&word).at(line)),
        }
    }
    Ok(Security::CreateCertificate { name, subject, expires })
}

/// Reads what follows BACKUP CERTIFICATE.
pub fn backup_certificate(cursor: &mut Cursor) -> Result<Body, SqlError> {
    let name = cursor.name()?;
    cursor.expect("TO")?;
    cursor.expect("FILE")?;
    cursor.expect_token(&Token::Eq)?;
    let file = cursor.string()?;
    let key = private_key(cursor, "ENCRYPTION")?;
    Ok(Body::Security(Box::new(Security::BackupCertificate { name, file, key })))
}

/// `WITH PRIVATE KEY (FILE = '…', ENCRYPTION BY PASSWORD = '…')`.
fn private_key(cursor: &mut Cursor, verb: &str) -> Result<Option<(String, String)>, SqlError> {
    if !cursor.accept("WITH") {
        return Ok(None);
    }
    cursor.expect("PRIVATE")?;
    cursor.expect("KEY")?;
    cursor.expect_token(&Token::LParen)?;
    let (mut file, mut password) = (None, None);
    loop {
        if cursor.accept("FILE") {
            cursor.expect_token(&Token::Eq)?;
            file = Some(cursor.string()?);
        } else {
            cursor.expect(verb)?;
            password = Some(by_password(cursor)?);
        }
        if !cursor.accept_token(&Token::Comma) {
            break;
        }
    }
    cursor.expect_token(&Token::RParen)?;
    match (file, password) {
        (Some(file), Some(password)) => Ok(Some((file, password))),
        _ => Err(cursor.unexpected()),
    }
}

fn by_password(cursor: &mut Cursor) -> Result<String, SqlError> {
    cursor.expect("BY")?;
    cursor.expect("PASSWORD")?;
    cursor.expect_token(&Token::Eq)?;
    cursor.string()
}
