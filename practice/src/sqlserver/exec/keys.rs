//! Constraints: keys are unique indexes, foreign keys are triggers that know their name. Main function: [`add_constraint`].

use serde_json::json;

use super::describe::{field, made_up, placed};
use super::halt::{Done, Halt};
use super::indexes::{create_unique, index_name, index_rows, index_sql, next_index};
use super::session::Session;
use super::tables::{self, Found, alias, indexes, shown};
use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::statement::{Constraint, ObjectName, OnDelete, Rule};
use crate::sqlserver::query::compiler::literal;
use crate::sqlserver::store::functions::raise_text;
use crate::sqlserver::store::record::quoted;
use crate::sqlserver::value::Value;

/// Adds a constraint to a table.
pub fn add_constraint(session: &mut Session, table: &Found, constraint: &Constraint) -> Done<()> {
    let id = session.next_object(table.database)?;
    let schema = session.schema_id(table.database, &table.schema)?;
    let kind = match &constraint.rule {
        Rule::PrimaryKey(_) => "PK",
        Rule::Unique(_) => "UQ",
        Rule::ForeignKey { .. } => "FK",
        Rule::Default { .. } => "DF",
    };
    let name = constraint.name.clone().unwrap_or_else(|| made_up(kind, &table.name, "", id));
    if session.name_is_taken(table.database, schema, &name)? {
        let text = format!("There is already an object named '{name}' in the database.");
        return Err(SqlError::new(2714, text).state(5).into());
    }
    match &constraint.rule {
        Rule::PrimaryKey(columns) => add_key(session, table, (id, schema, &name), columns, true),
        Rule::Unique(columns) => add_key(session, table, (id, schema, &name), columns, false),
        Rule::ForeignKey { columns, table: other, referred, on_delete } => {
            let parent = referenced(session, table, other, &name)?;
            let referred =
                if referred.is_empty() { primary_key(session, &parent)? } else { referred.clone() };
            let (child, on_delete) = (table, *on_delete);
            let key =
                ForeignKey { name: &name, child, parent: &parent, columns, referred: &referred, on_delete };
            add_foreign_key(session, (id, schema), &key)
        }
        Rule::Default { column, text } => {
            let field = field(table, column)?;
            if field.default.is_some() {
                return Err(SqlError::new(1781, "Column already has a DEFAULT bound to it.").into());
            }
            let row = session.object_row(id, schema, &name, "D ", table.object, "");
            let update = format!(
                "UPDATE {{d}}.__columns SET default_id = {id}, default_text = {} WHERE object_id = {} AND name = {}",
                literal(text),
                table.object,
                literal(&field.name)
            );
            let statements = [row, update];
            session.change_schema(table.database, |alias| placed(&statements, alias))
        }
    }
}

fn add_key(
    session: &mut Session,
    table: &Found,
    (id, schema, name): (i64, i64, &str),
    columns: &[String],
    primary: bool,
) -> Done<()> {
    let existing = indexes(session, table)?;
    if primary && existing.iter().any(|index| index.primary) {
        let text = format!("Table '{}' already has a primary key defined on it.", table.name);
        return Err(SqlError::new(1779, text).into());
    }
    let mut statements =
        vec![session.object_row(id, schema, name, if primary { "PK" } else { "UQ" }, table.object, "")];
    let mut names = Vec::new();
    for column in columns {
        let field = field(table, column)?;
        if primary && field.nullable {
            // A column that was declared without NULL or NOT NULL becomes NOT NULL as part of the key.
            let at = format!("object_id = {} AND name = {}", table.object, literal(&field.name));
            statements.push(format!("UPDATE {{d}}.__columns SET nullable = 0 WHERE {at}"));
        }
        names.push((field.name.clone(), false));
    }
    let identity_only = primary
        && table.fields.iter().any(|field| field.identity && names.len() == 1 && names[0].0 == field.name);
    statements.extend(index_rows(
        table,
        name,
        &names,
        true,
        primary,
        Some(id),
        next_index(&existing, primary),
        None,
    ));
    if !identity_only {
        statements.push(index_sql(table, name, &names, true, ""));
    }
    create_unique(session, table, name, &statements)
}

