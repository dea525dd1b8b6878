//! Everything that can be wrong with a plan, an environment or a parameter, each with a code, what it means and what to do: [`CODES`].
//! Reading is `DD1xx`, the language `DD2xx`, expressions `DD3xx` (they stand beside the expressions), environment, parameters and
//! secrets `DD4xx`, kinds and their inputs `DD5xx`.

use crate::expr::CodePage;
use crate::finding::Code;

macro_rules! codes {
    ($($name:ident = $code:literal, $title:literal, $what:literal, $remedy:literal;)*) => {
        $(#[doc = $title] pub const $name: Code = Code($code);)*

        /// All codes of this room but those of expressions, by number.
        pub static CODES: &[CodePage] = &[
            $(CodePage { code: $code, title: $title, what: $what, remedy: $remedy },)*
        ];
    };
}

/// The page of a code, also of one of expressions.
pub fn page_of(code: &str) -> Option<&'static CodePage> {
    CODES.iter().chain(crate::expr::CODES).find(|page| page.code.eq_ignore_ascii_case(code))
}

codes! {
    TOO_LARGE = "DD101", "file too large",
        "a file has more than 10 MiB",
        "keep data in files of their own and name them in inputs";
    NOT_UTF8 = "DD102", "not UTF-8",
        "a file holds bytes that are no UTF-8",
        "save the file as UTF-8";
    SYNTAX = "DD103", "not YAML",
        "the YAML reader could not go on at this place",
        "check quotes, brackets and indentation at the place and on the line before";
    TAB = "DD104", "tab",
        "a tab stands where YAML wants spaces",
        "indent with two spaces a level and put one space after `:`";
    DUPLICATE_KEY = "DD105", "duplicate key",
        "a key stands twice in one mapping; other readers would silently take the last",
        "remove one of the two or rename it";
    MERGE_KEY = "DD106", "merge key",
        "`<<` is not part of the plan language",
        "write the keys out, or give the whole value by an alias";
    TAG = "DD107", "tag",
        "a value bears a YAML tag such as `!!str`",
        "remove it; put text in quotes where it must stay text";
    SEVERAL_DOCUMENTS = "DD108", "several documents",
        "a file holds more than one YAML document",
        "put each document into a file of its own";
    ALIAS = "DD109", "alias out of bounds",
        "an alias stands inside its own value, or the aliases of a file expand more than 1,000 times",
        "write the values out";
    DEPTH = "DD110", "nested too deep",
        "values are nested more than 64 deep",
        "flatten the value, or keep it in a file of its own";
    NUMBER = "DD111", "number out of range",
        "a whole number does not fit 64 bits, or a number is infinite or not a number",
        "put it in quotes; a log sequence number is text of digits";
    KEY_NOT_TEXT = "DD112", "key is not text",
        "a key is a number, true, false, nothing, a list or a mapping",
        "put the key in quotes";
    UNQUOTED_BRACES = "DD113", "`{{ }}` without quotes",
        "YAML reads `{{ … }}` outside quotes as a mapping, or cannot read it at all",
        "put the whole value in quotes";
    READERS_DIFFER = "DD114", "two readers disagree",
        "two independent YAML readers do not read a place alike, so nobody can be sure what it means",
        "write the value in a simpler way: in quotes, or on a line of its own";
    EMPTY = "DD115", "empty file",
        "the file holds no value",
        "a plan begins with `drydock: v1`";
    FILE_KIND = "DD201", "kind of file unclear",
        "none, or more than one, of `steps`, `environment` and `requests` stands at a file's top",
        "a plan has `steps`, an environment `environment`, a list of HTTP requests `requests`";
    UNKNOWN_KEY = "DD202", "unknown key",
        "a mapping of the language has a key that the language does not have there",
        "correct the spelling, or remove it; `drydock schema` lists all keys";
    MISSING_KEY = "DD203", "missing key",
        "a key that must be given is missing",
        "add the key";
    WRONG_TYPE = "DD204", "value of another type",
        "the value under a key of the language is not what the key wants",
        "write the value as the help says";
    NOT_A_NAME = "DD205", "not a name",
        "a step, parameter, target or output has a name that does not match `[a-z][a-z0-9_]{0,62}`",
        "rename it: `steps.my-step` would be a subtraction in an expression";
    VERSION = "DD206", "other version of the language",
        "the file is written in a version of the language that this Drydock does not read",
        "write `drydock: v1`, or use the Drydock that the file was written for";
    NO_SUCH_WORD = "DD207", "no such word",
        "a key takes one of a few words, and this is none of them",
        "use one of the words that the message names";
    RETRY = "DD208", "retry that cannot be meant",
        "the values of a `retry` contradict each other",
        "correct the delays";
    DUPLICATE_NAME = "DD209", "name given twice",
        "two steps, two validations of a step, or two requests of a file have the same name",
        "rename one of the two; `steps` and `finally` share their names";
    NO_STEPS = "DD210", "no steps",
        "a plan has no steps",
        "add a step";
    TOO_MANY_STEPS = "DD211", "too many steps",
        "a plan has more than 50,000 steps",
        "use `foreach` for what is done to many things, or `plan.run` for a part";
    UNKNOWN_STEP = "DD212", "unknown step",
        "`needs`, `undoes` or an expression names a step that the plan does not have",
        "correct the spelling, or add the step";
    NEEDS_TWICE = "DD213", "needed twice",
        "a step stands twice in `needs`",
        "remove one of the two";
    NEEDS_FINALLY = "DD214", "step of `finally` needed",
        "a step needs, reads or undoes a step of `finally`, which runs only after all others",
        "move one of the two steps";
    CIRCLE = "DD215", "circle",
        "steps wait for each other in a circle, so none of them could ever start",
        "remove one of the needs that the help draws";
    NOT_NEEDED = "DD216", "step read and not needed",
        "an expression reads a step that this step does not need, directly or through others, so it may not have run yet",
        "add it to `needs`, as the help writes it";
    MAY_BE_MISSING = "DD217", "outputs may be missing",
        "an expression reads the outputs of a step that may be skipped, or whose failure is ignored",
        "add `steps.x.status == 'succeeded'` to the reader's `when`, or write `| default(…)` around the read";
    READS_ITSELF = "DD218", "step reads itself",
        "an expression reads the step that it belongs to",
        "in `validate` and `outputs` of a step write `outputs` for its own outputs";
    UNKNOWN_FIELD = "DD219", "unknown part",
        "an expression reads something that its kind, its type or the run does not have",
        "correct the spelling; `drydock kinds KIND` lists what a kind gives";
    KEYWORD_NOT_HERE = "DD220", "keyword out of place",
        "a keyword stands where it says nothing: `key` without `foreach`, `undoes` outside `finally`",
        "remove it, or add what it belongs to";
    NOT_A_LIST = "DD221", "not a list",
        "the expression of a `foreach` gives something that is no list",
        "name a list";
    NO_KEY = "DD222", "no key for instances",
        "the instances of a `foreach` cannot be told apart",
        "add a `key` that is different in each item";
    VALIDATION_WRITES = "DD223", "validation may write",
        "a validation uses a kind that may change something",
        "ask with a kind that only reads";
    OUTPUT_HIDDEN = "DD224", "output hidden",
        "a step's `outputs` has the name of an output of its kind",
        "give it another name";
    CONSTANT_CONDITION = "DD225", "condition always the same",
        "a condition reads nothing, so it is always true or always false",
        "read a parameter or a step, or remove it";
    NO_EFFECT = "DD226", "keyword without effect",
        "a keyword says nothing about this step",
        "remove it";
    RUNS_ITSELF = "DD227", "plan that runs itself",
        "a plan runs itself, directly or through the plans that it runs, so that the run would never end",
        "take one of those steps out; what is to be done several times goes into a plan of its own, with `foreach`";
    NOT_CAPTURED = "DD228", "name that no earlier request captures",
        "a text of a requests file reads a name that no earlier request captures and that is not among its `vars`",
        "correct the spelling, capture it in an earlier request, or name it under `vars` and give it in the step's `vars`";
    NO_EXPRESSIONS = "DD229", "expression in a requests file",
        "between the braces of a requests file stands more than a name",
        "work the value out in the plan and give it in the step's `vars`";
    REQUEST = "DD230", "request that cannot be meant",
        "the parts of a request contradict each other, or one of them says nothing",
        "correct it as the help says";
    NO_ORDER = "DD231", "two steps change one thing in no order",
        "two steps change the same database, collection, cluster or certificate, and neither needs the other, so that they may do it at the same time",
        "let one of them need the other";
    NOT_PROVED = "DD232", "nothing proves what was restored",
        "a step of a plan that restores replaces what was there, has no `validate`, and no later step looks at what it has made",
        "add a `validate` to it, or a step that needs it and looks";
    MIGRATION_LOST = "DD233", "migration before the restore",
        "an `ef.update` migrates a database that another step restores, and does not wait for it: the restore brings the old schema back",
        "let the `ef.update` need the restore";
    NEVER_RUNS = "DD234", "step that never runs",
        "the `when` of a step can never be true, so the step is always skipped",
        "correct the condition, or remove the step";
    DEPRECATED = "DD235", "deprecated",
        "a key, an input or a setting is read only because files may still have it, and goes away in a later version of the language",
        "write what the help says";
    UNKNOWN_TARGET_KIND = "DD401", "unknown target kind",
        "a plan or an environment names a target kind that does not exist",
        "correct the spelling; `drydock kinds` lists the target kinds";
    UNBOUND_TARGET = "DD402", "target not bound",
        "the environment does not say where a target of the plan is",
        "add the target to the environment file";
    TARGET_KIND_DIFFERS = "DD403", "target of another kind",
        "the environment binds a target to another target kind than the plan says",
        "correct the kind in one of the two files";
    UNKNOWN_SETTING = "DD404", "unknown setting",
        "a target of the environment has a setting that its kind does not have",
        "correct the spelling, or remove it";
    MISSING_SETTING = "DD405", "missing setting",
        "a target of the environment lacks a setting that its kind needs",
        "add the setting";
    WRONG_SETTING = "DD406", "setting of another shape",
        "a setting of a target is not what its kind wants",
        "write the value as the message says";
    SECRET_IN_PLAIN = "DD407", "secret in plain text",
        "a secret, or what has the form of one, stands in a file as plain text, where everyone reads it who reads the file",
        "say where it is kept: `{ env: NAME }`, `{ file: PATH }` or `{ command: [PROGRAM, ARGUMENT] }`; change the secret if the file was shared";
    SECRET_SOURCE = "DD408", "no source of a secret",
        "a secret is neither `{ env: NAME }` nor `{ file: PATH }` nor `{ command: [PROGRAM, ARGUMENT] }`",
        "write one of the three";
    SECRET_NOT_HERE = "DD409", "secret where none can stand",
        "a secret, or its source, stands where its value would be shown, compared or kept",
        "give the secret only to settings and inputs that take one";
    SECRET_BY_FLAG = "DD410", "secret on the command line",
        "a secret parameter was given by `-p`, where other users of the machine can read it",
        "set `DRYDOCK_PARAM_<NAME>`, or give its source in the environment file";
    VARIABLE_UNSET = "DD411", "environment variable not set",
        "an environment file reads a variable that is not set",
        "set it, or write `{{ env.NAME | default('…') }}`";
    UNKNOWN_PARAM = "DD412", "unknown parameter",
        "a value is given for a parameter that the plan does not have, or an expression reads one",
        "correct the spelling, or declare the parameter under `params`";
    MISSING_PARAM = "DD413", "missing parameter",
        "a run needs a parameter that has no value",
        "give it by `-p name=value`, `--params FILE`, `DRYDOCK_PARAM_<NAME>`, the environment file or a default";
    PARAM_VALUE = "DD414", "value does not fit the parameter",
        "the value of a parameter is not of its type, or not within its `enum`, `pattern`, `min` and `max`",
        "give a value that fits";
    PARAM_DECLARATION = "DD415", "declaration contradicts itself",
        "the bounds, the pattern or the values of a parameter do not fit its type or each other",
        "correct the declaration";
    PARAM_FLAG = "DD416", "`-p` not understood",
        "`-p` is not `name=value`, or gives a parameter twice",
        "write `-p name=value`, once a parameter";
    PARAM_UNUSED = "DD417", "parameter not used",
        "a parameter is declared, and nothing reads it",
        "remove it, or read it where it was meant";
    TARGET_UNUSED = "DD418", "target not used",
        "a target is declared, and no step works on it",
        "remove it, or use it where it was meant";
    NOT_AN_ENVIRONMENT = "DD419", "not an environment",
        "the file given as environment is another kind of file",
        "give the environment file by `-e`";
    UNKNOWN_KIND = "DD501", "unknown kind",
        "`uses` names a kind that does not exist",
        "correct the spelling; `drydock kinds` lists the kinds";
    MISSING_TARGET = "DD502", "missing target",
        "a kind works on a target, and the step names none",
        "add `target` with one of the plan's targets";
    TARGET_NOT_TAKEN = "DD503", "target not taken",
        "a step names a target, and its kind works on none",
        "remove `target`";
    UNKNOWN_TARGET = "DD504", "unknown target",
        "a step names a target that the plan does not declare",
        "correct the spelling, or declare it under `targets`";
    TARGET_OF_OTHER_KIND = "DD505", "target of another kind",
        "a kind works on another kind of target than the one that is named",
        "name a target of the kind that the message says";
    COMPUTED_TARGET = "DD506", "computed target",
        "an input that names a target is an expression",
        "write the target's name: what a step works on must be clear before it runs";
    UNKNOWN_INPUT = "DD507", "unknown input",
        "`with` has an input that the kind does not have",
        "correct the spelling; `drydock kinds KIND` lists the inputs";
    MISSING_INPUT = "DD508", "missing input",
        "an input that the kind needs is not given",
        "add it under `with`";
    WRONG_INPUT = "DD509", "input of another shape",
        "an input is not what the kind wants, does not go together with the others, or an expression gives something else",
        "write the value as the message says";
    FILE_UNREADABLE = "DD510", "file cannot be read",
        "an input names a file that cannot be read",
        "correct the path; a relative one is relative to the plan's folder";
}
