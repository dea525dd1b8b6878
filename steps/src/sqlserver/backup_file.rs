//! The names of a backup's files, made of a template: [`FileTemplate`]. No two attempts ever share a file: a backup that is appended to
//! another's file (NOINIT) is the second set in it, and a restore that does not ask for that gets the first, silently.

use chrono::{DateTime, Utc};
use drydock_step::StepError;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use sha2::Digest;

use super::backup_statement::BackupKind;
use super::paths::ServerPath;

/// The longest that the parts of a file's name may be.
const LONGEST_PARTS: (usize, usize) = (48, 80);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Database,
    Kind,
    Time,
    Run,
}

/// Names and what they stand for.
const PLACEHOLDERS: &[(&str, Part)] =
    &[("database", Part::Database), ("type", Part::Kind), ("time", Part::Time), ("run", Part::Run)];

/// A template such as `{database}_{type}_{time}_{run}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileTemplate {
    parts: Vec<Part>,
}

/// What a template is filled with; texts for a dry run, which does not know all of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filling<'a> {
    /// The database's name.
    pub(super) database: &'a str,
    /// What is taken.
    pub(super) kind: &'a str,
    /// The time, as it stands in the name.
    pub(super) time: &'a str,
    /// The attempt's id.
    pub(super) run: &'a str,
}

impl FileTemplate {
    /// The template of this text.
    ///
    /// # Errors
    /// In words: for a placeholder that is unknown, a character that no file's name has, or names that would not be distinct.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while !rest.is_empty() {
            let end = rest.find(['{', '}']).unwrap_or(rest.len());
            let (plain, tail) = rest.split_at(end);
            if let Some(bad) = plain.chars().find(|c| c.is_control() || "<>:\"/\\|?*".contains(*c)) {
                return Err(format!(
                    "{bad:?} cannot stand in a file's name on every system; `to` names the folder"
                ));
            }
            if !plain.is_empty() {
                parts.push(Part::Text(plain.to_owned()));
            }
            if tail.is_empty() {
                break;
            }
            let inner = tail.strip_prefix('{').and_then(|tail| tail.split_once('}'));
            let Some((name, after)) = inner else {
                return Err(format!(
                    "the brace at `{tail}` has no partner; placeholders are written `{{database}}`"
                ));
            };
            let known = PLACEHOLDERS.iter().find(|(known, _)| *known == name);
            let Some((_, part)) = known else {
                return Err(format!(
                    "there is no placeholder `{{{name}}}`; there are {{database}}, {{type}}, {{time}} and {{run}}"
                ));
            };
            parts.push(part.clone());
            rest = after;
        }
        let has = |part: &Part| parts.contains(part);
        let is_distinct = has(&Part::Run) || has(&Part::Time) && has(&Part::Database) && has(&Part::Kind);
        if !is_distinct {
            return Err("files of this name would not be distinct: a second backup would be written over the first or behind it in the same file, where a restore does not look; put {run} into it, or {time} with {database} and {type}".into());
        }
        Ok(Self { parts })
    }

    /// Whether each attempt has a name of its own, whatever is there already.
    pub(super) fn has_run(&self) -> bool {
        self.parts.contains(&Part::Run)
    }

    /// The files of a set striped over so many, without their folder.
    pub(super) fn names(&self, with: Filling<'_>, extension: &str, stripes: usize) -> Vec<String> {
        let (longest_database, longest_run) = LONGEST_PARTS;
        let (database, run) = (plain(with.database, longest_database), plain(with.run, longest_run));
        let mut stem: String = self
            .parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.as_str(),
                Part::Database => database.as_str(),
                Part::Kind => with.kind,
                Part::Time => with.time,
                Part::Run => run.as_str(),
            })
            .collect();
        let own_extension = [".bak", ".trn"].iter().find_map(|own| {
            let shorter = stem.len().checked_sub(own.len())?;
            stem.is_char_boundary(shorter)
                .then(|| stem.split_at(shorter))
                .filter(|(_, end)| end.eq_ignore_ascii_case(own))
        });
        let extension =
            own_extension.map_or(extension.to_owned(), |(_, end)| end.trim_start_matches('.').to_owned());
        if let Some((shorter, _)) = own_extension.map(|(stem, end)| (stem.to_owned(), end)) {
            stem = shorter;
        }
        if database != with.database || run != with.run.replace('/', "_") {
            stem.push_str(&digest(with.database, with.run));
        }
        match stripes {
            0 | 1 => vec![format!("{stem}.{extension}")],
            _ => (1..=stripes).map(|n| format!("{stem}_{n}of{stripes}.{extension}")).collect(),
        }
    }
}

