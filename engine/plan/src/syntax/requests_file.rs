//! A file of HTTP requests, from its document to [`Requests`]: [`requests_of`]. It is read as strictly as a plan, by `check` and by what
//! sends the requests alike.

use serde_json::{Map, Value as Json};

use crate::catalog::Effect;
use crate::codes;
use crate::duration::Millis;
use crate::finding::{Finding, Findings};
use crate::requests::{Claim, JsonPath, Method, Request, Requests, StatusSet};
use crate::source::{Place, SourceFile};
use crate::suggest::nearest;

use super::blanks::{Blank, blanks_in_key, blanks_of, not_a_name};
use super::fields::{Fields, Spanned, at_value, list, named};
use super::keys::{CLAIM, EXPECT, REQUEST, REQUESTS};
use super::plain_texts::secrets_in;
use super::tree::{Entry, Node, Value};

/// The name that the number of requests has among the outputs.
const COUNT: &str = "requests";

/// The requests that this document of `source` holds; what is wrong with them is found.
pub fn requests_of(node: &Node, source: &SourceFile, findings: &mut Findings) -> Requests {
    let top = node.map().and_then(|entries| entries.first()).map_or(node.place, |entry| entry.key_place);
    let Some(fields) = Fields::of(node, top, &REQUESTS, findings) else { return Requests::default() };
    super::file::version(&fields, findings);
    fields.text("description", findings);
    let vars = fields.names("vars", findings);
    let vars: Vec<_> =
        vars.into_iter().filter(|var| named(var.value, var.place, findings).is_some()).collect();
    let mut reader = Reader { source, vars, captured: Vec::new(), titles: Vec::new(), blanks: Vec::new() };
    let items = fields.items("requests", findings);
    if let Some(entry) = fields.entry("requests")
        && matches!(&entry.value.value, Value::List(items) if items.is_empty())
    {
        findings.push(
            Finding::error(
                codes::WRONG_TYPE,
                entry.value_place(),
                "a requests file needs at least one request",
            )
            .label("has none")
            .help("write for example `- { path: /health, expect: { status: 200 } }`"),
        );
    }
    let requests = items.iter().enumerate().filter_map(|(at, item)| reader.request(at, item, top, findings));
    let requests = requests.collect();
    reader.answer(findings);
    let vars = reader.vars.iter().map(|var| var.value.to_owned()).collect();
    Requests { vars, requests }
}

/// What is known while a file is read from its first request to its last.
struct Reader<'n> {
    source: &'n SourceFile,
    vars: Vec<Spanned<&'n str>>,
    /// Every name that is captured, with the number of its request, counted from 0, and its place.
    captured: Vec<(&'n str, usize, Place)>,
    titles: Vec<Spanned<&'n str>>,
    /// Every name in braces, with the number of the request in which it stands.
    blanks: Vec<(usize, Blank)>,
}

impl<'n> Reader<'n> {
    fn request(
        &mut self,
        number: usize,
        node: &'n Node,
        top: Place,
        findings: &mut Findings,
    ) -> Option<Request> {
        let Some(entries) = node.map() else {
            findings.push(
                Finding::error(codes::WRONG_TYPE, at_value(node, top), "a request must be a mapping")
                    .label(format!("this is {}", node.words()))
                    .help("write for example `- { path: /health, expect: { status: 200 } }`"),
            );
            return None;
        };
        let at = entries.first().map_or(node.place, |entry| entry.key_place);
        let fields = Fields::of(node, at, &REQUEST, findings)?;
        secrets_in(entries, None, findings);
        let name = fields.text("name", findings);
        self.title(name, findings);
        for key in ["path", "query", "headers", "json", "body", "expect"] {
            if let Some(entry) = fields.entry(key) {
                self.find_blanks(number, &entry.value, findings);
            }
        }
        let method = self::method(&fields, findings);
        let expect = fields.entry("expect").map(|entry| expect(entry, findings)).unwrap_or_default();
        if let (Some(_), Some(second)) = (fields.entry("json"), fields.entry("body")) {
            findings.push(
                Finding::error(
                    codes::REQUEST,
                    second.key_place,
                    "a request has either `json` or `body`, not both",
                )
                .label("the second body")
                .help("remove one of the two"),
            );
        }
        let effect = fields.one_of("effect", findings).map(|word| match word.value {
            "reads" => Effect::Reads,
            _ => Effect::Writes,
        });
        Some(Request {
            name: name.map(|name| name.value.to_owned()),
            method,
            path: fields.text("path", findings).map(|path| path.value.to_owned()).unwrap_or_default(),
            query: words(&fields, "query", findings),
            headers: words(&fields, "headers", findings),
            json: fields.entry("json").map(|entry| entry.value.json()),
            body: fields.text("body", findings).map(|text| text.value.to_owned()),
            effect,
            status: expect.status.unwrap_or_else(StatusSet::success),
            claims: expect.claims,
            captures: self.captures(number, &fields, findings),
            timeout: timeout(&fields, findings),
        })
    }

