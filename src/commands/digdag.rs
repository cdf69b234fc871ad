//! Digdag's operator protocol: reads settings from INPUT.json, and makes OUTPUT.json from a report or failure. Pure.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::commands::exit::Exit;
use crate::settings::raw::{Located, Origin, SettingsLayer, what};
use crate::settings::setting::Key;
use crate::settings::template::is_template;
use crate::settings::yaml::unknown_key;
use crate::settings::{ConfigError, placeholder};

/// The parameter that holds our settings. A workflow can set them nowhere else.
pub const MAP: &str = "braze_cohort";
/// The report's key in that map, for later tasks.
pub const LAST_UPLOAD: &str = "last_upload";
/// The config file's key in that map.
pub const CONFIG: &str = "config";

/// Our part of the workflow's parameters.
#[derive(Debug, Default)]
pub struct TaskParameters {
    /// The settings of the map `braze_cohort`; they override the file.
    pub settings: SettingsLayer,
    /// The config file.
    pub config: Option<PathBuf>,
    /// Names of settings outside of the map, which are not read.
    pub outside: Vec<String>,
    /// The last upload of this session: the number of its job, and its cohort.
    pub uploaded: Option<(String, String)>,
    /// Its whole report.
    pub last_upload: Value,
}

/// Sorts the parameters. Those of the task, of the workflow and of `-p` arrive in one map and look alike, so only the
/// map [`MAP`] holds settings.
pub fn sort(parameters: &Map<String, Value>) -> Result<TaskParameters, ConfigError> {
    let mut sorted = TaskParameters::default();
    let nothing = Map::new();
    let map = match parameters.get(MAP) {
        None | Some(Value::Null) => &nothing,
        Some(Value::Object(map)) => map,
        Some(other) => {
            let message = format!("{MAP} must be a map of settings, not {}", what(other));
            return Err(ConfigError::Malformed { origin: Origin::Parameter, message });
        }
    };
    sorted.last_upload = map.get(LAST_UPLOAD).cloned().unwrap_or_default();
    let stored = |path: &str| sorted.last_upload.pointer(path)?.as_str().map(str::to_owned);
    sorted.uploaded = stored("/job/id").zip(stored("/cohort_id"));
    // `braze_cohort.dry_run` as a single name; the map overrides it.
    let flat = parameters
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix(MAP)?.strip_prefix('.')?, value, Origin::Parameter)));
    let in_map = map.iter().map(|(name, value)| (name.as_str(), value, Origin::Map));
    for (name, value, origin) in flat.chain(in_map).filter(|(_, value, _)| !value.is_null()) {
        match (name, Key::from_name(name)) {
            (CONFIG, _) => sorted.config = Some(config_path(value, origin)?),
            (_, Some(key)) => {
                sorted.settings.insert(key, Located { raw: value.clone(), origin });
            }
            _ if name == LAST_UPLOAD || name.starts_with("last_upload.") => {}
            _ => return Err(ConfigError::Malformed { origin, message: unknown_key(name) }),
        }
    }
    for (name, value) in parameters.iter().filter(|(_, value)| !value.is_null()) {
        if value.as_str().is_some_and(placeholder::is) {
            return Err(ConfigError::Placeholder { name: name.clone(), origin: Origin::Parameter });
        }
        let key = Key::from_name(name);
        if let Some(key) = key.filter(|key| !key.setting().from_workflow) {
            return Err(ConfigError::Misplaced { key, origin: Origin::Parameter });
        }
        if key.is_some() || name == CONFIG && value.is_string() {
            sorted.outside.push(name.clone());
        }
    }
    Ok(sorted)
}

fn config_path(value: &Value, origin: Origin) -> Result<PathBuf, ConfigError> {
    let path = value.as_str().filter(|path| !path.is_empty() && !is_template(path));
    path.map(PathBuf::from).ok_or_else(|| ConfigError::Malformed {
        origin,
        message: "config must be the path of a YAML file with settings; if it contains ${...}, Digdag did not fill it in: write the \
                  expression directly"
            .to_owned(),
    })
}

/// The report with a null for every value that only the report before it has: Digdag puts a report's values over the others.
pub fn replacing(before: &Value, mut report: Value) -> Value {
    if let (Value::Object(before), Value::Object(now)) = (before, &mut report) {
        for (key, value) in before {
            let new = now.entry(key).or_insert(Value::Null);
            *new = replacing(value, new.take());
        }
    }
    report
}

