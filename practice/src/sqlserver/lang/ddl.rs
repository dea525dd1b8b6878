//! Tables, indexes and schemas as written. Main functions: [`create_table`], [`alter_table`].

use sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::statement::{
    Body, ColumnDefinition, Constraint, CreateIndex, CreateTable, OnDelete, Rule, TableChange,
};
use crate::sqlserver::error::SqlError;

/// Reads what follows CREATE TABLE.
pub fn create_table(cursor: &mut Cursor) -> Result<Body, SqlError> {
    let name = cursor.object_name()?;
    cursor.expect_token(&Token::LParen)?;
    let (mut columns, mut constraints) = (Vec::new(), Vec::new());
    loop {
        if is_constraint(cursor) {
            constraints.push(constraint(cursor)?);
        } else {
            columns.push(column(cursor, &mut constraints)?);
        }
        if !cursor.accept_token(&Token::Comma) {
            break;
        }
        // A comma after the last column is allowed.
        if *cursor.peek() == Token::RParen {
            break;
        }
    }
    cursor.expect_token(&Token::RParen)?;
    if cursor.accept("ON") {
        cursor.name()?;
    }
    if columns.is_empty() {
        return Err(cursor.unexpected());
    }
    Ok(Body::CreateTable(CreateTable { name, columns, constraints }))
}

fn is_constraint(cursor: &Cursor) -> bool {
    ["CONSTRAINT", "PRIMARY", "UNIQUE", "FOREIGN", "CHECK"].iter().any(|word| cursor.is_at(word))
}

/// A column; the constraints written beside it go to the table's.
fn column(cursor: &mut Cursor, constraints: &mut Vec<Constraint>) -> Result<ColumnDefinition, SqlError> {
    let name = cursor.name()?;
    if cursor.is_at("AS") {
        return Err(SqlError::not_understood("computed columns").at(cursor.line()));
    }
    let ty = cursor.data_type()?;
    let mut column = ColumnDefinition { name, ty, nullable: true, identity: None, default: None };
    let mut constraint_name = None;
    loop {
        if cursor.accept("CONSTRAINT") {
            constraint_name = Some(cursor.name()?);
        } else if cursor.accept_words(&["NOT", "NULL"]) {
            column.nullable = false;
        } else if cursor.accept("NULL") {
            column.nullable = true;
        } else if cursor.accept("IDENTITY") {
            column.identity = Some(identity(cursor)?);
            column.nullable = false;
        } else if cursor.accept("DEFAULT") {
            column.default = Some((constraint_name.take(), default_text(cursor)?));
        } else if cursor.accept_words(&["PRIMARY", "KEY"]) {
            clustering(cursor);
            column.nullable = false;
            let rule = Rule::PrimaryKey(vec![column.name.clone()]);
            constraints.push(Constraint { name: constraint_name.take(), rule });
        } else if cursor.accept("UNIQUE") {
            clustering(cursor);
            constraints.push(Constraint {
                name: constraint_name.take(),
                rule: Rule::Unique(vec![column.name.clone()]),
            });
        } else if cursor.is_at("REFERENCES") || cursor.accept_words(&["FOREIGN", "KEY"]) {
            let rule = references(cursor, vec![column.name.clone()])?;
            constraints.push(Constraint { name: constraint_name.take(), rule });
        } else if cursor.accept("COLLATE") {
            cursor.name()?;
        } else if cursor.is_at("CHECK") {
            return Err(SqlError::not_understood("CHECK constraints").at(cursor.line()));
        } else {
            return Ok(column);
        }
    }
}

fn identity(cursor: &mut Cursor) -> Result<i64, SqlError> {
    if !cursor.accept_token(&Token::LParen) {
        return Ok(1);
    }
    let seed = cursor.number()?;
    cursor.expect_token(&Token::Comma)?;
    let line = cursor.line();
    let increment: i64 = cursor.number()?;
    cursor.expect_token(&Token::RParen)?;
    if increment == 1 {
        Ok(seed)
    } else {
        Err(SqlError::not_understood("an IDENTITY increment other than 1").at(line))
    }
}

/// A default's text; an expression is read to find its end.
fn default_text(cursor: &mut Cursor) -> Result<String, SqlError> {
    let start = cursor.place();
    if *cursor.peek() == Token::LParen {
        // Only the bracket: what follows it, such as NOT NULL, is not part of the expression.
        let mut depth = 0_usize;
        loop {
            match cursor.peek() {
                Token::LParen => depth += 1,
                Token::RParen => depth -= 1,
                Token::EOF => return Err(cursor.unexpected()),
                _ => {}
            }
            cursor.advance();
            if depth == 0 {
                return Ok(cursor.text_since(start));
            }
        }
    }
    cursor.accept_token(&Token::Minus);
    match cursor.peek() {
        Token::Word(_) => {
            cursor.advance();
            if *cursor.peek() == Token::LParen {
                default_text(cursor)?;
            }
        }
        Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::NationalStringLiteral(_)
        | Token::HexStringLiteral(_) => cursor.advance(),
        _ => return Err(cursor.unexpected()),
    }
    Ok(cursor.text_since(start))
}

fn clustering(cursor: &mut Cursor) {
    if !cursor.accept("CLUSTERED") {
        cursor.accept("NONCLUSTERED");
    }
}

