//! A batch's text into statements. Main function: [`parse_batch`].

use sqlparser::ast::Statement as Ast;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::statement::{Argument, Body, Execute, Statement};
use super::{admin, ddl, logins, machine, media, principals, security};
use crate::sqlserver::error::SqlError;

/// How deep blocks may stand in one another.
const DEPTH: usize = 32;

/// The statements of a batch. One that cannot be read means that none of them runs.
///
/// # Errors
/// Severity 15 for text that is not T-SQL; this server's refusal for T-SQL that it does not understand.
pub fn parse_batch(text: &str) -> Result<Vec<Statement>, SqlError> {
    let mut cursor = Cursor::new(text)?;
    let mut statements = Vec::new();
    loop {
        while cursor.accept_token(&Token::SemiColon) {}
        if cursor.is_at_end() {
            return Ok(statements);
        }
        statements.push(statement(&mut cursor, 0)?);
        if !cursor.is_at_statement_end() {
            return Err(cursor.unexpected());
        }
    }
}

/// One statement.
fn statement(cursor: &mut Cursor, depth: usize) -> Result<Statement, SqlError> {
    if depth > DEPTH {
        let text = "Some part of your SQL statement is nested too deeply. Rewrite the query or break it up into \
                    smaller queries.";
        return Err(SqlError::new(191, text).class(15).at(cursor.line()));
    }
    let line = cursor.line();
    let body = match cursor.peek() {
        Token::Word(word) if word.quote_style.is_none() => {
            let word = word.value.to_uppercase();
            body(cursor, &word, depth)
        }
        Token::LParen => select(cursor),
        _ => Err(cursor.unexpected()),
    };
    body.map(|body| Statement { line, body }).map_err(|error| error.at(line))
}

fn body(cursor: &mut Cursor, word: &str, depth: usize) -> Result<Body, SqlError> {
    match word {
        "SELECT" | "WITH" => return select(cursor),
        "INSERT" | "UPDATE" | "DELETE" => return change(cursor, word),
        "MERGE" | "GOTO" | "SAVE" | "OPEN" | "FETCH" | "CLOSE" | "DEALLOCATE" | "BULK" | "CHECKPOINT"
        | "SHUTDOWN" => {
            return Err(SqlError::not_understood(word));
        }
        _ => cursor.advance(),
    }
    match word {
        "BACKUP" => media::backup(cursor),
        "RESTORE" => media::restore(cursor),
        "CREATE" => create(cursor),
        "ALTER" => alter(cursor),
        "DROP" => drop_object(cursor),
        "TRUNCATE" => {
            cursor.expect("TABLE")?;
            Ok(Body::Truncate(cursor.object_name()?))
        }
        "USE" => Ok(Body::Use(cursor.name()?)),
        "KILL" => admin::kill(cursor),
        "GRANT" | "DENY" | "REVOKE" => principals::permission(cursor, word),
        "REVERT" => Ok(Body::Revert),
        "RECONFIGURE" => machine::reconfigure(cursor),
        "DBCC" => admin::dbcc(cursor),
        "BEGIN" => begin(cursor, depth),
        "COMMIT" => end_of_transaction(cursor, Body::Commit),
        "ROLLBACK" => end_of_transaction(cursor, Body::Rollback),
        "SET" => set(cursor),
        "DECLARE" => declare(cursor),
        "IF" => conditional(cursor, depth),
        "WHILE" => {
            let condition = cursor.expression()?;
            Ok(Body::While { condition, body: Box::new(statement(cursor, depth + 1)?) })
        }
        "BREAK" => Ok(Body::Break),
        "CONTINUE" => Ok(Body::Continue),
        "RETURN" => Ok(Body::Return),
        "EXEC" | "EXECUTE" => execute(cursor),
        "PRINT" => Ok(Body::Print(cursor.expression()?)),
        "THROW" => throw(cursor),
        "RAISERROR" => raise_error(cursor),
        "WAITFOR" => {
            cursor.expect("DELAY")?;
            Ok(Body::WaitFor(cursor.expression()?))
        }
        _ => {
            let near = SqlError::syntax(&word.to_lowercase());
            Err(SqlError { message: format!("Incorrect syntax near '{}'.", word.to_lowercase()), ..near })
        }
    }
}

fn select(cursor: &mut Cursor) -> Result<Body, SqlError> {
    cursor.parse_with(|parser| parser.parse_query()).map(Body::Select)
}

fn change(cursor: &mut Cursor, word: &str) -> Result<Body, SqlError> {
    let line = cursor.line();
    let parsed = cursor.parse_with(|parser| {
        let token = parser.next_token();
        match token.token {
            Token::Word(ref word) if word.keyword == Keyword::INSERT => parser.parse_insert(token),
            Token::Word(ref word) if word.keyword == Keyword::UPDATE => parser.parse_update(token),
            _ => parser.parse_delete(token),
        }
    })?;
    match parsed {
        Ast::Insert(insert) => Ok(Body::Insert(Box::new(insert))),
        Ast::Update(update) => Ok(Body::Update(Box::new(update))),
        Ast::Delete(delete) => Ok(Body::Delete(Box::new(delete))),
        _ => Err(SqlError::not_understood(format_args!("this form of {word}")).at(line)),
    }
}

