//! Errors as the server words them: number, class, state, text. Main type: [`SqlError`].

use std::fmt;

/// The number of this server's own refusals: a construct that it does not understand.
pub const NOT_UNDERSTOOD: i32 = 50900;

/// One ERROR token, or an INFO token where the class is at most 10.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct SqlError {
    /// The message's number in the real server's catalogue.
    pub number: i32,
    /// Its state.
    pub state: u8,
    /// Its severity; 15 is found while compiling, 20 and more end the connection.
    pub class: u8,
    /// The text.
    pub message: String,
    /// The line of the batch, counted from 1; 0 until a statement is known.
    pub line: u32,
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Msg {}, Level {}, State {}: {}", self.number, self.class, self.state, self.message)
    }
}

impl SqlError {
    /// An error of severity 16, state 1.
    #[must_use]
    pub fn new(number: i32, message: impl Into<String>) -> Self {
        Self { number, state: 1, class: 16, message: message.into(), line: 0 }
    }

    /// The same with another state.
    #[must_use]
    pub const fn state(mut self, state: u8) -> Self {
        self.state = state;
        self
    }

    /// The same with another severity.
    #[must_use]
    pub const fn class(mut self, class: u8) -> Self {
        self.class = class;
        self
    }

    /// The same at a line, unless it already has one.
    #[must_use]
    pub const fn at(mut self, line: u32) -> Self {
        if self.line == 0 {
            self.line = line;
        }
        self
    }

    /// This server's refusal of something that the real one may well understand.
    #[must_use]
    pub fn not_understood(what: impl fmt::Display) -> Self {
        Self::new(NOT_UNDERSTOOD, format!("practice server: does not understand {what}"))
    }

    /// 102, found while compiling.
    #[must_use]
    pub fn syntax(near: &str) -> Self {
        Self::new(102, format!("Incorrect syntax near '{near}'.")).class(15)
    }

    /// 207.
    #[must_use]
    pub fn column(name: &str) -> Self {
        Self::new(207, format!("Invalid column name '{name}'."))
    }

    /// 208.
    #[must_use]
    pub fn object(name: &str) -> Self {
        Self::new(208, format!("Invalid object name '{name}'."))
    }

    /// 911.
    #[must_use]
    pub fn no_database(name: &str) -> Self {
        Self::new(
            911,
            format!("Database '{name}' does not exist. Make sure that the name is entered correctly."),
        )
        .state(11)
    }

    /// Something that went wrong in this server and not in what it was asked.
    #[must_use]
    pub fn internal(what: impl fmt::Display) -> Self {
        Self::new(NOT_UNDERSTOOD, format!("practice server: internal error: {what}")).state(2)
    }
}
