//! What a statement's names stand for, as the compiler asks for it. Main type: [`Names`].

use chrono::{DateTime, Utc};

use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::statement::ObjectName;
use crate::sqlserver::sql_type::SqlType;
use crate::sqlserver::value::Value;

/// A column that a statement can name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: SqlType,
    /// Whether it can be NULL.
    pub nullable: bool,
    /// Whether it is the IDENTITY column.
    pub identity: bool,
    /// Its default in T-SQL.
    pub default: Option<String>,
}

impl Field {
    /// A column without a default.
    #[must_use]
    pub fn new(name: impl Into<String>, ty: SqlType, nullable: bool) -> Self {
        Self { name: name.into(), ty, nullable, identity: false, default: None }
    }
}

/// A table, view or table function that a statement can read.
#[derive(Debug, Clone)]
pub struct Table {
    /// What stands for it in SQLite.
    pub sql: String,
    /// Its name with its schema, for messages.
    pub name: String,
    /// Its columns.
    pub fields: Vec<Field>,
    /// The database whose rows it has; nothing for views of the server's state.
    pub database: Option<u32>,
    /// For a function, the columns that its arguments are compared with.
    pub keys: Vec<&'static str>,
    /// Whether statements may change it.
    pub writable: bool,
}

/// A value with its type.
pub type TypedValue = (Value, SqlType);

/// Where the compiler looks names up.
pub trait Names {
    /// The table of that name; for a function, its arguments where they are constant.
    ///
    /// # Errors
    /// 208, or why its database cannot be used.
    fn table(&mut self, name: &ObjectName, arguments: Option<&[Value]>) -> Result<Table, SqlError>;

    /// The variable of that name in lower case with its `@`, or the global one with `@@`.
    fn variable(&self, name: &str) -> Option<TypedValue>;

    /// The value of a function over constants, such as SERVERPROPERTY; nothing when there is none of that name.
    ///
    /// # Errors
    /// When the arguments are not ones that it takes.
    fn function(&mut self, name: &str, arguments: &[TypedValue]) -> Result<Option<TypedValue>, SqlError>;

    /// The value of an SQLite expression without columns.
    ///
    /// # Errors
    /// The error that the expression raises.
    fn evaluate(&mut self, sql: &str, parameters: &[Value]) -> Result<Value, SqlError>;

    /// The time of the statement.
    fn now(&self) -> DateTime<Utc>;

    /// Whether explicit values for the table's IDENTITY column are allowed.
    fn may_insert_identity(&self, table: &Table) -> bool;
}
