//! `postgres.query`: [`Query`] gives the rows of a query that only reads.

use async_trait::async_trait;
use drydock_step::{
    Access, Action, ActionKind, Ctx, Ended, Facts, Field, Grant, In, KindShape, Preflight, Reconciled, Shape,
    StepError, StepKind, TargetNeed, Touch, inputs, known, maybe,
};
use serde_json::{Value, json};

use super::finding::found;
use super::reading::ReadingQuery;
use super::rights::reading_here;
use super::sql::Identifier;
use super::target::PostgresConnection;
use crate::described::described;

inputs! {
    /// Inputs of `postgres.query`.
    pub struct QueryInputs {
        /// The database to ask; the target's own when it is left out.
        database: Option<Identifier> = maybe(Shape::Text),
        /// One statement that gives rows: SELECT, WITH, VALUES, TABLE, SHOW or EXPLAIN.
        sql: String = known(Shape::Text),
        /// Values of the query's parameters: the first is `$1`, the second `$2`. They are bound, never pasted into it.
        parameters: Vec<Value> = maybe(Shape::List(&Shape::Any)).or("[]"),
        /// The most rows; more fail the step.
        max_rows: usize = maybe(Shape::Integer).or("1000"),
    }
}

const OUTPUTS: &[Field] = &[
    Field::required(
        "rows",
        Shape::List(&Shape::Map(&Shape::Any)),
        "The rows: values by column. `numeric` is decimal text, `timestamptz` is RFC 3339 in UTC, JSON is itself, `bytea` is `\\x…`, and every other type that is no whole number, float or boolean is its text.",
    ),
    Field::required("columns", Shape::List(&Shape::Text), "The names of the columns, in order."),
    Field::required("count", Shape::Integer, "How many rows there are."),
];

/// Asks for rows.
pub struct Query;

#[async_trait]
impl StepKind for Query {
    type Inputs = QueryInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["postgres"]),
            outputs: Shape::Record(OUTPUTS),
            permissions: &["SELECT on what the query reads"],
            example: "agents:\n  uses: postgres.query\n  target: vectors\n  with:\n    database: octopus\n    sql: SELECT agent_id, count(*) AS documents FROM vectors WHERE version > $1 GROUP BY agent_id\n    parameters: [3]\n",
            ..described(
                "postgres.query",
                "Gives the rows of one query that only reads. It runs in a transaction that only reads and is rolled back; what a function does outside of transactions, such as pg_switch_wal(), is not undone.",
            )
        }
    }

    fn touches(&self, target: Option<&str>, inputs: &QueryInputs) -> Vec<Touch> {
        let resource = match inputs.database.value() {
            Some(Some(database)) => format!("database {database}"),
            _ => "?".into(),
        };
        vec![Touch { target: target.map(str::to_owned), resource, access: Access::Reads }]
    }

    fn actions(&self, target: Option<&str>, inputs: &QueryInputs, _facts: &Facts) -> Vec<Action> {
        vec![Action::reads(ActionKind::Sql, target, inputs.sql.to_string())]
    }

    fn grants(&self, inputs: &QueryInputs) -> Vec<Grant> {
        reading_here(&inputs.database)
    }

    /// The server reads the query and does not run it.
    async fn preflight(&self, ctx: &Ctx, inputs: &QueryInputs) -> Result<Preflight, StepError> {
        let (In::Known(database), In::Known(sql), In::Known(values)) =
            (&inputs.database, &inputs.sql, &inputs.parameters)
        else {
            return Ok(Preflight::default());
        };
        let connection = ctx.connection().await?;
        let described = async {
            let query = ReadingQuery::with(sql, values)?;
            let database = database.as_ref().map(Identifier::as_str);
            PostgresConnection::of(&*connection)?.in_database(database).await?.describe(&query).await
        };
        Ok(found(described.await.err()))
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &QueryInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let query = ReadingQuery::with(inputs.sql.known()?, inputs.parameters.known()?)?;
        let limit = *inputs.max_rows.known()?;
        let asked = async {
            let connection = ctx.connection().await?;
            let database = inputs.database.known()?.as_ref().map(Identifier::as_str);
            let session = PostgresConnection::of(&*connection)?.in_database(database).await?;
            session.read(&query, limit).await
        };
        let answer = ctx.or_cancelled(asked).await?;
        if answer.rows.len() > limit {
            return Err(StepError::new("query.rows", format!("the query has more than {limit} rows"))
                .help("let it count or sum, or raise `max_rows`; outputs are at most 1 MiB"));
        }
        let count = answer.rows.len();
        Ok(Ended::Outputs(json!({ "rows": answer.rows, "columns": answer.columns, "count": count })))
    }

    async fn reconcile(&self, _ctx: &Ctx, _inputs: &QueryInputs) -> Result<Reconciled, StepError> {
        Ok(Reconciled::NotDone)
    }
}

#[cfg(test)]
mod tests {
    use drydock_step::test_host::{actions, touches};

    use super::*;

    #[test]
    fn a_dry_run_shows_the_query() {
        let with = json!({ "database": "octopus", "sql": "SELECT 1 AS one" });
        assert_eq!(
            actions(&Query, with.clone()).unwrap(),
            [Action::reads(ActionKind::Sql, Some("t"), "SELECT 1 AS one")]
        );
        assert_eq!(touches(&Query, with).unwrap()[0].resource, "database octopus");
        let unknown = json!({ "database": { "$after": ["a"] }, "sql": "SELECT 1" });
        assert_eq!(touches(&Query, unknown).unwrap()[0].resource, "?");
    }
}
