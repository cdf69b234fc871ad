//! Messages about settings, credentials, usage, and the files and addresses that settings name.

use std::path::Path;

use serde_json::{Value, json};

use super::{Section, denied, full, texts};
use td_braze_cohort::commands::digdag;
use td_braze_cohort::commands::operator::parameters_of;
use td_braze_cohort::commands::outcome::Stop;
use td_braze_cohort::delivery::failed_file::FailuresError;
use td_braze_cohort::http::endpoint::{self, EndpointError};
use td_braze_cohort::http::proxy::{Proxy, ProxyError};
use td_braze_cohort::http::tls::TrustError;
use td_braze_cohort::sandbox::{self, RateLimit};
use td_braze_cohort::settings::credentials::{from_environment, rest_api_key, td_api_key, td_server};
use td_braze_cohort::settings::raw::{Located, Origin, SettingsLayer};
use td_braze_cohort::settings::setting::Key;
use td_braze_cohort::settings::template::TemplateError;
use td_braze_cohort::settings::{Config, ConfigError, read_file, yaml};

pub fn sections() -> Vec<Section> {
    vec![
        ("The config file as a whole", files()),
        ("Values of settings", values()),
        ("Templates in settings", texts(templates().map(|error| in_file(Key::CohortName, error)))),
        ("endpoint, allow_endpoint and TD_API_SERVER", endpoints()),
        ("ca_file", texts(certificates())),
        ("Credentials", credentials()),
        ("The proxy", proxies()),
        ("The workflow's parameters", parameters()),
        ("Other settings and usage", texts(other())),
        ("The result, a warning only", results()),
        ("failed_file", places()),
        ("The sandbox", sandbox()),
    ]
}

fn line(line: usize) -> Origin {
    Origin::File { path: "cohort.yml".into(), line: Some(line) }
}

fn in_file(key: Key, error: TemplateError) -> ConfigError {
    ConfigError::Template { key, origin: line(2), error }
}

fn files() -> Vec<String> {
    let missing = std::io::Error::from_raw_os_error(2);
    let unreadable = ConfigError::Unreadable { path: "cohrot.yml".into(), error: missing };
    let folder = tempfile::tempdir().unwrap();
    let latin1 = folder.path().join("cohort.yml");
    std::fs::write(&latin1, b"cohort_name: Zo\xeb\n").unwrap();
    let not_text = match read_file(&latin1).unwrap_err() {
        ConfigError::Malformed { message, .. } => yaml::unusable(Path::new("cohort.yml"), &message),
        other => other,
    };
    let long = format!("{}: b\n", "x".repeat(70));
    let large = " ".repeat(yaml::MAX_FILE_BYTES + 1);
    let deep = "[".repeat(1000);
    let contents = [
        &deep,
        "cohort_id: a\nthread_cuont: 3\n",
        "cohort_id: a\nxyzzy: b\n",
        "cohort_id: a\ncohort_id: b\n",
        "cohort_id: a\nclient_secret: b\n",
        "user_ids\nu1\n",
        "aliases: [a\n",
        "cohort_id: a\n\toperation: add\n",
        "cohort_id: a\nmapping: {[a]: b}\n",
        "cohort_id: [a]\n",
        "mapping: {a: user_ids, a: device_ids}\n",
        &long,
        &large,
    ];
    let read = |text: &str| yaml::read(Path::new("cohort.yml"), text).unwrap_err().to_string();
    let mut messages = texts([unreadable, not_text]);
    messages.extend(contents.into_iter().map(read));
    messages
}

/// The messages about these settings, each in line 3.
fn refused(settings: &Value) -> String {
    let written = |value: &Value| Located { raw: value.clone(), origin: line(3) };
    let settings = settings.as_object().unwrap().iter();
    let layer: SettingsLayer = settings.map(|(name, value)| (Key::from_name(name).unwrap(), written(value))).collect();
    Config::check(&layer, true).unwrap_err().to_string()
}

