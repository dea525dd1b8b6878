//! What a logged-in client asks: batches, procedure calls, transaction requests. Main type: [`Request`].

use super::bytes::{Malformed, Reader, utf16_text};
use super::packet::{Kind, Message};
use super::parameter::parse_value;
use crate::sqlserver::sql_type::SqlType;
use crate::sqlserver::value::Value;

/// A parameter of a procedure call.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Its name with the `@`, or empty.
    pub name: String,
    /// The type that it was sent with.
    pub ty: SqlType,
    /// Its value in the form in which values are kept.
    pub value: Value,
}

/// A request.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Statements as text.
    Batch(String),
    /// `sp_executesql`, or another procedure by name.
    Call {
        /// The procedure, `sp_executesql` for its number 10.
        procedure: String,
        /// Its parameters in order.
        parameters: Vec<Parameter>,
    },
    /// Begin a transaction.
    Begin,
    /// Commit it.
    Commit,
    /// Roll it back.
    Rollback,
    /// Stop what is running.
    Attention,
}

/// Most parameters that a call may have, as on the real server.
const PARAMETERS: usize = 2100;

impl Request {
    /// Reads a message of a logged-in client.
    ///
    /// # Errors
    /// Messages that belong to the login, and whatever a length or type makes unreadable.
    pub fn parse(message: &Message) -> Result<Self, Malformed> {
        match message.kind {
            Kind::Batch => {
                let mut from = Reader::new("batch", &message.body);
                skip_headers(&mut from)?;
                Ok(Self::Batch(utf16_text(from.rest())))
            }
            Kind::Rpc => parse_call(&message.body),
            Kind::Transaction => parse_transaction(&message.body),
            Kind::Attention => Ok(Self::Attention),
            Kind::Login | Kind::Prelogin => {
                Err(Malformed::new("message", "it belongs to the login, which is over"))
            }
        }
    }
}

/// ALL_HEADERS: a total length that counts itself, then the headers.
fn skip_headers(from: &mut Reader<'_>) -> Result<(), Malformed> {
    let total = from.u32()? as usize;
    let rest = total.checked_sub(4).ok_or_else(|| from.malformed("its headers are too short"))?;
    from.take(rest).map(|_| ())
}

fn parse_call(body: &[u8]) -> Result<Request, Malformed> {
    let mut from = Reader::new("RPC", body);
    skip_headers(&mut from)?;
    let units = from.u16()?;
    let procedure = if units == u16::MAX {
        match from.u16()? {
            10 => "sp_executesql".to_owned(),
            number => format!("procedure number {number}"),
        }
    } else {
        from.utf16(usize::from(units))?
    };
    let _options = from.u16()?;
    let mut parameters = Vec::new();
    while !from.is_at_end() {
        if parameters.len() == PARAMETERS {
            return Err(from.malformed("it has more than 2,100 parameters"));
        }
        let units = from.u8()?;
        let name = from.utf16(usize::from(units))?;
        let _status = from.u8()?;
        let (ty, value) = parse_value(&mut from)?;
        parameters.push(Parameter { name, ty, value });
    }
    Ok(Request::Call { procedure, parameters })
}

fn parse_transaction(body: &[u8]) -> Result<Request, Malformed> {
    let mut from = Reader::new("transaction request", body);
    skip_headers(&mut from)?;
    match from.u16()? {
        5 => Ok(Request::Begin),
        7 => Ok(Request::Commit),
        8 => Ok(Request::Rollback),
        _ => Err(from.malformed("its type is not begin, commit or rollback")),
    }
}
