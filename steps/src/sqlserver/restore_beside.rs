//! A restore beside the database that it replaces: under a name of its own, until it has proved itself; then both names are swapped
//! ([`swapped`]). Which way is gone is decided once and noted before anything is done: [`decided`].

use drydock_step::{Ctx, PreflightFinding, StepError};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::access::AccessFacts;
use super::database::{DatabaseFacts, State};
use super::finding::warning;
use super::restore_checks::missing_room;
use super::restore_inputs::{RestoreInputs, Strategy};
use super::restore_ready::Ready;
use super::restore_subject::Subject;
use super::session::Session;
use super::sql::Identifier;
use super::target::SqlServerConnection;
use super::users::Entered;

/// The longest beginning of a name to which something is appended.
const LONGEST_STEM: usize = 100;

/// The names of a restore beside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Swap {
    /// What is restored, until it takes the patient's name.
    pub(super) scratch: Identifier,
    /// The patient afterwards.
    pub(super) old: Identifier,
}

/// Which way a restore goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Decision {
    /// The way.
    pub(super) strategy: Strategy,
    /// Why.
    pub(super) why: String,
    /// The names by the name of the database, where it is restored beside.
    pub(super) swaps: IndexMap<String, Swap>,
}

impl Decision {
    fn in_place(why: impl Into<String>) -> Self {
        Self { strategy: Strategy::InPlace, why: why.into(), swaps: IndexMap::new() }
    }

    /// What can be said without asking: nothing where the plan leaves it to what is there.
    pub(super) fn unasked(inputs: &RestoreInputs, subjects: &[Subject]) -> Option<Self> {
        if inputs.way() != Some(Strategy::Beside) {
            return None;
        }
        let swap = |subject: &Subject| {
            Some((subject.database.as_str().to_owned(), names_for(&subject.database, &[]).ok()?))
        };
        let swaps = subjects.iter().filter_map(swap).collect();
        Some(Self { strategy: Strategy::Beside, why: "the plan says so".into(), swaps })
    }

    /// What an earlier attempt noted.
    pub(super) fn noted(ctx: &Ctx) -> Option<Self> {
        ctx.notes.iter().rev().find_map(|note| Self::deserialize(note.get("decided")?).ok())
    }

    /// What a preflight says of it.
    pub(super) fn finding(&self) -> PreflightFinding {
        let message = format!("the restore would go {}: {}", self.word(), self.why);
        let help = if self.swaps.is_empty() {
            "say `strategy: beside` to insist that nothing is destroyed before the backups have proved themselves"
        } else {
            "what is there is kept, OFFLINE and under another name, and needs its room until somebody drops it; `keep_old: false` drops it"
        };
        warning("restore.beside", message, help)
    }

    /// The way in words.
    pub(super) fn word(&self) -> &'static str {
        if self.swaps.is_empty() { "in place" } else { "beside what is there" }
    }

    /// The subjects, each under the name that it is restored under.
    pub(super) fn applied(&self, subjects: Vec<Subject>) -> Vec<Subject> {
        let apply = |subject: Subject| match self.swaps.get(subject.database.as_str()) {
            Some(swap) => Subject {
                patient: Some((subject.database.clone(), swap.old.clone())),
                database: swap.scratch.clone(),
                ..subject
            },
            None => subject,
        };
        subjects.into_iter().map(apply).collect()
    }
}

/// The first name of this kind that no database has.
fn free_name(database: &Identifier, end: &str, taken: &[String]) -> Result<Identifier, StepError> {
    let stem: String = database.as_str().chars().take(LONGEST_STEM).collect();
    let names = (1..1000).map(|n| if n == 1 { format!("{stem}{end}") } else { format!("{stem}{end}_{n}") });
    let mut free = names.filter(|name| !taken.contains(&name.to_lowercase()));
    let name = free.next().ok_or_else(|| StepError::internal("a thousand names are taken"))?;
    Identifier::parse(&name)
}

