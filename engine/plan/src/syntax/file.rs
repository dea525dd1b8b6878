//! What kind of file a document is, by its top key: [`FileKind`].

use crate::codes;
use crate::finding::{Finding, Findings};
use crate::suggest::nearest;

use super::fields::Fields;
use super::tree::{Node, Value};

/// What a file is for. Exactly one of the three keys stands at its top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// `steps`
    Plan,
    /// `environment`
    Environment,
    /// `requests`
    Requests,
}

impl FileKind {
    const ALL: [(&'static str, Self); 3] =
        [("steps", Self::Plan), ("environment", Self::Environment), ("requests", Self::Requests)];

    /// What this document is; none or several of the keys are found.
    pub fn of(node: &Node, findings: &mut Findings) -> Option<Self> {
        let Some(entries) = node.map() else {
            let what = format!("a file of Drydock is a mapping, and this is {}", node.words());
            findings.push(
                Finding::error(codes::FILE_KIND, node.place, what).help("a plan begins with `drydock: v1`"),
            );
            return None;
        };
        let mut found = entries
            .iter()
            .filter_map(|entry| Some((entry, Self::ALL.iter().find(|(key, _)| *key == &*entry.key)?.1)));
        let Some((first, kind)) = found.next() else {
            let place = entries.first().map_or(node.place, |entry| entry.key_place);
            let slip = entries
                .iter()
                .find_map(|entry| Some((entry, nearest(&entry.key, Self::ALL.map(|(key, _)| key))?)));
            findings.push(match slip {
                Some((entry, near)) => {
                    Finding::error(codes::FILE_KIND, entry.key_place, format!("a file has no key `{}` at its top", entry.key))
                        .label("unknown")
                        .help(format!("did you mean `{near}`?"))
                        .suggestion(near)
                }
                None => Finding::error(codes::FILE_KIND, place, "nothing says what kind of file this is")
                    .label("none of the keys at the top does")
                    .help("a plan has `steps`, an environment `environment`, a list of HTTP requests `requests`"),
            });
            return None;
        };
        let mut only = true;
        for (entry, _) in found {
            only = false;
            findings.push(
                Finding::error(
                    codes::FILE_KIND,
                    entry.key_place,
                    format!("`{}` and `{}` stand in one file", first.key, entry.key),
                )
                .label("the second kind")
                .help(
                    "a file is a plan, an environment or a list of requests; put each into a file of its own",
                )
                .related(first.key_place, "the first kind"),
            );
        }
        only.then_some(kind)
    }
}

/// The version that a file is written in must be ours.
pub(super) fn version(fields: &Fields<'_>, findings: &mut Findings) {
    let Some(entry) = fields.entry("drydock") else { return };
    if entry.value.text() != Some("v1") {
        let written = match &entry.value.value {
            Value::Text(text) => format!("`{}`", text.text),
            _ => entry.value.words().to_owned(),
        };
        findings.push(
            Finding::error(
                codes::VERSION,
                entry.value_place(),
                format!("this Drydock reads version `v1`, not {written}"),
            )
            .label("another version")
            .help("write `drydock: v1`")
            .suggestion("v1"),
        );
    }
}
