//! What must not come back, whatever is restored: [`Erasures`], read from a file of ids and re-applied to truth and vectors.

use std::collections::BTreeSet;
use std::path::Path;

use drydock_step::{Connection, StepError};
use serde::Deserialize;

use super::truth::{Truth, folded};

/// The longest such file: a million ids.
const LIMIT: u64 = 64 << 20;

/// Ids that one script names.
const BATCH: usize = 500;

/// The agents and documents that must not come back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Erasures {
    pub(super) agents: BTreeSet<String>,
    pub(super) documents: BTreeSet<String>,
}

/// The statements that erase one agent or one document in the truth; `{id}` stands for its id as a literal.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erasing {
    pub(super) agent: Vec<String>,
    pub(super) document: Vec<String>,
}

impl Erasures {
    /// Those of a file: a line each, `agent ID` or `document ID`; what follows a `#` is a remark.
    ///
    /// # Errors
    /// `point.erasures`, with the line.
    pub(super) async fn read(path: &Path) -> Result<Self, StepError> {
        let refused = |why: String| {
            StepError::new("point.erasures", format!("the erasures of {}: {why}", path.display()))
                .help("a line is `agent ID` or `document ID`; what follows a `#` is a remark")
        };
        let length = tokio::fs::metadata(path).await.map_err(|error| refused(error.to_string()))?.len();
        if length > LIMIT {
            return Err(refused(format!("it is {length} bytes long, and at most {LIMIT} are read")));
        }
        let text = tokio::fs::read_to_string(path).await.map_err(|error| refused(error.to_string()))?;
        Self::parse(&text).map_err(refused)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut erasures = Self::default();
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["agent", id] => erasures.agents.insert(folded(id)),
                ["document", id] => erasures.documents.insert(folded(id)),
                _ => return Err(format!("line {} is `{line}`", number + 1)),
            };
        }
        Ok(erasures)
    }

    /// Whether nothing must be erased.
    pub(super) fn is_empty(&self) -> bool {
        self.agents.is_empty() && self.documents.is_empty()
    }

    /// Those of them that the truth has.
    pub(super) fn in_truth(&self, truth: &Truth) -> Self {
        let of_agents = || truth.agents.values().flat_map(|documents| documents.keys());
        Self {
            agents: self.agents.iter().filter(|id| truth.agents.contains_key(*id)).cloned().collect(),
            documents: of_agents().filter(|id| self.documents.contains(*id)).cloned().collect(),
        }
    }

    /// Erases them in the truth: documents before agents.
    ///
    /// # Errors
    /// What the server says; `point.truth` when it runs no scripts.
    pub(super) async fn applied(
        &self,
        server: &dyn Connection,
        database: &str,
        erasing: &Erasing,
    ) -> Result<(), StepError> {
        let script = server
            .script()
            .ok_or_else(|| StepError::new("point.truth", "the target of `truth` runs no scripts"))?;
        for (ids, statements) in [(&self.documents, &erasing.document), (&self.agents, &erasing.agent)] {
            let all: Vec<&String> = ids.iter().collect();
            for batch in all.chunks(BATCH) {
                let mut text = Vec::new();
                for id in batch {
                    text.extend(statements.iter().map(|one| filled(one, id)));
                }
                script.run_script(database, &text.join(";\n")).await?;
            }
        }
        Ok(())
    }
}

/// A statement about one id.
fn filled(statement: &str, id: &str) -> String {
    statement.replace("{id}", &format!("N'{}'", id.replace('\'', "''")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_an_agent_or_a_document() {
        let text =
            "# asked for in May\n\nagent 7f3a  # closed\n document 5C56C793-69F3-4FBF-87E6-C4BF54C28C26\n";
        let read = Erasures::parse(text).unwrap();
        assert_eq!(read.agents, BTreeSet::from(["7f3a".to_owned()]));
        assert_eq!(read.documents, BTreeSet::from(["5c56c793-69f3-4fbf-87e6-c4bf54c28c26".to_owned()]));
        assert_eq!(Erasures::parse("agent a\nagent\n"), Err("line 2 is `agent`".to_owned()));
        assert_eq!(Erasures::parse("user a"), Err("line 1 is `user a`".to_owned()));
        assert_eq!(Erasures::parse("agent a b"), Err("line 1 is `agent a b`".to_owned()));
    }

    #[test]
    fn an_id_cannot_leave_its_quotes() {
        assert_eq!(filled("DELETE FROM t WHERE Id = {id}", "a'; --"), "DELETE FROM t WHERE Id = N'a''; --'");
    }
}