fn create(cursor: &mut Cursor) -> Result<Body, SqlError> {
    let line = cursor.line();
    if cursor.accept("TABLE") {
        return ddl::create_table(cursor);
    }
    if cursor.accept("DATABASE") {
        return admin::create_database(cursor);
    }
    if cursor.accept("LOGIN") {
        return logins::create_login(cursor);
    }
    if cursor.accept("ENDPOINT") {
        return machine::create_endpoint(cursor);
    }
    if cursor.accept("USER") {
        return principals::create_user(cursor);
    }
    if cursor.accept("ROLE") {
        return principals::create_role(cursor);
    }
    if cursor.accept_words(&["SERVER", "ROLE"]) {
        return logins::create_role(cursor);
    }
    if cursor.accept("SCHEMA") {
        let name = cursor.name()?;
        if cursor.accept("AUTHORIZATION") {
            cursor.name()?;
        }
        return Ok(Body::CreateSchema(name));
    }
    if let Some(body) = security::create(cursor)? {
        return Ok(body);
    }
    let unique = cursor.accept("UNIQUE");
    if !cursor.accept("CLUSTERED") {
        cursor.accept("NONCLUSTERED");
    }
    if cursor.accept("INDEX") {
        return ddl::create_index(cursor, unique);
    }
    let what = cursor.word().unwrap_or_default();
    Err(SqlError::not_understood(format_args!("CREATE {what}")).at(line))
}

fn alter(cursor: &mut Cursor) -> Result<Body, SqlError> {
    let line = cursor.line();
    if cursor.accept("TABLE") {
        return ddl::alter_table(cursor);
    }
    if cursor.accept("DATABASE") {
        return admin::alter_database(cursor);
    }
    if cursor.accept_words(&["SERVER", "ROLE"]) {
        return logins::alter_role(cursor);
    }
    if cursor.accept("ENDPOINT") {
        return machine::alter_endpoint(cursor);
    }
    if cursor.accept("LOGIN") {
        return logins::alter_login(cursor);
    }
    if cursor.accept("USER") {
        return principals::alter_user(cursor);
    }
    if cursor.accept("ROLE") {
        return principals::alter_role(cursor);
    }
    if cursor.accept("AUTHORIZATION") {
        return principals::authorization(cursor);
    }
    let what = cursor.word().unwrap_or_default();
    Err(SqlError::not_understood(format_args!("ALTER {what}")).at(line))
}

fn drop_object(cursor: &mut Cursor) -> Result<Body, SqlError> {
    let line = cursor.line();
    match cursor.word()?.as_str() {
        "TABLE" => ddl::drop_tables(cursor),
        "INDEX" => ddl::drop_index(cursor),
        "DATABASE" => admin::drop_databases(cursor),
        "LOGIN" => logins::drop_login(cursor),
        "ENDPOINT" => machine::drop_endpoint(cursor),
        "USER" => principals::drop_principal(cursor, false),
        "ROLE" => principals::drop_principal(cursor, true),
        "SERVER" if cursor.accept("ROLE") => logins::drop_role(cursor),
        what @ ("CERTIFICATE" | "CREDENTIAL") => security::drop_named(cursor, what),
        what => Err(SqlError::not_understood(format_args!("DROP {what}")).at(line)),
    }
}

fn begin(cursor: &mut Cursor, depth: usize) -> Result<Body, SqlError> {
    if cursor.accept("TRY") {
        let body = block(cursor, depth)?;
        cursor.expect("TRY")?;
        cursor.accept_token(&Token::SemiColon);
        cursor.expect("BEGIN")?;
        cursor.expect("CATCH")?;
        let catch = block(cursor, depth)?;
        cursor.expect("CATCH")?;
        return Ok(Body::Try { body, catch });
    }
    if cursor.accept("TRANSACTION") || cursor.accept("TRAN") {
        let named = !cursor.is_at_statement_end() && !cursor.is_at("WITH");
        let name = if named { Some(cursor.name_or_variable()?) } else { None };
        let mut mark = None;
        if cursor.accept("WITH") {
            cursor.expect("MARK")?;
            let described =
                matches!(cursor.peek(), Token::SingleQuotedString(_) | Token::NationalStringLiteral(_));
            mark = Some(if described { Some(cursor.string()?) } else { None });
        }
        return Ok(Body::Begin { name, mark });
    }
    block(cursor, depth).map(Body::Block)
}

/// The statements up to and with END.
fn block(cursor: &mut Cursor, depth: usize) -> Result<Vec<Statement>, SqlError> {
    let mut statements = Vec::new();
    loop {
        while cursor.accept_token(&Token::SemiColon) {}
        if cursor.accept("END") {
            if statements.is_empty() {
                return Err(SqlError::syntax("END").at(cursor.line()));
            }
            return Ok(statements);
        }
        if cursor.is_at_end() {
            return Err(cursor.unexpected());
        }
        statements.push(statement(cursor, depth + 1)?);
        if !cursor.is_at_statement_end() {
            return Err(cursor.unexpected());
        }
    }
}

