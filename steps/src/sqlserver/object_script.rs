//! Objects of a server as a script that makes them again: [`Item`], one object or one setting, and [`ObjectScript`], all of them in one
//! file. What makes an object is always the same text, so that two servers are compared by their scripts.

use drydock_step::StepError;
use serde::{Deserialize, Serialize};

use super::batches::batches;

/// The first line of a file, up to its version.
const FIRST_LINE: &str = "-- drydock server objects, version ";

/// The version that is written; a file of a higher one is refused.
const VERSION: u32 = 1;

/// What begins the line above each batch.
const HEAD: &str = "-- object: ";

/// What begins the line above what cannot be made without somebody's help.
const BY_HAND: &str = "-- by hand: ";

/// What begins a line about something that the script leaves out.
const LEFT_OUT: &str = "-- not in this script: ";

/// A part of what a server has beside its databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Logins with their SIDs and hashed passwords, and the databases that they begin in.
    Logins,
    /// Roles of the server and who is in them.
    Roles,
    /// Permissions on the server, its logins and its endpoints.
    Permissions,
    /// Credentials, whose secrets no server tells.
    Credentials,
    /// Linked servers and their logins.
    LinkedServers,
    /// Whom SQL Server Agent tells.
    Operators,
    /// Jobs of SQL Server Agent.
    Jobs,
    /// Values of `sp_configure`.
    Configuration,
    /// Endpoints for mirroring, Service Broker and T-SQL.
    Endpoints,
}

/// The parts in the order in which they are made: what one needs stands before it.
pub(super) const PARTS: [Part; 9] = [
    Part::Logins,
    Part::Roles,
    Part::Credentials,
    Part::LinkedServers,
    Part::Operators,
    Part::Jobs,
    Part::Endpoints,
    Part::Permissions,
    Part::Configuration,
];

impl Part {
    /// As plans and scripts write it.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Logins => "logins",
            Self::Roles => "roles",
            Self::Permissions => "permissions",
            Self::Credentials => "credentials",
            Self::LinkedServers => "linked_servers",
            Self::Operators => "operators",
            Self::Jobs => "jobs",
            Self::Configuration => "configuration",
            Self::Endpoints => "endpoints",
        }
    }
}

/// Which object or setting.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Key {
    /// Of which part.
    pub(super) part: Part,
    /// What of it: `login`, `member`, `job`.
    pub(super) what: String,
    /// Its name. A setting's has its value, so that another value is another setting.
    pub(super) name: String,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.what, self.name)
    }
}

/// One object or setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    /// Which.
    pub(super) key: Key,
    /// One batch that makes it where it is not.
    pub(super) batch: String,
    /// Why the batch cannot be run as it stands: it then says what somebody has to fill in.
    pub(super) by_hand: Option<String>,
}

impl Item {
    /// One that a batch makes.
    pub(super) fn new(part: Part, what: &str, name: impl Into<String>, batch: String) -> Self {
        Self { key: Key { part, what: what.to_owned(), name: name.into() }, batch, by_hand: None }
    }

    /// The batch without what nobody should read over somebody's shoulder: hashes of passwords and connection strings.
    pub(super) fn shown(&self) -> String {
        if self.batch.contains("@provstr = ") {
            return format!("make {}, with a connection string that is not shown", self.key);
        }
        match self.batch.split_once(" WITH PASSWORD = 0x") {
            None => self.batch.clone(),
            Some((before, after)) => {
                let after = after.split_once(' ').map_or("", |(_, after)| after);
                format!("{before} WITH PASSWORD = *** {after}")
            }
        }
    }

    /// One that wants something that no server tells.
    pub(super) fn by_hand(part: Part, what: &str, name: impl Into<String>, batch: String, why: &str) -> Self {
        Self { by_hand: Some(why.to_owned()), ..Self::new(part, what, name, batch) }
    }
}

/// Something of a server that no script of ours makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct LeftOut {
    /// What: `alerts`, `server audits`.
    pub(super) what: String,
    /// How many.
    pub(super) count: i64,
}

/// Everything that makes a server's objects again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ObjectScript {
    /// In the order in which they are made.
    pub(super) items: Vec<Item>,
    /// What the server has beside them.
    pub(super) left_out: Vec<LeftOut>,
}

