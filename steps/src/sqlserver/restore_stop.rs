//! Where each database of a restore stops: [`wish`], [`wished`], and whether those of a group stop at one mark: [`one_mark`].

use drydock_step::StepError;

use super::answer::present;
use super::restore_chain::{GivenChain, MarkStop, RestoreChain, Stop, Wish};
use super::restore_inputs::{Asked, MarkRef};
use super::session::Session;
use super::sql::{Identifier, quoted};

/// Where the chain leads, by what the plan says and the chain knows; nothing where a mark is named that the chain does not know.
pub(super) fn wish(asked: &Asked, chain: &GivenChain) -> Option<Wish> {
    let own = chain.mark();
    match asked {
        Asked::Chain => Some(Wish::Chain),
        Asked::At(at) => Some(Wish::At(*at)),
        Asked::Mark(MarkRef::Lsn(lsn), before) => {
            let name = own.filter(|own| own.lsn == *lsn).and_then(|own| own.name.clone());
            Some(Wish::Mark(MarkStop { name, lsn: *lsn, before: *before }))
        }
        Asked::Mark(MarkRef::Name(name), before) => {
            let own = own.filter(|own| own.name.as_ref() == Some(name))?;
            Some(Wish::Mark(MarkStop { before: *before, ..own.clone() }))
        }
    }
}

/// The same, with msdb asked for a mark that the chain does not know. A mark is never taken by its name alone: the place where it stands in
/// these logs is found, and must be the only one.
///
/// # Errors
/// `restore.mark`, when msdb knows no place of that name in the chain's logs, or several; what the server says.
pub(super) async fn wished(session: &Session, asked: &Asked, chain: &GivenChain) -> Result<Wish, StepError> {
    let (Asked::Mark(MarkRef::Name(name), before), None) = (asked, wish(asked, chain)) else {
        return wish(asked, chain).ok_or_else(|| StepError::internal("a place in a chain was not found"));
    };
    let source = chain.source().unwrap_or_default();
    let sql = format!(
        "SELECT mark_name, lsn FROM msdb.dbo.logmarkhistory WHERE mark_name = {} AND database_name = {}",
        quoted(name),
        quoted(source)
    );
    let answer = session.ask("asking where the mark stands", &sql).await?;
    let mut places = Vec::new();
    for row in answer.rows() {
        let lsn = present(row.lsn("lsn")?, "lsn")?;
        // The case of a mark's name counts in the log, and not in a comparison of msdb's.
        if row.text("mark_name")? == Some(name.as_str()) && chain.holds(lsn) && !places.contains(&lsn) {
            places.push(lsn);
        }
    }
    match places.as_slice() {
        [lsn] => Ok(Wish::Mark(MarkStop { name: Some(name.clone()), lsn: *lsn, before: *before })),
        [] => {
            let message = format!(
                "neither the chain nor msdb knows a mark {name} in the logs of database {source} that are given"
            );
            Err(StepError::new("restore.mark", message).help(
                "is its name spelled with its capitals, and does a log of the chain hold it? A mark whose history is lost with its server \
                 is named by its place: `lsn:` and digits",
            ))
        }
        several => {
            let places: Vec<String> = several.iter().map(ToString::to_string).collect();
            let message = format!(
                "the logs of database {source} hold several marks {name}, at LSN {}",
                places.join(", ")
            );
            Err(StepError::new("restore.mark", message)
                .help("name the one that is meant by its place: `lsn:` and digits"))
        }
    }
}

