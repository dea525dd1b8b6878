//! The pages of the codes that are words, `http.status`: [`Page`]. Their texts are those of `docs/codes`; codes of the form `DD203` have
//! theirs in the plan room.

/// Codes that a server gives itself, `sqlserver.3201` and `postgres.42P01`: many share a page.
struct Family {
    /// The page.
    page: &'static str,
    /// What its codes begin with.
    prefix: &'static str,
    /// The head of its table's first column.
    column: &'static str,
    /// Whether the rest of a code is one, in lower case.
    is_one: fn(&str) -> bool,
}

const FAMILIES: [Family; 2] = [
    Family {
        page: "sqlserver.number",
        prefix: "sqlserver.",
        column: "number",
        is_one: |rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()),
    },
    Family {
        page: "postgres.sqlstate",
        prefix: "postgres.",
        column: "state",
        // A word of five letters would be one as well; every SQLSTATE that a server gives has a digit.
        is_one: |rest| {
            rest.len() == 5
                && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
                && rest.bytes().any(|byte| byte.is_ascii_digit())
        },
    },
];

/// Whether a page is that of a family.
fn is_family(page: &str) -> bool {
    FAMILIES.iter().any(|family| family.page == page)
}

macro_rules! pages {
    ($($code:literal,)*) => {
        /// Every page, by its code.
        static PAGES: &[(&str, &str)] =
            &[$(($code, include_str!(concat!("../../docs/codes/", $code, ".md"))),)*];
    };
}

pages![
    "adopt.application",
    "adopt.closed",
    "adopt.login",
    "adopt.orphan",
    "adopt.rights",
    "adopt.state",
    "artifact.absent",
    "artifact.changed",
    "artifact.damaged",
    "artifact.denied",
    "artifact.encrypted",
    "artifact.exists",
    "artifact.form",
    "artifact.io",
    "artifact.large",
    "artifact.locked",
    "artifact.path",
    "artifact.unlocked",
    "artifact.unseen",
    "backup.base",
    "backup.closed",
    "backup.exists",
    "backup.gap",
    "backup.key",
    "backup.owners",
    "backup.replica",
    "backup.unrecorded",
    "backup.version",
    "cancel",
    "cancelled",
    "certificate.exists",
    "certificate.unseen",
    "dry-run",
    "ef.database",
    "ef.down",
    "ef.exit",
    "ef.file",
    "ef.list",
    "ef.migration",
    "ef.newer",
    "ef.pending",
    "ef.point",
    "ef.script",
    "ef.tables",
    "flow.fail",
    "foreach.key",
    "foreach.list",
    "history.large",
    "http.assert",
    "http.connect",
    "http.file",
    "http.large",
    "http.lost",
    "http.request",
    "http.status",
    "http.wait",
    "input",
    "internal",
    "journal",
    "locked",
    "mark.incomplete",
    "mark.lost",
    "mark.table",
    "objective.missed",
    "objects.by_hand",
    "objects.different",
    "objects.failed",
    "objects.hidden",
    "objects.rights",
    "objects.script",
    "open.state",
    "output.large",
    "panic",
    "plan.changed",
    "plan.circle",
    "plan.run",
    "plan.unconfirmed",
    "point.ambiguous",
    "point.derived",
    "point.erasures",
    "point.missing",
    "point.none",
    "point.opened",
    "point.orphans",
    "point.prune",
    "point.query",
    "point.sealed",
    "point.stale",
    "point.truth",
    "point.unproved",
    "point.unusable",
    "point.unverified",
    "postgres.answer",
    "postgres.archive",
    "postgres.base",
    "postgres.base_record",
    "postgres.chain",
    "postgres.collation",
    "postgres.connect",
    "postgres.counts",
    "postgres.damaged",
    "postgres.dump",
    "postgres.dump_entry",
    "postgres.dump_unfinished",
    "postgres.exists",
    "postgres.extension",
    "postgres.globals",
    "postgres.in_use",
    "postgres.incremental",
    "postgres.index",
    "postgres.lost",
    "postgres.not_archived",
    "postgres.occupied",
    "postgres.program",
    "postgres.programs",
    "postgres.recall",
    "postgres.recovery",
    "postgres.sample",
    "postgres.space",
    "postgres.sqlstate",
    "postgres.table",
    "postgres.tablespaces",
    "postgres.tls",
    "postgres.unavailable",
    "postgres.unpack",
    "postgres.version",
    "postgres.wal",
    "postgres.wal_busy",
    "postgres.wal_damaged",
    "postgres.wal_differs",
    "postgres.wal_foreign",
    "postgres.wal_gap",
    "postgres.wal_late",
    "postgres.wal_spool",
    "probe.timeout",
    "process.exit",
    "process.json",
    "process.output",
    "process.reaper",
    "process.signal",
    "process.start",
    "process.wait",
    "qdrant.absent",
    "qdrant.alias",
    "qdrant.answer",
    "qdrant.archive",
    "qdrant.broken",
    "qdrant.busy",
    "qdrant.changed",
    "qdrant.checksum",
    "qdrant.cluster",
    "qdrant.compat",
    "qdrant.connect",
    "qdrant.count",
    "qdrant.incomplete",
    "qdrant.key",
    "qdrant.lost",
    "qdrant.moving",
    "qdrant.name",
    "qdrant.nodes",
    "qdrant.optimizer",
    "qdrant.overwrites",
    "qdrant.recall",
    "qdrant.refused",
    "qdrant.replicas",
    "qdrant.sample",
    "qdrant.serve",
    "qdrant.server",
    "qdrant.sharding",
    "qdrant.small",
    "qdrant.swap",
    "qdrant.topology",
    "qdrant.unexpected",
    "qdrant.version",
    "qdrant.written",
    "query.money",
    "query.parameter",
    "query.rows",
    "query.writes",
    "restore.beside",
    "restore.beyond",
    "restore.chain",
    "restore.edition",
    "restore.exists",
    "restore.folder",
    "restore.group",
    "restore.mark",
    "restore.mark_row",
    "restore.metadata",
    "restore.other_set",
    "restore.position",
    "restore.replicated",
    "restore.snapshots",
    "restore.state",
    "restore.unclear",
    "restore.zone",
    "saved.differs",
    "saved.form",
    "saved.old",
    "saved.unprobed",
    "saved.used",
    "script.empty",
    "script.file",
    "script.sqlcmd",
    "script.table",
    "script.transaction",
    "secret",
    "sqlserver.answer",
    "sqlserver.connect",
    "sqlserver.lost",
    "sqlserver.marks",
    "sqlserver.number",
    "sqlserver.path",
    "sqlserver.unseen",
    "target.settings",
    "target.unbound",
    "timeout",
    "unknown",
    "validation",
    "verify.damaged",
    "verify.differs",
    "verify.unusable",
];

