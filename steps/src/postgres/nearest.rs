//! What lies nearest to a vector in a table of pgvector, truly and by the index: [`VectorColumn`], and [`Nearest`], which searches it.

use async_trait::async_trait;
use drydock_step::StepError;
use serde_json::Value;

use super::session::Session;
use super::sql::{Identifier, named, quoted};
use crate::sample_file::Neighbour;
use crate::searches::Searches;

/// What every question begins with: rows that are hidden from the role make it fail.
const WHOLE: &str = "SET LOCAL row_security = off; ";

/// So that nothing but comparing all rows answers.
const EXACT: &str = "SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off; ";

/// So that an index answers where there is one, however small the table is.
const BY_INDEX: &str = "SET LOCAL enable_seqscan = off; ";

/// How many rows HNSW gives at most if nobody asks for more.
const EF_SEARCH: u64 = 40;

/// How far two vectors lie apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Metric {
    L2,
    InnerProduct,
    Cosine,
    L1,
}

impl Metric {
    pub(super) const NAMES: [&str; 4] = ["l2", "inner_product", "cosine", "l1"];

    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "l2" => Self::L2,
            "inner_product" => Self::InnerProduct,
            "cosine" => Self::Cosine,
            "l1" => Self::L1,
            _ => return None,
        })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::L2 => "l2",
            Self::InnerProduct => "inner_product",
            Self::Cosine => "cosine",
            Self::L1 => "l1",
        }
    }

    /// That of an operator class of pgvector, such as `vector_cosine_ops`.
    fn of_class(class: &str) -> Option<Self> {
        let measure = class.strip_suffix("_ops")?.rsplit_once('_')?.1;
        match measure {
            "ip" => Some(Self::InnerProduct),
            other => Self::parse(other),
        }
    }

    fn operator(self) -> &'static str {
        match self {
            Self::L2 => "<->",
            Self::InnerProduct => "<#>",
            Self::Cosine => "<=>",
            Self::L1 => "<+>",
        }
    }
}

/// What is asked for by name.
pub(super) struct Asked<'a> {
    /// As SQL names it: `public.vectors`.
    pub(super) table: &'a str,
    pub(super) column: Option<&'a str>,
    pub(super) key: Option<&'a str>,
    pub(super) metric: Option<Metric>,
}

/// A column of vectors, as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct VectorColumn {
    /// `public.vectors`, with quotes where SQL needs them.
    pub(super) table: String,
    /// Its name.
    pub(super) column: String,
    /// The column that tells rows apart.
    pub(super) key: String,
    pub(super) metric: Metric,
    /// The type with its schema, as it stands behind `::`.
    cast: String,
    /// The schema of pgvector, in quotes.
    schema: String,
    /// Whether pgvector has built an index on it.
    pub(super) is_indexed: bool,
}

/// The columns of vectors of a table.
fn columns(table: &str) -> String {
    format!(
        "SELECT format('%I.%I', n.nspname, c.relname) AS table, a.attname AS column, a.attnum AS number, t.typname AS type, tn.nspname AS schema \
         FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace JOIN pg_attribute AS a ON a.attrelid = c.oid \
         JOIN pg_type AS t ON t.oid = a.atttypid JOIN pg_namespace AS tn ON tn.oid = t.typnamespace \
         WHERE c.oid = to_regclass({}) AND a.attnum > 0 AND NOT a.attisdropped AND t.typname IN ('vector', 'halfvec', 'sparsevec') \
         ORDER BY a.attnum",
        quoted(table)
    )
}

/// The operator classes of pgvector's indexes on a column.
fn classes(table: &str, number: &str) -> String {
    format!(
        "SELECT DISTINCT o.opcname AS class FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_am AS m ON m.oid = c.relam \
         JOIN pg_opclass AS o ON o.oid = i.indclass[0] \
         WHERE i.indrelid = to_regclass({}) AND m.amname IN ('hnsw', 'ivfflat') AND i.indisvalid AND i.indkey[0] = {number} ORDER BY 1",
        quoted(table)
    )
}

/// The columns of the primary key.
fn keys(table: &str) -> String {
    format!(
        "SELECT a.attname AS key FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) \
         WHERE i.indrelid = to_regclass({}) AND i.indisprimary",
        quoted(table)
    )
}

impl VectorColumn {
    /// The questions by which one is found.
    pub(super) const QUESTIONS: [&str; 3] = [
        "SELECT … FROM pg_attribute, for its columns of vectors",
        "SELECT … FROM pg_index, for pgvector's indexes on it",
        "SELECT … FROM pg_index, for its primary key",
    ];

