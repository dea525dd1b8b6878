//! An argument of a procedure with its value. Main type: [`Given`].

use crate::sqlserver::query::names::TypedValue;

/// An argument with its value.
#[derive(Debug, Clone)]
pub struct Given {
    /// Its name in lower case with the `@`; empty when it was given by place.
    pub name: String,
    /// Its value.
    pub value: TypedValue,
}
