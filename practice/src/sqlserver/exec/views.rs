//! The server's views of its own state. Main function: [`find`].

use super::session::Session;
use super::tables::alias;
use super::view_rows::{
    Row, argument, certificates, credentials, database_name, databases, date, enumerated, file_exists, files,
    guid, host, int, locks, master_key, recovery_status, requests, sessions, text, volumes, with_nulls,
};
use super::{logins, machine};
use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::statement::ObjectName;
use crate::sqlserver::query::compiler::literal;
use crate::sqlserver::query::names::{Field, Table};
use crate::sqlserver::sql_type::parse_text;
use crate::sqlserver::store::database::Database;
use crate::sqlserver::store::functions::compare;
use crate::sqlserver::store::installation::names;
use crate::sqlserver::store::record::quoted;
use crate::sqlserver::store::sessions::SessionEntry;
use crate::sqlserver::value::Value;

/// Where a view's rows come from.
enum Rows {
    /// From the server's state.
    State(fn(&Session) -> Vec<Row>),
    /// From the tables of the database it is asked in; `{d}` stands for its alias.
    Stored(&'static str),
    /// From a query that is made up for the database.
    Made(fn(&Session, u32) -> Result<String, SqlError>),
    /// From a function's arguments.
    Arguments(fn(&Session, &[Value]) -> Vec<Row>),
}

/// A view: its name with its schema, its columns, its rows.
struct View {
    name: &'static str,
    /// `name type` with `!` after the type when it cannot be NULL, separated by `;`.
    columns: &'static str,
    rows: Rows,
    /// For a function that is joined, what its arguments are compared with.
    keys: &'static [&'static str],
}

const fn view(name: &'static str, columns: &'static str, rows: Rows) -> View {
    View { name, columns, rows, keys: &[] }
}

