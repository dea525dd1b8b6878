//! Certificates, credentials and the master key of `master`. Main function: [`execute`].

use std::io;
use std::path::PathBuf;

use chrono::{DateTime, Duration, Utc};

use super::halt::Done;
use super::output::Output;
use super::session::Session;
use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::statement::Security;
use crate::sqlserver::moment;
use crate::sqlserver::store::certificate::{Certificate, Unreadable};
use crate::sqlserver::store::instance::{Secured, same_name};
use crate::sqlserver::tds::tokens::Command;

/// The first number of a certificate.
const FIRST: u32 = 256;

/// Runs a statement about security.
pub fn execute(session: &mut Session, security: &Security, out: &mut Output) -> Done<()> {
    if session.current != 1 {
        return Err(SqlError::not_understood("certificates and credentials outside of master").into());
    }
    may(session, security)?;
    match security {
        Security::CreateMasterKey => {
            let mut catalog = session.instance.catalog();
            if catalog.secured.has_master_key {
                let text = "There is already a master key in the database. Please drop it before performing this statement.";
                return Err(SqlError::new(15578, text).into());
            }
            catalog.secured.has_master_key = true;
            session.instance.save(&catalog)?;
        }
        Security::CreateCertificate { name, subject, expires } => {
            let now = session.instance.clock.now();
            let expires = match expires {
                Some(text) => moment::parse(text).map(|read| read.local.and_utc()),
                None => Some(now + Duration::days(365)),
            };
            let expires = expires.ok_or_else(|| {
                SqlError::new(
                    241,
                    "Conversion failed when converting date and/or time from character string.",
                )
            })?;
            let drawn = session.instance.guids.next();
            let made = |id| Ok(Certificate::new(id, name, subject, expires, drawn.as_bytes()));
            add(session, name, made)?;
        }
        Security::CertificateFromFile { name, file, key } => from_file(session, name, file, key.as_ref())?,
        Security::BackupCertificate { name, file, key } => to_file(session, name, file, key.as_ref())?,
        Security::DropCertificate(name) => {
            let mut catalog = session.instance.catalog();
            let at = catalog.secured.certificates.iter().position(|own| same_name(&own.name, name));
            let at = at.ok_or_else(|| missing("certificate", name))?;
            catalog.secured.certificates.remove(at);
            session.instance.save(&catalog)?;
        }
        Security::CreateCredential { name, identity } => {
            let mut catalog = session.instance.catalog();
            if catalog.secured.credentials.iter().any(|(own, _)| same_name(own, name)) {
                let text = format!("The credential with name \"{name}\" already exists.");
                return Err(SqlError::new(15530, text).into());
            }
            catalog.secured.credentials.push((name.clone(), identity.clone()));
            session.instance.save(&catalog)?;
        }
        Security::DropCredential(name) => {
            let mut catalog = session.instance.catalog();
            let at = catalog.secured.credentials.iter().position(|(own, _)| same_name(own, name));
            let at = at.ok_or_else(|| missing("credential", name))?;
            catalog.secured.credentials.remove(at);
            session.instance.save(&catalog)?;
        }
    }
    out.done(0, Command::None, 0);
    Ok(())
}

/// Fails where the login may not do it.
fn may(session: &mut Session, security: &Security) -> Result<(), SqlError> {
    session.attach(1)?;
    let right = match security {
        Security::CreateCertificate { .. } | Security::CertificateFromFile { .. } => "CREATE CERTIFICATE",
        // Of those that are named, whoever controls them.
        Security::BackupCertificate { name, .. } | Security::DropCertificate(name) => {
            let id = certificate(&session.instance.catalog().secured, name).map(|own| own.id);
            if !id.map_or(Ok(true), |id| session.allows_certificate(1, "CONTROL", id))? {
                return Err(missing("certificate", name));
            }
            ""
        }
        Security::CreateMasterKey => "CONTROL",
        Security::CreateCredential { .. } | Security::DropCredential(_) => {
            if !session.instance.catalog().allows(&session.client.login, "ALTER ANY CREDENTIAL") {
                return Err(SqlError::new(15_247, "User does not have permission to perform this action."));
            }
            ""
        }
    };
    if !right.is_empty() && !session.allows(1, right, None)? {
        return Err(SqlError::new(15_247, "User does not have permission to perform this action."));
    }
    Ok(())
}

