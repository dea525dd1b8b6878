//! The reference of the language's keywords, made from the key tables: [`keywords`].

use crate::syntax::keys::{Key, TABLES};

/// A page in Markdown: a table of keys for each mapping of the language.
pub fn keywords() -> String {
    let mut page = "# Keywords\n\nEvery key of the plan language, by the mapping in which it stands. \
                    This page is made from the tables that `check` reads.\n"
        .to_owned();
    for table in TABLES {
        page.push_str(&format!("\n## {}\n\n{}.\n\n", capital(table.what), capital(table.doc)));
        page.push_str("| key | meaning | value | example |\n|---|---|---|---|\n");
        table.keys.iter().for_each(|key| page.push_str(&row(key)));
    }
    page
}

fn row(key: &Key) -> String {
    let name = format!("`{}`{}", key.name, if key.required { " (required)" } else { "" });
    let cells = [name, key.doc.to_owned(), key.wanted.words(), format!("`{}`", key.example)];
    format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}
