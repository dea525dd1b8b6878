//! The shape of a backup's entry as `drydock chain` reads it: [`ENTRY`].

use drydock_step::{Field, Shape};

/// The keys of an entry. The same as in a history that is written by hand.
pub(super) const ENTRY: &[Field] = &[
    Field::required("server", Shape::Text, "The server that took it."),
    Field::optional("availability_group", Shape::Text, "The availability group that the database was in."),
    Field::required("database", Shape::Text, "The database's name when it was taken."),
    Field::required("type", Shape::Text, "`full`, `differential` or `log`."),
    Field::required("copy_only", Shape::Boolean, "Whether it lies outside of the sequence."),
    Field::required("position", Shape::Integer, "Which set of its file it is, from 1."),
    Field::required("backup_set_guid", Shape::Text, "The set's identity."),
    Field::required("first_lsn", Shape::Decimal, "The first position of the log that it holds."),
    Field::required("last_lsn", Shape::Decimal, "The position after the last; where restoring it leads."),
    Field::optional("checkpoint_lsn", Shape::Decimal, "Its checkpoint."),
    Field::optional(
        "database_backup_lsn",
        Shape::Decimal,
        "The checkpoint of the last full backup before it.",
    ),
    Field::optional(
        "differential_base_lsn",
        Shape::Decimal,
        "Of a differential: the checkpoint of its base.",
    ),
    Field::optional("first_recovery_fork_id", Shape::Text, "The recovery fork that it begins on."),
    Field::optional("recovery_fork_id", Shape::Text, "The recovery fork that it ends on."),
    Field::required("started_at", Shape::Datetime, "When it began."),
    Field::required("finished_at", Shape::Datetime, "When it ended."),
    Field::required("media", Shape::List(&Shape::Text), "The files that hold it."),
    Field::optional("differential_base_guid", Shape::Text, "Of a differential: the set that is its base."),
    Field::optional("family_guid", Shape::Text, "The database's family."),
    Field::optional("fork_point_lsn", Shape::Decimal, "Where the one fork left the other."),
    Field::optional("has_bulk_logged_data", Shape::Boolean, "Whether a log can only be restored whole."),
    Field::optional("is_damaged", Shape::Boolean, "Whether the server found damage while writing."),
    Field::optional("recovery_model", Shape::Text, "The recovery model."),
    Field::optional("time_zone", Shape::Integer, "The server's offset from UTC in quarters of an hour."),
    Field::optional("software_major", Shape::Integer, "The server's major version."),
    Field::optional("media_count", Shape::Integer, "How many files it is striped over."),
];
