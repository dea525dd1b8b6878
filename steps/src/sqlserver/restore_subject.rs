//! One database of a restore, with the sets that lead to its point: [`Subject`].

use drydock_step::{Ctx, StepError};
use indexmap::IndexMap;
use serde_json::{Value, json};

use super::restore_chain::{MarkStop, RestoreChain, Stop, Wish};
use super::restore_inputs::{Asked, Part, RestoreInputs};
use super::restore_standing::Noted;
use super::restore_stop::{one_mark, wish, wished};
use super::sql::Identifier;
use super::target::SqlServerConnection;

/// A database that is restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject {
    /// The name that it is restored under.
    pub(super) database: Identifier,
    /// Where that is a name for the meantime: the name afterwards, and what the database that has it now is called then.
    pub(super) patient: Option<(Identifier, Identifier)>,
    /// The sets, and where to stop.
    pub(super) chain: RestoreChain,
    /// Where its files go, by their logical names.
    pub(super) moved: IndexMap<String, String>,
    /// Whether it is one of a group; its notes then bear its name.
    pub(super) is_member: bool,
    /// What was noted about it.
    pub(super) noted: Noted,
}

/// What is known without asking anybody; `places` are those of marks that were asked before. Nothing while an input is unknown, or a
/// mark's place has to be asked.
pub(super) fn subjects(
    inputs: &RestoreInputs,
    places: &[Option<MarkStop>],
) -> Option<Result<Vec<Subject>, StepError>> {
    let (parts, asked) = (inputs.parts()?, inputs.asked()?);
    let place = |at: usize| places.get(at).cloned().flatten().map(Wish::Mark);
    let wishes = parts.iter().enumerate().map(|(at, part)| wish(&asked, &part.chain).or_else(|| place(at)));
    let wishes: Option<Vec<Wish>> = wishes.collect();
    Some(of(parts, wishes?, inputs.is_group(), &[]))
}

fn of(
    parts: Vec<Part>,
    wishes: Vec<Wish>,
    is_group: bool,
    notes: &[Value],
) -> Result<Vec<Subject>, StepError> {
    let subject = |(part, wish): (Part, Wish)| {
        let noted = Noted::of(notes, is_group.then_some(&part.database));
        let chain = match &wish {
            Wish::Chain => part.chain.needed(None),
            wish => part.chain.needed_to(wish),
        };
        let chain = chain.map_err(|error| StepError {
            message: if is_group {
                format!("database {}: {}", part.database, error.message)
            } else {
                error.message
            },
            ..error
        })?;
        Ok(Subject {
            patient: None,
            database: part.database,
            chain,
            moved: part.moved,
            is_member: is_group,
            noted,
        })
    };
    let subjects: Vec<Subject> =
        parts.into_iter().zip(wishes).map(subject).collect::<Result<_, StepError>>()?;
    if is_group {
        let chains: Vec<_> = subjects.iter().map(|subject| (&subject.database, &subject.chain)).collect();
        one_mark(&chains)?;
    }
    Ok(subjects)
}

/// The databases, with the places of marks that msdb knows. Such a place is noted: a later attempt stops at the same.
///
/// # Errors
/// `restore.mark`, `restore.chain`, `restore.group`; what the server says.
pub(super) async fn known_subjects(
    ctx: &Ctx,
    server: &SqlServerConnection,
    inputs: &RestoreInputs,
) -> Result<Vec<Subject>, StepError> {
    found_subjects(ctx, server, inputs, true).await
}

/// The same for a preflight, which notes nothing.
///
/// # Errors
/// As [`known_subjects`].
pub(super) async fn asked_subjects(
    ctx: &Ctx,
    server: &SqlServerConnection,
    inputs: &RestoreInputs,
) -> Result<Vec<Subject>, StepError> {
    found_subjects(ctx, server, inputs, false).await
}

async fn found_subjects(
    ctx: &Ctx,
    server: &SqlServerConnection,
    inputs: &RestoreInputs,
    notes: bool,
) -> Result<Vec<Subject>, StepError> {
    let unknown = || StepError::internal("a restore was begun before its inputs were known");
    let (parts, asked) = (inputs.parts().ok_or_else(unknown)?, inputs.asked().ok_or_else(unknown)?);
    let is_group = inputs.is_group();
    let mut wishes = Vec::new();
    for part in &parts {
        let noted = Noted::of(&ctx.notes, is_group.then_some(&part.database));
        let wish = match (wish(&asked, &part.chain), noted.stop) {
            (Some(wish), _) => wish,
            (None, Some(stop)) => Wish::Mark(stop),
            (None, None) => {
                let wish = wished(server.session(), &asked, &part.chain).await?;
                if let (Wish::Mark(stop), true) = (&wish, notes) {
                    ctx.note(about(part, is_group, json!({ "stop": stop }))).await?;
                }
                wish
            }
        };
        wishes.push(wish);
    }
    of(parts, wishes, is_group, &ctx.notes)
}

fn about(part: &Part, is_group: bool, mut note: Value) -> Value {
    if let (true, Some(note)) = (is_group, note.as_object_mut()) {
        note.insert("database".into(), part.database.as_str().into());
    }
    note
}

impl Subject {
    /// A note about it.
    pub(super) fn note(&self, mut note: Value) -> Value {
        if let (true, Some(note)) = (self.is_member, note.as_object_mut()) {
            note.insert("database".into(), self.name().as_str().into());
        }
        note
    }

    /// Its name afterwards.
    pub(super) fn name(&self) -> &Identifier {
        self.patient.as_ref().map_or(&self.database, |(name, _)| name)
    }

    /// Where the mark stands that it stops at.
    pub(super) fn place(&self) -> Option<MarkStop> {
        match &self.chain.stop {
            Stop::Mark(mark) => Some(mark.clone()),
            Stop::End | Stop::At { .. } => None,
        }
    }
}

/// Where a plan stops, in words for a dry run that cannot know the place.
pub(super) fn unplaced(asked: Option<&Asked>) -> String {
    match asked {
        Some(Asked::Mark(mark, before)) => {
            let stop = if *before { "STOPBEFOREMARK" } else { "STOPATMARK" };
            format!(", {stop} = (where msdb says that mark {mark} stands)")
        }
        _ => String::new(),
    }
}
