//! A dry run as one page that needs nothing else, with the plan drawn: [`html`].

use drydock_run::dry_run::{DryRun, DryStep, Runs};

use crate::drawing::{Class, Drawn, escaped, svg};

use super::against::Against;
use super::first_screen::{About, PARTS, first_screen, summary};
use super::text::place;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;color:#16202b;background:#fff;margin:2rem auto;max-width:72rem;padding:0 1.2rem}\
h1{font-size:1.5rem;margin:0 0 .3rem}h2{font-size:1.05rem;margin:1.8rem 0 .4rem}ul{margin:.2rem 0;padding-left:1.2rem}\
code,pre{font:13px/1.45 ui-monospace,monospace}pre{background:#f5f7f9;padding:.6rem .8rem;margin:.4rem 0;white-space:pre-wrap;overflow-wrap:anywhere}\
.refused{border-left:4px solid #a3271b;background:#fbe9e7;padding:.4rem 1rem}.destroys{border-left:4px solid #a3271b;padding:0 1rem}\
.help{color:#56626f}.drawing{overflow-x:auto;border:1px solid #d8dee4;margin:.6rem 0}.drawing svg{max-width:100%;height:auto}\
details{border-bottom:1px solid #e4e8ec;padding:.35rem 0}summary{cursor:pointer}summary .kind,.place{color:#56626f}\
.writes{color:#a3271b;font-weight:600}.was{color:#a3271b}.is{color:#1b6b34}.tag{border:1px solid #b5bcc4;border-radius:3px;padding:0 .35rem;font-size:.8rem}";

/// The whole page.
pub(super) fn html(plan: &str, shown: &DryRun, against: Option<&Against>) -> String {
    let title = format!("Dry run of {plan}");
    let mut text = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title><style>{STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n<p>{}</p>\n",
        escaped(&summary(shown)),
        title = escaped(&title),
    );
    let lines = first_screen(shown);
    for about in PARTS {
        let class = match about {
            About::Refused => "refused",
            About::Destroys => "destroys",
            _ => "part",
        };
        let of: Vec<String> = lines.iter().filter(|line| line.about == about).map(item).collect();
        if !of.is_empty() {
            text.push_str(&format!(
                "<section class=\"{class}\"><h2>{}</h2><ul>\n{}</ul></section>\n",
                about.title(),
                of.concat()
            ));
        }
    }
    if let Some(against) = against {
        text.push_str(&changes(against));
    }
    text.push_str(&format!("<h2>Steps</h2>\n<div class=\"drawing\">{}</div>\n", drawing(shown)));
    shown.steps.iter().for_each(|step| text.push_str(&details(step)));
    text + &format!(
        "<p class=\"help\">Digest of plan, environment and their files: <code>{}</code></p>\n</body></html>\n",
        escaped(&shown.digest.0)
    )
}

fn item(line: &super::first_screen::Line) -> String {
    let of = match line.about {
        About::Destroys => String::new(),
        _ => format!("<code>{}</code> ", escaped(&line.of)),
    };
    let code = line.code.as_ref().map_or(String::new(), |code| format!(" <code>[{}]</code>", escaped(code)));
    let help = line.help.as_ref();
    let help =
        help.map_or(String::new(), |help| format!("<br><span class=\"help\">{}</span>", escaped(help)));
    format!("<li>{of}{}{code}{help}</li>\n", escaped(&line.text))
}

fn changes(against: &Against) -> String {
    let mut text = format!("<h2>{}</h2>\n", escaped(&against.summary()));
    for change in &against.changes {
        text.push_str(&format!("<p><code>{}</code></p><pre>", escaped(&change.at)));
        for (sign, class, side) in [('-', "was", &change.was), ('+', "is", &change.is)] {
            for line in side.iter().flat_map(|text| text.lines()) {
                text.push_str(&format!("<span class=\"{class}\">{sign} {}</span>\n", escaped(line)));
            }
        }
        text.push_str("</pre>\n");
    }
    text
}

/// The steps, an instance's colour that of the worst of them.
fn drawing(shown: &DryRun) -> String {
    let base = |step: &DryStep| step.id.split('[').next().unwrap_or(&step.id).to_owned();
    let mut names: Vec<String> = Vec::new();
    let mut drawn: Vec<Drawn> = Vec::new();
    for step in &shown.steps {
        let name = base(step);
        let class = class(shown, step);
        match names.iter().position(|other| *other == name) {
            Some(at) => {
                let times = shown.steps.iter().filter(|other| base(other) == name).count();
                drawn[at].title = format!("{name} × {times}");
                if class == Class::Destroys || (class == Class::Writes && drawn[at].class != Class::Destroys)
                {
                    drawn[at].class = class;
                }
            }
            None => {
                names.push(name.clone());
                drawn.push(Drawn {
                    title: name,
                    under: step.uses.to_string(),
                    class,
                    open: step.runs == Runs::Unknown,
                    last: step.finally,
                    needs: Vec::new(),
                });
            }
        }
    }
    for step in &shown.steps {
        let needs = step.needs.iter();
        let needs = needs.filter_map(|need| names.iter().position(|name| name == need.as_str())).collect();
        if let Some(at) = names.iter().position(|name| *name == base(step)) {
            drawn[at].needs = needs;
        }
    }
    svg(&drawn)
}

fn class(shown: &DryRun, step: &DryStep) -> Class {
    // What a plan destroys that a step runs, that step destroys.
    let is_its =
        |by: &str| by == step.id || by.strip_prefix(&step.id).is_some_and(|rest| rest.starts_with('/'));
    if step.runs == Runs::No {
        Class::Left
    } else if shown.destroys.iter().any(|one| is_its(&one.step)) {
        Class::Destroys
    } else if step.actions.iter().any(|action| action.writes) {
        Class::Writes
    } else {
        Class::Reads
    }
}

fn details(step: &DryStep) -> String {
    let mark = match step.runs {
        Runs::Yes => "",
        Runs::No => " <span class=\"tag\">would not run</span>",
        Runs::Unknown => " <span class=\"tag\">may run</span>",
    };
    let mut text = format!(
        "<details><summary><code>{}</code> <span class=\"kind\">{}</span>{mark}</summary>\n",
        escaped(&step.id),
        escaped(&step.uses)
    );
    for line in place(step).iter().chain(&step.why) {
        text.push_str(&format!("<p class=\"place\">{}</p>\n", escaped(line)));
    }
    for action in &step.actions {
        let target = action.target.as_deref().unwrap_or("the runner");
        let writes = if action.writes { " <span class=\"writes\">writes</span>" } else { "" };
        text.push_str(&format!("<pre><b>{}</b>{writes}\n{}</pre>\n", escaped(target), escaped(&action.text)));
    }
    text + "</details>\n"
}