fn referenced(
    session: &mut Session,
    table: &Found,
    other: &ObjectName,
    key: &str,
) -> Result<Found, SqlError> {
    let schema = other.schema.clone().or_else(|| Some(table.schema.clone()));
    let full = ObjectName { schema, ..other.clone() };
    let same = full.name == table.name && full.schema.as_deref() == Some(&table.schema);
    if same {
        return Ok(table.clone());
    }
    let database =
        session.instance.catalog().databases.get(&table.database).map(|database| database.name.clone());
    let found = tables::find(session, &ObjectName { database, ..full })?;
    found.ok_or_else(|| {
        SqlError::new(1767, format!("Foreign key '{key}' references invalid table '{}'.", shown(other)))
    })
}

fn primary_key(session: &Session, table: &Found) -> Result<Vec<String>, SqlError> {
    let key = indexes(session, table)?.into_iter().find(|index| index.primary);
    key.map(|index| index.columns).ok_or_else(|| {
        SqlError::new(1773, format!("There are no primary keys in the referenced table '{}'.", table.name))
    })
}

/// A foreign key that is about to be made.
struct ForeignKey<'a> {
    name: &'a str,
    child: &'a Found,
    parent: &'a Found,
    columns: &'a [String],
    referred: &'a [String],
    on_delete: OnDelete,
}

impl ForeignKey<'_> {
    /// `left.column = right.column` for all pairs.
    fn pairs(&self, left: &str, right: &str) -> String {
        let pairs = self.columns.iter().zip(self.referred);
        let equal = |(child, parent): (&String, &String)| {
            format!("{left}{} = {right}{}", quoted(child), quoted(parent))
        };
        pairs.map(equal).collect::<Vec<_>>().join(" AND ")
    }

    /// Whether a child under an alias points anywhere, and to no parent.
    fn is_orphan(&self, child: &str, parent_table: &str) -> String {
        let given: Vec<String> =
            self.columns.iter().map(|c| format!("{child}{} IS NOT NULL", quoted(c))).collect();
        let pairs = self.pairs(child, "p.");
        format!("{} AND NOT EXISTS (SELECT 1 FROM {parent_table} p WHERE {pairs})", given.join(" AND "))
    }

    /// The action of a trigger that refuses: 547 with this key's name.
    fn refuse(&self, verb: &str, word: &str, table: &Found) -> String {
        let text = format!(
            "The {verb} statement conflicted with the {word} constraint \"{}\". The conflict occurred in table \"{}.{}\".",
            self.name, table.schema, table.name
        );
        format!("SELECT RAISE(ABORT, {})", literal(&raise_text(547, &text)))
    }

    /// A child needs its parent; a parent keeps, loses or lets go of its children.
    fn triggers(&self) -> Vec<String> {
        let (child, parent) = (quoted(&self.child.stored_name()), quoted(&self.parent.stored_name()));
        let name = |part: &str| format!("{{d}}.{}", trigger(self.child, self.name, part));
        let list =
            |columns: &[String]| columns.iter().map(|column| quoted(column)).collect::<Vec<_>>().join(", ");
        let orphan = self.is_orphan("NEW.", &parent);
        let has_children = format!("EXISTS (SELECT 1 FROM {child} c WHERE {})", self.pairs("c.", "OLD."));
        let moved: Vec<String> =
            self.referred.iter().map(|column| format!("OLD.{0} IS NOT NEW.{0}", quoted(column))).collect();
        let (when, action) = match self.on_delete {
            OnDelete::NoAction => {
                (format!(" WHEN {has_children}"), self.refuse("DELETE", "REFERENCE", self.child))
            }
            OnDelete::Cascade => {
                (String::new(), format!("DELETE FROM {child} WHERE {}", self.pairs("", "OLD.")))
            }
            OnDelete::SetNull => {
                let nulls: Vec<String> =
                    self.columns.iter().map(|c| format!("{} = NULL", quoted(c))).collect();
                let pairs = self.pairs("", "OLD.");
                (String::new(), format!("UPDATE {child} SET {} WHERE {pairs}", nulls.join(", ")))
            }
        };
        vec![
            format!(
                "CREATE TRIGGER {} AFTER INSERT ON {child} WHEN {orphan} BEGIN {}; END",
                name("insert"),
                self.refuse("INSERT", "FOREIGN KEY", self.parent)
            ),
            format!(
                "CREATE TRIGGER {} AFTER UPDATE OF {} ON {child} WHEN {orphan} BEGIN {}; END",
                name("update"),
                list(self.columns),
                self.refuse("UPDATE", "FOREIGN KEY", self.parent)
            ),
            format!("CREATE TRIGGER {} AFTER DELETE ON {parent}{when} BEGIN {action}; END", name("delete")),
            format!(
                "CREATE TRIGGER {} AFTER UPDATE OF {} ON {parent} WHEN ({}) AND {has_children} BEGIN {}; END",
                name("move"),
                list(self.referred),
                moved.join(" OR "),
                self.refuse("UPDATE", "REFERENCE", self.child)
            ),
        ]
    }
}

