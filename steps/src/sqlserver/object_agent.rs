//! What SQL Server Agent does and whom it tells: categories, operators and jobs as [`Item`]s.

use drydock_step::StepError;
use indexmap::IndexMap;

use super::answer::{Answer, Row, present};
use super::object_batch::{Argument, Batch};
use super::object_logins::of_machine;
use super::object_script::{Item, Part};
use super::session::Session;
use super::sql::quoted;

/// Categories that somebody made: the server's own have numbers below 100.
const CATEGORIES: &str = "SELECT name, CAST(category_class AS int) AS class, CAST(category_type AS int) AS kind FROM msdb.dbo.syscategories \
    WHERE category_id >= 100 ORDER BY category_class, name";

const OPERATORS: &str = "SELECT o.name, CAST(o.enabled AS int) AS enabled, o.email_address, o.pager_address, \
    o.weekday_pager_start_time, o.weekday_pager_end_time, o.saturday_pager_start_time, o.saturday_pager_end_time, \
    o.sunday_pager_start_time, o.sunday_pager_end_time, CAST(o.pager_days AS int) AS pager_days, c.name AS category \
    FROM msdb.dbo.sysoperators AS o LEFT JOIN msdb.dbo.syscategories AS c ON c.category_id = o.category_id AND c.category_id >= 100 ORDER BY o.name";

/// Jobs of this server; those that a master server sends come from there again.
const JOBS: &str = "SELECT j.job_id, j.name, CAST(j.enabled AS int) AS enabled, j.description, j.start_step_id, c.name AS category, SUSER_SNAME(j.owner_sid) AS owner, \
    CAST(SERVERPROPERTY(N'MachineName') AS nvarchar(128)) AS machine, \
    j.notify_level_eventlog, j.notify_level_email, j.notify_level_page, e.name AS email_operator, p.name AS page_operator, j.delete_level \
    FROM msdb.dbo.sysjobs AS j LEFT JOIN msdb.dbo.syscategories AS c ON c.category_id = j.category_id \
    LEFT JOIN msdb.dbo.sysoperators AS e ON e.id = j.notify_email_operator_id LEFT JOIN msdb.dbo.sysoperators AS p ON p.id = j.notify_page_operator_id \
    WHERE j.originating_server_id = 0 ORDER BY j.name";

const STEPS: &str = "SELECT s.job_id, s.step_id, s.step_name, s.subsystem, s.command, s.flags, s.cmdexec_success_code, \
    CAST(s.on_success_action AS int) AS on_success_action, s.on_success_step_id, CAST(s.on_fail_action AS int) AS on_fail_action, s.on_fail_step_id, \
    s.server, s.database_name, s.database_user_name, s.retry_attempts, s.retry_interval, s.output_file_name, p.name AS proxy \
    FROM msdb.dbo.sysjobsteps AS s LEFT JOIN msdb.dbo.sysproxies AS p ON p.proxy_id = s.proxy_id ORDER BY s.job_id, s.step_id";

const SCHEDULES: &str = "SELECT j.job_id, s.name, s.enabled, s.freq_type, s.freq_interval, s.freq_subday_type, s.freq_subday_interval, \
    s.freq_relative_interval, s.freq_recurrence_factor, s.active_start_date, s.active_end_date, s.active_start_time, s.active_end_time \
    FROM msdb.dbo.sysjobschedules AS j JOIN msdb.dbo.sysschedules AS s ON s.schedule_id = j.schedule_id ORDER BY j.job_id, s.name, s.schedule_id";

/// Operators, with their categories.
///
/// # Errors
/// What the server says.
pub(super) async fn operators(session: &Session) -> Result<Vec<Item>, StepError> {
    let mut items = categories(session, Part::Operators).await?;
    for row in session.ask("asking for the operators of SQL Server Agent", OPERATORS).await?.rows() {
        let name = present(row.text("name")?, "name")?;
        let mut batch = Batch::new();
        let mut arguments = vec![
            ("name", Argument::text(Some(name))),
            ("enabled", Argument::Number(row.number("enabled")?)),
            ("email_address", Argument::text(row.text("email_address")?)),
            ("pager_address", Argument::text(row.text("pager_address")?)),
        ];
        for column in [
            "weekday_pager_start_time",
            "weekday_pager_end_time",
            "saturday_pager_start_time",
            "saturday_pager_end_time",
            "sunday_pager_start_time",
            "sunday_pager_end_time",
            "pager_days",
        ] {
            arguments.push((column, Argument::Number(row.number(column)?)));
        }
        arguments.push(("category_name", Argument::text(row.text("category")?)));
        batch.call("msdb.dbo.sp_add_operator", arguments);
        let absent =
            format!("IF NOT EXISTS (SELECT * FROM msdb.dbo.sysoperators WHERE name = {})", quoted(name));
        items.push(Item::new(Part::Operators, "operator", name, batch.whole(&absent)));
    }
    Ok(items)
}

