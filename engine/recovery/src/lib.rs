//! What backups we have and how to get back to a moment.
