//! The command line: [`Cli`], one variant of [`Command`] a command.

use std::path::PathBuf;

use clap::{Args, Command as Line, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use drydock_plan::duration::Millis;
use drydock_practice::clock::Offset;
use drydock_run::probing::{LIMIT, Probing};

use crate::formats::{Format, chosen, with_formats};
use crate::points_args::PointsCommand;

/// The exit codes, for the end of every help text.
const EXITS: &str = "Exit codes:\n  0 done · 1 internal · 2 usage · 10 plan invalid · 11 cannot succeed · 12 locked or refused · 13 journal could not be written\n  \
20 step failed · 21 validation failed · 22 objective missed · 23 interrupted · 24 waits for approval or an answer";

/// How rehearsals are called, and what `--data` holds.
const REHEARSE: &str = r#"Examples:
  drydock rehearse
  drydock rehearse --kill-at restore:restore_sql:acting --keep /tmp/rehearsal --format json
  drydock rehearse nightly.yaml -e production.yaml --data shop.yaml --kill-at full:done

The targets of a plan of your own are bound to practice servers of their kinds; of the environment it takes the values of parameters alone.
Without --data the servers hold a whole Octopus; --data FILE says what they hold instead (docs/reference/rehearse-data.md):

  octopus: true              # an Octopus beside the rest; false when it is left out
  sqlserver:                 # databases, each made by batches of T-SQL
    SalesDB:
      - "CREATE TABLE orders (id INT NOT NULL PRIMARY KEY)"
      - "INSERT INTO orders (id) VALUES (1), (2)"
  qdrant:                    # collections with their points
    docs:
      size: 4
      distance: Cosine
      points: [ { id: 1, vector: [1, 0, 0, 0] } ]"#;

/// Back up, restore and rehearse the recovery of systems whose truth lives in several stores.
#[derive(Debug, Parser)]
#[command(name = "drydock", version, after_help = EXITS, propagate_version = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// The whole command line, as it is parsed and explained.
    pub(crate) fn line() -> Line {
        with_formats(Self::command())
    }

    /// What the user wrote.
    ///
    /// # Errors
    /// What was not understood; or help and version, where those were asked for.
    pub(crate) fn understood() -> Result<Self, clap::Error> {
        let mut line = Self::line();
        let matches = line.clone().try_get_matches()?;
        let mut cli = Self::from_arg_matches(&matches).map_err(|error| error.format(&mut line))?;
        cli.common.format = chosen(&matches, &mut line)?;
        Ok(cli)
    }
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// Where runs are kept
    #[arg(long, global = true, value_name = "DIR", env = "DRYDOCK_STATE_DIR", default_value = ".drydock")]
    pub(crate) state_dir: PathBuf,
    /// How to answer; each command has formats of its own
    #[arg(skip)]
    pub(crate) format: Format,
    /// Whether to use colour
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    pub(crate) color: Color,
    /// Say less: results and errors alone
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Say more; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Plain lines instead of a live tree
    #[arg(long, global = true)]
    pub(crate) no_progress: bool,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// A plan with what binds it.
#[derive(Debug, Clone, Args)]
pub(crate) struct PlanArgs {
    /// The plan file
    pub(crate) plan: PathBuf,
    #[command(flatten)]
    pub(crate) binding: Binding,
}

/// A plan with what binds it, or a saved dry run, which names both.
#[derive(Debug, Clone, Args)]
pub(crate) struct MaybePlan {
    /// The plan file
    #[arg(required_unless_present = "saved_dry_run")]
    plan: Option<PathBuf>,
    #[command(flatten)]
    binding: Binding,
}

impl MaybePlan {
    /// The plan; clap has seen to it that there is one, where no saved dry run is named.
    pub(crate) fn plan(self) -> PlanArgs {
        PlanArgs { plan: self.plan.unwrap_or_default(), binding: self.binding }
    }
}

/// Everything that a saved dry run says itself.
const SAYS_ITSELF: [&str; 7] = ["plan", "env", "param", "params", "drill", "only", "skip"];

/// The steps that are chosen.
#[derive(Debug, Clone, Args, Default)]
pub(crate) struct Choice {
    /// Only these steps; what they need is not added
    #[arg(long, value_name = "STEP", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Leave these steps out
    #[arg(long, value_name = "STEP", value_delimiter = ',')]
    pub(crate) skip: Vec<String>,
}

/// How to show what a run would do.
#[derive(Debug, Clone, Args)]
pub(crate) struct DryRunOptions {
    #[command(flatten)]
    pub(crate) choice: Choice,
    #[command(flatten)]
    pub(crate) probe: ProbeArgs,
    /// Save what was shown: `drydock run --saved FILE` does exactly that, once
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Say what is otherwise than in a dry run that was saved, or than the plan did in a revision of git: a commit, a branch, a tag
    #[arg(long, value_name = "REV-OR-FILE")]
    pub(crate) against: Option<String>,
    /// Show a dry run that was saved, and say what of it does not hold any more
    #[arg(long, id = "saved_dry_run", value_name = "FILE", conflicts_with_all = SAYS_ITSELF.iter().chain(&["probe", "out", "against"]))]
    pub(crate) read: Option<PathBuf>,
    /// How old a saved dry run may be
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = Millis::parse)]
    pub(crate) max_age: Millis,
}

