//! What is left to do of indexes, keys and triggers where an earlier attempt has done some of it: [`Rest`]. What is there and whole is not
//! built again.

use std::collections::BTreeSet;
use std::path::Path;

use drydock_step::{ChildOutput, ChildSpec, Ctx, StepError};

use super::program_end::ended_badly;
use super::programs::Program;
use super::session::Session;
use super::sql::named;

/// The most bytes of a dump's table of contents.
const MOST: usize = 256 << 20;

/// What is there of that which comes after the rows, each as a table of contents calls it. An index of a table with partitions is not valid
/// before all of its parts are attached, which is done again.
const THERE: &str = "WITH own AS (SELECT n.oid, n.nspname FROM pg_namespace AS n WHERE n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%') \
    SELECT 'INDEX ' || n.nspname || ' ' || i.relname AS line, n.nspname AS schema, i.relname AS name, \
    i.relkind = 'i' AND NOT (x.indisvalid AND x.indisready AND x.indislive) AS is_broken \
    FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid JOIN own AS n ON n.oid = i.relnamespace \
    WHERE NOT EXISTS (SELECT FROM pg_constraint AS c WHERE c.conindid = i.oid AND c.contype IN ('p', 'u', 'x')) \
    UNION ALL SELECT CASE c.contype WHEN 'f' THEN 'FK CONSTRAINT ' WHEN 'c' THEN 'CHECK CONSTRAINT ' ELSE 'CONSTRAINT ' END \
    || n.nspname || ' ' || t.relname || ' ' || c.conname, n.nspname, c.conname, false \
    FROM pg_constraint AS c JOIN pg_class AS t ON t.oid = c.conrelid JOIN own AS n ON n.oid = t.relnamespace WHERE c.contype IN ('p', 'u', 'x', 'f', 'c') \
    UNION ALL SELECT 'TRIGGER ' || n.nspname || ' ' || t.relname || ' ' || g.tgname, n.nspname, g.tgname, false \
    FROM pg_trigger AS g JOIN pg_class AS t ON t.oid = g.tgrelid JOIN own AS n ON n.oid = t.relnamespace WHERE NOT g.tgisinternal \
    UNION ALL SELECT 'RULE ' || n.nspname || ' ' || t.relname || ' ' || r.rulename, n.nspname, r.rulename, false \
    FROM pg_rewrite AS r JOIN pg_class AS t ON t.oid = r.ev_class JOIN own AS n ON n.oid = t.relnamespace WHERE r.rulename <> '_RETURN' \
    UNION ALL SELECT 'POLICY ' || n.nspname || ' ' || t.relname || ' ' || p.polname, n.nspname, p.polname, false \
    FROM pg_policy AS p JOIN pg_class AS t ON t.oid = p.polrelid JOIN own AS n ON n.oid = t.relnamespace \
    UNION ALL SELECT 'STATISTICS ' || n.nspname || ' ' || s.stxname, n.nspname, s.stxname, false \
    FROM pg_statistic_ext AS s JOIN own AS n ON n.oid = s.stxnamespace \
    UNION ALL SELECT 'EVENT TRIGGER - ' || e.evtname, '-', e.evtname, false FROM pg_event_trigger AS e";

/// What may be done again: it changes nothing then.
const AGAIN: &[&str] = &[
    "INDEX ATTACH ",
    "COMMENT ",
    "ACL ",
    "DEFAULT ACL ",
    "SECURITY LABEL ",
    "ROW SECURITY ",
    "MATERIALIZED VIEW DATA ",
    "STATISTICS DATA ",
];

/// What is looked for.
const ONCE: &[&str] = &[
    "FK CONSTRAINT ",
    "CHECK CONSTRAINT ",
    "CONSTRAINT ",
    "INDEX ",
    "TRIGGER ",
    "RULE ",
    "POLICY ",
    "STATISTICS ",
    "EVENT TRIGGER ",
];

/// What is left to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rest {
    /// All of it, and what is there of it goes first: nobody can tell each thing from the others.
    All,
    /// These lines of the table of contents.
    Lines(String),
}

