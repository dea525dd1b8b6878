//! Roles and tablespaces that a dump needs and the server lacks: [`Lacking`], and how they are made of what `pg_dumpall` has told of them.
//! What is there is never altered.

use std::collections::BTreeSet;

use drydock_step::artifact::bytes_of;
use drydock_step::{ArtifactStore, Ctx, StepError};

use super::dump_entry::DumpEntry;
use super::dump_files::unchanged;
use super::load_inputs::LoadInputs;
use super::session::Session;
use super::sql::named;

/// The most bytes that are read of what is told of roles and tablespaces.
const MOST: usize = 64 << 20;

/// What the server lacks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Lacking {
    roles: BTreeSet<String>,
    tablespaces: BTreeSet<String>,
    /// The roles that are there.
    known: BTreeSet<String>,
}

impl Lacking {
    /// What of that which this load of the dump needs is not there. A dump that was taken before its needs were looked at says nothing.
    ///
    /// # Errors
    /// What the server says.
    pub(super) async fn of(
        session: &Session,
        dump: &DumpEntry,
        inputs: &LoadInputs,
    ) -> Result<Self, StepError> {
        let Some(needs) = &dump.needs else { return Ok(Self::default()) };
        let names = async |doing: &str, sql: &str| {
            let answer = session.ask(doing, sql).await?;
            answer.rows().map(|row| row.known("name").map(str::to_owned)).collect::<Result<BTreeSet<_>, _>>()
        };
        let known = names("asking which roles there are", "SELECT rolname AS name FROM pg_roles").await?;
        let spaces =
            names("asking which tablespaces there are", "SELECT spcname AS name FROM pg_tablespace").await?;
        let lacks = |wanted: bool, needed: &BTreeSet<String>, there: &BTreeSet<String>| {
            let lacking = needed.iter().filter(|name| wanted && !there.contains(*name));
            lacking.cloned().collect::<BTreeSet<_>>()
        };
        let owners = lacks(*inputs.owners.known()?, &needs.owners, &known);
        let grantees = lacks(*inputs.privileges.known()?, &needs.grantees, &known);
        Ok(Self {
            roles: owners.into_iter().chain(grantees).collect(),
            tablespaces: lacks(*inputs.tablespaces.known()?, &needs.tablespaces, &spaces),
            known,
        })
    }

    fn is_nothing(&self) -> bool {
        self.roles.is_empty() && self.tablespaces.is_empty()
    }