/// What binds a plan.
#[derive(Debug, Clone, Args, Default)]
pub(crate) struct Binding {
    /// The environment file: real servers for the plan's targets
    #[arg(short, long, value_name = "FILE")]
    pub(crate) env: Option<PathBuf>,
    /// A parameter's value; repeatable
    #[arg(short, long = "param", value_name = "NAME=VALUE")]
    pub(crate) param: Vec<String>,
    /// A YAML file of parameters' values
    #[arg(long, value_name = "FILE")]
    pub(crate) params: Option<PathBuf>,
    /// As a drill: what the restore makes is taken away afterwards, no server of a protected environment beside the environment file is
    /// written to, and a missed recovery time objective ends with 22
    #[arg(long)]
    pub(crate) drill: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check plans, environments and requests files without touching anything
    #[command(
        after_help = "Examples:\n  drydock check plans/octopus/*.yaml\n  drydock check restore.yaml -e production.yaml --format sarif"
    )]
    Check {
        /// Plans, environments or requests files
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        binding: Binding,
    },
    /// Show everything that a run would do, changing nothing
    #[command(
        after_help = "Examples:\n  drydock dry-run restore.yaml -e drill.yaml -p to=point:latest\n  drydock dry-run restore.yaml -e production.yaml --probe --out reviewed.json\n  drydock dry-run --read reviewed.json\n  drydock dry-run restore.yaml -e drill.yaml -p to=end --against main --format markdown"
    )]
    DryRun {
        #[command(flatten)]
        plan: MaybePlan,
        #[command(flatten)]
        options: DryRunOptions,
    },
    /// Run a plan
    #[command(
        after_help = "Examples:\n  drydock run backup.yaml -e production.yaml\n  drydock run restore.yaml -e drill.yaml -p to=point:latest --format json\n  drydock run --saved reviewed.json"
    )]
    Run {
        #[command(flatten)]
        plan: MaybePlan,
        #[command(flatten)]
        options: RunOptions,
    },
    /// Go on with a run where it was
    Resume {
        /// The run; the newest when left out
        run: Option<String>,
        /// Say what became of an attempt that nobody knows about; repeatable
        #[arg(long, value_name = "STEP=redo|done")]
        assume: Vec<String>,
        /// Run a step, and all that need it, again; repeatable
        #[arg(long, value_name = "STEP[KEY]", value_delimiter = ',')]
        redo: Vec<String>,
        /// Go on with a changed plan: every step that has not succeeded may have changed
        #[arg(long)]
        accept_changes: bool,
        /// The server's own name, where changes destroy something in a protected environment; repeatable
        #[arg(long, value_name = "SERVER")]
        confirm: Vec<String>,
    },
    /// Close a run that died: ask the servers what happened, run `finally`, end
    Abandon {
        /// The run; the newest when left out
        run: Option<String>,
    },
    /// Approve a waiting step
    Approve {
        /// The run
        run: String,
        /// The step, with its key where it has one: `release` or `release[eu]`
        step: String,
        /// Who approves
        #[arg(long = "as", value_name = "NAME")]
        by: String,
        /// Why
        #[arg(long)]
        reason: String,
    },
    /// List, show and check runs
    Runs {
        #[command(subcommand)]
        what: Option<RunsCommand>,
    },
    /// Print the rights that a plan needs, as scripts for the people who give them
    #[command(
        after_help = "Examples:\n  drydock grants backup.yaml -e production.yaml > grants.sql\n  drydock grants restore.yaml -e drill.yaml --restore-login dr_restore --format json"
    )]
    Grants {
        #[command(flatten)]
        plan: PlanArgs,
        /// The login that takes backups
        #[arg(long, value_name = "LOGIN")]
        backup_login: Option<String>,
        /// The login that restores
        #[arg(long, value_name = "LOGIN")]
        restore_login: Option<String>,
    },
    /// Draw a plan
    #[command(after_help = "Example:\n  drydock graph restore.yaml --format svg > restore.svg")]
    Graph {
        /// The plan file
        plan: PathBuf,
    },
    /// Which backups of a history lead to a moment, and why; or why none do
    #[command(
        after_help = "Example:\n  drydock chain --history msdb.json --at 2026-07-14T03:00:00Z --format json"
    )]
    Chain(ChainArgs),
    /// Practice servers in the foreground; prints the environment file to use
    #[command(
        after_help = "Examples:\n  drydock practice --seed 7 --ports ports.json --ledger ledger.jsonl > practice.yaml\n  drydock practice --clock qdrant=+1h --clock sqlserver=-90s --pace 60 > practice.yaml"
    )]
    Practice(PracticeArgs),
    /// Rehearse: the whole Octopus story on practice servers, backup -> disaster -> restore -> proof
    #[command(
        after_help = REHEARSE
    )]
    Rehearse(RehearseArgs),
    /// List, show, verify, hold, mark as bad and prune recovery points
    #[command(after_help = crate::points_args::POINTS)]
    Points {
        /// The environment file that names the artifact store
        #[arg(short, long, value_name = "FILE", global = true)]
        env: Option<PathBuf>,
        /// The artifact store's target name, where the environment has several
        #[arg(long, value_name = "NAME", global = true)]
        target: Option<String>,
        #[command(subcommand)]
        what: Option<PointsCommand>,
    },
    /// List the step kinds, or show one
    Kinds {
        /// One kind, such as `sqlserver.restore`
        kind: Option<String>,
    },
    /// Begin: a first plan that runs at once, its environment, schemas for editors, a CI job
    #[command(
        after_help = "Example:\n  drydock init backups && cd backups && drydock run plans/first.yaml -e environments/local.yaml"
    )]
    Init {
        /// The folder, made where it is not there
        #[arg(value_name = "DIR", default_value = ".")]
        folder: PathBuf,
    },
    /// Print the JSON Schema of plans, environments, requests files or dry runs
    Schema {
        /// Which
        #[arg(value_enum, default_value_t = SchemaOf::Plan)]
        of: SchemaOf,
    },
    /// Explain an error code: cause and remedy
    #[command(after_help = "Examples:\n  drydock explain DD217\n  drydock explain sqlserver.3154")]
    Explain {
        /// The code, as a finding or a failure shows it in brackets: DD201, http.status, sqlserver.3201
        code: String,
    },
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
    /// Kills what a dead run has left; started by runs
    #[command(name = "__reaper", hide = true)]
    Reaper,
}

