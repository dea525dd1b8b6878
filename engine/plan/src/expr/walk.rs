//! Reading a path in a value, one key after the other: [`walked`]. What leads nowhere says what there is instead.

use minijinja::Value;

use crate::expr::codes;
use crate::expr::compare::{Class, class_words};
use crate::expr::datum::{Datum, Hole, Unknown};
use crate::expr::node::{Key, Read};
use crate::finding::Code;
use crate::name::Name;
use crate::source::Span;
use crate::suggest::nearest;

/// What was found for a part.
#[derive(Debug)]
pub(crate) enum Found {
    /// This value; `true`: it may hold a secret or an unknown part.
    Value(Value, bool),
    /// It is known only after these steps.
    After(Vec<Name>),
    /// Nothing is there.
    Nothing(Fault),
}

/// Why a part has no value; an [`EvalError`](crate::expr::EvalError) whose place is bytes of the text.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) code: Code,
    pub(crate) at: Span,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Fault {
    pub(crate) fn new(code: Code, at: Span, message: impl Into<String>) -> Self {
        Self { code, at, message: message.into(), help: None }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Walk the keys from a datum; `depth` of the read's keys were walked before.
pub(crate) fn walked(datum: &Datum, keys: &[Key], depth: usize, read: &Read) -> Result<Found, Fault> {
    let mut value = datum.value().clone();
    for (at, key) in keys.iter().enumerate() {
        if let Found::After(after) = opened(value.clone(), datum.opaque) {
            return Ok(Found::After(after));
        }
        match one_step(&value, &key.value) {
            Step::To(next) => value = next,
            Step::Secret => return Err(Fault::new(codes::SECRET_VALUE, key.at, "a secret has no parts")),
            Step::Nowhere => {
                let path = std::iter::once(read.root.as_str().to_owned())
                    .chain(read.keys.iter().take(depth + at).map(Key::text))
                    .collect::<Vec<_>>()
                    .join(".");
                return Ok(Found::Nothing(nowhere(&value, &key.value, &format!("`{path}`"), key.at)));
            }
        }
    }
    Ok(opened(value, datum.opaque))
}

/// A value, or what it waits for when it is not known at all.
pub(crate) fn opened(value: Value, opaque: bool) -> Found {
    match value.downcast_object_ref::<Unknown>() {
        Some(unknown) if opaque => Found::After(unknown.0.clone()),
        _ => Found::Value(value, opaque),
    }
}

/// Where a key leads.
pub(crate) enum Step {
    To(Value),
    Secret,
    Nowhere,
}

/// What stands under a key. Text has no parts here, and a list has only numbered ones.
pub(crate) fn one_step(value: &Value, key: &Value) -> Step {
    if value.downcast_object_ref::<Hole>().is_some() {
        return Step::Secret;
    }
    let fits = match Class::of(value) {
        Some(Class::Map) => true,
        Some(Class::List) => key.is_integer(),
        _ => false,
    };
    match value.get_item(key) {
        Ok(next) if fits && !next.is_undefined() => Step::To(next),
        _ => Step::Nowhere,
    }
}

/// The fault of a key that leads nowhere, with what there is.
pub(crate) fn nowhere(value: &Value, key: &Value, what: &str, at: Span) -> Fault {
    let fault = |message: String| Fault::new(codes::NOTHING_THERE, at, message);
    match Class::of(value) {
        Some(Class::Map) => {
            let keys: Vec<Value> = value.try_iter().map(Iterator::collect).unwrap_or_default();
            let names: Vec<&str> = keys.iter().filter_map(Value::as_str).collect();
            let fault = fault(format!("{what} has no `{key}`"));
            match nearest(&key.to_string(), names.iter().copied()) {
                Some(near) => fault.help(format!("did you mean `{near}`?")),
                None if names.is_empty() => fault.help("it is empty"),
                None if names.len() <= 12 => fault.help(format!("it has {}", names.join(", "))),
                None => fault.help(format!("it has {} keys", names.len())),
            }
        }
        Some(Class::List) if key.is_integer() => fault(format!("{what} has no item {key}"))
            .help(format!("it has {} items, counted from 0", value.len().unwrap_or(0))),
        Some(Class::List) => fault(format!("{what} is a list and has no `{key}`"))
            .help("take an item first: `[0]` or `| first`"),
        _ => fault(format!("{what} is {} and has no `{key}`", class_words(value))),
    }
}
