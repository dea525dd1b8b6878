//! Which tables a plan means: [`TablePattern`].

use drydock_step::StepError;
use serde::{Deserialize, Deserializer};

use super::sql::{named, quoted};

/// The tables of a database that rows are counted of, each by its schema and its name. Partitions are counted with what they are part of.
pub(super) const TABLES: &str = "SELECT n.nspname AS schema, c.relname AS name FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition AND n.nspname NOT IN ('pg_catalog', 'information_schema') \
    AND n.nspname NOT LIKE 'pg\\_%'";

/// A table or several: `vectors`, `agents.*`, `agent_*.vectors`. Without a schema it stands for the tables of that name in every schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablePattern {
    schema: String,
    name: String,
}

impl TablePattern {
    /// The pattern that this text is.
    ///
    /// # Errors
    /// `input`, when a part is empty.
    fn parse(text: &str) -> Result<Self, StepError> {
        let (schema, name) = text.split_once('.').unwrap_or(("*", text));
        if schema.is_empty() || name.is_empty() || text.contains('\0') {
            let message = format!(
                "`{text}` names no table: it is `table` or `schema.table`, with `*` for any characters"
            );
            return Err(StepError::new("input", message));
        }
        Ok(Self { schema: schema.to_owned(), name: name.to_owned() })
    }

    /// As a condition on [`TABLES`].
    pub(super) fn condition(&self) -> String {
        let like = |column: &str, pattern: &str| match pattern {
            "*" => "true".to_owned(),
            exact if !exact.contains('*') => format!("{column} = {}", quoted(exact)),
            pattern => {
                let escaped = pattern.replace('!', "!!").replace('%', "!%").replace('_', "!_");
                format!("{column} LIKE {} ESCAPE '!'", quoted(&escaped.replace('*', "%")))
            }
        };
        format!("({} AND {})", like("n.nspname", &self.schema), like("c.relname", &self.name))
    }

    /// Whether it stands for tables that need not be there.
    pub(super) fn is_open(&self) -> bool {
        self.name.contains('*')
    }
}

impl std::fmt::Display for TablePattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.schema == "*" { f.write_str(&self.name) } else { write!(f, "{}.{}", self.schema, self.name) }
    }
}

impl<'de> Deserialize<'de> for TablePattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(|error| serde::de::Error::custom(error.message))
    }
}

/// A table's name in a statement.
pub(super) fn table(schema: &str, name: &str) -> String {
    format!("{}.{}", named(schema), named(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_condition_and_nothing_leaves_it() {
        for (text, expected) in [
            ("vectors", "(true AND c.relname = 'vectors')"),
            ("public.it's", "(n.nspname = 'public' AND c.relname = 'it''s')"),
            ("agent_*.*", "(n.nspname LIKE 'agent!_%' ESCAPE '!' AND true)"),
            ("*", "(true AND true)"),
            ("a%!*", "(true AND c.relname LIKE 'a!%!!%' ESCAPE '!')"),
        ] {
            assert_eq!(TablePattern::parse(text).unwrap().condition(), expected, "{text}");
        }
        assert_eq!(TablePattern::parse("a.b").unwrap().to_string(), "a.b");
        for none in ["", ".t", "s."] {
            assert!(TablePattern::parse(none).unwrap_err().message.contains("names no table"), "{none}");
        }
    }
}
