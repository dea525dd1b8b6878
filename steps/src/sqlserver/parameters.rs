//! Values that are bound to a statement's variables and never pasted into it: [`values`], [`numbered`].

use drydock_step::StepError;
use indexmap::IndexMap;
use serde_json::Value;

use super::lexer::{Token, TokenKind};
use super::session::Parameter;

/// The values as the server takes them, in the order they are given in.
///
/// # Errors
/// `query.parameter`, for a list, a mapping or a number of more than 64 bits.
pub(super) fn values(given: &IndexMap<String, Value>) -> Result<IndexMap<String, Parameter>, StepError> {
    given.iter().map(|(name, value)| Ok((name.clone(), parameter(name, value)?))).collect()
}

fn parameter(name: &str, value: &Value) -> Result<Parameter, StepError> {
    let bad = |what: &str| {
        let message =
            format!("parameter `{name}` is {what}, and a parameter is one text, number, boolean or null");
        Err(StepError::new("query.parameter", message)
            .help("a longer number is given as text; the server makes of it what it is compared with"))
    };
    match value {
        Value::Null => Ok(Parameter::Null),
        Value::Bool(flag) => Ok(Parameter::Flag(*flag)),
        Value::String(text) => Ok(Parameter::Text(text.clone())),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Ok(Parameter::Whole(whole)),
            (None, Some(real)) if number.is_f64() => Ok(Parameter::Real(real)),
            _ => bad("a number of more than 64 bits"),
        },
        Value::Array(_) => bad("a list"),
        Value::Object(_) => bad("a mapping"),
    }
}

/// A statement whose variables of these names are `@P1`, `@P2` …, as the library numbers them, and the names in the order of their
/// numbers. Variables of other names stay as they are.
pub(super) fn numbered(text: &str, tokens: &[Token<'_>], names: &[&str]) -> (String, Vec<String>) {
    let mut used: Vec<String> = Vec::new();
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for (token, name) in variables(tokens) {
        if !names.contains(&name) {
            continue;
        }
        let number = used.iter().position(|known| known == name).unwrap_or_else(|| {
            used.push(name.to_owned());
            used.len() - 1
        });
        out.push_str(&text[copied..token.at]);
        out.push_str(&format!("@P{}", number + 1));
        copied = token.at + token.text.len();
    }
    out.push_str(&text[copied..]);
    (out, used)
}

/// The local variables among tokens, with their names.
pub(super) fn variables<'t>(tokens: &'t [Token<'t>]) -> impl Iterator<Item = (&'t Token<'t>, &'t str)> {
    tokens
        .iter()
        .filter(|token| token.kind == TokenKind::Variable && !token.text.starts_with("@@"))
        .map(|token| (token, token.text.trim_start_matches('@')))
}
