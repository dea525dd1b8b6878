//! SQL Server: backups, restores, marks, queries, and the target kind `sqlserver`.

mod lexer;
mod sql;
mod batches;
mod reading;
mod paths;
mod failure;
mod answer;
mod settings;
mod session;
mod server;
mod locks;
mod media;
mod finding;
mod files;
mod history;
mod database;
pub mod target;
mod watch;
pub mod query;
mod marking;
pub mod mark;
mod entry;
mod backup_statement;
mod backup_checks;
pub mod backup;
