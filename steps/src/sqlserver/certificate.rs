//! `sqlserver.certificate`: [`Certificate`] backs up a certificate with its private key, or brings one back from its files.

use async_trait::async_trait;
use chrono::DateTime;
use drydock_recovery::backup::clock;
use drydock_step::{
    Access, Action, ActionKind, Ctx, Effect, Ended, Facts, Field, Grant, KindShape, Preflight,
    PreflightFinding, Reconciled, Shape, StepError, StepKind, TargetNeed, Touch, inputs, known, maybe,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::backup::artifacts_of;
use super::backup_file::stamp;
use super::backup_places::folder_finding;
use super::failure::after_the_work;
use super::files::FileStatus;
use super::finding::{fatal, found, warning};
use super::paths::ServerPath;
use super::rights::certificate;
use super::sql::{Identifier, quoted};
use super::target::SqlServerConnection;
use crate::described::described;

const FROM: &[Field] = &[
    Field::required("certificate", Shape::Text, "The certificate's file."),
    Field::required("key", Shape::Text, "The file of its private key."),
];

inputs! {
    /// Inputs of `sqlserver.certificate`.
    pub struct CertificateInputs {
        /// The certificate in `master`.
        name: Identifier = known(Shape::Text),
        /// The password that the private key is locked with in its file: a secret. Without it the file is worth nothing; keep it
        /// elsewhere.
        password: String = known(Shape::Text).with_secrets(),
        /// The folder that it is backed up into: one of the artifact store that the server sees, or an absolute one on the server.
        to: String = maybe(Shape::Text).or("\"sql\""),
        /// Bring it back from these files instead: paths of the artifact store that the server sees, or absolute ones on the server.
        from: Option<From> = maybe(Shape::Record(FROM)),
        /// The certificate that it has to be, as `0x…`. One that is there already is then left as it is.
        thumbprint: Option<String> = maybe(Shape::Text),
    }
}

const OUTPUTS: &[Field] = &[
    Field::required("name", Shape::Text, "Its name."),
    Field::required("thumbprint", Shape::Text, "By which backups know it, as `0x…`."),
    Field::optional("subject", Shape::Text, "Its subject."),
    Field::optional("expires_at", Shape::Datetime, "When it ends. It still opens what it encrypted."),
    Field::required("certificate", Shape::Text, "Its file, as the server names it."),
    Field::required("key", Shape::Text, "The file of its private key, as the server names it."),
    Field::required("files", Shape::List(&Shape::Text), "Both."),
    Field::required(
        "artifacts",
        Shape::List(&Shape::Text),
        "Both in the artifact store; empty where `sees` does not say.",
    ),
    Field::required("created", Shape::Boolean, "Whether it was brought into this server."),
];

/// The files that a certificate comes back from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct From {
    certificate: String,
    key: String,
}

/// Backs up a certificate, or brings it back.
pub struct Certificate;

/// What is kept before the statement is sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Sent {
    certificate: String,
    key: String,
}

/// A certificate as the server has it.
struct Own {
    thumbprint: String,
    subject: Option<String>,
    expires_at: Option<String>,
    has_key: bool,
}

/// Both files.
struct Files {
    certificate: ServerPath,
    key: ServerPath,
}

impl Files {
    fn sent(&self) -> Sent {
        Sent { certificate: self.certificate.to_string(), key: self.key.to_string() }
    }

    /// How many of them are there.
    async fn there(&self, server: &SqlServerConnection) -> Result<Vec<&ServerPath>, StepError> {
        let mut there = Vec::new();
        for path in [&self.certificate, &self.key] {
            if FileStatus::ask(server.session(), path).await?.is_file {
                there.push(path);
            }
        }
        Ok(there)
    }
}

/// The statement; the password is quoted by the caller, for one that is shown is none.
fn statement(name: &str, certificate: &str, key: &str, creates: bool, password: &str) -> String {
    if creates {
        return format!(
            "CREATE CERTIFICATE {name} FROM FILE = {certificate} WITH PRIVATE KEY (FILE = {key}, DECRYPTION BY PASSWORD = {password})"
        );
    }
    format!(
        "BACKUP CERTIFICATE {name} TO FILE = {certificate} WITH PRIVATE KEY (FILE = {key}, ENCRYPTION BY PASSWORD = {password})"
    )
}

/// The text with `_` for each character that a file's name should not have.
fn plain(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_') { c } else { '_' };
    text.chars().map(plain).take(80).collect()
}

impl CertificateInputs {
    fn creates(&self) -> bool {
        matches!(self.from.value(), Some(Some(_)))
    }

