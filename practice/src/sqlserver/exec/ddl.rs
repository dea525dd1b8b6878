//! Tables, columns, constraints and indexes: made, changed, dropped. Main function: [`create_table`].
//!
//! In a data file a column has no type and no constraint of SQLite's but uniqueness: types, NULL and defaults are
//! enforced by what the compiler writes into each change, foreign keys by triggers that know their name.

use serde_json::json;

use super::halt::Done;
use super::session::Session;
use super::tables::{self, Found, alias, indexes, shown, stored_name};
use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::statement::{
    ColumnDefinition, Constraint, CreateIndex, CreateTable, ObjectName, OnDelete, Rule,
};
use crate::sqlserver::query::compiler::{Compiler, literal};
use crate::sqlserver::query::names::Field;
use crate::sqlserver::store::functions::{compare, raise_text};
use crate::sqlserver::store::record::quoted;
use crate::sqlserver::value::{Value, datetime_rounded, moment_text};

impl Session {
    fn made_at(&self) -> String {
        literal(&moment_text(datetime_rounded(self.now.naive_utc()), 3))
    }

    /// The next `object_id` of a database.
    fn next_object(&self, database: u32) -> Result<i64, SqlError> {
        let sql =
            format!("SELECT coalesce(max(object_id), 901578234) + 16 FROM {}.__objects", alias(database));
        match self.single(&sql, &[])? {
            Some(Value::Integer(id)) => Ok(id),
            _ => Err(SqlError::internal("no object id")),
        }
    }

    fn schema_id(&self, database: u32, schema: &str) -> Result<i64, SqlError> {
        let sql = format!("SELECT schema_id FROM {}.__schemas WHERE name = ?", alias(database));
        match self.single(&sql, &[Value::Text(schema.to_owned())])? {
            Some(Value::Integer(id)) => Ok(id),
            _ => {
                let text = format!(
                    "The specified schema name \"{schema}\" either does not exist or you do not have permission to use it."
                );
                Err(SqlError::new(2760, text))
            }
        }
    }

    fn name_is_taken(&self, database: u32, schema: i64, name: &str) -> Result<bool, SqlError> {
        let sql = format!("SELECT 1 FROM {}.__objects WHERE name = ? AND schema_id = ?", alias(database));
        Ok(self.single(&sql, &[Value::Text(name.to_owned()), Value::Integer(schema)])?.is_some())
    }

    /// SQLite's text that adds an object to a database's description.
    fn object_row(&self, id: i64, schema: i64, name: &str, kind: &str, parent: i64, detail: &str) -> String {
        let (name, at, detail) = (literal(name), self.made_at(), literal(detail));
        format!(
            "INSERT INTO {{d}}.__objects VALUES ({id}, {schema}, {name}, '{kind}', {parent}, {at}, {at}, {detail})"
        )
    }
}

/// Puts a database's alias where SQLite's texts leave room for it.
fn placed(statements: &[String], alias: &str) -> Vec<String> {
    statements.iter().map(|sql| sql.replace("{d}.", &format!("{alias}."))).collect()
}

