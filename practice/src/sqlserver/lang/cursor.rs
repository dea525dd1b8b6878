//! A place in a batch's tokens, with the small readings that all statements share. Main type: [`Cursor`].

use sqlparser::ast::Expr;
use sqlparser::dialect::MsSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::statement::{ObjectName, Text};
use crate::sqlserver::error::SqlError;
use crate::sqlserver::sql_type::SqlType;

/// The dialect of every batch.
pub const DIALECT: MsSqlDialect = MsSqlDialect {};
/// How many operators may stand between two commas; a longer chain could nest deeper than a stack is tall.
const OPERATORS: usize = 300;

/// Words that cannot stand inside a query and so end the statement before them.
const STARTERS: [&str; 20] = [
    "BACKUP",
    "RESTORE",
    "PRINT",
    "DECLARE",
    "USE",
    "KILL",
    "DBCC",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "WAITFOR",
    "RAISERROR",
    "IF",
    "WHILE",
    "EXEC",
    "EXECUTE",
    "TRUNCATE",
    "RETURN",
    "BREAK",
    "CONTINUE",
];

/// Words that begin a statement where a query has come to its end.
const FOLLOWERS: [&str; 10] =
    ["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "DROP", "SET", "THROW", "MERGE"];

/// A place in the tokens of a batch; blanks and comments are gone.
#[derive(Debug)]
pub struct Cursor {
    tokens: Vec<TokenWithSpan>,
    at: usize,
}

impl Cursor {
    /// The tokens of `text`.
    ///
    /// # Errors
    /// 105 for text that has no tokens, 102 for a line that holds only GO.
    pub fn new(text: &str) -> Result<Self, SqlError> {
        let mut tokens = Tokenizer::new(&DIALECT, text).tokenize_with_location().map_err(|error| {
            let line = u32::try_from(error.location.line).unwrap_or(1);
            SqlError::new(105, format!("Unclosed quotation mark or unreadable text: {}", error.message))
                .class(15)
                .at(line)
        })?;
        tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
        let cursor = Self { tokens, at: 0 };
        cursor.refuse_go()?;
        Ok(cursor)
    }

    /// GO separates batches for clients; one that arrives here was not taken out.
    fn refuse_go(&self) -> Result<(), SqlError> {
        let line_of = |at: usize| self.tokens.get(at).map(|token| token.span.start.line);
        for at in 0..self.tokens.len() {
            let here = line_of(at);
            let alone = (at == 0 || line_of(at - 1) != here) && line_of(at + 1) != here;
            if alone && self.tokens.get(at).is_some_and(|token| is_word(&token.token, "GO")) {
                return Err(SqlError::syntax("GO").at(here.and_then(|l| u32::try_from(l).ok()).unwrap_or(1)));
            }
        }
        Ok(())
    }

    /// The next token.
    #[must_use]
    pub fn peek(&self) -> &Token {
        self.peek_at(0)
    }

    /// The token `ahead` places on.
    #[must_use]
    pub fn peek_at(&self, ahead: usize) -> &Token {
        self.tokens.get(self.at + ahead).map_or(&Token::EOF, |token| &token.token)
    }

    /// The line of the next token.
    #[must_use]
    pub fn line(&self) -> u32 {
        let token = self.tokens.get(self.at).or_else(|| self.tokens.last());
        token.and_then(|token| u32::try_from(token.span.start.line).ok()).unwrap_or(1)
    }

    /// Whether the tokens are over.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.at >= self.tokens.len()
    }

    /// Goes one token on.
    pub fn advance(&mut self) {
        self.at += 1;
    }

    /// 102 at the next token.
    #[must_use]
    pub fn unexpected(&self) -> SqlError {
        let near = self.tokens.get(self.at).or_else(|| self.tokens.last());
        SqlError::syntax(&near.map_or(String::new(), |token| plain(&token.token))).at(self.line())
    }

    /// Whether the next token is this unquoted word.
    #[must_use]
    pub fn is_at(&self, word: &str) -> bool {
        is_word(self.peek(), word)
    }

    /// Whether the next tokens are these unquoted words.
    #[must_use]
    pub fn is_at_words(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(ahead, word)| is_word(self.peek_at(ahead), word))
    }

    /// Passes over `word` if it is next.
    pub fn accept(&mut self, word: &str) -> bool {
        let found = self.is_at(word);
        self.at += usize::from(found);
        found
    }

    /// Passes over `words` if they are all next.
    pub fn accept_words(&mut self, words: &[&str]) -> bool {
        let found = self.is_at_words(words);
        self.at += if found { words.len() } else { 0 };
        found
    }

    /// Passes over `token` if it is next.
    pub fn accept_token(&mut self, token: &Token) -> bool {
        let found = self.peek() == token;
        self.at += usize::from(found);
        found
    }

    /// Passes over `word`.
    pub fn expect(&mut self, word: &str) -> Result<(), SqlError> {
        if self.accept(word) { Ok(()) } else { Err(self.unexpected()) }
    }

    /// Passes over `token`.
    pub fn expect_token(&mut self, token: &Token) -> Result<(), SqlError> {
        if self.accept_token(token) { Ok(()) } else { Err(self.unexpected()) }
    }

    /// An unquoted word in upper case.
    pub fn word(&mut self) -> Result<String, SqlError> {
        match self.peek() {
            Token::Word(word) if word.quote_style.is_none() => {
                let text = word.value.to_uppercase();
                self.at += 1;
                Ok(text)
            }
            _ => Err(self.unexpected()),
        }
    }

    /// An identifier, quoted or not, that is no variable.
    pub fn name(&mut self) -> Result<String, SqlError> {
        match self.peek() {
            Token::Word(word) if word.quote_style.is_some() || !word.value.starts_with('@') => {
                let text = word.value.clone();
                self.at += 1;
                Ok(text)
            }
            _ => Err(self.unexpected()),
        }
    }

    /// A variable's name in lower case, with its `@`, if one is next.
    pub fn variable(&mut self) -> Option<String> {
        match self.peek() {
            Token::Word(word) if word.quote_style.is_none() && word.value.starts_with('@') => {
                let text = word.value.to_lowercase();
                self.at += 1;
                Some(text)
            }
            _ => None,
        }
    }

    /// An identifier or a variable.
    pub fn name_or_variable(&mut self) -> Result<Text, SqlError> {
        match self.variable() {
            Some(variable) => Ok(Text::Variable(variable)),
            None => self.name().map(Text::Literal),
        }
    }

    /// A literal text.
    pub fn string(&mut self) -> Result<String, SqlError> {
        match self.peek() {
            Token::SingleQuotedString(text) | Token::NationalStringLiteral(text) => {
                let text = text.clone();
                self.at += 1;
                Ok(text)
            }
            _ => Err(self.unexpected()),
        }
    }

    /// A literal text or a variable; expressions are not allowed where this is called.
    pub fn string_or_variable(&mut self) -> Result<Text, SqlError> {
        match self.variable() {
            Some(variable) => Ok(Text::Variable(variable)),
            None => self.string().map(Text::Literal),
        }
    }

    /// A whole number.
    pub fn number<N: std::str::FromStr>(&mut self) -> Result<N, SqlError> {
        match self.peek() {
            Token::Number(digits, _) => {
                let number = digits.parse().map_err(|_| self.unexpected())?;
                self.at += 1;
                Ok(number)
            }
            _ => Err(self.unexpected()),
        }
    }

    /// A number literal or a variable.
    pub fn number_or_variable(&mut self) -> Result<Text, SqlError> {
        match self.variable() {
            Some(variable) => Ok(Text::Variable(variable)),
            None => Ok(Text::Literal(self.number::<u64>()?.to_string())),
        }
    }

    /// `[[database.]schema.]name`, the schema left out as in `database..name`.
    pub fn object_name(&mut self) -> Result<ObjectName, SqlError> {
        let mut parts = vec![Some(self.name()?)];
        while self.accept_token(&Token::Period) {
            parts.push(if *self.peek() == Token::Period { None } else { Some(self.name()?) });
        }
        object_name(parts).ok_or_else(|| self.unexpected())
    }

    /// A data type with its sizes.
    pub fn data_type(&mut self) -> Result<SqlType, SqlError> {
        let line = self.line();
        let name = self.name()?;
        let mut arguments = Vec::new();
        if self.accept_token(&Token::LParen) {
            loop {
                arguments.push(match self.peek() {
                    Token::Number(digits, _) => digits.clone(),
                    Token::Word(word) => word.value.clone(),
                    _ => return Err(self.unexpected()),
                });
                self.at += 1;
                if !self.accept_token(&Token::Comma) {
                    break;
                }
            }
            self.expect_token(&Token::RParen)?;
        }
        SqlType::parse(&name, &arguments).map_err(|error| error.at(line))
    }

    /// `(a, b)`: names in brackets, each with its order; the order is returned too.
    pub fn ordered_names(&mut self) -> Result<Vec<(String, bool)>, SqlError> {
        self.expect_token(&Token::LParen)?;
        let mut names = Vec::new();
        loop {
            let name = self.name()?;
            let descends = self.accept("DESC");
            self.accept("ASC");
            names.push((name, descends));
            if !self.accept_token(&Token::Comma) {
                break;
            }
        }
        self.expect_token(&Token::RParen)?;
        Ok(names)
    }

    /// An expression.
    pub fn expression(&mut self) -> Result<Expr, SqlError> {
        self.parse_with(|parser| parser.parse_expr())
    }

    /// Whatever `read` takes from the tokens up to the next word that must begin another statement.
    pub fn parse_with<T>(
        &mut self,
        read: impl FnOnce(&mut Parser<'_>) -> Result<T, ParserError>,
    ) -> Result<T, SqlError> {
        let piece = &self.tokens[self.at..self.statement_end()];
        let chains = piece.split(|token| token.token == Token::Comma);
        if chains
            .map(|chain| chain.iter().filter(|token| deepens(&token.token)).count())
            .any(|n| n > OPERATORS)
        {
            return Err(too_complex().at(self.line()));
        }
        let mut parser = Parser::new(&DIALECT).with_tokens_with_locations(piece.to_vec());
        let read = read(&mut parser);
        self.at += parser.index();
        read.map_err(|error| match error {
            ParserError::RecursionLimitExceeded => too_complex().at(self.line()),
            _ => self.unexpected(),
        })
    }

    /// Where the statement that begins here ends at the latest.
    fn statement_end(&self) -> usize {
        let (mut depth, mut cases) = (0_usize, 0_usize);
        for (at, token) in self.tokens.iter().enumerate().skip(self.at) {
            match &token.token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.saturating_sub(1),
                Token::SemiColon if depth == 0 => return at,
                Token::Word(word) if word.quote_style.is_none() => {
                    let is = |text: &str| word.value.eq_ignore_ascii_case(text);
                    if is("CASE") {
                        cases += 1;
                    } else if is("END") && cases > 0 {
                        cases -= 1;
                    } else if depth == 0 && at > self.at {
                        let closes = cases == 0 && (is("END") || is("ELSE"));
                        if closes || STARTERS.iter().any(|starter| is(starter)) {
                            return at;
                        }
                    }
                }
                _ => {}
            }
        }
        self.tokens.len()
    }

    /// Whether a statement may end here.
    #[must_use]
    pub fn is_at_statement_end(&self) -> bool {
        let word = |text: &&&str| self.is_at(text);
        let more = ["END", "ELSE"];
        matches!(self.peek(), Token::EOF | Token::SemiColon)
            || STARTERS.iter().chain(FOLLOWERS.iter()).chain(more.iter()).any(|text| word(&text))
    }

    /// The text of the tokens from `start` to here, as T-SQL reads it.
    #[must_use]
    pub fn text_since(&self, start: usize) -> String {
        let tokens = self.tokens.get(start..self.at).unwrap_or_default();
        tokens.iter().map(|token| token.token.to_string()).collect::<Vec<_>>().join(" ")
    }

    /// The place of the next token, for [`Cursor::text_since`].
    #[must_use]
    pub const fn place(&self) -> usize {
        self.at
    }
}