const VIEWS: &[View] = &[
    view(
        "sys.databases",
        "name sysname!; database_id int!; source_database_id int; owner_sid varbinary(85); create_date datetime!; \
         compatibility_level tinyint!; collation_name nvarchar(128); user_access tinyint; user_access_desc nvarchar(60); \
         is_read_only bit; is_auto_close_on bit!; is_auto_shrink_on bit; state tinyint; state_desc nvarchar(60); \
         is_in_standby bit; snapshot_isolation_state tinyint; is_read_committed_snapshot_on bit; recovery_model tinyint; \
         recovery_model_desc nvarchar(60); page_verify_option tinyint; page_verify_option_desc nvarchar(60); \
         is_published bit!; is_broker_enabled bit!; is_cdc_enabled bit!; is_encrypted bit; is_trustworthy_on bit; \
         log_reuse_wait tinyint; log_reuse_wait_desc nvarchar(60); replica_id uniqueidentifier; group_database_id uniqueidentifier; service_broker_guid uniqueidentifier!",
        Rows::State(databases),
    ),
    view(
        "sys.master_files",
        "database_id int!; file_id int!; file_guid uniqueidentifier; type tinyint!; type_desc nvarchar(60); data_space_id int!; \
         name sysname!; physical_name nvarchar(260)!; state tinyint; state_desc nvarchar(60); size int!; max_size int!; growth int!; \
         is_read_only bit!; create_lsn numeric(25,0); redo_start_lsn numeric(25,0); redo_start_fork_guid uniqueidentifier; \
         redo_target_lsn numeric(25,0); redo_target_fork_guid uniqueidentifier; differential_base_lsn numeric(25,0); \
         differential_base_guid uniqueidentifier; differential_base_time datetime; backup_lsn numeric(25,0)",
        Rows::State(|session| files(session, None)),
    ),
    view(
        "sys.database_files",
        "file_id int!; file_guid uniqueidentifier; type tinyint!; type_desc nvarchar(60); data_space_id int!; name sysname!; \
         physical_name nvarchar(260); state tinyint; state_desc nvarchar(60); size int!; max_size int!; growth int!; is_read_only bit!; \
         create_lsn numeric(25,0); redo_start_lsn numeric(25,0); redo_start_fork_guid uniqueidentifier; \
         redo_target_lsn numeric(25,0); redo_target_fork_guid uniqueidentifier; differential_base_lsn numeric(25,0); \
         differential_base_guid uniqueidentifier; differential_base_time datetime; backup_lsn numeric(25,0)",
        Rows::State(|session| {
            files(session, Some(session.current)).into_iter().map(|row| row[1..].to_vec()).collect()
        }),
    ),
    view(
        "sys.database_recovery_status",
        "database_id int!; database_guid uniqueidentifier; family_guid uniqueidentifier; last_log_backup_lsn numeric(25,0); \
         recovery_fork_guid uniqueidentifier; first_recovery_fork_guid uniqueidentifier; fork_point_lsn numeric(25,0)",
        Rows::State(recovery_status),
    ),
    view(
        "sys.database_mirroring",
        "database_id int!; mirroring_guid uniqueidentifier; mirroring_state tinyint; mirroring_role tinyint; mirroring_role_desc nvarchar(60)",
        Rows::State(|session| {
            let installation = session.instance.setup.installation();
            let row = |database: &Database| {
                let mirrored = names(&installation.mirrored, &database.name).then(|| guid(database.family));
                with_nulls(vec![int(database.id), mirrored.unwrap_or(Value::Null)], 5)
            };
            session.instance.catalog().databases.values().map(row).collect()
        }),
    ),
    view(
        "sys.dm_exec_sessions",
        "session_id smallint!; login_time datetime!; host_name nvarchar(128); program_name nvarchar(128); host_process_id int; \
         client_interface_name nvarchar(32); login_name nvarchar(128)!; status nvarchar(30)!; database_id smallint!; \
         open_transaction_count int!; is_user_process bit!; original_login_name nvarchar(128)!; lock_timeout int!; row_count bigint!",
        Rows::State(sessions),
    ),
    view(
        "sys.dm_exec_requests",
        "session_id smallint!; request_id int!; start_time datetime!; status nvarchar(30)!; command nvarchar(32)!; database_id smallint!; \
         blocking_session_id smallint; wait_type nvarchar(60); wait_time int!; wait_resource nvarchar(256)!; percent_complete real!; \
         estimated_completion_time bigint!; total_elapsed_time int!; cpu_time int!; open_transaction_count int!",
        Rows::State(requests),
    ),
    view(
        "sys.dm_exec_connections",
        "session_id int; connect_time datetime!; net_transport nvarchar(40)!; protocol_type nvarchar(40); encrypt_option nvarchar(40)!; \
         auth_scheme nvarchar(40)!; client_net_address varchar(48)",
        Rows::State(|session| {
            let catalog = session.instance.catalog();
            let row = |(id, entry): (&i16, &SessionEntry)| {
                let words = [text("TCP"), text("TSQL"), text("TRUE"), text("SQL"), text("127.0.0.1")];
                [vec![Value::Integer(i64::from(*id)), date(entry.since)], words.to_vec()].concat()
            };
            catalog.sessions.iter().map(row).collect()
        }),
    ),
    view(
        "sys.dm_tran_locks",
        "resource_type nvarchar(60)!; resource_subtype nvarchar(60)!; resource_database_id int!; resource_description nvarchar(256)!; \
         request_mode nvarchar(60)!; request_type nvarchar(60)!; request_status nvarchar(60)!; request_session_id int!; request_owner_type nvarchar(60)!",
        Rows::State(locks),
    ),
    view(
        "sys.server_principals",
        "name sysname!; principal_id int!; sid varbinary(85); type char(1)!; type_desc nvarchar(60); is_disabled bit; create_date datetime!; \
         modify_date datetime!; default_database_name sysname; default_language_name sysname; credential_id int; owning_principal_id int; \
         is_fixed_role bit!",
        Rows::State(logins::principals),
    ),
    view(
        "sys.sql_logins",
        "name sysname!; principal_id int!; sid varbinary(85); type char(1)!; type_desc nvarchar(60); is_disabled bit; create_date datetime!; \
         modify_date datetime!; default_database_name sysname; default_language_name sysname; credential_id int; is_policy_checked bit; \
         is_expiration_checked bit; password_hash varbinary(256)",
        Rows::State(logins::sql_logins),
    ),
    view(
        "sys.server_role_members",
        "role_principal_id int!; member_principal_id int!",
        Rows::State(logins::members),
    ),
    view("sys.server_permissions", PERMISSION_COLUMNS, Rows::State(logins::permissions)),
    view(
        "sys.database_principals",
        "name sysname!; principal_id int!; type char(1)!; type_desc nvarchar(60); default_schema_name sysname; create_date datetime!; \
         modify_date datetime!; owning_principal_id int; sid varbinary(85); is_fixed_role bit!; authentication_type int!; \
         authentication_type_desc nvarchar(60)",
        Rows::Stored(
            "SELECT name, principal_id, type, CASE type WHEN 'R' THEN 'DATABASE_ROLE' WHEN 'U' THEN 'WINDOWS_USER' ELSE 'SQL_USER' END, \
             schema, made, made, CASE type WHEN 'R' THEN 1 END, sid, principal_id >= 16384, \
             CASE WHEN authentication = 0 THEN 0 WHEN type = 'U' THEN 3 ELSE 1 END, \
             CASE WHEN authentication = 0 THEN 'NONE' WHEN type = 'U' THEN 'WINDOWS' ELSE 'INSTANCE' END FROM {d}.__principals",
        ),
    ),
    view(
        "sys.database_role_members",
        "role_principal_id int!; member_principal_id int!",
        Rows::Stored("SELECT role, member FROM {d}.__members"),
    ),
    view("sys.database_permissions", PERMISSION_COLUMNS, Rows::Made(permitted)),
    view(
        "sys.certificates",
        "name sysname!; certificate_id int!; principal_id int; pvt_key_encryption_type char(2)!; thumbprint varbinary(32)!; subject nvarchar(4000); expiry_date datetime; pvt_key_last_backup_date datetime",
        Rows::State(certificates),
    ),
    view(
        "sys.credentials",
        "credential_id int!; name sysname!; credential_identity nvarchar(4000)",
        Rows::State(credentials),
    ),
    view("sys.symmetric_keys", "name sysname!; symmetric_key_id int!", Rows::State(master_key)),
    view(
        "sys.dm_database_encryption_keys",
        "database_id int!; encryption_state int; key_algorithm nvarchar(32); encryptor_thumbprint varbinary(20); encryptor_type nvarchar(32)",
        Rows::State(|_| Vec::new()),
    ),
    view(
        "sys.dm_db_persisted_sku_features",
        "feature_name sysname; feature_id int",
        Rows::State(|session| {
            let features = session.instance.setup.installation().edition_features;
            (100..).zip(features).map(|(id, name)| vec![text(&name), Value::Integer(id)]).collect()
        }),
    ),
    view(
        "sys.backup_devices",
        "name sysname!; type tinyint; physical_name nvarchar(260)",
        Rows::State(|_| Vec::new()),
    ),
    view(
        "sys.configurations",
        "configuration_id int!; name nvarchar(35)!; value sql_variant; minimum sql_variant; maximum sql_variant; value_in_use sql_variant; \
         description nvarchar(255)!; is_dynamic bit!; is_advanced bit!",
        Rows::State(machine::configurations),
    ),
    view(
        "sys.servers",
        "server_id int!; name sysname!; product sysname; provider sysname; data_source nvarchar(4000); location nvarchar(4000); \
         provider_string nvarchar(4000); catalog sysname; connect_timeout int; query_timeout int; is_linked bit!; is_remote_login_enabled bit!; \
         is_rpc_out_enabled bit!; is_data_access_enabled bit!; is_collation_compatible bit!; uses_remote_collation bit!; collation_name sysname; \
         lazy_schema_validation bit!; is_system bit!; is_remote_proc_transaction_promotion_enabled bit",
        Rows::State(machine::servers),
    ),
    view(
        "sys.linked_logins",
        "server_id int!; local_principal_id int; uses_self_credential bit!; remote_name sysname",
        Rows::State(machine::linked_logins),
    ),
    view(
        "sys.endpoints",
        "name sysname!; endpoint_id int!; principal_id int; protocol tinyint!; protocol_desc nvarchar(60); type tinyint!; type_desc nvarchar(60); \
         state tinyint; state_desc nvarchar(60); is_admin_endpoint bit!",
        Rows::State(machine::endpoints),
    ),
    view(
        "sys.tcp_endpoints",
        "name sysname!; endpoint_id int!; port int!; is_dynamic_port bit!; ip_address nvarchar(45)",
        Rows::State(machine::tcp_endpoints),
    ),
    view(
        "sys.database_mirroring_endpoints",
        "name sysname!; endpoint_id int!; role tinyint; is_encryption_enabled bit!; connection_auth_desc nvarchar(60); certificate_id int!; \
         encryption_algorithm_desc nvarchar(60)",
        Rows::State(|session| machine::terms(session, 4)),
    ),
    view(
        "sys.service_broker_endpoints",
        "name sysname!; endpoint_id int!; is_encryption_enabled bit!; connection_auth_desc nvarchar(60); certificate_id int!; \
         encryption_algorithm_desc nvarchar(60)",
        Rows::State(|session| machine::terms(session, 3)),
    ),
    view(
        "sys.server_triggers",
        "name sysname!; object_id int!; is_ms_shipped bit!",
        Rows::State(|_| Vec::new()),
    ),
    view(
        "sys.messages",
        "message_id int!; language_id smallint!; severity tinyint; text nvarchar(2048)!",
        Rows::State(|_| Vec::new()),
    ),
    view(
        "sys.server_audits",
        "audit_id int!; name sysname!; is_state_enabled bit",
        Rows::State(|_| Vec::new()),
    ),
    view(
        "sys.server_event_sessions",
        "event_session_id int!; name sysname!",
        Rows::State(|_| vec![vec![Value::Integer(65_535), text("system_health")]]),
    ),
    view(
        "sys.resource_governor_resource_pools",
        "pool_id int!; name sysname!",
        Rows::State(|_| {
            [(1, "internal"), (2, "default")].map(|(id, name)| vec![Value::Integer(id), text(name)]).into()
        }),
    ),
    View {
        name: "sys.dm_os_volume_stats",
        columns: "database_id int; file_id int; volume_mount_point nvarchar(256); volume_id nvarchar(256); logical_volume_name nvarchar(256); \
                  file_system_type nvarchar(256); total_bytes bigint; available_bytes bigint",
        rows: Rows::State(volumes),
        keys: &["database_id", "file_id"],
    },
    view(
        "sys.dm_os_host_info",
        "host_platform nvarchar(256)!; host_distribution nvarchar(256)!; host_release nvarchar(256)!; host_service_pack_level nvarchar(256)!; \
         host_sku int; os_language_version int!; host_architecture nvarchar(256)!",
        Rows::State(host),
    ),
    view(
        "sys.dm_os_file_exists",
        "file_exists tinyint!; file_is_a_directory tinyint!; parent_directory_exists tinyint!",
        Rows::Arguments(|session, arguments| vec![file_exists(session, argument(arguments, 0))]),
    ),
    view(
        "sys.dm_os_enumerate_filesystem",
        "full_filesystem_path nvarchar(256); parent_directory nvarchar(256); file_or_directory_name nvarchar(256); level int; is_directory bit; \
         is_read_only bit; is_system bit; is_hidden bit; has_integrity_stream bit; is_temporary bit; is_sparse bit; \
         creation_time datetime2(7); last_access_time datetime2(7); last_write_time datetime2(7); size_in_bytes bigint",
        Rows::Arguments(enumerated),
    ),
    view(
        "sys.schemas",
        "name sysname!; schema_id int!; principal_id int",
        Rows::Stored("SELECT name, schema_id, 1 FROM {d}.__schemas"),
    ),
    view("sys.objects", OBJECT_COLUMNS, Rows::Stored(OBJECTS)),
    view("sys.all_objects", OBJECT_COLUMNS, Rows::Stored(OBJECTS)),
    view(
        "sys.tables",
        OBJECT_COLUMNS,
        Rows::Stored(
            "SELECT name, object_id, NULL, schema_id, 0, type, 'USER_TABLE', created, modified, 0 FROM {d}.__objects WHERE type = 'U '",
        ),
    ),
    view(
        "sys.columns",
        "object_id int!; name sysname; column_id int!; system_type_id tinyint!; user_type_id int!; max_length smallint!; precision tinyint!; \
         scale tinyint!; collation_name sysname; is_nullable bit; is_identity bit!; is_computed bit!; default_object_id int!",
        Rows::Stored(
            "SELECT object_id, name, column_id, 0, 0, 0, 0, 0, NULL, nullable, seed IS NOT NULL, 0, coalesce(default_id, 0) FROM {d}.__columns",
        ),
    ),
    view(
        "sys.indexes",
        "object_id int!; name sysname; index_id int!; type tinyint!; type_desc nvarchar(60); is_unique bit; is_primary_key bit; \
         is_unique_constraint bit; has_filter bit",
        Rows::Stored(
            "SELECT object_id, name, index_id, CASE index_id WHEN 1 THEN 1 ELSE 2 END, CASE index_id WHEN 1 THEN 'CLUSTERED' ELSE 'NONCLUSTERED' END, \
             is_unique, is_primary, constraint_id IS NOT NULL AND NOT is_primary, filter IS NOT NULL FROM {d}.__indexes \
             UNION ALL SELECT object_id, NULL, 0, 0, 'HEAP', 0, 0, 0, 0 FROM {d}.__objects o WHERE type = 'U ' AND NOT EXISTS \
             (SELECT 1 FROM {d}.__indexes i WHERE i.object_id = o.object_id AND i.index_id = 1)",
        ),
    ),
    view(
        "sys.default_constraints",
        "name sysname!; object_id int!; schema_id int!; parent_object_id int!; parent_column_id int!; type char(2)!; definition nvarchar(max)",
        Rows::Stored(
            "SELECT o.name, o.object_id, o.schema_id, o.parent, c.column_id, o.type, c.default_text FROM {d}.__objects o \
             JOIN {d}.__columns c ON c.default_id = o.object_id WHERE o.type = 'D '",
        ),
    ),
    view(
        "sys.foreign_keys",
        "name sysname!; object_id int!; schema_id int!; parent_object_id int!; type char(2)!; referenced_object_id int",
        Rows::Stored(
            "SELECT name, object_id, schema_id, parent, type, json_extract(detail, '$.referenced') FROM {d}.__objects WHERE type = 'F '",
        ),
    ),
    view(
        "sys.key_constraints",
        "name sysname!; object_id int!; schema_id int!; parent_object_id int!; type char(2)!",
        Rows::Stored(
            "SELECT name, object_id, schema_id, parent, type FROM {d}.__objects WHERE type IN ('PK', 'UQ')",
        ),
    ),
    view(
        "sys.dm_db_partition_stats",
        "partition_id bigint; object_id int!; index_id int!; partition_number int!; used_page_count bigint; reserved_page_count bigint; row_count bigint",
        Rows::Made(|session, database| {
            counted(session, database, "0, {o}, {i}, 1, 1, 1, (SELECT count(*) FROM {t})")
        }),
    ),
    view(
        "sys.partitions",
        "partition_id bigint!; object_id int!; index_id int!; partition_number int!; rows bigint",
        Rows::Made(|session, database| {
            counted(session, database, "0, {o}, {i}, 1, (SELECT count(*) FROM {t})")
        }),
    ),
    view(
        "INFORMATION_SCHEMA.TABLES",
        "TABLE_CATALOG nvarchar(128); TABLE_SCHEMA nvarchar(128); TABLE_NAME sysname!; TABLE_TYPE varchar(10)",
        Rows::Made(|session, database| {
            let d = alias(database);
            let name = database_name(session, database).replace('\'', "''");
            Ok(format!(
                "SELECT '{name}', s.name, o.name, 'BASE TABLE' FROM {d}.__objects o JOIN {d}.__schemas s USING (schema_id) WHERE o.type = 'U '"
            ))
        }),
    ),
    view(
        "INFORMATION_SCHEMA.COLUMNS",
        "TABLE_CATALOG nvarchar(128); TABLE_SCHEMA nvarchar(128); TABLE_NAME nvarchar(128)!; COLUMN_NAME sysname; ORDINAL_POSITION int; \
         COLUMN_DEFAULT nvarchar(4000); IS_NULLABLE varchar(3); DATA_TYPE nvarchar(128)",
        Rows::Made(|session, database| {
            let d = alias(database);
            let name = database_name(session, database).replace('\'', "''");
            Ok(format!(
                "SELECT '{name}', s.name, o.name, c.name, c.column_id, c.default_text, CASE c.nullable WHEN 0 THEN 'NO' ELSE 'YES' END, \
                 CASE instr(c.type, '(') WHEN 0 THEN c.type ELSE substr(c.type, 1, instr(c.type, '(') - 1) END FROM {d}.__columns c \
                 JOIN {d}.__objects o USING (object_id) JOIN {d}.__schemas s USING (schema_id)"
            ))
        }),
    ),
];

