//! The tokens of a server's answer. Main functions: [`put_error`], [`put_columns`], [`put_done`].

use super::bytes::{put_b_varchar, put_us_varchar};
use super::wire::{COLLATION, put_type, put_value};
use crate::sqlserver::error::SqlError;
use crate::sqlserver::sql_type::SqlType;
use crate::sqlserver::value::Value;

/// More tokens of this request follow.
pub const MORE: u16 = 0x01;
/// The statement failed.
pub const ERROR: u16 = 0x02;
/// The row count is valid.
pub const COUNT: u16 = 0x10;
/// This acknowledges an attention.
pub const ATTENTION: u16 = 0x20;

/// What a DONE token's CurCmd says was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
#[allow(missing_docs)] // The variants carry the names of the statements.
pub enum Command {
    None = 0,
    Select = 193,
    Insert = 195,
    Delete = 196,
    Update = 197,
    CreateTable = 198,
    DropTable = 199,
    CreateDatabase = 203,
    Rollback = 210,
    Begin = 212,
    Commit = 213,
    AlterDatabase = 215,
    AlterTable = 216,
    DropDatabase = 222,
    Execute = 224,
    Use = 226,
    BackupDatabase = 228,
    RestoreDatabase = 229,
    RestoreRows = 230,
    BackupLog = 235,
    RestoreHeaderOnly = 250,
    Compile = 253,
    RestoreFileListOnly = 376,
    RestoreVerifyOnly = 377,
}

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name; empty for an unnamed expression.
    pub name: String,
    /// Its type.
    pub ty: SqlType,
    /// Whether it can be NULL.
    pub nullable: bool,
}

impl Column {
    /// A column that can be NULL.
    #[must_use]
    pub fn new(name: impl Into<String>, ty: SqlType) -> Self {
        Self { name: name.into(), ty, nullable: true }
    }
}

/// Appends an ERROR token, or an INFO token where the class is at most 10; class 10 travels as 0.
pub fn put_error(out: &mut Vec<u8>, error: &SqlError, server: &str) {
    let mut body = error.number.to_le_bytes().to_vec();
    body.push(error.state);
    body.push(if error.class == 10 { 0 } else { error.class });
    let text: String = error.message.chars().take(2048).collect();
    put_us_varchar(&mut body, &text);
    put_b_varchar(&mut body, server);
    put_b_varchar(&mut body, "");
    body.extend(error.line.max(1).to_le_bytes());
    put_body(out, if error.class > 10 { 0xAA } else { 0xAB }, &body);
}

fn put_body(out: &mut Vec<u8>, token: u8, body: &[u8]) {
    out.push(token);
    out.extend(u16::try_from(body.len()).unwrap_or(u16::MAX).to_le_bytes());
    out.extend_from_slice(body);
}

/// Which of the three DONE tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// A statement of a batch, 0xFD.
    Statement,
    /// A procedure's end, 0xFE.
    Procedure,
    /// A statement inside a procedure, 0xFF.
    InProcedure,
}

/// Appends a DONE token.
pub fn put_done(out: &mut Vec<u8>, which: Done, status: u16, command: Command, rows: u64) {
    out.push(match which {
        Done::Statement => 0xFD,
        Done::Procedure => 0xFE,
        Done::InProcedure => 0xFF,
    });
    out.extend(status.to_le_bytes());
    out.extend((command as u16).to_le_bytes());
    out.extend(rows.to_le_bytes());
}

/// Appends COLMETADATA.
pub fn put_columns(out: &mut Vec<u8>, columns: &[Column]) {
    out.push(0x81);
    out.extend(u16::try_from(columns.len()).unwrap_or(u16::MAX).to_le_bytes());
    for column in columns {
        out.extend(0_u32.to_le_bytes());
        // Bit 3 says that it may be written; a client that sends a table back reads it.
        out.extend((0x08 | u16::from(column.nullable)).to_le_bytes());
        put_type(out, column.ty);
        put_b_varchar(out, &column.name);
    }
}

/// Appends a ROW; nothing, and an answer of false, when a value does not fit its column.
#[must_use]
pub fn put_row(out: &mut Vec<u8>, columns: &[Column], values: &[Value]) -> bool {
    let start = out.len();
    out.push(0xD1);
    let fits = columns.len() == values.len()
        && columns.iter().zip(values).all(|(column, value)| put_value(out, column.ty, value).is_some());
    if !fits {
        out.truncate(start);
    }
    fits
}

/// Appends RETURNSTATUS.
pub fn put_return_status(out: &mut Vec<u8>, status: i32) {
    out.push(0x79);
    out.extend(status.to_le_bytes());
}

/// A change of the session's environment that the client must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The current database, new and old.
    Database(String, String),
    /// The packet size, new and old.
    PacketSize(usize, usize),
    /// The collation.
    Collation,
    /// A transaction began; its descriptor.
    Begun(u64),
    /// It was committed.
    Committed(u64),
    /// It was rolled back.
    RolledBack(u64),
}

/// Appends ENVCHANGE.
pub fn put_change(out: &mut Vec<u8>, change: &Change) {
    let mut body = Vec::new();
    match change {
        Change::Database(new, old) => {
            body.push(1);
            put_b_varchar(&mut body, new);
            put_b_varchar(&mut body, old);
        }
        Change::PacketSize(new, old) => {
            body.push(4);
            put_b_varchar(&mut body, &new.to_string());
            put_b_varchar(&mut body, &old.to_string());
        }
        Change::Collation => {
            body.extend([7, 5]);
            body.extend(COLLATION);
            body.push(0);
        }
        Change::Begun(id) => {
            body.extend([8, 8]);
            body.extend(id.to_le_bytes());
            body.push(0);
        }
        Change::Committed(id) | Change::RolledBack(id) => {
            body.extend([if matches!(change, Change::Committed(_)) { 9 } else { 10 }, 0, 8]);
            body.extend(id.to_le_bytes());
        }
    }
    put_body(out, 0xE3, &body);
}

/// Appends LOGINACK for TDS 7.4.
pub fn put_login_ack(out: &mut Vec<u8>, version: [u8; 4]) {
    let mut body = vec![1];
    body.extend(0x7400_0004_u32.to_be_bytes());
    put_b_varchar(&mut body, "Microsoft SQL Server");
    body.extend(version);
    put_body(out, 0xAD, &body);
}
