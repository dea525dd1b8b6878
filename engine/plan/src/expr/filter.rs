//! The filters of the plan language: [`FILTERS`], each described in one place. What they do stands in `filtering` and, for those
//! that minijinja brings along, in minijinja.

use crate::expr::compare::Class;
use crate::shape::Shape;

/// One filter, described.
#[derive(Debug)]
pub struct Filter {
    /// Its name, after the `|`.
    pub name: &'static str,
    /// What it gives, one sentence.
    pub doc: &'static str,
    /// An expression that uses it.
    pub example: &'static str,
    /// The value of the example, as JSON.
    pub gives: &'static str,
    /// What it can be applied to; empty: anything.
    pub(crate) takes: &'static [Class],
    /// The fewest and the most arguments without a name.
    pub(crate) positional: (usize, usize),
    /// The arguments that may be given by name.
    pub(crate) named: &'static [&'static str],
    /// What its value looks like.
    pub(crate) result: ResultShape,
    /// Whether an argument of its own names a filter or a test.
    pub(crate) inner: Inner,
}

/// What the value of a filter looks like.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ResultShape {
    /// Always like this.
    Is(Shape),
    /// As what it is applied to.
    Same,
    /// As one item of the list that it is applied to.
    Item,
}

/// Which argument of a filter names another filter or a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inner {
    /// None does.
    None,
    /// The first names a filter, unless `attribute` is given.
    Filter,
    /// The one at this index, when it is there, names a test.
    Test(usize),
}

const TEXT: &[Class] = &[Class::Text];
const NUMBER: &[Class] = &[Class::Number];
const LIST: &[Class] = &[Class::List];
const MAP: &[Class] = &[Class::Map];

const fn filter(
    name: &'static str,
    takes: &'static [Class],
    result: ResultShape,
    doc: &'static str,
    example: &'static str,
    gives: &'static str,
) -> Filter {
    Filter { name, doc, example, gives, takes, positional: (0, 0), named: &[], result, inner: Inner::None }
}

impl Filter {
    const fn args(self, fewest: usize, most: usize, named: &'static [&'static str]) -> Self {
        Self { positional: (fewest, most), named, ..self }
    }

    const fn inner(self, inner: Inner) -> Self {
        Self { inner, ..self }
    }

    /// The filter of this name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        FILTERS.iter().find(|filter| filter.name == name)
    }
}

use ResultShape::{Is, Item, Same};

