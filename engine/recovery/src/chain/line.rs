//! [`Lineage`] and `Line`: a line of history, on which LSNs mean one thing: a family, and a recovery fork with its ancestors.

use std::collections::HashMap;

use crate::Time;
use crate::backup::{Backup, BackupType};
use crate::chain::sets::Set;
use crate::guid::Guid;
use crate::lsn::Lsn;

/// The sets of one family that lie on one fork or, before the fork left them, on its ancestors.
pub(crate) struct Line<'s> {
    /// The family, where sets of several are known.
    pub(crate) family: Option<&'s Guid>,
    /// The fork at the line's end, where forks are known.
    pub(crate) fork: Option<&'s Guid>,
    /// Its sets in the order of their LSNs.
    pub(crate) sets: Vec<&'s Backup>,
    /// When the newest backup at the line's end was finished.
    pub(crate) newest: Time,
}

impl Line<'_> {
    /// Whether it ends on `fork`; lines without known forks might.
    pub(crate) fn is_on(&self, fork: Option<&Guid>) -> bool {
        self.fork.zip(fork).is_none_or(|(own, wanted)| own == wanted)
    }

    /// How messages name it.
    pub(crate) fn label(&self) -> String {
        match (self.fork, self.family) {
            (Some(fork), _) => format!("recovery fork {fork}"),
            (None, Some(family)) => format!("family {family}"),
            (None, None) => "the only line".to_owned(),
        }
    }
}

/// Every line that the sets (in the order of their LSNs) tell of, the one that was backed up last first.
pub(crate) fn lines<'s>(sets: &'s [Set<'s>]) -> Vec<Line<'s>> {
    let mut families: Vec<&Guid> = sets.iter().filter_map(|set| set.family()).collect();
    families.sort();
    families.dedup();
    let mut lines = Vec::new();
    if families.is_empty() {
        lines.extend(family_lines(None, sets.iter().map(|set| &**set).collect()));
    }
    for family in families {
        let members =
            sets.iter().map(|set| &**set).filter(|set| set.family().is_none_or(|own| own == family));
        lines.extend(family_lines(Some(family), members.collect()));
    }
    lines.sort_by(|a, b| b.newest.cmp(&a.newest).then_with(|| (a.family, a.fork).cmp(&(b.family, b.fork))));
    lines
}

fn family_lines<'s>(family: Option<&'s Guid>, sets: Vec<&'s Backup>) -> Vec<Line<'s>> {
    let forks = Forks::of(&sets);
    let end = |line: &[&Backup]| line.iter().map(|set| set.finished_at).max();
    if forks.names.is_empty() {
        let newest = end(&sets);
        return newest.map(|newest| Line { family, fork: None, sets, newest }).into_iter().collect();
    }
    let mut lines = Vec::new();
    for (leaf, fork) in forks.names.iter().copied().enumerate() {
        let ceilings = forks.ceilings(leaf);
        let on_line = |at: &usize| forks.is_on(&ceilings, *at, sets[*at]);
        let members: Vec<&Backup> = (0..sets.len()).filter(on_line).map(|at| sets[at]).collect();
        let at_end =
            (0..sets.len()).filter(|at| forks.of_set[*at].last == Some(leaf)).map(|at| sets[at].finished_at);
        if let Some(newest) = at_end.max() {
            lines.push(Line { family, fork: Some(fork), sets: members, newest });
        }
    }
    lines
}

/// A line of history by its family, its fork, and where its ancestors' part ends.
#[derive(Clone, Debug)]
pub struct Lineage {
    family: Guid,
    forks: Vec<(Guid, Option<Lsn>)>,
}

impl Lineage {
    /// The line that ends on `fork`, as far as the backups tell where it came from.
    pub fn of(backups: &[&Backup], fork: &Guid, family: &Guid) -> Lineage {
        let mut sets: Vec<&Backup> = backups.to_vec();
        sets.retain(|set| set.family().is_none_or(|own| own == family));
        let forks = Forks::of(&sets);
        let Some(leaf) = forks.names.iter().position(|name| *name == fork) else {
            return Lineage { family: family.clone(), forks: vec![(fork.clone(), None)] };
        };
        let named =
            forks.names.iter().zip(forks.ceilings(leaf)).filter_map(|(name, ceiling)| match ceiling {
                Ceiling::Off => None,
                Ceiling::Until(point) => Some(((*name).clone(), Some(point))),
                Ceiling::All => Some(((*name).clone(), None)),
            });
        Lineage { family: family.clone(), forks: named.collect() }
    }

    /// Whether a position of a fork is part of this line.
    pub fn has(&self, family: &Guid, fork: &Guid, lsn: Lsn) -> bool {
        let known = self.forks.iter().find(|(name, _)| name == fork);
        self.family == *family && known.is_some_and(|(_, until)| until.is_none_or(|until| lsn < until))
    }
}

/// Where a set begins and ends, as indices of forks.
#[derive(Clone, Copy)]
struct Place {
    first: Option<usize>,
    last: Option<usize>,
}

/// How far up its log a fork is part of a line.
#[derive(Clone, Copy, PartialEq)]
enum Ceiling {
    Off,
    Until(Lsn),
    All,
}

/// The forks of a family and where each left its parent.
struct Forks<'s> {
    names: Vec<&'s Guid>,
    parents: Vec<Option<(usize, Lsn)>>,
    of_set: Vec<Place>,
}

