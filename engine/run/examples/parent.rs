//! A small run for the tests of children: `parent SCRIPT` runs a shell script as a step would and says so on its standard output;
//! `parent __reaper` is its reaper.

use std::ffi::OsString;
use std::io::Write;

use drydock_run::children::{CancelSignal, ChildEnv, Children, reaper};
use drydock_step::{ChildOutput, ChildSpec};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let own = std::env::current_exe()?;
    let argument = std::env::args().nth(1).ok_or("a script is missing")?;
    if argument == "__reaper" {
        return Ok(tokio::task::spawn_blocking(|| reaper::main(std::io::stdin())).await??);
    }
    let children = Children::new(vec![own.into(), "__reaper".into()], "r1");
    let path = OsString::from("/usr/local/bin:/usr/bin:/bin");
    let spec = ChildSpec {
        argv: vec!["sh".into(), "-c".into(), argument],
        env: Vec::new(),
        cwd: std::env::temp_dir(),
        stdin: Vec::new(),
        stdout: ChildOutput::Dropped,
    };
    let (_canceller, signal) = CancelSignal::pair();
    let env = ChildEnv::new([("PATH".into(), path)]);
    let running = children.run(spec, env, &signal);
    tokio::pin!(running);
    // The first poll starts the reaper and the program.
    let begun = tokio::select! {
        biased;
        end = &mut running => Some(end),
        () = std::future::ready(()) => None,
    };
    if let Some(id) = children.reaper_id() {
        println!("{id}");
        std::io::stdout().flush()?;
    }
    let end = match begun {
        Some(end) => end,
        None => running.await,
    };
    println!("{:?}", end?.code);
    Ok(())
}