const PERMISSION_COLUMNS: &str = "class tinyint!; class_desc nvarchar(60); major_id int!; minor_id int!; grantee_principal_id int!; \
                                  grantor_principal_id int!; type char(4)!; permission_name nvarchar(128); state char(1)!; state_desc nvarchar(60)";

/// The rows of `sys.database_permissions`; the letters of a right are told by its name.
fn permitted(session: &Session, database: u32) -> Result<String, SqlError> {
    let d = alias(database);
    let mut codes = String::new();
    for row in session.all(&format!("SELECT DISTINCT right_name FROM {d}.__permissions"), &[])? {
        if let Some(Value::Text(right)) = row.first() {
            codes.push_str(&format!(" WHEN {} THEN '{}'", literal(right), logins::code(right)));
        }
    }
    let code = if codes.is_empty() { "''".to_owned() } else { format!("CASE right_name{codes} END") };
    Ok(format!(
        "SELECT class, CASE class WHEN 0 THEN 'DATABASE' WHEN 1 THEN 'OBJECT_OR_COLUMN' WHEN 3 THEN 'SCHEMA' WHEN 25 THEN 'CERTIFICATE' \
         ELSE 'DATABASE_PRINCIPAL' END, major, 0, grantee, 1, {code}, right_name, state, \
         CASE state WHEN 'D' THEN 'DENY' WHEN 'W' THEN 'GRANT_WITH_GRANT_OPTION' ELSE 'GRANT' END FROM {d}.__permissions"
    ))
}

