//! The rights that kinds need at a PostgreSQL, as grants, and the script that gives them: [`script`], for psql.

use drydock_step::{Duty, Grant, GrantPlace, In, LOGIN};

use super::sql::{Identifier, named};

/// To read every table of every database; since 14. Rows behind row level security need BYPASSRLS besides.
const READS_DATA: &str = "GRANT pg_read_all_data TO {login};";

/// To connect to a database.
fn connecting(database: &In<Identifier>) -> Grant {
    let (place, name) = match database {
        In::Known(name) => (GrantPlace::Database(name.as_str().to_owned()), name.named()),
        unknown @ In::After(_) => {
            let which = unknown.or_after(|_| String::new());
            (GrantPlace::Unknown(which.clone()), which)
        }
    };
    Grant { duty: Duty::Plan, place, statement: format!("GRANT CONNECT ON DATABASE {name} TO {LOGIN};") }
}

/// To read everything in a database.
pub(super) fn reading(database: &In<Identifier>) -> Vec<Grant> {
    vec![Grant::at_server(Duty::Plan, READS_DATA), connecting(database)]
}

/// The same where the database may be the role's own.
pub(super) fn reading_here(database: &In<Option<Identifier>>) -> Vec<Grant> {
    match database {
        In::Known(Some(name)) => reading(&In::Known(name.clone())),
        In::Known(None) => vec![Grant::at_server(Duty::Plan, READS_DATA)],
        In::After(steps) => reading(&In::After(steps.clone())),
    }
}

/// A right in a database that may not be known yet.
pub(super) fn within(duty: Duty, database: &In<Identifier>, statement: &str) -> Grant {
    Grant { duty, place: connecting(database).place, statement: statement.to_owned() }
}

/// The script that gives a role these rights, place by place, each statement once.
pub(super) fn script(login: &str, grants: &[&Grant]) -> String {
    let name = named(login);
    let mut places: Vec<&GrantPlace> = grants.iter().map(|grant| &grant.place).collect();
    places.sort();
    places.dedup();
    let mut script = format!(
        "-- for psql, as a superuser; the role, once: CREATE ROLE {name} LOGIN; then \\password {name}, which stands in no plan\n"
    );
    for place in places {
        let mut said: Vec<&str> = Vec::new();
        for grant in grants.iter().filter(|grant| grant.place == *place) {
            if !said.contains(&grant.statement.as_str()) {
                said.push(&grant.statement);
            }
        }
        let statements: Vec<String> = said.iter().map(|statement| statement.replace(LOGIN, &name)).collect();
        let statements = statements.join("\n");
        match place {
            GrantPlace::Server => script.push_str(&format!("\\connect postgres\n{statements}\n")),
            GrantPlace::Database(database) => {
                script.push_str(&format!("\\connect {}\n{statements}\n", named(database)));
            }
            GrantPlace::Unknown(which) => {
                let lines = statements.replace('\n', "\n--   ");
                script.push_str(&format!("-- in the database {which}:\n--   {lines}\n"));
            }
        }
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_gives_each_right_once_in_its_place() {
        let known = In::Known(Identifier::parse("Octo\"pus").unwrap());
        let grants = [reading(&known), reading(&known), reading(&In::After(Vec::new()))].concat();
        let all: Vec<&Grant> = grants.iter().collect();
        let script = script("o\"dock", &all);
        assert_eq!(script.matches("GRANT pg_read_all_data TO \"o\"\"dock\";").count(), 1, "{script}");
        let within =
            "\\connect \"Octo\"\"pus\"\nGRANT CONNECT ON DATABASE \"Octo\"\"pus\" TO \"o\"\"dock\";\n";
        assert!(script.contains(within), "{script}");
        assert!(script.contains("-- in the database (known after ):\n--   GRANT CONNECT"), "{script}");
    }
}
