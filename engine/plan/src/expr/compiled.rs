//! Expressions that were compiled already: [`compiled`]. A plan repeats its expressions, and so do the sittings of a process.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use crate::expr::ast::{Parsed, parse};
use crate::expr::reference::Root;
use crate::finding::Finding;
use crate::name::Name;

/// An expression without its place.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) text: Arc<str>,
    pub(crate) parsed: Parsed,
    /// The steps that it reads, in written order, each once.
    pub(crate) steps: Vec<Name>,
}

impl Compiled {
    fn new(text: Arc<str>, parsed: Parsed) -> Self {
        let mut steps: Vec<Name> = Vec::new();
        let named =
            parsed.reads.iter().filter(|read| read.root == Root::Steps).filter_map(|read| read.name(0));
        for name in named.filter_map(|name| Name::parse(name).ok()) {
            if !steps.contains(&name) {
                steps.push(name);
            }
        }
        Self { text, parsed, steps }
    }
}

/// So many are kept; a process that needs more starts over.
const MOST_KEPT: usize = 200_000;

static KEPT: LazyLock<RwLock<HashMap<Arc<str>, Arc<Compiled>>>> = LazyLock::new(RwLock::default);

/// The expression that this text is, compiled the first time that the process meets it; or all that is wrong with it.
pub(crate) fn compiled(text: &str) -> Result<Arc<Compiled>, Vec<Finding>> {
    // A poisoned lock only says that another thread died while it held it: what is in the map is whole.
    if let Some(found) = KEPT.read().unwrap_or_else(PoisonError::into_inner).get(text) {
        return Ok(Arc::clone(found));
    }
    let text: Arc<str> = text.into();
    let found = Arc::new(Compiled::new(Arc::clone(&text), parse(&text)?));
    let mut kept = KEPT.write().unwrap_or_else(PoisonError::into_inner);
    if kept.len() >= MOST_KEPT {
        kept.clear();
    }
    Ok(Arc::clone(kept.entry(text).or_insert(found)))
}