const OBJECT_COLUMNS: &str = "name sysname!; object_id int!; principal_id int; schema_id int!; parent_object_id int!; type char(2); \
                              type_desc nvarchar(60); create_date datetime!; modify_date datetime!; is_ms_shipped bit!";
const OBJECTS: &str = "SELECT name, object_id, NULL, schema_id, coalesce(parent, 0), type, CASE type WHEN 'U ' THEN 'USER_TABLE' WHEN 'PK' THEN \
                       'PRIMARY_KEY_CONSTRAINT' WHEN 'UQ' THEN 'UNIQUE_CONSTRAINT' WHEN 'F ' THEN 'FOREIGN_KEY_CONSTRAINT' ELSE \
                       'DEFAULT_CONSTRAINT' END, created, modified, 0 FROM {d}.__objects";

/// The view of that name, filled; nothing when there is none.
///
/// # Errors
/// 229-like refusals never; SQLite's when it cannot be filled.
pub fn find(
    session: &mut Session,
    name: &ObjectName,
    arguments: Option<&[Value]>,
) -> Result<Option<Table>, SqlError> {
    let Some(schema) = &name.schema else { return Ok(None) };
    let full = format!("{schema}.{}", name.name);
    // Many scripts reach the procedures and views of the server through master's own schema.
    let Some(view) = VIEWS.iter().find(|view| compare(view.name, &full).is_eq()) else { return Ok(None) };
    let fields = fields(view.columns)?;
    let rows = match view.rows {
        Rows::State(rows) => rows(session),
        Rows::Arguments(rows) => match arguments {
            Some(arguments) => rows(session, arguments),
            None => {
                return Err(SqlError::new(
                    313,
                    format!(
                        "An insufficient number of arguments were supplied for the procedure or function {full}."
                    ),
                ));
            }
        },
        Rows::Stored(_) | Rows::Made(_) => {
            let database =
                super::tables::database_of(session, &ObjectName { name: String::new(), ..name.clone() })?;
            let select = match view.rows {
                Rows::Stored(select) => select.replace("{d}", &alias(database)),
                Rows::Made(make) => make(session, database)?,
                _ => String::new(),
            };
            let sql = format!("(SELECT {} WHERE 0 UNION ALL {select})", empty(&fields));
            let table = Table {
                sql,
                name: full,
                fields,
                database: (database != 0).then_some(database),
                keys: Vec::new(),
                writable: false,
            };
            return Ok(Some(table));
        }
    };
    let stored = filled(session, view, &fields, &rows)?;
    let mut sql = format!("main.{}", quoted(&stored));
    if let (Some(arguments), false) = (arguments, view.keys.is_empty()) {
        let matches: Vec<String> =
            view.keys.iter().zip(arguments).map(|(key, value)| format!("{key} = {}", shown(value))).collect();
        sql = format!("(SELECT * FROM {sql} WHERE {})", matches.join(" AND "));
    }
    Ok(Some(Table { sql, name: full, fields, database: None, keys: view.keys.to_vec(), writable: false }))
}

