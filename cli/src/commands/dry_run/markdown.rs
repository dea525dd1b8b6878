//! A dry run as a comment on a pull request: [`markdown`].

use drydock_run::dry_run::DryRun;

use super::against::Against;
use super::first_screen::{About, Line, PARTS, first_screen, summary};
use super::text::{Screen, step_text};

/// For a comment on a pull request: the first screen, what has changed, and every step behind a fold.
pub(super) fn markdown(plan: &str, shown: &DryRun, against: Option<&Against>) -> String {
    let mut text = format!("## Dry run of {}\n\n{}\n", code(plan), summary(shown));
    let lines = first_screen(shown);
    for about in PARTS {
        let mut of: Vec<String> = lines.iter().filter(|line| line.about == about).map(bullet).collect();
        if !of.is_empty() {
            of.insert(0, format!("\n**{}**\n", about.title()));
            text.push_str(&(of.join("\n") + "\n"));
        }
    }
    if let Some(against) = against {
        text.push_str(&changes(against));
    }
    text.push_str("\n<details><summary>Every step</summary>\n");
    for step in &shown.steps {
        text.push_str(&fenced("text", step_text(step, Screen::default()).trim()));
    }
    text + "\n</details>\n"
}

fn bullet(line: &Line) -> String {
    let Line { about, of, text, code: its_code, help } = line;
    let help = help.as_ref().map_or(String::new(), |help| format!(" Help: {}", plain(help)));
    let found = its_code.as_ref().map_or(String::new(), |code| format!(" [{code}]"));
    match about {
        About::Destroys => format!("- {}", plain(text)),
        About::Note if its_code.is_none() => format!("- {}", plain(text)),
        About::Writes => format!("- on {}: {}", code(of), plain(text)),
        About::Servers => format!("- {} {}", code(of), plain(text)),
        About::Choice | About::Refused | About::Unknown | About::Note => {
            format!("- {}: {}{found}{help}", code(of), plain(text))
        }
    }
}

fn changes(against: &Against) -> String {
    let mut text = format!("\n**{}**\n", plain(&against.summary()));
    if against.changes.is_empty() {
        return text;
    }
    text.push_str("\n<details open><summary>Changes</summary>\n");
    for change in &against.changes {
        let mut lines = Vec::new();
        for (sign, side) in [('-', &change.was), ('+', &change.is)] {
            lines.extend(side.iter().flat_map(|text| text.lines()).map(|line| format!("{sign} {line}")));
        }
        text.push_str(&format!("\n{}\n{}", code(&change.at), fenced("diff", &lines.join("\n"))));
    }
    text + "\n</details>\n"
}

/// Lines behind a fence that nothing in them ends.
fn fenced(language: &str, lines: &str) -> String {
    let fence = fence(lines);
    format!("\n{fence}{language}\n{lines}\n{fence}\n")
}

/// A fence that nothing in the lines ends.
fn fence(lines: &str) -> String {
    let mut longest = 0;
    let mut run = 0;
    for c in lines.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    "`".repeat(longest.max(2) + 1)
}

/// A name as Markdown's code; none has a back-tick.
fn code(name: &str) -> String {
    format!("`{}`", name.replace('`', "'"))
}

/// Text in which Markdown finds nothing to do, on one line.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' => plain.push(' '),
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '|' | '~' | '$' | '@' => {
                plain.push('\\');
                plain.push(c);
            }
            _ => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_a_plan_says_nothing_to_markdown() {
        assert_eq!(plain("a*b_c\n<x> [y]"), "a\\*b\\_c \\<x\\> \\[y\\]");
        assert_eq!(code("a`b"), "`a'b`");
        assert_eq!(fence("no fence"), "```");
        assert_eq!(fence("a ```` b"), "`````");
    }
}
