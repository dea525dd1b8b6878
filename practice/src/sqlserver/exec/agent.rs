//! SQL Server Agent's tables in msdb and the procedures that fill them. Main function: [`call`].

use super::given::Given;
use super::halt::Done;
use super::output::Output;
use super::session::Session;
use crate::sqlserver::error::SqlError;
use crate::sqlserver::sql_type::parse_text;
use crate::sqlserver::value::Value;

/// The tables in T-SQL.
pub const TABLES: &str = "
CREATE TABLE dbo.syscategories (category_id int IDENTITY(100, 1) PRIMARY KEY, category_class int NOT NULL, category_type tinyint NOT NULL, name nvarchar(128) NOT NULL);
CREATE TABLE dbo.sysoperators (id int IDENTITY PRIMARY KEY, name nvarchar(128) NOT NULL, enabled tinyint NOT NULL, email_address nvarchar(100),
  last_email_date int NOT NULL, last_email_time int NOT NULL, pager_address nvarchar(100), weekday_pager_start_time int NOT NULL,
  weekday_pager_end_time int NOT NULL, saturday_pager_start_time int NOT NULL, saturday_pager_end_time int NOT NULL,
  sunday_pager_start_time int NOT NULL, sunday_pager_end_time int NOT NULL, pager_days tinyint NOT NULL, category_id int NOT NULL);
CREATE TABLE dbo.sysproxies (proxy_id int IDENTITY PRIMARY KEY, name nvarchar(128) NOT NULL, credential_id int NOT NULL, enabled tinyint NOT NULL);
CREATE TABLE dbo.sysalerts (id int IDENTITY PRIMARY KEY, name nvarchar(128) NOT NULL, message_id int NOT NULL, severity int NOT NULL, enabled tinyint NOT NULL);
CREATE TABLE dbo.sysmail_profile (profile_id int IDENTITY PRIMARY KEY, name nvarchar(128) NOT NULL, description nvarchar(256));
CREATE TABLE dbo.sysjobs (job_id uniqueidentifier PRIMARY KEY, originating_server_id int NOT NULL, name nvarchar(128) NOT NULL, enabled tinyint NOT NULL,
  description nvarchar(512), start_step_id int NOT NULL, category_id int NOT NULL, owner_sid varbinary(85) NOT NULL, notify_level_eventlog int NOT NULL,
  notify_level_email int NOT NULL, notify_level_netsend int NOT NULL, notify_level_page int NOT NULL, notify_email_operator_id int NOT NULL,
  notify_netsend_operator_id int NOT NULL, notify_page_operator_id int NOT NULL, delete_level int NOT NULL, date_created datetime NOT NULL,
  date_modified datetime NOT NULL, version_number int NOT NULL);
CREATE TABLE dbo.sysjobsteps (job_id uniqueidentifier NOT NULL, step_id int NOT NULL, step_name nvarchar(128) NOT NULL, subsystem nvarchar(40) NOT NULL,
  command nvarchar(max), flags int NOT NULL, additional_parameters nvarchar(max), cmdexec_success_code int NOT NULL, on_success_action tinyint NOT NULL,
  on_success_step_id int NOT NULL, on_fail_action tinyint NOT NULL, on_fail_step_id int NOT NULL, server nvarchar(128), database_name nvarchar(128),
  database_user_name nvarchar(128), retry_attempts int NOT NULL, retry_interval int NOT NULL, os_run_priority int NOT NULL,
  output_file_name nvarchar(200), proxy_id int, step_uid uniqueidentifier);
CREATE TABLE dbo.sysschedules (schedule_id int IDENTITY PRIMARY KEY, schedule_uid uniqueidentifier NOT NULL, name nvarchar(128) NOT NULL, enabled int NOT NULL,
  freq_type int NOT NULL, freq_interval int NOT NULL, freq_subday_type int NOT NULL, freq_subday_interval int NOT NULL, freq_relative_interval int NOT NULL,
  freq_recurrence_factor int NOT NULL, active_start_date int NOT NULL, active_end_date int NOT NULL, active_start_time int NOT NULL, active_end_time int NOT NULL);
