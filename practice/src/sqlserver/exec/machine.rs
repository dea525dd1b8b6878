//! How the server is set up: sp_configure, linked servers, endpoints, and the views of them. Main function: [`call`].

use super::given::Given;
use super::halt::Done;
use super::output::Output;
use super::session::Session;
use super::view_rows::{Row, bit, text};
use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::statement::EndpointChange;
use crate::sqlserver::sql_type::{SqlType, Width};
use crate::sqlserver::store::functions::compare;
use crate::sqlserver::store::functions::shown;
use crate::sqlserver::store::instance::same_name;
use crate::sqlserver::store::machine::{BUILT_IN, Endpoint, Linked, Machine, OPTIONS, SHOWS};
use crate::sqlserver::tds::tokens::{Column, Command};
use crate::sqlserver::value::Value;

/// The first number of an endpoint that somebody made.
const FIRST_ENDPOINT: i64 = 65_536;

/// Options of a linked server, with what they are at first, in the order of `sys.servers`.
const SERVER_OPTIONS: [(&str, &str); 10] = [
    ("connect timeout", "0"),
    ("query timeout", "0"),
    ("rpc", "false"),
    ("rpc out", "false"),
    ("data access", "true"),
    ("collation compatible", "false"),
    ("use remote collation", "true"),
    ("collation name", ""),
    ("lazy schema validation", "false"),
    ("remote proc transaction promotion", "true"),
];

/// Calls a procedure; `None` when there is none of that name here.
///
/// # Errors
/// What the procedure raises.
pub fn call(session: &mut Session, name: &str, given: &[Given], out: &mut Output) -> Done<Option<i64>> {
    let argument = |name: &str, at: usize| -> Option<String> {
        let by_name = given.iter().find(|argument| argument.name == name);
        let found = by_name.or_else(|| given.get(at).filter(|argument| argument.name.is_empty()));
        let (value, ty) = &found?.value;
        (*value != Value::Null).then(|| shown(value, *ty))
    };
    match name.to_lowercase().as_str() {
        "sp_configure" => configure(session, argument("@configname", 0), argument("@configvalue", 1), out)?,
        "sp_addlinkedserver" => {
            let said = ["@srvproduct", "@provider", "@datasrc", "@location", "@provstr", "@catalog"];
            let said: Vec<Option<String>> =
                said.iter().zip(1..).map(|(name, at)| argument(name, at)).collect();
            add_linked(session, argument("@server", 0), said)?;
        }
        "sp_serveroption" => {
            let option = argument("@optname", 1).unwrap_or_default().to_lowercase();
            set_option(
                session,
                argument("@server", 0),
                &option,
                argument("@optvalue", 2).unwrap_or_default(),
            )?;
        }
        "sp_addlinkedsrvlogin" => {
            let itself = argument("@useself", 1).is_none_or(|word| word.eq_ignore_ascii_case("true"));
            let local = argument("@locallogin", 2);
            if let Some(local) =
                local.as_deref().filter(|local| session.instance.catalog().login(local).is_none())
            {
                let text = format!("'{local}' is not a local user. Add the login first.");
                return Err(SqlError::new(15_067, text).into());
            }
            let login = (local, itself, argument("@rmtuser", 3));
            change_linked(session, argument("@rmtsrvname", 0), |linked| {
                linked.logins.retain(|own| own.0 != login.0);
                linked.logins.push(login);
            })?;
        }
        "sp_droplinkedsrvlogin" => {
            let local = argument("@locallogin", 1);
            change_linked(session, argument("@rmtsrvname", 0), |linked| {
                linked.logins.retain(|own| own.0 != local)
            })?;
        }
        "sp_dropserver" => {
            let name = argument("@server", 0);
            change_linked(session, name.clone(), |_| ())?;
            let mut catalog = session.instance.catalog();
            let name = name.unwrap_or_default();
            catalog.machine.linked.retain(|linked| !same_name(&linked.name, &name));
            session.instance.save(&catalog)?;
        }
        _ => return Ok(None),
    }
    Ok(Some(0))
}

