//! `drydock practice`: practice servers in the foreground.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use drydock_machine::Exit;
use drydock_practice::clock::{Clock, Offsets};
use drydock_practice::server::{Options, Practice, SHARE, start_as};
use drydock_practice::sqlserver::{Installation, NoInstallation, Platform};

use crate::args::PracticeArgs;
use crate::session::{Refusal, Session, runtime};

use super::print;

pub(crate) fn practice(session: &Session, args: &PracticeArgs) -> Result<Exit, Refusal> {
    let usage = |what: &str, path: &Path, error: std::io::Error| {
        Refusal::new(Exit::Usage, format!("{what} {}: {error}", path.display()))
    };
    let dir = session.outside.folder().join(&args.dir);
    let faults = args
        .faults
        .as_deref()
        .map(|path| std::fs::read_to_string(path).map_err(|error| usage("cannot read", path, error)));
    let mut installation = match &args.sqlserver {
        None => Installation::default(),
        Some(path) => {
            let path = session.outside.folder().join(path);
            let text = std::fs::read_to_string(&path).map_err(|error| usage("cannot read", &path, error))?;
            let refused =
                |error: NoInstallation| Refusal::new(Exit::Usage, format!("{}: {error}", path.display()));
            Installation::parse(&text).map_err(refused)?
        }
    };
    let now = session.outside.clock.clone();
    let source = Arc::new(move || chrono::DateTime::from_timestamp_millis(now()).unwrap_or_default());
    let offsets =
        Offsets::of(&args.clock).map_err(|error| Refusal::new(Exit::Usage, format!("--clock: {error}")))?;
    let options = Options {
        seed: args.seed,
        dir: dir.clone(),
        clock: Clock::paced(source, args.pace),
        offsets,
        ledger: args.ledger.clone(),
        faults: faults.transpose()?,
        qdrant_nodes: args.qdrant_nodes.into(),
        first_port: args.first_port,
    };
    let artifacts = args
        .artifacts
        .as_ref()
        .map_or_else(|| dir.join("artifacts"), |path| session.outside.folder().join(path));
    std::fs::create_dir_all(artifacts.join("sql"))
        .map_err(|error| usage("cannot make", &artifacts, error))?;
    if installation.platform == Platform::Windows {
        installation.shares.entry(SHARE.into()).or_insert_with(|| artifacts.clone());
    }
    let runtime = runtime()?;
    let practice = runtime.block_on(start_as(options, installation)).map_err(|error| {
        Refusal::new(Exit::Usage, format!("the practice servers cannot be started: {error}"))
    })?;
    if args.fill {
        let addresses = practice.ports().addresses();
        runtime
            .block_on(drydock_practice::octopus::fill(&addresses, drydock_practice::seed::Seed(args.seed)))
            .map_err(|error| Refusal::new(Exit::Internal, format!("Octopus could not be filled: {error}")))?;
    }
    let environment = practice.environment_yaml(&artifacts);
    if let Some(path) = &args.environment {
        std::fs::write(path, &environment).map_err(|error| usage("cannot write", path, error))?;
    }
    print(&environment);
    if let Some(path) = &args.ports {
        write_ports(path, &practice).map_err(|error| usage("cannot write", path, error))?;
    }
    runtime.block_on(until_asked_to_stop(args.until_eof));
    practice.stop();
    runtime.shutdown_background();
    Ok(Exit::Done)
}

/// Written under another name and renamed: whoever waits for the file finds it whole.
fn write_ports(path: &Path, practice: &Practice) -> std::io::Result<()> {
    let text = serde_json::to_string_pretty(practice.ports()).map_err(std::io::Error::other)?;
    let unfinished = path.with_extension("unfinished");
    std::fs::write(&unfinished, format!("{text}\n"))?;
    std::fs::rename(&unfinished, path)
}

async fn until_asked_to_stop(until_eof: bool) {
    let eof = tokio::task::spawn_blocking(move || {
        if until_eof {
            // Whatever the end of the input is, it is the end.
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
        }
    });
    #[cfg(unix)]
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminate = std::future::pending::<()>();
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminate => {}
        _ = eof, if until_eof => {}
    }
}
