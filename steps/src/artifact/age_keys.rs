//! Who may read what is stored: [`Keys`], age recipients and identities.

use age::x25519::{Identity, Recipient};
use drydock_step::StepError;

use crate::http_client::refused_settings;

/// To whom is encrypted, and who decrypts.
pub(super) struct Keys {
    pub(super) recipients: Vec<Recipient>,
    pub(super) identities: Vec<Identity>,
}

impl Keys {
    /// `None` when neither is named.
    ///
    /// # Errors
    /// `target.settings`, when one is not what it should be; an identity is never shown.
    pub(super) fn read(recipients: &[String], identities: Option<&str>) -> Result<Option<Self>, StepError> {
        let recipient = |text: &String| {
            let why =
                |error| refused_settings(&format!("its `encrypt_to`, {text}, is no age recipient: {error}"));
            text.parse::<Recipient>().map_err(why)
        };
        let recipients = recipients.iter().map(recipient).collect::<Result<Vec<_>, _>>()?;
        let lines = identities.unwrap_or_default().lines().map(str::trim);
        let identity = |line: &str| {
            let why = "its `decrypt_with` has a line that is no age identity (`AGE-SECRET-KEY-1…`)";
            line.parse::<Identity>().map_err(|_| refused_settings(why))
        };
        let identities: Vec<Identity> = lines
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(identity)
            .collect::<Result<_, _>>()?;
        if recipients.is_empty() && identities.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self { recipients, identities }))
    }
}
