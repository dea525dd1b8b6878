//! `drydock explain`: cause and remedy of a code.

use drydock_machine::Exit;
use serde_json::json;

use crate::formats::Format;
use crate::pages::Page;
use crate::session::{Refusal, Session};

use super::print;

pub(crate) fn explain(session: &Session, code: &str) -> Result<Exit, Refusal> {
    let page = page_of(code).ok_or_else(|| unknown(code))?;
    let Page { code, title, what, remedy } = page;
    if session.common.format == Format::Json {
        let value = json!({ "code": code, "title": title, "what": what, "remedy": remedy });
        print(&format!("{value:#}\n"));
    } else {
        print(&format!("{code}: {title}\n\n{what}\n\nWhat to do: {remedy}.\n"));
    }
    Ok(Exit::Done)
}

fn page_of(code: &str) -> Option<Page> {
    let ours = drydock_plan::codes::page_of(code).map(|page| Page {
        code: page.code.to_owned(),
        title: page.title.to_owned(),
        what: format!("{}.", sentence(page.what)),
        remedy: page.remedy.to_owned(),
    });
    ours.or_else(|| Page::of(code))
}

fn unknown(code: &str) -> Refusal {
    let ours = drydock_plan::codes::CODES.iter().chain(drydock_plan::expr::CODES).map(|page| page.code);
    let refusal = Refusal::new(Exit::Usage, format!("there is no code `{code}`"));
    match drydock_plan::suggest::nearest(code, Page::codes().chain(ours)) {
        Some(near) => refusal.help(format!("did you mean `{near}`?")),
        None => refusal.help("codes look like DD203, http.status or sqlserver.3201; a finding or a failure shows its own in brackets"),
    }
}

/// With a capital letter.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
