//! Who somebody is and what they may do: logins, users, roles and rights, with the numbers of the refusals, and SQL Server Agent's tables.
//!
//! With `DRYDOCK_TEST_SQLSERVER`, an ADO connection string of an administrator, the same statements are sent to that server. Logins, a role,
//! a job, an operator and a linked server whose names begin with `dd_`, and a database `dd_people`, are made there and dropped again.

mod sqlserver_support;

use sqlserver_support::{Conn, Subject, error_of, one, rows, run};

const CLEAN: &str = "IF DB_ID(N'dd_people') IS NOT NULL DROP DATABASE [dd_people];
IF EXISTS (SELECT 1 FROM msdb.dbo.sysjobs WHERE name = N'dd_job') EXEC msdb.dbo.sp_delete_job @job_name = N'dd_job';
IF EXISTS (SELECT 1 FROM msdb.dbo.sysoperators WHERE name = N'dd_operator') EXEC msdb.dbo.sp_delete_operator @name = N'dd_operator';
IF EXISTS (SELECT 1 FROM sys.servers WHERE name = N'dd_linked') EXEC sp_dropserver N'dd_linked', N'droplogins';
IF SUSER_ID(N'dd_app') IS NOT NULL AND IS_SRVROLEMEMBER(N'dd_role', N'dd_app') = 1 ALTER SERVER ROLE [dd_role] DROP MEMBER [dd_app];
IF SUSER_ID(N'dd_role') IS NOT NULL DROP SERVER ROLE [dd_role];
IF SUSER_ID(N'dd_app') IS NOT NULL DROP LOGIN [dd_app];
IF SUSER_ID(N'dd_other') IS NOT NULL DROP LOGIN [dd_other];
IF SUSER_ID(N'dd_third') IS NOT NULL DROP LOGIN [dd_third]";

async fn ground() -> (Subject, Conn) {
    let subject = Subject::new().await;
    let mut conn = subject.connect().await;
    run(&mut conn, CLEAN).await;
    run(&mut conn, "CREATE LOGIN [dd_app] WITH PASSWORD = N'Harbour-7', CHECK_POLICY = OFF").await;
    run(&mut conn, "CREATE DATABASE dd_people").await;
    run(&mut conn, "CREATE TABLE dd_people.dbo.t (id int NOT NULL); INSERT INTO dd_people.dbo.t VALUES (1)")
        .await;
    (subject, conn)
}

