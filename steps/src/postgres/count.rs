//! `postgres.count`: [`Count`] counts the rows of tables, all of one moment, and takes a digest of what is in them.

use async_trait::async_trait;
use drydock_step::{
    Access, Action, ActionKind, Ctx, Ended, Facts, Field, Grant, In, KindShape, Preflight, Reconciled, Shape,
    StepError, StepKind, TargetNeed, Touch, inputs, known, maybe,
};
use serde_json::{Map, Value, json};

use super::answer::Row;
use super::finding::found;
use super::rights::reading;
use super::session::Snapshot;
use super::sql::Identifier;
use super::table_pattern::{TABLES, TablePattern, table};
use super::target::PostgresConnection;
use crate::described::described;

inputs! {
    /// Inputs of `postgres.count`.
    pub struct CountInputs {
        /// The database.
        database: Identifier = known(Shape::Text),
        /// The tables: `vectors` (in every schema that has one), `public.vectors`, or with `*` for any characters: `agent_*.vectors`. A name without `*` must be there.
        tables: Vec<TablePattern> = maybe(Shape::List(&Shape::Text)).or("[\"*\"]"),
        /// Also take a digest of each table's rows, whatever their order: equal digests are equal rows, also on another server. Every row is read.
        hash: bool = maybe(Shape::Boolean).or("false"),
    }
}

const OUTPUTS: Shape = Shape::Record(&[
    Field::required("rows", Shape::Integer, "The rows of all of them together."),
    Field::required(
        "tables",
        Shape::Map(&Shape::Record(&[
            Field::required("rows", Shape::Integer, "How many."),
            Field::optional("hash", Shape::Decimal, "The digest of the rows; with `hash`."),
        ])),
        "The tables by `schema.table`.",
    ),
]);

/// Counts rows.
pub struct Count;

impl CountInputs {
    /// The question for the tables, where they are known.
    fn listing(&self) -> String {
        let conditions = self.tables.or_after(|tables| {
            let all: Vec<String> = tables.iter().map(TablePattern::condition).collect();
            if all.is_empty() { "false".into() } else { all.join(" OR ") }
        });
        format!("{TABLES} AND ({conditions}) ORDER BY n.nspname, c.relname")
    }
}

/// The question for the rows of a table.
fn counting(table: &str, hash: bool) -> String {
    match hash {
        false => format!("SELECT count(*) AS rows, NULL AS hash FROM {table}"),
        // A row as text holds every column; the sum does not depend on the order.
        true => format!(
            "SELECT count(*) AS rows, coalesce(sum(hashtextextended(counted::text, 0)::numeric), 0) AS hash FROM {table} AS counted"
        ),
    }
}