    /// The names of new files: every attempt has its own, so that none is ever written over.
    fn names(&self, time: &str, attempt: &str) -> (String, String) {
        let stem = format!("{}_{time}_{}", plain(&self.name.to_string()), plain(attempt));
        (format!("{stem}.cer"), format!("{stem}.pvk"))
    }

    async fn files(&self, ctx: &Ctx, server: &SqlServerConnection) -> Result<Files, StepError> {
        if let Some(from) = self.from.known()? {
            let certificate = place(server, &from.certificate).await?;
            return Ok(Files { certificate, key: place(server, &from.key).await? });
        }
        let now = DateTime::from_timestamp_millis(ctx.now_ms()).unwrap_or_default();
        let (certificate, key) = self.names(&stamp(now), &ctx.attempt);
        let folder = place(server, self.to.known()?).await?;
        Ok(Files { certificate: folder.join(&certificate)?, key: folder.join(&key)? })
    }

    async fn own(&self, server: &SqlServerConnection) -> Result<Option<Own>, StepError> {
        let sql = format!(
            "SELECT thumbprint, subject, expiry_date, pvt_key_encryption_type FROM master.sys.certificates WHERE name = {}",
            self.name.known()?.quoted()
        );
        let answer = server.session().ask("asking for the certificate", &sql).await?;
        let Some(row) = answer.rows().next() else { return Ok(None) };
        Ok(Some(Own {
            thumbprint: super::answer::present(row.hex("thumbprint")?, "thumbprint")?,
            subject: row.text("subject")?.map(str::to_owned),
            // Certificates keep their times in UTC.
            expires_at: row.time("expiry_date")?.map(|time| clock(time.and_utc())),
            has_key: row.text("pvt_key_encryption_type")? != Some("NA"),
        }))
    }

    /// Whether a certificate of this name is the one that is meant.
    fn is_meant(&self, own: &Own) -> Result<bool, StepError> {
        let wanted = self.thumbprint.known()?.as_ref();
        Ok(wanted.is_some_and(|wanted| wanted.eq_ignore_ascii_case(&own.thumbprint)))
    }

    /// The error for a certificate of this name that is another one.
    fn other(&self, own: &Own) -> StepError {
        let (message, help) = match self.thumbprint.value() {
            Some(Some(wanted)) => (
                format!("certificate {} is {} here, and {wanted} is wanted", self.name, own.thumbprint),
                "the two share nothing but their name; bring the wanted one back under another `name`",
            ),
            _ => (
                format!("there is a certificate {} already, {}", self.name, own.thumbprint),
                "say in `thumbprint` which one it has to be: the same one is left as it is",
            ),
        };
        StepError::new("certificate.exists", message).help(help)
    }

    async fn told(
        &self,
        server: &SqlServerConnection,
        own: &Own,
        files: &Files,
        created: bool,
    ) -> Result<Value, StepError> {
        let both = [files.certificate.to_string(), files.key.to_string()];
        let artifacts = artifacts_of(server, &both).await?;
        let [certificate, key] = &both;
        Ok(json!({
            "name": self.name.known()?.as_str(),
            "thumbprint": own.thumbprint,
            "subject": own.subject,
            "expires_at": own.expires_at,
            "certificate": certificate,
            "key": key,
            "files": both,
            "artifacts": artifacts,
            "created": created,
        }))
    }
}

/// A path of the artifact store, or an absolute one on the server.
async fn place(server: &SqlServerConnection, path: &str) -> Result<ServerPath, StepError> {
    let style = server.facts().await?.style;
    if style.is_absolute(path) {
        ServerPath::parse(style, path)
    } else {
        server.sees().await?.server_path(path)
    }
}