CREATE TABLE dbo.sysjobschedules (schedule_id int NOT NULL, job_id uniqueidentifier NOT NULL, next_run_date int NOT NULL, next_run_time int NOT NULL);
CREATE TABLE dbo.sysjobservers (job_id uniqueidentifier NOT NULL, server_id int NOT NULL);
SET IDENTITY_INSERT dbo.syscategories ON;
INSERT INTO dbo.syscategories (category_id, category_class, category_type, name) VALUES (0, 1, 1, N'[Uncategorized (Local)]'), (3, 1, 1, N'Database Maintenance'),
  (98, 2, 3, N'[Uncategorized]'), (99, 3, 3, N'[Uncategorized]');
SET IDENTITY_INSERT dbo.syscategories OFF;
";

/// A procedure: its parameters as `@name type` with `!` where one must be given, or its default behind `=`; and what it does. It sets
/// `@failed` to the number and the words of an error.
struct Procedure {
    name: &'static str,
    parameters: &'static str,
    body: &'static str,
}

/// Finds the job, by its id or its name.
const JOB: &str = "
IF @job_id IS NULL SET @job_id = (SELECT job_id FROM msdb.dbo.sysjobs WHERE name = @job_name);
IF NOT EXISTS (SELECT 1 FROM msdb.dbo.sysjobs WHERE job_id = @job_id)
BEGIN SET @failed = CONCAT(N'14262 The specified @job_name (''', @job_name, N''') does not exist.'); RETURN; END
";

const PROCEDURES: &[Procedure] = &[
    Procedure {
        name: "sp_add_category",
        parameters: "@class varchar(8) = JOB; @type varchar(12) = LOCAL; @name nvarchar(128)!",
        body: "
DECLARE @of int = CASE @class WHEN 'JOB' THEN 1 WHEN 'ALERT' THEN 2 WHEN 'OPERATOR' THEN 3 END;
DECLARE @kind int = CASE @type WHEN 'LOCAL' THEN 1 WHEN 'MULTI-SERVER' THEN 2 WHEN 'NONE' THEN 3 END;
IF @of IS NULL OR @kind IS NULL BEGIN SET @failed = N'14266 The specified ''@class'' or ''@type'' is invalid.'; RETURN; END
IF EXISTS (SELECT 1 FROM msdb.dbo.syscategories WHERE category_class = @of AND name = @name)
BEGIN SET @failed = CONCAT(N'14261 The specified @name (''', @name, N''') already exists.'); RETURN; END
INSERT INTO msdb.dbo.syscategories (category_class, category_type, name) VALUES (@of, @kind, @name);",
    },
    Procedure {
        name: "sp_add_operator",
        parameters: "@name nvarchar(128)!; @enabled tinyint = 1; @email_address nvarchar(100); @pager_address nvarchar(100); \
            @weekday_pager_start_time int = 90000; @weekday_pager_end_time int = 180000; @saturday_pager_start_time int = 90000; \
            @saturday_pager_end_time int = 180000; @sunday_pager_start_time int = 90000; @sunday_pager_end_time int = 180000; \
            @pager_days tinyint = 0; @category_name nvarchar(128)",
        body: "
IF EXISTS (SELECT 1 FROM msdb.dbo.sysoperators WHERE name = @name)
BEGIN SET @failed = CONCAT(N'14261 The specified @name (''', @name, N''') already exists.'); RETURN; END
DECLARE @category int = 99;
IF @category_name IS NOT NULL SET @category = (SELECT category_id FROM msdb.dbo.syscategories WHERE category_class = 3 AND name = @category_name);
IF @category IS NULL BEGIN SET @failed = CONCAT(N'14262 The specified @category_name (''', @category_name, N''') does not exist.'); RETURN; END
INSERT INTO msdb.dbo.sysoperators (name, enabled, email_address, last_email_date, last_email_time, pager_address, weekday_pager_start_time,
  weekday_pager_end_time, saturday_pager_start_time, saturday_pager_end_time, sunday_pager_start_time, sunday_pager_end_time, pager_days, category_id)
VALUES (@name, @enabled, @email_address, 0, 0, @pager_address, @weekday_pager_start_time, @weekday_pager_end_time, @saturday_pager_start_time,
  @saturday_pager_end_time, @sunday_pager_start_time, @sunday_pager_end_time, @pager_days, @category);",
    },
    Procedure {
        name: "sp_delete_operator",
        parameters: "@name nvarchar(128)!",
        body: "
IF NOT EXISTS (SELECT 1 FROM msdb.dbo.sysoperators WHERE name = @name)
BEGIN SET @failed = CONCAT(N'14262 The specified @name (''', @name, N''') does not exist.'); RETURN; END
DELETE FROM msdb.dbo.sysoperators WHERE name = @name;",
    },
    Procedure {
        name: "sp_add_job",
        parameters: "@job_name nvarchar(128)!; @enabled tinyint = 1; @description nvarchar(512) = No description available.; @start_step_id int = 1; \
            @category_name nvarchar(128); @owner_login_name nvarchar(128); @notify_level_eventlog int = 0; @notify_level_email int = 0; \
            @notify_level_page int = 0; @notify_email_operator_name nvarchar(128); @notify_page_operator_name nvarchar(128); @delete_level int = 0",
        body: "
IF EXISTS (SELECT 1 FROM msdb.dbo.sysjobs WHERE name = @job_name)
BEGIN SET @failed = CONCAT(N'14261 The specified @job_name (''', @job_name, N''') already exists.'); RETURN; END
DECLARE @owner varbinary(85) = SUSER_SID(@owner_login_name);
IF @owner_login_name IS NULL SET @owner = SUSER_SID();
IF @owner IS NULL BEGIN SET @failed = N'14234 The specified ''@owner_login_name'' is invalid (valid values are returned by sp_helplogins [excluding Windows NT groups]).'; RETURN; END
DECLARE @category int = 0;
IF @category_name IS NOT NULL SET @category = (SELECT category_id FROM msdb.dbo.syscategories WHERE category_class = 1 AND name = @category_name);
IF @category IS NULL BEGIN SET @failed = CONCAT(N'14262 The specified @category_name (''', @category_name, N''') does not exist.'); RETURN; END
DECLARE @email int = 0; DECLARE @page int = 0;
IF @notify_email_operator_name IS NOT NULL SET @email = (SELECT id FROM msdb.dbo.sysoperators WHERE name = @notify_email_operator_name);
IF @notify_page_operator_name IS NOT NULL SET @page = (SELECT id FROM msdb.dbo.sysoperators WHERE name = @notify_page_operator_name);
IF @email IS NULL OR @page IS NULL BEGIN SET @failed = N'14234 The specified ''@notify_email_operator_name'' is invalid (valid values are returned by sp_help_operator).'; RETURN; END
INSERT INTO msdb.dbo.sysjobs (job_id, originating_server_id, name, enabled, description, start_step_id, category_id, owner_sid, notify_level_eventlog,
  notify_level_email, notify_level_netsend, notify_level_page, notify_email_operator_id, notify_netsend_operator_id, notify_page_operator_id, delete_level,
  date_created, date_modified, version_number)
VALUES (NEWID(), 0, @job_name, @enabled, @description, @start_step_id, @category, @owner, @notify_level_eventlog, @notify_level_email, 0,
  @notify_level_page, @email, 0, @page, @delete_level, GETDATE(), GETDATE(), 1);",
    },
    Procedure {
        name: "sp_add_jobstep",
        parameters: "@job_id uniqueidentifier; @job_name nvarchar(128); @step_id int; @step_name nvarchar(128)!; @subsystem nvarchar(40) = TSQL; \
            @command nvarchar(max); @cmdexec_success_code int = 0; @on_success_action tinyint = 1; @on_success_step_id int = 0; \
            @on_fail_action tinyint = 2; @on_fail_step_id int = 0; @server nvarchar(128); @database_name nvarchar(128); \
            @database_user_name nvarchar(128); @retry_attempts int = 0; @retry_interval int = 0; @output_file_name nvarchar(200); @flags int = 0; \
            @proxy_name nvarchar(128)",
        body: "
IF @step_id IS NULL SET @step_id = (SELECT COUNT(*) FROM msdb.dbo.sysjobsteps WHERE job_id = @job_id) + 1;
IF EXISTS (SELECT 1 FROM msdb.dbo.sysjobsteps WHERE job_id = @job_id AND step_name = @step_name)
BEGIN SET @failed = CONCAT(N'14261 The specified @step_name (''', @step_name, N''') already exists.'); RETURN; END
DECLARE @proxy int;
IF @proxy_name IS NOT NULL
BEGIN
  SET @proxy = (SELECT proxy_id FROM msdb.dbo.sysproxies WHERE name = @proxy_name);
  IF @proxy IS NULL BEGIN SET @failed = CONCAT(N'14262 The specified @proxy_name (''', @proxy_name, N''') does not exist.'); RETURN; END
END
INSERT INTO msdb.dbo.sysjobsteps (job_id, step_id, step_name, subsystem, command, flags, cmdexec_success_code, on_success_action, on_success_step_id,
  on_fail_action, on_fail_step_id, server, database_name, database_user_name, retry_attempts, retry_interval, os_run_priority, output_file_name, proxy_id, step_uid)
VALUES (@job_id, @step_id, @step_name, @subsystem, @command, @flags, @cmdexec_success_code, @on_success_action, @on_success_step_id, @on_fail_action,
  @on_fail_step_id, @server, @database_name, @database_user_name, @retry_attempts, @retry_interval, 0, @output_file_name, @proxy, NEWID());",
    },
    Procedure {
        name: "sp_update_job",
        parameters: "@job_id uniqueidentifier; @job_name nvarchar(128); @enabled tinyint; @start_step_id int; @description nvarchar(512)",
        body: "
UPDATE msdb.dbo.sysjobs SET enabled = COALESCE(@enabled, enabled), start_step_id = COALESCE(@start_step_id, start_step_id),
  description = COALESCE(@description, description), version_number = version_number + 1 WHERE job_id = @job_id;",
    },
    Procedure {
        name: "sp_add_jobschedule",
        parameters: "@job_id uniqueidentifier; @job_name nvarchar(128); @name nvarchar(128)!; @enabled tinyint = 1; @freq_type int = 1; @freq_interval int = 0; \
            @freq_subday_type int = 0; @freq_subday_interval int = 0; @freq_relative_interval int = 0; @freq_recurrence_factor int = 0; \
            @active_start_date int = 20000101; @active_end_date int = 99991231; @active_start_time int = 0; @active_end_time int = 235959",
        body: "
INSERT INTO msdb.dbo.sysschedules (schedule_uid, name, enabled, freq_type, freq_interval, freq_subday_type, freq_subday_interval, freq_relative_interval,
  freq_recurrence_factor, active_start_date, active_end_date, active_start_time, active_end_time)
VALUES (NEWID(), @name, @enabled, @freq_type, @freq_interval, @freq_subday_type, @freq_subday_interval, @freq_relative_interval, @freq_recurrence_factor,
  @active_start_date, @active_end_date, @active_start_time, @active_end_time);
INSERT INTO msdb.dbo.sysjobschedules (schedule_id, job_id, next_run_date, next_run_time) VALUES ((SELECT MAX(schedule_id) FROM msdb.dbo.sysschedules), @job_id, 0, 0);",
    },
    Procedure {
        name: "sp_add_jobserver",
        parameters: "@job_id uniqueidentifier; @job_name nvarchar(128); @server_name nvarchar(128) = (local)",
        body: "
IF EXISTS (SELECT 1 FROM msdb.dbo.sysjobservers WHERE job_id = @job_id)
BEGIN SET @failed = CONCAT(N'14269 Job ''', @job_name, N''' is already targeted at server ''', @server_name, N'''.'); RETURN; END
INSERT INTO msdb.dbo.sysjobservers (job_id, server_id) VALUES (@job_id, 0);",
    },
    Procedure {
        name: "sp_delete_job",
        parameters: "@job_id uniqueidentifier; @job_name nvarchar(128); @delete_unused_schedule bit = 1",
        body: "
DELETE FROM msdb.dbo.sysschedules WHERE schedule_id IN (SELECT schedule_id FROM msdb.dbo.sysjobschedules WHERE job_id = @job_id);
DELETE FROM msdb.dbo.sysjobschedules WHERE job_id = @job_id;
DELETE FROM msdb.dbo.sysjobservers WHERE job_id = @job_id;
DELETE FROM msdb.dbo.sysjobsteps WHERE job_id = @job_id;
DELETE FROM msdb.dbo.sysjobs WHERE job_id = @job_id;",
    },
];

/// Calls a procedure of SQL Server Agent; `None` when there is none of that name.
///
/// # Errors
/// 201 for a parameter that is missing, 8145 for one that is not there, and what the procedure raises.
pub fn call(session: &mut Session, name: &str, given: &[Given]) -> Done<Option<i64>> {
    let Some(procedure) = PROCEDURES.iter().find(|own| own.name.eq_ignore_ascii_case(name)) else {
        return Ok(None);
    };
    let mut variables = vec![("@failed".to_owned(), (Value::Null, parse_text("nvarchar(max)")?))];
    let mut names = Vec::new();
    for (at, parameter) in procedure.parameters.split(';').enumerate() {
        let (declared, default) = match parameter.trim().split_once(" = ") {
            Some((declared, default)) => (declared, Some(default)),
            None => (parameter.trim(), None),
        };
        let (name, ty) = declared.split_once(' ').unwrap_or((declared, "int"));
        let ty_of = parse_text(ty.trim_end_matches('!'))?;
        names.push(name.to_owned());
        let by_name = given.iter().find(|argument| argument.name == name);
        let found = by_name.or_else(|| given.get(at).filter(|argument| argument.name.is_empty()));
        let value = match (found, default) {
            (Some(argument), _) => {
                let (value, from) = argument.value.clone();
                session.converted(value, from, ty_of)?
            }
            (None, Some(default)) => {
                session.converted(Value::Text(default.to_owned()), parse_text("nvarchar(max)")?, ty_of)?
            }
            (None, None) if ty.ends_with('!') => {
                let text = format!(
                    "Procedure or function '{}' expects parameter '{name}', which was not supplied.",
                    procedure.name
                );
                return Err(SqlError::new(201, text).state(4).into());
            }
            (None, None) => Value::Null,
        };
        variables.push((name.to_owned(), (value, ty_of)));
    }
    if let Some(other) =
        given.iter().find(|argument| !argument.name.is_empty() && !names.contains(&argument.name))
    {
        let text = format!("{} is not a parameter for procedure {}.", other.name, procedure.name);
        return Err(SqlError::new(8145, text).into());
    }
    let of_job = names.iter().any(|name| name == "@job_id");
    let body = format!("{}{}", if of_job { JOB } else { "" }, procedure.body);
    let before = std::mem::replace(&mut session.variables, variables.into_iter().collect());
    // What it does is not answered statement by statement.
    let mut silent = Output::new(None, "", true);
    let done = session.run_text(&body, &mut silent);
    let failed = session.variables.get("@failed").map(|(value, _)| value.clone());
    session.variables = before;
    done?;
    if let Some(error) = silent.first_error {
        return Err(error.into());
    }
    match failed {
        Some(Value::Text(failed)) => {
            let (number, text) = failed.split_once(' ').unwrap_or(("50000", &failed));
            Err(SqlError::new(number.parse().unwrap_or(50_000), text).into())
        }
        _ => Ok(Some(0)),
    }
}
