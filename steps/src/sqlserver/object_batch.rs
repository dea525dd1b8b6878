//! A batch of procedure calls that makes one object: [`Batch`]. Texts that a literal cannot hold become variables, for EXEC takes no
//! expressions.

use super::sql::{quoted, spelled};

/// A value of a procedure's parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Argument {
    /// A text; none is left to the procedure's default.
    Text(Option<String>),
    /// A number; none is left to the procedure's default.
    Number(Option<i64>),
}

impl Argument {
    /// A text.
    pub(super) fn text(text: Option<&str>) -> Self {
        Self::Text(text.map(str::to_owned))
    }
}

/// A batch that grows call by call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Batch {
    variables: Vec<String>,
    calls: Vec<String>,
}

impl Batch {
    /// One without calls.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Adds a call; what is NULL is left out.
    pub(super) fn call(&mut self, procedure: &str, arguments: Vec<(&str, Argument)>) {
        let mut given = Vec::new();
        for (name, argument) in arguments {
            let value = match argument {
                Argument::Text(None) | Argument::Number(None) => continue,
                Argument::Number(Some(number)) => number.to_string(),
                Argument::Text(Some(text)) => self.value(&text),
            };
            given.push(format!("@{name} = {value}"));
        }
        self.calls.push(format!("EXEC {procedure} {}", given.join(", ")));
    }

    fn value(&mut self, text: &str) -> String {
        let spelled = spelled(text);
        if spelled == quoted(text) {
            return spelled;
        }
        let variable = format!("@text{}", self.variables.len() + 1);
        self.variables.push(format!("DECLARE {variable} nvarchar(max) = {spelled};"));
        variable
    }

    /// Adds a statement.
    pub(super) fn statement(&mut self, statement: impl Into<String>) {
        self.calls.push(statement.into());
    }

    /// The calls, the first of them under a condition and all others always, so that one that was cut can be run again.
    pub(super) fn first_if(&self, condition: &str) -> String {
        self.with_variables(&format!("{condition}\n{}", self.lines()))
    }

    /// The only call, always.
    pub(super) fn always(&self) -> String {
        self.with_variables(&self.lines())
    }

    /// The calls under a condition, all of them or none: the procedures of msdb raise errors that end no transaction.
    pub(super) fn whole(&self, condition: &str) -> String {
        if let [only] = self.calls.as_slice() {
            return self.with_variables(&format!("{condition}\n{only};"));
        }
        self.with_variables(&format!(
            "{condition}\nBEGIN\nBEGIN TRY\nBEGIN TRANSACTION;\n{}\nCOMMIT TRANSACTION;\nEND TRY\nBEGIN CATCH\nIF @@TRANCOUNT > 0 ROLLBACK TRANSACTION;\nTHROW;\nEND CATCH\nEND",
            self.lines()
        ))
    }

    fn lines(&self) -> String {
        let lines: Vec<String> = self.calls.iter().map(|call| format!("{call};")).collect();
        lines.join("\n")
    }

    fn with_variables(&self, text: &str) -> String {
        let mut lines = self.variables.clone();
        lines.push(text.to_owned());
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_become_variables_and_nulls_are_left_out() {
        let mut batch = Batch::new();
        let arguments = vec![
            ("name", Argument::text(Some("it's"))),
            ("command", Argument::text(Some("a\nb"))),
            ("other", Argument::Text(None)),
            ("n", Argument::Number(Some(-1))),
        ];
        batch.call("p", arguments);
        assert_eq!(
            batch.whole("IF 1 = 1"),
            "DECLARE @text1 nvarchar(max) = CAST(N'' AS nvarchar(max)) + N'a' + NCHAR(10) + N'b';\nIF 1 = 1\nEXEC p @name = N'it''s', @command = @text1, @n = -1;"
        );
        batch.call("q", vec![("n", Argument::Number(Some(2)))]);
        assert!(batch.first_if("IF 1 = 1").ends_with(
            "
IF 1 = 1
EXEC p @name = N'it''s', @command = @text1, @n = -1;
EXEC q @n = 2;"
        ));
        assert!(batch.whole("IF 1 = 1").contains(
            "BEGIN TRANSACTION;
EXEC p "
        ));
    }
}
