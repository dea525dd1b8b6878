//! How a step differs between two readings of its plan: [`changes_of`]. Compared is what was done or decides what is done: the call with
//! its inputs, the values and files that they name, the server behind its target, its order and its conditions. How it is written,
//! what it is called in words, how often and how long it is tried are no difference.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::expr::{Datum, Expr, Root, Scope, Template};
use crate::model::{Call, Plan, Setting, Step, Validation};
use crate::name::Name;

/// The part of a step that a difference belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// What its body calls, with what, where.
    Call,
    /// What it waits for, and whether it stands in `finally`.
    Order,
    /// Whether it runs.
    When,
    /// What its instances are.
    Foreach,
    /// What it adds to its outputs.
    Outputs,
    /// The validation at this place, from 0.
    Validation(usize),
    /// What it undoes.
    Undoes,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where it matters.
    pub part: Part,
    /// What differs: `with.database`, `params.to`, `target sql: host`.
    pub what: String,
    /// What it was; `None` where there was nothing.
    pub was: Option<String>,
    /// What it is now; `None` where there is nothing.
    pub now: Option<String>,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |side: &Option<String>| side.as_deref().map_or("(nothing)".to_owned(), short);
        write!(f, "{}: {} -> {}", self.what, shown(&self.was), shown(&self.now))
    }
}

/// A text in at most 160 characters.
fn short(text: &str) -> String {
    match text.char_indices().nth(160) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    }
}

/// How a step differs: as `was` has it and as `now` has it.
pub fn changes_of(was: (&Plan, &Step), now: (&Plan, &Step)) -> Vec<Change> {
    let mut found = Found { plans: (was.0, now.0), changes: Vec::new() };
    let (old, new) = (was.1, now.1);
    found.call(Part::Call, "", Some(&old.call), Some(&new.call));
    let place = |step: &Step| if step.finally { "finally" } else { "steps" };
    found.compared(Part::Order, "it stands under", Some(json!(place(old))), Some(json!(place(new))));
    let needs = |plan: &Plan, step: &Step| names(step.needs.iter().map(|need| &plan.step(*need).id));
    found.compared(Part::Order, "needs", needs(was.0, old), needs(now.0, new));
    let when = |step: &'_ Step| step.when.as_ref().map(|when| when.expr.clone());
    found.expression(Part::When, "when", when(old).as_ref(), when(new).as_ref());
    let list = |step: &Step| step.foreach.as_ref().map(|foreach| foreach.list.clone());
    found.expression(Part::Foreach, "foreach", list(old).as_ref(), list(new).as_ref());
    let key = |step: &Step| step.foreach.as_ref().and_then(|foreach| foreach.key.clone());
    found.expression(Part::Foreach, "key", key(old).as_ref(), key(new).as_ref());
    let outputs: BTreeSet<&Name> = old.outputs.keys().chain(new.outputs.keys()).collect();
    for name in outputs {
        let what = format!("outputs.{name}");
        found.template(Part::Outputs, &what, old.outputs.get(name), new.outputs.get(name));
    }
    for at in 0..old.validate.len().max(new.validate.len()) {
        found.validation(at, old.validate.get(at), new.validate.get(at));
    }
    let undoes = |plan: &Plan, step: &Step| names(step.undoes.iter().map(|undone| &plan.step(*undone).id));
    found.compared(Part::Undoes, "undoes", undoes(was.0, old), undoes(now.0, new));
    found.changes
}

/// Names without an order, as one value; `None` where there are none.
fn names<'n>(names: impl Iterator<Item = &'n Name>) -> Option<Value> {
    let sorted: BTreeSet<&str> = names.map(Name::as_str).collect();
    (!sorted.is_empty()).then(|| json!(sorted))
}

struct Found<'p> {
    plans: (&'p Plan, &'p Plan),
    changes: Vec<Change>,
}