#[async_trait]
impl StepKind for Count {
    type Inputs = CountInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["postgres"]),
            outputs: OUTPUTS,
            permissions: &[
                "pg_read_all_data, or SELECT on the tables; BYPASSRLS where they have row level security",
            ],
            example: "counted:\n  uses: postgres.count\n  target: vectors\n  with: { database: octopus, tables: [vectors], hash: true }\n",
            ..described(
                "postgres.count",
                "Counts the rows of tables exactly, all in one snapshot, so that no write comes between two of them.",
            )
        }
    }

    fn touches(&self, target: Option<&str>, inputs: &CountInputs) -> Vec<Touch> {
        let resource = inputs.database.value().map_or("?".into(), |name| format!("database {name}"));
        vec![Touch { target: target.map(str::to_owned), resource, access: Access::Reads }]
    }

    fn actions(&self, target: Option<&str>, inputs: &CountInputs, _facts: &Facts) -> Vec<Action> {
        let hash = inputs.hash.value().copied().unwrap_or(true);
        let each = counting("(each of them)", hash);
        [inputs.listing(), each].map(|sql| Action::reads(ActionKind::Sql, target, sql)).into()
    }

    fn grants(&self, inputs: &CountInputs) -> Vec<Grant> {
        reading(&inputs.database)
    }

    /// The tables that are named are there.
    async fn preflight(&self, ctx: &Ctx, inputs: &CountInputs) -> Result<Preflight, StepError> {
        let (In::Known(database), In::Known(tables)) = (&inputs.database, &inputs.tables) else {
            return Ok(Preflight::default());
        };
        let connection = ctx.connection().await?;
        let looked = async {
            let session = PostgresConnection::of(&*connection)?.in_database(Some(database.as_str())).await?;
            let snapshot = session.snapshot().await?;
            for pattern in tables.iter().filter(|pattern| !pattern.is_open()) {
                all_are_there(&snapshot, database, pattern).await?;
            }
            snapshot.end().await
        };
        Ok(found(looked.await.err()))
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &CountInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let (database, hash) = (inputs.database.known()?, *inputs.hash.known()?);
        let work = async {
            let connection = ctx.connection().await?;
            let session = PostgresConnection::of(&*connection)?.in_database(Some(database.as_str())).await?;
            let snapshot = session.snapshot().await?;
            let listed = snapshot.ask("listing the tables", &inputs.listing()).await?;
            let names: Vec<(String, String)> =
                listed.rows().map(schema_and_name).collect::<Result<_, _>>()?;
            for pattern in inputs.tables.known()?.iter().filter(|pattern| !pattern.is_open()) {
                all_are_there(&snapshot, database, pattern).await?;
            }
            let (mut tables, mut total) = (Map::new(), 0);
            for (at, (schema, name)) in names.iter().enumerate() {
                let shown = format!("{schema}.{name}");
                ctx.progress(at as u64, Some(names.len() as u64), "tables", format!("counting {shown}"));
                let sql = counting(&table(schema, name), hash);
                let answer = snapshot.ask(&format!("counting the rows of {shown}"), &sql).await?;
                let row = answer.first()?;
                let rows = row.number("rows")?.unwrap_or_default();
                total += rows;
                let mut counted = json!({ "rows": rows });
                if hash {
                    counted["hash"] = json!(row.known("hash")?);
                }
                tables.insert(shown, counted);
            }
            snapshot.end().await?;
            Ok(json!({ "rows": total, "tables": tables }))
        };
        ctx.or_cancelled(work).await.map(Ended::Outputs)
    }

    async fn reconcile(&self, _ctx: &Ctx, _inputs: &CountInputs) -> Result<Reconciled, StepError> {
        Ok(Reconciled::NotDone)
    }
}

fn schema_and_name(row: Row<'_>) -> Result<(String, String), StepError> {
    Ok((row.known("schema")?.to_owned(), row.known("name")?.to_owned()))
}

/// A table that is named and not there is no table without rows.
async fn all_are_there(
    snapshot: &Snapshot<'_>,
    database: &Identifier,
    pattern: &TablePattern,
) -> Result<(), StepError> {
    let sql = format!("{TABLES} AND {} LIMIT 1", pattern.condition());
    if snapshot.ask("looking for a table", &sql).await?.rows().next().is_some() {
        return Ok(());
    }
    let message = format!("the database {database} has no table `{pattern}`");
    Err(StepError::new("postgres.table", message)
        .help("upper and lower case differ; write `schema.table`, and `*` where there need not be one"))
}

#[cfg(test)]
mod tests {
    use drydock_step::test_host::actions;

    use super::*;

    #[test]
    fn a_dry_run_shows_what_is_asked() {
        let shown =
            actions(&Count, json!({ "database": "octopus", "tables": ["vectors"], "hash": true })).unwrap();
        assert!(
            shown[0].text.ends_with("AND ((true AND c.relname = 'vectors')) ORDER BY n.nspname, c.relname")
        );
        assert!(shown[1].text.contains("hashtextextended(counted::text, 0)"), "{shown:?}");
        assert!(shown.iter().all(|action| !action.writes));
        let unknown = json!({ "database": "octopus", "tables": { "$after": ["a"] } });
        assert!(actions(&Count, unknown).unwrap()[0].text.contains("AND ((known after a)) ORDER"));
        let bad = actions(&Count, json!({ "database": "octopus", "tables": ["a."] })).unwrap_err();
        assert!(bad.code == "input" && bad.message.contains("`a.` names no table"), "{bad}");
    }
}
