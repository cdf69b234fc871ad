//! A file of settings, or INPUT.json: what comes out is a configuration whose keys go where they may, or an error that can be shown.

use std::io::Write;

use serde_json::json;
use td_braze_cohort::commands::{digdag, operator};
use td_braze_cohort::settings::raw::SettingsLayer;
use td_braze_cohort::settings::{self, Config, ConfigError, template};
use td_braze_cohort::terminal;

pub fn run(data: &[u8]) {
    let Some((form, text)) = data.split_first() else { return };
    let is_workflow = form & 1 != 0;
    let result = if is_workflow { of_workflow(text) } else { of_file(text) };
    // Whether one is needed is all that an endpoint depends on.
    match result {
        Ok(config) => check(&config, is_workflow),
        Err(problem) => {
            let line = terminal::line(&problem);
            assert!(!line.is_empty() && line.len() <= 8000, "{} bytes", line.len());
            assert!(!line.chars().any(char::is_control), "{line:?}");
        }
    }
}

fn of_file(text: &[u8]) -> Result<Config, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text).unwrap();
    let parameters = json!({"cohort": "vip", "td": {"last_job_id": 7}, "list": ["a", "b"], "open": "${x}"});
    let lookup = template::Lookup::Parameters(&parameters);
    let read = || {
        let merged = settings::merge(Some(file.path()), &lookup, SettingsLayer::new(), |_| None)?;
        Config::check(&merged, true)
    };
    read().map_err(|error: ConfigError| error.to_string())
}

fn of_workflow(text: &[u8]) -> Result<Config, String> {
    let parameters = operator::parameters_of(text)?;
    let read = || {
        // The file that it may name is somebody else's matter.
        let sorted = digdag::sort(&parameters)?;
        let parameters = json!({});
        let lookup = template::Lookup::Parameters(&parameters);
        let merged = settings::merge(None, &lookup, sorted.settings, |_| None)?;
        Config::check(&merged, true).map_err(|error| error.with_outside(&sorted.outside))
    };
    read().map_err(|error: ConfigError| error.to_string())
}

fn check(config: &Config, is_workflow: bool) {
    let shown = format!("{config:?}");
    assert!(!shown.contains("${"), "a template is left: {shown}");
    assert!(shown.len() <= 8 << 20, "{} bytes", shown.len());
    if is_workflow {
        assert!(config.allow_endpoint.is_empty() && config.ca_file.is_none(), "{shown}");
    }
    if let Some(endpoint) = &config.braze.endpoint {
        let (scheme, authority) = endpoint.as_str().split_once("://").unwrap();
        let host = authority.trim_end_matches(|letter: char| letter.is_ascii_digit()).trim_end_matches(':');
        let is_known = host.ends_with(".braze.com") || host.ends_with(".braze.eu");
        let is_allowed = config.allow_endpoint.iter().any(|allowed| allowed.eq_ignore_ascii_case(host));
        assert!(endpoint.is_loopback() || scheme == "https" && (is_known || is_allowed), "{shown}");
        assert!(!authority.contains(['@', '/', '\\', '?', '#', ' ']), "{shown}");
    }
    assert!(!config.braze.cohort_id.trim().is_empty(), "{shown}");
    assert!(config.braze.partner.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)), "{shown}");
    let delivery = &config.delivery;
    assert!(delivery.thread_count > 0 && delivery.max_requests_per_hour > 0, "{shown}");
    assert!(!delivery.request_timeout.is_zero() && !delivery.max_duration.is_zero(), "{shown}");
}