    /// Looks for it.
    ///
    /// # Errors
    /// `input` where there is none, or nothing says which of several is meant; what the server says.
    pub(super) async fn found(session: &Session, asked: &Asked<'_>) -> Result<Self, StepError> {
        let refused = |message: String, help: &str| Err(StepError::new("input", message).help(help));
        let table = asked.table;
        let answer = session.ask("looking for columns of vectors", &columns(table)).await?;
        let all: Vec<&str> = answer.rows().map(|row| row.known("column")).collect::<Result<_, _>>()?;
        let wanted = match (asked.column, all.as_slice()) {
            (_, []) => {
                return refused(
                    format!("there is no table {table}, or it has no column of vectors"),
                    "write it as SQL does, with its schema: `public.vectors`; names with capitals stand in double quotes",
                );
            }
            (Some(wanted), _) => wanted,
            (None, [only]) => only,
            (None, several) => {
                return refused(
                    format!("{table} has several columns of vectors: {}", several.join(", ")),
                    "say which one in `column`",
                );
            }
        };
        let row = answer.rows().find(|row| row.known("column") == Ok(wanted));
        let Some(row) = row else {
            return refused(
                format!("{table} has no column of vectors {wanted}; it has {}", all.join(", ")),
                "say one of them in `column`",
            );
        };
        let classes =
            session.ask("looking for indexes of vectors", &classes(table, row.known("number")?)).await?;
        let found: Vec<Metric> = classes
            .rows()
            .filter_map(|row| row.text("class").ok().flatten().and_then(Metric::of_class))
            .collect();
        let metric = match (asked.metric, found.as_slice()) {
            (Some(metric), _) => metric,
            (None, [only]) => *only,
            (None, []) => Metric::L2,
            (None, several) => {
                let names: Vec<&str> = several.iter().map(|metric| metric.name()).collect();
                return refused(
                    format!("{table}.{wanted} has indexes of several measures: {}", names.join(", ")),
                    "say which one in `metric`",
                );
            }
        };
        let keys = session.ask("looking for the primary key", &keys(table)).await?;
        let keys: Vec<&str> = keys.rows().map(|row| row.known("key")).collect::<Result<Vec<_>, _>>()?;
        let key = match (asked.key, keys.as_slice()) {
            (Some(key), _) => key,
            (None, [only]) => only,
            (None, _) => {
                return refused(
                    format!("{table} has no primary key of one column"),
                    "say in `key` which column tells its rows apart",
                );
            }
        };
        let schema = named(row.known("schema")?);
        Ok(Self {
            table: row.known("table")?.to_owned(),
            column: wanted.to_owned(),
            key: key.to_owned(),
            metric,
            cast: format!("{schema}.{}", named(row.known("type")?)),
            schema,
            is_indexed: found.contains(&metric),
        })
    }

    /// The distance to a vector.
    fn distance(&self, vector: &str) -> String {
        let operator = format!("OPERATOR({}.{})", self.schema, self.metric.operator());
        format!("{} {operator} {}::{}", named(&self.column), quoted(vector), self.cast)
    }

    /// The question for the nearest to a vector.
    fn search(&self, vector: &str, k: u64, exact: bool) -> String {
        let way = if exact { EXACT.to_owned() } else { self.by_index(k) };
        let (key, column, distance) = (named(&self.key), named(&self.column), self.distance(vector));
        format!(
            "{WHOLE}{way}SELECT {key}::text AS id, ({distance})::float8 AS score FROM {} WHERE {column} IS NOT NULL ORDER BY {distance} LIMIT {}",
            self.table,
            k.saturating_add(1)
        )
    }

    fn by_index(&self, k: u64) -> String {
        let wanted = k.saturating_add(1);
        match wanted > EF_SEARCH {
            true => format!("{BY_INDEX}SET LOCAL hnsw.ef_search = {}; ", wanted.min(1000)),
            false => BY_INDEX.to_owned(),
        }
    }

    /// The question for the rows that are searched around: the same for the same seed.
    pub(super) fn choosing(&self, seed: &str, number: u64) -> String {
        let (key, column) = (named(&self.key), named(&self.column));
        format!(
            "{WHOLE}SELECT {key}::text AS id FROM {} WHERE {column} IS NOT NULL ORDER BY md5({key}::text || {}) LIMIT {number}",
            self.table,
            quoted(seed)
        )
    }

    /// The question for how many rows there are.
    pub(super) fn counting(&self) -> String {
        format!("{WHOLE}SELECT count(*) AS rows FROM {}", self.table)
    }
}

/// Asks what is nearest in one table.
pub(super) struct Nearest {
    pub(super) session: Session,
    pub(super) at: VectorColumn,
    pub(super) k: u64,
    /// The database with the table, in words.
    pub(super) of: String,
}