fn configure(session: &Session, name: Option<String>, value: Option<String>, out: &mut Output) -> Done<()> {
    let mut catalog = session.instance.catalog();
    let shows = |machine: &Machine| machine.running.get(SHOWS).copied().unwrap_or(0) == 1;
    let all = shows(&catalog.machine);
    let seen = OPTIONS.iter().filter(|option| all || !option.is_advanced);
    let Some(name) = name else {
        let columns = [
            Column::new("name", SqlType::NVarChar(Width::Of(35))),
            Column::new("minimum", SqlType::Int),
            Column::new("maximum", SqlType::Int),
            Column::new("config_value", SqlType::Int),
            Column::new("run_value", SqlType::Int),
        ];
        let row = |option: &crate::sqlserver::store::machine::ConfigOption| {
            let (set, running) = catalog.machine.option(option);
            let numbers = [option.minimum, option.maximum, set, running].map(Value::Integer);
            [vec![text(option.name)], numbers.to_vec()].concat()
        };
        let mut rows: Vec<Row> = seen.map(row).collect();
        rows.sort_by(|a, b| compare(&shown(&a[0], SqlType::SYSNAME), &shown(&b[0], SqlType::SYSNAME)));
        out.rows(&columns, &rows, Command::Select)?;
        return Ok(());
    };
    let mut fitting = seen.filter(|option| option.name.to_lowercase().starts_with(&name.to_lowercase()));
    let exact =
        OPTIONS.iter().find(|option| (all || !option.is_advanced) && option.name.eq_ignore_ascii_case(&name));
    let Some(option) = exact.or_else(|| fitting.next().filter(|_| fitting.next().is_none())) else {
        let text =
            format!("The configuration option '{name}' does not exist, or it may be an advanced option.");
        return Err(SqlError::new(15_123, text).into());
    };
    let (before, _) = catalog.machine.option(option);
    let Some(value) = value else {
        return Err(SqlError::not_understood("sp_configure of one option without a value").into());
    };
    let value = value.parse::<i64>().ok().filter(|value| (option.minimum..=option.maximum).contains(value));
    let Some(value) = value else {
        let text = format!("Value is not valid for configuration option '{}'.", option.name);
        return Err(SqlError::new(15_129, text).into());
    };
    catalog.machine.configured.insert(option.name.to_owned(), value);
    session.instance.save(&catalog)?;
    let text = format!(
        "Configuration option '{}' changed from {before} to {value}. Run the RECONFIGURE statement to install.",
        option.name
    );
    out.message(&SqlError::new(15_457, text).class(0));
    Ok(())
}

/// RECONFIGURE.
///
/// # Errors
/// 574 inside a transaction.
pub fn reconfigure(session: &Session) -> Done<()> {
    if session.transaction.depth > 0 {
        return Err(SqlError::new(574, "CONFIG statement cannot be used inside a user transaction.").into());
    }
    let mut catalog = session.instance.catalog();
    catalog.machine.reconfigure();
    Ok(session.instance.save(&catalog)?)
}

fn add_linked(session: &Session, name: Option<String>, said: Vec<Option<String>>) -> Done<()> {
    let Some(name) = name else {
        let text =
            "Procedure or function 'sp_addlinkedserver' expects parameter '@server', which was not supplied.";
        return Err(SqlError::new(201, text).state(4).into());
    };
    if session.transaction.depth > 0 {
        let text = "The procedure 'sys.sp_addlinkedserver' cannot be executed within a transaction.";
        return Err(SqlError::new(15_002, text).into());
    }
    let (product, others) =
        said.split_first().map_or((None, &[][..]), |(product, others)| (product.clone(), others));
    let is_own = product.as_deref() == Some("SQL Server");
    if is_own && others.iter().any(Option::is_some) {
        let text = "You cannot specify a provider or any properties for product 'SQL Server'.";
        return Err(SqlError::new(15_428, text).into());
    }
    if !is_own && others.first().is_none_or(Option::is_none) {
        let text = "You must specify a provider name with this set of properties.";
        return Err(SqlError::new(15_426, text).into());
    }
    let mut said = said;
    if is_own {
        said = vec![product, Some("SQLNCLI".to_owned()), Some(name.clone()), None, None, None];
    }
    let mut catalog = session.instance.catalog();
    if catalog.machine.linked.iter().any(|linked| same_name(&linked.name, &name)) {
        return Err(SqlError::new(15_028, format!("The server '{name}' already exists.")).into());
    }
    let id = catalog.machine.linked.iter().map(|linked| linked.id + 1).max().unwrap_or(1);
    let logins = vec![(None, true, None)];
    catalog.machine.linked.push(Linked {
        id,
        name,
        said,
        options: std::collections::BTreeMap::new(),
        logins,
    });
    Ok(session.instance.save(&catalog)?)
}

