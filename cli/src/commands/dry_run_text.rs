//! A dry run as people read it: [`text`] on a screen, [`markdown`] as a comment on a pull request.

use drydock_run::dry_run::{DryFinding, DryRun, DryStep, Headline, Runs, Severity, Touched, Unseen};
use indexmap::IndexMap;

/// For people: first what would be lost and what speaks against it, then every step.
pub(super) fn text(plan: &str, shown: &DryRun) -> String {
    let mut text = format!("dry run of {plan}: {}\n", summary(shown));
    for headline in &shown.headlines {
        text.push_str(&format!("  {}: {}\n", headline.step, headline.text));
    }
    for destroyed in &shown.destroys {
        let target = destroyed.target.as_ref().map_or(String::new(), |target| format!(" on {target}"));
        text.push_str(&format!("  DESTROYS {}{target}, by {}\n", destroyed.words(), destroyed.step));
    }
    for (target, written) in written_by_target(shown) {
        text.push_str(&format!("  writes on {target}: {written}\n"));
    }
    for unseen in &shown.unseen {
        text.push_str(&format!("  note: which plan {} runs is known only during the run\n", unseen.step));
    }
    for found in &shown.findings {
        let weight = match found.severity {
            Severity::Error => "cannot succeed",
            Severity::Warning => "note",
            Severity::Unknown => "not known",
        };
        text.push_str(&format!(
            "  {weight}: {}: {} [{}]\n",
            found.steps(),
            found.finding.message,
            found.finding.code
        ));
        if let Some(help) = &found.finding.help {
            text.push_str(&format!("      help: {help}\n"));
        }
    }
    shown.steps.iter().for_each(|step| text.push_str(&step_text(step)));
    text
}

/// How many steps would run, in a sentence.
fn summary(shown: &DryRun) -> String {
    let count = |wanted: Runs| shown.steps.iter().filter(|step| step.runs == wanted).count();
    let would_run = count(Runs::Yes);
    let steps = if would_run == 1 { "step" } else { "steps" };
    let mut text = format!("{would_run} {steps} would run");
    let (unknown, none) = (count(Runs::Unknown), count(Runs::No));
    match unknown {
        0 => {}
        1 => text.push_str(", 1 depends on what is known during the run"),
        more => text.push_str(&format!(", {more} depend on what is known during the run")),
    }
    if none > 0 {
        text.push_str(&format!(", {none} would not run"));
    }
    text + ". Nothing was changed."
}

/// For a comment on a pull request: the first screen, and every step behind a fold.
pub(super) fn markdown(plan: &str, shown: &DryRun) -> String {
    let mut text = format!("## Dry run of {}\n\n{}\n", code(plan), summary(shown));
    let mut part = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            text.push_str(&format!("\n**{title}**\n\n"));
            lines.iter().for_each(|line| text.push_str(&format!("- {line}\n")));
        }
    };
    let (fatal, notes): (Vec<_>, Vec<_>) = shown.findings.iter().partition(|found| found.finding.fatal);
    let finding = |found: &&DryFinding| {
        let help =
            found.finding.help.as_ref().map_or(String::new(), |help| format!(" Help: {}", plain(help)));
        format!("{}: {} [{}]{help}", code(&found.steps()), plain(&found.finding.message), found.finding.code)
    };
    part("It cannot succeed", fatal.iter().map(finding).collect());
    let headline = |one: &Headline| format!("{}: {}", code(&one.step), plain(&one.text));
    part("What it comes to", shown.headlines.iter().map(headline).collect());
    let destroyed = |one: &Touched| {
        let on = one.target.as_ref().map_or(String::new(), |target| format!(" on {}", code(target)));
        format!("{}{on}, by {}", plain(one.words()), code(&one.step))
    };
    part("Destroys", shown.destroys.iter().map(destroyed).collect());
    let written = |(target, things): (String, String)| format!("on {}: {}", code(&target), plain(&things));
    part("Writes", written_by_target(shown).into_iter().map(written).collect());
    let unseen = |one: &Unseen| format!("which plan {} runs is known only during the run", code(&one.step));
    let notes = notes.iter().map(finding).chain(shown.unseen.iter().map(unseen));
    part("Notes", notes.collect());
    text.push_str("\n<details><summary>Every step</summary>\n");
    for step in &shown.steps {
        let lines = step_text(step);
        let fence = fence(&lines);
        text.push_str(&format!("\n{fence}text\n{}\n{fence}\n", lines.trim()));
    }
    text + "\n</details>\n"
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

/// What would be written to beside what is destroyed, a line for each target: each thing once, with the steps that write it.
fn written_by_target(shown: &DryRun) -> Vec<(String, String)> {
    let mut targets: IndexMap<&str, IndexMap<&str, Vec<&str>>> = IndexMap::new();
    for touched in &shown.writes {
        let things = targets.entry(touched.target.as_deref().unwrap_or("the runner")).or_default();
        let steps = things.entry(touched.words()).or_default();
        // An instance is shown by its step: a foreach over a hundred collections is one line.
        let step = touched.step.split('[').next().unwrap_or(&touched.step);
        if !steps.contains(&step) {
            steps.push(step);
        }
    }
    let thing = |(thing, steps): (&&str, &Vec<&str>)| format!("{thing} (by {})", steps.join(", "));
    let line = |things: &IndexMap<&str, Vec<&str>>| things.iter().map(thing).collect::<Vec<_>>().join("; ");
    targets.iter().map(|(target, things)| ((*target).to_owned(), line(things))).collect()
}

fn step_text(step: &DryStep) -> String {
    let mark = match step.runs {
        Runs::Yes => "",
        Runs::No => "  (would not run)",
        Runs::Unknown => "  (may run)",
    };
    let mut text = format!("\n{}  {}{mark}\n", step.id, step.uses);
    if let Some(why) = &step.why {
        text.push_str(&format!("    {why}\n"));
    }
    for action in &step.actions {
        let arrow = if action.writes { "!" } else { "." };
        let target = action.target.as_ref().map_or(String::new(), |target| format!("{target}: "));
        let lines: Vec<&str> = action.text.lines().collect();
        text.push_str(&format!("  {arrow} {target}{}\n", lines.join("\n      ")));
    }
    text
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
