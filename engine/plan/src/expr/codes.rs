//! The codes of what can be wrong with an expression, each with what it means and what to do: [`CODES`].
//!
//! From `DD301` on it is found when a plan is checked; from `DD321` on only where there are values.

use crate::finding::Code;

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

macro_rules! codes {
    ($($name:ident = $code:literal, $title:literal, $what:literal, $remedy:literal;)*) => {
        $(#[doc = $title] pub(crate) const $name: Code = Code($code);)*

        /// All codes of expressions, by number.
        pub static CODES: &[CodePage] = &[
            $(CodePage { code: $code, title: $title, what: $what, remedy: $remedy },)*
        ];
    };
}

codes! {
    UNREADABLE = "DD301", "not an expression",
        "the text between `{{` and `}}`, or of a bare expression, cannot be read",
        "look just before the underlined place: a sign, a quote or a bracket is missing or too many";
    BRACES = "DD302", "braces around a bare expression",
        "`when`, `assert`, `foreach` and `key` are expressions already; braces around them change nothing",
        "remove the braces";
    STATEMENT = "DD303", "only `{{ }}`",
        "`{% %}`, `{# #}` and `{{- -}}` are not part of the plan language",
        "write `when`, `foreach` or an expression with `if … else`; as plain text write `{{ '{%' }}`";
    UNCLOSED = "DD304", "`{{` without `}}`",
        "an expression begins with `{{` and never ends",
        "close it with `}}`; as plain text write `{{ '{{' }}`";
    NOT_IN_LANGUAGE = "DD305", "not part of the language",
        "the expression uses something that the plan language leaves out: calls, slices, tuples, chained comparisons",
        "write it as the help says";
    TOO_LARGE = "DD306", "expression too large",
        "an expression is longer, or nested deeper, than anyone could check by reading it",
        "give parts of it names in a step's `outputs`, or in a `flow.set` step";
    UNKNOWN_NAME = "DD307", "unknown name",
        "an expression starts from a name that does not exist",
        "start from `params`, `steps`, `item`, `run`, `result` or `outputs`; put text in quotes";
    NOT_HERE = "DD308", "name not to be read here",
        "an expression reads something that does not exist yet at this place of the plan",
        "read one of the names that the help lists";
    UNKNOWN_FILTER = "DD309", "unknown filter",
        "the name after `|` is no filter",
        "use one of the filters of the plan language";
    UNKNOWN_TEST = "DD310", "unknown test",
        "the name after `is` is no test",
        "use one of the tests of the plan language";
    ARGUMENTS = "DD311", "wrong arguments",
        "a filter or test is given too few or too many arguments, or one that it does not know",
        "give it what the help shows";
    COMPUTED_STEP = "DD312", "computed step",
        "a step is chosen by a value, so nobody can see which steps are read",
        "name the step: `steps.restore.outputs`";
    STEP_PART = "DD313", "not a part of a step",
        "of a step only `status` and `outputs` can be read",
        "write `steps.x.status` or `steps.x.outputs.…`";
    SECRET = "DD314", "secret in an expression",
        "a secret stands in a condition, filter, comparison, subscript or calculation; its value is never seen there",
        "let the secret stand alone in its braces: `\"Bearer {{ params.token }}\"`";
    NEVER_EQUAL = "DD315", "things that cannot be compared",
        "two values are compared that are of different types, so the answer would say nothing",
        "bring both to one type: `| int`, `| string`, a number in quotes beside a decimal";
    WRONG_TYPE = "DD316", "wrong type in an expression",
        "an operator, a filter or a condition is given a value of a type that it does not take",
        "convert the value, or correct what is read";
    NOTHING_THERE = "DD321", "nothing there",
        "an expression reads something that is not there",
        "correct the path; where it may be missing use `| default(…)` or `is defined`";
    NOT_A_TRUTH = "DD322", "neither true nor false",
        "a condition has a value that is neither true nor false",
        "write a comparison, such as `… > 0` or `… != ''`";
    INCOMPARABLE = "DD323", "values that cannot be compared",
        "two values are compared that are of different types",
        "bring both to one type: `| int`, `| string`, `| decimal`";
    REFUSED = "DD324", "value refused",
        "an operator, filter or test cannot do anything with the value that it was given",
        "look at the value in `drydock runs show` and correct what is read";
    NO_TEXT = "DD325", "no text",
        "nothing, a list or a mapping stands inside a text",
        "use `| json` or `| join(', ')`, or let the expression stand alone in its braces";
    SECRET_VALUE = "DD326", "secret used as a value",
        "a value that holds a secret is used for more than being passed on",
        "pass it on whole, or read a part without the secret";
    UNWRITABLE = "DD327", "value cannot be written down",
        "the value of an expression is one that JSON cannot hold",
        "keep large numbers as text, with `| string` or `| decimal`";
    FUEL = "DD328", "out of fuel",
        "an expression works on more data than one expression may",
        "let a step do the work";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_in_order_and_explained() {
        assert!(CODES.windows(2).all(|pair| pair[0].code < pair[1].code));
        for page in CODES {
            assert!(page.code.starts_with("DD3") && page.code.len() == 5, "{}", page.code);
            assert!(page.what.len() > page.title.len() && !page.remedy.is_empty(), "{}", page.code);
        }
    }
}