fn shown(value: &Value) -> String {
    match value {
        Value::Integer(number) => number.to_string(),
        _ => "NULL".to_owned(),
    }
}

fn empty(fields: &[Field]) -> String {
    let parts: Vec<String> =
        fields.iter().map(|field| format!("NULL COLLATE ci AS {}", quoted(&field.name))).collect();
    parts.join(", ")
}

fn fields(columns: &str) -> Result<Vec<Field>, SqlError> {
    let mut fields = Vec::new();
    for column in columns.split(';') {
        let (name, ty) =
            column.trim().split_once(' ').ok_or_else(|| SqlError::internal("a view's column has no type"))?;
        let nullable = !ty.ends_with('!');
        fields.push(Field::new(name, parse_text(ty.trim_end_matches('!').trim())?, nullable));
    }
    Ok(fields)
}

/// Fills a table of the session's own with a view's rows; its name.
fn filled(session: &Session, view: &View, fields: &[Field], rows: &[Row]) -> Result<String, SqlError> {
    let name = view.name.to_owned();
    let table = quoted(&name);
    let columns: Vec<String> =
        fields.iter().map(|field| format!("{} COLLATE ci", quoted(&field.name))).collect();
    let fill = || -> rusqlite::Result<()> {
        let connection = &session.connection;
        connection.execute_batch(&format!(
            "CREATE TABLE IF NOT EXISTS main.{table} ({}); DELETE FROM main.{table}",
            columns.join(", ")
        ))?;
        let holders = vec!["?"; fields.len()].join(", ");
        let mut insert =
            connection.prepare_cached(&format!("INSERT INTO main.{table} VALUES ({holders})"))?;
        rows.iter().try_for_each(|row| insert.execute(rusqlite::params_from_iter(row)).map(|_| ()))
    };
    fill().map_err(|error| super::halt::sql_error(&error))?;
    Ok(name)
}

/// A query over all tables of a database: `{o}` is the object, `{i}` the index, `{t}` the table.
fn counted(session: &Session, database: u32, columns: &str) -> Result<String, SqlError> {
    let d = alias(database);
    let sql = format!(
        "SELECT o.object_id, s.name || '.' || o.name, EXISTS (SELECT 1 FROM {d}.__indexes i WHERE i.object_id = o.object_id AND index_id = 1) \
         FROM {d}.__objects o JOIN {d}.__schemas s USING (schema_id) WHERE o.type = 'U '"
    );
    let mut parts = Vec::new();
    for row in session.all(&sql, &[])? {
        if let [Value::Integer(object), Value::Text(name), Value::Integer(clustered)] = row.as_slice() {
            let table = format!("{d}.{}", quoted(name));
            let columns = columns.replace("{o}", &object.to_string()).replace("{i}", &clustered.to_string());
            parts.push(format!("SELECT {}", columns.replace("{t}", &table)));
        }
    }
    if parts.is_empty() {
        let width = columns.split(", ").count();
        let nothing = vec!["NULL"; width].join(", ");
        return Ok(format!("SELECT {nothing} WHERE 0"));
    }
    Ok(parts.join(" UNION ALL "))
}
