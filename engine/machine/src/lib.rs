//! What happens next in a run, and what has happened.