fn values() -> Vec<String> {
    let long = "x".repeat(5000);
    let labels: Vec<_> = (0..1001).map(|number| format!("l{number}")).collect();
    let columns: Vec<_> = (0..10_001).map(|number| format!("c{number}")).collect();
    let wrong = [
        json!({"cohort_id": null}),
        json!({"cohort_id": null, "operation": null, "input": null, "endpoint": null}),
        json!({"cohort_id": "gold_${day}"}),
        json!({"allow_endpoint": "${host}"}),
        json!({"aliases": "[email, phone]"}),
        json!({"cohort_id": true}),
        json!({"cohort_id": 1.5}),
        json!({"cohort_id": ["a"]}),
        json!({"cohort_id": " "}),
        json!({"cohort_id": "a\nb"}),
        json!({ "cohort_name": long }),
        json!({"operation": "ad"}),
        json!({"operation": true}),
        json!({"operation_column": "what"}),
        json!({"operation": null, "operation_column": "user_ids"}),
        json!({"aliases": ["email", "email"]}),
        json!({"aliases": ["user_ids"]}),
        json!({ "aliases": labels }),
        json!({"mapping": "external_id"}),
        json!({"mapping": {"mail": "email"}}),
        json!({"mapping": {"device_ids": "user_ids"}}),
        json!({"mapping": {"a": "user_ids", "b": "user_ids"}}),
        json!({"thread_count": 0}),
        json!({"thread_count": "many"}),
        json!({"thread_count": []}),
        json!({"partner": "a/b"}),
        json!({"input": []}),
        json!({"input": ["a.csv", "-"]}),
        json!({"format": "cvs"}),
        json!({"format": "msgpack"}),
        json!({ "columns": columns }),
        json!({"job_id": "12a"}),
        json!({"job_id": 12, "input": "members.csv"}),
        json!({"job_id": 12, "columns": ["user_ids"]}),
        json!({"job_id": 12, "format": "csv"}),
        json!({"expected_rows": "all"}),
        json!({"expected_rows": -1}),
        json!({"max_rejected": "101%"}),
        json!({"max_outage": "15"}),
        json!({"max_requests_per_hour": 0}),
        json!({"dry_run": "yes"}),
    ];
    let complete = |mut settings: Value| {
        let object = settings.as_object_mut().unwrap();
        object.entry("cohort_id").or_insert(json!("vip"));
        object.entry("operation").or_insert(json!("add"));
        object.entry("endpoint").or_insert(json!("US-03"));
        if !object.contains_key("job_id") {
            object.entry("input").or_insert(json!("a.csv"));
        }
        refused(&settings)
    };
    let mut messages: Vec<_> = wrong.into_iter().map(complete).collect();
    // The same for each setting with a value, for one that holds a key.
    let expected =
        "contains a credential: credentials must not appear in settings; they come from the environment alone".into();
    messages.push(ConfigError::Value { key: Key::Partner, origin: line(3), expected }.to_string());
    messages
}

fn templates() -> impl Iterator<Item = TemplateError> {
    let name = || "td.last_job".to_owned();
    [
        TemplateError::Unknown { name: name(), searched: "the workflow's parameters" },
        TemplateError::Unknown {
            name: "region".into(),
            searched: "the environment (sh> puts the workflow's parameters there)",
        },
        TemplateError::Credential { name: "BRAZE_CLIENT_SECRET".into() },
        TemplateError::DigdagSecret,
        TemplateError::Number { name: name() },
        TemplateError::Empty { name: name() },
        TemplateError::Expression,
        TemplateError::Garbled { name: name() },
        TemplateError::Unclosed,
        TemplateError::Structured { name: name() },
    ]
    .into_iter()
}

fn endpoints() -> Vec<String> {
    let host = || "braze.example.com".to_owned();
    let wrong = [
        ("somewhere", None, EndpointError::NotAnAddress),
        ("rest.iad-01.braze.com", None, EndpointError::NoScheme),
        ("https://me:hush@rest.iad-01.braze.com", None, EndpointError::UserInformation),
        ("https://rest.iad-01.braze.com/users", None, EndpointError::Path),
        ("http://rest.iad-01.braze.com", None, EndpointError::NotHttps),
        ("https://dashboard-01.braze.com", None, EndpointError::NotRest),
        ("https://braze.example.com", None, EndpointError::ForeignHost { host: host() }),
        ("https://braze.example.com", Some("https://braze.example.com"), EndpointError::AllowedHost),
    ];
    let message = |(text, allowed, expected): (&str, Option<&str>, EndpointError)| {
        let allowed: Vec<_> = allowed.into_iter().map(str::to_owned).collect();
        let error = endpoint::parse(text, &allowed).unwrap_err();
        assert_eq!(error, expected);
        ConfigError::Address { origin: line(4), what: "endpoint", error }
    };
    let mut messages = texts(wrong.map(message));
    let (origin, error) = (Origin::Environment("BRAZE_ENDPOINT"), EndpointError::NotHttps);
    messages.push(ConfigError::Address { origin, what: "endpoint", error }.to_string());
    let servers = [
        ("somewhere", EndpointError::NotAServer),
        ("https://td.example.com", EndpointError::ForeignServer { host: "td.example.com".into() }),
    ];
    messages.extend(texts(servers.map(|(text, expected)| {
        let error = td_server(&[], |_| Some(text.to_owned())).unwrap_err();
        assert!(matches!(&error, ConfigError::Address { error, .. } if *error == expected));
        error
    })));
    let other = |name: &str| (name == "TD_ENDPOINT").then(|| "https://api.treasuredata.co.jp".to_owned());
    let error = td_server(&[], other).unwrap_err();
    assert!(matches!(&error, ConfigError::Address { error: EndpointError::NotRead, .. }));
    messages.push(error.to_string());
    messages
}

