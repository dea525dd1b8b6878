//! How to reach a server, as an environment says it: [`SqlServerSettings`].

use std::time::Duration;

use drydock_step::{Field, Millis, PlanPath, Settings, Shape, StepError};
use serde::Deserialize;
use tiberius::{Config, EncryptionLevel};

use super::login::{Login, Proof};
use super::paths::{PathStyle, Sees};

/// The keys of the target kind.
pub(super) const FIELDS: &[Field] = &[
    Field::required("host", Shape::Text, "The server's name or address."),
    Field::optional("port", Shape::Integer, "Its port; 1433 where no `instance` is named."),
    Field::optional(
        "instance",
        Shape::Text,
        "A named instance, whose port the SQL Server Browser of the host tells; instead of `port`.",
    ),
    Field::optional("browser_port", Shape::Integer, "The UDP port of the SQL Server Browser.").or("1434"),
    Field::optional(
        "auth",
        Shape::OneOf(&["sql", "windows", "integrated", "token"]),
        "`sql`: a SQL login. `windows`: a domain user and its password, from Windows alone. `integrated`: who runs Drydock, on Windows, and \
         elsewhere by a Kerberos ticket in a build with the feature `kerberos`. `token`: an access token of Entra ID (Azure AD).",
    )
    .or("\"sql\""),
    Field::optional("user", Shape::Text, "The login; `DOMAIN\\name` for `windows`."),
    Field::optional("password", Shape::Text, "Its password.").with_secrets(),
    Field::optional("token", Shape::Text, "The access token, for `auth: token`; asked for anew at each connection.")
        .with_secrets(),
    Field::optional(
        "encrypt",
        Shape::OneOf(&["required", "on", "off", "strict"]),
        "`required` refuses a server without TLS; `off` protects the login alone; `strict` is TDS 8, TLS from the first byte on.",
    )
    .or("\"required\""),
    Field::optional("ca", Shape::Path, "A PEM file with certificates to trust, besides those of the system."),
    Field::optional(
        "certificate_host",
        Shape::Text,
        "The name that the server's certificate must bear, where it is not `host`.",
    ),
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
    host: String,
    port: Option<u16>,
    instance: Option<String>,
    browser_port: Option<u16>,
    #[serde(default)]
    auth: Proof,
    user: Option<String>,
    password: Option<String>,
    token: Option<String>,
    #[serde(default)]
    encrypt: Encrypt,
    ca: Option<PlanPath>,
    certificate_host: Option<String>,
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
    #[serde(skip)]
    login: Option<Login>,
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

/// The port of a server's only instance.
const PORT: u16 = 1433;

/// The port of the service that tells where the other instances are.
const BROWSER_PORT: u16 = 1434;

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
        if let Some((host, instance)) = read.host.split_once('\\') {
            let help = format!("write `host: {host}` and `instance: {instance}`");
            return Err(refused("its `host` names an instance").help(help));
        }
        if read.instance.is_some() && read.port.is_some() {
            return Err(refused("it has both `port` and `instance`; the port of an instance is found out"));
        }
        if read.instance.is_none() && read.browser_port.is_some() {
            return Err(refused("it has a `browser_port` and no `instance` to ask there for"));
        }
        let login = Login::of(read.auth, read.user.take(), read.password.take(), read.token.take());
        read.login = Some(login.map_err(|why| refused(&why))?);
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

    /// The same server by another SQL login, in this database.
    pub(super) fn by_login(&self, user: &str, password: &str, database: &str) -> Self {
        let login = Login::Sql { user: user.to_owned(), password: password.to_owned() };
        Self { login: Some(login), database: database.to_owned(), ..self.clone() }
    }

    /// For the library that speaks the protocol.
    ///
    /// # Errors
    /// `target.settings`, for a login that this build cannot make.
    pub(super) fn config(&self) -> Result<Config, StepError> {
        let mut config = Config::new();
        config.host(&self.host);
        match &self.instance {
            // The library takes the port for that of the browser.
            Some(instance) => {
                config.instance_name(instance);
                config.port(self.browser_port.unwrap_or(BROWSER_PORT));
            }
            None => config.port(self.port.unwrap_or(PORT)),
        }
        config.database(&self.database);
        let login = self.login.as_ref().ok_or_else(|| StepError::internal("settings without a login"))?;
        config.authentication(login.method().map_err(|why| refused(&why))?);
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
        if let Some(host) = &self.certificate_host {
            config.hostname_in_certificate(host);
        }
        config.handshake_timeout(Some(self.connect_timeout()));
        // A RESTORE may be silent for hours; the library's own limit would end the connection.
        config.command_timeout(None);
        Ok(config)
    }

    /// The server as messages name it: `sql01:1433`, `sql01\prod`.
    pub(super) fn place(&self) -> String {
        match &self.instance {
            Some(instance) => format!("{}\\{instance}", self.host),
            None => format!("{}:{}", self.host, self.port.unwrap_or(PORT)),
        }
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

    /// The same as an ADO.NET connection string, with the secrets in it; nothing for a login that such a string cannot hold.
    pub(super) fn ado_net(&self, database: &str) -> Option<String> {
        let encrypt = match self.encrypt {
            Encrypt::Required | Encrypt::On => "True",
            Encrypt::Off => "False",
            Encrypt::Strict => "Strict",
        };
        let server = match &self.instance {
            Some(instance) => format!("tcp:{}\\{instance}", self.host),
            None => format!("tcp:{},{}", self.host, self.port.unwrap_or(PORT)),
        };
        let mut parts = vec![("Server", server), ("Database", database.to_owned())];
        parts.extend(self.login.as_ref()?.ado_net()?);
        parts.extend([
            ("Encrypt", encrypt.to_owned()),
            ("TrustServerCertificate", if self.trust_certificate { "True" } else { "False" }.to_owned()),
            ("Connect Timeout", self.connect_timeout().as_secs().max(1).to_string()),
            ("Application Name", marked(&self.attempt)),
        ]);
        if let Some(host) = &self.certificate_host {
            parts.push(("Host Name In Certificate", host.clone()));
        }
        let parts = parts.iter().map(|(key, value)| format!("{key}=\"{}\"", value.replace('"', "\"\"")));
        Some(parts.collect::<Vec<_>>().join(";"))
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
        assert_eq!(
            (settings.place().as_str(), settings.connect_timeout()),
            ("sql01:1433", Duration::from_secs(15))
        );
        let named = read(json!({ "instance": "prod" })).unwrap();
        assert_eq!(
            (named.place().as_str(), named.config().unwrap().get_addr().as_str()),
            (r"sql01\prod", "sql01:1434")
        );
        for (more, words) in [
            (json!({ "encrypt": "maybe" }), "unknown variant `maybe`"),
            (json!({ "hots": "x" }), "unknown field `hots`"),
            (json!({ "host": r"sql01\prod" }), "names an instance"),
            (json!({ "ca": "ca.pem" }), "/nowhere/ca.pem, cannot be read"),
            (json!({ "ca": "ca.pem", "trust_certificate": true }), "leave out one"),
            (json!({ "port": 99999 }), "invalid value"),
            (json!({ "port": 1433, "instance": "prod" }), "both `port` and `instance`"),
            (json!({ "browser_port": 1434 }), "no `instance` to ask there for"),
            (json!({ "auth": "token" }), "`auth: token` is a `token`"),
            (json!({ "token": "t" }), "and no `token`"),
        ] {
            let error = read(more).err().unwrap();
            assert!(error.code == "target.settings" && error.message.contains(words), "{error}");
        }
    }

    #[test]
    fn a_connection_string_keeps_its_parts_apart() {
        let text = read(json!({ "encrypt": "strict" })).unwrap().ado_net("Octopus DB").unwrap();
        assert!(text.starts_with("Server=\"tcp:sql01,1433\";Database=\"Octopus DB\";"), "{text}");
        assert!(text.contains("Password=\"p;\"\"x\";Encrypt=\"Strict\";"), "{text}");
        assert!(text.ends_with("Application Name=\"drydock r1/full/1\""), "{text}");
        let named = json!({ "instance": "prod", "certificate_host": "sql.example" });
        let text = read(named).unwrap().ado_net("X").unwrap();
        assert!(text.starts_with(r#"Server="tcp:sql01\prod";"#), "{text}");
        assert!(text.ends_with(r#";Host Name In Certificate="sql.example""#), "{text}");
    }

    #[test]
    fn an_attempts_mark_fits_and_stays_distinct() {
        assert_eq!(marked("r1/full/1"), "drydock r1/full/1");
        let long = |n: u32| marked(&format!("r1/full[{}]/{n}", "𝄞".repeat(100)));
        assert!(long(1).encode_utf16().count() <= LONGEST_MARK);
        assert_ne!(long(1), long(2));
    }
}
