//! The state of a compilation from T-SQL to SQLite. Main type: [`Compiler`].
//!
//! Every expression is compiled with its type, and every conversion that T-SQL makes silently is written out,
//! since SQLite would make others. What has no rule here is refused.

use std::collections::BTreeSet;

use sqlparser::ast;

use super::names::{Field, Names, Table};
use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::cursor::object_name;
use crate::sqlserver::lang::statement::ObjectName;
use crate::sqlserver::sql_type::{Family, SqlType};
use crate::sqlserver::store::functions::compare;
use crate::sqlserver::store::record::quoted;
use crate::sqlserver::tds::tokens::Column;
use crate::sqlserver::value::Value;

/// A compiled expression.
#[derive(Debug, Clone)]
pub struct Typed {
    /// SQLite's text for it.
    pub sql: String,
    /// Its type in T-SQL.
    pub ty: SqlType,
    /// Whether it can be NULL.
    pub nullable: bool,
}

impl Typed {
    /// An expression that can be NULL.
    #[must_use]
    pub fn new(sql: impl Into<String>, ty: SqlType) -> Self {
        Self { sql: sql.into(), ty, nullable: true }
    }

    /// The same that cannot be NULL.
    #[must_use]
    pub fn not_null(mut self) -> Self {
        self.nullable = false;
        self
    }
}

/// Something in FROM.
#[derive(Debug, Clone)]
pub struct Source {
    /// The alias, or the table's own name.
    pub name: String,
    /// What stands before its columns in SQLite, with the period; nothing in RETURNING.
    pub prefix: String,
    /// Its columns.
    pub fields: Vec<Field>,
}

/// A compiled query.
#[derive(Debug, Clone)]
pub struct Query {
    /// SQLite's text.
    pub sql: String,
    /// Its columns.
    pub columns: Vec<Column>,
}

/// A compiled statement, ready for SQLite.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// SQLite's text.
    pub sql: String,
    /// Values for `?1`, `?2`, ...
    pub parameters: Vec<Value>,
    /// The result's columns; none when it has no result.
    pub columns: Vec<Column>,
    /// For `SELECT @x = …`, the variables in the order of the columns.
    pub assigned: Vec<String>,
    /// The databases that it reads or changes.
    pub databases: BTreeSet<u32>,
    /// The database whose rows it changes.
    pub changes: Option<u32>,
}

/// A compilation.
pub struct Compiler<'a> {
    pub(super) names: &'a mut dyn Names,
    pub(super) scopes: Vec<Vec<Source>>,
    pub(super) ctes: Vec<(String, String, Vec<Field>)>,
    pub(super) parameters: Vec<Value>,
    pub(super) databases: BTreeSet<u32>,
    pub(super) aliases: usize,
    /// Columns named outside aggregates since this was last emptied, as SQLite's text.
    pub(super) bare_columns: Vec<String>,
    /// How many columns have been named at all, also in outer queries.
    pub(super) columns_named: usize,
    pub(super) aggregates: usize,
    pub(super) inside_aggregate: bool,
}

impl<'a> Compiler<'a> {
    /// A compilation that looks names up in `names`.
    pub fn new(names: &'a mut dyn Names) -> Self {
        Self {
            names,
            scopes: Vec::new(),
            ctes: Vec::new(),
            parameters: Vec::new(),
            databases: BTreeSet::new(),
            aliases: 0,
            bare_columns: Vec::new(),
            columns_named: 0,
            aggregates: 0,
            inside_aggregate: false,
        }
    }

    /// Closes the compilation.
    #[must_use]
    pub fn finish(self, sql: String, columns: Vec<Column>) -> Compiled {
        let Self { parameters, databases, .. } = self;
        Compiled { sql, parameters, columns, assigned: Vec::new(), databases, changes: None }
    }