fn names_for(name: &Identifier, taken: &[String]) -> Result<Swap, StepError> {
    Ok(Swap {
        scratch: free_name(name, "_restoring", taken)?,
        old: free_name(name, "_before_restore", taken)?,
    })
}

/// The names for these databases.
async fn names(session: &Session, subjects: &[Subject]) -> Result<IndexMap<String, Swap>, StepError> {
    let answer =
        session.ask("asking for the names of all databases", "SELECT name FROM sys.databases").await?;
    let mut taken = Vec::new();
    for row in answer.rows() {
        taken.push(row.text("name")?.unwrap_or_default().to_lowercase());
    }
    let mut swaps = IndexMap::new();
    for subject in subjects {
        let name = &subject.database;
        let swap = names_for(name, &taken)?;
        taken.extend([&swap.scratch, &swap.old].map(|name| name.as_str().to_lowercase()));
        swaps.insert(name.as_str().to_owned(), swap);
    }
    Ok(swaps)
}

/// Which way a restore goes: as the plan says, or, where that leaves it open, beside what is there if that is ONLINE and there is room for
/// both.
///
/// # Errors
/// `restore.beside`, when the plan says so and a database cannot change its name; what the server says.
pub(super) async fn decided(
    server: &SqlServerConnection,
    inputs: &RestoreInputs,
    subjects: &[Subject],
) -> Result<Decision, StepError> {
    let wanted = inputs.way().unwrap_or(Strategy::InPlace);
    if wanted == Strategy::InPlace {
        return Ok(Decision::in_place("the plan says so, or nothing else"));
    }
    for subject in subjects {
        let facts = DatabaseFacts::ask(server.session(), &subject.database).await?;
        match (cannot_move(&subject.database, facts.as_ref()), wanted) {
            (Some(why), Strategy::Beside) => {
                return Err(StepError::new("restore.beside", why)
                    .help("say `strategy: in_place`, which destroys what is there before the backups have proved themselves"));
            }
            (Some(why), _) => return Ok(Decision::in_place(why)),
            (None, Strategy::Auto) if facts.is_none() => {
                return Ok(Decision::in_place(format!(
                    "there is no database {} that could be lost",
                    subject.database
                )));
            }
            (None, _) => {}
        }
    }
    let decision = Decision {
        strategy: Strategy::Beside,
        why: "the plan says so".into(),
        swaps: names(server.session(), subjects).await?,
    };
    if wanted == Strategy::Beside {
        return Ok(decision);
    }
    let mut destinations = Vec::new();
    for subject in decision.applied(subjects.to_vec()) {
        destinations.extend(Ready::ask(server, &subject, inputs).await?.destinations);
    }
    Ok(match missing_room(server, &destinations).await? {
        None => Decision { why: "what is there is ONLINE, and there is room for both".into(), ..decision },
        Some(why) => Decision::in_place(why),
    })
}

/// Why a database cannot be restored beside, if so.
fn cannot_move(database: &Identifier, facts: Option<&DatabaseFacts>) -> Option<String> {
    let facts = facts?;
    if facts.state != State::Online || facts.is_standby {
        let state = if facts.is_standby { "waiting for logs" } else { &facts.state_word };
        return Some(format!(
            "database {database} is {state}, and only one that is ONLINE can give its name away"
        ));
    }
    if facts.is_replica {
        return Some(format!(
            "database {database} belongs to an availability group, and cannot change its name"
        ));
    }
    facts.is_snapshot.then(|| format!("database {database} is a snapshot of another"))
}

/// The statements that swap the names, in one batch that ends at its first error: nobody can enter between them.
pub(super) fn swap_statements(patient: Option<&str>, old: &str, scratch: &str, name: &str) -> String {
    let mut sql = String::from("SET XACT_ABORT ON;\n");
    if let Some(patient) = patient {
        sql.push_str(&format!(
            "ALTER DATABASE {patient} SET SINGLE_USER WITH ROLLBACK IMMEDIATE;\nALTER DATABASE {patient} MODIFY NAME = {old};\n"
        ));
    }
    sql.push_str(&format!("ALTER DATABASE {scratch} MODIFY NAME = {name}"));
    sql
}