/// Whether all databases of a group stop at the same mark; only then are they one point.
///
/// # Errors
/// `restore.group`: what each of them stops at.
pub(super) fn one_mark(group: &[(&Identifier, &RestoreChain)]) -> Result<(), StepError> {
    let refused = |message: String, help: &str| Err(StepError::new("restore.group", message).help(help));
    for (database, chain) in group {
        let model = chain.pieces.last().and_then(|piece| piece.backup.recovery_model.as_deref());
        if model == Some("SIMPLE") {
            let message = format!(
                "database {database} is in the SIMPLE recovery model: it has no log, and no mark can be reached"
            );
            return refused(
                message,
                "leave it out of the group and restore it by itself, or switch it to FULL and back it up anew",
            );
        }
    }
    let mark = |chain: &RestoreChain| match &chain.stop {
        Stop::Mark(mark) => mark.name.clone(),
        Stop::End | Stop::At { .. } => None,
    };
    let told = |(database, chain): &(&Identifier, &RestoreChain)| match (&chain.stop, mark(chain)) {
        (_, Some(name)) => format!("{database} at {name}"),
        (Stop::Mark(mark), None) => format!("{database} at LSN {}", mark.lsn),
        (Stop::End, None) => format!("{database} at the end of its backups"),
        (Stop::At { local, .. }, None) => format!("{database} at the time {local}"),
    };
    let first = group.first().and_then(|(_, chain)| mark(chain));
    if first.is_some() && group.iter().all(|(_, chain)| mark(chain) == first) {
        return Ok(());
    }
    let told: Vec<String> = group.iter().map(told).collect();
    refused(
        format!("the databases of a group have to stop at one mark, and they would not: {}", told.join(", ")),
        "give chains of one recovery point, or name the mark with `stop_at_mark`",
    )
}

#[cfg(test)]
mod tests {
    use drydock_recovery::lsn::Lsn;
    use serde_json::{Value, json};

    use super::*;
    use crate::sqlserver::restore_chain::tests::chain;

    fn given(chain: Value) -> GivenChain {
        serde_json::from_value(chain).unwrap()
    }

    #[test]
    fn the_chain_knows_its_own_mark_by_name_and_by_place() {
        let chain = given(chain());
        let at = |mark| wish(&Asked::Mark(mark, true), &chain);
        let own = Wish::Mark(MarkStop { name: Some("dd_1".into()), lsn: Lsn::from(35), before: true });
        assert_eq!(at(MarkRef::Name("dd_1".into())), Some(own.clone()));
        assert_eq!(at(MarkRef::Lsn(Lsn::from(35))), Some(own));
        let other = Wish::Mark(MarkStop { name: None, lsn: Lsn::from(31), before: true });
        assert_eq!(at(MarkRef::Lsn(Lsn::from(31))), Some(other));
        assert_eq!(at(MarkRef::Name("DD_1".into())), None, "case counts");
    }

    #[test]
    fn a_group_has_one_mark() {
        let chain_at = |change: &dyn Fn(&mut Value)| {
            let mut chain = chain();
            change(&mut chain);
            given(chain).needed(None).unwrap()
        };
        let (a, b) = (Identifier::parse("A").unwrap(), Identifier::parse("B").unwrap());
        let (own, same) = (chain_at(&|_| ()), chain_at(&|chain| chain["stop_at_mark"]["lsn"] = "33".into()));
        assert_eq!(one_mark(&[(&a, &own), (&b, &same)]), Ok(()), "each at its own LSN");
        let check = |other: RestoreChain, words: &str| {
            let error = one_mark(&[(&a, &own), (&b, &other)]).unwrap_err();
            assert_eq!(error.code, "restore.group");
            assert!(error.message.contains(words), "{error}");
        };
        check(chain_at(&|chain| chain["stop_at_mark"]["name"] = "dd_2".into()), "A at dd_1, B at dd_2");
        check(chain_at(&|chain| chain["stop_at_mark"] = Value::Null), "B at the end of its backups");
        check(chain_at(&|chain| chain["stop_at_mark"] = json!({ "lsn": "35" })), "B at LSN 35");
        check(
            chain_at(&|chain| chain["backups"][2]["backup"]["recovery_model"] = "SIMPLE".into()),
            "database B is in the SIMPLE recovery model",
        );
    }
}