#[async_trait]
impl StepKind for Certificate {
    type Inputs = CertificateInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["sqlserver"]),
            outputs: Shape::Record(OUTPUTS),
            effect: Effect::Writes,
            permissions: &[
                "CONTROL on the certificate, to back it up",
                "CREATE CERTIFICATE in master, to bring one back",
                "the server's service account may write into the folder, or read the files",
            ],
            example: "key:\n  uses: sqlserver.certificate\n  target: sql\n  with: { name: backups, password: \"{{ params.key_password }}\" }\n",
            ..described(
                "sqlserver.certificate",
                "Backs up a certificate of `master` with its private key into files of its own, or brings one back from its files. What is \
                 encrypted with a certificate that only its own server has is lost together with that server.",
            )
        }
    }

    fn touches(&self, target: Option<&str>, inputs: &CertificateInputs) -> Vec<Touch> {
        let touch = |resource, access| Touch { target: target.map(str::to_owned), resource, access };
        let certificate = inputs.name.value().map_or("?".into(), |name| format!("certificate {name}"));
        if inputs.creates() {
            return vec![touch(certificate, Access::Writes)];
        }
        let folder = inputs.to.value().map_or("?".into(), |folder| format!("backups in {folder}"));
        vec![touch(certificate, Access::Reads), touch(folder, Access::Writes)]
    }

    fn actions(&self, target: Option<&str>, inputs: &CertificateInputs, _facts: &Facts) -> Vec<Action> {
        let (certificate, key) = match inputs.from.value() {
            Some(Some(from)) => (from.certificate.clone(), from.key.clone()),
            _ => {
                let (certificate, key) = inputs.names("(time)", "attempt");
                (format!("{}/{certificate}", inputs.to), format!("{}/{key}", inputs.to))
            }
        };
        let name = inputs.name.or_after(Identifier::bracketed);
        let text = statement(&name, &quoted(&certificate), &quoted(&key), inputs.creates(), &quoted("***"));
        vec![Action::writes(ActionKind::Sql, target, text)]
    }

    fn grants(&self, inputs: &CertificateInputs) -> Vec<Grant> {
        let brings_back = inputs.from.value().is_some_and(Option::is_some);
        inputs.name.value().map(|name| certificate(name, brings_back)).into_iter().collect()
    }

    async fn preflight(&self, ctx: &Ctx, inputs: &CertificateInputs) -> Result<Preflight, StepError> {
        if inputs.name.value().is_none() || inputs.from.value().is_none() || inputs.to.value().is_none() {
            return Ok(Preflight::default());
        }
        let connection = ctx.connection().await?;
        let server = SqlServerConnection::of(&*connection)?;
        let findings = match inputs.files(ctx, server).await {
            Ok(files) if inputs.creates() => creation(server, inputs, &files).await?,
            Ok(_) => backup(server, inputs).await?,
            Err(error) => vec![found(error)],
        };
        Ok(Preflight { facts: json!({}), findings })
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &CertificateInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let connection = ctx.connection().await?;
        let server = SqlServerConnection::of(&*connection)?;
        let (files, creates) = (inputs.files(ctx, server).await?, inputs.creates());
        let own = inputs.own(server).await?;
        match &own {
            Some(own) if creates && inputs.is_meant(own)? && own.has_key => {
                return Ok(Ended::Outputs(inputs.told(server, own, &files, false).await?));
            }
            Some(own) if creates || inputs.thumbprint.known()?.is_some() && !inputs.is_meant(own)? => {
                return Err(inputs.other(own));
            }
            _ => {}
        }
        if let (false, Some(path)) = (creates, files.there(server).await?.first()) {
            return Err(super::backup_file::exists(path));
        }
        ctx.note(json!({ "sent": files.sent() })).await?;
        let name = inputs.name.known()?.bracketed();
        let (certificate, key) = (quoted(files.certificate.as_str()), quoted(files.key.as_str()));
        let sql = statement(&name, &certificate, &key, creates, &quoted(inputs.password.known()?));
        let doing = format!("{} CERTIFICATE {name}", if creates { "CREATE" } else { "BACKUP" });
        server.session().work(&doing, &sql).await?;
        let own = inputs.own(server).await.map_err(after_the_work)?;
        match own {
            Some(own) if creates && inputs.thumbprint.known()?.is_some() && !inputs.is_meant(&own)? => {
                Err(inputs.other(&own))
            }
            Some(own) => Ok(Ended::Outputs(inputs.told(server, &own, &files, creates).await?)),
            None => Err(StepError::new(
                "certificate.unseen",
                format!("{doing}: it was done, and the login does not see it"),
            )
            .help("grant VIEW DEFINITION on the certificate to the login")),
        }
    }

    async fn reconcile(&self, ctx: &Ctx, inputs: &CertificateInputs) -> Result<Reconciled, StepError> {
        let sent = ctx.notes.iter().filter_map(|note| Sent::deserialize(note.get("sent")?).ok()).next_back();
        let Some(sent) = sent else { return Ok(Reconciled::NotDone) };
        let connection = ctx.connection().await?;
        let server = SqlServerConnection::of(&*connection)?;
        let style = server.facts().await?.style;
        let (certificate, key) =
            (ServerPath::parse(style, &sent.certificate)?, ServerPath::parse(style, &sent.key)?);
        let files = Files { certificate, key };
        // Before it was sent there was none of this name, and none of these files.
        let own = inputs.own(server).await?;
        if inputs.creates() {
            return match own {
                Some(own) => Ok(Reconciled::Done(inputs.told(server, &own, &files, true).await?)),
                None => Ok(Reconciled::NotDone),
            };
        }
        let there = files.there(server).await?;
        match own {
            Some(own) if there.len() == 2 => {
                Ok(Reconciled::Done(inputs.told(server, &own, &files, false).await?))
            }
            _ => {
                for path in there {
                    ctx.log(format!("{path} is left of an unfinished backup; no other uses that name"));
                }
                Ok(Reconciled::NotDone)
            }
        }
    }
}