/// The error of a statement that the login `dd_app` sends; 0 when it succeeds.
async fn as_app(conn: &mut Conn, sql: &str) -> u32 {
    run(conn, "EXECUTE AS LOGIN = N'dd_app'").await;
    let error = match conn.simple_query(sql).await {
        Ok(stream) => stream.into_results().await.err().map(|error| error.code().unwrap_or(u32::MAX)),
        Err(error) => Some(error.code().unwrap_or(u32::MAX)),
    };
    // A batch that went into a database comes out again.
    run(conn, "REVERT").await;
    run(conn, "USE master").await;
    error.unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_keep_their_sids_and_hashes() {
    let (_subject, mut conn) = ground().await;
    let kept = rows(
        &mut conn,
        "SELECT CONVERT(nvarchar(200), l.sid, 1), CONVERT(nvarchar(200), l.password_hash, 1), DATALENGTH(l.password_hash), l.is_policy_checked \
         FROM sys.sql_logins AS l WHERE l.name = N'dd_app'",
    )
    .await;
    let (sid, hash) = (&kept[0][0], &kept[0][1]);
    assert_eq!((kept[0][2].as_str(), kept[0][3].as_str(), &hash[..6]), ("70", "0", "0x0200"));
    let again =
        format!("CREATE LOGIN [dd_other] WITH PASSWORD = {hash} HASHED, SID = {sid}, CHECK_POLICY = OFF");
    assert_eq!(error_of(&mut conn, &again).await, 15_433, "the SID is in use");
    run(&mut conn, "DROP DATABASE dd_people; DROP LOGIN [dd_app]").await;
    run(&mut conn, &again).await;
    let found = "SELECT CONVERT(nvarchar(200), SUSER_SID(N'dd_other'), 1)";
    assert_eq!(&one(&mut conn, found).await, sid);
    assert_eq!(&one(&mut conn, &format!("SELECT SUSER_SNAME({sid})")).await, "dd_other");
    for (sql, expected) in [
        ("CREATE LOGIN [dd_other] WITH PASSWORD = N'x', CHECK_POLICY = OFF", 15_025),
        ("ALTER LOGIN [dd_nobody] DISABLE", 15_151),
        ("DROP LOGIN [dd_nobody]", 15_151),
        (
            "CREATE LOGIN [dd_third] WITH PASSWORD = N'x', CHECK_POLICY = OFF, DEFAULT_DATABASE = [dd_nowhere]",
            15_010,
        ),
    ] {
        assert_eq!(error_of(&mut conn, sql).await, expected, "{sql}");
    }
    run(&mut conn, "CREATE SERVER ROLE [dd_role]; ALTER SERVER ROLE [dd_role] ADD MEMBER [dd_other]; GRANT VIEW SERVER STATE TO [dd_role]").await;
    let member = "SELECT r.name FROM sys.server_role_members AS x JOIN sys.server_principals AS r ON r.principal_id = x.role_principal_id \
                  JOIN sys.server_principals AS m ON m.principal_id = x.member_principal_id WHERE m.name = N'dd_other'";
    assert_eq!(one(&mut conn, member).await, "dd_role");
    let right = "SELECT p.class_desc, p.type, p.permission_name, p.state_desc FROM sys.server_permissions AS p \
                 JOIN sys.server_principals AS g ON g.principal_id = p.grantee_principal_id WHERE g.name IN (N'dd_role', N'dd_other') ORDER BY p.permission_name";
    assert_eq!(
        rows(&mut conn, right).await,
        [["SERVER", "COSQ", "CONNECT SQL", "GRANT"], ["SERVER", "VWSS", "VIEW SERVER STATE", "GRANT"]]
    );
    assert_eq!(error_of(&mut conn, "DROP SERVER ROLE [dd_role]").await, 15_144, "it has a member");
    run(&mut conn, "ALTER SERVER ROLE [dd_role] DROP MEMBER [dd_other]; DROP SERVER ROLE [dd_role]; DROP LOGIN [dd_other]").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_enters_and_does_what_it_may() {
    let (_subject, mut conn) = ground().await;
    assert_eq!(as_app(&mut conn, "USE dd_people").await, 916, "it has no user");
    assert_eq!(as_app(&mut conn, "SELECT id FROM dd_people.dbo.t").await, 916);
    run(&mut conn, "USE dd_people; CREATE USER [dd_app]; USE master").await;
    assert_eq!(as_app(&mut conn, "USE dd_people").await, 0);
    assert_eq!(as_app(&mut conn, "SELECT id FROM dd_people.dbo.t").await, 229);
    run(&mut conn, "USE dd_people; GRANT SELECT ON dbo.t TO [dd_app]; USE master").await;
    assert_eq!(as_app(&mut conn, "SELECT id FROM dd_people.dbo.t").await, 0);
    assert_eq!(as_app(&mut conn, "INSERT INTO dd_people.dbo.t VALUES (2)").await, 229);
    run(&mut conn, "USE dd_people; ALTER ROLE [db_datawriter] ADD MEMBER [dd_app]; USE master").await;
    assert_eq!(as_app(&mut conn, "INSERT INTO dd_people.dbo.t VALUES (2)").await, 0);
    run(&mut conn, "USE dd_people; DENY INSERT ON SCHEMA::dbo TO [dd_app]; USE master").await;
    assert_eq!(
        as_app(&mut conn, "INSERT INTO dd_people.dbo.t VALUES (3)").await,
        229,
        "a denial counts more"
    );
    for (sql, expected) in [
        ("CREATE TABLE dd_people.dbo.u (id int)", 262),
        ("BACKUP DATABASE dd_people TO DISK = N'dd_people.bak'", 262),
        ("CREATE DATABASE dd_made", 262),
        ("CREATE LOGIN [dd_third] WITH PASSWORD = N'x', CHECK_POLICY = OFF", 15_247),
        ("EXECUTE AS LOGIN = N'sa'", 15_406),
        ("CREATE CERTIFICATE dd_cert WITH SUBJECT = 'x'", 15_247),
        ("CREATE CREDENTIAL dd_cred WITH IDENTITY = 'x', SECRET = 'y'", 15_247),
        ("RESTORE HEADERONLY FROM DISK = N'dd_none.bak'", 262),
    ] {
        assert_eq!(as_app(&mut conn, sql).await, expected, "{sql}");
    }
    run(&mut conn, "USE dd_people; ALTER ROLE [db_backupoperator] ADD MEMBER [dd_app]; USE master").await;
    assert_eq!(
        as_app(&mut conn, "BACKUP DATABASE dd_people TO DISK = N'dd_people.bak' WITH FORMAT").await,
        0
    );
    for (sql, expected) in [
        ("USE dd_people; CREATE USER [dd_app]", 15_023),
        ("USE dd_people; CREATE USER [dd_twin] FOR LOGIN [dd_app]", 15_063),
        ("USE dd_people; CREATE USER [dd_nobody] FOR LOGIN [dd_nobody]", 15_007),
        ("USE dd_people; ALTER USER [dd_nobody] WITH LOGIN = [dd_app]", 15_151),
        ("ALTER AUTHORIZATION ON DATABASE::dd_people TO [dd_app]", 15_110),
        ("ALTER DATABASE dd_people SET COMPATIBILITY_LEVEL = 155", 15_048),
    ] {
        assert_eq!(error_of(&mut conn, sql).await, expected, "{sql}");
        run(&mut conn, "USE master").await;
    }
    run(&mut conn, "DROP DATABASE dd_people; DROP LOGIN [dd_app]").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_travels_with_its_database_and_finds_its_login_again() {
    let (_subject, mut conn) = ground().await;
    run(&mut conn, "USE dd_people; CREATE USER [dd_app]; GRANT SELECT TO [dd_app]; CREATE USER [dd_inner] WITHOUT LOGIN; USE master").await;
    run(&mut conn, "BACKUP DATABASE dd_people TO DISK = N'dd_people.bak' WITH FORMAT").await;
    run(&mut conn, "DROP DATABASE dd_people; DROP LOGIN [dd_app]; CREATE LOGIN [dd_app] WITH PASSWORD = N'Harbour-8', CHECK_POLICY = OFF").await;
    run(&mut conn, "RESTORE DATABASE dd_people FROM DISK = N'dd_people.bak'").await;
    let orphans = "SELECT u.name, u.authentication_type_desc FROM dd_people.sys.database_principals AS u LEFT JOIN sys.server_principals AS s ON s.sid = u.sid \
                   WHERE u.authentication_type_desc = N'INSTANCE' AND u.principal_id > 4 AND s.sid IS NULL";
    assert_eq!(rows(&mut conn, orphans).await, [["dd_app", "INSTANCE"]]);
    assert_eq!(as_app(&mut conn, "SELECT id FROM dd_people.dbo.t").await, 916);
    run(&mut conn, "USE dd_people; ALTER USER [dd_app] WITH LOGIN = [dd_app]; USE master").await;
    assert_eq!(rows(&mut conn, orphans).await, Vec::<Vec<String>>::new());
    assert_eq!(as_app(&mut conn, "SELECT id FROM dd_people.dbo.t").await, 0, "its rights came with it");
    run(&mut conn, "DROP DATABASE dd_people; DROP LOGIN [dd_app]").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_linked_servers_and_options_say_what_is_wrong() {
    let (_subject, mut conn) = ground().await;
    run(&mut conn, "EXEC msdb.dbo.sp_add_operator @name = N'dd_operator'").await;
    run(&mut conn, "EXEC msdb.dbo.sp_add_job @job_name = N'dd_job', @owner_login_name = N'dd_app'").await;
    run(
        &mut conn,
        "EXEC msdb.dbo.sp_add_jobstep @job_name = N'dd_job', @step_name = N'one', @command = N'SELECT 1'",
    )
    .await;
    run(&mut conn, "EXEC sp_addlinkedserver @server = N'dd_linked', @srvproduct = N'', @provider = N'MSOLEDBSQL', @datasrc = N'x'").await;
    let step = "SELECT s.step_id, s.subsystem, s.command, SUSER_SNAME(j.owner_sid) FROM msdb.dbo.sysjobs AS j \
                JOIN msdb.dbo.sysjobsteps AS s ON s.job_id = j.job_id WHERE j.name = N'dd_job'";
    assert_eq!(rows(&mut conn, step).await, [["1", "TSQL", "SELECT 1", "dd_app"]]);
    for (sql, expected) in [
        ("EXEC msdb.dbo.sp_add_operator @name = N'dd_operator'", 14_261),
        ("EXEC msdb.dbo.sp_add_job @job_name = N'dd_job'", 14_261),
        ("EXEC msdb.dbo.sp_add_job @job_name = N'dd_job2', @owner_login_name = N'dd_nobody'", 14_234),
        ("EXEC msdb.dbo.sp_add_job @job_name = N'dd_job2', @category_name = N'dd_none'", 14_262),
        ("EXEC msdb.dbo.sp_add_jobstep @job_name = N'dd_none', @step_name = N'x'", 14_262),
        (
            "EXEC sp_addlinkedserver @server = N'dd_linked', @srvproduct = N'', @provider = N'MSOLEDBSQL'",
            15_028,
        ),
        ("EXEC sp_serveroption N'dd_none', N'rpc', N'true'", 15_015),
        (
            "BEGIN TRANSACTION; EXEC sp_addlinkedserver @server = N'dd_more', @srvproduct = N'', @provider = N'MSOLEDBSQL'; ROLLBACK",
            15_002,
        ),
        ("EXEC sp_configure 'no such option', 1", 15_123),
        ("EXEC sp_configure 'clr enabled', 7", 15_129),
        ("BEGIN TRANSACTION; RECONFIGURE; ROLLBACK", 574),
    ] {
        assert_eq!(error_of(&mut conn, sql).await, expected, "{sql}");
        run(&mut conn, "IF @@TRANCOUNT > 0 ROLLBACK").await;
    }
    // A job that is rolled back was never there.
    run(&mut conn, "BEGIN TRANSACTION; EXEC msdb.dbo.sp_add_job @job_name = N'dd_job2'; ROLLBACK").await;
    assert_eq!(one(&mut conn, "SELECT COUNT(*) FROM msdb.dbo.sysjobs WHERE name = N'dd_job2'").await, "0");
    run(&mut conn, CLEAN).await;
}
