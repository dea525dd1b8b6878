//! Whether a database stands where a set of its chain leads: [`checked_place`]. Opened anywhere else it could not be mended any more.

use drydock_recovery::backup::clock;
use drydock_recovery::lsn::Lsn;
use drydock_step::StepError;

use super::restore_chain::{RestoreChain, Stop};

/// What the server says instead of failing when a log ends before the point to stop at: 4322 and 4329, whose numbers do not reach a client.
const LEFT: &str = "The database is being left in the restoring state";

/// Whether one of the texts says that the point to stop at was not in the log.
pub(super) fn is_left(texts: &[String]) -> bool {
    texts.iter().any(|text| text.contains(LEFT))
}

/// Checks that the log stands where the set of this index leads. `left` is whether the server said that the point was not in it: that
/// decides nothing by itself, but tells of a log that was applied to its end whether it held the point.
///
/// # Errors
/// `restore.position` with both places; `restore.beyond` when the log ends before the point to stop at.
pub(super) fn checked_place(
    doing: &str,
    chain: &RestoreChain,
    index: usize,
    redo: Option<Lsn>,
    left: bool,
) -> Result<(), StepError> {
    let Some(piece) = chain.pieces.get(index) else { return Ok(()) };
    let last = piece.backup.last_lsn;
    let is_last = index + 1 == chain.pieces.len();
    let whole = redo.is_some_and(|redo| redo >= last);
    let wrong = |why: String| {
        let stands = redo.map_or("nowhere".to_owned(), |redo| format!("at LSN {redo}"));
        Err(StepError::new("restore.position", format!("{doing}: the server stands {stands}, {why}")).help(
            "the database is left RESTORING: do not open it, it would be at the wrong moment; restore again from the full backup",
        ))
    };
    let beyond = |what: String| {
        let message = format!(
            "{doing}: the log ends at LSN {last}, at {}, before {what}",
            clock(piece.backup.finished_at)
        );
        Err(StepError::new("restore.beyond", message).help(
            "the database is left RESTORING; add the next log backup to the chain and restore again, or stop at an earlier point",
        ))
    };
    match (&chain.stop, redo) {
        (Stop::Mark(mark), Some(redo)) if is_last && mark.before && redo > mark.lsn => {
            return wrong(format!("which is beyond the mark ({}) that it shall stop before", mark.lsn));
        }
        (Stop::Mark(mark), Some(_)) if is_last && mark.before => {}
        (Stop::Mark(mark), Some(redo)) if is_last => {
            if redo <= mark.lsn {
                return wrong(format!("which is not beyond the mark ({})", mark.lsn));
            }
            if redo > last {
                return wrong(format!("which is beyond the log ({last}) that holds the mark ({})", mark.lsn));
            }
            if whole && left {
                return beyond(format!("the mark at LSN {}", mark.lsn));
            }
        }
        (Stop::At { at, local }, Some(redo)) if is_last => {
            if redo > last {
                return wrong(format!("which is beyond the log ({last}) that holds {local}"));
            }
            // What was committed while a log was being backed up need not be in it.
            let covered = if left { piece.backup.started_at } else { piece.backup.finished_at };
            if whole && *at > covered {
                return beyond(format!("the moment {} (`{local}` by the server's clock)", clock(*at)));
            }
        }
        // A log before the last one may hold the moment already, where clocks went wrong; then the next one is refused.
        (Stop::At { .. }, Some(_)) => {}
        _ if !whole => return wrong(format!("which is not where the set leads ({last})")),
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlserver::restore_chain::tests::chain;
    use crate::sqlserver::restore_chain::{GivenChain, MarkStop, Wish};

    fn given() -> GivenChain {
        serde_json::from_value(chain()).unwrap()
    }

    fn code(chain: &RestoreChain, index: usize, redo: Option<u64>, left: bool) -> Result<(), String> {
        checked_place("RESTORE LOG [X]", chain, index, redo.map(Lsn::from), left).map_err(|error| {
            assert!(error.help.unwrap().contains("left RESTORING"));
            format!("{}: {}", error.code, error.message)
        })
    }

    #[test]
    fn a_database_at_its_mark_stands_behind_it_and_within_its_log() {
        let chain = given().needed(None).unwrap();
        assert_eq!(code(&chain, 2, Some(36), false), Ok(()));
        assert_eq!(code(&chain, 2, Some(36), true), Ok(()), "a text alone decides nothing");
        assert_eq!(code(&chain, 2, Some(40), false), Ok(()), "the mark may be the last of its log");
        let found = code(&chain, 2, Some(35), false).unwrap_err();
        assert!(
            found.starts_with("restore.position") && found.contains("at LSN 35") && found.contains("(35)"),
            "{found}"
        );
        let found = code(&chain, 2, Some(41), false).unwrap_err();
        assert!(found.contains("at LSN 41") && found.contains("the mark (35)"), "{found}");
        let found = code(&chain, 2, Some(40), true).unwrap_err();
        assert!(found.starts_with("restore.beyond"), "{found}");
        assert!(code(&chain, 2, None, false).unwrap_err().contains("stands nowhere"));
        assert_eq!(code(&chain, 1, Some(30), true), Ok(()), "an earlier log leads to its own end");
        assert!(code(&chain, 1, Some(29), false).unwrap_err().contains("not where the set leads (30)"));
    }

    #[test]
    fn a_database_before_its_mark_has_not_gone_beyond_it() {
        let mark = MarkStop { name: None, lsn: Lsn::from(35), before: true };
        let chain = given().needed_to(&Wish::Mark(mark)).unwrap();
        assert_eq!(code(&chain, 2, Some(35), false), Ok(()));
        let found = code(&chain, 2, Some(36), false).unwrap_err();
        assert!(found.contains("stands at LSN 36") && found.contains("the mark (35)"), "{found}");
    }

    #[test]
    fn a_moment_beyond_the_log_is_an_error_that_says_so() {
        let at = |minute: u32| {
            let at = format!("2026-07-14T03:{minute:02}:00Z").parse().unwrap();
            given().needed(Some(at)).unwrap()
        };
        assert_eq!(code(&at(22), 2, Some(33), true), Ok(()));
        assert_eq!(code(&at(22), 2, Some(40), false), Ok(()), "nothing was committed after it");
        assert_eq!(
            code(&at(15), 2, Some(40), true),
            Ok(()),
            "nothing was committed until the log was backed up"
        );
        let found = code(&at(22), 2, Some(40), true).unwrap_err();
        assert!(
            found.starts_with("restore.beyond") && found.contains("`2026-07-14T05:22:00.000`"),
            "{found}"
        );
        assert!(code(&at(22), 2, Some(41), false).unwrap_err().starts_with("restore.position"));
    }
}