/// Jobs, with their categories.
///
/// # Errors
/// What the server says.
pub(super) async fn jobs(session: &Session) -> Result<Vec<Item>, StepError> {
    let mut items = categories(session, Part::Jobs).await?;
    let (steps, schedules) = (
        session.ask("asking for the steps of the jobs", STEPS).await?,
        session.ask("asking for the schedules of the jobs", SCHEDULES).await?,
    );
    let (steps, schedules) = (by_job(&steps)?, by_job(&schedules)?);
    let mut enabling = Vec::new();
    for row in session.ask("asking for the jobs of SQL Server Agent", JOBS).await?.rows() {
        let (name, id) = (present(row.text("name")?, "name")?, present(row.guid("job_id")?, "job_id")?);
        let mut batch = Batch::new();
        add_job(row, name, &mut batch)?;
        for step in steps.get(id.as_str()).into_iter().flatten() {
            add_step(*step, name, &mut batch)?;
        }
        let start = row.number("start_step_id")?.filter(|start| *start > 1);
        if start.is_some() {
            let arguments =
                vec![("job_name", Argument::text(Some(name))), ("start_step_id", Argument::Number(start))];
            batch.call("msdb.dbo.sp_update_job", arguments);
        }
        for schedule in schedules.get(id.as_str()).into_iter().flatten() {
            add_schedule(*schedule, name, &mut batch)?;
        }
        let here =
            vec![("job_name", Argument::text(Some(name))), ("server_name", Argument::text(Some("(local)")))];
        batch.call("msdb.dbo.sp_add_jobserver", here);
        let absent = format!("IF NOT EXISTS (SELECT * FROM msdb.dbo.sysjobs WHERE name = {})", quoted(name));
        let text = batch.whole(&absent);
        let by_hand = match row.text("owner")? {
            None => Some("its owner is no login any more: name one in @owner_login_name"),
            Some(owner) if of_machine(owner, row.text("machine")?) => {
                Some("its owner is an account of one machine: name another in @owner_login_name")
            }
            Some(_) => None,
        };
        let item = Item::new(Part::Jobs, "job", name, text);
        items.push(Item { by_hand: by_hand.map(str::to_owned), ..item });
        if row.number("enabled")? == Some(1) {
            let mut batch = Batch::new();
            let arguments =
                vec![("job_name", Argument::text(Some(name))), ("enabled", Argument::Number(Some(1)))];
            batch.call("msdb.dbo.sp_update_job", arguments);
            let by_hand = by_hand.map(|_| "the job has to be made by hand before".to_owned());
            enabling.push(Item { by_hand, ..Item::new(Part::Jobs, ENABLED, name, batch.always()) });
        }
    }
    items.extend(enabling);
    Ok(items)
}

/// What the item is that lets a job run at its times.
pub(super) const ENABLED: &str = "enabled job";

async fn categories(session: &Session, part: Part) -> Result<Vec<Item>, StepError> {
    let mut items = Vec::new();
    for row in session.ask("asking for the categories of SQL Server Agent", CATEGORIES).await?.rows() {
        let (name, class) = (present(row.text("name")?, "name")?, row.number("class")?);
        let (of, class_word) = match class {
            Some(1) => (Part::Jobs, "JOB"),
            Some(3) => (Part::Operators, "OPERATOR"),
            _ => continue,
        };
        if of != part {
            continue;
        }
        let kind = match row.number("kind")? {
            Some(2) => "MULTI-SERVER",
            Some(3) => "NONE",
            _ => "LOCAL",
        };
        let mut batch = Batch::new();
        let arguments = [("class", class_word), ("type", kind), ("name", name)]
            .map(|(name, text)| (name, Argument::text(Some(text))));
        batch.call("msdb.dbo.sp_add_category", arguments.into());
        let absent = format!(
            "IF NOT EXISTS (SELECT * FROM msdb.dbo.syscategories WHERE category_class = {} AND name = {})",
            class.unwrap_or_default(),
            quoted(name)
        );
        items.push(Item::new(part, "category", name, batch.whole(&absent)));
    }
    Ok(items)
}

