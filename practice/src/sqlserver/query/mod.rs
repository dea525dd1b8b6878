//! From T-SQL's queries and changes of rows to SQLite's. Main type: [`compiler::Compiler`].

pub mod names;

pub mod compiler;

pub mod expression;

pub mod aggregates;

pub mod functions;

pub mod from;

pub mod select;

pub mod change;
