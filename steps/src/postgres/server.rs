//! What a server is: [`ServerFacts`]. What the role may not see is nothing, with the reason beside it ([`Seen`]).

use drydock_step::StepError;
use serde::Serialize;

use super::answer::Row;
use super::session::Session;

/// What every role may see.
const SERVER: &str = "SELECT current_setting('server_version') AS version, current_setting('server_version_num') AS number, \
    pg_is_in_recovery() AS in_recovery, current_setting('data_checksums') AS data_checksums, \
    current_setting('wal_level') AS wal_level, current_setting('archive_mode') AS archive_mode, \
    current_setting('max_wal_senders') AS max_wal_senders, current_setting('block_size') AS block_size, \
    (SELECT setting FROM pg_settings WHERE name = 'wal_segment_size') AS segment_size, \
    current_setting('is_superuser') = 'on' AS is_superuser";

/// What the control file says, which a managed service may keep to itself.
const CONTROL: &str = "SELECT s.system_identifier AS system_identifier, c.timeline_id AS timeline \
    FROM pg_control_system() AS s CROSS JOIN pg_control_checkpoint() AS c";

/// Something that a role may or may not see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Seen<T> {
    /// What it is.
    pub(super) value: Option<T>,
    /// Why it is not seen, in the server's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hidden: Option<String>,
}

/// What a server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ServerFacts {
    /// As it says it: `18.6`, `15.18 (Debian 15.18-0+deb12u1)`.
    pub(super) version: String,
    /// `server_version_num`: 180006.
    pub(super) version_number: i64,
    /// Made once by initdb, and the same in every physical copy.
    pub(super) system_identifier: Seen<String>,
    /// The timeline of its last checkpoint.
    pub(super) timeline: Seen<i64>,
    /// Whether it replays WAL: a standby, or in the middle of a recovery.
    pub(super) in_recovery: bool,
    /// Whether its pages have checksums.
    pub(super) data_checksums: bool,
    /// `minimal`, `replica` or `logical`.
    pub(super) wal_level: String,
    /// `off`, `on` or `always`.
    pub(super) archive_mode: String,
    /// The length of a WAL segment in bytes.
    pub(super) segment_size: i64,
    /// How many may stream WAL or a base backup at once.
    pub(super) max_wal_senders: i64,
    /// The length of a page in bytes.
    pub(super) block_size: i64,
    /// Whether the role may do everything.
    pub(super) is_superuser: bool,
}

impl ServerFacts {
    /// Asks the server.
    ///
    /// # Errors
    /// What the server says.
    pub(super) async fn of(session: &Session) -> Result<Self, StepError> {
        let server = session.ask("asking what the server is", SERVER).await?;
        let mut facts = Self::read(server.first()?)?;
        match session.ask("asking for the server's identity", CONTROL).await {
            Ok(control) => {
                let row = control.first()?;
                facts.system_identifier.value = row.text("system_identifier")?.map(str::to_owned);
                facts.timeline.value = row.number("timeline")?;
            }
            // Anything but a refusal would be told of the next question as well.
            Err(error) => {
                facts.system_identifier.hidden = Some(error.message.clone());
                facts.timeline.hidden = Some(error.message);
            }
        }
        Ok(facts)
    }

    fn read(row: Row<'_>) -> Result<Self, StepError> {
        let number = |column: &str| {
            row.number(column)?.ok_or_else(|| {
                StepError::new("postgres.answer", format!("the server answered nothing for `{column}`"))
            })
        };
        Ok(Self {
            version: row.known("version")?.to_owned(),
            version_number: number("number")?,
            system_identifier: Seen { value: None, hidden: None },
            timeline: Seen { value: None, hidden: None },
            in_recovery: row.flag("in_recovery")?,
            data_checksums: row.known("data_checksums")? == "on",
            wal_level: row.known("wal_level")?.to_owned(),
            archive_mode: row.known("archive_mode")?.to_owned(),
            segment_size: number("segment_size")?,
            max_wal_senders: number("max_wal_senders")?,
            block_size: number("block_size")?,
            is_superuser: row.flag("is_superuser")?,
        })
    }

    /// The major version: 18.
    pub(super) fn major(&self) -> u32 {
        u32::try_from(self.version_number / 10_000).unwrap_or(0)
    }
}
