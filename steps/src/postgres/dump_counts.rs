//! The rows of every table that a dump holds, exactly: [`counted`]. What an extension makes for itself, and views that a load fills anew,
//! are no rows of a dump's.

use std::collections::BTreeMap;

use drydock_step::{Ctx, StepError};

use super::session::Snapshot;
use super::table_pattern::{TABLES, table};

/// The tables that are counted.
pub(super) fn listing() -> String {
    format!(
        "{TABLES} AND c.relkind <> 'm' AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass \
         AND d.objid = c.oid AND d.deptype = 'e') ORDER BY n.nspname, c.relname"
    )
}

/// The rows of each table in a snapshot, by `schema.table`, but for those that are left out.
///
/// # Errors
/// What the server says.
pub(super) async fn counted(
    ctx: &Ctx,
    snapshot: &Snapshot<'_>,
    without: &[String],
) -> Result<BTreeMap<String, u64>, StepError> {
    let listed = snapshot.ask("listing the tables", &listing()).await?;
    let (mut counts, total) = (BTreeMap::new(), listed.cells.len() as u64);
    for (at, row) in listed.rows().enumerate() {
        let (schema, name) = (row.known("schema")?, row.known("name")?);
        let shown = format!("{schema}.{name}");
        if without.contains(&shown) {
            continue;
        }
        ctx.progress(at as u64, Some(total), "tables", format!("counting {shown}"));
        let sql = format!("SELECT count(*) AS rows FROM {}", table(schema, name));
        let answer = snapshot.ask(&format!("counting the rows of {shown}"), &sql).await?;
        let rows = answer.first()?.number("rows")?.unwrap_or_default();
        counts.insert(shown, u64::try_from(rows).unwrap_or_default());
    }
    Ok(counts)
}

/// The first tables whose rows are not as many as they were, in words; nothing where all are.
pub(super) fn differing(expected: &BTreeMap<String, u64>, found: &BTreeMap<String, u64>) -> Option<String> {
    const TOLD: usize = 5;
    let words = |name: &String, rows: &u64| match found.get(name) {
        Some(have) => format!("{name} has {have} rows, the dump {rows}"),
        None => format!("{name} is not there, the dump has {rows} rows of it"),
    };
    let all: Vec<String> = expected
        .iter()
        .filter(|(name, rows)| found.get(*name) != Some(*rows))
        .map(|(name, rows)| words(name, rows))
        .collect();
    let more = all.len().saturating_sub(TOLD);
    let told = all.iter().take(TOLD).cloned().collect::<Vec<_>>().join("; ");
    match (all.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(told),
        (false, more) => Some(format!("{told}; and {more} more")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_told_table_by_table() {
        let of = |counts: &[(&str, u64)]| {
            counts.iter().map(|(name, rows)| ((*name).to_owned(), *rows)).collect::<BTreeMap<_, _>>()
        };
        let expected = of(&[("public.a", 3), ("public.b", 0), ("public.c", 2)]);
        assert_eq!(differing(&expected, &expected), None);
        let found = of(&[("public.a", 2), ("public.b", 0), ("public.other", 9)]);
        assert_eq!(
            differing(&expected, &found).unwrap(),
            "public.a has 2 rows, the dump 3; public.c is not there, the dump has 2 rows of it"
        );
        let many: BTreeMap<String, u64> = (0..8).map(|n| (format!("public.t{n}"), 1)).collect();
        assert!(differing(&many, &BTreeMap::new()).unwrap().ends_with("; and 3 more"));
    }
}
