//! The inputs of `sqlserver.restore`: [`RestoreInputs`], and which of them go together.

use chrono::{DateTime, Utc};
use drydock_recovery::lsn::Lsn;
use drydock_step::{ByteCount, Field, Given, In, Inputs, Shape, StepError, inputs, maybe};
use indexmap::IndexMap;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::restore_chain::GivenChain;
use super::sql::Identifier;

/// MAXTRANSFERSIZE is a multiple of this.
const TRANSFER_UNIT: u64 = 64 << 10;

/// The largest MAXTRANSFERSIZE.
const LARGEST_TRANSFER: u64 = 4 << 20;

const MEMBER: &[Field] = &[
    Field::required("database", Shape::Text, "The database's name afterwards."),
    Field::required("chain", Shape::Any, "Its backups, as `chain`."),
    Field::optional("into", Shape::Text, "Another name, which it gets instead."),
    Field::optional("move", Shape::Map(&Shape::Text), "Where its files go, as `move`."),
];

inputs! {
    /// What `with` gives, each input by itself.
    pub struct RestoreWith {
        /// The database's name afterwards.
        database: Option<Identifier> = maybe(Shape::Text),
        /// Another name, which the database gets instead.
        into: Option<Identifier> = maybe(Shape::Text),
        /// The backups and where to stop: what `point.select` or `drydock chain` gives, or a list of what `sqlserver.backup` gave.
        chain: Option<GivenChain> = maybe(Shape::Any),
        /// Several databases of the server instead of one, all brought to the same mark before any of them is opened.
        group: Option<Vec<Member>> = maybe(Shape::List(&Shape::Record(MEMBER))),
        /// Stop at this moment instead of where the chain says.
        stop_at: Option<DateTime<Utc>> = maybe(Shape::Datetime),
        /// Stop right after this marked transaction: the mark's name, or its place as `lsn:` and digits.
        stop_at_mark: Option<MarkRef> = maybe(Shape::Text),
        /// Stop right before this marked transaction.
        stop_before_mark: Option<MarkRef> = maybe(Shape::Text),
        /// Leave the database readable between two restores, with this undo file on the server, instead of opening it.
        standby: Option<String> = maybe(Shape::Text),
        /// Leave the database to its owner and administrators, until `sqlserver.open` lets everybody in.
        restricted_user: bool = maybe(Shape::Boolean).or("false"),
        /// Keep the settings of replication.
        keep_replication: bool = maybe(Shape::Boolean).or("false"),
        /// Keep change data capture.
        keep_cdc: bool = maybe(Shape::Boolean).or("false"),
        /// Destroy the database of that name, if there is one.
        replace: bool = maybe(Shape::Boolean).or("false"),
        /// `beside` restores under a name of its own, proves that and then swaps the names, so that what is there is not destroyed before; `in_place` restores over it; `auto` goes beside where what is there is ONLINE and there is room for both, and in place where not or where `standby` is said.
        strategy: Strategy = maybe(Shape::OneOf(&["in_place", "beside", "auto"])).or("\"auto\""),
        /// Of a restore beside: whether what was there is kept, OFFLINE and under a name that says so. Yes unless it is said.
        keep_old: Option<bool> = maybe(Shape::Boolean),
        /// Where files go, by their logical names; the others go where the replaced database has them, or into the folders.
        moved as "move": IndexMap<String, String> = maybe(Shape::Map(&Shape::Text)).or("{}"),
        /// The folder on the server for every data file that `move` does not name; the server's default, or where the replaced database has it.
        data_folder: Option<String> = maybe(Shape::Text),
        /// The same for every log file.
        log_folder: Option<String> = maybe(Shape::Text),
        /// Compare checksums; a set without any is refused.
        checksum: bool = maybe(Shape::Boolean).or("true"),
        /// After how many percent the server tells of its progress.
        stats: Option<u8> = maybe(Shape::Integer).or("10"),
        /// The size of one transfer from the media: a multiple of 64 KiB, at most 4 MiB.
        max_transfer_size: Option<ByteCount> = maybe(Shape::Size),
        /// How many buffers the server reads with.
        buffer_count: Option<u32> = maybe(Shape::Integer),
    }
}

