//! What a release of the application knows of migrations: [`Release`].

use drydock_step::StepError;

use super::schema::Schema;

/// The ids of the migrations that an application knows, and up to which of them the database shall be led.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Release {
    known: Vec<String>,
    up_to: Option<String>,
    /// Whether it may know later migrations alone, as a script does that was made from one of them on.
    from_its_first: bool,
}

impl Release {
    /// The release that knows these.
    ///
    /// # Errors
    /// `ef.migration`, when it does not know the one to stop at.
    pub(super) fn of(mut known: Vec<String>, up_to: Option<&String>) -> Result<Self, StepError> {
        // Ids begin with the time at which the migration was written.
        known.sort();
        known.dedup();
        let found = up_to.map(|wanted| {
            let is = |id: &&String| *id == wanted || id.split_once('_').is_some_and(|(_, name)| name == wanted);
            known.iter().find(is).cloned().ok_or_else(|| {
                StepError::new("ef.migration", format!("the application knows no migration `{wanted}`"))
                    .help("`migration` is an id or the name in it; 0, which would take everything back, is never run")
            })
        });
        let up_to = found.transpose()?;
        Ok(Self { known, up_to, from_its_first: false })
    }

    /// The release whose script this is; nothing where it names no migrations.
    ///
    /// # Errors
    /// `ef.migration`, as [`Release::of`].
    pub(super) fn of_script(script: &str, up_to: Option<&String>) -> Result<Option<Self>, StepError> {
        let known = ids_in(script);
        if known.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self { from_its_first: true, ..Self::of(known, up_to)? }))
    }

    /// Those that have to be there and are not among the applied ones.
    pub(super) fn pending(&self, applied: &[String]) -> Vec<&str> {
        self.wanted().iter().filter(|id| !applied.contains(id)).map(String::as_str).collect()
    }

    /// The ids that have to be there afterwards.
    fn wanted(&self) -> &[String] {
        let end = match &self.up_to {
            Some(last) => self.known.iter().position(|id| id == last).map_or(self.known.len(), |at| at + 1),
            None => self.known.len(),
        };
        self.known.get(..end).unwrap_or_default()
    }

    /// Refuses a database that this release does not fit: newer than it, or beyond the migration to stop at.
    ///
    /// # Errors
    /// `ef.newer`, `ef.down`.
    pub(super) fn fits(&self, schema: &Schema) -> Result<(), StepError> {
        let first = self.known.first().filter(|_| self.from_its_first);
        let is_told = |id: &&str| first.is_none_or(|first| *id >= first.as_str());
        let mut beyond = schema.beyond(&self.known);
        beyond.retain(is_told);
        if !beyond.is_empty() {
            let message = format!(
                "the database has migrations that the application does not know: {}",
                beyond.join(", ")
            );
            return Err(StepError::new("ef.newer", message)
                .help("deploy the release that made them, or restore to a moment before; never migrate down to fit an older release"));
        }
        let mut later = schema.beyond(self.wanted());
        later.retain(is_told);
        let (Some(last), false) = (&self.up_to, later.is_empty()) else { return Ok(()) };
        let message = format!("the database is beyond {last}, and EF would take back {}", later.join(", "));
        Err(StepError::new("ef.down", message).help(
            "what a migration takes back is lost; leave `migration` out, or restore to a moment before",
        ))
    }
}

/// The ids that an idempotent script of EF names, in their order: texts such as `N'20250312090512_Initial'`.
pub(super) fn ids_in(script: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for text in script.split('\'').skip(1).step_by(2) {
        let is_id = text.split_once('_').is_some_and(|(time, name)| {
            time.len() == 14
                && time.bytes().all(|b| b.is_ascii_digit())
                && !name.is_empty()
                && text.len() <= 150
        });
        if is_id && !found.iter().any(|known| known == text) {
            found.push(text.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(migrations: &[&str]) -> Schema {
        Schema { migrations: migrations.iter().map(|id| (*id).to_owned()).collect(), tables: 3 }
    }

    fn release(known: &[&str], up_to: Option<&str>) -> Result<Release, StepError> {
        Release::of(known.iter().map(|id| (*id).to_owned()).collect(), up_to.map(str::to_owned).as_ref())
    }

    #[test]
    fn a_database_that_is_newer_or_further_is_refused() {
        let all = release(&["2_b", "1_a", "3_c"], None).unwrap();
        assert_eq!(
            (all.wanted(), all.fits(&schema(&["1_a", "2_b"]))),
            (&["1_a", "2_b", "3_c"].map(str::to_owned)[..], Ok(()))
        );
        let error = all.fits(&schema(&["1_a", "4_d"])).unwrap_err();
        assert!(error.code == "ef.newer" && error.message.ends_with("does not know: 4_d"), "{error}");
        for name in ["2_b", "b"] {
            let part = release(&["1_a", "2_b", "3_c"], Some(name)).unwrap();
            assert_eq!((part.wanted().len(), part.fits(&schema(&["1_a"]))), (2, Ok(())));
            let error = part.fits(&schema(&["1_a", "2_b", "3_c"])).unwrap_err();
            assert!(error.code == "ef.down" && error.message.ends_with("would take back 3_c"), "{error}");
        }
        let error = release(&["1_a"], Some("0")).unwrap_err();
        assert!(error.code == "ef.migration" && error.message.contains("no migration `0`"), "{error}");
    }

    #[test]
    fn a_script_tells_its_ids() {
        let script = "IF NOT EXISTS (SELECT * FROM [__EFMigrationsHistory] WHERE [MigrationId] = N'20250312090512_Initial')\n\
                      INSERT INTO x VALUES (N'20250312090512_Initial', N'9.0.3'), ('it''s', '2025_x', '20250904081544_EpisodeOutcome')";
        assert_eq!(ids_in(script), ["20250312090512_Initial", "20250904081544_EpisodeOutcome"]);
        assert!(ids_in("no ids at all").is_empty());
        let part = Release::of_script(script, None).unwrap().unwrap();
        assert_eq!(part.fits(&schema(&["20240101000000_Before", "20250312090512_Initial"])), Ok(()));
        assert_eq!(part.fits(&schema(&["20990101000000_After"])).unwrap_err().code, "ef.newer");
        assert_eq!(Release::of_script("SELECT 1", None), Ok(None));
    }
}
