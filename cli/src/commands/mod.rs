//! One file a command; [`dispatch`] chooses.

mod plan_of;
mod told;
mod check;
mod dry_run_text;
mod dry_run;
mod resume;
mod abandon;
mod run;
mod approve;
mod runs;
mod graph;
mod grants;
mod chain;
mod practice;
mod rehearse;
mod points;
mod kinds;
mod schema;
mod init;
mod explain;
mod shell;

use drydock_machine::Exit;

use crate::args::{Cli, Color, Command, RunsCommand};
use crate::formats::Format;
use crate::outside::Outside;
use crate::session::{Refusal, Session};

/// Do what the command line asks for.
pub(crate) fn dispatch(cli: Cli) -> Exit {
    let outside = Outside::here();
    let session = Session::new(cli.common, outside);
    let result = match cli.command {
        Command::Check { files, binding } => check::check(&session, &files, &binding),
        Command::Init { folder } => init::init(&session, &folder),
        Command::DryRun { plan, probe, out } => dry_run::dry_run(&session, &plan, &probe, out.as_deref()),
        Command::Run { plan, options } => run::run(&session, &plan, &options),
        Command::Resume { run, assume, redo, accept_changes, confirm } => {
            resume::resume(&session, run, &resume::Wishes { assume, redo, accept_changes, confirm })
        }
        Command::Abandon { run } => abandon::abandon(&session, run),
        Command::Approve { run, step, by, reason } => approve::approve(&session, &run, &step, by, reason),
        Command::Runs { what } => match what.unwrap_or(RunsCommand::List) {
            RunsCommand::List => runs::list(&session),
            RunsCommand::Show { run } => runs::show(&session, run),
            RunsCommand::Check { run } => runs::check(&session, run),
        },
        Command::Grants { plan, backup_login, restore_login } => {
            grants::grants(&session, &plan, &grants::Logins { backup: backup_login, restore: restore_login })
        }
        Command::Graph { plan } => graph::graph(&session, &plan),
        Command::Chain(args) => chain::chain(&session, &args),
        Command::Practice(args) => practice::practice(&session, &args),
        Command::Rehearse(args) => rehearse::rehearse(&session, &args),
        Command::Points { env: Some(env), target, what } => {
            points::points(&session, &env, target.as_deref(), what)
        }
        Command::Points { env: None, .. } => Err(Refusal::new(Exit::Usage, "points: no environment")
            .help("name the file that binds the artifact store with -e FILE")),
        Command::Kinds { kind } => kinds::kinds(&session, kind.as_deref()),
        Command::Schema { of } => schema::schema(of),
        Command::Explain { code } => explain::explain(&session, &code),
        Command::Completions { shell } => shell::completions(shell),
        Command::Man => shell::manual(),
        Command::Reaper => {
            // The reaper has nobody to tell: its parent is gone when it works.
            let _ = drydock_run::children::reaper::main(std::io::stdin());
            Ok(Exit::Done)
        }
    };
    result.unwrap_or_else(|refusal| refused(&session, &refusal))
}

/// Say why not.
fn refused(session: &Session, refusal: &Refusal) -> Exit {
    if session.common.format == Format::Json && !refusal.said {
        let line =
            serde_json::json!({ "error": refusal.message, "help": refusal.help, "exit": refusal.exit });
        print(&format!("{line}\n"));
    }
    eprintln!("error: {}", refusal.message);
    if let Some(help) = &refusal.help {
        eprintln!("help: {help}");
    }
    refusal.exit
}

/// Write an answer. A reader that went away is no error: it has read what it wanted.
pub(crate) fn print(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// Whether to use colour.
pub(crate) fn colored(session: &Session) -> bool {
    match session.common.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => session.outside.likes_color(),
    }
}
