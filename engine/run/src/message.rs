//! What attempts and signals send to the loop: [`Message`].

use drydock_machine::{AttemptRef, Ended, Verdict};
use drydock_step::{Sample, StepError};
use serde_json::Value;
use tokio::sync::oneshot;

/// Something that reached the loop.
pub enum Message {
    /// An attempt returned.
    Returned(AttemptRef, Ended),
    /// A server was asked about an attempt.
    Reconciled(AttemptRef, Result<Verdict, StepError>),
    /// An attempt notes something and waits until that is durable.
    Note {
        /// Which.
        attempt: AttemptRef,
        /// What.
        value: Value,
        /// Told when it is durable; dropped when it will not be.
        done: oneshot::Sender<()>,
    },
    /// An attempt shows something.
    Sample(AttemptRef, Sample),
    /// Ctrl-C or SIGTERM.
    Interrupt,
}