    /// A name stands once in a file.
    fn title(&mut self, name: Option<Spanned<&'n str>>, findings: &mut Findings) {
        let Some(name) = name else { return };
        if let Some(first) = self.titles.iter().find(|other| other.value == name.value) {
            findings.push(
                Finding::error(
                    codes::DUPLICATE_NAME,
                    name.place,
                    format!("two requests are called `{}`", name.value),
                )
                .label("the second one")
                .help("say what each of them does")
                .related(first.place, "the first one"),
            );
        }
        self.titles.push(name);
    }

    fn captures(
        &mut self,
        number: usize,
        fields: &Fields<'n>,
        findings: &mut Findings,
    ) -> Vec<(String, JsonPath)> {
        let mut captures = Vec::new();
        for entry in fields.entries("capture", findings) {
            named(&entry.key, entry.key_place, findings);
            if &*entry.key == COUNT {
                findings.push(
                    Finding::error(
                        codes::REQUEST,
                        entry.key_place,
                        format!("nothing can be captured as `{COUNT}`"),
                    )
                    .label("it is the number of requests in the outputs")
                    .help("give it another name"),
                );
            }
            self.captured.push((&entry.key, number, entry.key_place));
            captures.extend(path(&entry.value, entry, findings).map(|path| (entry.key.to_string(), path)));
        }
        captures
    }

    /// The names in braces of all texts of a value, keys too.
    fn find_blanks(&mut self, number: usize, node: &Node, findings: &mut Findings) {
        match &node.value {
            Value::Text(text) => {
                let found = blanks_of(text, &self.source.text, node.place, findings);
                self.blanks.extend(found.into_iter().map(|blank| (number, blank)));
            }
            Value::List(items) => items.iter().for_each(|item| self.find_blanks(number, item, findings)),
            Value::Map(entries) => {
                for entry in entries {
                    let found = blanks_in_key(&entry.key, entry.key_place, findings);
                    self.blanks.extend(found.into_iter().map(|blank| (number, blank)));
                    self.find_blanks(number, &entry.value, findings);
                }
            }
            Value::Null | Value::Boolean(_) | Value::Number(_) => {}
        }
    }

    /// Find every name that is not known where it stands.
    fn answer(&self, findings: &mut Findings) {
        for (number, blank) in &self.blanks {
            if not_a_name(&blank.name) {
                let message = format!("`{{{{ {} }}}}` is more than a name", blank.name);
                findings.push(
                    Finding::error(codes::NO_EXPRESSIONS, blank.place, message).label("an expression").help(
                        "a requests file has names alone: of what an earlier request captured, or of `vars`",
                    ),
                );
                continue;
            }
            let before = |captured: &&(&str, usize, Place)| captured.1 < *number;
            let earlier = || self.captured.iter().filter(before).map(|(name, ..)| *name);
            let known = || self.vars.iter().map(|var| var.value).chain(earlier());
            if known().any(|name| name == blank.name) {
                continue;
            }
            let message = format!("no earlier request captures `{}`", blank.name);
            let finding = Finding::error(codes::NOT_CAPTURED, blank.place, message).label("not known here");
            let later = self.captured.iter().find(|(name, at, _)| *name == blank.name && at >= number);
            findings.push(match (later, nearest(&blank.name, known())) {
                (Some((_, at, place)), _) if at == number => finding
                    .help("it is captured from the answer to this request: capture it in an earlier one")
                    .related(*place, "captured here"),
                (Some((.., place)), _) => {
                    finding.help("change the order of the two requests").related(*place, "captured later")
                }
                (None, Some(near)) => finding.help(format!("did you mean `{near}`?")).suggestion(near),
                (None, None) if known().next().is_none() => finding.help(
                    "capture it in an earlier request, or name it under `vars` at the top and give it in the step's `vars`",
                ),
                (None, None) => finding.help(format!(
                    "known here are {}; a value that the step gives is named under `vars` at the top",
                    list(known())
                )),
            });
        }
    }
}