/// OUTPUT.json of a task that succeeded: later tasks read `${braze_cohort.last_upload.delivered}` and the like.
pub fn success(report: &Value) -> Value {
    json!({"subtask_config": {}, "export_params": {}, "store_params": {MAP: {LAST_UPLOAD: report}}})
}

/// OUTPUT.json of a task that failed. Digdag shows class and message as the task's error.
pub fn failure(exit: Exit, message: &str) -> Value {
    // Digdag evaluates `${...}` in the message again.
    let message = message.replace("${", "$ {");
    json!({"error": {"class": class(exit), "message": message, "backtrace": []}})
}

fn class(exit: Exit) -> &'static str {
    match exit {
        Exit::Success | Exit::Defect => "DefectError",
        Exit::Usage => "ConfigurationError",
        Exit::Input => "InputError",
        Exit::Credentials => "CredentialsError",
        Exit::Refused => "RefusedError",
        Exit::CannotWrite => "CannotWriteError",
        Exit::TryAgain => "UndeliveredError",
        Exit::Interrupted | Exit::Terminated => "StoppedError",
        Exit::SafetyLimit => "SafetyLimitError",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(parameters: &Value) -> Result<TaskParameters, String> {
        sort(parameters.as_object().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn only_the_map_holds_settings_and_others_are_named() {
        let parameters = sorted(&json!({
            "session_time": "2026-11-23T00:00:00+00:00", "task_name": "+main+upload", "cohort_id": 7, "input": null,
            "config": "other.yml", "cohort_nmae": "x", "td": {"operation": "remove"},
            "braze_cohort": {
                "operation": "add", "thread_count": "8", "config": "cohort.yml", "cohort_name": null, "last_upload": {"delivered": 1},
            },
        }))
        .unwrap();
        assert_eq!(parameters.settings.keys().copied().collect::<Vec<_>>(), [Key::Operation, Key::ThreadCount]);
        assert_eq!(parameters.config, Some(PathBuf::from("cohort.yml")));
        assert_eq!(parameters.outside, ["cohort_id", "config"]);
    }

    #[test]
    fn a_flat_name_is_taken_and_the_map_wins_over_it() {
        let parameters = sorted(&json!({
            "braze_cohort.cohort_id": "weak", "braze_cohort.operation": "add", "braze_cohort.config": "cohort.yml",
            "braze_cohort.last_upload.delivered": 1, "braze_cohort": {"cohort_id": "strong", "operation": null},
        }))
        .unwrap();
        let text = |key| parameters.settings[&key].raw.as_str().unwrap();
        assert_eq!([Key::CohortId, Key::Operation].map(text), ["strong", "add"]);
        assert_eq!(parameters.config, Some(PathBuf::from("cohort.yml")));
        assert!(parameters.outside.is_empty());
    }

    #[test]
    fn nothing_is_left_of_the_report_before() {
        let before =
            json!({"job": {"id": "1"}, "identifiers": {"total": 3, "aliases": {"email": 3}}, "match": null, "ok": 1});
        let report = json!({"identifiers": {"total": 2, "aliases": {"phone": 2}}, "ok": [1]});
        let expected = json!({
            "identifiers": {"total": 2, "aliases": {"phone": 2, "email": null}}, "ok": [1], "job": null, "match": null,
        });
        assert_eq!(replacing(&before, report.clone()), expected);
        assert_eq!(replacing(&Value::Null, report.clone()), report);
    }

    #[test]
    fn digdag_finds_nothing_to_evaluate_in_the_message_of_a_failure() {
        let output = failure(Exit::Usage, "${td.last_job} is not known, nor ${${x}}");
        assert_eq!(output["error"]["message"], "$ {td.last_job} is not known, nor $ {$ {x}}");
    }

    #[test]
    fn the_map_is_strict() {
        let error = sorted(&json!({"braze_cohort": {"operatoin": "add"}})).unwrap_err();
        assert!(error.contains("did you mean 'operation'"), "{error}");
        assert!(sorted(&json!({"braze_cohort.operatoin": "add"})).unwrap_err().contains("did you mean 'operation'"));
        assert!(sorted(&json!({"braze_cohort": "add"})).unwrap_err().contains("must be a map"));
        assert!(sorted(&json!({"braze_cohort": {"config": "${name}.yml"}})).unwrap_err().contains("config"));
    }

    #[test]
    fn what_decides_where_the_keys_go_is_refused_anywhere_in_a_workflow() {
        for name in ["allow_endpoint", "ca_file"] {
            let error = sorted(&json!({ name: "evil.example" })).unwrap_err();
            assert!(error.contains(name) && error.contains("config file"), "{error}");
        }
    }
}