fn end_of_transaction(cursor: &mut Cursor, body: Body) -> Result<Body, SqlError> {
    let _ = cursor.accept("TRANSACTION") || cursor.accept("TRAN") || cursor.accept("WORK");
    if !cursor.is_at_statement_end() && !cursor.is_at("WITH") {
        cursor.name_or_variable()?;
    }
    if cursor.is_at("WITH") {
        return Err(SqlError::not_understood("COMMIT with DELAYED_DURABILITY"));
    }
    Ok(body)
}

fn set(cursor: &mut Cursor) -> Result<Body, SqlError> {
    let Some(variable) = cursor.variable() else { return admin::set_option(cursor) };
    cursor.expect_token(&Token::Eq)?;
    Ok(Body::SetVariable(variable, cursor.expression()?))
}

fn declare(cursor: &mut Cursor) -> Result<Body, SqlError> {
    let mut variables = Vec::new();
    loop {
        let name = cursor.variable().ok_or_else(|| cursor.unexpected())?;
        cursor.accept("AS");
        if cursor.is_at("TABLE") || cursor.is_at("CURSOR") {
            return Err(SqlError::not_understood("table variables and cursors"));
        }
        let ty = cursor.data_type()?;
        let value = if cursor.accept_token(&Token::Eq) { Some(cursor.expression()?) } else { None };
        variables.push((name, ty, value));
        if !cursor.accept_token(&Token::Comma) {
            return Ok(Body::Declare(variables));
        }
    }
}

fn conditional(cursor: &mut Cursor, depth: usize) -> Result<Body, SqlError> {
    let condition = cursor.expression()?;
    let then = Box::new(statement(cursor, depth + 1)?);
    // A semicolon may stand between the first branch and ELSE.
    let with_semicolon = *cursor.peek() == Token::SemiColon
        && matches!(cursor.peek_at(1), Token::Word(word) if word.keyword == Keyword::ELSE);
    if with_semicolon {
        cursor.advance();
    }
    let otherwise = if cursor.accept("ELSE") { Some(Box::new(statement(cursor, depth + 1)?)) } else { None };
    Ok(Body::If { condition, then, otherwise })
}

fn execute(cursor: &mut Cursor) -> Result<Body, SqlError> {
    if cursor.accept("AS") {
        let is_user = cursor.accept("USER");
        if !is_user {
            cursor.expect("LOGIN")?;
        }
        cursor.expect_token(&Token::Eq)?;
        return Ok(Body::Impersonate { name: cursor.string()?, is_user });
    }
    if cursor.accept_token(&Token::LParen) {
        let text = cursor.expression()?;
        cursor.expect_token(&Token::RParen)?;
        return Ok(Body::Execute(Execute::Text(Box::new(text))));
    }
    let result = cursor.variable();
    if result.is_some() {
        cursor.expect_token(&Token::Eq)?;
    }
    let name = cursor.object_name()?;
    let mut arguments = Vec::new();
    if !cursor.is_at_statement_end() {
        loop {
            arguments.push(argument(cursor)?);
            if !cursor.accept_token(&Token::Comma) {
                break;
            }
        }
    }
    Ok(Body::Execute(Execute::Procedure { result, name, arguments }))
}

fn argument(cursor: &mut Cursor) -> Result<Argument, SqlError> {
    let named = matches!(cursor.peek(), Token::Word(word) if word.value.starts_with('@'))
        && *cursor.peek_at(1) == Token::Eq;
    let name = if named { cursor.variable() } else { None };
    if named {
        cursor.expect_token(&Token::Eq)?;
    }
    let value = cursor.expression()?;
    let output = cursor.accept("OUTPUT") || cursor.accept("OUT");
    Ok(Argument { name, value, output })
}

fn throw(cursor: &mut Cursor) -> Result<Body, SqlError> {
    if cursor.is_at_statement_end() {
        return Ok(Body::Throw(None));
    }
    let number = cursor.expression()?;
    cursor.expect_token(&Token::Comma)?;
    let message = cursor.expression()?;
    cursor.expect_token(&Token::Comma)?;
    Ok(Body::Throw(Some((number, message, cursor.expression()?))))
}

fn raise_error(cursor: &mut Cursor) -> Result<Body, SqlError> {
    cursor.expect_token(&Token::LParen)?;
    let message = cursor.expression()?;
    cursor.expect_token(&Token::Comma)?;
    let severity = cursor.expression()?;
    cursor.expect_token(&Token::Comma)?;
    let state = cursor.expression()?;
    let mut arguments = Vec::new();
    while cursor.accept_token(&Token::Comma) {
        arguments.push(cursor.expression()?);
    }
    cursor.expect_token(&Token::RParen)?;
    if cursor.accept("WITH") {
        cursor.expect("NOWAIT")?;
    }
    Ok(Body::RaiseError { message, severity, state, arguments })
}
