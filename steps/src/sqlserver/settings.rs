//! How to reach a server, as an environment says it: [`SqlServerSettings`].

use std::time::Duration;

use drydock_step::{Field, Millis, PlanPath, Settings, Shape, StepError};
use serde::Deserialize;
use tiberius::{AuthMethod, Config, EncryptionLevel};

use super::paths::{PathStyle, Sees};

/// The keys of the target kind.
pub(super) const FIELDS: &[Field] = &[
    Field::required("host", Shape::Text, "The server's name or address."),
    Field::optional("port", Shape::Integer, "Its port.").or("1433"),
    Field::required("user", Shape::Text, "A SQL login."),
    Field::required("password", Shape::Text, "Its password.").with_secrets(),
    Field::optional(
        "encrypt",
        Shape::OneOf(&["required", "on", "off", "strict"]),
        "`required` refuses a server without TLS; `off` protects the login alone; `strict` is TDS 8.",
    )
    .or("\"required\""),
    Field::optional("ca", Shape::Path, "A PEM file with certificates to trust, besides those of the system."),
    Field::optional(
        "trust_certificate",
        Shape::Boolean,
        "Accept any certificate: whoever stands between can read and change everything.",
    )
    .or("false"),
    Field::optional("database", Shape::Text, "The database that the login begins in.").or("\"master\""),
    Field::optional("connect_timeout", Shape::Duration, "The longest that a connection may take.")
        .or("\"15s\""),
    Field::optional(
        "sees",
        Shape::List(&Shape::Record(SEES_FIELDS)),
        "How this server reaches folders of the artifact store.",
    ),
];

const SEES_FIELDS: &[Field] = &[
    Field::required("artifacts", Shape::Text, "A folder of the artifact store, such as `sql/`."),
    Field::required("as", Shape::Text, "The same folder as the server names it."),
];

/// How to reach a server. It never prints: it holds the password.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SqlServerSettings {
    pub(super) host: String,
    #[serde(default = "standard_port")]
    pub(super) port: u16,
    user: String,
    password: String,
    #[serde(default)]
    encrypt: Encrypt,
    ca: Option<PlanPath>,
    #[serde(default)]
    trust_certificate: bool,
    #[serde(default = "master")]
    pub(super) database: String,
    connect_timeout: Option<Millis>,
    #[serde(default)]
    sees: Vec<Seen>,
    #[serde(skip)]
    pub(super) attempt: String,
    #[serde(skip)]
    ca_pem: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encrypt {
    #[default]
    Required,
    On,
    Off,
    Strict,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    artifacts: String,
    #[serde(rename = "as")]
    folder: String,
}

fn standard_port() -> u16 {
    1433
}

fn master() -> String {
    "master".into()
}

fn refused(why: &str) -> StepError {
    StepError::new("target.settings", format!("the target's settings do not fit: {why}"))
}

impl SqlServerSettings {
    /// The settings of a target, its certificates read.
    ///
    /// # Errors
    /// `target.settings`.
    pub(super) fn of(settings: &Settings) -> Result<Self, StepError> {
        let mut read: Self = settings.read()?;
        if read.host.contains('\\') {
            return Err(refused("its `host` names an instance").help("give the port of the instance instead"));
        }
        if let Some(ca) = &read.ca {
            if read.trust_certificate {
                return Err(refused("it has both `ca` and `trust_certificate: true`; leave out one"));
            }
            let path = ca.resolved(&settings.folder);
            let failed = |why: String| refused(&format!("its `ca`, {}, {why}", path.display()));
            let pem = std::fs::read(&path).map_err(|error| failed(format!("cannot be read: {error}")))?;
            if !pem.windows(11).any(|part| part == b"-----BEGIN ") {
                return Err(failed("is no PEM file".into()));
            }
            read.ca_pem = Some(pem);
        }
        read.attempt.clone_from(&settings.attempt);
        Ok(read)
    }

    /// For the library that speaks the protocol.
    pub(super) fn config(&self) -> Config {
        let mut config = Config::new();
        config.host(&self.host);
        config.port(self.port);
        config.database(&self.database);
        config.authentication(AuthMethod::sql_server(&self.user, &self.password));
        config.application_name(marked(&self.attempt));
        config.encryption(match self.encrypt {
            Encrypt::Required => EncryptionLevel::Required,
            Encrypt::On => EncryptionLevel::On,
            Encrypt::Off => EncryptionLevel::Off,
            Encrypt::Strict => EncryptionLevel::Strict,
        });
        if let Some(pem) = &self.ca_pem {
            config.trust_cert_ca_bundle(pem.clone());
        } else if self.trust_certificate {
            config.trust_cert();
        }
        config.handshake_timeout(Some(self.connect_timeout()));
        // A RESTORE may be silent for hours; the library's own limit would end the connection.
        config.command_timeout(None);
        config
    }