fn method(fields: &Fields<'_>, findings: &mut Findings) -> Method {
    fields.one_of("method", findings).and_then(|word| Method::parse(word.value)).unwrap_or_default()
}

#[derive(Default)]
struct Expect {
    status: Option<StatusSet>,
    claims: Vec<Map<String, Json>>,
}

fn expect(entry: &Entry, findings: &mut Findings) -> Expect {
    let Some(fields) = Fields::of(&entry.value, entry.key_place, &EXPECT, findings) else {
        return Expect::default();
    };
    let status = fields.entry("status").and_then(|entry| match StatusSet::parse(&entry.value.json()) {
        Ok(status) => Some(status),
        Err(why) => {
            findings.push(
                Finding::error(codes::WRONG_TYPE, entry.value_place(), why)
                    .label("no status")
                    .help("write for example `status: 200`, `status: 2xx` or `status: [200, 404]`"),
            );
            None
        }
    });
    let claims = fields
        .items("json", findings)
        .iter()
        .filter_map(|item| claim(item, fields.entry("json")?.key_place, findings));
    let claims = claims.collect();
    Expect { status, claims }
}

fn claim(node: &Node, at: Place, findings: &mut Findings) -> Option<Map<String, Json>> {
    let at = node.map().and_then(|entries| entries.first()).map_or(at, |entry| entry.key_place);
    let before = findings.len();
    let fields = Fields::of(node, at, &CLAIM, findings)?;
    if let Some(entry) = fields.entry("path") {
        path(&entry.value, entry, findings);
    }
    fields.boolean("exists", findings);
    fields.number("at_least", findings);
    if findings.len() > before {
        return None;
    }
    let Json::Object(map) = node.json() else { return None };
    match Claim::parse(&map) {
        Ok(_) => Some(map),
        Err(why) => {
            findings.push(
                Finding::error(codes::REQUEST, at, why)
                    .label("nothing is said")
                    .help("say what must hold there, for example `exists: true`"),
            );
            None
        }
    }
}

/// The place in a JSON value that a text is.
fn path(node: &Node, entry: &Entry, findings: &mut Findings) -> Option<JsonPath> {
    let place = at_value(node, entry.key_place);
    let Some(text) = node.text() else {
        findings.push(
            Finding::error(
                codes::WRONG_TYPE,
                place,
                format!("`{}` must be a place in the answer's JSON", entry.key),
            )
            .label(format!("this is {}", node.words()))
            .help("write for example `agents.0.id`"),
        );
        return None;
    };
    match JsonPath::parse(text) {
        Ok(path) => Some(path),
        Err(why) => {
            findings.push(Finding::error(codes::WRONG_TYPE, place, why).label("no place in JSON"));
            None
        }
    }
}

/// The texts of a mapping; numbers and booleans count as their texts.
fn words(fields: &Fields<'_>, name: &str, findings: &mut Findings) -> Vec<(String, String)> {
    let mut words = Vec::new();
    for entry in fields.entries(name, findings) {
        match &entry.value.value {
            Value::Text(text) => words.push((entry.key.to_string(), text.text.to_string())),
            Value::Number(_) | Value::Boolean(_) => {
                words.push((entry.key.to_string(), entry.value.json().to_string()));
            }
            Value::Null | Value::List(_) | Value::Map(_) => findings.push(
                Finding::error(
                    codes::WRONG_TYPE,
                    entry.value_place(),
                    format!("`{}` of `{name}` must be text, a number, true or false", entry.key),
                )
                .label(format!("this is {}", entry.value.words()))
                .help("write it as text"),
            ),
        }
    }
    words
}

fn timeout(fields: &Fields<'_>, findings: &mut Findings) -> Option<Millis> {
    let timeout = fields.duration("timeout", findings)?;
    if timeout.value == Millis(0) {
        findings.push(
            Finding::error(codes::WRONG_TYPE, timeout.place, "`timeout` must be longer than nothing")
                .label("every request would take too long")
                .help("write for example `timeout: 30s`, or leave it out"),
        );
    }
    Some(timeout.value)
}
