//! The codes of what can be wrong with an expression, each with what it means and what to do: [`CODES`].

/// One code, explained; `drydock explain` prints it and `docs/codes` has a page for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodePage {
    /// The code, such as `DD301`.
    pub code: &'static str,
    /// A few words.
    pub title: &'static str,
    /// What happened, one sentence.
    pub what: &'static str,
    /// What to do, one sentence.
    pub remedy: &'static str,
}

/// All codes of expressions, by number.
pub static CODES: &[CodePage] = &[];
