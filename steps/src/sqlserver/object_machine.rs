//! How a server is set up on its machine: the values of `sp_configure` and its endpoints as [`Item`]s, and what a script leaves out.

use drydock_step::StepError;

use super::answer::{Row, present};
use super::object_script::{Item, LeftOut, Part};
use super::session::Session;
use super::sql::{bracketed, quoted};

/// The values that are set, as numbers: the columns are of no type of their own.
const CONFIGURATION: &str =
    "SELECT name, CAST(value AS bigint) AS value, is_advanced FROM sys.configurations ORDER BY name";

/// Endpoints that somebody made. Those of every server have lower numbers.
const ENDPOINTS: &str = "SELECT e.name, CAST(e.type AS int) AS type, CAST(e.protocol AS int) AS protocol, CAST(e.state AS int) AS state, t.port, t.ip_address, \
    CAST(m.role AS int) AS role, COALESCE(m.connection_auth_desc, b.connection_auth_desc) AS authentication, \
    COALESCE(m.encryption_algorithm_desc, b.encryption_algorithm_desc) AS algorithm, COALESCE(m.is_encryption_enabled, b.is_encryption_enabled) AS is_encrypted, \
    c.name AS certificate FROM sys.endpoints AS e LEFT JOIN sys.tcp_endpoints AS t ON t.endpoint_id = e.endpoint_id \
    LEFT JOIN sys.database_mirroring_endpoints AS m ON m.endpoint_id = e.endpoint_id \
    LEFT JOIN sys.service_broker_endpoints AS b ON b.endpoint_id = e.endpoint_id \
    LEFT JOIN master.sys.certificates AS c ON c.certificate_id = COALESCE(m.certificate_id, b.certificate_id) \
    WHERE e.endpoint_id >= 65536 ORDER BY e.name";

/// What no item is made of, and how to count it. Event sessions below 65536 are the server's own.
const COUNTS: [(&str, &str); 10] = [
    ("alerts of SQL Server Agent", "SELECT COUNT(*) AS n FROM msdb.dbo.sysalerts"),
    ("proxies of SQL Server Agent", "SELECT COUNT(*) AS n FROM msdb.dbo.sysproxies"),
    ("profiles of Database Mail", "SELECT COUNT(*) AS n FROM msdb.dbo.sysmail_profile"),
    ("triggers of the server", "SELECT COUNT(*) AS n FROM sys.server_triggers WHERE is_ms_shipped = 0"),
    ("server audits", "SELECT COUNT(*) AS n FROM sys.server_audits"),
    (
        "sessions of Extended Events",
        "SELECT COUNT(*) AS n FROM sys.server_event_sessions WHERE event_session_id >= 65536",
    ),
    (
        "pools of Resource Governor",
        "SELECT COUNT(*) AS n FROM sys.resource_governor_resource_pools WHERE pool_id > 2",
    ),
    (
        "permissions on availability groups",
        "SELECT COUNT(*) AS n FROM sys.server_permissions WHERE class = 108",
    ),
    ("messages of its own", "SELECT COUNT(*) AS n FROM sys.messages WHERE message_id > 50000"),
    ("backup devices", "SELECT COUNT(*) AS n FROM sys.backup_devices"),
];

/// The values of `sp_configure`. The one that shows the others comes last.
///
/// # Errors
/// What the server says.
pub(super) async fn configuration(session: &Session) -> Result<Vec<Item>, StepError> {
    const SHOWS: &str = "show advanced options";
    let (mut items, mut last) = (Vec::new(), None);
    for row in session.ask("asking for the server's configuration", CONFIGURATION).await?.rows() {
        let (name, value) = (present(row.text("name")?, "name")?, present(row.number("value")?, "value")?);
        let set =
            |name: &str, value: i64| format!("EXEC sys.sp_configure {}, {value}; RECONFIGURE;", quoted(name));
        let batch = if row.flag("is_advanced")? {
            format!(
                "DECLARE @shown int = (SELECT CAST(value AS int) FROM sys.configurations WHERE name = N'{SHOWS}');\n\
                 IF @shown = 0\nBEGIN\n{}\nEND\n{}\nIF @shown = 0\nBEGIN\n{}\nEND",
                set(SHOWS, 1),
                set(name, value),
                set(SHOWS, 0)
            )
        } else {
            set(name, value)
        };
        let item = Item::new(Part::Configuration, "option", format!("{name} = {value}"), batch);
        if name == SHOWS { last = Some(item) } else { items.push(item) }
    }
    items.extend(last);
    Ok(items)
}

/// Endpoints over TCP.
///
/// # Errors
/// What the server says.
pub(super) async fn endpoints(session: &Session) -> Result<Vec<Item>, StepError> {
    let mut items = Vec::new();
    for row in session.ask("asking for the endpoints", ENDPOINTS).await?.rows() {
        items.push(endpoint(row)?);
    }
    Ok(items)
}

