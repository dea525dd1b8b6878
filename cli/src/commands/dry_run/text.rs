//! A dry run as people read it on a screen: [`text`].

use drydock_run::dry_run::{DryRun, DryStep, Runs};

use super::against::Against;
use super::first_screen::{About, Line, first_screen, summary};

/// How the screen is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Screen {
    /// Whether it has colours.
    pub(super) color: bool,
    /// How many characters a line may have, where it is a terminal.
    pub(super) width: Option<usize>,
    /// Whether only what counts first is wanted.
    pub(super) brief: bool,
}

/// What words are painted in.
#[derive(Debug, Clone, Copy)]
enum Ink {
    Bold,
    Red,
    Yellow,
    Green,
    Dim,
}

impl Screen {
    fn paint(self, ink: Ink, text: &str) -> String {
        let code = match ink {
            Ink::Bold => "1",
            Ink::Red => "1;31",
            Ink::Yellow => "33",
            Ink::Green => "32",
            Ink::Dim => "2",
        };
        if self.color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// A line of several parts, folded where the screen ends, what follows further in. Colours are not counted.
    fn line(self, indent: usize, text: &str) -> String {
        let (first, others) = (" ".repeat(indent), " ".repeat(indent + 4));
        let fold = |line: &str| match self.width {
            Some(width) if visible(line) + indent > width => {
                let options = textwrap::Options::new(width.max(indent + 24))
                    .initial_indent(&first)
                    .subsequent_indent(&others)
                    .break_words(false);
                textwrap::fill(line, options)
            }
            _ => format!("{first}{line}"),
        };
        let mut out = String::new();
        for line in text.lines() {
            out.push_str(&fold(line));
            out.push('\n');
        }
        out
    }
}

/// How many characters of it are seen.
fn visible(text: &str) -> usize {
    let mut count = 0;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            for code in chars.by_ref() {
                if code == 'm' {
                    break;
                }
            }
        } else {
            count += 1;
        }
    }
    count
}

/// For people: first what would be lost and what speaks against it, then every step.
pub(super) fn text(plan: &str, shown: &DryRun, against: Option<&Against>, screen: Screen) -> String {
    let mut text =
        screen.line(0, &screen.paint(Ink::Bold, &format!("dry run of {plan}: {}", summary(shown))));
    first_screen(shown).iter().for_each(|line| text.push_str(&of_first_screen(line, screen)));
    if let Some(against) = against {
        text.push_str(&changes(against, screen));
    }
    if !screen.brief {
        shown.steps.iter().for_each(|step| text.push_str(&step_text(step, screen)));
    }
    text
}

fn of_first_screen(line: &Line, screen: Screen) -> String {
    let Line { about, of, text, code, help } = line;
    let code = code.as_ref().map_or(String::new(), |code| format!(" [{code}]"));
    let mut out = screen.line(
        2,
        &match about {
            About::Choice => format!("{of}: {text}"),
            About::Destroys => format!("{} {text}", screen.paint(Ink::Red, "DESTROYS")),
            About::Writes => format!("{} on {of}: {text}", screen.paint(Ink::Yellow, "writes")),
            About::Servers => format!("{of} {text}"),
            About::Refused => format!("{}: {of}: {text}{code}", screen.paint(Ink::Red, "cannot succeed")),
            About::Unknown => format!("not known: {of}: {text}{code}"),
            About::Note if code.is_empty() => format!("note: {text}"),
            About::Note => format!("note: {of}: {text}{code}"),
        },
    );
    if let Some(help) = help {
        out.push_str(&screen.line(6, &format!("help: {help}")));
    }
    out
}

fn changes(against: &Against, screen: Screen) -> String {
    let mut out = String::from("\n");
    out.push_str(&screen.line(0, &screen.paint(Ink::Bold, &against.summary())));
    for change in &against.changes {
        out.push_str(&screen.line(2, &screen.paint(Ink::Bold, &change.at)));
        for (sign, ink, lines) in [('-', Ink::Red, &change.was), ('+', Ink::Green, &change.is)] {
            for line in lines.iter().flat_map(|text| text.lines()) {
                out.push_str(&screen.line(4, &screen.paint(ink, &format!("{sign} {line}"))));
            }
        }
    }
    out
}

/// A step with all that it does.
pub(super) fn step_text(step: &DryStep, screen: Screen) -> String {
    let mark = match step.runs {
        Runs::Yes => "",
        Runs::No => "  (would not run)",
        Runs::Unknown => "  (may run)",
    };
    let mut text = format!(
        "\n{}",
        screen.line(0, &format!("{}  {}{mark}", screen.paint(Ink::Bold, &step.id), step.uses))
    );
    if let Some(place) = place(step) {
        text.push_str(&screen.line(4, &screen.paint(Ink::Dim, &place)));
    }
    if let Some(why) = &step.why {
        text.push_str(&screen.line(4, why));
    }
    for action in &step.actions {
        let arrow = if action.writes { screen.paint(Ink::Yellow, "!") } else { ".".to_owned() };
        let target = action.target.as_ref().map_or(String::new(), |target| format!("{target}: "));
        let mut lines = action.text.lines();
        text.push_str(&screen.line(2, &format!("{arrow} {target}{}", lines.next().unwrap_or_default())));
        lines.for_each(|line| text.push_str(&screen.line(6, line)));
    }
    text
}

/// The most steps that are named beside one.
const MOST_BESIDE: usize = 6;

/// What a step comes after, and what may be at work at the same time.
pub(super) fn place(step: &DryStep) -> Option<String> {
    let after = step.needs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut beside: Vec<String> = step.beside.iter().take(MOST_BESIDE).map(ToString::to_string).collect();
    if step.beside.len() > MOST_BESIDE {
        beside.push("others".to_owned());
    }
    let beside = beside.join(", ");
    match (after.is_empty(), beside.is_empty()) {
        (true, true) if step.finally => Some("after all others, whatever became of them".to_owned()),
        (true, true) => None,
        (false, true) => Some(format!("after {after}")),
        (true, false) => Some(format!("beside {beside}")),
        (false, false) => Some(format!("after {after}; beside {beside}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_folded_where_the_screen_ends() {
        let screen = Screen { color: false, width: Some(40), brief: false };
        let long = "one two three four five six seven eight nine ten eleven";
        assert_eq!(
            screen.line(2, long),
            "  one two three four five six seven\n      eight nine ten eleven\n"
        );
        assert_eq!(Screen::default().line(2, long), format!("  {long}\n"));
        let painted = Screen { color: true, ..screen }.paint(Ink::Red, "DESTROYS");
        assert_eq!((visible(&painted), painted.len()), (8, 8 + 11));
    }
}