    /// An alias that no other source has.
    pub(super) fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("s{}", self.aliases)
    }

    /// A parameter with this value.
    pub(super) fn parameter(&mut self, value: Value) -> String {
        self.parameters.push(value);
        format!("?{}", self.parameters.len())
    }

    /// The table of that name, counted among the databases that the statement needs.
    pub(super) fn table(
        &mut self,
        name: &ObjectName,
        arguments: Option<&[Value]>,
    ) -> Result<Table, SqlError> {
        let table = self.names.table(name, arguments)?;
        self.databases.extend(table.database);
        Ok(table)
    }

    /// A column by its name, `qualifier` being an alias or table; the innermost query that has it wins.
    pub(super) fn column(&mut self, qualifier: Option<&str>, name: &str) -> Result<Typed, SqlError> {
        for scope in self.scopes.iter().rev() {
            let mut found = None;
            for source in scope {
                if qualifier.is_some_and(|qualifier| compare(qualifier, &source.name).is_ne()) {
                    continue;
                }
                for field in source.fields.iter().filter(|field| compare(&field.name, name).is_eq()) {
                    if found.is_some() {
                        return Err(SqlError::new(209, format!("Ambiguous column name '{name}'.")));
                    }
                    let sql = format!("{}{}", source.prefix, quoted(&field.name));
                    found = Some(Typed { sql, ty: field.ty, nullable: field.nullable });
                }
            }
            if let Some(found) = found {
                self.columns_named += 1;
                if !self.inside_aggregate {
                    self.bare_columns.push(found.sql.clone());
                }
                return Ok(found);
            }
        }
        match qualifier {
            Some(qualifier) if !self.has_source(qualifier) => {
                let text = format!("The multi-part identifier \"{qualifier}.{name}\" could not be bound.");
                Err(SqlError::new(4104, text))
            }
            _ => Err(SqlError::column(name)),
        }
    }

    fn has_source(&self, qualifier: &str) -> bool {
        self.scopes.iter().flatten().any(|source| compare(&source.name, qualifier).is_eq())
    }

    /// An expression as a value of type `to`: unchanged where both types are kept alike.
    pub(super) fn coerced(&self, value: &Typed, to: SqlType) -> String {
        if kept_alike(value.ty, to) {
            value.sql.clone()
        } else {
            cast_sql("dd_cast", &value.sql, value.ty, to, "NULL")
        }
    }

    /// The two sides of a comparison in the type in which they meet.
    pub(super) fn met(&self, left: &Typed, right: &Typed) -> Result<(String, String), SqlError> {
        let ty = left.ty.meet(right.ty);
        refuse_mismatch(left.ty, right.ty)?;
        let (left, right) = (self.coerced(left, ty), self.coerced(right, ty));
        let collate = if ty.family() == Family::Text { " COLLATE ci" } else { "" };
        Ok((format!("{left}{collate}"), right))
    }
}

/// Whether values of both types are kept in the same form.
#[must_use]
pub fn kept_alike(from: SqlType, to: SqlType) -> bool {
    match (from, to) {
        (SqlType::Null, _) | (_, SqlType::Null) => true,
        (SqlType::Decimal { scale: a, .. }, SqlType::Decimal { scale: b, .. }) => a == b,
        (SqlType::Date, _) | (_, SqlType::Date) => from == to,
        (SqlType::Variant, _) | (_, SqlType::Variant) => from == to,
        _ => {
            from.family() == to.family() || (from.family() == Family::Integer && to.family() == Family::Float)
        }
    }
}

/// SQLite's text for a conversion.
#[must_use]
pub fn cast_sql(function: &str, sql: &str, from: SqlType, to: SqlType, style: &str) -> String {
    format!("{function}({sql}, '{from}', '{to}', {style})")
}

/// 206 for types that never meet.
fn refuse_mismatch(a: SqlType, b: SqlType) -> Result<(), SqlError> {
    let (low, high) = (a.family(), b.family());
    let clash = |one: Family, others: &[Family]| {
        (low == one && others.contains(&high)) || (high == one && others.contains(&low))
    };
    let numbers = [Family::Integer, Family::Decimal, Family::Float];
    if clash(Family::Guid, &numbers)
        || clash(Family::Guid, &[Family::Moment, Family::Time, Family::Offset])
        || clash(Family::Moment, &numbers)
        || clash(Family::Binary, &[Family::Moment, Family::Float, Family::Decimal, Family::Text])
    {
        return Err(SqlError::new(206, format!("Operand type clash: {a} is incompatible with {b}")).state(2));
    }
    Ok(())
}

/// A name of the syntax tree as an object's name.
///
/// # Errors
/// A refusal of names with more than three parts (a linked server) or computed ones.
pub fn name_of(name: &ast::ObjectName) -> Result<ObjectName, SqlError> {
    let parts = name.0.iter().map(|part| match part {
        ast::ObjectNamePart::Identifier(ident) if ident.value.is_empty() => Ok(None),
        ast::ObjectNamePart::Identifier(ident) => Ok(Some(ident.value.clone())),
        ast::ObjectNamePart::Function(_) => Err(SqlError::not_understood("computed names")),
    });
    object_name(parts.collect::<Result<_, _>>()?).ok_or_else(|| {
        SqlError::not_understood(format_args!("the name {name}: it has more than three parts"))
    })
}

/// A text as a literal of SQLite's.
#[must_use]
pub fn literal(text: &str) -> String {
    if text.contains('\0') {
        // SQLite's texts end at a zero byte; written as bytes they do not.
        let digits: String = text.bytes().map(|byte| format!("{byte:02X}")).collect();
        return format!("CAST(x'{digits}' AS TEXT)");
    }
    format!("'{}'", text.replace('\'', "''"))
}