/// The inputs of `sqlserver.restore`, which go together.
#[derive(Debug, Clone)]
pub struct RestoreInputs(RestoreWith);

/// One database of a group.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    database: Identifier,
    chain: GivenChain,
    #[serde(default)]
    into: Option<Identifier>,
    #[serde(default, rename = "move")]
    moved: IndexMap<String, String>,
}

/// Which way a restore goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Over what is there.
    InPlace,
    /// Under a name of its own, which is swapped.
    Beside,
    /// Beside where that can be.
    Auto,
}

/// A mark as a plan names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MarkRef {
    /// By its place in the log.
    Lsn(Lsn),
    /// By its name.
    Name(String),
}

/// One database that is restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// Its name afterwards.
    pub(super) database: Identifier,
    /// Its backups.
    pub(super) chain: GivenChain,
    /// Where its files go, by their logical names.
    pub(super) moved: IndexMap<String, String>,
}

/// Where the inputs say that a restore stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// Where the chain itself says.
    Chain,
    /// At a moment.
    At(DateTime<Utc>),
    /// At a mark, or right before it.
    Mark(MarkRef, bool),
}

impl<'de> Deserialize<'de> for MarkRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.strip_prefix("lsn:").map(str::trim);
        let digits =
            digits.or_else(|| text.bytes().all(|byte| byte.is_ascii_digit()).then_some(text.as_str()));
        match digits {
            Some(digits) => Lsn::parse(digits).map(Self::Lsn).map_err(D::Error::custom),
            None if text.encode_utf16().count() > 128 || text.chars().any(char::is_control) => {
                Err(D::Error::custom("a mark has at most 128 characters, and none that controls"))
            }
            None => Ok(Self::Name(text)),
        }
    }
}

impl std::fmt::Display for MarkRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Lsn(lsn) => write!(f, "LSN {lsn}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl std::ops::Deref for RestoreInputs {
    type Target = RestoreWith;

    fn deref(&self) -> &RestoreWith {
        &self.0
    }
}

impl Inputs for RestoreInputs {
    const FIELDS: &'static [Field] = RestoreWith::FIELDS;

    fn read(given: &Given<'_>) -> Result<Self, StepError> {
        let inputs = Self(RestoreWith::read(given)?);
        inputs.checked_subject()?;
        inputs.checked_stop()?;
        inputs.checked_ending()?;
        inputs.checked_sizes()?;
        Ok(inputs)
    }
}

fn refused(why: &str, help: &str) -> Result<(), StepError> {
    Err(StepError::new("input", why).help(help))
}

/// Whether the input is given for certain. One that is known only later may turn out to be none.
fn is_given<T>(input: &In<Option<T>>) -> bool {
    matches!(input, In::Known(Some(_)))
}

/// Whether the input is given, or may be.
fn may_be_given<T>(input: &In<Option<T>>) -> bool {
    !matches!(input, In::Known(None))
}

fn is_on(input: &In<bool>) -> bool {
    input.value() == Some(&true)
}

