//! Findings in the format that was asked for: [`written`].

use drydock_plan::check::Checked;
use drydock_plan::show::{Look, Shown, annotations, json, sarif, summary, text};

use crate::formats::Format;

/// What was found by some checks, ready to be printed; empty where there is nothing to say.
pub(crate) fn written<'c>(
    checks: impl IntoIterator<Item = &'c Checked>,
    format: Format,
    look: Look,
) -> String {
    let mut all = Shown::default();
    for checked in checks {
        all.add(&checked.findings, &checked.sources);
    }
    let Shown { findings, sources } = &all;
    match format {
        // What is no plan cannot be drawn either.
        Format::Text | Format::Markdown | Format::Html | Format::Mermaid | Format::Dot | Format::Svg => {
            match summary(findings) {
                Some(summary) => format!("{}\n{summary}\n", text(findings, sources, look)),
                None => String::new(),
            }
        }
        Format::Json => format!("{:#}\n", json(findings, sources)),
        Format::Sarif => format!("{:#}\n", sarif(findings, sources, env!("CARGO_PKG_VERSION"))),
        Format::Github => annotations(findings, sources),
    }
}
