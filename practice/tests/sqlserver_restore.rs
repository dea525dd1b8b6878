//! BACKUP and RESTORE of the practice SQL Server: chains, points in time, marks, tails, forks, stripes.
//!
//! Every database here is made by the test, so the rules could be held against a real server too: that needs one
//! that sees the same backup folder, which is why these tests always use the practice server.

mod sqlserver_support;

use sqlserver_support::{Conn, Draws, Making, World, error_of, one, rows, run, stepping_clock};

/// A database with a table of numbers, in the full recovery model.
async fn shop(world: &World) -> Conn {
    let mut conn = world.connect().await;
    run(&mut conn, "CREATE DATABASE shop").await;
    run(&mut conn, "CREATE TABLE shop.dbo.sales (id int IDENTITY PRIMARY KEY, amount int NOT NULL, note nvarchar(20) NULL)").await;
    conn
}

async fn sell(conn: &mut Conn, amount: i64) {
    run(conn, &format!("INSERT INTO shop.dbo.sales (amount, note) VALUES ({amount}, N'sale {amount}')"))
        .await;
}

async fn backup(conn: &mut Conn, world: &World, what: &str, file: &str, options: &str) {
    run(conn, &format!("BACKUP {what} TO DISK = {} WITH CHECKSUM{options}", world.media(file))).await;
}

async fn amounts(conn: &mut Conn, database: &str) -> Vec<String> {
    let sql = format!("SELECT amount FROM {database}.dbo.sales ORDER BY id");
    rows(conn, &sql).await.into_iter().flatten().collect()
}

/// MOVE of both files to names of their own.
fn moved(world: &World, to: &str) -> String {
    let path = |name: String| world.dir.path().join("data").join(name).display().to_string();
    format!(
        "MOVE N'shop' TO N'{}', MOVE N'shop_log' TO N'{}'",
        path(format!("{to}.mdf")),
        path(format!("{to}_log.ldf"))
    )
}

