//! The reference of the language's keywords, made from the key tables: [`keywords`].

use crate::syntax::keys::{Key, TABLES, Table};

/// The stages at which each key has a test, as the tests are named.
pub const STAGES: [&str; 4] = ["check", "dry_run", "run", "resume"];

/// A page in Markdown: for each mapping of the language a table of its keys, and one of the tests that hold them.
pub fn keywords() -> String {
    let mut page = "# Keywords\n\nEvery key of the plan language, by the mapping in which it stands, with the tests that hold it. \
                    This page is made from the tables that `check` reads. `cargo test -p drydock --test runs keywords::step::when` \
                    runs the tests of one key.\n"
        .to_owned();
    for table in TABLES {
        page.push_str(&format!("\n## {}\n\n{}.\n\n", capital(table.what), capital(table.doc)));
        page.push_str("| key | meaning | value | example |\n|---|---|---|---|\n");
        table.keys.iter().for_each(|key| page.push_str(&row(key)));
        page.push_str(&format!(
            "\n| key | {} |\n|---|---|---|---|---|\n",
            STAGES.join(" | ").replace('_', " ")
        ));
        table.keys.iter().for_each(|key| page.push_str(&tests(table, key)));
    }
    page
}

fn row(key: &Key) -> String {
    let name = format!("`{}`{}", key.name, if key.required { " (required)" } else { "" });
    let doc = match key.deprecated {
        Some(instead) => format!("Deprecated: {instead}. {}", key.doc),
        None => key.doc.to_owned(),
    };
    let cells = [name, doc, key.wanted.words(), format!("`{}`", key.example)];
    format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))
}

fn tests(table: &Table, key: &Key) -> String {
    let cells = STAGES.map(|stage| format!("`{}`", test_of(table, key, stage)));
    format!("| `{}` | {} |\n", key.name, cells.join(" | "))
}

/// The name of the test of a key at a stage. Words that Rust keeps for itself have a `_` behind them there.
pub fn test_of(table: &Table, key: &Key, stage: &str) -> String {
    let behind = if ["type", "enum"].contains(&key.name) { "_" } else { "" };
    format!("keywords::{}::{}{behind}::{stage}", table.name, key.name)
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::keys::Wanted;

    #[test]
    fn what_is_deprecated_says_so_first() {
        let key = Key {
            name: "after",
            doc: "What comes before.",
            wanted: Wanted::Names,
            example: "after: [one]",
            required: false,
            deprecated: Some("write `needs`"),
        };
        assert_eq!(
            row(&key),
            "| `after` | Deprecated: write `needs`. What comes before. | a list of names | `after: [one]` |\n"
        );
    }
}
