//! `sqlserver.adopt`: a database that came from another server finds its logins, its owner, and its application.

use drydock_step::test_host::given;
use drydock_step::{Kind, Reconciled};
use drydock_steps::sqlserver::adopt::Adopt;
use drydock_steps::sqlserver::backup::Backup;
use drydock_steps::sqlserver::restore::Restore;
use serde_json::{Value, json};

use crate::world::{World, octopus};

/// A database with a user for a login, one whose login has another name elsewhere, one whose login is nowhere, and one without a login; taken
/// from the server that it grew on to another one.
async fn moved(target: &World) {
    let source = World::practice().await;
    octopus(&source).await;
    for login in ["o'app", "reports", "gone"] {
        let name = login.replace('\'', "''");
        source
            .run(
                "master",
                &format!("IF SUSER_ID(N'{name}') IS NULL CREATE LOGIN [{login}] WITH PASSWORD = N'Pier-22x'"),
            )
            .await;
        source.run("Octopus", &format!("CREATE USER [{login}]")).await;
    }
    source.run("Octopus", "CREATE USER [inner] WITHOUT LOGIN\nGO\nGRANT SELECT ON [agents] TO [o'app]\nGO\nALTER ROLE db_datareader ADD MEMBER [reports]").await;
    source.run("master", "ALTER DATABASE [Octopus] SET COMPATIBILITY_LEVEL = 130").await;
    let mut full = source.outputs(&Backup, json!({ "database": "Octopus", "type": "full" })).await.unwrap();
    let media = full["artifacts"][0].as_str().unwrap().to_owned();
    std::fs::copy(source.dir.path().join("store").join(&media), target.dir.path().join("store").join(&media))
        .unwrap();
    // The logins of this server have SIDs of their own.
    for login in ["filler", "o'app", "readers"] {
        target.run("master", &format!("CREATE LOGIN [{login}] WITH PASSWORD = N'Quay-11x'")).await;
    }
    full["media"] = json!([media]);
    let chain = json!({ "backups": [full], "server": full["server"] });
    target.outputs(&Restore, json!({ "database": "Octopus", "chain": chain })).await.unwrap();
}

