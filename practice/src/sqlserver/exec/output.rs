//! The tokens of one answer on their way out. Main type: [`Output`].

use tokio::sync::mpsc::Sender;

use crate::sqlserver::error::SqlError;
use crate::sqlserver::tds::tokens::{self, COUNT, Change, Column, Command, Done, ERROR, MORE};
use crate::sqlserver::value::Value;

/// What a session sends to the connection that carries it.
#[derive(Debug)]
pub enum Piece {
    /// Tokens; with `true` they leave at once.
    Tokens(Vec<u8>, bool),
    /// The answer is complete.
    End(Ending),
}

/// What becomes of the connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The message ends and the next request is awaited.
    Message,
    /// The message ends and the connection is closed.
    Close,
    /// The connection is dropped without an end of the message.
    Cut,
    /// Nothing more is sent until the peer goes.
    Hold,
}

/// When so many bytes wait, they are handed on.
const FULL: usize = 32 << 10;

/// Builds an answer. A DONE token waits until it is known whether more follows.
#[derive(Debug)]
pub struct Output {
    to: Option<Sender<Piece>>,
    tokens: Vec<u8>,
    pending: Option<(u16, Command, u64)>,
    in_procedure: bool,
    server: String,
    /// The first error of the answer.
    pub first_error: Option<SqlError>,
}

impl Output {
    /// An answer that goes to `to`, or nowhere; in a procedure DONE tokens are of another kind.
    #[must_use]
    pub fn new(to: Option<Sender<Piece>>, server: &str, in_procedure: bool) -> Self {
        let server = server.to_owned();
        Self { to, tokens: Vec::new(), pending: None, in_procedure, server, first_error: None }
    }

    fn hand_on(&mut self, now: bool) {
        let tokens = std::mem::take(&mut self.tokens);
        if let Some(to) = &self.to {
            // A connection that is gone shows at the session's next look at its stop.
            let _ = to.blocking_send(Piece::Tokens(tokens, now));
        }
    }

    fn settle(&mut self) {
        if let Some((status, command, rows)) = self.pending.take() {
            self.put_done(status | MORE, command, rows);
        }
        if self.tokens.len() > FULL {
            self.hand_on(false);
        }
    }

    fn put_done(&mut self, status: u16, command: Command, rows: u64) {
        let which = if self.in_procedure { Done::InProcedure } else { Done::Statement };
        tokens::put_done(&mut self.tokens, which, status, command, rows);
    }

    /// An ERROR token, or INFO for classes up to 10.
    pub fn message(&mut self, error: &SqlError) {
        self.settle();
        tokens::put_error(&mut self.tokens, error, &self.server);
        if error.class > 10 && self.first_error.is_none() {
            self.first_error = Some(error.clone());
        }
    }

    /// An INFO token with a DONE of its own, as BACKUP and RESTORE send them.
    pub fn step(&mut self, info: &SqlError, command: Command) {
        self.message(info);
        self.done(0, command, 0);
    }

    /// As [`Output::step`], and what waits leaves at once: for progress.
    pub fn step_now(&mut self, info: &SqlError, command: Command) {
        self.step(info, command);
        self.settle();
        self.hand_on(true);
    }

    /// COLMETADATA.
    pub fn columns(&mut self, columns: &[Column]) {
        self.settle();
        tokens::put_columns(&mut self.tokens, columns);
    }

    /// A ROW.
    ///
    /// # Errors
    /// When a value does not have the form of its column's type.
    pub fn row(&mut self, columns: &[Column], values: &[Value]) -> Result<(), SqlError> {
        if !tokens::put_row(&mut self.tokens, columns, values) {
            let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
            return Err(SqlError::internal(format_args!("a value does not fit its column among {names:?}")));
        }
        if self.tokens.len() > FULL {
            self.hand_on(false);
        }
        Ok(())
    }

    /// A whole result.
    ///
    /// # Errors
    /// As [`Output::row`].
    pub fn rows(
        &mut self,
        columns: &[Column],
        rows: &[Vec<Value>],
        command: Command,
    ) -> Result<(), SqlError> {
        self.columns(columns);
        rows.iter().try_for_each(|row| self.row(columns, row))?;
        self.done(COUNT, command, rows.len() as u64);
        Ok(())
    }

    /// ENVCHANGE.
    pub fn change(&mut self, change: &Change) {
        self.settle();
        tokens::put_change(&mut self.tokens, change);
    }

    /// A statement's end.
    pub fn done(&mut self, status: u16, command: Command, rows: u64) {
        self.settle();
        self.pending = Some((status, command, rows));
    }

    /// The end of a statement that failed.
    pub fn failed(&mut self, command: Command) {
        self.done(ERROR, command, 0);
    }

    /// The end of the answer.
    pub fn finish(mut self, ending: Ending) {
        if self.in_procedure {
            self.settle();
            tokens::put_return_status(&mut self.tokens, 0);
            tokens::put_done(&mut self.tokens, Done::Procedure, 0, Command::Execute, 0);
        } else {
            let (status, command, rows) = self.pending.take().unwrap_or((0, Command::None, 0));
            self.put_done(status, command, rows);
        }
        if matches!(ending, Ending::Cut | Ending::Hold) {
            self.tokens.clear();
        } else {
            self.hand_on(false);
        }
        if let Some(to) = &self.to {
            let _ = to.blocking_send(Piece::End(ending));
        }
    }
}
