//! Who may enter a database, and what it lets them do: [`AccessFacts`].

use drydock_step::StepError;

use super::answer::present;
use super::session::Session;
use super::sql::Identifier;

/// A database as `sys.databases` tells it to somebody who wants to enter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AccessFacts {
    /// `ONLINE`, `RESTORING` and their like.
    pub(super) state: String,
    /// `MULTI_USER`, `SINGLE_USER` or `RESTRICTED_USER`.
    pub(super) user_access: String,
    /// Whether it refuses changes.
    pub(super) is_read_only: bool,
    /// Whether it waits, readable, for further logs.
    pub(super) is_standby: bool,
    /// Whether its Service Broker delivers.
    pub(super) has_broker: bool,
    /// The identity of its Service Broker; nothing where it tells none.
    pub(super) broker: Option<String>,
}

impl AccessFacts {
    /// Of the database of this name; nothing when there is none.
    ///
    /// # Errors
    /// What the server says.
    pub(super) async fn ask(session: &Session, name: &Identifier) -> Result<Option<Self>, StepError> {
        let sql = format!(
            "SELECT state_desc, user_access_desc, is_read_only, is_in_standby, is_broker_enabled, service_broker_guid \
             FROM sys.databases WHERE name = {}",
            name.quoted()
        );
        let answer = session.ask(&format!("asking who may enter database {name}"), &sql).await?;
        let Some(row) = answer.rows().next() else { return Ok(None) };
        Ok(Some(Self {
            state: present(row.text("state_desc")?, "state_desc")?.to_owned(),
            user_access: row.text("user_access_desc")?.unwrap_or_default().to_owned(),
            is_read_only: row.flag("is_read_only")?,
            is_standby: row.flag("is_in_standby")?,
            has_broker: row.flag("is_broker_enabled")?,
            broker: row.guid("service_broker_guid")?.map(|guid| guid.as_str().to_owned()),
        }))
    }

    /// Whether it can be used and changed by those who may enter.
    pub(super) fn is_online(&self) -> bool {
        self.state == "ONLINE" && !self.is_standby
    }

    /// Whether anybody who has a user in it may enter.
    pub(super) fn is_open_to_all(&self) -> bool {
        self.user_access == "MULTI_USER"
    }
}
