//! The append-only record of a run: [`Journal`] writes it, [`read`] reads it back and never guesses.

pub mod line;
pub mod disk;
pub mod reading;
pub mod ends;
pub mod crash;
pub mod writer;

pub use disk::{Disk, DiskFile, RealDisk};
pub use ends::Ends;
pub use line::{Header, Line, VERSION};
pub use reading::{Damage, Journaled, Soundness, read};
pub use writer::{Journal, JournalError};