fn endpoint(row: Row<'_>) -> Result<Item, StepError> {
    const TCP: i64 = 2;
    let name = present(row.text("name")?, "name")?;
    let state = match row.number("state")? {
        Some(0) => "STARTED",
        Some(1) => "STOPPED",
        _ => "DISABLED",
    };
    let purpose = match row.number("type")? {
        Some(2) => "TSQL ()".to_owned(),
        Some(3) => format!("SERVICE_BROKER ({})", terms(row)?),
        Some(4) => {
            let role = match row.number("role")? {
                Some(1) => "PARTNER",
                Some(2) => "WITNESS",
                _ => "ALL",
            };
            format!("DATABASE_MIRRORING ({}, ROLE = {role})", terms(row)?)
        }
        _ => "?".to_owned(),
    };
    let ip = row.text("ip_address")?.map_or("ALL".to_owned(), |ip| format!("({ip})"));
    let batch = format!(
        "IF NOT EXISTS (SELECT * FROM sys.endpoints WHERE name = {})\nCREATE ENDPOINT {} STATE = {state} AS TCP (LISTENER_PORT = {}, LISTENER_IP = {ip}) FOR {purpose}",
        quoted(name),
        bracketed(name),
        row.number("port")?.unwrap_or_default(),
    );
    if row.number("protocol")? != Some(TCP) || purpose == "?" {
        let why = "it is no endpoint over TCP for mirroring, Service Broker or T-SQL";
        return Ok(Item::by_hand(Part::Endpoints, "endpoint", name, batch, why));
    }
    Ok(Item::new(Part::Endpoints, "endpoint", name, batch))
}

/// Who may connect, and how what is said is encrypted. The views give `NEGOTIATE, CERTIFICATE` where the statement says
/// `WINDOWS NEGOTIATE CERTIFICATE [name]`.
fn terms(row: Row<'_>) -> Result<String, StepError> {
    let mut authentication = Vec::new();
    for way in row.text("authentication")?.unwrap_or("NEGOTIATE").split(", ") {
        authentication.push(match (way, row.text("certificate")?) {
            ("CERTIFICATE", Some(certificate)) => format!("CERTIFICATE {}", bracketed(certificate)),
            ("CERTIFICATE", None) => "CERTIFICATE [?]".to_owned(),
            (windows, _) => format!("WINDOWS {windows}"),
        });
    }
    let algorithms: Vec<&str> = row.text("algorithm")?.unwrap_or("AES").split(", ").collect();
    let ciphers: Vec<&str> = algorithms.iter().copied().filter(|algorithm| *algorithm != "NONE").collect();
    let encryption = if ciphers.is_empty() {
        "DISABLED".to_owned()
    } else {
        // Who may also come without encryption finds it supported.
        let required = row.flag("is_encrypted")? && ciphers.len() == algorithms.len();
        format!("{} ALGORITHM {}", if required { "REQUIRED" } else { "SUPPORTED" }, ciphers.join(" "))
    };
    Ok(format!("AUTHENTICATION = {}, ENCRYPTION = {encryption}", authentication.join(" ")))
}

/// What the server has and no script of ours makes. What a server does not know, or does not show this login, counts as none.
pub(super) async fn left_out(session: &Session) -> Vec<LeftOut> {
    let mut found = Vec::new();
    for (what, sql) in COUNTS {
        let doing = format!("counting the {what}");
        let counted = session.ask(&doing, sql).await.ok();
        let count = counted.and_then(|answer| answer.first().ok()?.number("n").ok()?);
        found.extend(count.filter(|count| *count > 0).map(|count| LeftOut { what: what.to_owned(), count }));
    }
    found
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use tiberius::ColumnData;

    use super::*;
    use crate::sqlserver::answer::{Answer, Column};

    #[test]
    fn the_terms_of_an_endpoint_are_those_of_the_statement() {
        let told = |authentication: &'static str, algorithm: &'static str, is_encrypted: bool| {
            let text = |text| ColumnData::String(Some(Cow::Borrowed(text)));
            let names = ["authentication", "algorithm", "is_encrypted", "certificate"];
            let mut answer = Answer::new(names.map(Column::named).into());
            answer.push(vec![
                text(authentication),
                text(algorithm),
                ColumnData::Bit(Some(is_encrypted)),
                text("c]1"),
            ]);
            terms(answer.first().unwrap()).unwrap()
        };
        for ((authentication, algorithm, is_encrypted), expected) in [
            (
                ("NEGOTIATE", "AES", true),
                "AUTHENTICATION = WINDOWS NEGOTIATE, ENCRYPTION = REQUIRED ALGORITHM AES",
            ),
            (
                ("CERTIFICATE, NTLM", "AES, RC4", true),
                "AUTHENTICATION = CERTIFICATE [c]]1] WINDOWS NTLM, ENCRYPTION = REQUIRED ALGORITHM AES RC4",
            ),
            (
                ("KERBEROS", "NONE, AES", true),
                "AUTHENTICATION = WINDOWS KERBEROS, ENCRYPTION = SUPPORTED ALGORITHM AES",
            ),
            (("KERBEROS", "NONE", false), "AUTHENTICATION = WINDOWS KERBEROS, ENCRYPTION = DISABLED"),
        ] {
            assert_eq!(told(authentication, algorithm, is_encrypted), expected);
        }
    }
}
