//! What a drill may not touch: the servers that a protected environment names. Main method: [`Session::guard_drill`].

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use drydock_machine::Exit;
use drydock_plan::check::Demand;
use drydock_plan::model::{Plan, Purpose, Setting, Target};
use drydock_run::dry_run::{DryOptions, Touched, dry_run};
use drydock_run::state::Given;
use url::Url;

use crate::load::{Loaded, load};

use super::{Above, Refusal, Session, registry, runtime};

/// What a drill may leave in the artifact store of a protected environment: what it is evidence of, and what it set aside.
const LEFT_IN_STORE: [&str; 2] = ["path points/*/marks/", "path quarantine/"];

/// A protected environment beside the drill's own.
struct Guarded {
    file: PathBuf,
    name: String,
    addresses: BTreeSet<String>,
}

impl Session {
    /// Nothing, where this is no drill, or one that may be: of a restore plan, under an environment that is not protected, and without a
    /// step that writes to a server which a protected environment in the same folder names.
    pub(crate) fn guard_drill(
        &self,
        loaded: &Loaded,
        plan: &Arc<Plan>,
        chosen: &DryOptions,
        above: &Above,
    ) -> Result<(), Refusal> {
        if !plan.drill {
            return Ok(());
        }
        let usage = |message: String, help: &str| Err(Refusal::new(Exit::Usage, message).help(help));
        if plan.purpose != Purpose::Restore {
            let message = format!("{} is no restore plan, and only a restore can be drilled", plan.name);
            return usage(message, "`purpose: restore` says that a plan is one");
        }
        let (Some(environment), Some(file)) = (&plan.environment, &loaded.environment) else {
            let message = "a drill needs an environment of its own".to_owned();
            return usage(message, "give its file by `-e`: servers that nobody works with");
        };
        if environment.protected {
            let message =
                format!("{} is a protected environment, and no place for a drill", environment.name);
            return usage(message, "give an environment of its own by `-e`: servers that nobody works with");
        }
        let services = self.looking(loaded, plan.clone(), above)?;
        let runtime = runtime()?;
        let shown = runtime.block_on(dry_run(&services, chosen));
        runtime.shutdown_background();
        let written: Vec<&Touched> = shown.destroys.iter().chain(&shown.writes).collect();
        for guarded in self.protected_beside(file, &loaded.path)? {
            for touched in &written {
                let target = touched
                    .target
                    .as_deref()
                    .and_then(|name| loaded.checked.bound.iter().find(|(bound, _)| bound.as_str() == name));
                let Some((name, target)) = target else { continue };
                let left = target.kind == "artifacts"
                    && LEFT_IN_STORE.iter().any(|left| touched.resource.starts_with(left));
                let named = |one: &String| guarded.addresses.iter().any(|other| overlap(one, other));
                let shared = addresses(target).into_iter().find(named);
                if let (Some(address), false) = (shared, left) {
                    let message = format!(
                        "a drill must not write to {address}, which {} names ({}), and {} would change {} there",
                        guarded.name,
                        guarded.file.display(),
                        touched.step,
                        touched.words()
                    );
                    let help =
                        format!("bind `{name}` to another server in {}{}", file.display(), without(touched));
                    return Err(Refusal::new(Exit::Locked, message).help(help));
                }
            }
        }
        Ok(())
    }

    /// The protected environments in the folder of a drill's own.
    fn protected_beside(&self, own: &Path, plan: &Path) -> Result<Vec<Guarded>, Refusal> {
        let folder = own.parent().unwrap_or(Path::new("."));
        let failed =
            |error| Refusal::new(Exit::Usage, format!("cannot look into {}: {error}", folder.display()));
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
            .map_err(failed)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|end| end == "yaml" || end == "yml") && path != own)
            .collect();
        files.sort();
        let mut guarded = Vec::new();
        for file in files {
            // What is no environment names no server. One with mistakes is told by its check, and what can be read of it counts.
            let checked =
                load(plan, Some(&file), Given::default(), Demand::Form, registry().catalog(), &self.outside);
            let Ok(checked) = checked.map(|loaded| loaded.checked) else { continue };
            let Some(head) = checked.environment.filter(|head| head.protected) else { continue };
            let addresses = checked.bound.values().flat_map(addresses).collect();
            guarded.push(Guarded { file, name: head.name, addresses });
        }
        Ok(guarded)
    }
}

/// What else helps, where a drill would write into the store.
fn without(touched: &Touched) -> &'static str {
    if touched.resource.starts_with("path points/") {
        "; a drill makes no recovery point: `-p new_point=false` leaves it out"
    } else {
        ""
    }
}

