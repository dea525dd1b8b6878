//! Migrations of EF Core on a SQL Server that is reached through its capabilities alone.

mod schema;
mod told;
mod dotnet;
mod release;
mod way;
pub mod update;