impl Nearest {
    /// Its name in a sample: a database, a table.
    pub(super) fn name_of(database: &Identifier, table: &str) -> String {
        format!("{database}: {table}")
    }
}

/// An id or a vector, which the server reads as it has written it.
fn text(value: &Value) -> Result<&str, StepError> {
    value.as_str().ok_or_else(|| {
        StepError::new("postgres.sample", format!("the sample has {value} where a text is"))
            .help("it was taken of another store, or was changed: `postgres.sample` writes what this reads")
    })
}

#[async_trait]
impl Searches for Nearest {
    fn of(&self) -> &str {
        &self.of
    }

    fn k(&self) -> u64 {
        self.k
    }

    async fn to(&self, vector: &Value, exact: bool) -> Result<Vec<Neighbour>, StepError> {
        let sql = self.at.search(text(vector)?, self.k, exact);
        let answer = self.session.ask_long("searching for what is nearest", &sql).await?;
        let mut found = Vec::new();
        for row in answer.rows() {
            let score: f64 = row.known("score")?.parse().unwrap_or(f64::NAN);
            // The direction of a vector of nothing but zeros is not defined, nor is its distance to others.
            if score.is_finite() {
                found.push(Neighbour { id: row.known("id")?.into(), score });
            }
        }
        Ok(found)
    }

    async fn vector_of(&self, point: &Value) -> Result<Option<Value>, StepError> {
        let sql = format!(
            "{WHOLE}SELECT {}::text AS vector FROM {} WHERE {} = {}",
            named(&self.at.column),
            self.at.table,
            named(&self.at.key),
            quoted(text(point)?)
        );
        let answer = self.session.ask("reading a vector", &sql).await?;
        let Some(row) = answer.rows().next() else { return Ok(None) };
        Ok(row.text("vector")?.map(Value::from))
    }

    async fn there(&self, points: &[Value]) -> Result<u64, StepError> {
        let ids: Vec<String> = points.iter().map(|id| text(id).map(quoted)).collect::<Result<_, _>>()?;
        if ids.is_empty() {
            return Ok(0);
        }
        let sql = format!(
            "{WHOLE}SELECT count(*) AS rows FROM {} WHERE {} IN ({})",
            self.at.table,
            named(&self.at.key),
            ids.join(", ")
        );
        let answer = self.session.ask("looking for rows", &sql).await?;
        Ok(u64::try_from(answer.first()?.number("rows")?.unwrap_or(0)).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> VectorColumn {
        VectorColumn {
            table: "public.vectors".into(),
            column: "embedding".into(),
            key: "id".into(),
            metric: Metric::Cosine,
            cast: "\"public\".\"vector\"".into(),
            schema: "\"public\"".into(),
            is_indexed: true,
        }
    }

    #[test]
    fn a_search_is_exact_or_by_the_index() {
        let distance = "\"embedding\" OPERATOR(\"public\".<=>) '[1,0]'::\"public\".\"vector\"";
        let asks = format!(
            "SELECT \"id\"::text AS id, ({distance})::float8 AS score FROM public.vectors WHERE \"embedding\" IS NOT NULL ORDER BY {distance} LIMIT 11"
        );
        assert_eq!(at().search("[1,0]", 10, true), format!("{WHOLE}{EXACT}{asks}"));
        assert_eq!(at().search("[1,0]", 10, false), format!("{WHOLE}{BY_INDEX}{asks}"));
        let wide = at().search("[1,0]", 40, false);
        assert!(wide.contains("SET LOCAL hnsw.ef_search = 41; ") && wide.ends_with("LIMIT 41"), "{wide}");
    }

    #[test]
    fn an_operator_class_tells_how_it_measures() {
        let of = |class: &str| Metric::of_class(class).map(Metric::name);
        assert_eq!(
            ["vector_cosine_ops", "halfvec_ip_ops", "sparsevec_l1_ops", "vector_l2_ops"].map(of),
            [Some("cosine"), Some("inner_product"), Some("l1"), Some("l2")]
        );
        assert_eq!([of("bit_hamming_ops"), of("text_ops"), of("")], [None, None, None]);
        for name in Metric::NAMES {
            assert_eq!(Metric::parse(name).map(Metric::name), Some(name));
        }
    }

    #[test]
    fn what_stands_in_a_sample_stays_within_its_quotes() {
        assert!(at().search("1'); DROP TABLE t; --", 1, true).contains("'1''); DROP TABLE t; --'"));
        assert!(at().choosing("it's", 2).ends_with("|| 'it''s') LIMIT 2"));
        let error = text(&serde_json::json!(7)).unwrap_err();
        assert_eq!(
            (error.code.as_str(), error.message.as_str()),
            ("postgres.sample", "the sample has 7 where a text is")
        );
    }
}
