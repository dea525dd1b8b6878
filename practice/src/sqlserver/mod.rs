//! A stand-in for SQL Server: real TDS, real rows, a real log. Main type: [`Server`].

pub mod error;

pub mod sql_type;

pub mod value;

pub mod moment;

pub mod tds;

pub mod cast;

pub mod lang;

pub mod store;
