//! `drydock completions` and `drydock man`.

use drydock_machine::Exit;

use crate::args::Cli;
use crate::session::Refusal;

use super::print;

pub(crate) fn completions(shell: clap_complete::Shell) -> Result<Exit, Refusal> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::line(), "drydock", &mut text);
    print(&String::from_utf8_lossy(&text));
    Ok(Exit::Done)
}

pub(crate) fn manual() -> Result<Exit, Refusal> {
    let mut text = Vec::new();
    let failed = |error: std::io::Error| {
        Refusal::new(Exit::Internal, format!("the manual page cannot be made: {error}"))
    };
    clap_mangen::Man::new(Cli::line()).render(&mut text).map_err(failed)?;
    print(&String::from_utf8_lossy(&text));
    Ok(Exit::Done)
}
