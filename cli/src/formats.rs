//! How commands answer: [`Format`], and which of them each command has. `--format` may stand before and behind a command's name; a
//! value that the command does not have is a misunderstanding, and never passed over.

use clap::builder::PossibleValuesParser;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, ValueEnum};

/// The format of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
pub(crate) enum Format {
    /// For people
    #[default]
    Text,
    /// For programs; stable
    Json,
    /// Findings as SARIF 2.1.0
    Sarif,
    /// Findings as annotations of the lines, in jobs and pull requests of GitHub and what takes its commands
    #[value(alias = "ci")]
    Github,
    /// In Markdown: the reference, or a dry run for a comment on a pull request
    Markdown,
    /// A dry run as one page, with the plan drawn
    Html,
    /// A drawing for Markdown
    Mermaid,
    /// A drawing for Graphviz
    Dot,
    /// A picture
    Svg,
}

/// The name of the argument.
const FORMAT: &str = "format";

/// The formats of a command, by the names on the way to it; the first is taken where nothing is said.
fn formats_of(way: &[&str]) -> &'static [Format] {
    use Format::{Dot, Github, Html, Json, Markdown, Mermaid, Sarif, Svg, Text};
    match way {
        ["check"] => &[Text, Json, Sarif, Github],
        ["kinds"] => &[Text, Json, Markdown],
        ["dry-run"] => &[Text, Json, Markdown, Html],
        ["graph"] => &[Mermaid, Dot, Svg, Json],
        ["schema"] => &[Json],
        ["practice" | "completions" | "man" | "__reaper"] => &[Text],
        _ => &[Text, Json],
    }
}

impl Format {
    /// As it is written.
    fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Sarif => "sarif",
            Self::Github => "github",
            Self::Markdown => "markdown",
            Self::Html => "html",
            Self::Mermaid => "mermaid",
            Self::Dot => "dot",
            Self::Svg => "svg",
        }
    }
}

fn argument(formats: &[Format]) -> Arg {
    let values = formats.iter().filter_map(Format::to_possible_value);
    Arg::new(FORMAT)
        .long(FORMAT)
        .value_name("FORMAT")
        .help("How to answer")
        .value_parser(PossibleValuesParser::new(values))
}

/// The same command line with `--format` at each command, with its own values.
pub(crate) fn with_formats(root: Command) -> Command {
    let all = argument(Format::value_variants())
        .help("How to answer; each command names its own formats")
        .hide_possible_values(true);
    with_subcommands(root.arg(all), &[])
}

fn with_subcommands(mut command: Command, way: &[&str]) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    for name in &names {
        let way: Vec<&str> = way.iter().copied().chain([name.as_str()]).collect();
        let formats = formats_of(&way);
        command = command.mut_subcommand(name, |sub| {
            let default = formats.first().copied().unwrap_or_default().name();
            with_subcommands(sub.arg(argument(formats).default_value(default)), &way)
        });
    }
    command
}

/// The format that was asked for: nearest to the command's end, else the command's first.
///
/// # Errors
/// When the command that was chosen does not have it.
pub(crate) fn chosen(matches: &ArgMatches, command: &mut Command) -> Result<Format, clap::Error> {
    let mut way = Vec::new();
    let mut asked = None;
    let mut at = Some(matches);
    while let Some(matches) = at {
        if matches.value_source(FORMAT) == Some(ValueSource::CommandLine) {
            asked = matches.get_one::<String>(FORMAT).cloned().or(asked);
        }
        at = matches.subcommand().map(|(name, matches)| {
            way.push(name);
            matches
        });
    }
    let formats = formats_of(&way);
    let Some(asked) = asked else { return Ok(formats.first().copied().unwrap_or_default()) };
    let is_asked =
        |format: &Format| format.to_possible_value().is_some_and(|value| value.matches(&asked, false));
    formats.iter().copied().find(is_asked).ok_or_else(|| {
        let names: Vec<&str> = formats.iter().map(|format| format.name()).collect();
        let message = format!(
            "`drydock {}` has no format `{asked}`\n  [possible values: {}]",
            way.join(" "),
            names.join(", ")
        );
        command.error(ErrorKind::InvalidValue, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_written_as_it_is_called() {
        for format in Format::value_variants() {
            let value = format.to_possible_value();
            assert_eq!(value.as_ref().map(clap::builder::PossibleValue::get_name), Some(format.name()));
        }
    }
}