/// All filters but `default`, by name.
pub static FILTERS: &[Filter] = &[
    filter("abs", NUMBER, Same, "The number without its sign.", "-5 | abs", "5"),
    filter(
        "basename",
        TEXT,
        Is(Shape::Text),
        "The part of a path after the last `/` or `\\`.",
        r"'/var/backups/a.bak' | basename",
        r#""a.bak""#,
    ),
    filter(
        "bytes",
        &[Class::Text, Class::Number],
        Is(Shape::Integer),
        "The number of bytes of a size.",
        "'64MiB' | bytes",
        "67108864",
    ),
    filter(
        "datetime",
        TEXT,
        Is(Shape::Datetime),
        "A time in RFC 3339, in UTC.",
        "'2026-03-01T02:00:00+02:00' | datetime",
        r#""2026-03-01T00:00:00Z""#,
    ),
    filter(
        "decimal",
        &[Class::Text, Class::Number, Class::Decimal],
        Is(Shape::Decimal),
        "A number of any length, which is ordered by its value.",
        "'0044000000037600005' | decimal",
        r#""44000000037600005""#,
    ),
    filter(
        "duration",
        &[Class::Text, Class::Number],
        Is(Shape::Integer),
        "The number of milliseconds of a duration.",
        "'1m30s' | duration",
        "90000",
    ),
    filter(
        "first",
        &[Class::List, Class::Text],
        Item,
        "The first item of a list.",
        "['a', 'b'] | first",
        r#""a""#,
    ),
    filter(
        "float",
        &[Class::Number, Class::Text],
        Is(Shape::Number),
        "A number, from text.",
        "'2.5' | float",
        "2.5",
    ),
    filter(
        "int",
        &[Class::Number, Class::Text, Class::Boolean],
        Is(Shape::Integer),
        "A whole number, from text or without its fraction.",
        "'12' | int",
        "12",
    ),
    filter(
        "items",
        MAP,
        Is(Shape::List(&Shape::List(&Shape::Any))),
        "The keys and values of a mapping, as a list of pairs.",
        "{'a': 1} | items",
        r#"[["a",1]]"#,
    ),
    filter(
        "join",
        LIST,
        Is(Shape::Text),
        "The items of a list as one text, with a text between them.",
        "['a', 'b'] | join(', ')",
        r#""a, b""#,
    )
    .args(0, 1, &[]),
    filter(
        "json",
        &[],
        Is(Shape::Text),
        "The value as JSON text.",
        "{'a': [1, true]} | json",
        r#""{\"a\":[1,true]}""#,
    ),
    filter(
        "keys",
        MAP,
        Is(Shape::List(&Shape::Text)),
        "The keys of a mapping.",
        "{'a': 1} | keys",
        r#"["a"]"#,
    ),
    filter(
        "last",
        &[Class::List, Class::Text],
        Item,
        "The last item of a list.",
        "['a', 'b'] | last",
        r#""b""#,
    ),
    filter(
        "length",
        &[Class::List, Class::Map, Class::Text],
        Is(Shape::Integer),
        "How many items or characters there are.",
        "['a', 'b'] | length",
        "2",
    ),
    filter(
        "list",
        &[Class::List, Class::Map, Class::Text],
        Is(Shape::List(&Shape::Any)),
        "The items of a list, the keys of a mapping, the characters of a text.",
        "'ab' | list",
        r#"["a","b"]"#,
    ),
    filter("lower", TEXT, Is(Shape::Text), "The text in small letters.", "'Ab' | lower", r#""ab""#),
    filter(
        "map",
        LIST,
        Is(Shape::List(&Shape::Any)),
        "One attribute of each item, or each item through a filter.",
        "[{'n': 1}, {'n': 2}] | map(attribute='n')",
        "[1,2]",
    )
    .args(0, 3, &["attribute", "default"])
    .inner(Inner::Filter),
    filter("max", LIST, Item, "The largest item.", "[1, 3, 2] | max", "3").args(0, 0, &["attribute"]),
    filter("min", LIST, Item, "The smallest item.", "[3, 1, 2] | min", "1").args(0, 0, &["attribute"]),
    filter(
        "quote_name",
        TEXT,
        Is(Shape::Text),
        "A T-SQL identifier in brackets.",
        "'My]DB' | quote_name",
        r#""[My]]DB]""#,
    ),
    filter(
        "quote_sql",
        TEXT,
        Is(Shape::Text),
        "A T-SQL text in quotes.",
        "\"it's\" | quote_sql",
        r#""N'it''s'""#,
    ),
    filter(
        "reject",
        LIST,
        Same,
        "The items for which a test does not hold.",
        "[1, 'a'] | reject('number') | list",
        r#"["a"]"#,
    )
    .args(1, 2, &[])
    .inner(Inner::Test(0)),
    filter(
        "rejectattr",
        LIST,
        Same,
        "The items for one of whose attributes a test does not hold.",
        "[{'n': 1}, {'n': 2}] | rejectattr('n', 'eq', 1) | list",
        r#"[{"n":2}]"#,
    )
    .args(2, 3, &[])
    .inner(Inner::Test(1)),
    filter(
        "replace",
        TEXT,
        Is(Shape::Text),
        "The text with one text replaced by another.",
        "'a-b' | replace('-', '_')",
        r#""a_b""#,
    )
    .args(2, 2, &[]),
    filter(
        "round",
        NUMBER,
        Is(Shape::Number),
        "The number, rounded to so many digits after the point.",
        "2.567 | round(1)",
        "2.6",
    )
    .args(0, 2, &["precision", "method"]),
    filter(
        "select",
        LIST,
        Same,
        "The items for which a test holds.",
        "[1, 'a'] | select('number') | list",
        "[1]",
    )
    .args(1, 2, &[])
    .inner(Inner::Test(0)),
    filter(
        "selectattr",
        LIST,
        Same,
        "The items for one of whose attributes a test holds.",
        "[{'n': 1}, {'n': 2}] | selectattr('n', 'eq', 1) | list",
        r#"[{"n":1}]"#,
    )
    .args(2, 3, &[])
    .inner(Inner::Test(1)),
    filter("sort", LIST, Same, "The items in ascending order.", "[3, 1, 2] | sort", "[1,2,3]").args(
        0,
        0,
        &["attribute", "reverse", "case_sensitive"],
    ),
    filter(
        "split",
        TEXT,
        Is(Shape::List(&Shape::Text)),
        "The parts of a text between separators.",
        "'a,b' | split(',')",
        r#"["a","b"]"#,
    )
    .args(1, 1, &[]),
    filter("string", &[], Is(Shape::Text), "The value as text.", "5 | string", r#""5""#),
    filter("sum", LIST, Is(Shape::Number), "The sum of the items.", "[1, 2, 3] | sum", "6").args(
        0,
        0,
        &["attribute"],
    ),
    filter("trim", TEXT, Is(Shape::Text), "The text without blanks at its ends.", "' a ' | trim", r#""a""#),
    filter("unique", LIST, Same, "The items, each once.", "[1, 2, 1] | unique | list", "[1,2]").args(
        0,
        0,
        &["attribute", "case_sensitive"],
    ),
    filter("upper", TEXT, Is(Shape::Text), "The text in capital letters.", "'ab' | upper", r#""AB""#),
];
