//! The settings reference, docs/settings.md, compared with the code.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use td_braze_cohort::settings::setting::SETTINGS;

use crate::support::Run;

fn reference() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/settings.md")).unwrap()
}

/// Each key of the first table, with its values and default.
fn documented(text: &str) -> BTreeMap<String, String> {
    let rows =
        text.lines().skip_while(|line| !line.starts_with("| key |")).skip(2).take_while(|line| line.starts_with('|'));
    let cells = rows.map(|row| {
        let mut cells = row.split('|').map(str::trim).skip(1);
        (cells.next().unwrap().trim_matches('`').to_owned(), cells.next().unwrap().to_owned())
    });
    let all: Vec<_> = cells.collect();
    let by_key: BTreeMap<_, _> = all.iter().cloned().collect();
    assert_eq!(all.len(), by_key.len(), "a key is documented twice");
    by_key
}

#[test]
fn every_setting_is_documented_and_no_other() {
    let mut known: Vec<_> = SETTINGS.iter().map(|setting| setting.name.to_owned()).collect();
    known.sort();
    assert_eq!(documented(&reference()).into_keys().collect::<Vec<_>>(), known);
}

#[test]
fn the_documented_defaults_are_those_of_the_code() {
    let documented = documented(&reference());
    let config = Run::upload().parsed_config();
    let defaults = [
        ("thread_count", config.delivery.thread_count.to_string()),
        ("partner", config.braze.partner),
        ("max_outage", format!("{}m", config.delivery.max_outage.as_secs() / 60)),
        ("max_duration", format!("{}h", config.delivery.max_duration.as_secs() / 3600)),
        ("max_requests_per_hour", config.delivery.max_requests_per_hour.to_string()),
        ("request_timeout", format!("{}s", config.delivery.request_timeout.as_secs())),
    ];
    assert_eq!(config.delivery.grace, 2 * config.delivery.request_timeout, "documented is twice the other");
    for (key, default) in defaults {
        let said = documented[key].split("; ").nth(1).unwrap_or_default();
        assert!(said == format!("`{default}`"), "{key}: documented is {said:?}, and the default is {default}");
    }
}

#[test]
fn the_example_with_everything_is_taken() {
    let text = reference();
    let example = text.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let example = example.replace("/etc/ssl/our-proxy.pem", "ca.pem").replace("/var/lib/cohorts/", "");
    let run =
        Run::upload().config(&example).file("part-1.csv", "external_id,mail,change,phone\nu1,a@example.com,add,\n");
    let run = run.env("td", r#"{"last_job": {"num_records": 1}, "last_results": {"possible": 4, "wanted": 3}}"#);
    let run =
        run.file("part-1.csv.gz", crate::formats::gzip(b"external_id,mail,change,phone\nu1,a@example.com,add,\n"));
    run.arg("--dry-run").arg("--json").exits(0).report().has(&[("/identifiers/total", 2)]);
}