    fn named(&self) -> String {
        let told = |what: &str, names: &BTreeSet<String>| {
            let names = names.iter().cloned().collect::<Vec<_>>().join(", ");
            (!names.is_empty()).then(|| format!("{what} {names}"))
        };
        let parts = [told("roles", &self.roles), told("tablespaces", &self.tablespaces)];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" and ")
    }

    /// That something is lacking, if anything is.
    pub(super) fn refused(&self) -> Option<StepError> {
        if self.is_nothing() {
            return None;
        }
        let message = format!("the dump needs what the server lacks: {}", self.named());
        Some(StepError::new("postgres.globals", message).help(
            "make them, or say `globals: apply` where the dump was taken with its `globals`; else `owners: false` and `privileges: false` do without roles, `tablespaces: false` without tablespaces",
        ))
    }

    /// That there is nothing that they could be made of.
    pub(super) fn untold(&self, dump: &DumpEntry) -> Option<StepError> {
        if self.is_nothing() || dump.globals.is_some() {
            return None;
        }
        let message = format!(
            "the server lacks {}, and the dump does not tell how to make them: it was taken without `globals`",
            self.named()
        );
        Some(
            StepError::new("postgres.globals", message)
                .help("make them yourself, or take a dump with `globals: no_passwords`"),
        )
    }

    /// Makes what is lacking.
    ///
    /// # Errors
    /// `postgres.globals` where the dump does not tell how, `artifact.damaged`, or what the server says.
    pub(super) async fn made(
        &self,
        ctx: &Ctx,
        session: &Session,
        store: &dyn ArtifactStore,
        dump: &DumpEntry,
    ) -> Result<(), StepError> {
        if let Some(error) = self.untold(dump) {
            return Err(error);
        }
        let Some(globals) = dump.globals.as_ref().filter(|_| !self.is_nothing()) else { return Ok(()) };
        unchanged(store, globals, |_| {}).await?;
        let text = bytes_of(store.open(&globals.path, 0).await?, MOST).await?;
        let text = String::from_utf8_lossy(&text);
        let script = self.script(&statements(&text), &globals.path)?;
        // Statements may have hashes of passwords in them, which no message tells.
        let silent = |error: StepError| StepError { detail: None, ..error };
        if !script.roles.is_empty() {
            session.work("making the roles", &script.roles.join(";\n")).await.map_err(silent)?;
        }
        for statement in &script.tablespaces {
            session.work("making a tablespace", statement).await?;
        }
        ctx.log(format!("made, as the dump's globals say: {}", self.named()));
        Ok(())
    }

    /// The statements that make it.
    fn script<'t>(&self, statements: &[&'t str], path: &str) -> Result<Script<'t>, StepError> {
        let mut script = Script::default();
        for role in &self.roles {
            let of_role = |statement: &&&str| {
                ["CREATE ROLE ", "ALTER ROLE ", "COMMENT ON ROLE "]
                    .iter()
                    .filter_map(|begins| after_name(statement.strip_prefix(begins)?, role))
                    .any(|rest| {
                        rest.is_empty()
                            || [" WITH ", " SET ", " IS "].iter().any(|next| rest.starts_with(next))
                    })
            };
            let found: Vec<&str> = statements.iter().filter(of_role).copied().collect();
            if !found.iter().any(|statement| statement.starts_with("CREATE ROLE ")) {
                return Err(untold("role", role, path));
            }
            script.roles.extend(found.into_iter().map(str::to_owned));
        }
        let is_there = |role: &str| self.known.contains(role) || self.roles.contains(role);
        for grant in statements.iter().filter_map(|statement| membership(statement)) {
            if self.roles.contains(&grant.member) && is_there(&grant.group) {
                let (group, member) = (named(&grant.group), named(&grant.member));
                script.roles.push(format!("GRANT {group} TO {member}{}", grant.how));
            }
        }
        for space in &self.tablespaces {
            let of_space = |statement: &&&str| {
                statement
                    .strip_prefix("CREATE TABLESPACE ")
                    .and_then(|rest| after_name(rest, space))
                    .is_some()
            };
            let found = statements.iter().find(of_space);
            script.tablespaces.push(found.copied().ok_or_else(|| untold("tablespace", space, path))?);
        }
        Ok(script)
    }
}

fn untold(what: &str, name: &str, path: &str) -> StepError {
    StepError::new("postgres.globals", format!("{path} does not tell how to make the {what} {name}"))
        .help("make it yourself, or load a dump whose `globals` have it")
}

/// Statements that make what is lacking.
#[derive(Debug, Default, PartialEq, Eq)]
struct Script<'t> {
    /// Run as one.
    roles: Vec<String>,
    /// Each by itself, as the server demands it.
    tablespaces: Vec<&'t str>,
}

/// What follows a name, if the text begins with it.
fn after_name<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (found, rest) = name_at(text)?;
    (found == name).then_some(rest)
}

/// The name that a text begins with, and what follows it.
fn name_at(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        return (!name.is_empty()).then(|| (name.to_owned(), rest));
    };
    let (mut name, mut rest) = (String::new(), quoted);
    loop {
        let (before, after) = rest.split_once('"')?;
        name.push_str(before);
        match after.strip_prefix('"') {
            Some(again) => {
                name.push('"');
                rest = again;
            }
            None => return Some((name, after)),
        }
    }
}

/// That a role belongs to a group.
struct Membership {
    group: String,
    member: String,
    how: String,
}

fn membership(statement: &str) -> Option<Membership> {
    let (group, rest) = name_at(statement.strip_prefix("GRANT ")?)?;
    let (member, rest) = name_at(rest.strip_prefix(" TO ")?)?;
    // Who granted it there need not be here.
    let how = rest.split(" GRANTED BY ").next().unwrap_or_default();
    Some(Membership { group, member, how: how.to_owned() })
}