/// An object's name from its parts, the last of which must be there.
#[must_use]
pub fn object_name(parts: Vec<Option<String>>) -> Option<ObjectName> {
    let mut parts = parts.into_iter().rev();
    let name = parts.next().flatten()?;
    let (schema, database) = (parts.next().flatten(), parts.next().flatten());
    parts.next().is_none().then_some(ObjectName { database, schema, name })
}

fn is_word(token: &Token, text: &str) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(text))
}

/// Whether a token can make the tree of an expression or query one level deeper.
fn deepens(token: &Token) -> bool {
    match token {
        Token::Word(word) => matches!(
            word.keyword,
            Keyword::AND
                | Keyword::OR
                | Keyword::NOT
                | Keyword::UNION
                | Keyword::EXCEPT
                | Keyword::INTERSECT
                | Keyword::JOIN
                | Keyword::COLLATE
                | Keyword::IS
                | Keyword::IN
                | Keyword::LIKE
                | Keyword::BETWEEN
        ),
        Token::Plus
        | Token::Mul
        | Token::Div
        | Token::Mod
        | Token::Minus
        | Token::Eq
        | Token::Neq
        | Token::Lt
        | Token::Gt
        | Token::LtEq
        | Token::GtEq
        | Token::Ampersand
        | Token::Pipe
        | Token::Caret
        | Token::DoubleColon
        | Token::LBracket
        | Token::Tilde => true,
        _ => false,
    }
}

fn too_complex() -> SqlError {
    let text = "The query processor ran out of internal resources and could not produce a query plan. \
                Please simplify the query.";
    SqlError::new(8623, text)
}

/// A token as an error names it.
fn plain(token: &Token) -> String {
    match token {
        Token::Word(word) => word.value.clone(),
        Token::SingleQuotedString(text) | Token::NationalStringLiteral(text) => text.clone(),
        Token::EOF => String::new(),
        other => other.to_string(),
    }
}