/// A time as it stands in a file's name.
pub(super) fn stamp(at: DateTime<Utc>) -> String {
    at.format("%Y%m%dT%H%M%SZ").to_string()
}

/// What a file of this kind ends with.
pub(super) fn extension(kind: BackupKind) -> &'static str {
    if kind.is_log() { "trn" } else { "bak" }
}

/// What keeps names apart that lost something on the way into a file's name.
fn digest(database: &str, run: &str) -> String {
    let digest = sha2::Sha256::digest(format!("{database}\n{run}").as_bytes());
    digest.iter().take(4).fold("_".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// The text with `_` for each character that a file's name should not have.
fn plain(text: &str, longest: usize) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_') { c } else { '_' };
    text.chars().map(plain).take(longest).collect()
}

/// The error for a file that is there already.
pub(super) fn exists(path: &ServerPath) -> StepError {
    StepError::new("backup.exists", format!("the file {path} is there already"))
        .help("put {run} into `file`, so that every attempt has its own; or move the old file away")
}

impl<'de> Deserialize<'de> for FileTemplate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The template of a plan that says nothing.
    const DEFAULT: &str = "{database}_{type}_{time}_{run}";

    fn filling<'a>(database: &'a str, run: &'a str) -> Filling<'a> {
        Filling { database, kind: "log", time: "20260714T033320Z", run }
    }

    fn name(template: &str, database: &str, run: &str) -> String {
        FileTemplate::parse(template).unwrap().names(filling(database, run), "trn", 1).remove(0)
    }

    #[test]
    fn no_two_attempts_share_a_file() {
        assert_eq!(stamp(DateTime::from_timestamp(1_784_000_000, 0).unwrap()), "20260714T033320Z");
        assert_eq!(name(DEFAULT, "OctopusDB", "01J8/log/1"), "OctopusDB_log_20260714T033320Z_01J8_log_1.trn");
        let lossy = [
            name(DEFAULT, "a b", "r/log/1"),
            name(DEFAULT, "a_b", "r/log/1"),
            name(DEFAULT, "a:b", "r/log/1"),
            name(DEFAULT, "a_b", "r/log[x]/1"),
            name(DEFAULT, "a_b", "r/log[y]/1"),
            name(DEFAULT, "a_b", "r/log/2"),
            name(DEFAULT, &"x".repeat(100), "r/log/1"),
            name(DEFAULT, &"x".repeat(101), "r/log/1"),
            name(DEFAULT, "a_b", &format!("r/{}/1", "s".repeat(200))),
            name(DEFAULT, "a_b", &format!("r/{}/2", "s".repeat(200))),
        ];
        let mut distinct = lossy.to_vec();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), lossy.len(), "{lossy:?}");
        assert!(lossy.iter().all(|name| name.len() < 180 && name.is_ascii()), "{lossy:?}");
    }

    #[test]
    fn templates_give_names_and_stripes_are_numbered() {
        assert_eq!(name("nightly {run}.bak", "x", "r/full/1"), "nightly r_full_1.bak");
        assert_eq!(
            name("{run}.TRN", "it's <x>", "r/a/1"),
            format!("r_a_1{}.TRN", digest("it's <x>", "r/a/1"))
        );
        let striped = FileTemplate::parse("{run}").unwrap().names(filling("x", "r/a/1"), "bak", 3);
        assert_eq!(striped, ["r_a_1_1of3.bak", "r_a_1_2of3.bak", "r_a_1_3of3.bak"]);
    }

    #[test]
    fn a_template_that_cannot_work_says_why() {
        for (template, words) in [
            ("{database}_{type}", "a second backup would be written over the first or behind it"),
            ("{time}", "put {run} into it, or {time} with {database} and {type}"),
            ("octopus.bak", "would not be distinct"),
            ("{date}_{run}", "there is no placeholder `{date}`"),
            ("{run", "the brace at `{run` has no partner"),
            ("run}", "has no partner"),
            ("daily/{run}", "'/' cannot stand in a file's name"),
            ("a:{run}", "':' cannot stand"),
        ] {
            let error = FileTemplate::parse(template).unwrap_err();
            assert!(error.contains(words), "{template}: {error}");
        }
        assert!(FileTemplate::parse("{database}-{type}-{time}").is_ok());
    }
}