/// `CREATE TABLE`.
pub fn create_table(session: &mut Session, create: &CreateTable) -> Done<()> {
    if format!("{create:?}").contains("{d}.") {
        return Err(SqlError::not_understood("names that contain {d}.").into());
    }
    let database = tables::database_of(session, &create.name)?;
    let schema_name = create.name.schema.clone().unwrap_or_else(|| "dbo".into());
    let schema = session.schema_id(database, &schema_name)?;
    let name = &create.name.name;
    if session.name_is_taken(database, schema, name)? {
        let text = format!("There is already an object named '{name}' in the database.");
        return Err(SqlError::new(2714, text).state(6).into());
    }
    let identity = create.columns.iter().find(|column| column.identity.is_some());
    let keyed = create.constraints.iter().any(|constraint| match &constraint.rule {
        Rule::PrimaryKey(columns) => matches!(
            (columns.as_slice(), identity),
            ([only], Some(identity)) if compare(only, &identity.name).is_eq()
        ),
        _ => false,
    });
    if identity.is_some() && !keyed {
        return Err(SqlError::not_understood("an IDENTITY column that is not the primary key").into());
    }
    let object = session.next_object(database)?;
    let table = format!("{{d}}.{}", quoted(&stored_name(&schema_name, name)));
    let columns: Vec<String> = create.columns.iter().map(column_sql).collect();
    let mut statements = vec![
        format!("CREATE TABLE {table} ({})", columns.join(", ")),
        session.object_row(object, schema, name, "U ", 0, ""),
    ];
    if let Some(seed) = identity.and_then(|column| column.identity).filter(|seed| *seed != 1) {
        let stored = literal(&stored_name(&schema_name, name));
        statements.push(format!("INSERT INTO {{d}}.sqlite_sequence VALUES ({stored}, {})", seed - 1));
    }
    session.change_schema(database, |alias| placed(&statements, alias))?;
    let fields = Vec::new();
    let mut found = Found { database, object, schema: schema_name, name: name.clone(), fields };
    for column in &create.columns {
        describe_column(session, &mut found, column)?;
    }
    create.constraints.iter().try_for_each(|constraint| add_constraint(session, &found, constraint))
}

fn column_sql(column: &ColumnDefinition) -> String {
    let name = quoted(&column.name);
    if column.identity.is_some() {
        format!("{name} INTEGER PRIMARY KEY AUTOINCREMENT")
    } else {
        format!("{name} COLLATE ci")
    }
}

/// Adds a column to the description of its table.
fn describe_column(session: &mut Session, table: &mut Found, column: &ColumnDefinition) -> Done<()> {
    if table.fields.iter().any(|field| compare(&field.name, &column.name).is_eq()) {
        let text = format!(
            "Column names in each table must be unique. Column name '{}' in table '{}' is specified more than once.",
            column.name, table.name
        );
        return Err(SqlError::new(2705, text).state(3).into());
    }
    let mut statements = Vec::new();
    let (mut default_id, mut default_text) = ("NULL".to_owned(), "NULL".to_owned());
    if let Some((name, text)) = &column.default {
        let id = session.next_object(table.database)?;
        let name = name.clone().unwrap_or_else(|| made_up("DF", &table.name, &column.name, id));
        let schema = session.schema_id(table.database, &table.schema)?;
        statements.push(session.object_row(id, schema, &name, "D ", table.object, ""));
        (default_id, default_text) = (id.to_string(), literal(text));
    }
    let number = format!(
        "(SELECT coalesce(max(column_id), 0) + 1 FROM {{d}}.__columns WHERE object_id = {})",
        table.object
    );
    let seed = column.identity.map_or("NULL".to_owned(), |seed| seed.to_string());
    statements.push(format!(
        "INSERT INTO {{d}}.__columns VALUES ({}, {number}, {}, '{}', {}, {seed}, {default_id}, {default_text})",
        table.object,
        literal(&column.name),
        column.ty,
        u8::from(column.nullable),
    ));
    session.change_schema(table.database, |alias| placed(&statements, alias))?;
    table.fields.push(Field {
        name: column.name.clone(),
        ty: column.ty,
        nullable: column.nullable,
        identity: column.identity.is_some(),
        default: column.default.as_ref().map(|(_, text)| text.clone()),
    });
    Ok(())
}

fn made_up(kind: &str, table: &str, column: &str, id: i64) -> String {
    let cut = |text: &str, at: usize| text.chars().take(at).collect::<String>();
    format!("{kind}__{}__{}__{id:08X}", cut(table, 9), cut(column, 5))
}

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
            add_foreign_key(session, table, (id, schema, &name), &parent, columns, &referred, *on_delete)
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