/// What keeps a certificate from being backed up.
async fn backup(
    server: &SqlServerConnection,
    inputs: &CertificateInputs,
) -> Result<Vec<PreflightFinding>, StepError> {
    let folder = place(server, inputs.to.known()?).await?;
    let mut findings: Vec<PreflightFinding> = folder_finding(server, &folder).await?.into_iter().collect();
    match inputs.own(server).await? {
        None => {
            let message =
                format!("the server has no certificate {}, or the login does not see it", inputs.name);
            findings.push(fatal(
                "sqlserver.15151",
                message,
                "is the name spelled right, and is it in `master`?",
            ));
        }
        Some(own) if !own.has_key => {
            let message = format!("certificate {} has no private key on this server", inputs.name);
            findings.push(fatal("sqlserver.33101", message, "back it up where it was made"));
        }
        Some(own) if inputs.thumbprint.value().is_some_and(Option::is_some) && !inputs.is_meant(&own)? => {
            findings.push(found(inputs.other(&own)));
        }
        Some(_) => {}
    }
    Ok(findings)
}

/// What keeps a certificate from being brought back.
async fn creation(
    server: &SqlServerConnection,
    inputs: &CertificateInputs,
    files: &Files,
) -> Result<Vec<PreflightFinding>, StepError> {
    let own = inputs.own(server).await?;
    if let Some(own) = own {
        let is_there = inputs.is_meant(&own)? && own.has_key;
        return Ok(if is_there { Vec::new() } else { vec![found(inputs.other(&own))] });
    }
    let mut findings = Vec::new();
    let sql = "SELECT name FROM master.sys.symmetric_keys WHERE name = N'##MS_DatabaseMasterKey##'";
    if server.session().ask("asking for the master key", sql).await?.len() == 0 {
        let help = "CREATE MASTER KEY ENCRYPTION BY PASSWORD = '…' in `master`; it protects the private keys of certificates";
        // A login that may not see it is told that there is none.
        let finding = if server.facts().await?.is_sysadmin { fatal } else { warning };
        findings.push(finding("sqlserver.15581", "`master` has no master key", help));
    }
    let there = files.there(server).await?;
    for path in [&files.certificate, &files.key] {
        if server.facts().await?.is_sysadmin && !there.iter().any(|there| there.is(path)) {
            let message = format!("the server sees no file {path}");
            findings.push(fatal(
                "sqlserver.15208",
                message,
                "bring it there; may the server's service account read it?",
            ));
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use drydock_step::test_host::{actions, touches};

    use super::*;

    #[test]
    fn a_dry_run_shows_the_statement_and_no_password() {
        let with = json!({ "name": "back]ups", "password": [{ "secret": "params.p" }] });
        let found = &actions(&Certificate, with.clone()).unwrap()[0];
        assert_eq!(
            found.text,
            "BACKUP CERTIFICATE [back]]ups] TO FILE = N'sql/back_ups_(time)_attempt.cer' WITH PRIVATE KEY (FILE = N'sql/back_ups_(time)_attempt.pvk', ENCRYPTION BY PASSWORD = N'***')"
        );
        assert_eq!(touches(&Certificate, with).unwrap()[1].access, Access::Writes);
        let with = json!({ "name": "backups", "password": "x", "from": { "certificate": "sql/b.cer", "key": "sql/b.pvk" } });
        let found = &actions(&Certificate, with).unwrap()[0];
        assert_eq!(
            found.text,
            "CREATE CERTIFICATE [backups] FROM FILE = N'sql/b.cer' WITH PRIVATE KEY (FILE = N'sql/b.pvk', DECRYPTION BY PASSWORD = N'***')"
        );
    }

    #[test]
    fn half_of_the_files_is_refused() {
        let with = json!({ "name": "b", "password": "x", "from": { "certificate": "sql/b.cer" } });
        let error = actions(&Certificate, with).unwrap_err();
        assert!(error.code == "input" && error.message.contains("missing field `key`"), "{error}");
    }
}
