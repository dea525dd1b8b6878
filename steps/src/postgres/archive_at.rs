//! Where somebody else's archive of WAL is: [`ArchiveAt`].

use drydock_step::{Field, PlanPath, Shape, StepError};
use serde::Deserialize;

/// What a plan may write for an [`ArchiveAt`].
pub(super) const ARCHIVE_AT: Shape = Shape::Record(&[
    Field::optional(
        "folder",
        Shape::Path,
        "A folder on the runner that an `archive_command` copies WAL into.",
    ),
    Field::optional(
        "pgbackrest",
        Shape::Record(&[
            Field::required("stanza", Shape::Text, "Which stanza."),
            Field::optional("config", Shape::Path, "Its configuration, where it is not in its usual place."),
        ]),
        "A repository of pgBackRest's, which is asked by its own program.",
    ),
    Field::optional(
        "barman",
        Shape::Record(&[
            Field::required("server", Shape::Text, "Which server, by Barman's name for it."),
            Field::optional("config", Shape::Path, "Its configuration, where it is not in its usual place."),
        ]),
        "A catalogue of Barman's, which is asked by its own program.",
    ),
]);

/// Where it is. Exactly one of them is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArchiveAt {
    /// A folder of files.
    Folder(PlanPath),
    /// pgBackRest's.
    Pgbackrest(Named),
    /// Barman's.
    Barman(Named),
}

/// What a program has under a name of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The name.
    pub name: String,
    /// Where the program's configuration is.
    pub config: Option<PlanPath>,
}

impl<'de> Deserialize<'de> for ArchiveAt {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Stanza {
            stanza: String,
            config: Option<PlanPath>,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Server {
            server: String,
            config: Option<PlanPath>,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written {
            folder: Option<PlanPath>,
            pgbackrest: Option<Stanza>,
            barman: Option<Server>,
        }
        let written = Written::deserialize(deserializer)?;
        let mut named = Vec::new();
        named.extend(written.folder.map(Self::Folder));
        named.extend(
            written.pgbackrest.map(|of| Self::Pgbackrest(Named { name: of.stanza, config: of.config })),
        );
        named.extend(written.barman.map(|of| Self::Barman(Named { name: of.server, config: of.config })));
        match (named.pop(), named.pop()) {
            (Some(one), None) => Ok(one),
            _ => Err(serde::de::Error::custom(
                "exactly one of `folder`, `pgbackrest` and `barman` says where the archive is",
            )),
        }
    }
}

impl ArchiveAt {
    /// Nothing, when a name can be one.
    ///
    /// # Errors
    /// `input`.
    pub(super) fn fits(&self) -> Result<(), StepError> {
        let (what, named) = match self {
            Self::Folder(_) => return Ok(()),
            Self::Pgbackrest(named) => ("at.pgbackrest.stanza", named),
            Self::Barman(named) => ("at.barman.server", named),
        };
        let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let name = &named.name;
        // A name that begins like an option would be taken for one.
        if !name.is_empty() && name.chars().all(is_letter) && !name.starts_with('-') {
            return Ok(());
        }
        let message = format!("`{what}`, `{name}`, is no name of one");
        Err(StepError::new("input", message).help("letters, digits, `-`, `_` and `.`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn exactly_one_place_is_read_and_names_that_look_like_options_are_refused() {
        let read =
            |value: Value| serde_json::from_value::<ArchiveAt>(value).map_err(|error| error.to_string());
        let named = Named { name: "main".into(), config: None };
        assert_eq!(
            read(json!({ "pgbackrest": { "stanza": "main" } })),
            Ok(ArchiveAt::Pgbackrest(named.clone()))
        );
        assert_eq!(read(json!({ "barman": { "server": "main" } })), Ok(ArchiveAt::Barman(named)));
        let words = "exactly one of `folder`, `pgbackrest` and `barman`";
        assert!(read(json!({})).unwrap_err().starts_with(words));
        assert!(read(json!({ "folder": "/a", "barman": { "server": "b" } })).unwrap_err().starts_with(words));
        assert!(read(json!({ "barman": { "stanza": "b" } })).unwrap_err().contains("unknown field `stanza`"));
        for (name, fits) in
            [("main", true), ("a-b_c.d", true), ("--delta", false), ("", false), ("a b", false)]
        {
            let at = ArchiveAt::Barman(Named { name: name.into(), config: None });
            let error = at.fits().err();
            assert_eq!(error.is_none(), fits, "{name}");
            assert!(error.is_none_or(|error| error.message.starts_with("`at.barman.server`, `")));
        }
    }
}
