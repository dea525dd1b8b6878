//! `dotnet ef` as a plan describes it: [`Dotnet`], and the list of migrations that it gives.

use drydock_step::{Field, PlanPath, Shape, StepError};
use serde::Deserialize;

use super::told::Told;
use crate::word::{WORD, Word};

/// The keys of `dotnet`.
pub(super) const FIELDS: &[Field] = &[
    Field::optional("project", Shape::Path, "The project with the migrations; the plan's folder otherwise."),
    Field::optional("startup_project", Shape::Path, "The project that is started to find the context."),
    Field::optional("context", Shape::Text, "The context, where the project has several."),
    Field::optional("framework", Shape::Text, "The target framework."),
    Field::optional("configuration", Shape::Text, "The build configuration, such as `Release`."),
    Field::optional("runtime", Shape::Text, "The target runtime."),
    Field::optional("no_build", Shape::Boolean, "Take what was built before.").or("false"),
    Field::optional(
        "msbuild_extensions_path",
        Shape::Path,
        "`--msbuildprojectextensionspath`: the project's `obj` folder, where it is not there.",
    ),
    Field::optional("tool", Shape::List(&WORD), "The program.").or("[\"dotnet\", \"ef\"]"),
];

/// How `dotnet ef` is called.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Dotnet {
    project: Option<PlanPath>,
    startup_project: Option<PlanPath>,
    context: Option<String>,
    framework: Option<String>,
    configuration: Option<String>,
    runtime: Option<String>,
    no_build: bool,
    msbuild_extensions_path: Option<PlanPath>,
    tool: Option<Vec<Word>>,
}

impl Dotnet {
    /// The command line of these words, with every flag; without the connection.
    pub(super) fn argv(&self, words: &[&str]) -> Vec<String> {
        let mut argv: Vec<String> = match &self.tool {
            Some(tool) => tool.iter().map(|word| word.0.clone()).collect(),
            None => ["dotnet", "ef"].map(str::to_owned).into(),
        };
        argv.extend(words.iter().map(|word| (*word).to_owned()));
        let path = |path: &Option<PlanPath>| path.as_ref().map(|path| path.0.clone());
        for (flag, value) in [
            ("--project", path(&self.project)),
            ("--startup-project", path(&self.startup_project)),
            ("--context", self.context.clone()),
            ("--framework", self.framework.clone()),
            ("--configuration", self.configuration.clone()),
            ("--runtime", self.runtime.clone()),
            ("--msbuildprojectextensionspath", path(&self.msbuild_extensions_path)),
        ] {
            argv.extend(value.into_iter().flat_map(|value| [flag.to_owned(), value]));
        }
        argv.extend(self.no_build.then(|| "--no-build".to_owned()));
        argv.extend(["--no-color", "--prefix-output"].map(str::to_owned));
        argv
    }

    /// The command line that lists the migrations that the project knows.
    pub(super) fn list(&self) -> Vec<String> {
        self.argv(&["migrations", "list", "--json", "--no-connect"])
    }
}

#[derive(Deserialize)]
struct Listed {
    id: String,
}

/// The ids that `migrations list --json` tells, in their order.
///
/// # Errors
/// `ef.list`, when it is no such list.
pub(super) fn listed(told: &Told) -> Result<Vec<String>, StepError> {
    let data = if told.data.trim().is_empty() { told.lines.join("\n") } else { told.data.clone() };
    // Before the list there may be lines without a prefix, from the build or the application itself.
    let list = data.find('[').and_then(|begin| data.get(begin..));
    let parsed = list.map(|list| {
        serde_json::Deserializer::from_str(list)
            .into_iter::<Vec<Listed>>()
            .next()
            .unwrap_or_else(|| Ok(Vec::new()))
    });
    match parsed {
        Some(Ok(found)) => Ok(found.into_iter().map(|one| one.id).collect()),
        _ => Err(StepError::new("ef.list", format!("`migrations list` told no list of migrations{}", told.words()))
            .help("does `dotnet ef migrations list --json --no-connect` work in the plan's folder with the same options?")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_said() {
        let dotnet: Dotnet = serde_json::from_value(serde_json::json!({
            "project": "./Octopus.Data", "startup_project": "./Octopus.Api", "context": "OctopusContext", "framework": "net10.0",
            "configuration": "Release", "runtime": "linux-x64", "no_build": true, "msbuild_extensions_path": "./obj",
        }))
        .unwrap();
        assert_eq!(
            dotnet.argv(&["database", "update"]).join(" "),
            "dotnet ef database update --project ./Octopus.Data --startup-project ./Octopus.Api --context OctopusContext --framework net10.0 \
             --configuration Release --runtime linux-x64 --msbuildprojectextensionspath ./obj --no-build --no-color --prefix-output"
        );
        let other: Dotnet = serde_json::from_value(serde_json::json!({ "tool": ["./ef.sh"] })).unwrap();
        assert_eq!(
            other.list().join(" "),
            "./ef.sh migrations list --json --no-connect --no-color --prefix-output"
        );
        assert!(serde_json::from_value::<Dotnet>(serde_json::json!({ "projekt": "x" })).is_err());
    }

    #[test]
    fn a_list_is_read_and_anything_else_refused() {
        let json = r#"[ { "id": "1_a", "name": "a", "safeName": "a", "applied": null }, { "id": "2_b", "name": "b" } ]"#;
        for stdout in
            [format!("info:    Build succeeded.\ndata:    {json}\n"), format!("Build started...\n{json}\n")]
        {
            assert_eq!(listed(&Told::of(&stdout, "")).unwrap(), ["1_a", "2_b"]);
        }
        assert_eq!(listed(&Told::of("data:    []", "")).unwrap(), Vec::<String>::new());
        for stdout in ["", "error:   No DbContext was found.", "data: [ { \"x\": 1 } ]"] {
            let error = listed(&Told::of(stdout, "")).unwrap_err();
            assert_eq!(error.code, "ef.list", "{stdout}");
        }
    }
}