    /// The longest that a connection may take.
    pub(super) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout.unwrap_or(Millis(15_000)).0)
    }

    /// What the server sees of the artifact store.
    ///
    /// # Errors
    /// `sqlserver.path`, when a folder is none on a server of this style.
    pub(super) fn sees(&self, style: PathStyle) -> Result<Sees, StepError> {
        Sees::parse(style, self.sees.iter().map(|seen| (seen.artifacts.as_str(), seen.folder.as_str())))
    }

    /// The same as an ADO.NET connection string, with the password in it.
    pub(super) fn ado_net(&self, database: &str) -> String {
        let encrypt = match self.encrypt {
            Encrypt::Required | Encrypt::On => "True",
            Encrypt::Off => "False",
            Encrypt::Strict => "Strict",
        };
        let parts = [
            ("Server", format!("tcp:{},{}", self.host, self.port)),
            ("Database", database.to_owned()),
            ("User ID", self.user.clone()),
            ("Password", self.password.clone()),
            ("Encrypt", encrypt.to_owned()),
            ("TrustServerCertificate", if self.trust_certificate { "True" } else { "False" }.to_owned()),
            ("Connect Timeout", self.connect_timeout().as_secs().max(1).to_string()),
            ("Application Name", marked(&self.attempt)),
        ];
        parts.map(|(key, value)| format!("{key}=\"{}\"", value.replace('"', "\"\""))).join(";")
    }
}

/// The longest name of a program, and of a backup set.
const LONGEST_MARK: usize = 128;

/// An attempt's id as it is left on the server: `drydock r1/full/1`. Of an id that does not fit, the beginning and a digest.
pub(super) fn marked(attempt: &str) -> String {
    use sha2::Digest;
    let whole = format!("drydock {attempt}");
    if whole.encode_utf16().count() <= LONGEST_MARK {
        return whole;
    }
    let digest = sha2::Sha256::digest(attempt.as_bytes());
    let digest: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    // Half of the room holds the beginning even where every character takes two units.
    let beginning: String = whole.chars().take(LONGEST_MARK / 2 - 9).collect();
    format!("{beginning}~{digest}")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(more: Value) -> Result<SqlServerSettings, StepError> {
        let mut values = json!({ "host": "sql01", "user": "drydock", "password": "p;\"x" });
        for (key, value) in more.as_object().unwrap() {
            values[key] = value.clone();
        }
        let Value::Object(values) = values else { unreachable!() };
        SqlServerSettings::of(&Settings { values, folder: "/nowhere".into(), attempt: "r1/full/1".into() })
    }

    #[test]
    fn settings_have_defaults_and_say_what_does_not_fit() {
        let settings = read(json!({})).unwrap();
        assert_eq!((settings.port, settings.connect_timeout()), (1433, Duration::from_secs(15)));
        for (more, words) in [
            (json!({ "encrypt": "maybe" }), "unknown variant `maybe`"),
            (json!({ "hots": "x" }), "unknown field `hots`"),
            (json!({ "host": r"sql01\prod" }), "names an instance"),
            (json!({ "ca": "ca.pem" }), "/nowhere/ca.pem, cannot be read"),
            (json!({ "ca": "ca.pem", "trust_certificate": true }), "leave out one"),
            (json!({ "port": 99999 }), "invalid value"),
        ] {
            let error = read(more).err().unwrap();
            assert!(error.code == "target.settings" && error.message.contains(words), "{error}");
        }
    }

    #[test]
    fn a_connection_string_keeps_its_parts_apart() {
        let text = read(json!({ "encrypt": "strict" })).unwrap().ado_net("Octopus DB");
        assert!(text.starts_with("Server=\"tcp:sql01,1433\";Database=\"Octopus DB\";"), "{text}");
        assert!(text.contains("Password=\"p;\"\"x\";Encrypt=\"Strict\";"), "{text}");
        assert!(text.ends_with("Application Name=\"drydock r1/full/1\""), "{text}");
    }

    #[test]
    fn an_attempts_mark_fits_and_stays_distinct() {
        assert_eq!(marked("r1/full/1"), "drydock r1/full/1");
        let long = |n: u32| marked(&format!("r1/full[{}]/{n}", "𝄞".repeat(100)));
        assert!(long(1).encode_utf16().count() <= LONGEST_MARK);
        assert_ne!(long(1), long(2));
    }
}
