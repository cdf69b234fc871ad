//! Digdag's operator protocol: INPUT.json into layers of settings, an account or a failure into OUTPUT.json. Pure.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::config::ConfigError;
use crate::config::key::Key;
use crate::config::raw::{Layer, Origin, Raw, Written, unknown_key};
use crate::exit::Exit;

/// The map of ours among the parameters.
pub const MAP: &str = "braze_cohort";
/// The name of the account in that map, for later tasks.
pub const LAST_UPLOAD: &str = "last_upload";
/// The parameter that names a config file.
pub const CONFIG: &str = "config";

/// What the parameters say, before the config file is read.
#[derive(Debug, Default)]
pub struct Parameters {
    /// From the map `braze_cohort`; the defaults.
    pub export: Layer,
    /// The config file, which goes over them.
    pub config: Option<PathBuf>,
    /// From the parameters that bear exactly our names; these go over the file.
    pub own: Layer,
    /// Parameters that miss one of our names by a letter or two: as written, and as probably meant.
    pub near_misses: Vec<(String, &'static str)>,
}

/// Sorts the parameters. Those that are none of ours are Digdag's or the user's own.
pub fn sort(parameters: &Map<String, Value>) -> Result<Parameters, ConfigError> {
    let mut sorted = Parameters::default();
    match parameters.get(MAP) {
        None | Some(Value::Null) => {}
        Some(Value::Object(map)) => {
            for (name, value) in map {
                match (name.as_str(), Key::from_name(name)) {
                    (LAST_UPLOAD, _) => {}
                    (CONFIG, _) => sorted.config = Some(config_path(value)?),
                    (_, Some(key)) => {
                        sorted.export.insert(key, Written { raw: Raw::from(value), origin: Origin::Export });
                    }
                    (_, None) => {
                        return Err(ConfigError::UnknownKey { origin: Origin::Export, message: unknown_key(name) });
                    }
                }
            }
        }
        Some(other) => {
            let message = format!("{MAP} has to be a map of settings, not {}", Raw::from(other).what());
            return Err(ConfigError::UnknownKey { origin: Origin::Parameter, message });
        }
    }
    for (name, value) in parameters {
        if name == CONFIG {
            sorted.config = Some(config_path(value)?);
        } else if let Some(key) = Key::from_name(name) {
            sorted.own.insert(key, Written { raw: Raw::from(value), origin: Origin::Parameter });
        } else if let Some(meant) = Key::nearest(name).filter(|_| name != MAP) {
            sorted.near_misses.push((name.clone(), meant.name()));
        }
    }
    Ok(sorted)
}

fn config_path(value: &Value) -> Result<PathBuf, ConfigError> {
    value.as_str().filter(|path| !path.is_empty()).map(PathBuf::from).ok_or_else(|| ConfigError::UnknownKey {
        origin: Origin::Parameter,
        message: "config has to be the path of a YAML file with settings".to_owned(),
    })
}

/// OUTPUT.json of a task that succeeded: later tasks read `${braze_cohort.last_upload.delivered}` and the like.
pub fn success(account: &Value) -> Value {
    json!({"subtask_config": {}, "export_params": {}, "store_params": {MAP: {LAST_UPLOAD: account}}})
}

/// OUTPUT.json of a task that failed: Digdag shows class and message as the task's error.
pub fn failure(exit: Exit, message: &str) -> Value {
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

    fn sorted(parameters: &Value) -> Result<Parameters, String> {
        sort(parameters.as_object().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_map_the_file_and_our_own_names_are_told_apart() {
        let parameters = sorted(&json!({
            "session_time": "2026-11-23T00:00:00+00:00", "task_name": "+main+upload", "cohort_id": 7,
            "config": "cohort.yml", "cohort_nmae": "x",
            "braze_cohort": {"operation": "add", "thread_count": "8", "last_upload": {"delivered": 1}},
        }))
        .unwrap();
        assert_eq!(parameters.export.keys().copied().collect::<Vec<_>>(), [Key::Operation, Key::ThreadCount]);
        assert_eq!(parameters.own.keys().copied().collect::<Vec<_>>(), [Key::CohortId]);
        assert_eq!(parameters.config, Some(PathBuf::from("cohort.yml")));
        assert_eq!(parameters.near_misses, [("cohort_nmae".to_owned(), "cohort_name")]);
    }

    #[test]
    fn the_map_is_strict() {
        let error = sorted(&json!({"braze_cohort": {"operatoin": "add"}})).unwrap_err();
        assert!(error.contains("did you mean 'operation'"), "{error}");
        assert!(sorted(&json!({"braze_cohort": "add"})).unwrap_err().contains("has to be a map"));
    }
}