fn change_linked(session: &Session, name: Option<String>, change: impl FnOnce(&mut Linked)) -> Done<()> {
    let name = name.unwrap_or_default();
    let mut catalog = session.instance.catalog();
    let Some(linked) = catalog.machine.linked.iter_mut().find(|linked| same_name(&linked.name, &name)) else {
        let text =
            format!("The server '{name}' does not exist. Use sp_helpserver to show available servers.");
        return Err(SqlError::new(15_015, text).into());
    };
    change(linked);
    Ok(session.instance.save(&catalog)?)
}

fn set_option(session: &Session, name: Option<String>, option: &str, value: String) -> Done<()> {
    if !SERVER_OPTIONS.iter().any(|(known, _)| *known == option) {
        return Err(SqlError::new(
            15_600,
            "An invalid parameter or option was specified for procedure 'sys.sp_serveroption'.",
        )
        .into());
    }
    let value = match value.to_lowercase().as_str() {
        "on" => "true".to_owned(),
        "off" => "false".to_owned(),
        word @ ("true" | "false") => word.to_owned(),
        _ => value,
    };
    change_linked(session, name, |linked| {
        linked.options.insert(option.to_owned(), value);
    })
}

/// CREATE, ALTER and DROP ENDPOINT.
///
/// # Errors
/// 7801 for a name that is taken, 15151 for one that is not there.
pub fn endpoint(session: &Session, change: &EndpointChange) -> Done<()> {
    let mut catalog = session.instance.catalog();
    let endpoints = &mut catalog.machine.endpoints;
    let missing = |what: &str, name: &str| {
        let text = format!(
            "Cannot {what} the endpoint '{name}', because it does not exist or you do not have permission."
        );
        SqlError::new(15_151, text)
    };
    match change {
        EndpointChange::Create(made) => {
            if endpoints.iter().any(|own| same_name(&own.name, &made.name)) {
                let text = format!("An endpoint with the name '{}' already exists.", made.name);
                return Err(SqlError::new(15_223, text).into());
            }
            let id = endpoints.iter().map(|own| own.id + 1).max().unwrap_or(FIRST_ENDPOINT);
            endpoints.push(Endpoint { id, ..made.clone() });
        }
        EndpointChange::State(name, state) => {
            let own = endpoints.iter_mut().find(|own| same_name(&own.name, name));
            own.ok_or_else(|| missing("alter", name))?.state = *state;
        }
        EndpointChange::Drop(name) => {
            let at = endpoints.iter().position(|own| same_name(&own.name, name));
            endpoints.remove(at.ok_or_else(|| missing("drop", name))?);
        }
    }
    Ok(session.instance.save(&catalog)?)
}

fn maybe(value: Option<&str>) -> Value {
    value.map_or(Value::Null, text)
}

/// `sys.configurations`.
pub(super) fn configurations(session: &Session) -> Vec<Row> {
    let catalog = session.instance.catalog();
    let row = |option: &crate::sqlserver::store::machine::ConfigOption| {
        let (set, running) = catalog.machine.option(option);
        vec![
            Value::Integer(option.id),
            text(option.name),
            Value::Integer(set),
            Value::Integer(option.minimum),
            Value::Integer(option.maximum),
            Value::Integer(running),
            text(option.name),
            bit(option.is_dynamic),
            bit(option.is_advanced),
        ]
    };
    OPTIONS.iter().map(row).collect()
}

