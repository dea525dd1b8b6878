//! How to reach a server, as an environment says it: [`PostgresSettings`], once for the library that speaks the protocol and once for the
//! programs of PostgreSQL.

use std::path::PathBuf;
use std::time::Duration;

use drydock_step::{Field, Millis, PlanPath, Settings, Shape, StepError};
use rustls::pki_types::CertificateDer;
use serde::Deserialize;
use tokio_postgres::Config;
use tokio_postgres::config::{SslMode as LibraryMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::tls::{SslMode, certificates, connector};
use crate::http_client::refused_settings;

/// The keys of the target kind.
pub(super) const FIELDS: &[Field] = &[
    Field::required(
        "host",
        Shape::Either(&Shape::Text, &Shape::List(&Shape::Text)),
        "The server's name or address, or the folder of its Unix socket (it begins with `/`); several, each with its own `:port` where they differ, are tried in order.",
    ),
    Field::optional("port", Shape::Integer, "The port of every host that names none.").or("5432"),
    Field::required("user", Shape::Text, "The role."),
    Field::optional(
        "password",
        Shape::Text,
        "Its password. Programs get it in a file that is theirs alone and goes with them, never in their arguments.",
    )
    .with_secrets(),
    Field::optional(
        "database",
        Shape::Text,
        "The database that the session begins in; kinds open the databases that they work in beside it.",
    )
    .or("\"postgres\""),
    Field::optional(
        "sslmode",
        Shape::OneOf(&["disable", "prefer", "require", "verify-ca", "verify-full"]),
        "What a connection over TCP proves. `disable`: nothing, and everybody on the way reads along. `prefer`: nothing either; it is encrypted where the server offers that. `require`: encrypted, by whoever answers; with `ca`, by an authority that is known, as the client library of PostgreSQL has it. `verify-ca`: the certificate is of an authority in `ca`. `verify-full`: it is, and for this very host; it is the default, for a backup is worth stealing, and a password as well.",
    )
    .or("\"verify-full\""),
    Field::optional(
        "ca",
        Shape::Path,
        "A PEM file with the authorities to trust, in the place of the system's. With `verify-full` and without it programs are told `sslrootcert=system`, which those before 16 do not know.",
    ),
    Field::optional(
        "programs",
        Shape::Either(&Shape::Path, &Shape::List(&Shape::Path)),
        "Folders with the client programs (pg_dump, pg_basebackup …), looked into before the places where packages put them.",
    ),
    Field::optional("connect_timeout", Shape::Duration, "The longest that a connection to one host may take.")
        .or("\"15s\""),
    Field::optional(
        "target_session_attrs",
        Shape::OneOf(&["any", "read-write", "read-only"]),
        "Which of several hosts is meant: `read-write` passes over a standby, `read-only` over a primary.",
    )
    .or("\"any\""),
];

/// The mapping as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    host: OneOrMore,
    port: Option<u16>,
    user: String,
    password: Option<String>,
    database: Option<String>,
    #[serde(default)]
    sslmode: SslMode,
    ca: Option<PlanPath>,
    programs: Option<OneOrMore>,
    connect_timeout: Option<Millis>,
    #[serde(default)]
    target_session_attrs: Attributes,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    fn all(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::More(more) => more,
        }
    }
}

/// Which server of several is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Attributes {
    #[default]
    Any,
    ReadWrite,
    ReadOnly,
}

/// One place where a server may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// A name, an address, or the folder of a Unix socket.
    pub(super) host: String,
    /// Its port.
    pub(super) port: u16,
}