fn by_job(answer: &Answer) -> Result<IndexMap<String, Vec<Row<'_>>>, StepError> {
    let mut found: IndexMap<String, Vec<Row<'_>>> = IndexMap::new();
    for row in answer.rows() {
        let job = present(row.guid("job_id")?, "job_id")?;
        found.entry(job.as_str().to_owned()).or_default().push(row);
    }
    Ok(found)
}

/// A job as it is made: disabled. A copy that runs at its times beside the original takes the backups of two.
fn add_job(row: Row<'_>, name: &str, batch: &mut Batch) -> Result<(), StepError> {
    let owner = row.text("owner")?.unwrap_or("?");
    let arguments = vec![
        ("job_name", Argument::text(Some(name))),
        ("enabled", Argument::Number(Some(0))),
        ("description", Argument::text(row.text("description")?)),
        ("category_name", Argument::text(row.text("category")?)),
        ("owner_login_name", Argument::text(Some(owner))),
        ("notify_level_eventlog", Argument::Number(row.number("notify_level_eventlog")?)),
        ("notify_level_email", Argument::Number(row.number("notify_level_email")?)),
        ("notify_level_page", Argument::Number(row.number("notify_level_page")?)),
        ("notify_email_operator_name", Argument::text(row.text("email_operator")?)),
        ("notify_page_operator_name", Argument::text(row.text("page_operator")?)),
        ("delete_level", Argument::Number(row.number("delete_level")?)),
    ];
    batch.call("msdb.dbo.sp_add_job", arguments);
    Ok(())
}

fn add_step(row: Row<'_>, job: &str, batch: &mut Batch) -> Result<(), StepError> {
    let arguments = vec![
        ("job_name", Argument::text(Some(job))),
        ("step_id", Argument::Number(row.number("step_id")?)),
        ("step_name", Argument::text(row.text("step_name")?)),
        ("subsystem", Argument::text(row.text("subsystem")?)),
        ("command", Argument::text(row.text("command")?)),
        ("cmdexec_success_code", Argument::Number(row.number("cmdexec_success_code")?)),
        ("on_success_action", Argument::Number(row.number("on_success_action")?)),
        ("on_success_step_id", Argument::Number(row.number("on_success_step_id")?)),
        ("on_fail_action", Argument::Number(row.number("on_fail_action")?)),
        ("on_fail_step_id", Argument::Number(row.number("on_fail_step_id")?)),
        ("server", Argument::text(row.text("server")?)),
        ("database_name", Argument::text(row.text("database_name")?)),
        ("database_user_name", Argument::text(row.text("database_user_name")?)),
        ("retry_attempts", Argument::Number(row.number("retry_attempts")?)),
        ("retry_interval", Argument::Number(row.number("retry_interval")?)),
        ("output_file_name", Argument::text(row.text("output_file_name")?)),
        ("flags", Argument::Number(row.number("flags")?)),
        ("proxy_name", Argument::text(row.text("proxy")?)),
    ];
    batch.call("msdb.dbo.sp_add_jobstep", arguments);
    Ok(())
}

fn add_schedule(row: Row<'_>, job: &str, batch: &mut Batch) -> Result<(), StepError> {
    let mut arguments =
        vec![("job_name", Argument::text(Some(job))), ("name", Argument::text(row.text("name")?))];
    for column in [
        "enabled",
        "freq_type",
        "freq_interval",
        "freq_subday_type",
        "freq_subday_interval",
        "freq_relative_interval",
        "freq_recurrence_factor",
        "active_start_date",
        "active_end_date",
        "active_start_time",
        "active_end_time",
    ] {
        arguments.push((column, Argument::Number(row.number(column)?)));
    }
    batch.call("msdb.dbo.sp_add_jobschedule", arguments);
    Ok(())
}