impl Found<'_> {
    fn compared(&mut self, part: Part, what: &str, was: Option<Value>, now: Option<Value>) {
        self.values(part, what, (was.as_ref(), was.as_ref()), (now.as_ref(), now.as_ref()));
    }

    /// Two values, each as it is shown and as it is compared: mappings key by key, lists of one length item by item.
    fn values(
        &mut self,
        part: Part,
        what: &str,
        was: (Option<&Value>, Option<&Value>),
        now: (Option<&Value>, Option<&Value>),
    ) {
        if was.1 == now.1 {
            return;
        }
        match (was, now) {
            (
                (Some(Value::Object(old)), Some(Value::Object(old_key))),
                (Some(Value::Object(new)), Some(Value::Object(new_key))),
            ) => {
                let more = new.keys().filter(|key| !old.contains_key(*key));
                for key in old.keys().chain(more) {
                    let what = if what.is_empty() { key.clone() } else { format!("{what}.{key}") };
                    self.values(
                        part,
                        &what,
                        (old.get(key), old_key.get(key)),
                        (new.get(key), new_key.get(key)),
                    );
                }
            }
            (
                (Some(Value::Array(old)), Some(Value::Array(old_key))),
                (Some(Value::Array(new)), Some(Value::Array(new_key))),
            ) if old.len() == new.len() => {
                for at in 0..old.len() {
                    self.values(
                        part,
                        &format!("{what}[{at}]"),
                        (old.get(at), old_key.get(at)),
                        (new.get(at), new_key.get(at)),
                    );
                }
            }
            ((was, _), (now, _)) => {
                let (was, now) = (was.map(Value::to_string), now.map(Value::to_string));
                self.changes.push(Change { part, what: what.to_owned(), was, now });
            }
        }
    }

    fn template(&mut self, part: Part, what: &str, was: Option<&Template>, now: Option<&Template>) {
        let shown = |template: Option<&Template>| template.map(|t| t.written(&|expr| expr.text().to_owned()));
        let compared = |template: Option<&Template>| template.map(|t| t.written(&|expr| tidy(expr.text())));
        let (old, new) = (shown(was), shown(now));
        let keys = (compared(was), compared(now));
        self.values(part, what, (old.as_ref(), keys.0.as_ref()), (new.as_ref(), keys.1.as_ref()));
        let exprs = was.into_iter().chain(now).flat_map(Template::exprs);
        self.params_read(part, exprs);
    }

    fn expression(&mut self, part: Part, what: &str, was: Option<&Expr>, now: Option<&Expr>) {
        let shown = |expr: Option<&Expr>| expr.map(|expr| json!(expr.text()));
        let compared = |expr: Option<&Expr>| expr.map(|expr| json!(tidy(expr.text())));
        let (old, new) = (shown(was), shown(now));
        let keys = (compared(was), compared(now));
        self.values(part, what, (old.as_ref(), keys.0.as_ref()), (new.as_ref(), keys.1.as_ref()));
        self.params_read(part, was.into_iter().chain(now));
    }

    /// The values of the parameters that expressions read. Of a secret only where it is kept is known, and that may change.
    fn params_read<'e>(&mut self, part: Part, exprs: impl Iterator<Item = &'e Expr>) {
        let read = exprs.flat_map(Expr::refs).filter(|reference| reference.root == Root::Params);
        let names: BTreeSet<&str> =
            read.filter_map(|reference| reference.path.first()).map(|name| name.text.as_str()).collect();
        let value = |plan: &Plan, name: &str| plan.params.get(name).cloned();
        for name in names {
            let what = format!("params.{name}");
            let inside = |rest: &str| rest.is_empty() || rest.starts_with(['.', '[']);
            let is_told =
                |change: &Change| change.part == part && change.what.strip_prefix(&what).is_some_and(inside);
            if !self.changes.iter().any(is_told) {
                self.compared(part, &what, value(self.plans.0, name), value(self.plans.1, name));
            }
        }
    }

    fn call(&mut self, part: Part, prefix: &str, was: Option<&Call>, now: Option<&Call>) {
        let uses = |call: Option<&Call>| call.map(|call| json!(call.kind));
        self.compared(part, &format!("{prefix}uses"), uses(was), uses(now));
        let target = |call: Option<&Call>| call.and_then(|call| call.target.as_ref()).map(|name| json!(name));
        self.compared(part, &format!("{prefix}target"), target(was), target(now));
        let with = |call: Option<&Call>| call.map(|call| Template::map(call.with.clone()));
        self.template(part, &format!("{prefix}with"), with(was).as_ref(), with(now).as_ref());
        let targets =
            was.into_iter().chain(now).flat_map(|call| call.target.iter().chain(&call.further_targets));
        for name in targets.collect::<BTreeSet<_>>() {
            let bound = |plan: &Plan| {
                plan.targets.get(name).map(|target| server(target.kind, target.settings.as_ref()))
            };
            self.compared(part, &format!("target {name}"), bound(self.plans.0), bound(self.plans.1));
        }
        let paths = |plan: &Plan, call: Option<&Call>| -> BTreeSet<String> {
            let params = Datum::from_json(&json!(plan.params));
            let scope = Scope { params: Some(&params), ..Scope::default() };
            let files = call.into_iter().flat_map(|call| &call.files);
            files.filter_map(|path| Some(path.render(&scope).ok()?.plain()?.as_str()?.to_owned())).collect()
        };
        let (old, new) = (paths(self.plans.0, was), paths(self.plans.1, now));
        for path in old.intersection(&new) {
            let content = |plan: &Plan| plan.files.get(path).map(|digest| json!(format!("sha256 {digest}")));
            self.compared(part, &format!("the file {path}"), content(self.plans.0), content(self.plans.1));
        }
    }

    fn validation(&mut self, at: usize, was: Option<&Validation>, now: Option<&Validation>) {
        let part = Part::Validation(at);
        let name = |validation: Option<&Validation>| validation.map(|validation| json!(&*validation.name));
        let what =
            was.or(now).map_or(String::new(), |validation| format!("validation `{}`", validation.name));
        self.compared(part, &what, name(was), name(now));
        let (Some(was), Some(now)) = (was, now) else { return };
        self.call(part, &format!("{what}: "), was.call.as_ref(), now.call.as_ref());
        self.expression(part, &format!("{what}: assert"), Some(&was.assert), Some(&now.assert));
    }
}

