//! What a database keeps that takes another one's name, and no dump has in it: [`kept`], its owner, its rights, its settings.

use drydock_step::StepError;

use super::session::Session;
use super::sql::{Identifier, named, quoted};

/// Settings whose value is a list of names, by which it is read again.
const LISTS: &[&str] =
    &["search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries"];

/// The statements that give a database what another one has.
///
/// # Errors
/// What the server says.
pub(super) async fn kept(
    session: &Session,
    from: &Identifier,
    to: &str,
    owner_too: bool,
) -> Result<Vec<String>, StepError> {
    let to = named(to);
    let mut statements = Vec::new();
    let sql = format!(
        "SELECT quote_ident(pg_get_userbyid(datdba)) AS owner, datconnlimit AS most, datacl IS NOT NULL AS has_rights \
         FROM pg_database WHERE datname = {}",
        from.quoted()
    );
    let answer = session.ask("asking whose the database is", &sql).await?;
    let row = answer.first()?;
    if owner_too {
        statements.push(format!("ALTER DATABASE {to} OWNER TO {}", row.known("owner")?));
    }
    if let Some(most) = row.number("most")?.filter(|most| *most >= 0) {
        statements.push(format!("ALTER DATABASE {to} CONNECTION LIMIT {most}"));
    }
    if row.flag("has_rights")? {
        statements.push(format!("REVOKE ALL ON DATABASE {to} FROM PUBLIC"));
        let sql = format!(
            "SELECT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(r.rolname) END AS grantee, a.privilege_type AS may, a.is_grantable AS hands_on \
             FROM pg_database AS d CROSS JOIN aclexplode(d.datacl) AS a LEFT JOIN pg_roles AS r ON r.oid = a.grantee \
             WHERE d.datname = {} AND (a.grantee = 0 OR r.oid IS NOT NULL) ORDER BY 1, 2",
            from.quoted()
        );
        let answer = session.ask("asking for the rights in the database", &sql).await?;
        for row in answer.rows() {
            let again = if row.flag("hands_on")? { " WITH GRANT OPTION" } else { "" };
            let (may, grantee) = (row.known("may")?, row.known("grantee")?);
            statements.push(format!("GRANT {may} ON DATABASE {to} TO {grantee}{again}"));
        }
    }
    let sql = format!(
        "SELECT quote_ident(r.rolname) AS role, unnest(s.setconfig) AS setting FROM pg_db_role_setting AS s \
         JOIN pg_database AS d ON d.oid = s.setdatabase LEFT JOIN pg_roles AS r ON r.oid = s.setrole WHERE d.datname = {}",
        from.quoted()
    );
    let answer = session.ask("asking for the settings of the database", &sql).await?;
    for row in answer.rows() {
        let whose = match row.text("role")? {
            Some(role) => format!("ROLE {role} IN DATABASE {to}"),
            None => format!("DATABASE {to}"),
        };
        let Some((name, value)) = row.known("setting")?.split_once('=') else { continue };
        statements.push(format!("ALTER {whose} SET {} TO {}", setting(name), value_of(name, value)));
    }
    Ok(statements)
}

/// A setting's name, which may have a dot in it.
fn setting(name: &str) -> String {
    name.split('.').map(named).collect::<Vec<_>>().join(".")
}

/// Its value, as a statement takes it.
fn value_of(name: &str, value: &str) -> String {
    if !LISTS.contains(&name) {
        return quoted(value);
    }
    let parts: Vec<String> = names_in(value).iter().map(|part| quoted(part)).collect();
    if parts.is_empty() { "''".into() } else { parts.join(", ") }
}

/// The names of a list that the server wrote: some in double quotes.
fn names_in(list: &str) -> Vec<String> {
    let (mut names, mut name, mut is_quoted) = (Vec::new(), String::new(), false);
    let mut rest = list.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' if is_quoted && rest.peek() == Some(&'"') => {
                rest.next();
                name.push('"');
            }
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => names.push(std::mem::take(&mut name)),
            c if c.is_whitespace() && !is_quoted => {}
            c => name.push(c),
        }
    }
    names.push(name);
    names.retain(|name| !name.is_empty());
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_written_name_by_name() {
        for (name, value, expected) in [
            ("search_path", "\"$user\", public", "'$user', 'public'"),
            ("search_path", "\"a, \"\"b\", c", "'a, \"b', 'c'"),
            ("search_path", "", "''"),
            ("work_mem", "64MB", "'64MB'"),
            ("app.words", "it's, so", "'it''s, so'"),
        ] {
            assert_eq!(value_of(name, value), expected, "{value}");
        }
        assert_eq!(setting("app.words"), "\"app\".\"words\"");
    }
}
