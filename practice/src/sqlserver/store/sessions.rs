//! Sessions as others see them, and how they are stopped. Main type: [`SessionEntry`].

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use rusqlite::InterruptHandle;
use tokio::sync::Notify;

/// Why a statement or session must stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The client sent an attention.
    Attention,
    /// Another session killed this one.
    Killed,
    /// The client is gone.
    Gone,
}

/// How others stop a session.
#[derive(Default)]
pub struct Stop {
    reason: AtomicU8,
    interrupt: Mutex<Option<InterruptHandle>>,
    /// Told when the session is killed.
    pub killed: Notify,
}

impl Stop {
    /// Why the session must stop, if it must.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        match self.reason.load(Ordering::SeqCst) {
            1 => Some(Reason::Attention),
            2 => Some(Reason::Killed),
            3 => Some(Reason::Gone),
            _ => None,
        }
    }

    /// Asks the session to stop.
    pub fn ask(&self, reason: Reason) {
        let (number, overrides) = match reason {
            Reason::Attention => (1, false),
            Reason::Killed => (2, true),
            Reason::Gone => (3, false),
        };
        // A kill is for good; the others do not replace it.
        let _ = self.reason.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |now| {
            (overrides || now == 0 || (now == 1 && number == 3)).then_some(number)
        });
        if let Some(handle) = &*self.interrupt.lock().unwrap_or_else(PoisonError::into_inner) {
            handle.interrupt();
        }
        if reason == Reason::Killed {
            self.killed.notify_one();
        }
    }

    /// Forgets an attention that has been answered.
    pub fn attention_answered(&self) {
        let _ = self.reason.compare_exchange(1, 0, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// Lets [`Stop::ask`] break into a running query of SQLite's.
    pub fn interrupts(&self, handle: InterruptHandle) {
        *self.interrupt.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle);
    }
}

impl std::fmt::Debug for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stop({:?})", self.reason())
    }
}

/// What a session is doing, for `sys.dm_exec_requests`.
#[derive(Debug, Clone)]
pub struct Work {
    /// The command, for example `BACKUP DATABASE`.
    pub command: &'static str,
    /// When it began.
    pub since: DateTime<Utc>,
    /// How much of it is done.
    pub percent: f64,
    /// The session that it waits for.
    pub blocked_by: i16,
}

/// A session as others see it.
#[derive(Debug, Clone)]
pub struct SessionEntry {
    /// Who logged in.
    pub login: String,
    /// From where.
    pub host: String,
    /// With which program.
    pub program: String,
    /// When.
    pub since: DateTime<Utc>,
    /// The current database.
    pub database: u32,
    /// How many transactions it has open.
    pub open_transactions: u32,
    /// What it is doing.
    pub work: Option<Work>,
    /// How to stop it.
    pub stop: Arc<Stop>,
}

/// A lock that an application asked for by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppLock {
    /// The session that holds it.
    pub session: i16,
    /// The database in which it was asked for.
    pub database: u32,
    /// Its name.
    pub resource: String,
    /// `Exclusive`, `Shared`, `Update`, ...
    pub mode: String,
    /// Whether it ends with the transaction and not with the session.
    pub of_transaction: bool,
}
