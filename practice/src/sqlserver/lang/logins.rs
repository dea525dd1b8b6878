//! Statements about logins and roles of the server as written. Main functions: [`create_login`], [`alter_login`], [`alter_role`].

use sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::statement::{Body, LoginChange, LoginOptions, Password};
use crate::sqlserver::error::SqlError;

/// Reads what follows CREATE LOGIN.
pub fn create_login(cursor: &mut Cursor) -> Result<Body, SqlError> {
    let name = cursor.name()?;
    if cursor.accept("FROM") {
        let line = cursor.line();
        if !cursor.accept("WINDOWS") {
            return Err(SqlError::not_understood("a login FROM anything but WINDOWS").at(line));
        }
        let options = if cursor.accept("WITH") { options(cursor)? } else { LoginOptions::default() };
        return Ok(Body::Login(LoginChange::Create { name, is_windows: true, options }));
    }
    cursor.expect("WITH")?;
    let options = options(cursor)?;
    if options.password.is_none() {
        return Err(cursor.unexpected());
    }
    Ok(Body::Login(LoginChange::Create { name, is_windows: false, options }))
}

/// Reads what follows ALTER LOGIN.
pub fn alter_login(cursor: &mut Cursor) -> Result<Body, SqlError> {
    let name = cursor.name()?;
    let options = if cursor.accept("ENABLE") {
        LoginOptions { disabled: Some(false), ..LoginOptions::default() }
    } else if cursor.accept("DISABLE") {
        LoginOptions { disabled: Some(true), ..LoginOptions::default() }
    } else {
        cursor.expect("WITH")?;
        options(cursor)?
    };
    Ok(Body::Login(LoginChange::Alter { name, options }))
}

/// `0x…` as bytes.
fn binary(cursor: &mut Cursor) -> Result<Vec<u8>, SqlError> {
    let Token::HexStringLiteral(digits) = cursor.peek().clone() else { return Err(cursor.unexpected()) };
    let bytes = (0..digits.len())
        .step_by(2)
        .map(|at| digits.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok()));
    let bytes: Option<Vec<u8>> = bytes.collect();
    let bytes = bytes.ok_or_else(|| cursor.unexpected())?;
    cursor.advance();
    Ok(bytes)
}

fn options(cursor: &mut Cursor) -> Result<LoginOptions, SqlError> {
    let mut read = LoginOptions::default();
    loop {
        let line = cursor.line();
        let option = cursor.word()?;
        cursor.expect_token(&Token::Eq)?;
        match option.as_str() {
            "PASSWORD" => {
                read.password = Some(match cursor.peek() {
                    Token::HexStringLiteral(_) => {
                        let hash = binary(cursor)?;
                        cursor.expect("HASHED")?;
                        Password::Hashed(hash)
                    }
                    _ => Password::Plain(cursor.string()?),
                });
                cursor.accept("MUST_CHANGE");
                if cursor.accept("OLD_PASSWORD") {
                    cursor.expect_token(&Token::Eq)?;
                    cursor.string()?;
                }
            }
            "SID" => read.sid = Some(binary(cursor)?),
            "DEFAULT_DATABASE" => read.database = Some(cursor.name()?),
            "DEFAULT_LANGUAGE" => read.language = Some(cursor.name()?),
            "NAME" => read.name = Some(cursor.name()?),
            "CHECK_POLICY" => read.checks_policy = Some(cursor.word()? == "ON"),
            "CHECK_EXPIRATION" => read.checks_expiration = Some(cursor.word()? == "ON"),
            _ => return Err(SqlError::not_understood(format_args!("the login option {option}")).at(line)),
        }
        if !cursor.accept_token(&Token::Comma) {
            return Ok(read);
        }
    }
}

/// Reads what follows DROP LOGIN.
pub fn drop_login(cursor: &mut Cursor) -> Result<Body, SqlError> {
    cursor.name().map(|name| Body::Login(LoginChange::Drop(name)))
}

/// Reads what follows CREATE SERVER ROLE.
pub fn create_role(cursor: &mut Cursor) -> Result<Body, SqlError> {
    let role = cursor.name()?;
    let owner = if cursor.accept("AUTHORIZATION") { Some(cursor.name()?) } else { None };
    Ok(Body::Login(LoginChange::CreateRole { role, owner }))
}

/// Reads what follows DROP SERVER ROLE.
pub fn drop_role(cursor: &mut Cursor) -> Result<Body, SqlError> {
    cursor.name().map(|role| Body::Login(LoginChange::DropRole(role)))
}

/// Reads what follows ALTER SERVER ROLE.
pub fn alter_role(cursor: &mut Cursor) -> Result<Body, SqlError> {
    let role = cursor.name()?;
    let is_added = cursor.accept("ADD");
    if !is_added {
        cursor.expect("DROP")?;
    }
    cursor.expect("MEMBER")?;
    Ok(Body::Login(LoginChange::Member { role, name: cursor.name()?, is_added }))
}
