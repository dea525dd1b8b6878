//! Rows of one of our own questions, as the server's text protocol gives them: [`Answer`], [`Row`].

use drydock_step::StepError;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Answer {
    /// The names of its columns.
    pub(super) columns: Vec<String>,
    /// Its rows, cell by cell; `None` is NULL.
    pub(super) cells: Vec<Vec<Option<String>>>,
}

/// One row of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    columns: &'a [String],
    cells: &'a [Option<String>],
}

impl Answer {
    /// Its rows.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.cells.iter().map(|cells| Row { columns: &self.columns, cells })
    }

    /// Its first row.
    ///
    /// # Errors
    /// `postgres.answer`, when it has none.
    pub(super) fn first(&self) -> Result<Row<'_>, StepError> {
        self.rows()
            .next()
            .ok_or_else(|| StepError::new("postgres.answer", "the server answered without a row"))
    }
}

impl<'a> Row<'a> {
    /// A text; `None` is NULL.
    ///
    /// # Errors
    /// `postgres.answer`, when there is no such column.
    pub(super) fn text(self, column: &str) -> Result<Option<&'a str>, StepError> {
        let at = self.columns.iter().position(|known| known == column).ok_or_else(|| {
            StepError::new("postgres.answer", format!("the server answered without a column `{column}`"))
        })?;
        Ok(self.cells.get(at).and_then(Option::as_deref))
    }

    /// A text that is there.
    ///
    /// # Errors
    /// `postgres.answer`.
    pub(super) fn known(self, column: &str) -> Result<&'a str, StepError> {
        self.text(column)?.ok_or_else(|| {
            StepError::new("postgres.answer", format!("the server answered nothing for `{column}`"))
        })
    }

    /// A whole number; `None` is NULL.
    ///
    /// # Errors
    /// `postgres.answer`, when it is none.
    pub(super) fn number(self, column: &str) -> Result<Option<i64>, StepError> {
        let Some(text) = self.text(column)? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| {
            let message = format!("the server answered `{text}` for `{column}`, which is no whole number");
            StepError::new("postgres.answer", message)
        })
    }

    /// A boolean; NULL is false.
    ///
    /// # Errors
    /// `postgres.answer`, when there is no such column.
    pub(super) fn flag(self, column: &str) -> Result<bool, StepError> {
        Ok(self.text(column)? == Some("t"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_read_by_what_they_should_be() {
        let cell = |text: &str| Some(text.to_owned());
        let answer = Answer {
            columns: vec!["n".into(), "is".into(), "none".into()],
            cells: vec![vec![cell("7"), cell("t"), None]],
        };
        let row = answer.first().unwrap();
        assert_eq!((row.number("n"), row.flag("is"), row.text("none")), (Ok(Some(7)), Ok(true), Ok(None)));
        for (error, words) in [
            (row.number("is").unwrap_err(), "`t` for `is`, which is no whole number"),
            (row.known("none").unwrap_err(), "nothing for `none`"),
            (row.text("other").unwrap_err(), "without a column `other`"),
            (Answer::default().first().unwrap_err(), "without a row"),
        ] {
            assert!(error.code == "postgres.answer" && error.message.contains(words), "{error}");
        }
    }
}