/// What a page says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    /// The code that was asked for.
    pub(crate) code: String,
    /// What it is, in a few words.
    pub(crate) title: String,
    /// What happened, and what the run does about it.
    pub(crate) what: String,
    /// What to do.
    pub(crate) remedy: String,
}

impl Page {
    /// The page of a code that is words, or one that a server gives itself.
    pub(crate) fn of(code: &str) -> Option<Self> {
        let code = code.to_ascii_lowercase();
        let own = PAGES.iter().find(|(name, _)| *name == code && !is_family(name));
        own.and_then(|(_, text)| Self::read(&code, text)).or_else(|| Self::of_family(&code))
    }

    /// All codes with a page of their own.
    pub(crate) fn codes() -> impl Iterator<Item = &'static str> {
        PAGES.iter().map(|(code, _)| *code).filter(|code| !is_family(code))
    }

    /// `# code: title`, what happened, `What to do: …`.
    fn read(code: &str, text: &str) -> Option<Self> {
        let (head, rest) = text.split_once("\n\n")?;
        let (_, title) = head.split_once(": ")?;
        let (what, remedy) = rest.rsplit_once("What to do: ")?;
        Some(Self {
            code: code.to_owned(),
            title: title.to_owned(),
            what: what.trim_end().to_owned(),
            remedy: remedy.trim_end().trim_end_matches('.').to_owned(),
        })
    }

    /// The page of a code that a server gives, with what the family's table says of it.
    fn of_family(code: &str) -> Option<Self> {
        let (family, own) = FAMILIES.iter().find_map(|family| {
            let own = code.strip_prefix(family.prefix)?;
            (family.is_one)(own).then_some((family, own))
        })?;
        let (_, text) = PAGES.iter().find(|(name, _)| *name == family.page)?;
        // As the server writes it, however it was asked for.
        let page = Self::read(&format!("{}{}", family.prefix, own.to_uppercase()), text)?;
        let (prose, table) = page.what.split_once(&format!("\n| {} |", family.column))?;
        let row = table.lines().find_map(|line| {
            let mut cells = line.trim_matches('|').split(" | ").map(str::trim);
            let (listed, class, remedy) = (cells.next()?, cells.next()?, cells.next()?);
            let is_listed = listed.split(", ").any(|one| one.eq_ignore_ascii_case(own));
            is_listed.then(|| (class.to_owned(), remedy.to_owned()))
        });
        let classes = prose.lines().filter_map(|line| line.strip_prefix("- **")?.split_once("**: "));
        Some(match row {
            None => Self { what: prose.trim_end().to_owned(), ..page },
            Some((class, remedy)) => {
                let means =
                    classes.into_iter().find(|(name, _)| *name == class).map_or("", |(_, means)| means);
                let first = prose.lines().next().unwrap_or_default();
                Self { what: format!("{first}\n\nIts class is **{class}**: {means}"), remedy, ..page }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_says_what_happened_and_what_to_do() {
        for (code, text) in PAGES {
            let page = Page::read(code, text).unwrap_or_else(|| panic!("{code} has another form"));
            assert!(!page.what.is_empty() && page.remedy.len() > 5, "{code}");
            let family = FAMILIES.iter().find(|family| family.page == *code);
            let named = family
                .map(|family| format!("{}{}", family.prefix, code[family.prefix.len()..].to_uppercase()));
            let head = format!("# {}: ", named.as_deref().unwrap_or(code));
            assert!(text.starts_with(&head), "{code} is headed otherwise");
        }
    }

    #[test]
    fn a_number_of_the_server_finds_its_row() {
        let page = Page::of("sqlserver.4312").unwrap();
        assert_eq!(page.title, "error of the server");
        assert!(page.what.contains("Its class is **replan**: these backups do not follow"), "{page:?}");
        assert_eq!(page.remedy, "a log backup is missing between these; `drydock chain` names the gap");
        let other = Page::of("sqlserver.50000").unwrap();
        assert!(other.what.contains("- **wait**") && !other.what.contains('|'), "{other:?}");
        let state = Page::of("postgres.53300").unwrap();
        assert!(state.what.contains("Its class is **wait**") && state.remedy.contains("`max_connections`"));
        let known = Page::of("postgres.42p01").unwrap();
        assert!(known.code == "postgres.42P01" && known.remedy.contains("`search_path`"), "{known:?}");
        assert_eq!(Page::of("postgres.23505").unwrap().title, "error of the server");
        for none in
            ["postgres.", "postgres.words", "sqlserver.", "sqlserver.12x", "sqlserver.number", "http.12"]
        {
            assert_eq!(Page::of(none), None, "{none}");
        }
    }
}