impl RestoreInputs {
    /// Which databases.
    fn checked_subject(&self) -> Result<(), StepError> {
        if !is_given(&self.group) {
            let is_one = may_be_given(&self.database) && may_be_given(&self.chain);
            if is_one || may_be_given(&self.group) {
                return Ok(());
            }
            return refused(
                "it is not said what to restore",
                "give `database` and `chain`, or `group` for several databases",
            );
        }
        if is_given(&self.database) || is_given(&self.chain) || is_given(&self.into) {
            return refused(
                "`group` stands instead of `database`, `into` and `chain`",
                "name each database, with its own `into` and `chain`, in the group",
            );
        }
        if self.moved.value().is_some_and(|moved| !moved.is_empty()) {
            return refused(
                "`move` cannot tell the databases of a group apart",
                "give each of them its own `move`",
            );
        }
        if is_given(&self.standby) {
            return refused(
                "`standby` cannot leave a group at one mark: each later log would be restored to one database alone",
                "restore the databases one by one, or leave `standby` out",
            );
        }
        if is_given(&self.stop_at) {
            return refused(
                "a moment is no common point of several databases: their clocks and commits differ",
                "stop the group at a mark",
            );
        }
        let Some(Some(group)) = self.group.value() else { return Ok(()) };
        if group.is_empty() {
            return refused("`group` names no database", "give it at least one");
        }
        let names: Vec<String> = group.iter().map(|member| member.target().as_str().to_lowercase()).collect();
        let twice = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name));
        match twice.and_then(|(at, _)| group.get(at)) {
            Some(member) => refused(
                &format!("database {} is in the group twice", member.target()),
                "each database of a group is restored once; give one of them another name with `into`",
            ),
            None => Ok(()),
        }
    }

    /// Where it stops.
    fn checked_stop(&self) -> Result<(), StepError> {
        let given = [is_given(&self.stop_at), is_given(&self.stop_at_mark), is_given(&self.stop_before_mark)];
        if given.into_iter().filter(|given| *given).count() > 1 {
            return refused(
                "a restore stops at one place: only one of `stop_at`, `stop_at_mark` and `stop_before_mark` can be given",
                "leave the others out",
            );
        }
        let by_lsn = [&self.stop_at_mark, &self.stop_before_mark]
            .into_iter()
            .any(|mark| matches!(mark.value(), Some(Some(MarkRef::Lsn(_)))));
        let several = self.group.value().and_then(Option::as_ref).is_some_and(|group| group.len() > 1);
        if by_lsn && several {
            return refused(
                "an LSN is a place in the log of one database, and the group has several",
                "name the mark: each database has it at an LSN of its own",
            );
        }
        Ok(())
    }

    /// Which way it goes, as far as that is said; nothing while it is not known.
    pub(super) fn way(&self) -> Option<Strategy> {
        let strategy = *self.strategy.value()?;
        // Without `replace` there is nothing that a restore could go beside of.
        let in_place = may_be_given(&self.standby) || self.replace.value() == Some(&false);
        Some(if strategy == Strategy::Auto && in_place { Strategy::InPlace } else { strategy })
    }

    /// How it ends.
    fn checked_ending(&self) -> Result<(), StepError> {
        let is_sure = is_given(&self.standby)
            || !may_be_given(&self.standby)
            || self.strategy.value() == Some(&Strategy::InPlace);
        if is_sure && self.way() == Some(Strategy::InPlace) && is_given(&self.keep_old) {
            return refused(
                "`keep_old` says what becomes of a database that is restored beside, and this restore goes over it",
                "say `strategy: beside` or `auto`, or leave `keep_old` out",
            );
        }
        if !is_given(&self.standby) {
            return Ok(());
        }
        let conflicts = [
            ("restricted_user", is_on(&self.restricted_user)),
            ("keep_replication", is_on(&self.keep_replication)),
            ("keep_cdc", is_on(&self.keep_cdc)),
            ("strategy", matches!(self.strategy.value(), Some(Strategy::Beside))),
        ];
        match conflicts.into_iter().find(|(_, is_on)| *is_on) {
            Some((name, _)) => refused(
                &format!("`{name}` is said when a database is opened, and `standby` does not open it"),
                "say it with the restore that opens the database",
            ),
            None => Ok(()),
        }
    }

    fn checked_sizes(&self) -> Result<(), StepError> {
        if let Some(Some(size)) = self.max_transfer_size.value()
            && (size.0 == 0 || !size.0.is_multiple_of(TRANSFER_UNIT) || size.0 > LARGEST_TRANSFER)
        {
            return refused(
                &format!("`max_transfer_size` cannot be {} bytes", size.0),
                "it is a multiple of 64KiB, at most 4MiB",
            );
        }
        if self.buffer_count.value() == Some(&Some(0)) {
            return refused("`buffer_count` is 0", "give at least one buffer, or leave it out");
        }
        if let Some(Some(percent)) = self.stats.value()
            && !(1..=100).contains(percent)
        {
            return refused(&format!("`stats` is {percent} percent"), "it is from 1 to 100");
        }
        Ok(())
    }

    /// Whether several databases are restored.
    pub(super) fn is_group(&self) -> bool {
        may_be_given(&self.group)
    }

    /// The name that one database gets.
    pub(super) fn target(&self) -> In<Identifier> {
        match (&self.into, &self.database) {
            (In::Known(Some(name)), _) | (In::Known(None), In::Known(Some(name))) => In::Known(name.clone()),
            (In::After(steps), _) | (_, In::After(steps)) => In::After(steps.clone()),
            (In::Known(None), In::Known(None)) => In::After(Vec::new()),
        }
    }

    /// The databases; nothing while they are not known.
    pub(super) fn parts(&self) -> Option<Vec<Part>> {
        if self.is_group() {
            let group = self.group.value()?.as_ref()?;
            return Some(group.iter().map(Member::part).collect());
        }
        let In::Known(database) = self.target() else { return None };
        let chain = self.chain.value()?.clone()?;
        Some(vec![Part { database, chain, moved: self.moved.value()?.clone() }])
    }

    /// Where it stops; nothing while that is not known.
    pub(super) fn asked(&self) -> Option<Asked> {
        let mark = |mark: &Option<MarkRef>, before| mark.clone().map(|mark| Asked::Mark(mark, before));
        let at = self.stop_at.value()?.map(Asked::At);
        let marked = mark(self.stop_at_mark.value()?, false).or(mark(self.stop_before_mark.value()?, true));
        Some(at.or(marked).unwrap_or(Asked::Chain))
    }

    /// Whether what is there may be destroyed.
    pub(super) fn replaces(&self) -> bool {
        is_on(&self.replace)
    }
}