async fn state(conn: &mut Conn, database: &str) -> String {
    one(conn, &format!("SELECT state_desc FROM sys.databases WHERE name = N'{database}'")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn full_differential_and_logs_bring_every_row_back() {
    let world = World::new().await;
    let mut conn = shop(&world).await;
    sell(&mut conn, 1).await;
    backup(&mut conn, &world, "DATABASE shop", "full.bak", ", COMPRESSION, STATS = 10, NAME = N'daily'")
        .await;
    sell(&mut conn, 2).await;
    backup(&mut conn, &world, "DATABASE shop", "diff.bak", ", DIFFERENTIAL").await;
    sell(&mut conn, 3).await;
    backup(&mut conn, &world, "LOG shop", "log1.trn", "").await;
    run(&mut conn, "ALTER TABLE shop.dbo.sales ADD region nvarchar(10) NOT NULL DEFAULT N'north'; UPDATE shop.dbo.sales SET amount = 20 WHERE amount = 2").await;
    backup(&mut conn, &world, "LOG shop", "log2.trn", "").await;
    for with_differential in [true, false] {
        let name = format!("copy{with_differential}");
        run(
            &mut conn,
            &format!(
                "RESTORE DATABASE {name} FROM DISK = {} WITH NORECOVERY, CHECKSUM, {}",
                world.media("full.bak"),
                moved(&world, &name)
            ),
        )
        .await;
        assert_eq!(state(&mut conn, &name).await, "RESTORING");
        if with_differential {
            run(
                &mut conn,
                &format!("RESTORE DATABASE {name} FROM DISK = {} WITH NORECOVERY", world.media("diff.bak")),
            )
            .await;
        }
        run(
            &mut conn,
            &format!("RESTORE LOG {name} FROM DISK = {} WITH NORECOVERY", world.media("log1.trn")),
        )
        .await;
        run(
            &mut conn,
            &format!("RESTORE LOG {name} FROM DISK = {} WITH NORECOVERY", world.media("log2.trn")),
        )
        .await;
        run(&mut conn, &format!("RESTORE DATABASE {name} WITH RECOVERY")).await;
        assert_eq!(amounts(&mut conn, &name).await, ["1", "20", "3"]);
        assert_eq!(one(&mut conn, &format!("SELECT MIN(region) FROM {name}.dbo.sales")).await, "north");
        run(
            &mut conn,
            &format!(
                "INSERT INTO {name}.dbo.sales (amount) VALUES (4); DBCC CHECKDB (N'{name}') WITH NO_INFOMSGS"
            ),
        )
        .await;
        assert_eq!(one(&mut conn, &format!("SELECT MAX(id) FROM {name}.dbo.sales")).await, "4");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_moment_between_two_log_backups_gives_the_rows_of_that_moment() {
    let world = World::made(Making { clock: stepping_clock(), ..Making::default() }).await;
    let mut conn = shop(&world).await;
    backup(&mut conn, &world, "DATABASE shop", "full.bak", "").await;
    // What the table held after each change, and when that was, as STOPAT will be told it.
    let mut history = Vec::new();
    let mut draws = Draws(20_260_714);
    for round in 0..60 {
        match draws.below(3) {
            0 if round > 3 => run(&mut conn, "DELETE FROM shop.dbo.sales WHERE id = (SELECT MIN(id) FROM shop.dbo.sales)").await,
            1 if round > 3 => run(&mut conn, &format!("UPDATE shop.dbo.sales SET amount = {round} WHERE id = (SELECT MAX(id) FROM shop.dbo.sales)")).await,
            _ => sell(&mut conn, round).await,
        }
        let at = one(&mut conn, "SELECT CONVERT(nvarchar(30), GETUTCDATE(), 126)").await;
        history.push((at, amounts(&mut conn, "shop").await));
    }
    backup(&mut conn, &world, "LOG shop", "log.trn", "").await;
    for _ in 0..20 {
        let (at, expected) = &history[draws.below(59)];
        run(
            &mut conn,
            &format!(
                "RESTORE DATABASE past FROM DISK = {} WITH NORECOVERY, REPLACE, {}",
                world.media("full.bak"),
                moved(&world, "past")
            ),
        )
        .await;
        run(
            &mut conn,
            &format!(
                "RESTORE LOG past FROM DISK = {} WITH RECOVERY, STOPAT = N'{at}'",
                world.media("log.trn")
            ),
        )
        .await;
        assert_eq!(state(&mut conn, "past").await, "ONLINE");
        assert_eq!(amounts(&mut conn, "past").await, *expected, "at {at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_beyond_the_log_leaves_the_database_restoring() {
    let world = World::new().await;
    let mut conn = shop(&world).await;
    backup(&mut conn, &world, "DATABASE shop", "full.bak", "").await;
    sell(&mut conn, 1).await;
    backup(&mut conn, &world, "LOG shop", "log.trn", "").await;
    let full = format!(
        "RESTORE DATABASE past FROM DISK = {} WITH NORECOVERY, REPLACE, {}",
        world.media("full.bak"),
        moved(&world, "past")
    );
    run(&mut conn, &full).await;
    run(
        &mut conn,
        &format!(
            "RESTORE LOG past FROM DISK = {} WITH RECOVERY, STOPAT = '2099-01-01T00:00:00'",
            world.media("log.trn")
        ),
    )
    .await;
    assert_eq!(state(&mut conn, "past").await, "RESTORING");
    let early = format!(
        "RESTORE LOG past FROM DISK = {} WITH RECOVERY, STOPAT = '2001-01-01T00:00:00'",
        world.media("log.trn")
    );
    assert_eq!(error_of(&mut conn, &early).await, 4335);
    run(&mut conn, "RESTORE DATABASE past WITH RECOVERY").await;
    assert_eq!(amounts(&mut conn, "past").await, ["1"]);
    let fine = format!(
        "RESTORE LOG past FROM DISK = {} WITH STOPAT = '2026-07-14T03:10:00.1234567'",
        world.media("log.trn")
    );
    assert_eq!(error_of(&mut conn, &fine).await, 241);
    let early = format!(
        "RESTORE DATABASE past FROM DISK = {} WITH REPLACE, STOPAT = '2001-01-01T00:00:00', {}",
        world.media("full.bak"),
        moved(&world, "past")
    );
    assert_eq!(error_of(&mut conn, &early).await, 4338);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_is_one_point_in_two_databases() {
    let world = World::new().await;
    let mut conn = world.connect().await;
    for name in ["left", "right"] {
        run(&mut conn, &format!("CREATE DATABASE [{name}]")).await;
        run(&mut conn, &format!("CREATE TABLE [{name}].dbo.marks (mark nvarchar(40) NOT NULL)")).await;
        backup(&mut conn, &world, &format!("DATABASE [{name}]"), &format!("{name}.bak"), "").await;
    }
    for mark in ["dd_01", "dd_02"] {
        run(
            &mut conn,
            &format!(
                "SET XACT_ABORT ON; BEGIN TRANSACTION {mark} WITH MARK N'point {mark}'; INSERT INTO [left].dbo.marks VALUES (N'{mark}'); \
                 INSERT INTO [right].dbo.marks VALUES (N'{mark}'); COMMIT TRANSACTION {mark};"
            ),
        )
        .await;
        run(&mut conn, "INSERT INTO [left].dbo.marks VALUES (N'after')").await;
    }
    let history = rows(&mut conn, "SELECT database_name, mark_name, description, user_name FROM msdb.dbo.logmarkhistory ORDER BY mark_name, database_name").await;
    assert_eq!(history[0], ["left", "dd_01", "point dd_01", "drydock"]);
    assert_eq!(history.len(), 4);
    let times =
        rows(&mut conn, "SELECT mark_time FROM msdb.dbo.logmarkhistory ORDER BY mark_name, database_name")
            .await;
    assert_eq!(times[0], times[1], "a mark has one time in both databases");
    assert_eq!(times[2], times[3], "a mark has one time in both databases");
    assert!(times[0] <= times[2], "two marks of one tick may have one time, but none goes back");
    for name in ["left", "right"] {
        backup(&mut conn, &world, &format!("LOG [{name}]"), &format!("{name}.trn"), "").await;
    }
    let lsn = one(
        &mut conn,
        "SELECT lsn FROM msdb.dbo.logmarkhistory WHERE database_name = 'left' AND mark_name = 'dd_02'",
    )
    .await;
    let lsn = format!("STOPATMARK = N'lsn:{lsn}'");
    let cases: [(&str, &[&str], &[&str]); 4] = [
        ("STOPATMARK = N'dd_01'", &["dd_01"], &["dd_01"]),
        ("STOPBEFOREMARK = N'dd_01'", &[], &[]),
        (
            "STOPATMARK = N'dd_02' AFTER '2020-01-01T00:00:00'",
            &["dd_01", "after", "dd_02"],
            &["dd_01", "dd_02"],
        ),
        (&lsn, &["dd_01", "after", "dd_02"], &[]),
    ];
    for (point, left, right) in cases {
        for (name, expected) in [("left", left), ("right", right)] {
            if point.contains("lsn:") && name == "right" {
                continue;
            }
            run(
                &mut conn,
                &format!(
                    "RESTORE DATABASE [{name}] FROM DISK = {} WITH NORECOVERY, REPLACE",
                    world.media(&format!("{name}.bak"))
                ),
            )
            .await;
            run(
                &mut conn,
                &format!(
                    "RESTORE LOG [{name}] FROM DISK = {} WITH NORECOVERY, {point}",
                    world.media(&format!("{name}.trn"))
                ),
            )
            .await;
            run(&mut conn, &format!("RESTORE DATABASE [{name}] WITH RECOVERY")).await;
            let found: Vec<String> = rows(&mut conn, &format!("SELECT mark FROM [{name}].dbo.marks"))
                .await
                .into_iter()
                .flatten()
                .collect();
            assert_eq!(found, expected, "{name} {point}");
        }
    }
    run(
        &mut conn,
        &format!("RESTORE DATABASE [left] FROM DISK = {} WITH NORECOVERY, REPLACE", world.media("left.bak")),
    )
    .await;
    run(
        &mut conn,
        &format!(
            "RESTORE LOG [left] FROM DISK = {} WITH RECOVERY, STOPATMARK = N'DD_01'",
            world.media("left.trn")
        ),
    )
    .await;
    assert_eq!(state(&mut conn, "left").await, "RESTORING", "a mark's case counts");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_saves_what_no_log_backup_holds() {
    let world = World::new().await;
    let mut conn = shop(&world).await;
    backup(&mut conn, &world, "DATABASE shop", "full.bak", "").await;
    sell(&mut conn, 1).await;
    let full = format!("RESTORE DATABASE shop FROM DISK = {} WITH NORECOVERY", world.media("full.bak"));
    assert_eq!(error_of(&mut conn, &full).await, 3159);
    backup(&mut conn, &world, "LOG shop", "tail.trn", ", NORECOVERY").await;
    assert_eq!(state(&mut conn, "shop").await, "RESTORING");
    assert_eq!(error_of(&mut conn, "SELECT 1 FROM shop.dbo.sales").await, 927);
    assert_eq!(error_of(&mut conn, "ALTER DATABASE shop SET SINGLE_USER").await, 5052);
    let flags = rows(&mut conn, &format!("RESTORE HEADERONLY FROM DISK = {}", world.media("tail.trn"))).await;
    assert_eq!(flags[0][29], (512 + 16 + 64 + 256).to_string());
    run(&mut conn, &full).await;
    run(&mut conn, &format!("RESTORE LOG shop FROM DISK = {} WITH RECOVERY", world.media("tail.trn"))).await;
    assert_eq!(amounts(&mut conn, "shop").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_is_saved_from_a_database_whose_data_are_gone() {
    let world = World::new().await;
    let mut conn = shop(&world).await;
    backup(&mut conn, &world, "DATABASE shop", "full.bak", "").await;
    sell(&mut conn, 1).await;
    drop(conn);
    let mut conn = world.connect().await;
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(world.dir.path().join(format!("data/shop.mdf{suffix}")));
    }
    let plain = format!("BACKUP LOG shop TO DISK = {}", world.media("tail.trn"));
    assert_eq!(error_of(&mut conn, &plain).await, 945);
    run(&mut conn, &format!("{plain} WITH NO_TRUNCATE")).await;
    run(
        &mut conn,
        &format!("RESTORE DATABASE shop FROM DISK = {} WITH NORECOVERY, REPLACE", world.media("full.bak")),
    )
    .await;
    run(&mut conn, &format!("RESTORE LOG shop FROM DISK = {} WITH RECOVERY", world.media("tail.trn"))).await;
    assert_eq!(amounts(&mut conn, "shop").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn chains_that_do_not_fit_are_refused_by_number() {
    let world = World::new().await;
    let mut conn = shop(&world).await;
    let disk = |file: &str| world.media(file);
    assert_eq!(error_of(&mut conn, &format!("BACKUP LOG shop TO DISK = {}", disk("x.trn"))).await, 4214);
    assert_eq!(
        error_of(&mut conn, &format!("BACKUP DATABASE shop TO DISK = {} WITH DIFFERENTIAL", disk("x.bak")))
            .await,
        3035
    );
    backup(&mut conn, &world, "DATABASE shop", "full.bak", "").await;
    for at in 1..=3 {
        sell(&mut conn, at).await;
        backup(&mut conn, &world, "LOG shop", &format!("log{at}.trn"), "").await;
    }
    backup(&mut conn, &world, "DATABASE shop", "diff.bak", ", DIFFERENTIAL").await;
    backup(&mut conn, &world, "DATABASE shop", "full2.bak", "").await;
    backup(&mut conn, &world, "DATABASE shop", "diff2.bak", ", DIFFERENTIAL").await;
    let full = format!(
        "RESTORE DATABASE copy FROM DISK = {} WITH NORECOVERY, REPLACE, {}",
        disk("full.bak"),
        moved(&world, "copy")
    );
    let log = |file: &str| format!("RESTORE LOG copy FROM DISK = {} WITH NORECOVERY", disk(file));
    let differential =
        |file: &str| format!("RESTORE DATABASE copy FROM DISK = {} WITH NORECOVERY", disk(file));
    assert_eq!(error_of(&mut conn, &log("log1.trn")).await, 3118);
    run(&mut conn, &full).await;
    assert_eq!(error_of(&mut conn, &log("log2.trn")).await, 4305);
    assert_eq!(error_of(&mut conn, &log("full.bak")).await, 3135);
    assert_eq!(error_of(&mut conn, &differential("log1.trn")).await, 3135);
    assert_eq!(error_of(&mut conn, &differential("diff2.bak")).await, 3136);
    run(&mut conn, &log("log1.trn")).await;
    assert_eq!(error_of(&mut conn, &log("log1.trn")).await, 4326);
    run(&mut conn, &full).await;
    run(&mut conn, &differential("diff.bak")).await;
    assert_eq!(error_of(&mut conn, &differential("diff.bak")).await, 3120);
    assert_eq!(error_of(&mut conn, &log("log1.trn")).await, 4326);
    run(&mut conn, "RESTORE DATABASE copy WITH RECOVERY").await;
    assert_eq!(error_of(&mut conn, &log("log3.trn")).await, 3117);
    assert_eq!(error_of(&mut conn, "RESTORE DATABASE copy WITH RECOVERY").await, 3153);
    run(&mut conn, "ALTER DATABASE shop SET RECOVERY SIMPLE").await;
    assert_eq!(error_of(&mut conn, &format!("BACKUP LOG shop TO DISK = {}", disk("x.trn"))).await, 4208);
    run(&mut conn, "ALTER DATABASE shop SET RECOVERY FULL").await;
    assert_eq!(error_of(&mut conn, &format!("BACKUP LOG shop TO DISK = {}", disk("x.trn"))).await, 4214);
    run(&mut conn, "CREATE DATABASE other").await;
    assert_eq!(
        error_of(&mut conn, &format!("RESTORE DATABASE other FROM DISK = {}", disk("full.bak"))).await,
        3154
    );
    assert_eq!(
        error_of(&mut conn, &format!("RESTORE DATABASE fresh FROM DISK = {}", disk("full.bak"))).await,
        1834
    );
    assert_eq!(
        error_of(
            &mut conn,
            &format!(
                "RESTORE DATABASE fresh FROM DISK = {} WITH MOVE 'nothing' TO '/tmp/x'",
                disk("full.bak")
            )
        )
        .await,
        3234
    );
    assert_eq!(error_of(&mut conn, &format!("RESTORE DATABASE fresh FROM DISK = {} WITH MOVE 'shop' TO '/nowhere/x', MOVE 'shop_log' TO '/nowhere/y'", disk("full.bak"))).await, 5133);
    assert_eq!(
        error_of(&mut conn, &format!("BEGIN TRAN; BACKUP DATABASE shop TO DISK = {}", disk("x.bak"))).await,
        3021
    );
    run(&mut conn, "ROLLBACK").await;
    assert_eq!(
        error_of(
            &mut conn,
            &format!("RESTORE LOG copy FROM DISK = {} WITH NORECOVERY, KEEP_REPLICATION", disk("log1.trn"))
        )
        .await,
        3031
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_only_leaves_the_base_of_differentials_alone() {
    let world = World::new().await;
    let mut conn = shop(&world).await;
    backup(&mut conn, &world, "DATABASE shop", "full.bak", "").await;
    backup(&mut conn, &world, "DATABASE shop", "adhoc.bak", ", COPY_ONLY").await;
    sell(&mut conn, 1).await;
    backup(&mut conn, &world, "DATABASE shop", "diff.bak", ", DIFFERENTIAL").await;
    let onto = |file: &str| {
        format!(
            "RESTORE DATABASE copy FROM DISK = {} WITH NORECOVERY, REPLACE, {}",
            world.media(file),
            moved(&world, "copy")
        )
    };
    let differential = format!("RESTORE DATABASE copy FROM DISK = {} WITH RECOVERY", world.media("diff.bak"));
    run(&mut conn, &onto("adhoc.bak")).await;
    assert_eq!(error_of(&mut conn, &differential).await, 3136);
    run(&mut conn, &onto("full.bak")).await;
    run(&mut conn, &differential).await;
    assert_eq!(amounts(&mut conn, "copy").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_of_an_abandoned_fork_do_not_fit() {
    let world = World::new().await;
    let mut conn = shop(&world).await;
    backup(&mut conn, &world, "DATABASE shop", "full.bak", "").await;
    sell(&mut conn, 1).await;
    backup(&mut conn, &world, "LOG shop", "log1.trn", "").await;
    sell(&mut conn, 2).await;
    backup(&mut conn, &world, "LOG shop", "old2.trn", "").await;
    // Back to after the first log: from here history goes another way.
    run(
        &mut conn,
        &format!("RESTORE DATABASE shop FROM DISK = {} WITH NORECOVERY, REPLACE", world.media("full.bak")),
    )
    .await;
    run(&mut conn, &format!("RESTORE LOG shop FROM DISK = {} WITH RECOVERY", world.media("log1.trn"))).await;
    sell(&mut conn, 30).await;
    backup(&mut conn, &world, "LOG shop", "new2.trn", "").await;
    sell(&mut conn, 40).await;
    backup(&mut conn, &world, "LOG shop", "new3.trn", "").await;
    let header =
        rows(&mut conn, &format!("RESTORE HEADERONLY FROM DISK = {}", world.media("new2.trn"))).await;
    assert_ne!(header[0][31], header[0][44], "the set holds the fork point");
    assert_ne!(header[0][45], "NULL");
    run(
        &mut conn,
        &format!("RESTORE DATABASE shop FROM DISK = {} WITH NORECOVERY, REPLACE", world.media("full.bak")),
    )
    .await;
    for file in ["log1.trn", "new2.trn"] {
        run(&mut conn, &format!("RESTORE LOG shop FROM DISK = {} WITH NORECOVERY", world.media(file))).await;
    }
    assert_eq!(
        error_of(
            &mut conn,
            &format!("RESTORE LOG shop FROM DISK = {} WITH NORECOVERY", world.media("old2.trn"))
        )
        .await,
        4330
    );
    run(&mut conn, &format!("RESTORE LOG shop FROM DISK = {} WITH RECOVERY", world.media("new3.trn"))).await;
    assert_eq!(amounts(&mut conn, "shop").await, ["1", "30", "40"]);
    run(
        &mut conn,
        &format!("RESTORE DATABASE shop FROM DISK = {} WITH NORECOVERY, REPLACE", world.media("full.bak")),
    )
    .await;
    for file in ["log1.trn", "old2.trn"] {
        run(&mut conn, &format!("RESTORE LOG shop FROM DISK = {} WITH NORECOVERY", world.media(file))).await;
    }
    assert_eq!(
        error_of(
            &mut conn,
            &format!("RESTORE LOG shop FROM DISK = {} WITH NORECOVERY", world.media("new3.trn"))
        )
        .await,
        4330
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn stripes_belong_together_and_sets_share_a_file() {
    let world = World::new().await;
    let mut conn = shop(&world).await;
    sell(&mut conn, 1).await;
    let (one_of, two_of) = (world.media("s1.bak"), world.media("s2.bak"));
    run(&mut conn, &format!("BACKUP DATABASE shop TO DISK = {one_of}, DISK = {two_of} WITH FORMAT, CHECKSUM, MEDIANAME = N'pair'")).await;
    let restore =
        |from: &str| format!("RESTORE DATABASE copy FROM {from} WITH REPLACE, {}", moved(&world, "copy"));
    assert_eq!(error_of(&mut conn, &restore(&format!("DISK = {one_of}"))).await, 3132);
    assert_eq!(error_of(&mut conn, &restore(&format!("DISK = {one_of}, DISK = {one_of}"))).await, 3227);
    run(&mut conn, &restore(&format!("DISK = {two_of}, DISK = {one_of}"))).await;
    assert_eq!(amounts(&mut conn, "copy").await, ["1"]);
    let label = rows(&mut conn, &format!("RESTORE LABELONLY FROM DISK = {two_of}")).await;
    assert_eq!((label[0][0].as_str(), label[0][2].as_str(), label[0][3].as_str()), ("pair", "2", "2"));
    assert_eq!(error_of(&mut conn, &format!("BACKUP DATABASE shop TO DISK = {one_of}")).await, 3231);

    let both = world.media("both.bak");
    run(&mut conn, &format!("BACKUP DATABASE shop TO DISK = {both}")).await;
    sell(&mut conn, 2).await;
    run(&mut conn, &format!("BACKUP DATABASE shop TO DISK = {both}")).await;
    assert_eq!(rows(&mut conn, &format!("RESTORE HEADERONLY FROM DISK = {both}")).await.len(), 2);
    for (file, expected) in [("", 1), (", FILE = 1", 1), (", FILE = 2", 2)] {
        run(
            &mut conn,
            &format!(
                "RESTORE DATABASE copy FROM DISK = {both} WITH REPLACE{file}, {}",
                moved(&world, "copy")
            ),
        )
        .await;
        assert_eq!(amounts(&mut conn, "copy").await.len(), expected);
    }
    assert_eq!(
        error_of(&mut conn, &format!("RESTORE FILELISTONLY FROM DISK = {both} WITH FILE = 3")).await,
        3287
    );
    assert_eq!(
        error_of(&mut conn, &format!("BACKUP DATABASE shop TO DISK = {both} WITH COMPRESSION")).await,
        3098
    );
    run(&mut conn, &format!("BACKUP DATABASE shop TO DISK = {both} WITH INIT")).await;
    assert_eq!(rows(&mut conn, &format!("RESTORE HEADERONLY FROM DISK = {both}")).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_media_are_told_apart() {
    let world = World::new().await;
    let mut conn = shop(&world).await;
    sell(&mut conn, 1).await;
    backup(&mut conn, &world, "DATABASE shop", "good.bak", "").await;
    run(&mut conn, &format!("BACKUP DATABASE shop TO DISK = {}", world.media("plain.bak"))).await;
    let good = std::fs::read(world.media_path("good.bak")).unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(world.media_path(name), bytes).unwrap();
    write("empty.bak", b"");
    write("foreign.bak", &b"not a backup at all ".repeat(100));
    write("cut.bak", &good[..good.len() / 2]);
    let mut damaged = good.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0xFF;
    write("damaged.bak", &damaged);
    let verify = |file: &str| format!("RESTORE VERIFYONLY FROM DISK = {}", world.media(file));
    run(&mut conn, &verify("good.bak")).await;
    let cases = [
        ("missing.bak", 3201),
        ("empty.bak", 3254),
        ("foreign.bak", 3241),
        ("cut.bak", 3203),
        ("damaged.bak", 3189),
    ];
    for (file, expected) in cases {
        assert_eq!(error_of(&mut conn, &verify(file)).await, expected, "{file}");
    }
    assert_eq!(error_of(&mut conn, &format!("{} WITH CHECKSUM", verify("plain.bak"))).await, 3187);
    let restore = format!(
        "RESTORE DATABASE copy FROM DISK = {} WITH {}",
        world.media("damaged.bak"),
        moved(&world, "copy")
    );
    assert_eq!(error_of(&mut conn, &restore).await, 3183);
    assert_eq!(state(&mut conn, "copy").await, "RESTORING", "reading failed after the target was taken");
    assert_eq!(error_of(&mut conn, "RESTORE DATABASE copy WITH RECOVERY").await, 4333);
    run(&mut conn, "DROP DATABASE copy").await;
    assert_eq!(one(&mut conn, "SELECT COUNT(*) FROM sys.databases WHERE name = 'copy'").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_can_be_read_between_two_logs() {
    let world = World::new().await;
    let mut conn = shop(&world).await;
    backup(&mut conn, &world, "DATABASE shop", "full.bak", "").await;
    sell(&mut conn, 1).await;
    backup(&mut conn, &world, "LOG shop", "log1.trn", "").await;
    sell(&mut conn, 2).await;
    backup(&mut conn, &world, "LOG shop", "log2.trn", "").await;
    run(
        &mut conn,
        &format!(
            "RESTORE DATABASE copy FROM DISK = {} WITH NORECOVERY, {}",
            world.media("full.bak"),
            moved(&world, "copy")
        ),
    )
    .await;
    run(
        &mut conn,
        &format!("RESTORE LOG copy FROM DISK = {} WITH STANDBY = 'undo.tuf'", world.media("log1.trn")),
    )
    .await;
    assert_eq!(amounts(&mut conn, "copy").await, ["1"]);
    assert_eq!(one(&mut conn, "SELECT is_in_standby FROM sys.databases WHERE name = 'copy'").await, "1");
    assert_eq!(error_of(&mut conn, "DELETE FROM copy.dbo.sales").await, 3906);
    run(&mut conn, &format!("RESTORE LOG copy FROM DISK = {} WITH RECOVERY", world.media("log2.trn"))).await;
    assert_eq!(amounts(&mut conn, "copy").await, ["1", "2"]);
    assert_eq!(one(&mut conn, "SELECT is_in_standby FROM sys.databases WHERE name = 'copy'").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn msdb_and_the_views_tell_the_history() {
    let world = World::new().await;
    let mut conn = shop(&world).await;
    backup(&mut conn, &world, "DATABASE shop", "full.bak", ", NAME = N'first'").await;
    sell(&mut conn, 1).await;
    backup(&mut conn, &world, "LOG shop", "log.trn", "").await;
    let chain = rows(
        &mut conn,
        "SELECT bs.type, bs.position, bs.is_copy_only, bs.first_lsn, bs.last_lsn, bs.checkpoint_lsn, bs.database_backup_lsn,
                CAST(bs.backup_size AS bigint) AS backup_size, bmf.family_sequence_number, bmf.physical_device_name
         FROM msdb.dbo.backupset bs
         JOIN msdb.dbo.backupmediafamily bmf ON bmf.media_set_id = bs.media_set_id AND bmf.mirror = 0
              AND bmf.family_sequence_number BETWEEN bs.first_family_number AND bs.last_family_number
         WHERE bs.database_name = N'shop' AND bs.server_name = @@SERVERNAME AND bs.is_damaged = 0
         ORDER BY bs.last_lsn, bs.backup_set_id, bmf.family_sequence_number",
    )
    .await;
    let (full, log) = (&chain[0], &chain[1]);
    assert_eq!((full[0].as_str(), log[0].as_str()), ("D", "L"));
    assert_eq!(full[6], "0", "the first full has no predecessor");
    assert_eq!(log[6], full[5], "a log names the last full's checkpoint");
    let number = |text: &str| text.parse::<u128>().unwrap();
    assert!(number(&full[3]) > i64::MAX as u128, "LSNs are beyond 64 bits: {}", full[3]);
    assert!(number(&log[3]) <= number(&full[4]) && number(&full[4]) < number(&log[4]));
    run(
        &mut conn,
        &format!(
            "RESTORE DATABASE copy FROM DISK = {} WITH NORECOVERY, {}",
            world.media("full.bak"),
            moved(&world, "copy")
        ),
    )
    .await;
    let redo = rows(&mut conn, "SELECT DB_NAME(database_id), MIN(differential_base_lsn), MIN(redo_start_lsn), redo_start_fork_guid FROM sys.master_files WHERE redo_start_lsn IS NOT NULL GROUP BY database_id, redo_start_fork_guid").await;
    assert_eq!((redo[0][0].as_str(), &redo[0][2]), ("copy", &full[4]));
    let restores = rows(
        &mut conn,
        "SELECT TOP(20) rh.restore_date, rh.restore_type, rh.recovery, bs.backup_set_uuid, bs.first_lsn, bs.last_lsn FROM msdb.dbo.restorehistory rh
         JOIN msdb.dbo.backupset bs ON bs.backup_set_id = rh.backup_set_id WHERE rh.destination_database_name = N'copy' ORDER BY rh.restore_history_id DESC",
    )
    .await;
    assert_eq!((restores.len(), restores[0][1].as_str(), restores[0][2].as_str()), (1, "D", "0"));
}
