//! Statements about users, roles of a database and rights as written. Main functions: [`create_user`], [`permission`].

use sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::statement::{Body, ObjectName, PermissionChange, Securable, UserChange};
use crate::sqlserver::error::SqlError;

/// Reads what follows CREATE USER.
pub fn create_user(cursor: &mut Cursor) -> Result<Body, SqlError> {
    let name = cursor.name()?;
    let mut login = Some(name.clone());
    if cursor.accept_words(&["WITHOUT", "LOGIN"]) {
        login = None;
    } else if cursor.accept("FOR") || cursor.accept("FROM") {
        let line = cursor.line();
        if !cursor.accept("LOGIN") {
            return Err(SqlError::not_understood("a user for anything but a login").at(line));
        }
        login = Some(cursor.name()?);
    }
    let schema = if cursor.accept("WITH") { Some(schema(cursor)?) } else { None };
    Ok(Body::User(UserChange::Create { name, login, schema }))
}

fn schema(cursor: &mut Cursor) -> Result<String, SqlError> {
    cursor.expect("DEFAULT_SCHEMA")?;
    cursor.expect_token(&Token::Eq)?;
    cursor.name()
}

/// Reads what follows ALTER USER.
pub fn alter_user(cursor: &mut Cursor) -> Result<Body, SqlError> {
    let name = cursor.name()?;
    cursor.expect("WITH")?;
    let (mut login, mut new, mut schema) = (None, None, None);
    loop {
        let line = cursor.line();
        let option = cursor.word()?;
        cursor.expect_token(&Token::Eq)?;
        match option.as_str() {
            "LOGIN" => login = Some(cursor.name()?),
            "NAME" => new = Some(cursor.name()?),
            "DEFAULT_SCHEMA" => schema = Some(cursor.name()?),
            _ => return Err(SqlError::not_understood(format_args!("the user option {option}")).at(line)),
        }
        if !cursor.accept_token(&Token::Comma) {
            return Ok(Body::User(UserChange::Alter { name, login, new, schema }));
        }
    }
}

/// Reads what follows DROP USER or DROP ROLE.
pub fn drop_principal(cursor: &mut Cursor, is_role: bool) -> Result<Body, SqlError> {
    let if_exists = cursor.accept_words(&["IF", "EXISTS"]);
    Ok(Body::User(UserChange::Drop { name: cursor.name()?, is_role, if_exists }))
}

/// Reads what follows CREATE ROLE.
pub fn create_role(cursor: &mut Cursor) -> Result<Body, SqlError> {
    let name = cursor.name()?;
    if cursor.accept("AUTHORIZATION") {
        cursor.name()?;
    }
    Ok(Body::User(UserChange::CreateRole(name)))
}

/// Reads what follows ALTER ROLE.
pub fn alter_role(cursor: &mut Cursor) -> Result<Body, SqlError> {
    let role = cursor.name()?;
    let is_added = cursor.accept("ADD");
    if !is_added {
        cursor.expect("DROP")?;
    }
    cursor.expect("MEMBER")?;
    Ok(Body::User(UserChange::Member { role, member: cursor.name()?, is_added }))
}

/// Reads what follows ALTER AUTHORIZATION.
pub fn authorization(cursor: &mut Cursor) -> Result<Body, SqlError> {
    let line = cursor.line();
    cursor.expect("ON")?;
    if !cursor.accept("DATABASE") {
        return Err(SqlError::not_understood("ALTER AUTHORIZATION on anything but a database").at(line));
    }
    cursor.expect_token(&Token::DoubleColon)?;
    let database = cursor.name()?;
    cursor.expect("TO")?;
    Ok(Body::User(UserChange::Owner { database, login: cursor.name()? }))
}

/// Reads what follows GRANT, DENY or REVOKE.
pub fn permission(cursor: &mut Cursor, verb: &str) -> Result<Body, SqlError> {
    let line = cursor.line();
    if verb == "REVOKE" && cursor.accept_words(&["GRANT", "OPTION", "FOR"]) {
        return Err(SqlError::not_understood("REVOKE GRANT OPTION FOR").at(line));
    }
    let mut rights = Vec::new();
    loop {
        let mut words = vec![cursor.word()?];
        while !(cursor.is_at("ON") || cursor.is_at("TO") || cursor.is_at("FROM"))
            && *cursor.peek() != Token::Comma
        {
            if *cursor.peek() == Token::LParen {
                return Err(SqlError::not_understood("rights on columns").at(line));
            }
            words.push(cursor.word()?);
        }
        rights.push(words.join(" "));
        if !cursor.accept_token(&Token::Comma) {
            break;
        }
    }
    let on = if cursor.accept("ON") { Some(securable(cursor)?) } else { None };
    if !cursor.accept("TO") {
        cursor.expect("FROM")?;
    }
    let mut grantees = vec![cursor.name()?];
    while cursor.accept_token(&Token::Comma) {
        grantees.push(cursor.name()?);
    }
    let with_grant = cursor.accept_words(&["WITH", "GRANT", "OPTION"]);
    cursor.accept("CASCADE");
    let state = match (verb, with_grant) {
        ("GRANT", true) => Some('W'),
        ("GRANT", false) => Some('G'),
        ("DENY", _) => Some('D'),
        _ => None,
    };
    Ok(Body::Permission(PermissionChange { state, rights, on, grantees }))
}

/// `[class::]name`.
fn securable(cursor: &mut Cursor) -> Result<Securable, SqlError> {
    let line = cursor.line();
    let two = cursor.is_at_words(&["SERVER", "ROLE"]);
    if two || *cursor.peek_at(1) == Token::DoubleColon {
        let class = if two {
            cursor.advance();
            cursor.advance();
            "SERVER ROLE".to_owned()
        } else {
            cursor.word()?
        };
        cursor.expect_token(&Token::DoubleColon)?;
        return match class.as_str() {
            "OBJECT" => Ok(Securable { class, name: cursor.object_name()? }),
            "SCHEMA" | "DATABASE" | "LOGIN" | "ENDPOINT" | "SERVER ROLE" | "CERTIFICATE" | "USER"
            | "ROLE" => {
                let name = ObjectName { database: None, schema: None, name: cursor.name()? };
                Ok(Securable { class, name })
            }
            _ => Err(SqlError::not_understood(format_args!("rights on {class}")).at(line)),
        };
    }
    Ok(Securable { class: "OBJECT".to_owned(), name: cursor.object_name()? })
}
