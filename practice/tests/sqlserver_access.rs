//! Who may enter a database of the practice SQL Server, and who may replace it: logins, roles of the server, restricted access.

mod sqlserver_support;

use sqlserver_support::{Conn, World, connect, error_of, one, run};
use tiberius::AuthMethod;

/// A server with a database, and a login of each kind.
async fn world() -> (World, Conn) {
    let world = World::new().await;
    let mut conn = world.connect().await;
    run(&mut conn, "CREATE DATABASE shop; CREATE TABLE shop.dbo.t (id int NOT NULL)").await;
    for login in ["app", "maker", "boss"] {
        run(&mut conn, &format!("CREATE LOGIN [{login}] WITH PASSWORD = N'Quay-7', CHECK_POLICY = OFF"))
            .await;
    }
    run(
        &mut conn,
        "ALTER SERVER ROLE [dbcreator] ADD MEMBER [maker]; ALTER SERVER ROLE sysadmin ADD MEMBER boss",
    )
    .await;
    run(
        &mut conn,
        "USE shop; CREATE USER app FOR LOGIN app; CREATE USER maker; GRANT SELECT TO app; USE master",
    )
    .await;
    (world, conn)
}

async fn as_login(world: &World, login: &str, database: &str) -> Result<Conn, u32> {
    let mut config = world.config();
    config.authentication(AuthMethod::sql_server(login, "Quay-7"));
    config.database(database);
    connect(config).await.map_err(|error| error.code().unwrap_or(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restricted_database_lets_its_owner_and_administrators_in_alone() {
    let (world, mut conn) = world().await;
    let mut app = as_login(&world, "app", "shop").await.unwrap();
    assert_eq!(one(&mut app, "SELECT COUNT(*) FROM shop.dbo.t").await, "0");
    assert_eq!(
        error_of(&mut conn, "ALTER DATABASE shop SET RESTRICTED_USER WITH NO_WAIT").await,
        5061,
        "somebody is in it who may not be"
    );
    run(&mut conn, "ALTER DATABASE shop SET RESTRICTED_USER WITH ROLLBACK IMMEDIATE").await;
    assert!(app.simple_query("SELECT 1").await.is_err(), "who may not stay is ended");
    assert_eq!(as_login(&world, "app", "shop").await.err(), Some(4060));
    let mut app = as_login(&world, "app", "master").await.unwrap();
    assert_eq!(error_of(&mut app, "USE shop").await, 923);
    assert_eq!(error_of(&mut app, "SELECT id FROM shop.dbo.t").await, 923);
    for login in ["maker", "boss", "drydock"] {
        let entered = match login {
            "drydock" => connect(world.config()).await.map_err(|error| error.code().unwrap_or(0)),
            other => as_login(&world, other, "shop").await,
        };
        run(&mut entered.unwrap(), "USE shop").await;
    }
    run(&mut conn, "ALTER DATABASE shop SET MULTI_USER").await;
    assert!(as_login(&world, "app", "shop").await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_may_open_a_database_to_administrators_alone() {
    let (world, mut conn) = world().await;
    let full = world.media("full.bak");
    run(&mut conn, &format!("BACKUP DATABASE shop TO DISK = {full}")).await;
    run(&mut conn, &format!("RESTORE DATABASE shop FROM DISK = {full} WITH NORECOVERY, REPLACE")).await;
    run(&mut conn, "RESTORE DATABASE shop WITH RECOVERY, RESTRICTED_USER").await;
    let access = "SELECT user_access_desc FROM sys.databases WHERE name = N'shop'";
    assert_eq!(one(&mut conn, access).await, "RESTRICTED_USER");
    assert_eq!(as_login(&world, "app", "shop").await.err(), Some(4060));
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_over_databases_are_those_of_the_roles() {
    let (world, mut conn) = world().await;
    let full = world.media("full.bak");
    run(&mut conn, &format!("BACKUP DATABASE shop TO DISK = {full}")).await;
    let mut app = as_login(&world, "app", "master").await.unwrap();
    let move_to = |name: &str| {
        let path = world.dir.path().join("data").join(name).display().to_string();
        format!("MOVE 'shop' TO '{path}.mdf', MOVE 'shop_log' TO '{path}.ldf'")
    };
    for (sql, expected) in [
        (format!("RESTORE DATABASE shop FROM DISK = {full} WITH REPLACE"), 3110),
        (format!("RESTORE DATABASE fresh FROM DISK = {full} WITH {}", move_to("fresh")), 262),
        ("CREATE DATABASE fresh".into(), 262),
        ("DROP DATABASE shop".into(), 3701),
        ("ALTER DATABASE shop SET OFFLINE".into(), 5011),
        ("KILL 51".into(), 6102),
        ("CREATE LOGIN other WITH PASSWORD = 'x'".into(), 15_247),
    ] {
        assert_eq!(error_of(&mut app, &sql).await, expected, "{sql}");
    }
    assert_eq!(one(&mut app, "SELECT IS_SRVROLEMEMBER(N'dbcreator')").await, "0");
    assert_eq!(one(&mut app, "SELECT COUNT(*) FROM sys.dm_exec_sessions").await, "1", "it sees itself alone");
    let mut maker = as_login(&world, "maker", "master").await.unwrap();
    assert_eq!(one(&mut maker, "SELECT IS_SRVROLEMEMBER(N'dbcreator')").await, "1");
    run(&mut maker, &format!("RESTORE DATABASE fresh FROM DISK = {full} WITH {}", move_to("fresh"))).await;
    run(&mut conn, "ALTER SERVER ROLE [dbcreator] DROP MEMBER [maker]").await;
    run(&mut maker, "ALTER DATABASE fresh SET RESTRICTED_USER; USE fresh; USE master").await;
    assert_eq!(error_of(&mut maker, "ALTER DATABASE shop SET OFFLINE").await, 5011, "that one is another's");
    assert_eq!(error_of(&mut conn, "DROP LOGIN app").await, 15_434);
    assert_eq!(error_of(&mut conn, "DROP LOGIN nobody").await, 15_151);
}