fn users(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|one| one["user"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_find_their_logins_and_the_application_its_data() {
    let target = World::practice().await;
    moved(&target).await;
    let application = json!({ "database": "Octopus", "orphans": "list", "application": "o'app", "application_password": "Quay-11x", "reads": ["agents"] });
    let error = target.outputs(&Adopt, application.clone()).await.unwrap_err();
    assert!(
        error.code == "adopt.application"
            && error.message.contains("is not let in")
            && error.message.contains("4060"),
        "{error}"
    );

    let with = json!({
        "database": "Octopus", "owner": "sa", "compatibility_level": 160, "trustworthy": true, "broker": "new",
        "logins": { "reports": "readers" },
    });
    let found = target.outputs(&Adopt, with.clone()).await.unwrap();
    assert_eq!(
        found["mapped"],
        json!([{ "user": "o'app", "login": "o'app" }, { "user": "reports", "login": "readers" }])
    );
    assert_eq!(users(&found["orphans"]), ["gone"]);
    assert_eq!(found["orphans"][0]["why"], "the server has no login gone");
    assert_eq!((&found["owner"], &found["compatibility_level"]), (&json!("sa"), &json!(160)));
    assert_eq!((&found["trustworthy"], &found["broker_enabled"]), (&json!(true), &json!(true)));
    assert_eq!(found["application"], Value::Null);

    let proved = target.outputs(&Adopt, application).await.unwrap();
    let expected = json!({ "login": "o'app", "user": "o'app", "by": "connection", "reads": ["agents"] });
    assert_eq!(proved["application"], expected);
    let played =
        json!({ "database": "Octopus", "application": "readers", "reads": ["agents", "drydock.marks"] });
    let played = target.outputs(&Adopt, played).await.unwrap();
    assert_eq!(
        (&played["application"]["user"], &played["application"]["by"]),
        (&json!("reports"), &json!("impersonation"))
    );
    assert_eq!(users(&played["mapped"]), [""; 0]);

    // What it may not read is told, as whom it tried, and with what password nobody learns.
    let more = json!({ "database": "Octopus", "application": "o'app", "application_password": "Quay-11x", "reads": ["agents", "drydock.marks"] });
    let error = target.outputs(&Adopt, more).await.unwrap_err();
    assert!(error.message.contains("login o'app cannot read drydock.marks in database Octopus"), "{error}");
    assert!(error.message.contains("229") && !error.message.contains("Quay"), "{error}");
    let wrong = json!({ "database": "Octopus", "application": "o'app", "application_password": "Quay-12x" });
    let error = target.outputs(&Adopt, wrong).await.unwrap_err();
    assert!(error.code == "adopt.application" && error.message.contains("18456"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_said_before() {
    let target = World::practice().await;
    moved(&target).await;
    let preflight = async |with: Value| {
        let ctx = target.ctx();
        let found = Adopt.preflight(&ctx, given(with)).await.unwrap();
        let codes: Vec<(String, bool)> =
            found.findings.iter().map(|one| (one.code.clone(), one.fatal)).collect();
        (codes, found.facts["changes"].clone())
    };
    let (codes, changes) = preflight(json!({ "database": "Octopus" })).await;
    assert_eq!(codes, [("adopt.orphan".to_owned(), false), ("adopt.orphan".to_owned(), false)]);
    assert_eq!(changes, json!(["ALTER USER [o'app] WITH LOGIN = [o'app]"]));
    let (codes, _) = preflight(json!({ "database": "Octopus", "owner": "nobody", "logins": { "gone": "filler", "reports": "readers" } })).await;
    assert_eq!(codes, [("adopt.login".to_owned(), true)]);
    let (codes, _) = preflight(json!({ "database": "Octopus", "logins": { "gone": "nobody" } })).await;
    assert_eq!(codes, [("adopt.login".to_owned(), true)]);
    let (codes, _) = preflight(json!({ "database": "Other" })).await;
    assert_eq!(codes, [("adopt.state".to_owned(), false)]);
    let (codes, _) = preflight(json!({ "database": "Octopus", "reads": ["agents"] })).await;
    assert_eq!(codes, [("input".to_owned(), true)]);
    target.run("master", "ALTER DATABASE [Octopus] SET RESTRICTED_USER").await;
    let (codes, _) = preflight(json!({ "database": "Octopus", "application": "o'app", "logins": { "gone": "filler", "reports": "readers" } })).await;
    assert_eq!(codes, [("adopt.closed".to_owned(), false)]);

    // Who may not see the logins of others would take every user for an orphan.
    let target = target.set("user", json!("filler")).set("password", json!("Quay-11x"));
    let error = target.outputs(&Adopt, json!({ "database": "Octopus" })).await.unwrap_err();
    assert_eq!(error.code, "adopt.rights");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_found_out() {
    let target =
        World::with_faults(r#"[{ "server": "sqlserver", "op": "alter user o'app", "do": "hold" }]"#).await;
    moved(&target).await;
    let with = json!({ "database": "Octopus", "owner": "sa", "compatibility_level": 160, "logins": { "reports": "readers" } });
    let (notes, found) = target.crashed(&Adopt, with.clone()).await;
    let Reconciled::Partly(progress) = found else { panic!("{found:?}") };
    assert_eq!(progress, json!({ "left": 2 }));
    let ended = target.again(&Adopt, with.clone(), notes.clone(), Some(progress)).await.unwrap();
    assert_eq!(users(&ended["mapped"]), ["o'app", "reports"]);
    assert_eq!(target.done("alter user *"), 2);
    assert_eq!(target.settled(&Adopt, with, notes).await, Reconciled::Done(ended));
}
