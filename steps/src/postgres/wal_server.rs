//! What a server says of a slot and of how far its WAL has been taken: [`SlotFacts`], and [`Lag`], which makes seconds of it.

use std::collections::VecDeque;

use drydock_step::StepError;
use serde::Serialize;

use super::recover_to::lsn_number;
use super::server::ServerFacts;
use super::session::Session;
use super::sql::quoted;

/// The most moments that are kept; older ones are thinned out from the front, which makes the lag no smaller.
const MOMENTS: usize = 4096;

/// A slot and who reads from it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct SlotFacts {
    /// Whether there is such a slot.
    pub(super) exists: bool,
    /// `reserved`, `extended`, `unreserved`, `lost`; nothing before anybody has read.
    pub(super) wal_status: Option<String>,
    /// Whether somebody reads from it.
    pub(super) active: bool,
    /// The oldest place that it keeps; nothing before anybody has read.
    pub(super) restart_lsn: Option<String>,
    /// What whoever reads from it has on disk.
    pub(super) flushed_lsn: Option<String>,
    /// Where the server writes now.
    pub(super) current_lsn: String,
    /// Whether it is a slot for logical decoding.
    #[serde(skip)]
    pub(super) is_logical: bool,
}

impl SlotFacts {
    /// Asks the server.
    ///
    /// # Errors
    /// What the server says.
    pub(super) async fn of(session: &Session, slot: &str) -> Result<Self, StepError> {
        let sql = format!(
            "SELECT s.slot_name IS NOT NULL AS is_there, s.wal_status, COALESCE(s.active, false) AS active, s.restart_lsn::text AS restart_lsn, \
             r.flush_lsn::text AS flush_lsn, COALESCE(s.slot_type = 'logical', false) AS is_logical, \
             CASE WHEN pg_is_in_recovery() THEN COALESCE(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) ELSE pg_current_wal_lsn() END::text AS current_lsn \
             FROM (SELECT 1) AS one LEFT JOIN pg_replication_slots AS s ON s.slot_name = {} \
             LEFT JOIN pg_stat_replication AS r ON r.pid = s.active_pid",
            quoted(slot)
        );
        let answer = session.ask("asking for the replication slot", &sql).await?;
        let row = answer.first()?;
        let text = |column: &str| row.text(column).map(|text| text.map(str::to_owned));
        Ok(Self {
            exists: row.flag("is_there")?,
            wal_status: text("wal_status")?,
            active: row.flag("active")?,
            restart_lsn: text("restart_lsn")?,
            flushed_lsn: text("flush_lsn")?,
            current_lsn: row.known("current_lsn")?.to_owned(),
            is_logical: row.flag("is_logical")?,
        })
    }
}

/// Nothing, when the role may stream from the server.
///
/// # Errors
/// `postgres.unavailable`, or what the server says.
pub(super) async fn may_stream(session: &Session, facts: &ServerFacts) -> Result<(), StepError> {
    let refused =
        |message: String, help: &str| Err(StepError::new("postgres.unavailable", message).help(help));
    if facts.wal_level == "minimal" {
        let message = "the server writes no WAL that anything can be recovered with (wal_level is minimal)";
        return refused(message.into(), "set wal_level = replica, and restart the server");
    }
    let sql = "SELECT (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user) AS may_replicate, \
        (SELECT setting::int FROM pg_settings WHERE name = 'max_wal_senders') \
        - (SELECT count(*) FROM pg_stat_replication) AS senders";
    let answer = session.ask("asking what streaming needs", sql).await?;
    let row = answer.first()?;
    if !row.flag("may_replicate")? {
        let message = "the role may not replicate, which is how WAL is streamed";
        return refused(
            message.into(),
            "ALTER ROLE … REPLICATION, and a `replication` line for it in pg_hba.conf",
        );
    }
    if row.number("senders")?.unwrap_or(0) < 1 {
        let message = "all of the server's max_wal_senders are in use";
        return refused(
            message.into(),
            "end what uses them (pg_stat_replication), or raise the setting and restart the server",
        );
    }
    Ok(())
}

