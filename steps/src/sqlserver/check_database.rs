//! DBCC CHECKDB and what it finds: [`CheckDatabase`], [`Checked`].

use drydock_step::{Field, Shape, StepError};
use serde::{Deserialize, Serialize};

use super::answer::Row;
use super::sql::Identifier;
use super::target::SqlServerConnection;

/// The keys of `checkdb`.
pub(super) const CHECKDB: &[Field] = &[
    Field::required("database", Shape::Text, "The database."),
    Field::optional("physical_only", Shape::Boolean, "Pages and allocation alone, which is faster.")
        .or("false"),
    Field::optional(
        "extended_logical_checks",
        Shape::Boolean,
        "Also indexed views, XML and spatial indexes.",
    )
    .or("false"),
];

const DAMAGE: &[Field] = &[
    Field::required("number", Shape::Integer, "The error's number."),
    Field::required("message", Shape::Text, "Its words."),
    Field::optional("object_id", Shape::Integer, "The object."),
    Field::optional("index_id", Shape::Integer, "Its index."),
    Field::optional("file", Shape::Integer, "The file of the page."),
    Field::optional("page", Shape::Integer, "The page."),
    Field::optional("repair", Shape::Text, "The least repair that would remove it."),
];

/// What a check tells.
pub(super) const CHECKED: &[Field] = &[
    Field::required("database", Shape::Text, "The database."),
    Field::required("ok", Shape::Boolean, "Whether nothing was found."),
    Field::required("findings", Shape::List(&Shape::Record(DAMAGE)), "The damage, the first 1000."),
];

/// Most findings that are kept.
const KEPT: usize = 1000;

/// The numbers of what CHECKDB only tells: headings, sums and the least repair.
const TELLS: std::ops::RangeInclusive<i64> = 8989..=8990;
const ALSO_TELLS: &[i64] = &[2528, 2536, 2593, 8954, 8958, 8997];

/// What to check.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckDatabase {
    /// The database.
    pub(super) database: Identifier,
    #[serde(default)]
    physical_only: bool,
    #[serde(default)]
    extended_logical_checks: bool,
}

/// One thing that is damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Damage {
    number: i64,
    message: String,
    object_id: Option<i64>,
    index_id: Option<i64>,
    file: Option<i64>,
    page: Option<i64>,
    repair: Option<String>,
}

impl Damage {
    /// In one line.
    pub(super) fn words(&self) -> String {
        let place = match (self.file, self.page) {
            (Some(file), Some(page)) => format!(" on page ({file}:{page})"),
            _ => String::new(),
        };
        format!("error {}{place}: {}", self.number, self.message.trim_end_matches('.'))
    }

    /// A row of the answer; nothing for what is only told.
    fn of(row: Row<'_>) -> Result<Option<Self>, StepError> {
        let number = row.number("Error")?.unwrap_or(0);
        let level = row.number("Level")?;
        if level.is_some_and(|level| level <= 10) || TELLS.contains(&number) || ALSO_TELLS.contains(&number) {
            return Ok(None);
        }
        let place = |column| Ok::<_, StepError>(row.number(column)?.filter(|number| *number > 0));
        Ok(Some(Self {
            number,
            message: row.text("MessageText")?.unwrap_or("the server gave no words").to_owned(),
            object_id: place("ObjectId")?,
            index_id: row.number("IndexId")?.filter(|id| *id >= 0),
            file: place("File")?,
            page: row.number("Page")?.filter(|page| *page >= 0),
            repair: row.text("RepairLevel")?.filter(|text| !text.is_empty()).map(str::to_owned),
        }))
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Checked {
    /// The database.
    pub(super) database: String,
    ok: bool,
    /// What is damaged.
    pub(super) findings: Vec<Damage>,
}

impl CheckDatabase {
    /// Whether the options go together.
    ///
    /// # Errors
    /// `input`.
    pub(super) fn fits_together(&self) -> Result<(), StepError> {
        if self.physical_only && self.extended_logical_checks {
            let message = "`physical_only` and `extended_logical_checks` exclude one another";
            return Err(StepError::new("input", message).help("leave one of them out"));
        }
        Ok(())
    }

    /// As a statement. Its results come as rows: of messages a client would see the first alone.
    pub(super) fn statement(&self) -> String {
        let how = match (self.physical_only, self.extended_logical_checks) {
            (true, _) => ", PHYSICAL_ONLY",
            (_, true) => ", EXTENDED_LOGICAL_CHECKS",
            _ => "",
        };
        format!(
            "DBCC CHECKDB ({}) WITH NO_INFOMSGS, ALL_ERRORMSGS, TABLERESULTS{how}",
            self.database.quoted()
        )
    }

    /// Runs it. A server that answers with an error and no rows is understood as well.
    ///
    /// # Errors
    /// What the server says that is no finding.
    pub(super) async fn run(&self, server: &SqlServerConnection) -> Result<Checked, StepError> {
        let doing = format!("checking database {}", self.database);
        let mut findings = Vec::new();
        match server.session().ask_long(&doing, &self.statement()).await {
            Ok(answer) => {
                for row in answer.rows() {
                    findings.extend(Damage::of(row)?.filter(|_| findings.len() < KEPT));
                }
            }
            Err(error) => findings.push(as_finding(error)?),
        }
        Ok(Checked { database: self.database.to_string(), ok: findings.is_empty(), findings })
    }
}

/// The numbers of CHECKDB's own errors.
const FOUND: &[std::ops::RangeInclusive<i64>] = &[2511..=2579, 5228..=5229, 7984..=7999, 8900..=8999];

/// An error that tells of damage.
fn as_finding(error: StepError) -> Result<Damage, StepError> {
    let number = error.code.strip_prefix("sqlserver.").and_then(|number| number.parse().ok());
    let number = number.filter(|number: &i64| FOUND.iter().any(|range| range.contains(number)));
    let Some(number) = number else { return Err(error) };
    let (object_id, index_id, file, page, repair) = (None, None, None, None, None);
    Ok(Damage { number, message: error.message, object_id, index_id, file, page, repair })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_check_are_findings_and_others_are_not() {
        let found =
            as_finding(StepError::new("sqlserver.8928", "Page (1:55) could not be processed.")).unwrap();
        assert_eq!(found.words(), "error 8928: Page (1:55) could not be processed");
        let page = Damage { file: Some(1), page: Some(55), ..found };
        assert!(page.words().starts_with("error 8928 on page (1:55): "));
        for code in ["sqlserver.911", "sqlserver.lost", "sqlserver.916"] {
            assert_eq!(as_finding(StepError::new(code, "x")).unwrap_err().code, code);
        }
    }
}
