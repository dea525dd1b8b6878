//! What a plan means once it is checked: the model, the values of parameters by their sources, the settings of targets, the digest.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "these are tests")]

mod kinds;

use std::collections::BTreeMap;
use std::path::Path;

use drydock_plan::catalog::Effect;
use drydock_plan::check::{CheckInput, Checked, Demand, Files, check};
use drydock_plan::duration::Millis;
use drydock_plan::model::{
    Backoff, OnFailure, OnUnfinished, OnUnknown, Plan, Purpose, RetryOn, SecretSource, Setting, StepIx,
};
use drydock_plan::params::GivenParams;
use drydock_plan::source::SourceFile;
use serde_json::json;

/// One file, whatever its path.
struct OneFile(&'static str);

impl Files for OneFile {
    fn read(&self, _path: &str) -> Result<Vec<u8>, String> {
        Ok(self.0.as_bytes().to_vec())
    }
}

#[derive(Default)]
struct World<'a> {
    environment: Option<&'a str>,
    given: GivenParams,
    variables: BTreeMap<String, String>,
    file: &'static str,
}

impl World<'_> {
    fn check(&self, plan: &str) -> Checked {
        let environment = self.environment.map(|text| SourceFile::new("env.yaml", text));
        check(&CheckInput {
            file: &SourceFile::new("plan.yaml", plan),
            environment: environment.as_ref(),
            catalog: &kinds::catalog(),
            given: &self.given,
            variables: &self.variables,
            files: &OneFile(self.file),
            demand: Demand::Run,
        })
    }

    fn plan(&self, plan: &str) -> Plan {
        let checked = self.check(plan);
        checked.plan.unwrap_or_else(|| panic!("{:?}", checked.findings))
    }
}

fn good(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/plans/good").join(name))
        .unwrap()
}

#[test]
fn every_keyword_reaches_the_model() {
    let given = GivenParams { flags: vec!["wanted=[a, b]".to_owned()], ..GivenParams::default() };
    let plan = World { given, ..World::default() }.plan(&good("every_keyword.yaml"));
    assert_eq!((plan.name.as_str(), plan.purpose, plan.max_parallel), ("every_keyword", Purpose::Backup, 16));
    assert_eq!(plan.on_unfinished, Some(OnUnfinished::Resume));
    assert_eq!(plan.objectives.rpo, Some(Millis(5_400_000)));
    assert_eq!(serde_json::to_value(&plan.params).unwrap(), json!({"wanted": ["a", "b"], "full": true}));
    let ids: Vec<&str> = plan.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(ids, ["list", "pause", "each", "report", "resume"]);

    let list = &plan.steps[0];
    assert_eq!(list.call.effect, Effect::Reads);
    assert_eq!(list.retry.attempts, 3);
    assert_eq!(
        (list.retry.delay, list.retry.backoff, list.retry.max_delay),
        (Millis(2_000), Backoff::Exponential, Some(Millis(60_000)))
    );
    assert_eq!(list.retry.errors, [RetryOn::Transient, RetryOn::Timeout, RetryOn::Code("17".to_owned())]);
    assert_eq!(list.timeout, Some(Millis(30_000)));
    assert_eq!(list.outputs.len(), 2);

    let each = &plan.steps[2];
    assert_eq!(each.needs, [StepIx(0), StepIx(1)]);
    assert!(each.when.as_ref().unwrap().per_item);
    assert_eq!(each.foreach.as_ref().unwrap().max_parallel, Some(2));
    assert_eq!((each.on_failure, each.on_unknown), (OnFailure::Continue, OnUnknown::Redo));
    assert_eq!(each.call.target.as_ref().unwrap().as_str(), "api");
    let calls: Vec<Option<&str>> = each
        .validate
        .iter()
        .map(|validation| validation.call.as_ref().map(|call| call.target.as_ref().unwrap().as_str()))
        .collect();
    assert_eq!(calls, [None, Some("api")], "the step's target is the validation's");

    let resume = &plan.steps[4];
    assert!(resume.finally && resume.undoes == [StepIx(1)]);
    assert_eq!(plan.outputs.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["done"]);
}

#[test]
fn the_strongest_source_of_a_value_wins() {
    let plan = "drydock: v1\nname: p\nparams: { n: { type: integer, default: 1 }, s: { type: secret } }\ntargets: { api: http }\nsteps:\n  \
                a: { uses: http.request, target: api, with: { path: '/{{ params.n }}', body: '{{ params.s }}' } }\n";
    let environment = "drydock: v1\nenvironment: e\ntargets: { api: { kind: http, url: 'http://x' } }\nparams: { n: 2, s: { file: token } }\n";
    let mut world = World { given: GivenParams::default(), ..World::default() };
    world.given.variables.insert("DRYDOCK_PARAM_S".to_owned(), "never read".to_owned());
    assert_eq!(world.plan(plan).params["n"], json!(1));
    world.given.variables.clear();
    world.environment = Some(environment);
    let bound = world.plan(plan);
    assert_eq!(
        (&bound.params["n"], &bound.secrets["s"]),
        (&json!(2), &SecretSource::File("token".to_owned()))
    );
    world.given.variables.insert("DRYDOCK_PARAM_N".to_owned(), "3".to_owned());
    assert_eq!(world.plan(plan).params["n"], json!(3));
    world.given.variables.insert("DRYDOCK_PARAM_S".to_owned(), "never read".to_owned());
    assert_eq!(world.plan(plan).secrets["s"], SecretSource::Env("DRYDOCK_PARAM_S".to_owned()));
    world.given.file = Some(SourceFile::new("values.yaml", "n: 4\ns: { command: [pass, s] }\n"));
    let filed = world.plan(plan);
    assert_eq!(
        (&filed.params["n"], &filed.secrets["s"]),
        (&json!(4), &SecretSource::Command(vec!["pass".to_owned(), "s".to_owned()]))
    );
    world.given.flags.push("n=5".to_owned());
    assert_eq!(world.plan(plan).params["n"], json!(5));
}