/// How long what was written at the server has been missing on the runner's disk, at the most: what was written between two looks counts
/// from the first of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Lag {
    /// Since when what the server has written up to a place may have been there, of what is not on disk yet.
    missing: VecDeque<(i64, u64)>,
    /// When the server was last heard.
    heard_ms: Option<i64>,
    /// What is on disk.
    flushed: u64,
}

impl Lag {
    /// What an earlier attempt has left, that knew at `at_ms` of everything up to `flushed` and was late by so many seconds.
    pub(super) fn since(at_ms: i64, late_s: f64, flushed: Option<&str>) -> Self {
        // Far below 2^63.
        #[allow(clippy::cast_possible_truncation, reason = "milliseconds of a run")]
        let late_ms = (late_s * 1000.0) as i64;
        let flushed = flushed.and_then(lsn_number);
        // Nobody has streamed before: nothing is late yet.
        let heard_ms = flushed.map(|_| at_ms - late_ms);
        Self { missing: VecDeque::new(), heard_ms, flushed: flushed.unwrap_or_default() }
    }

    /// The server has written up to `current`, and the runner has `flushed` where it is known. Times are in milliseconds.
    pub(super) fn seen(&mut self, now_ms: i64, current: &str, flushed: Option<&str>) {
        let since = self.heard_ms.replace(now_ms).unwrap_or(now_ms);
        let current = lsn_number(current).unwrap_or_default();
        if self.missing.back().is_none_or(|(_, lsn)| *lsn < current) {
            if self.missing.len() >= MOMENTS {
                self.missing.remove(1);
            }
            self.missing.push_back((since, current));
        }
        self.flushed = self.flushed.max(flushed.and_then(lsn_number).unwrap_or_default());
        while self.missing.front().is_some_and(|(_, lsn)| *lsn <= self.flushed) {
            self.missing.pop_front();
        }
    }

    /// In seconds. While the server is not heard it grows: nobody knows what is written there.
    pub(super) fn seconds(&self, now_ms: i64) -> f64 {
        let since = self.missing.front().map(|(at, _)| *at).or(self.heard_ms);
        let ms = since.map_or(0, |since| (now_ms - since).max(0));
        // Far below 2^52.
        #[allow(clippy::cast_precision_loss, reason = "milliseconds of a run")]
        let seconds = ms as f64 / 1000.0;
        seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_is_the_age_of_the_oldest_place_that_is_missing() {
        let mut lag = Lag::default();
        assert_eq!(lag.seconds(5_000), 0.0);
        lag.seen(1_000, "0/100", Some("0/100"));
        assert_eq!(lag.seconds(1_000), 0.0);
        // What is seen at 2,000 for the first time may have been written right behind the look before.
        lag.seen(2_000, "0/200", Some("0/100"));
        lag.seen(3_000, "0/300", Some("0/1FF"));
        assert_eq!(lag.seconds(4_000), 3.0);
        lag.seen(4_000, "0/300", Some("0/200"));
        assert_eq!(lag.seconds(4_000), 2.0);
        lag.seen(5_000, "0/300", Some("0/300"));
        assert_eq!(lag.seconds(5_000), 0.0);
        // Nobody was heard for a while.
        assert_eq!(lag.seconds(9_500), 4.5);
        for at in 0..10_000 {
            lag.seen(10_000 + at, &format!("0/{:X}", 0x1000 + at), Some("0/300"));
        }
        assert_eq!(lag.seconds(20_000), 15.0);
        assert!(lag.missing.len() <= MOMENTS);
    }

    #[test]
    fn while_nobody_streamed_the_lag_went_on() {
        let mut lag = Lag::since(10_000, 1.5, Some("0/300"));
        lag.seen(30_000, "0/400", None);
        assert_eq!(lag.seconds(30_000), 21.5, "since the last word of the one that was killed");
        lag.seen(31_000, "0/400", Some("0/400"));
        assert_eq!(lag.seconds(31_000), 0.0);
        let mut idle = Lag::since(10_000, 0.0, Some("0/300"));
        idle.seen(30_000, "0/300", None);
        assert_eq!(idle.seconds(30_000), 0.0, "nothing was written meanwhile");
        assert_eq!(Lag::since(0, 0.0, None).seconds(30_000), 0.0);
    }
}