/// What becomes of the patient once it has given its name away.
pub(super) fn old_statement(old: &str, keep: bool) -> String {
    if keep {
        format!("ALTER DATABASE {old} SET OFFLINE WITH ROLLBACK IMMEDIATE")
    } else {
        format!("DROP DATABASE {old}")
    }
}

/// Swaps the names, wherever an earlier attempt was cut off, and closes what was there or drops it.
///
/// # Errors
/// What the server says.
pub(super) async fn swapped(
    ctx: &Ctx,
    server: &SqlServerConnection,
    inputs: &RestoreInputs,
    subject: &Subject,
) -> Result<(), StepError> {
    let Some((name, old)) = &subject.patient else { return Ok(()) };
    let (session, scratch) = (server.session(), &subject.database);
    if AccessFacts::ask(session, scratch).await?.is_some() {
        let patient = AccessFacts::ask(session, name).await?.map(|_| name.bracketed());
        for inside in Entered::all(session, name).await.unwrap_or_default() {
            ctx.log(format!("database {name} is closed to {inside}"));
        }
        let sql =
            swap_statements(patient.as_deref(), &old.bracketed(), &scratch.bracketed(), &name.bracketed());
        session.work(&format!("giving {scratch} the name {name}"), &sql).await?;
    }
    match AccessFacts::ask(session, old).await? {
        Some(there) if !keeps(inputs) || there.state != "OFFLINE" => {
            let close = old_statement(&old.bracketed(), keeps(inputs));
            session.work(&close, &close).await
        }
        _ => Ok(()),
    }
}

/// Whether nothing is left to be swapped.
///
/// # Errors
/// What the server says.
pub(super) async fn is_swapped(
    session: &Session,
    inputs: &RestoreInputs,
    subject: &Subject,
) -> Result<bool, StepError> {
    let Some((name, old)) = &subject.patient else { return Ok(true) };
    let is_there = AccessFacts::ask(session, name).await?.is_some();
    let is_renamed = AccessFacts::ask(session, &subject.database).await?.is_none();
    let is_closed = match AccessFacts::ask(session, old).await? {
        Some(there) => keeps(inputs) && there.state == "OFFLINE",
        None => true,
    };
    Ok(is_there && is_renamed && is_closed)
}

/// Whether the patient is kept.
pub(super) fn keeps(inputs: &RestoreInputs) -> bool {
    inputs.keep_old.value().copied().flatten().unwrap_or(true)
}

/// The note of a decision.
pub(super) fn note(decision: &Decision) -> serde_json::Value {
    json!({ "decided": decision })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_free_and_say_what_they_are() {
        let name = Identifier::parse("Octopus").unwrap();
        let taken = ["octopus_restoring".to_owned(), "octopus_restoring_2".to_owned()];
        assert_eq!(free_name(&name, "_restoring", &taken).unwrap().as_str(), "Octopus_restoring_3");
        assert_eq!(free_name(&name, "_before_restore", &taken).unwrap().as_str(), "Octopus_before_restore");
        let long = Identifier::parse(&"x".repeat(128)).unwrap();
        assert_eq!(free_name(&long, "_restoring", &[]).unwrap().as_str().len(), LONGEST_STEM + 10);
    }

    #[test]
    fn the_names_are_swapped_in_one_batch() {
        assert_eq!(
            swap_statements(Some("[X]"), "[X_old]", "[X_new]", "[X]"),
            "SET XACT_ABORT ON;\nALTER DATABASE [X] SET SINGLE_USER WITH ROLLBACK IMMEDIATE;\n\
             ALTER DATABASE [X] MODIFY NAME = [X_old];\nALTER DATABASE [X_new] MODIFY NAME = [X]"
        );
        assert_eq!(
            swap_statements(None, "[X_old]", "[X_new]", "[X]"),
            "SET XACT_ABORT ON;\nALTER DATABASE [X_new] MODIFY NAME = [X]"
        );
        assert_eq!(old_statement("[X_old]", false), "DROP DATABASE [X_old]");
    }
}
