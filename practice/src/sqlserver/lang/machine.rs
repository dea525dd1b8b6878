//! Statements about endpoints as written. Main functions: [`create_endpoint`], [`alter_endpoint`].

use sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::statement::{Body, EndpointChange};
use crate::sqlserver::error::SqlError;
use crate::sqlserver::store::machine::Endpoint;

fn state(cursor: &mut Cursor) -> Result<i64, SqlError> {
    cursor.expect("STATE")?;
    cursor.expect_token(&Token::Eq)?;
    let line = cursor.line();
    match cursor.word()?.as_str() {
        "STARTED" => Ok(0),
        "STOPPED" => Ok(1),
        "DISABLED" => Ok(2),
        other => Err(SqlError::syntax(other).at(line)),
    }
}

/// Reads what follows CREATE ENDPOINT: one over TCP.
pub fn create_endpoint(cursor: &mut Cursor) -> Result<Body, SqlError> {
    let name = cursor.name()?;
    if cursor.accept("AUTHORIZATION") {
        cursor.name()?;
    }
    let state = if cursor.is_at("STATE") { state(cursor)? } else { 1 };
    cursor.expect("AS")?;
    cursor.expect("TCP")?;
    cursor.expect_token(&Token::LParen)?;
    cursor.expect("LISTENER_PORT")?;
    cursor.expect_token(&Token::Eq)?;
    let port: i64 = cursor.number()?;
    let mut ip = None;
    if cursor.accept_token(&Token::Comma) {
        cursor.expect("LISTENER_IP")?;
        cursor.expect_token(&Token::Eq)?;
        if !cursor.accept("ALL") {
            ip = Some(address(cursor)?);
        }
    }
    cursor.expect_token(&Token::RParen)?;
    cursor.expect("FOR")?;
    let line = cursor.line();
    let kind = match cursor.word()?.as_str() {
        "TSQL" => 2,
        "SERVICE_BROKER" => 3,
        "DATABASE_MIRRORING" | "DATA_MIRRORING" => 4,
        other => return Err(SqlError::not_understood(format_args!("an endpoint for {other}")).at(line)),
    };
    let mut made = Endpoint {
        id: 0,
        name,
        state,
        port,
        ip,
        kind,
        role: None,
        authentication: (kind > 2).then(|| "NEGOTIATE".to_owned()),
        certificate: None,
        algorithm: (kind > 2).then(|| "AES".to_owned()),
        is_encrypted: kind > 2,
    };
    cursor.expect_token(&Token::LParen)?;
    while !cursor.accept_token(&Token::RParen) {
        term(cursor, &mut made)?;
        cursor.accept_token(&Token::Comma);
    }
    Ok(Body::Endpoint(EndpointChange::Create(made)))
}

/// An address in parentheses, as a text or as numbers with dots.
fn address(cursor: &mut Cursor) -> Result<String, SqlError> {
    cursor.expect_token(&Token::LParen)?;
    let mut ip = String::new();
    while !cursor.accept_token(&Token::RParen) {
        if cursor.is_at_end() {
            return Err(cursor.unexpected());
        }
        match cursor.peek() {
            Token::SingleQuotedString(text) | Token::NationalStringLiteral(text) => ip.push_str(text),
            other => ip.push_str(&other.to_string()),
        }
        cursor.advance();
    }
    Ok(ip)
}

fn term(cursor: &mut Cursor, made: &mut Endpoint) -> Result<(), SqlError> {
    let line = cursor.line();
    let word = cursor.word()?;
    cursor.expect_token(&Token::Eq)?;
    match word.as_str() {
        "ROLE" => {
            made.role = Some(match cursor.word()?.as_str() {
                "PARTNER" => 1,
                "WITNESS" => 2,
                _ => 3,
            });
        }
        "AUTHENTICATION" => {
            let mut ways = Vec::new();
            loop {
                if cursor.accept("WINDOWS") {
                    let way = ["NTLM", "KERBEROS", "NEGOTIATE"].into_iter().find(|way| cursor.accept(way));
                    ways.push(way.unwrap_or("NEGOTIATE"));
                } else if cursor.accept("CERTIFICATE") {
                    made.certificate = Some(cursor.name()?);
                    ways.push("CERTIFICATE");
                } else {
                    break;
                }
            }
            made.authentication = Some(ways.join(", "));
        }
        "ENCRYPTION" => {
            let how = cursor.word()?;
            made.is_encrypted = how == "REQUIRED";
            made.algorithm = Some(if how == "DISABLED" { "NONE" } else { "AES" }.to_owned());
            if cursor.accept("ALGORITHM") {
                let named: Vec<&str> =
                    ["AES", "RC4", "AES"].into_iter().filter(|name| cursor.accept(name)).collect();
                made.algorithm = Some(named.join(", "));
            }
        }
        other => return Err(SqlError::not_understood(format_args!("{other} of an endpoint")).at(line)),
    }
    Ok(())
}

/// Reads what follows ALTER ENDPOINT: its state.
pub fn alter_endpoint(cursor: &mut Cursor) -> Result<Body, SqlError> {
    let name = cursor.name()?;
    Ok(Body::Endpoint(EndpointChange::State(name, state(cursor)?)))
}

/// Reads what follows DROP ENDPOINT.
pub fn drop_endpoint(cursor: &mut Cursor) -> Result<Body, SqlError> {
    cursor.name().map(|name| Body::Endpoint(EndpointChange::Drop(name)))
}

/// Reads what follows RECONFIGURE.
pub fn reconfigure(cursor: &mut Cursor) -> Result<Body, SqlError> {
    if cursor.accept("WITH") {
        cursor.expect("OVERRIDE")?;
    }
    Ok(Body::Reconfigure)
}
