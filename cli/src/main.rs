//! `drydock`: the composition root. It reads the command line, brings clock, environment and randomness in, and speaks.

mod formats;
mod points_args;
mod args;
mod pages;
mod outside;
mod drawing;
mod findings;
mod load;
mod reporters;
mod session;
mod commands;

use std::process::ExitCode;

use drydock_machine::Exit;

fn main() -> ExitCode {
    let exit = match args::Cli::understood() {
        Ok(cli) => commands::dispatch(cli),
        Err(error) => {
            // Help and version are answers, everything else is a misunderstanding; a closed pipe is neither.
            let _ = error.print();
            if error.use_stderr() { Exit::Usage } else { Exit::Done }
        }
    };
    ExitCode::from(exit.code())
}
