//! What a database is found to hold and to lack, by questions that only read: [`Inspection`].

use std::collections::BTreeMap;

use drydock_step::{Field, Shape, StepError};
use serde::Serialize;

use super::answer::Row;
use super::session::Session;

/// Indexes that answer nothing: left behind by a CREATE INDEX CONCURRENTLY that failed, or still being built.
const INVALID: &str = "SELECT n.nspname || '.' || i.relname AS name, t.oid::regclass::text AS of FROM pg_index AS x \
    JOIN pg_class AS i ON i.oid = x.indexrelid JOIN pg_class AS t ON t.oid = x.indrelid JOIN pg_namespace AS n ON n.oid = i.relnamespace \
    WHERE NOT (x.indisvalid AND x.indisready AND x.indislive) ORDER BY 1";

/// Every extension of the database, with what its files at the server would install.
const EXTENSIONS: &str = "SELECT e.extname AS name, e.extversion AS version, a.default_version AS available FROM pg_extension AS e \
    LEFT JOIN pg_available_extensions AS a ON a.name = e.extname ORDER BY e.extname";

/// Collations that columns use and whose rules at this machine are not those that indexes were built by.
const COLLATIONS: &str = "SELECT c.collname AS name, c.collversion AS built_by, pg_collation_actual_version(c.oid) AS here FROM pg_collation AS c \
    WHERE c.collversion IS DISTINCT FROM pg_collation_actual_version(c.oid) AND c.collversion IS NOT NULL \
    AND EXISTS (SELECT FROM pg_attribute AS a WHERE a.attcollation = c.oid) ORDER BY 1";

/// The same of the database's own; since 15.
const OWN_COLLATION: &str = "SELECT d.datname AS name, d.datcollversion AS built_by, pg_database_collation_actual_version(d.oid) AS here \
    FROM pg_database AS d WHERE d.datname = current_database() AND d.datcollversion IS NOT NULL \
    AND d.datcollversion IS DISTINCT FROM pg_database_collation_actual_version(d.oid)";

/// Columns of pgvector's types.
const VECTORS: &str = "SELECT c.oid AS relation, n.nspname || '.' || c.relname AS of, a.attname AS name, a.attnum AS number, \
    format_type(a.atttypid, a.atttypmod) AS type FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid \
    JOIN pg_namespace AS n ON n.oid = c.relnamespace JOIN pg_type AS t ON t.oid = a.atttypid \
    WHERE t.typname IN ('vector', 'halfvec', 'sparsevec') AND c.relkind IN ('r', 'p', 'm') AND a.attnum > 0 AND NOT a.attisdropped \
    ORDER BY 2, a.attnum";

/// Indexes of pgvector's methods.
const VECTOR_INDEXES: &str = "SELECT x.indrelid AS relation, i.relname AS name, m.amname AS method, x.indisvalid AND x.indisready AS ready, \
    pg_relation_size(i.oid) AS bytes, x.indkey[0] AS number, pg_get_indexdef(i.oid) AS definition FROM pg_index AS x \
    JOIN pg_class AS i ON i.oid = x.indexrelid JOIN pg_am AS m ON m.oid = i.relam WHERE m.amname IN ('hnsw', 'ivfflat') ORDER BY i.relname";

/// The most columns of vectors that are told one by one: a schema an agent makes thousands.
const TOLD: usize = 500;

/// The shape of an [`Inspection`].
pub(super) const INSPECTED: &[Field] = &[
    Field::required(
        "invalid_indexes",
        Shape::List(&Shape::Text),
        "Indexes that answer nothing, as `schema.index`.",
    ),
    Field::required(
        "extensions",
        Shape::List(&Shape::Record(&[
            Field::required("name", Shape::Text, "Its name."),
            Field::required("version", Shape::Text, "The version that the database has of it."),
            Field::optional("available", Shape::Text, "The version that the server's files would install."),
        ])),
        "The extensions of the database.",
    ),
    Field::required(
        "collations",
        Shape::List(&Shape::Record(&[
            Field::required("name", Shape::Text, "The collation; the database's name for its own."),
            Field::required(
                "built_by",
                Shape::Text,
                "The version of its rules that the indexes were built by.",
            ),
            Field::optional("here", Shape::Text, "The version that this machine has."),
        ])),
        "Collations whose rules have changed below the indexes: what is sorted by text may not be found.",
    ),
    Field::required("vector_columns", Shape::Integer, "How many columns of vectors there are."),
    Field::required(
        "vectors",
        Shape::List(&Shape::Record(&[
            Field::required("table", Shape::Text, "`schema.table`."),
            Field::required("column", Shape::Text, "The column."),
            Field::required("type", Shape::Text, "Its type: `vector(768)`."),
            Field::required(
                "indexes",
                Shape::List(&Shape::Record(&[
                    Field::required("name", Shape::Text, "The index."),
                    Field::required("method", Shape::Text, "`hnsw` or `ivfflat`."),
                    Field::required("ready", Shape::Boolean, "Whether it answers."),
                    Field::required("bytes", Shape::Integer, "Its size."),
                    Field::required("definition", Shape::Text, "The statement that makes it."),
                ])),
                "Its indexes. Without one every search reads the whole table, and is exact.",
            ),
        ])),
        "The columns of vectors, the first 500.",
    ),
];

