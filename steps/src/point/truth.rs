//! What the truth says that there is: [`Truth`], the agents and their documents, asked for by two queries.

use std::collections::{BTreeMap, HashMap};

use drydock_step::target::{RowSet, Rows};
use drydock_step::{Connection, StepError};
use serde_json::{Map, Value};

/// The documents of an agent: id and version. The version is `None` where the query has none.
pub(super) type Documents = HashMap<String, Option<String>>;

/// The agents by id, with their documents.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Truth {
    pub(super) agents: BTreeMap<String, Documents>,
    /// How many documents belong to an agent that is there.
    pub(super) documents: u64,
}

/// What the truth is asked.
pub(super) struct Queries<'a> {
    pub(super) database: Option<&'a str>,
    pub(super) agents: &'a str,
    pub(super) documents: &'a str,
}

impl Truth {
    /// What the truth answers to these queries.
    ///
    /// # Errors
    /// What the server says; `point.query` when an answer has not the columns that are needed.
    pub(super) async fn asked(server: &dyn Connection, queries: &Queries<'_>) -> Result<Self, StepError> {
        let rows = server
            .rows()
            .ok_or_else(|| StepError::new("point.truth", "the target of `truth` does not answer queries"))?;
        let agents = answer(rows, queries, queries.agents).await?;
        let documents = answer(rows, queries, queries.documents).await?;
        Self::of(&agents, &documents)
    }

    fn of(agents: &RowSet, documents: &RowSet) -> Result<Self, StepError> {
        let mut truth = Self::default();
        let id = column("agents", agents, "Id")?;
        for row in &agents.rows {
            truth.agents.insert(cell("agents", row, id)?, Documents::new());
        }
        let id = column("documents", documents, "Id")?;
        let agent = column("documents", documents, "AgentId")?;
        let version = column("documents", documents, "Version").ok();
        for row in &documents.rows {
            // A document of no agent is the truth's own trouble: its vectors have no agent and show up there.
            if let Some(of_agent) = truth.agents.get_mut(&cell("documents", row, agent)?) {
                let version = version.map(|name| cell("documents", row, name)).transpose()?;
                of_agent.insert(cell("documents", row, id)?, version);
                truth.documents += 1;
            }
        }
        Ok(truth)
    }
}

async fn answer(rows: &dyn Rows, queries: &Queries<'_>, sql: &str) -> Result<RowSet, StepError> {
    rows.rows(queries.database, sql).await
}

/// The column's name as the answer spells it; servers differ in case.
fn column<'a>(input: &str, answer: &'a RowSet, wanted: &str) -> Result<&'a str, StepError> {
    let found = answer.columns.iter().find(|name| name.eq_ignore_ascii_case(wanted));
    found.map(String::as_str).ok_or_else(|| {
        let columns = answer.columns.join(", ");
        StepError::new(
            "point.query",
            format!("the query of `{input}` gives no column {wanted}; its columns are {columns}"),
        )
        .help(format!("name it in the query: SELECT … AS {wanted}"))
    })
}

fn cell(input: &str, row: &Map<String, Value>, column: &str) -> Result<String, StepError> {
    let value = row.get(column).unwrap_or(&Value::Null);
    id_text(value).ok_or_else(|| {
        StepError::new("point.query", format!("the query of `{input}` gives a row whose {column} is {value}"))
            .help("ids and versions are texts or numbers, never null")
    })
}

/// An id or a version as text, so that a number and its digits are the same, and a UUID in any case of letters. `None` for what can be
/// neither.
pub(super) fn id_text(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(folded(text)),
        _ => None,
    }
}

/// A UUID in lower case; other texts as they are.
pub(super) fn folded(text: &str) -> String {
    let is_uuid = text.len() == 36 && uuid::Uuid::try_parse(text).is_ok();
    if is_uuid { text.to_ascii_lowercase() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rows(columns: &[&str], rows: Value) -> RowSet {
        let rows = serde_json::from_value(rows).unwrap();
        RowSet { columns: columns.iter().map(|name| (*name).to_owned()).collect(), rows }
    }

    #[test]
    fn ids_compare_as_the_stores_spell_them() {
        let upper = "7F3A8B2C-0000-4000-8000-0000000000AB";
        let agents = rows(&["id"], json!([{"id": upper}, {"id": 7}]));
        let documents = rows(
            &["Id", "AgentId", "Version"],
            json!([{"Id": 1, "AgentId": upper.to_lowercase(), "Version": 3}, {"Id": 2, "AgentId": "gone", "Version": 1}]),
        );
        let truth = Truth::of(&agents, &documents).unwrap();
        assert_eq!(truth.documents, 1);
        assert_eq!(truth.agents[&upper.to_lowercase()]["1"], Some("3".to_owned()));
        assert!(truth.agents["7"].is_empty());
    }

    #[test]
    fn an_answer_without_what_is_needed_is_refused_in_words() {
        let agents = rows(&["Id"], json!([{"Id": 1}]));
        let check = |agents: &RowSet, documents: &RowSet, words: &str| {
            let error = Truth::of(agents, documents).unwrap_err();
            assert_eq!((error.code.as_str(), error.message.as_str()), ("point.query", words));
        };
        check(
            &rows(&["Name"], json!([])),
            &agents,
            "the query of `agents` gives no column Id; its columns are Name",
        );
        check(&agents, &agents, "the query of `documents` gives no column AgentId; its columns are Id");
        check(
            &rows(&["Id"], json!([{"Id": null}])),
            &agents,
            "the query of `agents` gives a row whose Id is null",
        );
    }

    #[test]
    fn a_query_without_versions_compares_none() {
        let agents = rows(&["Id"], json!([{"Id": 1}]));
        let documents = rows(&["Id", "AgentId"], json!([{"Id": "d", "AgentId": 1}]));
        assert_eq!(Truth::of(&agents, &documents).unwrap().agents["1"]["d"], None);
    }
}