#[test]
fn a_text_given_by_a_flag_stays_text() {
    let plan = "drydock: v1\nname: p\nparams: { s: { type: string, required: true } }\nsteps:\n  \
                a: { uses: flow.set, with: { values: { s: '{{ params.s }}' } } }\n";
    for text in ["007", "1.10", "true", "null", "a: b", "[1", "", " x "] {
        let given = GivenParams { flags: vec![format!("s={text}")], ..GivenParams::default() };
        assert_eq!(World { given, ..World::default() }.plan(plan).params["s"], json!(text));
    }
}

#[test]
fn settings_keep_secrets_apart_and_fill_variables_in() {
    let plan = "drydock: v1\nname: p\ntargets: { sql: sqlserver, api: http }\nsteps:\n  a: { uses: target.ping, target: sql }\n  b: { uses: target.ping, target: api }\n";
    let environment = "drydock: v1\nenvironment: prod\nprotected: true\ntargets:\n  \
                       sql: { kind: sqlserver, host: '{{ env.HOST }}', port: 1433, password: { env: PW }, sees: [ { artifacts: sql/, as: 'D:\\x' } ] }\n  \
                       api: { kind: http, url: 'http://x', headers: { A: plain, B: { file: b } } }\n";
    let variables = BTreeMap::from([("HOST".to_owned(), "sql01".to_owned())]);
    let plan = World { environment: Some(environment), variables, ..World::default() }.plan(plan);
    let environment = plan.environment.as_ref().unwrap();
    assert_eq!((environment.name.as_str(), environment.protected), ("prod", true));
    let Some(Setting::Map(sql)) = &plan.targets["sql"].settings else { panic!("settings") };
    assert_eq!(sql["host"], Setting::Plain(json!("sql01")));
    assert_eq!(sql["password"], Setting::Secret(SecretSource::Env("PW".to_owned())));
    assert!(!sql.contains_key("kind"));
    let Setting::List(sees) = &sql["sees"] else { panic!("a list") };
    assert_eq!(sees.len(), 1);
    let Some(Setting::Map(api)) = &plan.targets["api"].settings else { panic!("settings") };
    let Setting::Map(headers) = &api["headers"] else { panic!("a mapping") };
    assert_eq!(headers["A"], Setting::Plain(json!("plain")));
    assert_eq!(headers["B"], Setting::Secret(SecretSource::File("b".to_owned())));
}

#[test]
fn the_digest_covers_every_byte_that_was_read() {
    let plan = "drydock: v1\nname: p\nparams: { f: { type: path, default: talk.yaml } }\ntargets: { api: http }\nsteps:\n  \
                a: { uses: http.scenario, target: api, with: { file: '{{ params.f }}' } }\n";
    let environment = "drydock: v1\nenvironment: e\ntargets: { api: { kind: http, url: 'http://x' } }\n";
    let digest = |plan: &str, environment: Option<&str>, file| {
        World { environment, file, ..World::default() }.plan(plan).digest
    };
    let one = digest(plan, None, "x");
    assert_eq!(one, digest(plan, None, "x"));
    let comment = format!("{plan}# a comment\n");
    let others = [digest(&comment, None, "x"), digest(plan, None, "y"), digest(plan, Some(environment), "x")];
    for other in &others {
        assert_ne!(*other, one);
    }
    let named = World { file: "x", ..World::default() }.check(plan).named;
    assert_eq!(
        named.iter().map(|file| (file.path.as_str(), &*file.bytes)).collect::<Vec<_>>(),
        [("talk.yaml", b"x".as_slice())]
    );
}

#[test]
fn what_is_not_known_yet_is_not_asked_by_a_check() {
    let plan = "drydock: v1\nname: p\nparams: { n: { type: integer, required: true } }\ntargets: { api: http }\nsteps:\n  \
                a: { uses: http.request, target: api, with: { path: '/{{ params.n }}' } }\n";
    let environment =
        "drydock: v1\nenvironment: e\ntargets: { api: { kind: http, url: 'http://{{ env.HOST }}' } }\n";
    let mut codes = Vec::new();
    for demand in [Demand::Form, Demand::Run] {
        let checked = check(&CheckInput {
            file: &SourceFile::new("plan.yaml", plan),
            environment: Some(&SourceFile::new("env.yaml", environment)),
            catalog: &kinds::catalog(),
            given: &GivenParams::default(),
            variables: &BTreeMap::new(),
            files: &OneFile(""),
            demand,
        });
        codes.push(checked.findings.iter().map(|finding| finding.code.0).collect::<Vec<_>>());
    }
    assert_eq!(codes, [vec![], vec!["DD413", "DD411"]]);
}

#[test]
fn a_plan_may_have_fifty_thousand_steps_and_no_more() {
    let plan = |steps: usize| {
        let mut text = "drydock: v1\nname: many\nsteps:\n".to_owned();
        for step in 0..steps - 1 {
            text.push_str(&format!("  s{step}: {{ uses: flow.noop }}\n"));
        }
        text.push_str("finally:\n  last: { uses: flow.noop }\n");
        text
    };
    assert_eq!(World::default().plan(&plan(50_000)).steps.len(), 50_000);
    let checked = World::default().check(&plan(50_001));
    let found: Vec<_> =
        checked.findings.iter().map(|finding| (finding.code.0, finding.label.as_str())).collect();
    assert_eq!(found, [("DD211", "step 50001 of 50001")]);
}