impl Member {
    fn target(&self) -> &Identifier {
        self.into.as_ref().unwrap_or(&self.database)
    }

    fn part(&self) -> Part {
        Part { database: self.target().clone(), chain: self.chain.clone(), moved: self.moved.clone() }
    }
}

#[cfg(test)]
mod tests {
    use drydock_step::test_host::given;
    use serde_json::{Value, json};

    use super::*;
    use crate::sqlserver::restore_chain::tests::chain;

    fn read(with: Value) -> Result<RestoreInputs, StepError> {
        RestoreInputs::read(&Given { with: &given(with).with, fill: None })
    }

    fn one(more: Value) -> Value {
        let mut with = json!({ "database": "Octopus", "chain": chain() });
        for (key, value) in more.as_object().unwrap() {
            with[key] = value.clone();
        }
        with
    }

    #[test]
    fn what_does_not_go_together_is_refused_with_what_to_do() {
        let member = |name: &str| json!({ "database": name, "chain": chain() });
        for (with, words, help) in [
            (json!({}), "not said what to restore", "`database` and `chain`"),
            (json!({ "database": "X" }), "not said what to restore", "`group`"),
            (one(json!({ "group": [member("A")] })), "stands instead of", "in the group"),
            (json!({ "group": [] }), "names no database", "at least one"),
            (json!({ "group": [member("A"), member("a")] }), "database a is in the group twice", "`into`"),
            (json!({ "group": [member("A")], "standby": "/x" }), "cannot leave a group", "one by one"),
            (
                json!({ "group": [member("A")], "move": { "x": "/x" } }),
                "cannot tell the databases",
                "its own `move`",
            ),
            (
                json!({ "group": [member("A")], "stop_at": "2026-07-14T03:00:00Z" }),
                "no common point",
                "at a mark",
            ),
            (
                json!({ "group": [member("A"), member("B")], "stop_at_mark": "lsn:5" }),
                "log of one database",
                "name the mark",
            ),
            (
                one(json!({ "stop_at": "2026-07-14T03:00:00Z", "stop_at_mark": "m" })),
                "stops at one place",
                "leave",
            ),
            (one(json!({ "stop_at_mark": "m", "stop_before_mark": "m" })), "only one of", "leave"),
            (
                one(json!({ "standby": "/u", "restricted_user": true })),
                "`restricted_user` is said when",
                "opens",
            ),
            (one(json!({ "standby": "/u", "keep_cdc": true })), "`keep_cdc` is said when", "opens"),
            (
                one(json!({ "standby": "/u", "keep_replication": true })),
                "`keep_replication` is said",
                "opens",
            ),
            (one(json!({ "standby": "/u", "strategy": "beside" })), "`strategy` is said when", "opens"),
            (one(json!({ "keep_old": false })), "`keep_old` says what becomes", "beside"),
            (one(json!({ "max_transfer_size": "100KiB" })), "cannot be 102400 bytes", "64KiB"),
            (one(json!({ "max_transfer_size": "8MiB" })), "cannot be", "at most 4MiB"),
            (one(json!({ "buffer_count": 0 })), "`buffer_count` is 0", "at least one"),
            (one(json!({ "stats": 101 })), "`stats` is 101 percent", "from 1 to 100"),
        ] {
            let error = read(with.clone()).unwrap_err();
            assert_eq!(error.code, "input", "{with}");
            assert!(error.message.contains(words), "{error}");
            assert!(error.help.as_deref().unwrap().contains(help), "{error:?}");
        }
        assert!(read(one(json!({ "max_transfer_size": "4MiB", "buffer_count": 7 }))).is_ok());
    }

