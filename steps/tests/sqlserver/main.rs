//! The kinds of SQL Server against a server: the practice one, or a real one that `DRYDOCK_TEST_SQLSERVER` names.

mod world;
mod query;
mod mark;
mod backup;
mod restore;