fn field<'a>(table: &'a Found, name: &str) -> Result<&'a Field, SqlError> {
    table.fields.iter().find(|field| compare(&field.name, name).is_eq()).ok_or_else(|| {
        SqlError::new(1911, format!("Column name '{name}' does not exist in the target table or view."))
    })
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

fn next_index(existing: &[tables::Index], clustered: bool) -> i64 {
    if clustered && !existing.iter().any(|index| index.id == 1) {
        return 1;
    }
    existing.iter().map(|index| index.id).max().unwrap_or(1).max(1) + 1
}

/// The name of an index within the data file: SQLite's are unique there, T-SQL's only within their table.
fn index_name(table: &Found, name: &str) -> String {
    quoted(&format!("{}/{name}", table.stored_name()))
}

fn index_sql(table: &Found, name: &str, columns: &[(String, bool)], unique: bool, filter: &str) -> String {
    let unique = if unique { "UNIQUE " } else { "" };
    let list: Vec<String> = columns
        .iter()
        .map(|(name, descends)| format!("{}{}", quoted(name), if *descends { " DESC" } else { "" }))
        .collect();
    let on = quoted(&table.stored_name());
    format!("CREATE {unique}INDEX {{d}}.{} ON {on}({}){filter}", index_name(table, name), list.join(", "))
}

#[allow(clippy::too_many_arguments)] // One row of the description, in the order of its columns.
fn index_rows(
    table: &Found,
    name: &str,
    columns: &[(String, bool)],
    unique: bool,
    primary: bool,
    constraint: Option<i64>,
    number: i64,
    filter: Option<&str>,
) -> Vec<String> {
    let constraint = constraint.map_or("NULL".to_owned(), |id| id.to_string());
    let filter = filter.map_or("NULL".to_owned(), literal);
    vec![format!(
        "INSERT INTO {{d}}.__indexes VALUES ({}, {number}, {}, {}, {}, {constraint}, {}, {filter})",
        table.object,
        literal(name),
        u8::from(unique),
        u8::from(primary),
        literal(&json!(columns).to_string()),
    )]
}

