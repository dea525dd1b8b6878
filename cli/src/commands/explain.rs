//! `drydock explain`: cause and remedy of a code.

use drydock_machine::Exit;

use crate::session::Refusal;

use super::print;

pub(crate) fn explain(code: &str) -> Result<Exit, Refusal> {
    let page = drydock_plan::codes::page_of(code).ok_or_else(|| {
        Refusal::new(Exit::Usage, format!("there is no code `{code}`"))
            .help("codes look like DD203; a finding shows its own in brackets")
    })?;
    print(&format!(
        "{}: {}\n\n{}.\n\nWhat to do: {}.\n",
        page.code,
        page.title,
        sentence(page.what),
        page.remedy
    ));
    Ok(Exit::Done)
}

/// With a capital letter.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