/// A constraint of a table, CONSTRAINT and its name before it or not.
fn constraint(cursor: &mut Cursor) -> Result<Constraint, SqlError> {
    let name = if cursor.accept("CONSTRAINT") { Some(cursor.name()?) } else { None };
    let rule = if cursor.accept_words(&["PRIMARY", "KEY"]) {
        clustering(cursor);
        Rule::PrimaryKey(key_columns(cursor)?)
    } else if cursor.accept("UNIQUE") {
        clustering(cursor);
        Rule::Unique(key_columns(cursor)?)
    } else if cursor.accept_words(&["FOREIGN", "KEY"]) {
        let columns = key_columns(cursor)?;
        references(cursor, columns)?
    } else if cursor.accept("DEFAULT") {
        let text = default_text(cursor)?;
        cursor.expect("FOR")?;
        Rule::Default { column: cursor.name()?, text }
    } else if cursor.is_at("CHECK") {
        return Err(SqlError::not_understood("CHECK constraints").at(cursor.line()));
    } else {
        return Err(cursor.unexpected());
    };
    Ok(Constraint { name, rule })
}

fn key_columns(cursor: &mut Cursor) -> Result<Vec<String>, SqlError> {
    Ok(cursor.ordered_names()?.into_iter().map(|(name, _)| name).collect())
}

fn references(cursor: &mut Cursor, columns: Vec<String>) -> Result<Rule, SqlError> {
    cursor.expect("REFERENCES")?;
    let table = cursor.object_name()?;
    let referred = if *cursor.peek() == Token::LParen { key_columns(cursor)? } else { Vec::new() };
    let mut on_delete = OnDelete::NoAction;
    while cursor.accept("ON") {
        let deletes = cursor.accept("DELETE");
        if !deletes {
            cursor.expect("UPDATE")?;
        }
        let line = cursor.line();
        let action = if cursor.accept_words(&["NO", "ACTION"]) {
            OnDelete::NoAction
        } else if cursor.accept("CASCADE") {
            OnDelete::Cascade
        } else if cursor.accept_words(&["SET", "NULL"]) {
            OnDelete::SetNull
        } else {
            return Err(SqlError::not_understood("this action of a foreign key").at(line));
        };
        if deletes {
            on_delete = action;
        } else if action != OnDelete::NoAction {
            return Err(SqlError::not_understood("ON UPDATE actions").at(line));
        }
    }
    Ok(Rule::ForeignKey { columns, table, referred, on_delete })
}

/// Reads what follows ALTER TABLE.
pub fn alter_table(cursor: &mut Cursor) -> Result<Body, SqlError> {
    let table = cursor.object_name()?;
    let change = if cursor.accept("ADD") {
        let (mut columns, mut constraints) = (Vec::new(), Vec::new());
        loop {
            if is_constraint(cursor) || cursor.is_at("DEFAULT") {
                constraints.push(constraint(cursor)?);
            } else {
                columns.push(column(cursor, &mut constraints)?);
            }
            if !cursor.accept_token(&Token::Comma) {
                break;
            }
        }
        TableChange::Add { columns, constraints }
    } else if cursor.accept_words(&["ALTER", "COLUMN"]) {
        let name = cursor.name()?;
        let ty = cursor.data_type()?;
        let nullable = !cursor.accept_words(&["NOT", "NULL"]);
        cursor.accept("NULL");
        TableChange::AlterColumn { name, ty, nullable }
    } else if cursor.accept("DROP") {
        let column = cursor.accept("COLUMN");
        if !column {
            cursor.accept("CONSTRAINT");
        }
        let if_exists = cursor.accept_words(&["IF", "EXISTS"]);
        let names = names(cursor)?;
        if column {
            TableChange::DropColumns { names, if_exists }
        } else {
            TableChange::DropConstraints { names, if_exists }
        }
    } else {
        return Err(SqlError::not_understood("this form of ALTER TABLE").at(cursor.line()));
    };
    Ok(Body::AlterTable { table, change })
}

fn names(cursor: &mut Cursor) -> Result<Vec<String>, SqlError> {
    let mut names = vec![cursor.name()?];
    while cursor.accept_token(&Token::Comma) {
        names.push(cursor.name()?);
    }
    Ok(names)
}

/// Reads what follows CREATE [UNIQUE] INDEX.
pub fn create_index(cursor: &mut Cursor, unique: bool) -> Result<Body, SqlError> {
    let name = cursor.name()?;
    cursor.expect("ON")?;
    let table = cursor.object_name()?;
    let columns = cursor.ordered_names()?;
    if cursor.accept("INCLUDE") {
        cursor.ordered_names()?;
    }
    let filter = if cursor.accept("WHERE") { Some(cursor.expression()?) } else { None };
    Ok(Body::CreateIndex(CreateIndex { name, table, unique, columns, filter }))
}

/// Reads what follows DROP INDEX.
pub fn drop_index(cursor: &mut Cursor) -> Result<Body, SqlError> {
    let if_exists = cursor.accept_words(&["IF", "EXISTS"]);
    let index = cursor.name()?;
    cursor.expect("ON")?;
    Ok(Body::DropIndex { table: cursor.object_name()?, index, if_exists })
}

/// Reads what follows DROP TABLE.
pub fn drop_tables(cursor: &mut Cursor) -> Result<Body, SqlError> {
    let if_exists = cursor.accept_words(&["IF", "EXISTS"]);
    let mut names = vec![cursor.object_name()?];
    while cursor.accept_token(&Token::Comma) {
        names.push(cursor.object_name()?);
    }
    Ok(Body::DropTables { names, if_exists })
}
