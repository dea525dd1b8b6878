//! The inputs of a kind, from YAML to templates that fit its fields: [`InputParts`].

use indexmap::IndexMap;

use crate::codes;
use crate::expr::{Expr, Site, Template, compile_expr, compile_text};
use crate::finding::{Code, Finding, Findings};
use crate::fit::{At, Parts, wrong, wrong_value};
use crate::owned_shape::{Fit, OwnedShape};
use crate::params::Params;
use crate::source::{Place, SourceFile};
use crate::syntax::offsets::origin;
use crate::syntax::tree::{Entry, Node, Value};

use super::references::{Reader, Readers};
use super::shapes::Known;

/// Everything that is needed to compile an expression where it stands, and to judge what it reads.
pub(super) struct Compiler<'s, 'a, 'n> {
    pub(super) source: &'s SourceFile,
    pub(super) params: &'s Params,
    pub(super) known: Known<'s>,
    pub(super) readers: &'s mut Readers<'a, 'n>,
    pub(super) reader: Reader<'s>,
    pub(super) site: &'s Site,
}

impl Compiler<'_, '_, '_> {
    /// A bare expression; all that it reads is judged.
    pub(super) fn expression(&mut self, entry: &Entry, findings: &mut Findings) -> Option<Expr> {
        let expr = self.unjudged(entry, findings)?;
        self.judge(&expr, findings);
        Some(expr)
    }

    /// A bare expression.
    pub(super) fn unjudged(&mut self, entry: &Entry, findings: &mut Findings) -> Option<Expr> {
        let params = self.params;
        let secret = |name: &str| params.is_secret(name);
        let expr = match &entry.value.value {
            Value::Text(text) => {
                let origin = origin(text, &self.source.text, entry.value.place);
                compile_expr(&text.text, origin, self.site, &secret, findings)
            }
            Value::Boolean(value) => {
                compile_expr(&value.to_string(), entry.value.place, self.site, &secret, findings)
            }
            _ => None,
        };
        self.readers.unreadable |= expr.is_none();
        expr
    }

    /// Judge all that an expression reads.
    pub(super) fn judge(&mut self, expr: &Expr, findings: &mut Findings) {
        for reference in expr.refs() {
            self.readers.judge(reference, self.reader, &self.known, findings);
        }
    }

    /// A value that may have `{{ }}` anywhere in it; all that it reads is judged. Secrets may not stand in it.
    pub(super) fn value(&mut self, node: &Node, findings: &mut Findings) -> Option<Template> {
        match &node.value {
            Value::List(items) => {
                let parts: Vec<_> = items.iter().map(|item| self.value(item, findings)).collect();
                parts.into_iter().collect::<Option<Vec<_>>>().map(Template::list)
            }
            Value::Map(entries) => {
                let parts: Vec<_> = entries
                    .iter()
                    .map(|entry| Some((entry.key.to_string(), self.value(&entry.value, findings)?)))
                    .collect();
                parts.into_iter().collect::<Option<IndexMap<_, _>>>().map(Template::map)
            }
            _ => {
                let template = self.scalar(node, findings)?;
                if let [secret, ..] = template.secrets().as_slice() {
                    findings.push(shown_secret(secret, node.place, "an output"));
                }
                Some(template)
            }
        }
    }

    /// A scalar's template; all that it reads is judged.
    fn scalar(&mut self, node: &Node, findings: &mut Findings) -> Option<Template> {
        let Value::Text(text) = &node.value else { return Some(Template::literal(node.json())) };
        if !text.text.contains('{') {
            return Some(Template::literal(node.json()));
        }
        let params = self.params;
        let secret = |name: &str| params.is_secret(name);
        let origin = origin(text, &self.source.text, node.place);
        let Some(template) = compile_text(&text.text, origin, self.site, &secret, findings) else {
            self.readers.unreadable = true;
            return None;
        };
        for reference in template.refs() {
            self.readers.judge(reference, self.reader, &self.known, findings);
        }
        for secret in template.secrets() {
            self.readers.secret(secret, node.place);
        }
        Some(template)
    }
}

fn shown_secret(secret: &str, place: Place, where_: &str) -> Finding {
    Finding::error(codes::SECRET_NOT_HERE, place, format!("the secret `{secret}` cannot stand in {where_}"))
        .label("it would be kept in the journal and shown")
        .help("give secrets only to inputs that take them; `drydock kinds KIND` says which do")
}

/// A file that an input names.
#[derive(Debug)]
pub(super) struct NamedFile {
    /// The path, a template when it depends on parameters.
    pub(super) path: Template,
    /// Where it is named.
    pub(super) place: Place,
}

/// Inputs of one call.
pub(super) struct InputParts<'c, 's, 'a, 'n> {
    pub(super) compiler: &'c mut Compiler<'s, 'a, 'n>,
    /// The files that are named, as found.
    pub(super) files: &'c mut Vec<NamedFile>,
}

impl Parts for InputParts<'_, '_, '_, '_> {
    type Out = Template;
    const WHAT: &'static str = "input";
    const SECRET_HELP: &'static str =
        "a secret comes through a parameter of type secret: `\"{{ params.NAME }}\"`";
    const UNDER: &'static str = " under `with`";
    const CODES: [Code; 3] = [codes::UNKNOWN_INPUT, codes::MISSING_INPUT, codes::WRONG_INPUT];

    fn whole(&mut self, _at: &At<'_>, _findings: &mut Findings) -> Option<Option<Template>> {
        None
    }

    fn scalar(&mut self, at: &At<'_>, findings: &mut Findings) -> Option<Template> {
        let template = self.compiler.scalar(at.node, findings)?;
        if at.field.source_file {
            self.files.push(NamedFile { path: template.clone(), place: at.place });
        }
        if template.as_literal().is_some() {
            if let Some(finding) = wrong_value::<Self>(at) {
                findings.push(finding);
                return None;
            }
            return Some(template);
        }
        if let [secret, ..] = template.secrets().as_slice()
            && !at.field.secrets
        {
            findings.push(shown_secret(secret, at.place, at.name));
            return None;
        }
        let shape = template.check_shapes(&self.compiler.known, findings);
        if OwnedShape::from(at.shape).accepts(&shape) == Fit::No {
            findings.push(wrong::<Self>(at, format!("this gives {}", shape.words())));
            return None;
        }
        Some(template)
    }

    fn list(parts: Vec<Template>) -> Template {
        Template::list(parts)
    }

    fn map(parts: IndexMap<String, Template>) -> Template {
        Template::map(parts)
    }
}
