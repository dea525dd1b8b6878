//! `drydock check`: everything that is wrong with plans, environments and requests files, at once.

use std::path::PathBuf;

use drydock_machine::Exit;
use drydock_plan::check::Demand;
use drydock_plan::show::Look;

use crate::args::Binding;
use crate::findings::written;
use crate::formats::Format;
use crate::load::{given, load};
use crate::session::{Refusal, Session, registry};

use super::{colored, print};

pub(crate) fn check(session: &Session, files: &[PathBuf], binding: &Binding) -> Result<Exit, Refusal> {
    let given =
        given(binding, &session.outside).map_err(|error| Refusal::new(error.exit(), error.to_string()))?;
    let mut checked = Vec::with_capacity(files.len());
    let mut unreadable = Vec::new();
    for file in files {
        let loaded = load(
            file,
            binding.env.as_deref(),
            given.clone(),
            Demand::Form,
            registry().catalog(),
            &session.outside,
        );
        match loaded {
            Ok(loaded) => checked.push(loaded.checked),
            Err(error) => unreadable.push(error),
        }
    }
    let invalid = checked.iter().any(drydock_plan::check::Checked::has_errors);
    let look = Look { color: colored(session), ..Look::default() };
    if !checked.is_empty() {
        print(&written(&checked, session.common.format, look));
    }
    if let Some(first) = unreadable.first() {
        let messages: Vec<String> = unreadable.iter().map(ToString::to_string).collect();
        let refusal = Refusal::new(first.exit(), messages.join("\n       "));
        return Err(Refusal { said: !checked.is_empty(), ..refusal });
    }
    if !invalid && session.common.format == Format::Text && !session.common.quiet {
        let count = files.len();
        print(&format!("{count} {} checked, nothing wrong\n", if count == 1 { "file" } else { "files" }));
    }
    // The process ends here: what a large plan takes need not be given back piece by piece.
    std::mem::forget(checked);
    Ok(if invalid { Exit::Invalid } else { Exit::Done })
}