/// The statements of a script that pg_dumpall has written, without what is said to psql. It doubles every quote and every backslash, so that
/// neither ends a text by being escaped.
fn statements(text: &str) -> Vec<&str> {
    let (mut found, mut begin, mut quote, mut at_start) = (Vec::new(), 0, None, true);
    let mut rest = text.char_indices().peekable();
    while let Some((at, c)) = rest.next() {
        let line_end = || text.get(at..).and_then(|rest| rest.find('\n')).map_or(text.len(), |end| at + end);
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => (quote, at_start) = (Some(c), false),
            (None, ';') => {
                found.push(text.get(begin..at).unwrap_or_default().trim());
                (begin, at_start) = (at + 1, true);
            }
            (None, '\\' | '-')
                if at_start && (c == '\\' || text.get(at..).is_some_and(|rest| rest.starts_with("--"))) =>
            {
                let end = line_end();
                while rest.next_if(|(at, _)| *at < end).is_some() {}
                begin = end;
            }
            (None, c) => at_start &= c.is_whitespace(),
        }
    }
    found.retain(|statement| !statement.is_empty());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: &str = "--\n-- PostgreSQL database cluster dump; not a statement\n--\n\n\\restrict Xy;z\nSET default_transaction_read_only = off;\n\
        CREATE ROLE app;\nALTER ROLE app WITH NOSUPERUSER LOGIN PASSWORD 'SCRAM;x''y';\nALTER ROLE app SET search_path TO 'a', 'b';\n\
        ALTER ROLE app IN DATABASE octopus SET work_mem TO '1MB';\n\
        CREATE ROLE \"Ap\"\"p; x\";\nALTER ROLE \"Ap\"\"p; x\" WITH NOLOGIN;\nCOMMENT ON ROLE app IS E'it\\\\''s; mine';\nCREATE ROLE application;\n\
        GRANT readers TO app WITH INHERIT TRUE GRANTED BY postgres;\nGRANT gone TO app;\nGRANT app TO application;\n\
        CREATE TABLESPACE fast OWNER app LOCATION '/mnt/fast';\n\\unrestrict Xy\n";

    #[test]
    fn what_is_lacking_is_made_and_nothing_else_touched() {
        let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let lacking = Lacking {
            roles: of(&["app", "Ap\"p; x"]),
            tablespaces: of(&["fast"]),
            known: of(&["readers", "application"]),
        };
        let all = statements(TOLD);
        let script = lacking.script(&all, "pg/globals.sql").unwrap();
        assert_eq!(
            script.roles,
            [
                "CREATE ROLE \"Ap\"\"p; x\"",
                "ALTER ROLE \"Ap\"\"p; x\" WITH NOLOGIN",
                "CREATE ROLE app",
                "ALTER ROLE app WITH NOSUPERUSER LOGIN PASSWORD 'SCRAM;x''y'",
                "ALTER ROLE app SET search_path TO 'a', 'b'",
                "COMMENT ON ROLE app IS E'it\\\\''s; mine'",
                "GRANT \"readers\" TO \"app\" WITH INHERIT TRUE",
            ]
        );
        assert_eq!(script.tablespaces, ["CREATE TABLESPACE fast OWNER app LOCATION '/mnt/fast'"]);
        assert_eq!(lacking.named(), "roles Ap\"p; x, app and tablespaces fast");
        let lacking = Lacking { roles: of(&["nobody"]), ..lacking };
        let error = lacking.script(&all, "pg/globals.sql").unwrap_err();
        assert_eq!(
            (error.code.as_str(), error.message.as_str()),
            ("postgres.globals", "pg/globals.sql does not tell how to make the role nobody")
        );
    }

    #[test]
    fn nothing_that_is_lacking_is_refused() {
        assert_eq!(Lacking::default().refused(), None);
        assert_eq!(statements("-- nothing\n\n"), Vec::<&str>::new());
    }
}
