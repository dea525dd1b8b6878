//! What a user's own rehearsal is filled with: [`data_of`] a file.

use std::path::Path;

use drydock_machine::Exit;
use drydock_plan::source::Place;
use drydock_plan::syntax::tree::{Node, Value};
use drydock_practice::octopus::{Data, NoData};

use crate::load;
use crate::session::Refusal;

/// The data that a file holds.
///
/// # Errors
/// What is wrong with it, with its place.
pub(super) fn data_of(path: &Path) -> Result<Data, Refusal> {
    let invalid = |message: String| {
        Refusal::new(Exit::Invalid, message).help("docs/reference/rehearse-data.md describes the file")
    };
    if !path.is_file() {
        return Err(Refusal::new(Exit::Usage, format!("--data: there is no file {}", path.display())));
    }
    let (node, source) = load::with_places(path).map_err(|error| invalid(error.message))?;
    Data::parse(&node.json()).map_err(|NoData { at, why }| {
        let (line, column) = source.line_column(place_of(&node, &at).span.start as usize);
        let what = if at.is_empty() { String::new() } else { format!("{}: ", at.join(".")) };
        invalid(format!("{}:{line}:{column}: {what}{why}", path.display()))
    })
}

/// Where these keys and indices lead.
fn place_of(node: &Node, at: &[String]) -> Place {
    let Some((first, rest)) = at.split_first() else { return node.place };
    match &node.value {
        Value::Map(entries) => match entries.iter().find(|entry| *entry.key == **first) {
            Some(entry) if rest.is_empty() => entry.key_place,
            Some(entry) => place_of(&entry.value, rest),
            None => node.place,
        },
        Value::List(items) => {
            let item = first.parse().ok().and_then(|index: usize| items.get(index));
            item.map_or(node.place, |item| place_of(item, rest))
        }
        _ => node.place,
    }
}