impl Place {
    /// `pg1`, `pg1:5433`, `[::1]:5433`, `/var/run/postgresql`.
    fn parse(text: &str, default: u16) -> Result<Self, StepError> {
        let refused = |why: &str| Err(refused_settings(&format!("its `host` has `{text}`, {why}")));
        let place = |host: &str, port| Ok(Self { host: host.to_owned(), port });
        if text.is_empty() {
            return refused("which is empty");
        }
        if text.starts_with('/') {
            return place(text, default);
        }
        if text.contains("//") || text.contains(',') || text.contains(char::is_whitespace) {
            return refused("which is no host; write several as a list, and user and database beside it");
        }
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => return place(host, default),
            Some((host, rest)) => (host, rest.strip_prefix(':').unwrap_or_default()),
            None if text.matches(':').count() > 1 => return place(text, default),
            None => match text.split_once(':') {
                Some(parts) => parts,
                None => return place(text, default),
            },
        };
        match port.parse() {
            Ok(port) if port > 0 && !host.is_empty() => place(host, port),
            _ => refused("whose port is none"),
        }
    }

    /// Whether it is a socket on the runner itself, which TLS has nothing to do with.
    pub(super) fn is_socket(&self) -> bool {
        self.host.starts_with('/')
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// How to reach a server. It never prints: it holds the password.
#[derive(Clone)]
pub(super) struct PostgresSettings {
    /// Where it may be, in the order in which that is tried.
    pub(super) places: Vec<Place>,
    user: String,
    /// The role's password.
    pub(super) password: Option<String>,
    /// The database that a session begins in.
    pub(super) database: String,
    sslmode: SslMode,
    ca: Option<(PathBuf, Vec<CertificateDer<'static>>)>,
    /// Folders that programs are looked for in.
    pub(super) programs: Vec<PathBuf>,
    /// The longest that a connection to one place may take.
    pub(super) connect_timeout: Duration,
    attributes: Attributes,
    /// The attempt that connects.
    pub(super) attempt: String,
}

impl PostgresSettings {
    /// The settings of a target, its certificates read.
    ///
    /// # Errors
    /// `target.settings`.
    pub(super) fn of(settings: &Settings) -> Result<Self, StepError> {
        let written: Written = settings.read()?;
        let port = written.port.unwrap_or(5432);
        let places: Vec<Place> =
            written.host.all().iter().map(|host| Place::parse(host, port)).collect::<Result<_, _>>()?;
        if places.is_empty() {
            return Err(refused_settings("its `host` is an empty list"));
        }
        if written.user.is_empty() {
            return Err(refused_settings("its `user` is empty"));
        }
        if written.password.as_ref().is_some_and(|password| password.contains(['\n', '\r', '\0'])) {
            return Err(refused_settings(
                "its `password` has a line break in it, which no program can be given",
            ));
        }
        if written.sslmode == SslMode::VerifyCa && written.ca.is_none() {
            return Err(refused_settings(
                "`sslmode: verify-ca` without `ca` would trust whoever has a certificate of any authority; give `ca`, or say `verify-full`",
            ));
        }
        let ca = match &written.ca {
            None => None,
            Some(ca) => {
                let path = ca.resolved(&settings.folder);
                let failed = |why: String| refused_settings(&format!("its `ca`, {}, {why}", path.display()));
                let pem = std::fs::read(&path).map_err(|error| failed(format!("cannot be read: {error}")))?;
                let found = certificates(&pem).map_err(failed)?;
                Some((path, found))
            }
        };
        let programs = written.programs.map(OneOrMore::all).unwrap_or_default();
        Ok(Self {
            places,
            user: written.user,
            password: written.password,
            database: written.database.unwrap_or_else(|| "postgres".into()),
            sslmode: written.sslmode,
            ca,
            programs: programs.iter().map(|folder| settings.folder.join(folder)).collect(),
            connect_timeout: Duration::from_millis(written.connect_timeout.unwrap_or(Millis(15_000)).0),
            attributes: written.target_session_attrs,
            attempt: settings.attempt.clone(),
        })
    }

    /// For the library that speaks the protocol: one place and one database.
    pub(super) fn config(&self, place: &Place, database: &str) -> Config {
        let mut config = Config::new();
        config.host(&place.host).port(place.port).user(&self.user).dbname(database);
        if let Some(password) = &self.password {
            config.password(password);
        }
        config.application_name(marked(&self.attempt));
        config.connect_timeout(self.connect_timeout);
        // What takes hours sends nothing meanwhile: a server that went away is noticed by probes alone.
        config.keepalives_idle(Duration::from_secs(30));
        config.keepalives_interval(Duration::from_secs(10));
        config.keepalives_retries(4);
        config.target_session_attrs(match self.attributes {
            Attributes::Any => TargetSessionAttrs::Any,
            Attributes::ReadWrite => TargetSessionAttrs::ReadWrite,
            Attributes::ReadOnly => TargetSessionAttrs::ReadOnly,
        });
        config.ssl_mode(match self.sslmode {
            _ if place.is_socket() => LibraryMode::Disable,
            SslMode::Disable => LibraryMode::Disable,
            SslMode::Prefer => LibraryMode::Prefer,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => LibraryMode::Require,
        });
        config
    }

    /// What makes its encrypted connections; nothing where none is encrypted.
    ///
    /// # Errors
    /// `target.settings`.
    pub(super) fn connector(&self) -> Result<Option<MakeRustlsConnect>, StepError> {
        if self.places.iter().all(Place::is_socket) {
            return Ok(None);
        }
        connector(self.sslmode, self.ca.as_ref().map(|(_, found)| found.as_slice()))
    }

    /// The same for the programs, as variables of their environment; the password is not among them.
    pub(super) fn variables(&self, database: &str) -> Vec<(String, String)> {
        let joined = |part: fn(&Place) -> String| self.places.iter().map(part).collect::<Vec<_>>().join(",");
        let root = match (&self.ca, self.sslmode) {
            (Some((path, _)), _) => path.display().to_string(),
            (None, SslMode::VerifyFull) => "system".into(),
            (None, _) => String::new(),
        };
        let attributes = match self.attributes {
            Attributes::Any => "any",
            Attributes::ReadWrite => "read-write",
            Attributes::ReadOnly => "read-only",
        };
        let seconds = self.connect_timeout.as_secs().max(2).to_string();
        let mut variables = vec![
            ("PGHOST", joined(|place| place.host.clone())),
            ("PGPORT", joined(|place| place.port.to_string())),
            ("PGUSER", self.user.clone()),
            ("PGDATABASE", database.to_owned()),
            ("PGSSLMODE", self.sslmode.word().to_owned()),
            ("PGSSLROOTCERT", root),
            ("PGAPPNAME", marked(&self.attempt)),
            ("PGCONNECT_TIMEOUT", seconds),
            ("PGTARGETSESSIONATTRS", attributes.to_owned()),
        ];
        variables.extend(SILENCED.iter().map(|(name, value)| (*name, (*value).to_owned())));
        variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// The server as messages name it: `pg1:5432`, or all that are tried.
    pub(super) fn place(&self) -> String {
        self.places.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}

/// Variables of the runner's own environment by which a program would connect to somewhere else, or otherwise than the target says, with
/// what they are set to instead. An empty one counts as none, but for those that must be one of some words.
const SILENCED: &[(&str, &str)] = &[
    ("PGHOSTADDR", ""),
    ("PGPASSWORD", ""),
    ("PGOPTIONS", ""),
    ("PGREQUIRESSL", ""),
    ("PGREQUIREAUTH", "password,md5,gss,sspi,scram-sha-256,none"),
    ("PGREQUIREPEER", ""),
    ("PGCHANNELBINDING", "prefer"),
    ("PGSSLNEGOTIATION", "postgres"),
    ("PGSSLCERTMODE", "disable"),
    ("PGSSLCERT", ""),
    ("PGSSLKEY", ""),
    ("PGSSLCRL", ""),
    ("PGSSLCRLDIR", ""),
    ("PGSSLSNI", "1"),
    ("PGSSLCOMPRESSION", "0"),
    ("PGSSLMINPROTOCOLVERSION", "TLSv1.2"),
    ("PGSSLMAXPROTOCOLVERSION", ""),
    ("PGGSSENCMODE", "disable"),
    ("PGGSSDELEGATION", "0"),
    ("PGKRBSRVNAME", "postgres"),
    ("PGLOADBALANCEHOSTS", "disable"),
    ("PGMINPROTOCOLVERSION", "3.0"),
    ("PGMAXPROTOCOLVERSION", "3.0"),
    ("PGCLIENTENCODING", ""),
    ("PGDATESTYLE", "default"),
    ("PGTZ", "default"),
    ("PGGEQO", "default"),
];

/// The longest name of an application in bytes; longer ones are cut off by the server.
const LONGEST_MARK: usize = 63;

/// An attempt's id as it is left on the server: `drydock r1/full/1`. Of an id that does not fit, or that has characters which the server
/// would write otherwise, the beginning and a digest.
pub(super) fn marked(attempt: &str) -> String {
    use sha2::Digest;
    let whole = format!("drydock {attempt}");
    let is_plain = |c: char| c.is_ascii_graphic() || c == ' ';
    if whole.len() <= LONGEST_MARK && whole.chars().all(is_plain) {
        return whole;
    }
    let digest = sha2::Sha256::digest(attempt.as_bytes());
    let digest: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let beginning: String =
        whole.chars().take(LONGEST_MARK - 17).map(|c| if is_plain(c) { c } else { '?' }).collect();
    format!("{beginning}~{digest}")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(more: Value) -> Result<PostgresSettings, StepError> {
        let mut values = json!({ "host": "pg1", "user": "drydock", "password": "p:\\x" });
        for (key, value) in more.as_object().unwrap() {
            values[key] = value.clone();
        }
        let Value::Object(values) = values else { unreachable!() };
        PostgresSettings::of(&Settings { values, folder: "/nowhere".into(), attempt: "r1/full/1".into() })
    }

    #[test]
    fn hosts_have_ports_of_their_own_or_the_common_one() {
        let places = |host: Value| read(json!({ "host": host, "port": 5433 })).unwrap().place();
        assert_eq!(places(json!("pg1")), "pg1:5433");
        assert_eq!(
            places(json!(["pg1:6000", "[::1]:7", "fe80::2", "/run/pg"])),
            "pg1:6000, [::1]:7, [fe80::2]:5433, /run/pg:5433"
        );
    }

    #[test]
    fn settings_say_what_does_not_fit() {
        for (more, words) in [
            (json!({ "sslmode": "allow" }), "unknown variant `allow`"),
            (json!({ "hots": "x" }), "unknown field `hots`"),
            (json!({ "host": [] }), "its `host` is an empty list"),
            (json!({ "host": "pg1:no" }), "`pg1:no`, whose port is none"),
            (json!({ "host": "postgresql://pg1/x" }), "which is no host"),
            (json!({ "host": "pg1,pg2" }), "write several as a list"),
            (json!({ "user": "" }), "its `user` is empty"),
            (json!({ "password": "a\nb" }), "has a line break in it"),
            (json!({ "sslmode": "verify-ca" }), "`sslmode: verify-ca` without `ca`"),
            (json!({ "ca": "ca.pem" }), "/nowhere/ca.pem, cannot be read"),
            (json!({ "target_session_attrs": "primary" }), "unknown variant `primary`"),
        ] {
            let error = read(more).err().unwrap();
            assert!(error.code == "target.settings" && error.message.contains(words), "{error}");
            assert!(!error.message.contains("p:\\x"), "{error}");
        }
    }

    #[test]
    fn programs_are_told_the_same_and_nothing_of_the_runners_own() {
        let settings = read(json!({ "host": ["a:1", "/run/pg"], "sslmode": "verify-full" })).unwrap();
        let variables = settings.variables("octopus");
        let of = |name: &str| {
            let found: Vec<_> = variables.iter().filter(|(known, _)| known == name).collect();
            assert_eq!(found.len(), 1, "{name}");
            found[0].1.as_str()
        };
        assert_eq!((of("PGHOST"), of("PGPORT"), of("PGDATABASE")), ("a,/run/pg", "1,5432", "octopus"));
        assert_eq!((of("PGSSLMODE"), of("PGSSLROOTCERT")), ("verify-full", "system"));
        assert_eq!((of("PGAPPNAME"), of("PGCONNECT_TIMEOUT")), ("drydock r1/full/1", "15"));
        assert_eq!((of("PGPASSWORD"), of("PGHOSTADDR"), of("PGOPTIONS")), ("", "", ""));
        assert!(variables.iter().all(|(_, value)| !value.contains("p:\\x")));
    }

    #[test]
    fn an_attempts_mark_fits_and_stays_distinct() {
        assert_eq!(marked("r1/full/1"), "drydock r1/full/1");
        for id in ["r1/full[ä]/", &format!("r1/full[{}]/", "x".repeat(70))] {
            let (first, second) = (marked(&format!("{id}1")), marked(&format!("{id}2")));
            assert!(first.len() <= LONGEST_MARK && first.is_ascii() && first != second, "{first}");
        }
    }
}
