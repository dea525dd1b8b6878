//! What a server has beside its databases, asked of its catalogue: [`inventory`]; and how far it has what a script makes: [`Comparison`].

use drydock_step::StepError;
use indexmap::IndexMap;
use serde_json::{Value, json};

use super::object_agent::{self, ENABLED};
use super::object_script::{Item, Key, PARTS, Part};
use super::session::Session;
use super::{object_links, object_logins, object_machine};

/// The items of these parts, in the order in which they are made.
///
/// # Errors
/// What the server says.
pub(super) async fn inventory(session: &Session, parts: &[Part]) -> Result<Vec<Item>, StepError> {
    let mut items = Vec::new();
    if parts.iter().any(|part| matches!(part, Part::Logins | Part::Roles | Part::Permissions)) {
        items.extend(object_logins::items(session).await?);
    }
    for part in parts {
        items.extend(match part {
            Part::Logins | Part::Roles | Part::Permissions => Vec::new(),
            Part::Credentials => object_links::credentials(session).await?,
            Part::LinkedServers => object_links::linked_servers(session).await?,
            Part::Operators => object_agent::operators(session).await?,
            Part::Jobs => object_agent::jobs(session).await?,
            Part::Configuration => object_machine::configuration(session).await?,
            Part::Endpoints => object_machine::endpoints(session).await?,
        });
    }
    items.retain(|item| parts.contains(&item.key.part));
    items.sort_by_key(|item| PARTS.iter().position(|part| *part == item.key.part));
    Ok(items)
}

/// What of a script a server has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Comparison {
    /// There as the script makes it.
    pub(super) same: Vec<Key>,
    /// There, and not as the script makes it.
    pub(super) differing: Vec<Key>,
    /// To be made.
    pub(super) absent: Vec<Item>,
    /// To be made by somebody.
    pub(super) by_hand: Vec<Item>,
}

impl Comparison {
    /// Of what a script wants and what is there.
    pub(super) fn of(wanted: &[Item], there: &[Item]) -> Self {
        let there: IndexMap<&Key, &Item> = there.iter().map(|item| (&item.key, item)).collect();
        let mut found = Self::default();
        for item in wanted {
            match (there.get(&item.key), &item.by_hand) {
                (Some(own), _) if own.batch == item.batch => found.same.push(item.key.clone()),
                (Some(_), _) => found.differing.push(item.key.clone()),
                (None, Some(_)) => found.by_hand.push(item.clone()),
                (None, None) => found.absent.push(item.clone()),
            }
        }
        found
    }
}

/// The items of a script that are to be there: of these parts, and jobs that run at their times where that is wanted.
pub(super) fn wanted(items: Vec<Item>, parts: &[Part], enable_jobs: bool) -> Vec<Item> {
    let fits = |item: &Item| parts.contains(&item.key.part) && (enable_jobs || item.key.what != ENABLED);
    items.into_iter().filter(fits).collect()
}

/// Keys as a step's outputs give them.
pub(super) fn named<'a>(keys: impl IntoIterator<Item = &'a Key>) -> Vec<Value> {
    keys.into_iter().map(|key| json!({ "what": key.what, "name": key.name })).collect()
}

/// What somebody has to make, as a step's outputs give it.
pub(super) fn by_hand<'a>(items: impl IntoIterator<Item = &'a Item>) -> Vec<Value> {
    let one = |item: &Item| json!({ "what": item.key.what, "name": item.key.name, "why": item.by_hand });
    items.into_iter().filter(|item| item.by_hand.is_some()).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_compared_by_what_it_would_make() {
        let item = |name: &str, batch: &str| Item::new(Part::Logins, "login", name, batch.into());
        let hand = Item::by_hand(Part::Credentials, "credential", "c", "?".into(), "secret");
        let wanted = [item("a", "1"), item("b", "1"), item("c", "1"), hand.clone()];
        let found = Comparison::of(&wanted, &[item("a", "1"), item("b", "2")]);
        let names = |keys: &[Key]| keys.iter().map(|key| key.name.clone()).collect::<Vec<_>>();
        assert_eq!(
            (names(&found.same), names(&found.differing)),
            (vec!["a".to_owned()], vec!["b".to_owned()])
        );
        assert_eq!((found.absent, found.by_hand), (vec![item("c", "1")], vec![hand.clone()]));
        assert_eq!(Comparison::of(&wanted, &[hand]).same.len(), 1);
    }

    #[test]
    fn jobs_run_at_their_times_only_where_that_is_wanted() {
        let items = vec![
            Item::new(Part::Jobs, "job", "j", "1".into()),
            Item::new(Part::Jobs, ENABLED, "j", "2".into()),
            Item::new(Part::Logins, "login", "l", "3".into()),
        ];
        assert_eq!(wanted(items.clone(), &[Part::Jobs], false).len(), 1);
        assert_eq!(wanted(items, &[Part::Jobs], true).len(), 2);
    }
}
