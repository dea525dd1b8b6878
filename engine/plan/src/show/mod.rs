//! Findings as people and programs read them: as text with the place underlined ([`text`]), JSON ([`json`]), SARIF ([`sarif`]) and
//! annotations of a CI job ([`annotations`]). Each gives a value; nothing is printed here.

mod joined;
mod view;
mod text;
mod json;
mod sarif;
mod annotations;

pub use annotations::annotations;
pub use joined::Shown;
pub use json::json;
pub use sarif::sarif;
pub use text::{Look, summary, text};
