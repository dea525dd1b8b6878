//! The command line of `drydock points`: [`PointsCommand`].

use clap::{Args, Subcommand};

/// How points are looked after.
pub(crate) const POINTS: &str = "Examples:
  drydock points list -e production.yaml --rpo 24h -q
  drydock points verify latest -e production.yaml --deep --truth sql
  drydock points hold 01K0ABC -e production.yaml --until 2027-01-01T00:00:00Z --reason \"audit\"
  drydock points prune -e production.yaml --keep-last 3 --keep-daily 7 --keep-monthly 12 --pitr 7d";

/// What to do with recovery points.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum PointsCommand {
    /// All points and log points, newest first
    List(ListArgs),
    /// One point, whole
    Show {
        /// Its id, or the beginning of it; `latest` is the newest sealed point
        point: String,
    },
    /// Whether a point still holds what it says; then that is said of it (exit code 21 with everything that is wrong)
    Verify(VerifyArgs),
    /// Keep a point from being pruned
    Hold(HoldArgs),
    /// Keep a point from being restored; it may then be pruned
    Bad(BadArgs),
    /// Which points no rule keeps, and with --yes remove them
    Prune(PruneArgs),
}

/// What is listed, and whether it is enough.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ListArgs {
    /// Exit with 22 when the newest point that a restore could be made from without the servers is older than this, such as 24h
    #[arg(long, value_name = "SPAN")]
    pub(crate) rpo: Option<String>,
    /// Look for every file of every point as well, and exit with 21 where something is gone or cannot be read
    #[arg(long)]
    pub(crate) rebuild: bool,
}

/// How a point is verified.
#[derive(Debug, Clone, Args)]
pub(crate) struct VerifyArgs {
    /// Its id, or the beginning of it; `latest` is the newest sealed point
    pub(crate) point: String,
    /// Read every file back and hash it
    #[arg(long)]
    pub(crate) deep: bool,
    /// With --deep: so many files, other ones each time
    #[arg(long, value_name = "N", requires = "deep")]
    pub(crate) sample: Option<usize>,
    /// The SQL Server of the environment that is asked to read every backup
    #[arg(long, value_name = "TARGET")]
    pub(crate) truth: Option<String>,
    /// Who says so; the user's name when left out
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
}

/// How a point is held.
#[derive(Debug, Clone, Args)]
pub(crate) struct HoldArgs {
    /// Its id, or the beginning of it; `latest` is the newest sealed point
    pub(crate) point: String,
    /// Until when (RFC 3339); for ever when left out
    #[arg(long, value_name = "TIME", conflicts_with = "release")]
    pub(crate) until: Option<String>,
    /// End all holds of the point instead
    #[arg(long)]
    pub(crate) release: bool,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// Who says so; the user's name when left out
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
}

/// Why a point is bad.
#[derive(Debug, Clone, Args)]
pub(crate) struct BadArgs {
    /// Its id, or the beginning of it; `latest` is the newest sealed point
    pub(crate) point: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// Who says so; the user's name when left out
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
}

/// What stays.
#[derive(Debug, Clone, Args)]
pub(crate) struct PruneArgs {
    /// So many of the newest points
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) keep_last: usize,
    /// The newest of each of so many days that have any, in UTC
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) keep_daily: usize,
    /// The newest of each of so many weeks that have any
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) keep_weekly: usize,
    /// The newest of each of so many months that have any
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) keep_monthly: usize,
    /// The newest of each of so many years that have any
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) keep_yearly: usize,
    /// How far back every moment stays reachable by log points, such as 7d
    #[arg(long, value_name = "SPAN")]
    pub(crate) pitr: Option<String>,
    /// Remove them; without it, what would go is shown and nothing goes
    #[arg(long)]
    pub(crate) yes: bool,
    /// The greatest share of points and bytes that is removed at once, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 30)]
    pub(crate) max_share: u8,
    /// So many verified points are left
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) min_verified: usize,
    /// Files too that no sealed point has: of points that were never sealed, WAL that leads nowhere any more, and what puts that were cut left
    #[arg(long)]
    pub(crate) orphans: bool,
    /// How much older than the newest point one must be that was opened and never sealed, to count as an orphan
    #[arg(long, value_name = "SPAN", default_value = "1d")]
    pub(crate) unsealed_after: String,
    /// Who says so; the user's name when left out
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
}
