//! `drydock init`: a first plan that runs at once, with what belongs beside it in version control.

use std::path::{Path, PathBuf};

use drydock_machine::Exit;
use drydock_plan::schema;
use serde_json::json;

use crate::formats::Format;
use crate::session::{Refusal, Session, registry};

use super::print;

/// The files that are texts of their own: where each goes, what it is for, and what it says.
const FILES: [(&str, &str, &str); 5] = [
    ("plans/first.yaml", "a first plan, explained line by line", include_str!("init/first.yaml")),
    ("environments/local.yaml", "where its targets are", include_str!("init/local.yaml")),
    ("data/hello.txt", "something to back up", "What is not restored was never backed up.\n"),
    (".github/workflows/drydock.yml", "a CI job: check, then a dry run", include_str!("init/ci.yml")),
    (
        ".gitignore",
        "what does not belong into version control",
        "/.drydock/\n/.drydock-practice/\n/backups/\n",
    ),
];

/// Writes the files into a folder. What is there already is not touched: nothing is written then.
pub(crate) fn init(session: &Session, folder: &Path) -> Result<Exit, Refusal> {
    let catalog = registry().catalog();
    let pretty = |schema: serde_json::Value| format!("{schema:#}\n");
    let schemas = [
        ("schemas/plan.schema.json", "what editors complete plans by", pretty(schema::plan_schema(&catalog))),
        (
            "schemas/environment.schema.json",
            "the same for environments",
            pretty(schema::environment_schema(&catalog)),
        ),
    ];
    let own = FILES.iter().map(|(path, what, text)| (*path, *what, (*text).to_owned()));
    let files: Vec<(&str, &str, String)> = own.chain(schemas).collect();
    let root = session.outside.folder().join(folder);
    let there: Vec<&str> =
        files.iter().map(|(path, ..)| *path).filter(|path| root.join(path).exists()).collect();
    if !there.is_empty() {
        let message =
            format!("{} has {} already, and nothing was written", folder.display(), there.join(", "));
        return Err(Refusal::new(Exit::Usage, message).help("name another folder, `drydock init DIR`"));
    }
    for (path, _, text) in &files {
        written(&root.join(path), text)?;
    }
    if session.common.format == Format::Json {
        let paths: Vec<&str> = files.iter().map(|(path, ..)| *path).collect();
        print(&format!("{:#}\n", json!({ "folder": root, "written": paths })));
    } else if !session.common.quiet {
        let mut text = String::new();
        files.iter().for_each(|(path, what, _)| text.push_str(&format!("{path:<34} {what}\n")));
        let go =
            if folder == Path::new(".") { String::new() } else { format!("  cd {}\n", folder.display()) };
        text.push_str(&format!(
            "\nGo on with:\n{go}  drydock check plans/first.yaml -e environments/local.yaml\n  \
             drydock dry-run plans/first.yaml -e environments/local.yaml\n  \
             drydock run plans/first.yaml -e environments/local.yaml\n"
        ));
        print(&text);
    }
    Ok(Exit::Done)
}

/// Writes a new file with the folders above it; one that comes there meanwhile is not overwritten.
fn written(path: &PathBuf, text: &str) -> Result<(), Refusal> {
    use std::io::Write;
    let failed = |error: std::io::Error| {
        Refusal::new(Exit::Usage, format!("cannot write {}: {error}", path.display()))
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}