    #[test]
    fn what_may_turn_out_to_be_none_is_not_against_anything() {
        let after = json!({ "$after": ["run"] });
        for with in [
            one(json!({ "stop_at": after, "stop_at_mark": "m" })),
            one(json!({ "stop_at_mark": after, "stop_before_mark": after })),
            one(json!({ "standby": after, "strategy": "beside" })),
            one(json!({ "standby": after, "keep_old": true, "replace": true })),
            json!({ "group": after, "database": "X" }),
            json!({ "group": [{ "database": "A", "chain": chain() }], "stop_at": after, "database": after }),
        ] {
            assert!(read(with.clone()).is_ok(), "{with}");
        }
        let error =
            read(one(json!({ "standby": "/u", "strategy": "beside", "stop_at": after }))).unwrap_err();
        assert!(error.message.starts_with("`strategy` is said when"), "{error}");
        let error =
            read(one(json!({ "standby": after, "keep_old": true, "strategy": "in_place" }))).unwrap_err();
        assert!(error.message.starts_with("`keep_old` says"), "{error}");
    }

    #[test]
    fn a_mark_is_a_name_or_a_place() {
        let asked = |more: Value| read(one(more)).map(|inputs| inputs.asked());
        let lsn = Asked::Mark(MarkRef::Lsn(Lsn::from(35)), false);
        assert_eq!(asked(json!({ "stop_at_mark": "lsn:35" })).unwrap(), Some(lsn.clone()));
        assert_eq!(asked(json!({ "stop_at_mark": "35" })).unwrap(), Some(lsn));
        let name = Asked::Mark(MarkRef::Name("dd_1".into()), true);
        assert_eq!(asked(json!({ "stop_before_mark": "dd_1" })).unwrap(), Some(name));
        assert_eq!(asked(json!({})).unwrap(), Some(Asked::Chain));
        assert_eq!(asked(json!({ "stop_at_mark": { "$after": ["mark"] } })).unwrap(), None);
        let error = asked(json!({ "stop_at_mark": "lsn:0x27" })).unwrap_err();
        assert!(error.code == "input" && error.message.contains("not a decimal digit"), "{error}");
    }

    #[test]
    fn what_is_not_known_yet_is_neither_given_nor_missing() {
        let after = json!({ "$after": ["point"] });
        assert!(read(json!({ "database": after, "chain": after })).unwrap().parts().is_none());
        assert!(read(json!({ "group": after })).unwrap().parts().is_none());
        let into = read(one(json!({ "into": "Drill" }))).unwrap();
        assert_eq!(into.parts().unwrap()[0].database.as_str(), "Drill");
        assert!(matches!(read(one(json!({ "into": after }))).unwrap().target(), In::After(_)));
    }
}
