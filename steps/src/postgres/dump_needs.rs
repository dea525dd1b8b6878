//! What a database needs of the cluster that it is in, and no dump of it brings along: [`Needs`], roles and tablespaces by their names.

use std::collections::BTreeSet;

use drydock_step::StepError;
use serde::{Deserialize, Serialize};

use super::session::Snapshot;

/// Roles that own something or have rights. What belongs to an extension is made by that. The cluster's first role is in no list of who
/// depends on whom, since nothing can drop it.
const ROLES: &str = "WITH own AS (SELECT n.oid FROM pg_namespace AS n WHERE n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'), \
    found AS (SELECT s.refobjid AS role, s.deptype = 'o' AS owns FROM pg_shdepend AS s WHERE s.refclassid = 'pg_authid'::regclass \
    AND s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND s.deptype IN ('o', 'a', 'r') \
    AND s.classid <> 'pg_extension'::regclass AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = s.classid AND d.objid = s.objid \
    AND d.deptype = 'e') \
    UNION SELECT c.relowner, true FROM pg_class AS c WHERE c.relnamespace IN (SELECT oid FROM own) AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') \
    AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') \
    UNION SELECT p.proowner, true FROM pg_proc AS p WHERE p.pronamespace IN (SELECT oid FROM own) \
    AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e') \
    UNION SELECT n.nspowner, true FROM pg_namespace AS n WHERE n.oid IN (SELECT oid FROM own) \
    AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e')) \
    SELECT DISTINCT r.rolname AS name, f.owns FROM found AS f JOIN pg_roles AS r ON r.oid = f.role WHERE r.rolname NOT LIKE 'pg\\_%'";

/// Tablespaces besides that of the database, by what lies in them.
const TABLESPACES: &str = "SELECT DISTINCT t.spcname AS name FROM pg_class AS c JOIN pg_tablespace AS t ON t.oid = c.reltablespace \
    JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'";

/// Roles and tablespaces.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    /// Roles that something in the database belongs to.
    pub owners: BTreeSet<String>,
    /// Roles that have rights in it, or a policy.
    pub grantees: BTreeSet<String>,
    /// Tablespaces that something in it lies in.
    pub tablespaces: BTreeSet<String>,
}

impl Needs {
    /// Those of the database in a snapshot.
    ///
    /// # Errors
    /// What the server says.
    pub(super) async fn of(snapshot: &Snapshot<'_>) -> Result<Self, StepError> {
        let mut needs = Self::default();
        let roles = snapshot.ask("asking which roles the database needs", ROLES).await?;
        for row in roles.rows() {
            let kind = if row.flag("owns")? { &mut needs.owners } else { &mut needs.grantees };
            kind.insert(row.known("name")?.to_owned());
        }
        let spaces = snapshot.ask("asking which tablespaces the database needs", TABLESPACES).await?;
        for row in spaces.rows() {
            needs.tablespaces.insert(row.known("name")?.to_owned());
        }
        Ok(needs)
    }
}
