//! The process group of one child: [`Group`], which the reaper knows of for as long as anything of it lives.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use drydock_step::StepError;
use tokio::process::Child;
use tokio::time::{Instant, sleep};

use super::link::{ReaperLink, locked};
use super::platform;

/// How often it is looked whether anything of a group is left.
const LOOK: Duration = Duration::from_millis(20);

/// A group that lives. Dropped before it is gone, it is killed.
pub(super) struct Group {
    id: u32,
    link: Arc<Mutex<ReaperLink>>,
    asked: AtomicBool,
    gone: bool,
}

impl Group {
    /// The group of a child that was just started.
    ///
    /// # Errors
    /// `process.reaper`, when the reaper has died and cannot be started again; the group is then killed.
    pub(super) fn of(child: &Child, link: Arc<Mutex<ReaperLink>>) -> Result<Self, StepError> {
        let id =
            child.id().ok_or_else(|| StepError::internal("a program that was just started has no id"))?;
        let group = Self { id, link, asked: AtomicBool::new(false), gone: false };
        locked(&group.link).began(id)?;
        Ok(group)
    }

    /// Asks everything in it to end.
    pub(super) fn ask_to_end(&self) {
        self.asked.store(true, Ordering::Relaxed);
        platform::ask_group_to_end(self.id);
    }

    /// Whether it was asked to end before it did.
    pub(super) fn was_asked_to_end(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Kills everything in it.
    pub(super) fn kill(&self) {
        platform::kill_group(self.id);
    }

    /// The program has ended: what is left of its group is killed after `linger`, beside whatever comes next.
    pub(super) fn settle(mut self, linger: Duration) {
        self.gone = !platform::group_lives(self.id);
        if self.gone {
            return;
        }
        tokio::spawn(async move {
            let end = Instant::now() + linger;
            while !self.gone && Instant::now() < end {
                sleep(LOOK).await;
                self.gone = !platform::group_lives(self.id);
            }
        });
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.gone {
            self.kill();
        }
        locked(&self.link).ended(self.id);
    }
}