/// What a chain is asked for.
#[derive(Debug, Clone, Args)]
pub(crate) struct ChainArgs {
    /// A JSON array of backups, as msdb and RESTORE HEADERONLY describe them; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) history: PathBuf,
    /// The moment to get back to (RFC 3339); as far as the backups lead when left out
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<String>,
    /// The mark to get back to, by its place in the log
    #[arg(long, value_name = "LSN", conflicts_with = "at")]
    pub(crate) mark: Option<String>,
    /// The database, where the history has several
    #[arg(long, value_name = "NAME")]
    pub(crate) database: Option<String>,
    /// Use no differential
    #[arg(long)]
    pub(crate) no_differentials: bool,
    /// Use no log
    #[arg(long)]
    pub(crate) no_logs: bool,
    /// Go on with a half-done restore from here (redo_start_lsn)
    #[arg(long, value_name = "LSN")]
    pub(crate) continue_from: Option<String>,
    /// Say of every backup why it is used or not
    #[arg(long)]
    pub(crate) explain: bool,
}

/// How practice servers are started.
#[derive(Debug, Clone, Args)]
pub(crate) struct PracticeArgs {
    /// What everything that looks random is drawn from
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Where the servers keep their files
    #[arg(long, value_name = "DIR", default_value = ".drydock-practice")]
    pub(crate) dir: PathBuf,
    /// Write where the servers are found, as JSON, once they answer
    #[arg(long, value_name = "FILE")]
    pub(crate) ports: Option<PathBuf>,
    /// Record every request, a JSON line each
    #[arg(long, value_name = "FILE")]
    pub(crate) ledger: Option<PathBuf>,
    /// Rules of what shall go wrong, a JSON array
    #[arg(long, value_name = "FILE")]
    pub(crate) faults: Option<PathBuf>,
    /// What the SQL Server is, as JSON: major (13 to 17), engine (2 Standard, 3 Enterprise, 4 Express, 5 and 8 managed), free_bytes, urls,
    /// secondaries, snapshots, is_preferred_replica, is_sysadmin
    #[arg(long, value_name = "FILE")]
    pub(crate) sqlserver: Option<PathBuf>,
    /// The folder of the artifact store that the environment names
    #[arg(long, value_name = "DIR")]
    pub(crate) artifacts: Option<PathBuf>,
    /// Write the environment file here too
    #[arg(long, value_name = "FILE")]
    pub(crate) environment: Option<PathBuf>,
    /// How many nodes Qdrant has
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub(crate) qdrant_nodes: u8,
    /// How far the clock of one server is off: sqlserver, qdrant or api, such as qdrant=+1h or sqlserver=-90s; may be given for each
    #[arg(long, value_name = "SERVER=OFFSET")]
    pub(crate) clock: Vec<Offset>,
    /// How many times as fast the servers' clocks go: with 60, a minute is an hour
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub(crate) pace: u32,
    /// The SQL Server's port; the API has the next, Qdrant's nodes those after it. Any free ones when left out, or 0
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub(crate) first_port: u16,
    /// Fill them with an Octopus
    #[arg(long)]
    pub(crate) fill: bool,
    /// Stop at the end of standard input
    #[arg(long, hide = true)]
    pub(crate) until_eof: bool,
}

