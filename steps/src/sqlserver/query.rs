//! `sqlserver.query`: [`Query`] gives the rows of a query that only reads.

use async_trait::async_trait;
use drydock_step::{
    Access, Action, ActionKind, Ctx, Duty, Ended, Facts, Field, Grant, In, KindShape, Reconciled, Shape,
    StepError, StepKind, TargetNeed, Touch, inputs, known, maybe,
};
use indexmap::IndexMap;
use serde_json::{Value, json};

use super::parameters::values;
use super::reading::ReadingQuery;
use super::rights::{READER, within};
use super::session::Parameter;
use super::sql::Identifier;
use super::target::SqlServerConnection;
use crate::described::described;

inputs! {
    /// Inputs of `sqlserver.query`.
    pub struct QueryInputs {
        /// The database to ask; the login's own when it is left out.
        database: Option<Identifier> = maybe(Shape::Text),
        /// One SELECT, or EXEC of a procedure that only tells.
        sql: String = known(Shape::Text),
        /// Values of the query's parameters by name: `agent` is `@agent` in the query. They are bound, never pasted into it.
        parameters: IndexMap<String, Value> = maybe(Shape::Map(&Shape::Any)).or("{}"),
        /// The most rows; more fail the step.
        max_rows: usize = maybe(Shape::Integer).or("1000"),
    }
}

const OUTPUTS: &[Field] = &[
    Field::required(
        "rows",
        Shape::List(&Shape::Map(&Shape::Any)),
        "The rows: values by column. Decimals and money are text, times are RFC 3339 (those without a zone as UTC), binary is `0x…`.",
    ),
    Field::required("columns", Shape::List(&Shape::Text), "The names of the columns, in order."),
    Field::required("count", Shape::Integer, "How many rows there are."),
];

/// Asks for rows.
pub struct Query;

impl QueryInputs {
    /// The query with its values in the order of their numbers.
    fn bound(&self) -> Result<(ReadingQuery, Vec<Parameter>), StepError> {
        let mut values = values(self.parameters.known()?)?;
        let names: Vec<&str> = values.keys().map(String::as_str).collect();
        let query = ReadingQuery::parse(self.sql.known()?, &names)?;
        let values = query.parameters.iter().filter_map(|name| values.swap_remove(name));
        let values = values.collect();
        Ok((query, values))
    }
}

#[async_trait]
impl StepKind for Query {
    type Inputs = QueryInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["sqlserver"]),
            outputs: Shape::Record(OUTPUTS),
            permissions: &["SELECT on what the query reads"],
            example: "agents:\n  uses: sqlserver.query\n  target: sql\n  with:\n    database: OctopusDB\n    sql: SELECT Id, Name FROM Octopus_Agents WHERE Model = @model\n    parameters: { model: small }\n",
            ..described(
                "sqlserver.query",
                "Gives the rows of one query that only reads. It runs in a transaction that is rolled back.",
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
        let database = match &inputs.database {
            In::Known(Some(database)) => In::Known(database.clone()),
            In::Known(None) => return Vec::new(),
            In::After(steps) => In::After(steps.clone()),
        };
        vec![within(Duty::Plan, &database, READER)]
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &QueryInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let (query, values) = inputs.bound()?;
        let limit = *inputs.max_rows.known()?;
        let asked = async {
            let connection = ctx.connection().await?;
            let database = inputs.database.known()?.as_ref().map(Identifier::as_str);
            SqlServerConnection::of(&*connection)?.read(database, &query, &values, limit).await
        };
        let found = ctx.or_cancelled(asked).await?;
        if found.rows.len() > limit {
            return Err(StepError::new("query.rows", format!("the query has more than {limit} rows"))
                .help("let it count or sum, or raise `max_rows`; outputs are at most 1 MiB"));
        }
        let count = found.rows.len();
        Ok(Ended::Outputs(json!({ "rows": found.rows, "columns": found.columns, "count": count })))
    }

    async fn reconcile(&self, _ctx: &Ctx, _inputs: &QueryInputs) -> Result<Reconciled, StepError> {
        Ok(Reconciled::NotDone)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use drydock_step::test_host::{TestHost, actions, execute, touches};

    use super::*;

    #[test]
    fn a_dry_run_shows_the_query() {
        let with = json!({ "database": "OctopusDB", "sql": "SELECT 1 AS one" });
        assert_eq!(
            actions(&Query, with.clone()).unwrap(),
            [Action::reads(ActionKind::Sql, Some("t"), "SELECT 1 AS one")]
        );
        let touched = touches(&Query, with).unwrap();
        assert_eq!((touched[0].resource.as_str(), touched[0].access), ("database OctopusDB", Access::Reads));
        let unknown = json!({ "database": { "$after": ["a"] }, "sql": "SELECT 1" });
        assert_eq!(touches(&Query, unknown).unwrap()[0].resource, "?");
    }

    #[tokio::test]
    async fn what_would_write_is_refused_before_anything_connects() {
        let ctx = Arc::new(TestHost::new("/")).ctx(Some("t"));
        for (with, code, words) in [
            (json!({ "sql": "DROP TABLE t" }), "query.writes", "begins with `DROP`"),
            (json!({ "sql": "SELECT @a", "parameters": { "a": [1] } }), "query.parameter", "`a` is a list"),
            (
                json!({ "sql": "SELECT 1", "database": "" }),
                "input",
                "input `database`, text, does not fit: `` is no name",
            ),
            (json!({ "sql": "SELECT 1" }), "internal", "the test has no target"),
        ] {
            let error = execute(&Query, &ctx, with).await.unwrap_err();
            assert!(error.code == code && error.message.contains(words), "{error}");
        }
    }
}