/// What is left to do in a database that an earlier attempt has worked on, after what is broken there was dropped.
///
/// # Errors
/// `postgres.program` when the table of contents cannot be read, or what the server says.
pub(super) async fn rest(
    ctx: &Ctx,
    session: &Session,
    program: &Program,
    place: &Path,
) -> Result<Rest, StepError> {
    let answer = session.ask("asking which indexes are there", THERE).await?;
    let mut there = BTreeSet::new();
    for row in answer.rows() {
        if row.flag("is_broken")? {
            let name = format!("{}.{}", named(row.known("schema")?), named(row.known("name")?));
            session.work("dropping a broken index", &format!("DROP INDEX {name}")).await?;
        } else {
            // A table of contents has one line for each thing.
            there.insert(row.known("line")?.replace(['\n', '\r'], " "));
        }
    }
    let spec = ChildSpec {
        argv: vec![
            program.path.clone(),
            "--list".into(),
            "--section=post-data".into(),
            place.display().to_string(),
        ],
        env: vec![("LC_ALL".into(), "C".into())],
        cwd: ctx.folder.to_path_buf(),
        stdin: Vec::new(),
        stdout: ChildOutput::Kept { limit: MOST },
    };
    let end = ctx.spawn(spec).await?;
    if end.code != Some(0) {
        return Err(ended_badly("pg_restore", &end).help("its words say why"));
    }
    let rest = left(&String::from_utf8_lossy(&end.stdout), &there);
    if let Rest::Lines(lines) = &rest {
        ctx.log(format!("going on with {} of what follows the rows", lines.lines().count()));
    }
    Ok(rest)
}

/// The lines of a table of contents whose things are not there. A line ends with the owner's name, which may have spaces in it as other names
/// may: where it cannot be told apart for sure, nothing is.
fn left(listing: &str, there: &BTreeSet<String>) -> Rest {
    let mut lines = String::new();
    for line in listing.lines().filter(|line| !line.starts_with(';') && !line.trim().is_empty()) {
        let Some(what) = said(line) else { return Rest::All };
        let is_again = AGAIN.iter().any(|begins| what.starts_with(begins));
        if !is_again && !ONCE.iter().any(|begins| what.starts_with(begins)) {
            return Rest::All;
        }
        let without_owner = what.rsplit_once(' ').map_or(what, |(what, _)| what);
        let is_there = !is_again && there.contains(without_owner);
        let is_doubtful = !is_again
            && what.match_indices(' ').any(|(at, _)| {
                at < without_owner.len() && there.contains(what.get(..at).unwrap_or_default())
            });
        // The same words may be another thing's name, and the rest of them an owner's.
        if is_doubtful || (is_there && there.contains(what)) {
            return Rest::All;
        }
        if !is_there {
            lines.push_str(line);
            lines.push('\n');
        }
    }
    Rest::Lines(lines)
}

/// What a line says after its three numbers: `3210; 2606 16390 CONSTRAINT public t t_pkey postgres`.
fn said(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("; ")?;
    rest.splitn(3, ' ').nth(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_left_out_and_what_is_doubtful_is_done_anew() {
        let listing = ";\n; Archive created at 2026-11-22\n;\n3210; 2606 16390 CONSTRAINT public t t_pkey postgres\n\
            3211; 1259 16391 INDEX public near postgres\n3212; 1259 16392 INDEX public far postgres\n\
            3213; 0 0 INDEX ATTACH public far postgres\n3214; 2606 16393 FK CONSTRAINT public u u_t_fkey postgres\n\
            3215; 0 16400 MATERIALIZED VIEW DATA public told postgres\n";
        let check = |listing: &str, there: &[&str], expected: Option<&str>| {
            let there = there.iter().map(|line| (*line).to_owned()).collect();
            let expected = expected.map_or(Rest::All, |lines| Rest::Lines(lines.into()));
            assert_eq!(left(listing, &there), expected, "{listing}");
        };
        let lines: Vec<&str> = listing.lines().skip(3).collect();
        let all = format!("{}\n", lines.join("\n"));
        check(listing, &[], Some(all.as_str()));
        let rest = format!("{}\n{}\n{}\n{}\n", lines[2], lines[3], lines[4], lines[5]);
        check(listing, &["CONSTRAINT public t t_pkey", "INDEX public near"], Some(rest.as_str()));
        // An owner, or a name, with a space in it.
        check("1; 1 2 INDEX public near a b\n", &["INDEX public near"], None);
        check("1; 1 2 INDEX public near a\n", &["INDEX public near", "INDEX public near a"], None);
        check("1; 1 2 INDEX public near a\n", &["INDEX public near a"], Some("1; 1 2 INDEX public near a\n"));
        // Something that nobody looks for.
        check("1; 1 2 PUBLICATION - p postgres\n", &[], None);
        check("no line of a table of contents\n", &[], None);
    }
}