/// How a rehearsal goes.
#[derive(Debug, Clone, Args)]
pub(crate) struct RehearseArgs {
    /// A plan of your own; the whole Octopus story when left out
    pub(crate) plan: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) binding: Binding,
    /// What everything that looks random is drawn from
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Keep everything in this folder: environment, artifact store, state, ledger
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
    /// Kill the run there and resume it: begun, acting (the server has done the work, its answer is held back) or done
    #[arg(long, value_name = "[PLAN:]STEP[:PHASE]")]
    pub(crate) kill_at: Option<String>,
    /// What to fill the practice servers with, for a plan of your own
    #[arg(long, value_name = "FILE")]
    pub(crate) data: Option<PathBuf>,
    /// How many nodes Qdrant has
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub(crate) qdrant_nodes: u8,
}

/// What to do with runs.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum RunsCommand {
    /// All runs, newest last
    List,
    /// One run, whole
    Show {
        /// The run; the newest when left out
        run: Option<String>,
    },
    /// Whether a run's journal is sound, torn or damaged, and where
    Check {
        /// The run; the newest when left out
        run: Option<String>,
    },
}

/// How servers are asked in a dry run.
#[derive(Debug, Clone, Args)]
pub(crate) struct ProbeArgs {
    /// Ask the servers too, only reading; `deep` reads every byte that the steps would read and has backups proved as well
    #[arg(long, value_name = "HOW", value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "quick")]
    pub(crate) probe: Option<Depth>,
    /// How long each step may be asked about; what `deep` reads has no limit
    #[arg(long, value_name = "DURATION", value_parser = Millis::parse, default_value_t = LIMIT)]
    pub(crate) probe_timeout: Millis,
}

impl ProbeArgs {
    /// How servers are asked; nothing where they are not.
    pub(crate) fn probing(&self) -> Option<Probing> {
        self.probe.map(|depth| Probing::new(depth == Depth::Deep, self.probe_timeout))
    }
}

/// How far a dry run asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Depth {
    /// What is answered at once
    Quick,
    /// And what takes reading everything
    Deep,
}

/// How to run.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunOptions {
    /// The run's id; one that sorts by time when left out
    #[arg(long, value_name = "ID")]
    pub(crate) run_id: Option<String>,
    #[command(flatten)]
    pub(crate) choice: Choice,
    /// Do what this saved dry run shows and nothing else, once; refused where it would be something else now
    #[arg(long, id = "saved_dry_run", value_name = "FILE", conflicts_with_all = SAYS_ITSELF.iter().chain(&["no_preflight"]))]
    pub(crate) saved: Option<PathBuf>,
    /// How old a saved dry run may be
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = Millis::parse)]
    pub(crate) max_age: Millis,
    /// What to do about a run of this plan and environment that died in the middle
    #[arg(long, value_enum)]
    pub(crate) on_unfinished: Option<Unfinished>,
    /// The server's own name, for a destructive run in a protected environment; repeatable
    #[arg(long, value_name = "SERVER")]
    pub(crate) confirm: Vec<String>,
    /// Begin and go on although findings of these codes say that it cannot work; repeatable
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    pub(crate) force_past: Vec<String>,
    /// Begin without asking the servers whether the steps can work
    #[arg(long)]
    pub(crate) no_preflight: bool,
}

/// What to do about an unfinished run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Unfinished {
    /// Go on with it
    Resume,
    /// Close it, then start anew
    Abandon,
    /// Start nothing and say so
    Refuse,
}

/// Whose schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaOf {
    /// Plans
    Plan,
    /// Environments
    Environment,
    /// Files of HTTP requests
    Requests,
    /// What a dry run says
    DryRun,
}
