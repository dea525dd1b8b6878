//! Room that several steps take at one place: [`Rooms`].

use drydock_plan::name::Name;
use drydock_step::{Access, Facts, PreflightFinding, RoomNeeded};
use indexmap::IndexMap;

use crate::mending::Touched;
use crate::shown::{DryFinding, Severity};

/// What the steps of a plan have told of the room that they take.
#[derive(Debug, Default)]
pub(crate) struct Rooms(IndexMap<(Option<Name>, String), Vec<Taken>>);

#[derive(Debug)]
struct Taken {
    step: Name,
    id: String,
    room: RoomNeeded,
}

impl Rooms {
    /// Hears what a step has learned.
    pub(crate) fn hear(&mut self, step: &Name, id: &str, target: Option<&Name>, facts: &Facts) {
        for room in RoomNeeded::told(facts) {
            let place = self.0.entry((target.cloned(), room.place.clone())).or_default();
            place.push(Taken { step: step.clone(), id: id.to_owned(), room });
        }
    }

    /// The places that have room for each of several steps and not for all of them. Where another step makes room, that is only worth
    /// knowing.
    pub(crate) fn short(&self, touched: &Touched) -> Vec<DryFinding> {
        let short = |((target, place), all): (&(Option<Name>, String), &Vec<Taken>)| {
            let last = all.last()?;
            let needed: i64 = all.iter().map(|one| one.room.needed).sum();
            let free = last.room.free;
            if all.len() < 2 || needed <= free || all.iter().any(|one| one.room.needed > free) {
                return None;
            }
            let makes_room = touched.iter().any(|(step, touches)| {
                let destroys = touches.iter().any(|touch| {
                    touch.access == Access::Destroys
                        && touch.target.as_deref() == target.as_ref().map(Name::as_str)
                });
                destroys && all.iter().all(|one| one.step != *step)
            });
            let message = format!("{place} has {free} bytes free, and these steps need {needed} together");
            let help = Some("free space, or give the files of one of them another place".to_owned());
            let code = last.room.code.clone();
            Some(DryFinding {
                step: all.first()?.id.clone(),
                also: all.iter().skip(1).map(|one| one.id.clone()).collect(),
                target: target.clone(),
                answered: true,
                asked: true,
                severity: if makes_room { Severity::Warning } else { Severity::Error },
                finding: PreflightFinding { code, fatal: !makes_room, message, help },
            })
        };
        self.0.iter().filter_map(short).collect()
    }
}

#[cfg(test)]
mod tests {
    use drydock_step::Touch;
    use serde_json::json;

    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn what_has_room_alone_may_have_none_beside_others() {
        let check = |needs: &[(&str, i64)], touches: &[(&str, Access)], expected: Option<(bool, &str)>| {
            let mut rooms = Rooms::default();
            let sql = name("sql");
            for (step, needed) in needs {
                let room = json!({ "place": "E:", "needed": needed, "free": 100, "code": "sqlserver.3257" });
                rooms.hear(&name(step), step, Some(&sql), &json!({ "room": [room] }));
            }
            let touched = touches.iter().map(|(step, access)| {
                let touch =
                    Touch { target: Some("sql".into()), resource: "database x".into(), access: *access };
                (name(step), vec![touch])
            });
            let found = rooms.short(&touched.collect());
            let found = found.first().map(|found| (found.finding.fatal, found.steps()));
            assert_eq!(found, expected.map(|(fatal, steps)| (fatal, steps.to_owned())));
        };
        check(&[("a", 60)], &[], None);
        check(&[("a", 60), ("b", 40)], &[], None);
        check(&[("a", 60), ("b", 41)], &[], Some((true, "a, b")));
        check(&[("a", 101), ("b", 1)], &[], None);
        check(
            &[("a", 60), ("b", 41)],
            &[("a", Access::Destroys), ("c", Access::Writes)],
            Some((true, "a, b")),
        );
        check(&[("a", 60), ("b", 41)], &[("c", Access::Destroys)], Some((false, "a, b")));
    }
}