fn certificates() -> impl Iterator<Item = ConfigError> {
    let errors = [
        TrustError::Unreadable(denied()),
        TrustError::TooLong,
        TrustError::NoCertificate,
        TrustError::BadCertificate { number: 2 },
    ];
    errors.into_iter().map(|error| ConfigError::CaFile { path: "ca.pem".into(), error })
}

fn credentials() -> Vec<String> {
    let values = ["", "${secret:braze.client_secret}", "hush\n", "hush "];
    let refused = |value: &str| from_environment(|_| Some(value.to_owned())).unwrap_err();
    let mut messages = texts(values.map(refused));
    let partner_key = from_environment(|name| (name == "BRAZE_CLIENT_SECRET").then(|| "a-key-of-a-test".to_owned()));
    assert!(matches!(&partner_key, Err(ConfigError::Credential { .. })));
    let td_key = td_api_key(|_| None).unwrap_err();
    let rest_key = rest_api_key(|_| None).unwrap_err();
    messages.extend(texts([partner_key.unwrap_err(), td_key, rest_key, ConfigError::CredentialOnCommandLine]));
    messages
}

fn proxies() -> Vec<String> {
    let refused = |value: &str| -> ProxyError {
        let variable = |name: &str| (name == "HTTPS_PROXY").then(|| value.to_owned());
        Proxy::from_environment("https://rest.iad-01.braze.com", variable).unwrap_err()
    };
    texts(["rubbish://", "socks5://proxy:1080"].map(refused).map(ConfigError::Proxy))
}

fn parameters() -> Vec<String> {
    let sorted = |parameters: Value| digdag::sort(parameters.as_object().unwrap()).unwrap_err();
    let wrong = [
        json!({"braze_cohort": {"operatoin": "add"}}),
        json!({"braze_cohort": "add"}),
        json!({"braze_cohort": {"config": 1}}),
    ];
    let mut messages = texts(wrong.map(|parameters| {
        let error = sorted(parameters);
        assert!(matches!(error, ConfigError::Malformed { .. }));
        error
    }));
    let origin = Origin::Map;
    messages.extend(texts([
        ConfigError::Value {
            key: Key::Operation,
            origin: origin.clone(),
            expected: "must be 'add', 'remove' or 'mirror', not a list".into(),
        },
        ConfigError::Unfilled { key: Key::CohortId, origin: origin.clone() },
        ConfigError::Misplaced { key: Key::AllowEndpoint, origin },
        ConfigError::Missing { keys: vec![Key::CohortId], outside: vec!["cohort_id".into(), "config".into()] },
    ]));
    let protocol = |problem| Stop::Unusable { what: "input.json".into(), problem };
    let inputs: [&[u8]; 3] = [b"cohort_id: vip", b"[]", b"{}"];
    messages.extend(texts(inputs.map(|text| protocol(parameters_of(text).unwrap_err()))));
    messages
}

fn other() -> Vec<Stop> {
    vec![
        ConfigError::MirrorInSandbox.into(),
        ConfigError::NoMirror.into(),
        ConfigError::SameFile.into(),
        Stop::Unusable {
            what: "init:".into(),
            problem: "braze_gold exists, and was not changed: name a folder that does not exist".into(),
        },
        ConfigError::Placeholder {
            name: "cohort_id".into(),
            origin: Origin::File { path: "config/cohort.yml".into(), line: Some(2) },
        }
        .into(),
        Stop::Unwritable { what: "output.json".into(), error: full() },
        Stop::Signals(denied()),
    ]
}

fn results() -> Vec<String> {
    vec![format!("standard output cannot be written ({}); the run is not affected", full())]
}

fn places() -> Vec<String> {
    let device = std::io::Error::other("it is a device, pipe or socket, not a regular file");
    let failed = |path: &str, error| Stop::CannotWrite(FailuresError { name: "failed_file", path: path.into(), error });
    texts([failed("run/failed.csv", denied()), failed("/dev/null", device)])
}

fn sandbox() -> Vec<String> {
    let in_use = || std::io::Error::from_raw_os_error(98);
    let anywhere = ([0, 0, 0, 0], 4000).into();
    let here = ([127, 0, 0, 1], 4000).into();
    let users = csv::Error::from(std::io::Error::from_raw_os_error(2));
    let mut messages = texts([
        Stop::Sandbox(sandbox::Error::NotLoopback { listen: anywhere }),
        Stop::Sandbox(sandbox::Error::Listen { listen: here, source: in_use() }),
        Stop::Sandbox(sandbox::Error::Users { path: "users.csv".into(), source: users }),
    ]);
    let limit = "many".parse::<RateLimit>().unwrap_err();
    let _: &sandbox::RateLimitError = &limit;
    messages.push(limit.to_string());
    messages
}