/// Where a target is, as it is written: `host:port`, with the path of an HTTP server; an artifact store by its folder or URL. What a secret says is not known.
fn addresses(target: &Target) -> BTreeSet<String> {
    let Some(Setting::Map(settings)) = &target.settings else { return BTreeSet::new() };
    let text = |key: &str| settings.get(key).and_then(plain);
    let urls = |setting: Option<&Setting>| match setting {
        Some(Setting::List(items)) => items.iter().filter_map(plain).collect(),
        Some(one) => plain(one).into_iter().collect::<Vec<_>>(),
        None => Vec::new(),
    };
    let found: Vec<String> = match target.kind {
        "sqlserver" | "postgres" => {
            let default = if target.kind == "sqlserver" { "1433" } else { "5432" };
            let port = text("instance").or_else(|| text("port")).unwrap_or_else(|| default.to_owned());
            let hosts = urls(settings.get("host"));
            hosts
                .iter()
                .flat_map(|host| host.split(','))
                .map(|host| format!("{}:{port}", here(host)))
                .collect()
        }
        "qdrant" => urls(settings.get("nodes")).iter().filter_map(|url| of_url(url)).collect(),
        "http" => urls(settings.get("url")).iter().filter_map(|url| with_path(url)).collect(),
        "artifacts" => {
            let of_store = |url: &String| {
                let path = url.strip_prefix("file://").unwrap_or(url);
                path.trim_end_matches('/').to_owned()
            };
            urls(settings.get("url")).iter().map(of_store).collect()
        }
        _ => Vec::new(),
    };
    found.into_iter().collect()
}

fn plain(setting: &Setting) -> Option<String> {
    match setting {
        Setting::Plain(serde_json::Value::String(text)) => Some(text.clone()),
        Setting::Plain(serde_json::Value::Number(number)) => Some(number.to_string()),
        _ => None,
    }
}

/// One name for this machine.
fn here(host: &str) -> String {
    let host = host.trim().to_ascii_lowercase();
    if matches!(host.as_str(), "localhost" | "::1" | "[::1]" | ".") { "127.0.0.1".to_owned() } else { host }
}

/// Whether one of two is the other, or lies in it.
fn overlap(one: &str, other: &str) -> bool {
    let within = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    within(one, other) || within(other, one)
}

/// One HTTP server may serve several things, below paths of their own.
fn with_path(url: &str) -> Option<String> {
    let path = Url::parse(url).ok()?.path().trim_end_matches('/').to_owned();
    Some(format!("{}{path}", of_url(url)?))
}

fn of_url(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    Some(format!("{}:{}", here(url.host_str()?), url.port_or_known_default()?))
}

#[cfg(test)]
mod tests {
    use indexmap::IndexMap;
    use serde_json::{Value, json};

    use super::*;

    fn setting(value: &Value) -> Setting {
        match value {
            Value::Array(items) => Setting::List(items.iter().map(setting).collect()),
            Value::Object(entries) => {
                let entries = entries.iter().map(|(key, value)| (key.clone(), setting(value)));
                Setting::Map(entries.collect::<IndexMap<_, _>>())
            }
            other => Setting::Plain(other.clone()),
        }
    }

    #[track_caller]
    fn check(kind: &'static str, settings: &Value, expected: &[&str]) {
        let found = addresses(&Target { kind, settings: Some(setting(settings)) });
        assert_eq!(found.into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_server_is_known_by_its_address_however_it_is_written() {
        check("sqlserver", &json!({ "host": "SQL01" }), &["sql01:1433"]);
        check("sqlserver", &json!({ "host": "sql01", "instance": "DRILL" }), &["sql01:DRILL"]);
        check("postgres", &json!({ "host": "pg-0,pg-1", "port": 5433 }), &["pg-0:5433", "pg-1:5433"]);
        check(
            "qdrant",
            &json!({ "nodes": ["http://Q0:6333", "http://localhost:6333"] }),
            &["127.0.0.1:6333", "q0:6333"],
        );
        check("http", &json!({ "url": "https://octopus.example/api" }), &["octopus.example:443/api"]);
        check("artifacts", &json!({ "url": "file:///srv/backups/" }), &["/srv/backups"]);
        check("artifacts", &json!({ "url": "s3://octopus/backups" }), &["s3://octopus/backups"]);
        assert!(overlap("octopus.example:443", "octopus.example:443/api"));
        assert!(overlap("/srv/backups/drill", "/srv/backups"));
        assert!(!overlap("hooks.example:443/drills", "hooks.example:443/octopus"));
        assert!(!overlap("/srv/backups2", "/srv/backups"));
        check("another", &json!({ "host": "x" }), &[]);
    }
}
