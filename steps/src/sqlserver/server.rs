//! What a server is: [`ServerFacts`], asked once a connection.

use chrono::{DateTime, Duration, NaiveDateTime, Utc};
use drydock_recovery::manifest::ServerPart;
use drydock_step::StepError;

use super::answer::{Row, present};
use super::paths::PathStyle;

/// Facts that do not change while a connection lives. `PathSeparator` is there since 2017; older servers run on Windows alone.
pub(super) const SERVER: &str = "SELECT @@SERVERNAME AS name, @@SPID AS session_id, \
    CAST(SERVERPROPERTY(N'ProductVersion') AS nvarchar(128)) AS version, \
    CAST(SERVERPROPERTY(N'EngineEdition') AS int) AS edition, \
    CAST(SERVERPROPERTY(N'PathSeparator') AS nvarchar(8)) AS separator, \
    CAST(SERVERPROPERTY(N'InstanceDefaultDataPath') AS nvarchar(260)) AS data_path, \
    CAST(SERVERPROPERTY(N'InstanceDefaultLogPath') AS nvarchar(260)) AS log_path, \
    IS_SRVROLEMEMBER(N'sysadmin') AS is_sysadmin, SYSDATETIMEOFFSET() AS clock";

/// The name of the server's time zone; since 2019.
pub(super) const TIME_ZONE: &str = "SELECT CURRENT_TIMEZONE() AS time_zone";

/// `EngineEdition` of SQL Server Express.
const EXPRESS: i64 = 4;

/// `EngineEdition` of Standard, Web and Business Intelligence.
const STANDARD: i64 = 2;

/// What a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServerFacts {
    /// `@@SERVERNAME`.
    pub(super) name: String,
    /// As `16.0.4236.2`.
    pub(super) version: String,
    /// The session that asked.
    pub(super) session_id: i64,
    /// Whose rules its paths follow.
    pub(super) style: PathStyle,
    /// Where new data files go.
    pub(super) data_path: Option<String>,
    /// Where new log files go.
    pub(super) log_path: Option<String>,
    /// Whether the login may do everything.
    pub(super) is_sysadmin: bool,
    /// Whether it is the edition that cannot compress backups.
    pub(super) is_express: bool,
    /// Whether it is an edition between that one and the largest.
    pub(super) is_standard: bool,
    /// Its present offset from UTC, in minutes.
    pub(super) offset_minutes: i16,
    /// Its time zone by its own name.
    pub(super) time_zone: Option<String>,
}

impl ServerFacts {
    /// The facts of an answer to [`SERVER`].
    ///
    /// # Errors
    /// `sqlserver.answer`, when something is missing.
    pub(super) fn of(row: Row<'_>) -> Result<Self, StepError> {
        let text = |column: &str| Ok::<_, StepError>(row.text(column)?.map(str::to_owned));
        Ok(Self {
            name: present(text("name")?, "name")?,
            version: present(text("version")?, "version")?,
            session_id: present(row.number("session_id")?, "session_id")?,
            style: if row.text("separator")? == Some("/") { PathStyle::Posix } else { PathStyle::Windows },
            data_path: text("data_path")?,
            log_path: text("log_path")?,
            is_sysadmin: row.flag("is_sysadmin")?,
            is_express: row.number("edition")? == Some(EXPRESS),
            is_standard: row.number("edition")? == Some(STANDARD),
            offset_minutes: present(row.offset("clock")?, "clock")?,
            time_zone: None,
        })
    }

    /// The major version: 16 is 2022.
    pub(super) fn major(&self) -> u8 {
        self.version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0)
    }

    /// As a backup's outputs and a manifest tell it.
    pub(super) fn part(&self) -> ServerPart {
        ServerPart {
            name: self.name.clone(),
            version: self.version.clone(),
            time_zone: self.time_zone.clone(),
            utc_offset_minutes: Some(self.offset_minutes),
        }
    }

    /// A time of the server's clock in UTC. `quarters` is the offset that was noted with it, in quarters of an hour; 127 says that none
    /// was, and then the present offset is taken.
    pub(super) fn utc(&self, local: NaiveDateTime, quarters: Option<i64>) -> DateTime<Utc> {
        let minutes = match quarters {
            Some(quarters) if quarters != 127 => quarters * 15,
            _ => i64::from(self.offset_minutes),
        };
        (local - Duration::minutes(minutes)).and_utc()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::borrow::Cow;

    use tiberius::ColumnData;
    use tiberius::time::{Date, DateTime2, DateTimeOffset, Time};

    use super::*;
    use crate::sqlserver::answer::{Answer, Column};

    /// A server of 2022 on Windows.
    pub(in crate::sqlserver) fn on_windows(name: &str) -> ServerFacts {
        ServerFacts {
            name: name.into(),
            version: "16.0.1".into(),
            session_id: 51,
            style: PathStyle::Windows,
            data_path: None,
            log_path: None,
            is_sysadmin: true,
            is_express: false,
            is_standard: false,
            offset_minutes: 0,
            time_zone: None,
        }
    }

    fn text(text: &'static str) -> ColumnData<'static> {
        ColumnData::String(Some(Cow::Borrowed(text)))
    }

    fn facts(version: &'static str, separator: ColumnData<'static>) -> Result<ServerFacts, StepError> {
        let names = ["name", "session_id", "version", "edition", "separator", "clock"];
        let clock = DateTimeOffset::new(DateTime2::new(Date::new(739_810), Time::new(0, 7)), 120);
        let mut answer = Answer::new(names.map(Column::named).into());
        answer.push(vec![
            text("SQL01"),
            ColumnData::I16(Some(51)),
            text(version),
            ColumnData::I32(Some(4)),
            separator,
            ColumnData::DateTimeOffset(Some(clock)),
        ]);
        ServerFacts::of(answer.first()?)
    }

    #[test]
    fn a_server_is_known_by_its_answer() {
        let linux = facts("16.0.4236.2", text("/")).unwrap();
        assert_eq!((linux.major(), linux.style, linux.is_express), (16, PathStyle::Posix, true));
        let old = facts("13.0.1", ColumnData::String(None)).unwrap();
        assert_eq!((old.style, old.data_path), (PathStyle::Windows, None));
        let error = facts("16.0.0", ColumnData::I32(Some(1))).unwrap_err();
        assert_eq!(error.code, "sqlserver.answer");
    }

    #[test]
    fn local_times_become_utc_by_the_offset_of_their_day() {
        let facts = facts("16.0.1", text("/")).unwrap();
        let local = chrono::NaiveDate::from_ymd_opt(2026, 7, 15).unwrap().and_hms_opt(3, 0, 0).unwrap();
        for (quarters, expected) in [
            (Some(0), "03:00"),
            (Some(4), "02:00"),
            (Some(-14), "06:30"),
            (Some(127), "01:00"),
            (None, "01:00"),
        ] {
            assert_eq!(facts.utc(local, quarters).format("%H:%M").to_string(), expected);
        }
    }
}