/// A text that stays on its line, in quotes.
fn one_line(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl ObjectScript {
    /// The file: runnable with sqlcmd or in a query window as it stands.
    pub(super) fn text(&self, server: &str, version: &str, at: &str) -> String {
        let mut text = format!(
            "{FIRST_LINE}{VERSION}\n-- of {} ({version}), {at}\n\
             -- It holds hashes of passwords: whoever reads it can try to guess them. Keep it where secrets are kept.\n\
             -- Each batch makes one object, unless it is there. Jobs are made disabled; the batches that enable them stand at the end of theirs.\n",
            one_line(server)
        );
        for LeftOut { what, count } in &self.left_out {
            text.push_str(&format!("{LEFT_OUT}{count} {what}\n"));
        }
        text.push_str("USE [master]\nGO\n");
        for item in &self.items {
            let head = serde_json::json!(item.key).to_string();
            match &item.by_hand {
                None => text.push_str(&format!("{HEAD}{head}\n{}\nGO\n", item.batch)),
                Some(why) => {
                    let batch: Vec<String> = item.batch.lines().map(|line| format!("-- {line}")).collect();
                    let batch = batch.join("\n");
                    text.push_str(&format!("{BY_HAND}{head}\n-- {}\n{batch}\nGO\n", one_line(why)));
                }
            }
        }
        text
    }

    /// The script in a file.
    ///
    /// # Errors
    /// `objects.script`, when it is no such file, of a newer version, or changed so that a batch has lost its name.
    pub(super) fn parse(text: &str) -> Result<Self, StepError> {
        let refused = |why: String| StepError::new("objects.script", why);
        let text = text.trim_start_matches('\u{feff}');
        let first = text.lines().next().unwrap_or_default();
        let Some(version) = first.strip_prefix(FIRST_LINE) else {
            return Err(refused("the file is no script of server objects".into())
                .help("is it the path that `sqlserver.server_objects` gave in `artifact`?"));
        };
        if version.trim().parse::<u32>().ok().is_none_or(|version| version > VERSION) {
            return Err(refused(format!(
                "the script is of version {}, and this program reads up to {VERSION}",
                version.trim()
            ))
            .help("use the version of Drydock that wrote it, or a newer one"));
        }
        let mut items = Vec::new();
        for block in blocks(text) {
            let (head, by_hand) = match (block.strip_prefix(HEAD), block.strip_prefix(BY_HAND)) {
                (Some(head), _) => (head, false),
                (_, Some(head)) => (head, true),
                _ => continue,
            };
            let (head, body) = head.split_once('\n').unwrap_or((head, ""));
            let key: Key = serde_json::from_str(head.trim()).map_err(|error| {
                refused(format!("the line `{HEAD}{}` names no object: {error}", head.trim()))
                    .help("the lines that begin so belong to the batch below; restore the file from where it was kept")
            })?;
            items.push(if by_hand {
                hand(key, body)
            } else {
                Item { key, batch: body.trim().to_owned(), by_hand: None }
            });
        }
        let nothing = items.iter().find(|item| item.by_hand.is_none() && batches(&item.batch).len() != 1);
        match nothing {
            None => Ok(Self { items, left_out: text.lines().filter_map(left_out).collect() }),
            Some(item) => Err(refused(format!("below `{}` stands no single batch", item.key))
                .help("the file was changed; restore it from where it was kept")),
        }
    }
}

fn left_out(line: &str) -> Option<LeftOut> {
    let (count, what) = line.strip_prefix(LEFT_OUT)?.split_once(' ')?;
    Some(LeftOut { what: what.to_owned(), count: count.parse().ok()? })
}

/// What somebody has to make, from its comments.
fn hand(key: Key, body: &str) -> Item {
    let mut lines = body.lines().filter_map(|line| line.strip_prefix("-- "));
    let why = lines.next().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
    let batch: Vec<&str> = lines.collect();
    Item { key, batch: batch.join("\n"), by_hand: Some(why) }
}

/// The parts of a file between its GO lines. No batch of ours has a line's end within a text, so that GO separates wherever it stands alone.
fn blocks(text: &str) -> Vec<String> {
    let mut blocks = vec![String::new()];
    for line in text.lines() {
        if line.trim() == "GO" {
            blocks.push(String::new());
        } else if let Some(block) = blocks.last_mut() {
            block.push_str(line);
            block.push('\n');
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script() -> ObjectScript {
        let login = Item::new(Part::Logins, "login", "a\nGO\n\"b", "IF 1 = 1\nCREATE LOGIN [x]".into());
        let why = "its secret is not told";
        let credential =
            Item::by_hand(Part::Credentials, "credential", "c", "CREATE CREDENTIAL [c]\nWITH x".into(), why);
        let left_out = vec![LeftOut { what: "alerts of SQL Server Agent".into(), count: 2 }];
        ObjectScript { items: vec![login, credential], left_out }
    }

    #[test]
    fn a_script_is_read_as_it_was_written() {
        let text = script().text("SQL01\nGO", "16.0.1", "2026-11-27T00:00:00Z");
        assert!(
            text.starts_with("-- drydock server objects, version 1\n-- of \"SQL01\\nGO\" (16.0.1), "),
            "{text}"
        );
        assert!(text.contains("\n-- not in this script: 2 alerts of SQL Server Agent\n"), "{text}");
        assert!(text.contains("\n-- CREATE CREDENTIAL [c]\n-- WITH x\nGO\n"), "{text}");
        assert_eq!(ObjectScript::parse(&text).unwrap(), script());
        assert_eq!(
            ObjectScript::parse(&text.replace('\n', "\r\n")).unwrap().items[0].key,
            script().items[0].key
        );
    }

    #[test]
    fn no_hash_and_no_connection_string_is_shown() {
        let item = |batch: &str| Item::new(Part::Logins, "login", "x", batch.into()).shown();
        assert_eq!(
            item("CREATE LOGIN [x] WITH PASSWORD = 0x0200ab HASHED, SID = 0x01"),
            "CREATE LOGIN [x] WITH PASSWORD = *** HASHED, SID = 0x01"
        );
        assert_eq!(
            item("EXEC p @provstr = N'PWD=x'"),
            "make login x, with a connection string that is not shown"
        );
        assert_eq!(item("CREATE SERVER ROLE [r]"), "CREATE SERVER ROLE [r]");
    }

    #[test]
    fn what_is_no_such_script_is_refused() {
        let text = script().text("s", "16", "t");
        for (text, words) in [
            ("SELECT 1".to_owned(), "no script of server objects"),
            (text.replace("version 1", "version 2"), "of version 2"),
            (text.replace("\"what\":\"login\"", "\"what\":1"), "names no object"),
            (text.replace("IF 1 = 1\nCREATE LOGIN [x]", ""), "no single batch"),
        ] {
            let error = ObjectScript::parse(&text).unwrap_err();
            assert!(error.code == "objects.script" && error.message.contains(words), "{error}");
        }
    }
}