/// 15151.
#[must_use]
pub fn missing(what: &str, name: &str) -> SqlError {
    let text =
        format!("Cannot find the {what} '{name}', because it does not exist or you do not have permission.");
    SqlError::new(15151, text)
}

/// The certificate of that name.
#[must_use]
pub fn certificate<'a>(secured: &'a Secured, name: &str) -> Option<&'a Certificate> {
    secured.certificates.iter().find(|own| same_name(&own.name, name))
}

fn add(
    session: &Session,
    name: &str,
    made: impl FnOnce(u32) -> Result<Certificate, SqlError>,
) -> Result<(), SqlError> {
    let mut catalog = session.instance.catalog();
    let certificates = &catalog.secured.certificates;
    let id = certificates.iter().map(|own| own.id + 1).max().unwrap_or(FIRST);
    if !catalog.secured.has_master_key {
        let text = "Please create a master key in the database or open the master key in the session before performing this operation.";
        return Err(SqlError::new(15581, text));
    }
    let taken = certificates.iter().any(|own| same_name(&own.name, name));
    let made = made(id)?;
    if taken || certificates.iter().any(|own| own.thumbprint == made.thumbprint) {
        let text = format!(
            "A certificate with name '{name}' already exists or this certificate already has been added to the database."
        );
        return Err(SqlError::new(15232, text));
    }
    catalog.secured.certificates.push(made);
    session.instance.save(&catalog)
}

fn path(session: &Session, written: &str) -> PathBuf {
    session.instance.setup.file_path(written, false)
}

fn from_file(
    session: &Session,
    name: &str,
    file: &str,
    key: Option<&(String, String)>,
) -> Result<(), SqlError> {
    let file = path(session, file);
    let key = key.map(|(file, password)| (path(session, file), password.as_str()));
    let key = key.as_ref().map(|(path, password)| (path.as_path(), *password));
    add(session, name, |id| {
        Certificate::read(id, name, &file, key).map_err(|why| match why {
            Unreadable::Password => SqlError::new(15465, "The private key password is invalid."),
            Unreadable::OtherKey => {
                SqlError::new(15507, "A key required by this operation appears to be corrupted.")
            }
            Unreadable::File => SqlError::new(
                15208,
                "The certificate, asymmetric key, or private key file is not valid or does not exist; or you do not have permissions for it.",
            ),
        })
    })
}

fn to_file(
    session: &Session,
    name: &str,
    file: &str,
    key: Option<&(String, String)>,
) -> Result<(), SqlError> {
    let unwritable = |path: &PathBuf| {
        let (paths, path) = (session.instance.setup.paths(), path.clone());
        move |_: io::Error| {
            let text = format!(
                "Cannot write into file '{}'. Verify that you have write permissions, that the file path is valid, and that the file does not already exist.",
                paths.shown(&path)
            );
            SqlError::new(15240, text)
        }
    };
    let found = certificate(&session.instance.catalog().secured, name).cloned();
    let found = found.ok_or_else(|| missing("certificate", name))?;
    let file = path(session, file);
    if let Some((key, _)) = key.filter(|(key, _)| path(session, key).exists()) {
        return Err(unwritable(&path(session, key))(io::ErrorKind::AlreadyExists.into()));
    }
    found.write(&file).map_err(unwritable(&file))?;
    let Some((key, password)) = key else { return Ok(()) };
    let key = path(session, key);
    found.write_key(&key, password).map_err(unwritable(&key))?;
    let at: DateTime<Utc> = session.instance.clock.now();
    let mut catalog = session.instance.catalog();
    if let Some(own) = catalog.secured.certificates.iter_mut().find(|own| own.id == found.id) {
        own.backed_up = Some(at);
    }
    session.instance.save(&catalog)
}
