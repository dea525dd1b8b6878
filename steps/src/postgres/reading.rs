//! A query that only reads, and its parameters: [`ReadingQuery`]. The server itself is asked whether it is one statement that gives rows;
//! it runs in a transaction that only reads and is rolled back.

use drydock_step::StepError;
use serde_json::Value;

use super::failure::Failure;
use super::sql::quoted;

/// The name under which a query with parameters is prepared.
const PREPARED: &str = "drydock_query";

/// A query and the values of `$1`, `$2` …
#[derive(Debug, Clone)]
pub(super) struct ReadingQuery<'q> {
    /// Its text.
    pub(super) sql: &'q str,
    values: Vec<String>,
}

fn writes(why: &str) -> StepError {
    StepError::new("query.writes", format!("this is no query that only reads: {why}"))
        .help("a query is one statement that gives rows; to change something, run a script")
}

/// The failure of a text that is more than one statement.
pub(super) fn refused_as_writing(failure: &Failure) -> Option<StepError> {
    match failure {
        Failure::Refused(refusal)
            if refusal.state == "42601" && refusal.message.contains("multiple commands") =>
        {
            Some(writes("it has more than one statement"))
        }
        _ => None,
    }
}

impl<'q> ReadingQuery<'q> {
    /// The query with these values for its parameters.
    ///
    /// # Errors
    /// `query.parameter`, for a list or a mapping.
    pub(super) fn with(sql: &'q str, values: &[Value]) -> Result<Self, StepError> {
        let literal = |(at, value): (usize, &Value)| match value {
            Value::Null => Ok("NULL".to_owned()),
            Value::String(text) => Ok(quoted(text)),
            // Texts all: the server makes of them what the query compares them with.
            Value::Bool(_) | Value::Number(_) => Ok(quoted(&value.to_string())),
            Value::Array(_) | Value::Object(_) => {
                let what = if value.is_array() { "a list" } else { "a mapping" };
                let message = format!(
                    "the value of `${}` is {what}, and a parameter is one text, number, boolean or null",
                    at + 1
                );
                Err(StepError::new("query.parameter", message)
                    .help("give it as JSON text (`| json`) and cast it in the query: `$1::jsonb`"))
            }
        };
        let values = values.iter().enumerate().map(literal).collect::<Result<_, _>>()?;
        Ok(Self { sql, values })
    }

    /// Whether it gives rows and has as many parameters as there are values, as the server describes it.
    ///
    /// # Errors
    /// `query.writes` or `query.parameter`.
    pub(super) fn fits(&self, parameters: usize, columns: usize) -> Result<(), StepError> {
        if columns == 0 {
            return Err(writes("it gives no rows"));
        }
        let given = self.values.len();
        if parameters == given {
            return Ok(());
        }
        let message = format!("the query has {parameters} parameters, and `parameters` gives {given}");
        Err(StepError::new("query.parameter", message)
            .help("the first of `parameters` is `$1`, the second `$2`"))
    }

    /// The statements that prepare it, run it with its values, and forget it; nothing where it has no parameters. The values are arguments
    /// of what is prepared: they never become a part of the query.
    pub(super) fn prepared(&self) -> Option<(String, String, String)> {
        if self.values.is_empty() {
            return None;
        }
        Some((
            format!("PREPARE {PREPARED} AS {}", self.sql),
            format!("EXECUTE {PREPARED} ({})", self.values.join(", ")),
            format!("DEALLOCATE {PREPARED}"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_arguments_and_never_text_of_the_query() {
        let values = [json!("a'); DROP TABLE t; --"), json!(7), json!(true), json!(null)];
        let query = ReadingQuery::with("SELECT $1, $2, $3, $4", &values).unwrap();
        let (prepare, execute, _) = query.prepared().unwrap();
        assert_eq!(prepare, "PREPARE drydock_query AS SELECT $1, $2, $3, $4");
        assert_eq!(execute, "EXECUTE drydock_query ('a''); DROP TABLE t; --', '7', 'true', NULL)");
        assert!(ReadingQuery::with("SELECT 1", &[]).unwrap().prepared().is_none());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let query = ReadingQuery::with("SELECT 1", &[json!(1)]).unwrap();
        let error = query.fits(0, 1).unwrap_err();
        assert_eq!(
            (error.code.as_str(), error.message.as_str()),
            ("query.parameter", "the query has 0 parameters, and `parameters` gives 1")
        );
        let error = query.fits(1, 0).unwrap_err();
        assert!(error.code == "query.writes" && error.message.ends_with("it gives no rows"), "{error}");
        let error = ReadingQuery::with("SELECT $1", &[json!(1), json!([2])]).unwrap_err();
        assert!(error.code == "query.parameter" && error.message.contains("`$2` is a list"), "{error}");
    }
}
