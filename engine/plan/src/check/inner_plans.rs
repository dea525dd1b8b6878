//! Plans that run plans: [`inner_plans`] finds a plan that would run itself, through however many files, as far as their paths stand in
//! the files. A path that only a run knows is looked at by the run.

use std::collections::BTreeSet;

use crate::catalog::Catalog;
use crate::codes;
use crate::finding::{Finding, Findings};
use crate::source::{Place, SourceFile};
use crate::syntax::plan_file::{CallWritten, PlanFile};
use crate::syntax::yaml;

use super::files::Files;

/// So many files are looked at; plans that run more of them are nobody's.
const MOST_FILES: usize = 1_000;

/// Found: steps by which the plan comes to run itself, or plans that it runs run each other.
/// `name` is the file's, as it was given.
pub(super) fn inner_plans(
    file: &PlanFile<'_>,
    name: &str,
    catalog: &Catalog,
    files: &dyn Files,
    findings: &mut Findings,
) {
    let own = name.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
    let mut search = Search { catalog, files, seen: BTreeSet::new(), way: vec![own] };
    for (path, place) in named(file, catalog) {
        search.seen.clear();
        if let Some(circle) = search.circle(path) {
            let (Some(first), way) = (circle.first(), circle.join(" -> ")) else { continue };
            findings.push(
                Finding::error(codes::RUNS_ITSELF, place, format!("the plan `{first}` would run itself"))
                    .label("leads back to it")
                    .help(format!("take one of these steps out: {way}")),
            );
        }
    }
}

/// The files of the plans that a plan runs, as it writes them, with their places.
fn named<'n>(file: &PlanFile<'n>, catalog: &Catalog) -> Vec<(&'n str, Place)> {
    let path = |call: &CallWritten<'n>| {
        let runs = catalog.kinds.get(call.uses?.value)?.runs_plan?;
        let entry = call.with.iter().find(|entry| &*entry.key == runs.plan)?;
        let path = entry.value.text().filter(|path| !path.contains("{{"))?;
        Some((path, entry.value.place))
    };
    file.steps.iter().filter_map(|step| path(&step.call)).collect()
}

struct Search<'a> {
    catalog: &'a Catalog,
    files: &'a dyn Files,
    /// The files that were looked at and lead back to nothing.
    seen: BTreeSet<String>,
    /// From the plan that is checked to the one that is looked at.
    way: Vec<String>,
}

impl Search<'_> {
    /// The circle that running the plan at this path leads into.
    fn circle(&mut self, path: &str) -> Option<Vec<String>> {
        let path = joined(self.way.last().map_or("", String::as_str), path);
        if let Some(at) = self.way.iter().position(|above| *above == path) {
            return Some(self.way[at..].iter().cloned().chain([path]).collect());
        }
        if self.seen.len() >= MOST_FILES || !self.seen.insert(path.clone()) {
            return None;
        }
        // What cannot be read, or is no plan, is found where it is read for itself.
        let bytes = self.files.read(&path).ok()?;
        let mut aside = Findings::new();
        let node = yaml::read(&SourceFile::of_bytes(path.as_str(), &bytes), 0, &mut aside)?;
        let file = PlanFile::of(&node, &mut aside);
        let inner: Vec<String> =
            named(&file, self.catalog).into_iter().map(|(path, _)| path.to_owned()).collect();
        self.way.push(path);
        let circle = inner.iter().find_map(|path| self.circle(path));
        self.way.pop();
        circle
    }
}

/// A path that stands in the file `from`, relative to where that one's path is relative to, without `.` and `..`.
fn joined(from: &str, path: &str) -> String {
    let folder = from.rsplit_once('/').map_or("", |(folder, _)| folder);
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    let above = if absolute { "" } else { folder };
    for part in above.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let root = if absolute || folder.starts_with('/') { "/" } else { "" };
    format!("{root}{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_without_detours() {
        let check = |from: &str, path: &str, expected: &str| assert_eq!(joined(from, path), expected);
        check("plan.yaml", "./a.yaml", "a.yaml");
        check("sub/a.yaml", "../plan.yaml", "plan.yaml");
        check("sub/a.yaml", "b/./c.yaml", "sub/b/c.yaml");
        check("a.yaml", "../../b.yaml", "../../b.yaml");
        check("a.yaml", "/x/b.yaml", "/x/b.yaml");
        check("/x/b.yaml", "c.yaml", "/x/c.yaml");
    }
}