/// What says which server a target is. Its secrets may be kept elsewhere, or be others: it is the same server.
fn server(kind: &str, settings: Option<&Setting>) -> Value {
    let mut server = Map::new();
    server.insert("kind".to_owned(), json!(kind));
    if let Some(Setting::Map(settings)) = settings {
        server.extend(settings.iter().filter_map(|(name, value)| Some((name.clone(), plain(value)?))));
    }
    Value::Object(server)
}

fn plain(setting: &Setting) -> Option<Value> {
    Some(match setting {
        Setting::Plain(value) => value.clone(),
        Setting::Secret(_) => return None,
        Setting::List(items) => items.iter().filter_map(plain).collect(),
        Setting::Map(map) => {
            Value::Object(map.iter().filter_map(|(key, value)| Some((key.clone(), plain(value)?))).collect())
        }
    })
}

/// An expression's text without the blanks that mean nothing: those outside quotes that do not part two words.
fn tidy(text: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let (mut tidied, mut quote, mut escaped, mut blank) = (String::new(), None, false, false);
    for c in text.chars() {
        if let Some(mark) = quote {
            tidied.push(c);
            (escaped, quote) = (c == '\\' && !escaped, if c == mark && !escaped { None } else { quote });
            continue;
        }
        if c.is_whitespace() {
            blank = true;
            continue;
        }
        if blank && is_word(c) && tidied.chars().next_back().is_some_and(is_word) {
            tidied.push(' ');
        }
        blank = false;
        if matches!(c, '"' | '\'') {
            quote = Some(c);
        }
        tidied.push(c);
    }
    tidied
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_that_mean_nothing_are_no_difference() {
        let check = |text: &str, expected: &str| assert_eq!(tidy(text), expected);
        check("a  ==  b", "a==b");
        check(" a and\n  not b ", "a and not b");
        check("x | default( 'a  b' )", "x|default('a  b')");
        check(r#""a \" b"  ~ c"#, r#""a \" b"~c"#);
        check("a is within( b )", "a is within(b)");
    }
}
