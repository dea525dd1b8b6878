//! What a server reaches others with: credentials and linked servers as [`Item`]s. Their secrets are kept encrypted with a key of the server
//! and are told to nobody.

use drydock_step::StepError;

use super::answer::{Row, present};
use super::object_batch::{Argument, Batch};
use super::object_script::{Item, Part};
use super::session::Session;
use super::sql::{bracketed, quoted};

const CREDENTIALS: &str = "SELECT name, credential_identity FROM sys.credentials ORDER BY name";

const SERVERS: &str = "SELECT server_id, name, product, provider, data_source, location, provider_string, catalog, connect_timeout, query_timeout, \
    is_remote_login_enabled, is_rpc_out_enabled, is_data_access_enabled, is_collation_compatible, uses_remote_collation, collation_name, \
    lazy_schema_validation, is_remote_proc_transaction_promotion_enabled FROM sys.servers WHERE is_linked = 1 ORDER BY name";

const LINKED_LOGINS: &str = "SELECT x.server_id, p.name AS local_login, x.uses_self_credential, x.remote_name \
    FROM sys.linked_logins AS x LEFT JOIN sys.server_principals AS p ON p.principal_id = x.local_principal_id AND x.local_principal_id > 0 \
    ORDER BY x.server_id, p.name";

/// Options of a linked server, the columns that tell them, and what they are at first. Those are not set: some editions refuse to.
const OPTIONS: [(&str, &str, bool); 7] = [
    ("collation compatible", "is_collation_compatible", false),
    ("data access", "is_data_access_enabled", true),
    ("rpc", "is_remote_login_enabled", false),
    ("rpc out", "is_rpc_out_enabled", false),
    ("use remote collation", "uses_remote_collation", true),
    ("lazy schema validation", "lazy_schema_validation", false),
    ("remote proc transaction promotion", "is_remote_proc_transaction_promotion_enabled", true),
];

/// The names of credentials, with what has to be filled in.
///
/// # Errors
/// What the server says.
pub(super) async fn credentials(session: &Session) -> Result<Vec<Item>, StepError> {
    let mut items = Vec::new();
    for row in session.ask("asking for the credentials", CREDENTIALS).await?.rows() {
        let name = present(row.text("name")?, "name")?;
        let identity = quoted(row.text("credential_identity")?.unwrap_or_default());
        let batch =
            format!("CREATE CREDENTIAL {} WITH IDENTITY = {identity}, SECRET = N'?'", bracketed(name));
        items.push(Item::by_hand(
            Part::Credentials,
            "credential",
            name,
            batch,
            "no server tells the secret of a credential",
        ));
    }
    Ok(items)
}

/// Linked servers and who logs in how.
///
/// # Errors
/// What the server says.
pub(super) async fn linked_servers(session: &Session) -> Result<Vec<Item>, StepError> {
    let logins = session.ask("asking for the logins of the linked servers", LINKED_LOGINS).await?;
    let mut items = Vec::new();
    for row in session.ask("asking for the linked servers", SERVERS).await?.rows() {
        let (name, id) = (present(row.text("name")?, "name")?, row.number("server_id")?);
        items.push(linked(row, name)?);
        let mut has_default = false;
        for login in logins.rows() {
            if login.number("server_id")? != id {
                continue;
            }
            let (local, itself) = (login.text("local_login")?, login.flag("uses_self_credential")?);
            has_default |= local.is_none();
            // What sp_addlinkedserver makes of itself.
            if local.is_some() || !itself {
                items.push(linked_login(login, name, local, itself)?);
            }
        }
        if !has_default {
            let mut batch = Batch::new();
            let arguments = vec![("rmtsrvname", Argument::text(Some(name)))];
            batch.call("sys.sp_droplinkedsrvlogin", arguments);
            let batch = format!("{}, @locallogin = NULL", batch.always().trim_end_matches(';'));
            items.push(Item::new(
                Part::LinkedServers,
                "linked login",
                format!("nobody else at {name}"),
                batch,
            ));
        }
    }
    Ok(items)
}

fn linked(row: Row<'_>, name: &str) -> Result<Item, StepError> {
    let mut batch = Batch::new();
    let server = || ("server", Argument::text(Some(name)));
    let product = row.text("product")?;
    let mut arguments = vec![server(), ("srvproduct", Argument::text(Some(product.unwrap_or_default())))];
    // A server of this product is its own provider, and takes no other argument.
    if product != Some("SQL Server") {
        for (argument, column) in [
            ("provider", "provider"),
            ("datasrc", "data_source"),
            ("location", "location"),
            ("provstr", "provider_string"),
            ("catalog", "catalog"),
        ] {
            arguments.push((argument, Argument::text(row.text(column)?)));
        }
    }
    batch.call("sys.sp_addlinkedserver", arguments);
    let mut option = |option: &str, value: &str| {
        let arguments = vec![
            server(),
            ("optname", Argument::text(Some(option))),
            ("optvalue", Argument::text(Some(value))),
        ];
        batch.call("sys.sp_serveroption", arguments);
    };
    for (name, column, first) in OPTIONS {
        let now = row.flag(column)?;
        if now != first {
            option(name, if now { "true" } else { "false" });
        }
    }
    for (name, column) in [("connect timeout", "connect_timeout"), ("query timeout", "query_timeout")] {
        if let Some(seconds) = row.number(column)?.filter(|seconds| *seconds != 0) {
            option(name, &seconds.to_string());
        }
    }
    if let Some(collation) = row.text("collation_name")? {
        option("collation name", collation);
    }
    let absent = format!("IF NOT EXISTS (SELECT * FROM sys.servers WHERE name = {})", quoted(name));
    Ok(Item::new(Part::LinkedServers, "linked server", name, batch.first_if(&absent)))
}

fn linked_login(login: Row<'_>, server: &str, local: Option<&str>, itself: bool) -> Result<Item, StepError> {
    let mut batch = Batch::new();
    let remote = login.text("remote_name")?;
    let mut arguments = vec![
        ("rmtsrvname", Argument::text(Some(server))),
        ("useself", Argument::text(Some(if itself { "True" } else { "False" }))),
        ("locallogin", Argument::text(local)),
        ("rmtuser", Argument::text(remote)),
    ];
    let named = format!("{} at {server}", local.unwrap_or("everybody else"));
    if remote.is_none() {
        batch.call("sys.sp_addlinkedsrvlogin", arguments);
        return Ok(Item::new(Part::LinkedServers, "linked login", named, batch.always()));
    }
    arguments.push(("rmtpassword", Argument::text(Some("?"))));
    batch.call("sys.sp_addlinkedsrvlogin", arguments);
    let why = "no server tells the password of a linked login";
    Ok(Item::by_hand(Part::LinkedServers, "linked login", named, batch.always(), why))
}
