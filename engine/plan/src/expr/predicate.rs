//! The tests of the plan language, what may follow `is`: [`TESTS`], each described in one place.

/// One test, described.
#[derive(Debug)]
pub struct Test {
    /// Its name, after `is`.
    pub name: &'static str,
    /// When it holds, one sentence.
    pub doc: &'static str,
    /// An expression that holds.
    pub example: &'static str,
    /// How many arguments it takes.
    pub(crate) arguments: usize,
}

const fn test(name: &'static str, arguments: usize, doc: &'static str, example: &'static str) -> Test {
    Test { name, doc, example, arguments }
}

impl Test {
    /// The test of this name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        TESTS.iter().find(|test| test.name == name)
    }
}

/// All tests but `defined` and `undefined`, by name.
pub static TESTS: &[Test] = &[
    test("boolean", 0, "It is true or false.", "false is boolean"),
    test("endingwith", 1, "The text ends with this text.", "'a.bak' is endingwith('.bak')"),
    test("eq", 1, "It equals the argument; as the test of `select` and its like.", "5 is eq(5)"),
    test("ge", 1, "It is at least the argument.", "5 is ge(5)"),
    test("gt", 1, "It is more than the argument.", "5 is gt(4)"),
    test("in", 1, "It is in the list, text or mapping.", "'a' is in(['a', 'b'])"),
    test("integer", 0, "It is a whole number.", "5 is integer"),
    test("le", 1, "It is at most the argument.", "5 is le(5)"),
    test("lt", 1, "It is less than the argument.", "4 is lt(5)"),
    test("mapping", 0, "It is a mapping.", "{'a': 1} is mapping"),
    test("ne", 1, "It differs from the argument.", "5 is ne(4)"),
    test("none", 0, "It is null.", "none is none"),
    test("number", 0, "It is a number.", "2.5 is number"),
    test("sequence", 0, "It is a list.", "[1] is sequence"),
    test("startingwith", 1, "The text starts with this text.", "'agent_1' is startingwith('agent_')"),
    test("string", 0, "It is text.", "'a' is string"),
    test(
        "within",
        1,
        "It lies in the band {low, high}, both ends included.",
        "5 is within({'low': 1, 'high': 5})",
    ),
];
