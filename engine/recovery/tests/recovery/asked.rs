//! Histories with questions beside them: finds the pairs and turns options into requests.

use std::path::Path;

use drydock_recovery::chain::{ChainRequest, Goal};
use serde_json::Value;

/// Name, history and expectations of each pair in a folder; none where the folder is absent.
pub(crate) fn pairs(folder: &Path) -> Vec<(String, String, Value)> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let names =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name in UTF-8"));
    let mut stems: Vec<String> =
        names.filter_map(|name| name.strip_suffix(".expect.json").map(str::to_owned)).collect();
    stems.sort();
    let read = |name: String| std::fs::read_to_string(folder.join(name)).expect("a file of the pair");
    let pair = |stem: String| {
        let expected =
            serde_json::from_str(&read(format!("{stem}.expect.json"))).expect("expectations in JSON");
        (stem.clone(), read(format!("{stem}.history.json")), expected)
    };
    stems.into_iter().map(pair).collect()
}

/// What the options of `drydock chain` ask for.
pub(crate) fn request(args: &Value) -> ChainRequest {
    let mut request = ChainRequest::default();
    let mut args =
        args.as_array().expect("options").iter().map(|arg| arg.as_str().expect("options are text"));
    while let Some(option) = args.next() {
        let mut value = || args.next().expect("the option has a value");
        match option {
            "--at" => request.goal = Goal::At(value().parse().expect("a time")),
            "--database" => request.database = Some(value().to_owned()),
            "--continue-from" => request.continue_from = Some(value().parse().expect("an LSN")),
            "--no-logs" => request.no_logs = true,
            "--no-differentials" => request.no_differentials = true,
            other => assert_eq!(other, "an option that is known"),
        }
    }
    request
}