/// `sys.servers`.
pub(super) fn servers(session: &Session) -> Vec<Row> {
    let catalog = session.instance.catalog();
    let itself = &session.instance.setup.server_name;
    let row = |id: i64, name: &str, said: &[Option<String>], linked: Option<&Linked>| {
        let option = |at: usize| {
            let (option, first) = SERVER_OPTIONS[at];
            linked.and_then(|linked| linked.options.get(option)).cloned().unwrap_or_else(|| first.to_owned())
        };
        let flag = |at: usize| bit(option(at) == "true");
        let number = |at: usize| Value::Integer(option(at).parse().unwrap_or(0));
        let said = |at: usize| maybe(said.get(at).and_then(Option::as_deref));
        let collation = option(7);
        vec![
            Value::Integer(id),
            text(name),
            said(0),
            said(1),
            said(2),
            said(3),
            said(4),
            said(5),
            number(0),
            number(1),
            bit(linked.is_some()),
            flag(2),
            flag(3),
            flag(4),
            flag(5),
            flag(6),
            if collation.is_empty() { Value::Null } else { text(&collation) },
            flag(8),
            bit(false),
            flag(9),
        ]
    };
    let own = vec![Some("SQL Server".to_owned()), Some("SQLNCLI".to_owned()), Some(itself.clone())];
    let mut rows = vec![row(0, itself, &own, None)];
    rows.extend(
        catalog.machine.linked.iter().map(|linked| row(linked.id, &linked.name, &linked.said, Some(linked))),
    );
    rows
}

/// `sys.linked_logins`; `principal` gives the number of a login.
pub(super) fn linked_logins(session: &Session) -> Vec<Row> {
    let catalog = session.instance.catalog();
    let mut rows = vec![vec![Value::Integer(0), Value::Integer(0), bit(true), Value::Null]];
    for linked in &catalog.machine.linked {
        for (local, itself, remote) in &linked.logins {
            let principal = local.as_deref().map_or(0, |local| catalog.principal_id(local).unwrap_or(-1));
            let row = [
                Value::Integer(linked.id),
                Value::Integer(principal),
                bit(*itself),
                maybe(remote.as_deref()),
            ];
            rows.push(row.to_vec());
        }
    }
    rows
}

/// The name of an endpoint's purpose.
const fn purpose(kind: i64) -> &'static str {
    match kind {
        3 => "SERVICE_BROKER",
        4 => "DATABASE_MIRRORING",
        _ => "TSQL",
    }
}

/// `sys.endpoints`, with those that every server has.
pub(super) fn endpoints(session: &Session) -> Vec<Row> {
    let row = |id: i64,
               name: &str,
               (protocol, protocol_name): (i64, &str),
               kind: i64,
               state: i64,
               is_admin: bool| {
        let states = ["STARTED", "STOPPED", "DISABLED"];
        let state_name =
            usize::try_from(state).ok().and_then(|at| states.get(at)).copied().unwrap_or("STARTED");
        vec![
            text(name),
            Value::Integer(id),
            Value::Integer(1),
            Value::Integer(protocol),
            text(protocol_name),
            Value::Integer(kind),
            text(purpose(kind)),
            Value::Integer(state),
            text(state_name),
            bit(is_admin),
        ]
    };
    let tcp = (2, "TCP");
    let built_in =
        BUILT_IN.iter().map(|(id, name, protocol, is_admin)| row(*id, name, *protocol, 2, 0, *is_admin));
    let mut rows: Vec<Row> = built_in.collect();
    let catalog = session.instance.catalog();
    rows.extend(
        catalog.machine.endpoints.iter().map(|own| row(own.id, &own.name, tcp, own.kind, own.state, false)),
    );
    rows
}

/// `sys.tcp_endpoints`.
pub(super) fn tcp_endpoints(session: &Session) -> Vec<Row> {
    let row = |own: &Endpoint| {
        vec![
            text(&own.name),
            Value::Integer(own.id),
            Value::Integer(own.port),
            bit(false),
            maybe(own.ip.as_deref()),
        ]
    };
    session.instance.catalog().machine.endpoints.iter().map(row).collect()
}

/// `sys.database_mirroring_endpoints` (4) and `sys.service_broker_endpoints` (3).
pub(super) fn terms(session: &Session, kind: i64) -> Vec<Row> {
    let catalog = session.instance.catalog();
    let row = |own: &Endpoint| {
        let certificate = own.certificate.as_ref().and_then(|name| {
            catalog.secured.certificates.iter().find(|certificate| same_name(&certificate.name, name))
        });
        let mut row = vec![text(&own.name), Value::Integer(own.id)];
        if kind == 4 {
            row.push(own.role.map_or(Value::Null, Value::Integer));
        }
        row.extend([
            bit(own.is_encrypted),
            maybe(own.authentication.as_deref()),
            Value::Integer(certificate.map_or(0, |certificate| i64::from(certificate.id))),
            maybe(own.algorithm.as_deref()),
        ]);
        row
    };
    catalog.machine.endpoints.iter().filter(|own| own.kind == kind).map(row).collect()
}