/// The name of one of a foreign key's triggers, quoted.
fn trigger(child: &Found, key: &str, part: &str) -> String {
    quoted(&format!("{}/{key}/{part}", child.stored_name()))
}

/// Makes a foreign key, unless a row breaks it already.
fn add_foreign_key(session: &mut Session, (id, schema): (i64, i64), key: &ForeignKey<'_>) -> Done<()> {
    let ForeignKey { name, child, parent, columns, referred, .. } = key;
    if columns.len() != referred.len() {
        let text = format!(
            "Number of referencing columns in foreign key differs from number of referenced columns, table '{}'.",
            child.name
        );
        return Err(SqlError::new(8139, text).into());
    }
    for (column, other) in columns.iter().zip(*referred) {
        field(child, column)?;
        field(parent, other)?;
    }
    let d = alias(child.database);
    let parent_table = format!("{d}.{}", quoted(&parent.stored_name()));
    let child_table = format!("{d}.{}", quoted(&child.stored_name()));
    let orphans =
        format!("SELECT 1 FROM {child_table} c WHERE {} LIMIT 1", key.is_orphan("c.", &parent_table));
    if session.single(&orphans, &[])?.is_some() {
        let text = format!(
            "The ALTER TABLE statement conflicted with the FOREIGN KEY constraint \"{name}\". The conflict occurred in table \"{}.{}\".",
            parent.schema, parent.name
        );
        return Err(SqlError::new(547, text).state(0).into());
    }
    let detail = json!({ "referenced": parent.object, "columns": columns, "referred": referred }).to_string();
    let mut statements = vec![session.object_row(id, schema, name, "F ", child.object, &detail)];
    statements.extend(key.triggers());
    session.change_schema(child.database, |alias| placed(&statements, alias))
}

/// `ALTER TABLE … DROP CONSTRAINT`.
pub fn drop_constraint(session: &mut Session, table: &Found, name: &str, if_exists: bool) -> Done<()> {
    let sql = format!(
        "SELECT object_id, type FROM {}.__objects WHERE parent = ? AND name = ?",
        alias(table.database)
    );
    let rows = session.all(&sql, &[Value::Integer(table.object), Value::Text(name.to_owned())])?;
    let Some([Value::Integer(id), Value::Text(kind)]) = rows.first().map(Vec::as_slice) else {
        if if_exists {
            return Ok(());
        }
        return Err(Halt::Errors(vec![
            SqlError::new(3728, format!("'{name}' is not a constraint.")),
            SqlError::new(3727, "Could not drop constraint. See previous errors.").state(0),
        ]));
    };
    let mut statements = vec![format!("DELETE FROM {{d}}.__objects WHERE object_id = {id}")];
    match kind.as_str() {
        "D " => statements.push(format!(
            "UPDATE {{d}}.__columns SET default_id = NULL, default_text = NULL WHERE default_id = {id}"
        )),
        "F " => {
            for part in ["insert", "update", "delete", "move"] {
                statements.push(format!("DROP TRIGGER {{d}}.{}", trigger(table, name, part)));
            }
        }
        _ => {
            statements.push(format!("DELETE FROM {{d}}.__indexes WHERE constraint_id = {id}"));
            statements.push(format!("DROP INDEX IF EXISTS {{d}}.{}", index_name(table, name)));
        }
    }
    session.change_schema(table.database, |alias| placed(&statements, alias))
}
