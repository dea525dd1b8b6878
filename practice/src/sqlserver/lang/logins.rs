//! Statements about logins and roles of the server as written. Main functions: [`create_login`], [`alter_role`].

use sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::statement::{Body, LoginChange};
use crate::sqlserver::error::SqlError;

/// Reads what follows CREATE LOGIN: a password, and options that change nothing here.
pub fn create_login(cursor: &mut Cursor) -> Result<Body, SqlError> {
    let name = cursor.name()?;
    cursor.expect("WITH")?;
    cursor.expect("PASSWORD")?;
    cursor.expect_token(&Token::Eq)?;
    let password = cursor.string()?;
    while cursor.accept_token(&Token::Comma) {
        let line = cursor.line();
        let option = cursor.word()?;
        cursor.expect_token(&Token::Eq)?;
        match option.as_str() {
            "CHECK_POLICY" | "CHECK_EXPIRATION" | "DEFAULT_DATABASE" | "DEFAULT_LANGUAGE" => cursor.advance(),
            _ => return Err(SqlError::not_understood(format_args!("the login option {option}")).at(line)),
        }
    }
    Ok(Body::Login(LoginChange::Create { name, password }))
}

/// Reads what follows DROP LOGIN.
pub fn drop_login(cursor: &mut Cursor) -> Result<Body, SqlError> {
    cursor.name().map(|name| Body::Login(LoginChange::Drop(name)))
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