/// An index that answers nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Invalid {
    /// `schema.index`.
    pub(super) name: String,
    /// The table that it is of.
    pub(super) of: String,
}

/// An extension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Installed {
    /// Its name.
    pub(super) name: String,
    /// The version that the database has of it.
    pub(super) version: String,
    /// The version that the server's files would install.
    pub(super) available: Option<String>,
}

/// A collation whose rules have changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Changed {
    /// The collation, or the database.
    pub(super) name: String,
    built_by: String,
    here: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Vectors {
    table: String,
    column: String,
    r#type: String,
    indexes: Vec<VectorIndex>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct VectorIndex {
    name: String,
    method: String,
    ready: bool,
    bytes: i64,
    definition: String,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Inspection {
    /// Indexes that answer nothing.
    pub(super) invalid: Vec<Invalid>,
    /// The extensions.
    pub(super) extensions: Vec<Installed>,
    /// Collations whose rules have changed.
    pub(super) collations: Vec<Changed>,
    vector_columns: usize,
    vectors: Vec<Vectors>,
}

impl Inspection {
    /// The questions, as a dry run shows them.
    pub(super) const QUESTIONS: [&'static str; 6] =
        [INVALID, EXTENSIONS, COLLATIONS, OWN_COLLATION, VECTORS, VECTOR_INDEXES];

    /// Looks into the session's database, of a server of this major version.
    ///
    /// # Errors
    /// What the server says.
    pub(super) async fn of(session: &Session, major: u32) -> Result<Self, StepError> {
        let ask = async |doing: &str, sql: &str| session.ask_long(doing, sql).await;
        let invalid = ask("looking for invalid indexes", INVALID).await?;
        let invalid = invalid
            .rows()
            .map(|row| Ok(Invalid { name: row.known("name")?.to_owned(), of: row.known("of")?.to_owned() }));
        let extensions = ask("asking for extensions", EXTENSIONS).await?;
        let extensions = extensions.rows().map(|row| {
            Ok(Installed {
                name: row.known("name")?.to_owned(),
                version: row.known("version")?.to_owned(),
                available: row.text("available")?.map(str::to_owned),
            })
        });
        let mut collations = ask("asking for collations", COLLATIONS)
            .await?
            .rows()
            .map(changed)
            .collect::<Result<Vec<_>, _>>()?;
        if major >= 15 {
            let own = ask("asking for the database's collation", OWN_COLLATION).await?;
            collations.extend(own.rows().map(changed).collect::<Result<Vec<_>, _>>()?);
        }
        let (vector_columns, vectors) = vectors_of(session).await?;
        Ok(Self {
            invalid: invalid.collect::<Result<_, StepError>>()?,
            extensions: extensions.collect::<Result<_, StepError>>()?,
            collations,
            vector_columns,
            vectors,
        })
    }

    /// As outputs tell it.
    pub(super) fn outputs(&self) -> serde_json::Value {
        let invalid: Vec<&str> = self.invalid.iter().map(|index| index.name.as_str()).collect();
        serde_json::json!({
            "invalid_indexes": invalid,
            "extensions": self.extensions,
            "collations": self.collations,
            "vector_columns": self.vector_columns,
            "vectors": self.vectors,
        })
    }
}

fn changed(row: Row<'_>) -> Result<Changed, StepError> {
    Ok(Changed {
        name: row.known("name")?.to_owned(),
        built_by: row.known("built_by")?.to_owned(),
        here: row.text("here")?.map(str::to_owned),
    })
}

/// How many columns of vectors there are, and the first of them with their indexes.
async fn vectors_of(session: &Session) -> Result<(usize, Vec<Vectors>), StepError> {
    let columns = session.ask_long("looking for vectors", VECTORS).await?;
    let found = session.ask_long("looking for indexes of vectors", VECTOR_INDEXES).await?;
    let mut indexes: BTreeMap<(String, String), Vec<VectorIndex>> = BTreeMap::new();
    for row in found.rows() {
        let of = (row.known("relation")?.to_owned(), row.known("number")?.to_owned());
        indexes.entry(of).or_default().push(VectorIndex {
            name: row.known("name")?.to_owned(),
            method: row.known("method")?.to_owned(),
            ready: row.flag("ready")?,
            bytes: row.number("bytes")?.unwrap_or_default(),
            definition: row.known("definition")?.to_owned(),
        });
    }
    let mut vectors = Vec::new();
    for row in columns.rows().take(TOLD) {
        let of = (row.known("relation")?.to_owned(), row.known("number")?.to_owned());
        vectors.push(Vectors {
            table: row.known("of")?.to_owned(),
            column: row.known("name")?.to_owned(),
            r#type: row.known("type")?.to_owned(),
            indexes: indexes.remove(&of).unwrap_or_default(),
        });
    }
    Ok((columns.cells.len(), vectors))
}