/// Runs statements that make a unique index; rows that are alike are an error of their own.
fn create_unique(session: &mut Session, table: &Found, name: &str, statements: &[String]) -> Done<()> {
    session.change_schema(table.database, |alias| placed(statements, alias)).map_err(|halt| match halt {
        super::halt::Halt::Errors(errors) if errors.first().is_some_and(|error| error.number == 2627) => {
            let text = format!(
                "The CREATE UNIQUE INDEX statement terminated because a duplicate key was found for the object name '{}.{}' and the index name '{name}'.",
                table.schema, table.name
            );
            SqlError::new(1505, text).into()
        }
        other => other,
    })
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

/// A foreign key as triggers: a child needs its parent, a parent keeps, loses or lets go of its children.
fn add_foreign_key(
    session: &mut Session,
    child: &Found,
    (id, schema, name): (i64, i64, &str),
    parent: &Found,
    columns: &[String],
    referred: &[String],
    on_delete: OnDelete,
) -> Done<()> {
    if columns.len() != referred.len() {
        return Err(SqlError::new(8139, format!("Number of referencing columns in foreign key differs from number of referenced columns, table '{}'.", child.name)).into());
    }
    for (column, other) in columns.iter().zip(referred) {
        field(child, column)?;
        field(parent, other)?;
    }
    let (child_table, parent_table) = (quoted(&child.stored_name()), quoted(&parent.stored_name()));
    let pairs = |left: &str, right: &str| -> String {
        let pairs = columns.iter().zip(referred);
        pairs
            .map(|(c, p)| format!("{left}{} = {right}{}", quoted(c), quoted(p)))
            .collect::<Vec<_>>()
            .join(" AND ")
    };
    let given: Vec<String> =
        columns.iter().map(|column| format!("NEW.{} IS NOT NULL", quoted(column))).collect();
    let refuse = |verb: &str, word: &str, table: &Found| {
        let text = format!(
            "The {verb} statement conflicted with the {word} constraint \"{name}\". The conflict occurred in table \"{}.{}\".",
            table.schema, table.name
        );
        format!("SELECT RAISE(ABORT, {})", literal(&raise_text(547, &text)))
    };
    let trigger = |part: &str| quoted(&format!("{}/{name}/{part}", child.stored_name()));
    let orphan = format!(
        "{} AND NOT EXISTS (SELECT 1 FROM {parent_table} p WHERE {})",
        given.join(" AND "),
        pairs("NEW.", "p.")
    );
    let has_children = format!("EXISTS (SELECT 1 FROM {child_table} c WHERE {})", pairs("c.", "OLD."));
    let list =
        |columns: &[String]| columns.iter().map(|column| quoted(column)).collect::<Vec<_>>().join(", ");
    let changed: Vec<String> =
        referred.iter().map(|column| format!("OLD.{0} IS NOT NEW.{0}", quoted(column))).collect();
    let (when, action) = match on_delete {
        OnDelete::NoAction => (format!(" WHEN {has_children}"), refuse("DELETE", "REFERENCE", child)),
        OnDelete::Cascade => {
            (String::new(), format!("DELETE FROM {child_table} WHERE {}", pairs("", "OLD.")))
        }
        OnDelete::SetNull => {
            let nulls: Vec<String> =
                columns.iter().map(|column| format!("{} = NULL", quoted(column))).collect();
            (
                String::new(),
                format!("UPDATE {child_table} SET {} WHERE {}", nulls.join(", "), pairs("", "OLD.")),
            )
        }
    };
    let detail = json!({ "referenced": parent.object, "columns": columns, "referred": referred }).to_string();
    let statements = [
        session.object_row(id, schema, name, "F ", child.object, &detail),
        format!(
            "CREATE TRIGGER {{d}}.{} AFTER INSERT ON {child_table} WHEN {orphan} BEGIN {}; END",
            trigger("insert"),
            refuse("INSERT", "FOREIGN KEY", parent)
        ),
        format!(
            "CREATE TRIGGER {{d}}.{} AFTER UPDATE OF {} ON {child_table} WHEN {orphan} BEGIN {}; END",
            trigger("update"),
            list(columns),
            refuse("UPDATE", "FOREIGN KEY", parent)
        ),
        format!(
            "CREATE TRIGGER {{d}}.{} AFTER DELETE ON {parent_table}{when} BEGIN {action}; END",
            trigger("delete")
        ),
        format!(
            "CREATE TRIGGER {{d}}.{} AFTER UPDATE OF {} ON {parent_table} WHEN ({}) AND {has_children} BEGIN {}; END",
            trigger("move"),
            list(referred),
            changed.join(" OR "),
            refuse("UPDATE", "REFERENCE", child)
        ),
    ];
    let lone = format!(
        "SELECT 1 FROM {}.{child_table} c WHERE {} AND NOT EXISTS (SELECT 1 FROM {}.{parent_table} p WHERE {}) LIMIT 1",
        alias(child.database),
        columns
            .iter()
            .map(|column| format!("c.{} IS NOT NULL", quoted(column)))
            .collect::<Vec<_>>()
            .join(" AND "),
        alias(child.database),
        pairs("c.", "p.")
    );
    if session.single(&lone, &[])?.is_some() {
        let text = format!(
            "The ALTER TABLE statement conflicted with the FOREIGN KEY constraint \"{name}\". The conflict occurred in table \"{}.{}\".",
            parent.schema, parent.name
        );
        return Err(SqlError::new(547, text).state(0).into());
    }
    session.change_schema(child.database, |alias| placed(&statements, alias))
}

/// `ALTER TABLE … ADD` of a column. Rows that are there get the default where the column cannot be NULL.
pub fn add_column(session: &mut Session, table: &mut Found, column: &ColumnDefinition) -> Done<()> {
    if column.identity.is_some() {
        return Err(SqlError::not_understood("adding an IDENTITY column").into());
    }
    let name = quoted(&table.stored_name());
    let add = [format!("ALTER TABLE {{d}}.{name} ADD COLUMN {}", column_sql(column))];
    describe_column(session, table, column)?;
    session.change_schema(table.database, |alias| placed(&add, alias))?;
    if column.nullable {
        return Ok(());
    }
    let has_rows =
        session.single(&format!("SELECT 1 FROM {}.{name} LIMIT 1", alias(table.database)), &[])?.is_some();
    match &column.default {
        Some((_, text)) => {
            let expression = crate::sqlserver::lang::cursor::Cursor::new(text)?.expression()?;
            let mut compiler = Compiler::new(session);
            let value = compiler.expression(&expression)?;
            let compiled = compiler.finish(value.sql, Vec::new());
            // One value for all rows, so that the log can be applied without evaluating it again.
            let sql = format!("SELECT dd_cast({}, '{}', '{}', NULL)", compiled.sql, value.ty, column.ty);
            let value = session.single(&sql, &compiled.parameters)?.unwrap_or(Value::Null);
            let update = format!("UPDATE {}.{name} SET {} = ?", alias(table.database), quoted(&column.name));
            session.lock_if_stored(table.database)?;
            session.connection.execute(&update, [value]).map(|_| ()).map_err(|error| session.halted(&error))
        }
        None if has_rows => {
            let text = format!(
                "ALTER TABLE only allows columns to be added that can contain nulls, or have a DEFAULT definition specified, or the column being added is an identity or timestamp column, or alternatively if none of the previous conditions are satisfied the table must be empty to allow addition of this column. Column '{}' cannot be added to non-empty table '{}' because it does not satisfy these conditions.",
                column.name, table.name
            );
            Err(SqlError::new(4901, text).into())
        }
        None => Ok(()),
    }
}

/// `ALTER TABLE … ALTER COLUMN`: the values are converted where they lie.
pub fn alter_column(
    session: &mut Session,
    table: &Found,
    name: &str,
    ty: crate::sqlserver::sql_type::SqlType,
    nullable: bool,
) -> Done<()> {
    let field = field(table, name)?.clone();
    if field.identity {
        return Err(SqlError::not_understood("changing an IDENTITY column").into());
    }
    let at = format!("object_id = {} AND name = {}", table.object, literal(&field.name));
    let describe =
        [format!("UPDATE {{d}}.__columns SET type = '{ty}', nullable = {} WHERE {at}", u8::from(nullable))];
    session.change_schema(table.database, |alias| placed(&describe, alias))?;
    let column = quoted(&field.name);
    let shown = literal(&format!("{}.{}", table.schema, table.name));
    let update = format!(
        "UPDATE {}.{} SET {column} = dd_store({column}, '{}', '{ty}', {}, {shown}, {})",
        alias(table.database),
        quoted(&table.stored_name()),
        field.ty,
        u8::from(nullable),
        literal(&field.name)
    );
    session.lock_if_stored(table.database)?;
    session.connection.execute(&update, []).map(|_| ()).map_err(|error| session.halted(&error))
}

impl Session {
    /// Temporary tables need no lock.
    pub(super) fn lock_if_stored(&mut self, database: u32) -> Done<()> {
        if database == 0 { Ok(()) } else { self.lock_for_writing(database) }
    }
}

/// `ALTER TABLE … DROP COLUMN`.
pub fn drop_column(session: &mut Session, table: &Found, name: &str) -> Done<()> {
    let field = field(table, name).map_err(|_| {
        SqlError::new(
            4924,
            format!(
                "ALTER TABLE DROP COLUMN failed because column '{name}' does not exist in table '{}'.",
                table.name
            ),
        )
    })?;
    let used = indexes(session, table)?
        .into_iter()
        .find(|index| index.columns.iter().any(|c| compare(c, name).is_eq()));
    if used.is_some() || field.default.is_some() {
        let by = used.map(|index| index.name).unwrap_or_else(|| "its default".into());
        let text = format!("The object '{by}' is dependent on column '{name}'.");
        let failed =
            format!("ALTER TABLE DROP COLUMN {name} failed because one or more objects access this column.");
        return Err(super::halt::Halt::Errors(vec![
            SqlError::new(5074, text),
            SqlError::new(4922, failed).state(9),
        ]));
    }
    let statements = [
        format!("ALTER TABLE {{d}}.{} DROP COLUMN {}", quoted(&table.stored_name()), quoted(&field.name)),
        format!(
            "DELETE FROM {{d}}.__columns WHERE object_id = {} AND name = {}",
            table.object,
            literal(&field.name)
        ),
    ];
    session.change_schema(table.database, |alias| placed(&statements, alias))
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
        return Err(super::halt::Halt::Errors(vec![
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
                let trigger = quoted(&format!("{}/{name}/{part}", table.stored_name()));
                statements.push(format!("DROP TRIGGER {{d}}.{trigger}"));
            }
        }
        _ => {
            statements.push(format!("DELETE FROM {{d}}.__indexes WHERE constraint_id = {id}"));
            statements.push(format!("DROP INDEX IF EXISTS {{d}}.{}", index_name(table, name)));
        }
    }
    session.change_schema(table.database, |alias| placed(&statements, alias))
}

/// `CREATE INDEX`.
pub fn create_index(session: &mut Session, create: &CreateIndex) -> Done<()> {
    let table = tables::expect(session, &create.table)?;
    let existing = indexes(session, &table)?;
    if existing.iter().any(|index| compare(&index.name, &create.name).is_eq()) {
        let text = format!(
            "The operation failed because an index or statistics with name '{}' already exists on table '{}'.",
            create.name,
            shown(&create.table)
        );
        return Err(SqlError::new(1913, text).into());
    }
    let columns =
        create.columns.iter().map(|(name, descends)| Ok((field(&table, name)?.name.clone(), *descends)));
    let columns = columns.collect::<Result<Vec<_>, SqlError>>()?;
    // A filtered index is one over all rows here: only a unique one would differ, and that is refused.
    if create.filter.is_some() && create.unique {
        return unique_where_not_null(session, &table, create, &columns, &existing);
    }
    let mut statements = index_rows(
        &table,
        &create.name,
        &columns,
        create.unique,
        false,
        None,
        next_index(&existing, false),
        None,
    );
    statements.push(index_sql(&table, &create.name, &columns, create.unique, ""));
    create_unique(session, &table, &create.name, &statements)
}

/// The one filter that a unique index may have: its columns IS NOT NULL, which is how SQLite's unique indexes are.
fn unique_where_not_null(
    session: &mut Session,
    table: &Found,
    create: &CreateIndex,
    columns: &[(String, bool)],
    existing: &[tables::Index],
) -> Done<()> {
    let filter = create.filter.as_ref().map(ToString::to_string).unwrap_or_default();
    let understood = filter.to_uppercase().split(" AND ").all(|part| part.ends_with(" IS NOT NULL"));
    if !understood {
        return Err(SqlError::not_understood("the filter of a unique index").into());
    }
    let mut statements = index_rows(
        table,
        &create.name,
        columns,
        true,
        false,
        None,
        next_index(existing, false),
        Some(&filter),
    );
    statements.push(index_sql(table, &create.name, columns, true, ""));
    create_unique(session, table, &create.name, &statements)
}

/// `DROP INDEX`.
pub fn drop_index(session: &mut Session, name: &ObjectName, index: &str, if_exists: bool) -> Done<()> {
    let table = tables::expect(session, name)?;
    let found = indexes(session, &table)?
        .into_iter()
        .find(|i| i.constraint.is_none() && compare(&i.name, index).is_eq());
    let Some(found) = found else {
        if if_exists {
            return Ok(());
        }
        let text = format!(
            "Cannot drop the index '{}.{index}', because it does not exist or you do not have permission.",
            shown(name)
        );
        return Err(SqlError::new(3701, text).state(7).class(11).into());
    };
    let statements = [
        format!("DROP INDEX {{d}}.{}", index_name(&table, &found.name)),
        format!("DELETE FROM {{d}}.__indexes WHERE object_id = {} AND index_id = {}", table.object, found.id),
    ];
    session.change_schema(table.database, |alias| placed(&statements, alias))
}

/// `DROP TABLE`.
pub fn drop_table(session: &mut Session, name: &ObjectName, if_exists: bool) -> Done<()> {
    let Some(table) = tables::find(session, name)? else {
        if if_exists {
            return Ok(());
        }
        let text = format!(
            "Cannot drop the table '{}', because it does not exist or you do not have permission.",
            shown(name)
        );
        return Err(SqlError::new(3701, text).state(5).class(11).into());
    };
    let referring = format!(
        "SELECT 1 FROM {}.__objects WHERE type = 'F ' AND parent <> ? AND json_extract(detail, '$.referenced') = ?",
        alias(table.database)
    );
    let object = Value::Integer(table.object);
    if session.single(&referring, &[object.clone(), object])?.is_some() {
        let text = format!(
            "Could not drop object '{}' because it is referenced by a FOREIGN KEY constraint.",
            shown(name)
        );
        return Err(SqlError::new(3726, text).into());
    }
    let own_keys =
        format!("SELECT name FROM {}.__objects WHERE type = 'F ' AND parent = ?", alias(table.database));
    for row in session.all(&own_keys, &[Value::Integer(table.object)])? {
        if let [Value::Text(key)] = row.as_slice() {
            drop_constraint(session, &table, key, true)?;
        }
    }
    let object = table.object;
    let statements = [
        format!("DROP TABLE {{d}}.{}", quoted(&table.stored_name())),
        format!("DELETE FROM {{d}}.__objects WHERE object_id = {object} OR parent = {object}"),
        format!("DELETE FROM {{d}}.__columns WHERE object_id = {object}"),
        format!("DELETE FROM {{d}}.__indexes WHERE object_id = {object}"),
    ];
    session.change_schema(table.database, |alias| placed(&statements, alias))
}

/// `TRUNCATE TABLE`.
pub fn truncate(session: &mut Session, name: &ObjectName) -> Done<()> {
    let table = tables::expect(session, name)?;
    let referring = format!(
        "SELECT 1 FROM {}.__objects WHERE type = 'F ' AND json_extract(detail, '$.referenced') = ?",
        alias(table.database)
    );
    if session.single(&referring, &[Value::Integer(table.object)])?.is_some() {
        let text = format!(
            "Cannot truncate table '{}' because it is being referenced by a FOREIGN KEY constraint.",
            shown(name)
        );
        return Err(SqlError::new(4712, text).into());
    }
    session.lock_if_stored(table.database)?;
    session.sqlite(&format!(
        "DELETE FROM {}.{} WHERE 1",
        alias(table.database),
        quoted(&table.stored_name())
    ))?;
    if table.fields.iter().any(|field| field.identity) {
        let reset =
            [format!("DELETE FROM {{d}}.sqlite_sequence WHERE name = {}", literal(&table.stored_name()))];
        session.change_schema(table.database, |alias| placed(&reset, alias))?;
    }
    Ok(())
}

/// `CREATE SCHEMA`.
pub fn create_schema(session: &mut Session, name: &str) -> Done<()> {
    let database = session.current;
    session.attach(database)?;
    if session.schema_id(database, name).is_ok() {
        let text = format!("There is already an object named '{name}' in the database.");
        return Err(SqlError::new(2714, text).state(6).into());
    }
    let next = format!("(SELECT max(max(schema_id) + 1, 5) FROM {{d}}.__schemas WHERE schema_id < 16384)");
    let statements = [format!("INSERT INTO {{d}}.__schemas VALUES ({next}, {})", literal(name))];
    session.change_schema(database, |alias| placed(&statements, alias))
}