impl<'s> Forks<'s> {
    fn of(sets: &[&'s Backup]) -> Forks<'s> {
        let mut numbers: HashMap<&Guid, usize> = HashMap::new();
        let mut names: Vec<&Guid> = Vec::new();
        let mut number = |fork: &'s Guid| {
            *numbers.entry(fork).or_insert_with(|| {
                names.push(fork);
                names.len() - 1
            })
        };
        let place = |set: &&'s Backup| Place {
            first: set.first_fork().map(&mut number),
            last: set.fork().map(&mut number),
        };
        let of_set: Vec<Place> = sets.iter().map(place).collect();
        let mut forks = Forks { parents: vec![None; names.len()], names, of_set };
        forks.learn_from_spanning_sets(sets);
        forks.distrust_second_returns(sets);
        forks.learn_from_differentials(sets);
        forks
    }

    /// A set that begins on one fork and ends on another tells where the second left the first.
    fn learn_from_spanning_sets(&mut self, sets: &[&Backup]) {
        for (set, place) in sets.iter().zip(&self.of_set) {
            let (Some(first), Some(last)) = (place.first, place.last) else { continue };
            // Without a fork point, all that is certain to be common is what came before the set.
            let point = set.fork_point_lsn.unwrap_or(set.first_lsn);
            let known = &mut self.parents[last];
            if first != last && known.is_none_or(|(_, old)| point < old) {
                *known = Some((first, point));
            }
        }
    }

    /// A header names the first and the last fork of a set, not those between. Where an earlier return from the same
    /// parent led beyond a fork's point, the fork may have left either of the two: only what both have is certain.
    fn distrust_second_returns(&mut self, sets: &[&Backup]) {
        let mut ends: Vec<Option<Lsn>> = vec![None; self.names.len()];
        for (set, place) in sets.iter().zip(&self.of_set) {
            if let Some(end) = place.last.and_then(|fork| ends.get_mut(fork)) {
                *end = (*end).max(Some(set.last_lsn));
            }
        }
        let returns: Vec<(usize, usize, Lsn)> = self
            .parents
            .iter()
            .enumerate()
            .filter_map(|(fork, parent)| parent.map(|(parent, point)| (fork, parent, point)))
            .collect();
        for &(fork, parent, point) in &returns {
            let led_beyond = |other: &&(usize, usize, Lsn)| {
                other.1 == parent && other.2 < point && ends[other.0] >= Some(point)
            };
            if let Some(certain) = returns.iter().filter(led_beyond).map(|other| other.2).min() {
                self.parents[fork] = Some((parent, certain));
            }
        }
    }

    /// A differential on one fork whose base lies on another proves that the base is its ancestor.
    fn learn_from_differentials(&mut self, sets: &[&Backup]) {
        let fulls: HashMap<&Guid, usize> = (0..sets.len())
            .filter(|at| sets[*at].kind == BackupType::Full)
            .map(|at| (&sets[at].backup_set_guid, at))
            .collect();
        for (at, set) in sets.iter().enumerate().filter(|(_, set)| set.kind == BackupType::Differential) {
            let Some(base) = set.differential_base_guid.as_ref().and_then(|guid| fulls.get(guid)) else {
                continue;
            };
            let (Some(parent), Some(child)) = (self.of_set[*base].last, self.of_set[at].first) else {
                continue;
            };
            let root = self.root(child);
            if root != self.root(parent) && set.builds_on(sets[*base]) {
                self.parents[root] = Some((parent, sets[*base].last_lsn));
            }
        }
    }

    /// The oldest known ancestor of a fork.
    fn root(&self, fork: usize) -> usize {
        let mut root = fork;
        // Contradictory headers may make a fork its own ancestor; no way up is longer than there are forks.
        for _ in 0..self.names.len() {
            let Some((parent, _)) = self.parents[root] else { break };
            root = parent;
        }
        root
    }

    fn ceilings(&self, leaf: usize) -> Vec<Ceiling> {
        let mut ceilings = vec![Ceiling::Off; self.names.len()];
        ceilings[leaf] = Ceiling::All;
        let mut child = leaf;
        while let Some((parent, point)) = self.parents[child] {
            if ceilings[parent] != Ceiling::Off {
                break;
            }
            ceilings[parent] = Ceiling::Until(point);
            child = parent;
        }
        ceilings
    }

    fn is_on(&self, ceilings: &[Ceiling], at: usize, set: &Backup) -> bool {
        let place = self.of_set[at];
        let begins = place.first.is_none_or(|fork| ceilings[fork] != Ceiling::Off);
        let ends = place.last.is_none_or(|fork| match ceilings[fork] {
            Ceiling::Off => false,
            Ceiling::Until(point) => set.last_lsn <= point,
            Ceiling::All => true,
        });
        begins && ends
    }
}
