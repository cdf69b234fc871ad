//! Malicious config files, and files that are not config files: a quick error, and never more memory than a run needs.

use std::fs::File;
use std::time::{Duration, Instant};

use rstest::rstest;

use crate::support::{Run, assert_untouched, braze, user_ids};

/// About 1 GB of address space. Nothing here needs nearly that much, except reading a whole file into memory.
const LITTLE_MEMORY: &str = r#"ulimit -v 1000000; exec "$0" "$@""#;
/// Each file takes milliseconds; a file that expands without limit takes minutes.
const AT_ONCE: Duration = Duration::from_mins(1);

#[track_caller]
fn is_refused_at_once(run: Run, words: &[&str]) {
    let braze = braze();
    let started = Instant::now();
    let run = run.env("BRAZE_ENDPOINT", &braze.endpoint()).rows(user_ids(1)).in_shell(LITTLE_MEMORY).exits(2);
    assert!(started.elapsed() < AT_ONCE, "{:?}", started.elapsed());
    assert!(run.stderr.len() < 4000, "{} bytes of message", run.stderr.len());
    run.says(words);
    assert_untouched(&braze);
}

/// Nine of the one before, in as many anchors as there are keys.
fn laughs() -> String {
    let keys = ["endpoint", "partner", "operation", "cohort_id", "cohort_name", "thread_count", "input", "max_outage"];
    let lines = keys.iter().enumerate().map(|(level, key)| {
        let of = if level == 0 { "lol".to_owned() } else { format!("*a{}", level - 1) };
        format!("{key}: &a{level} [{}]\n", vec![of; 9].join(", "))
    });
    lines.collect()
}

/// The same within the value of one key.
fn nested_laughs() -> String {
    let lists: Vec<_> = (1..30).map(|level| format!("&a{level} [*a{}, *a{}]", level - 1, level - 1)).collect();
    format!("cohort_id: vip\naliases: [&a0 [lol, lol], {}]\n", lists.join(", "))
}

#[rstest]
#[case::a_billion_laughs(laughs())]
#[case::a_billion_laughs_in_one_value(nested_laughs())]
#[case::lists_in_lists(format!("aliases: {}", "[".repeat(10_000)))]
#[case::a_hundred_thousand_lists(format!("cohort_id: {}", "[".repeat(100_000)))]
#[case::whole_lists_in_lists(format!("aliases: {}{}", "[".repeat(10_000), "]".repeat(10_000)))]
#[case::maps_in_maps(format!("aliases: {}", "{a: ".repeat(10_000)))]
#[case::lists_in_lines(format!("aliases:\n {}x", "- ".repeat(10_000)))]
#[case::questions("? ".repeat(10_000))]
#[case::one_long_text_many_times(format!("cohort_id: &a {}\naliases: [{}]\n", "x".repeat(400_000), vec!["*a"; 100_000].join(", ")))]
#[case::one_long_number_many_times(format!("cohort_id: &a {}\naliases: [{}]\n", "1".repeat(400_000), vec!["*a"; 100_000].join(",")))]
#[case::one_number_many_times(format!("cohort_id: &a {}\naliases: [{}]\n", "1".repeat(1000), vec!["*a"; 100_000].join(",")))]
#[case::one_long_key_many_times(format!("mapping: {{&a {}: b, {}}}\n", "x".repeat(900), vec!["*a : b"; 100_000].join(",")))]
#[case::directives("%TAG ! tag:example.com,2000:\n".repeat(35_000))]
#[case::different_directives((0..45_000).map(|number| format!("%TAG !{number:x}! t:\n")).collect::<Vec<_>>().concat())]
#[case::directives_of_another_line_break("%TAG ! tag:example.com,2000:\r".repeat(35_000))]
#[case::an_anchor_in_itself("aliases: &a [*a]\n".to_owned())]
#[case::a_nameless_anchor("aliases: *nobody\n".to_owned())]
#[case::one_long_key(format!("{}: 1\n", "k".repeat(1000)))]
#[case::one_endless_key(format!("{}: 1\n", "k".repeat(900_000)))]
#[case::one_long_line("x".repeat(900_000))]
fn a_config_that_is_a_bomb_is_refused_at_once(#[case] text: String) {
    is_refused_at_once(Run::upload().config(&text), &["cohort.yml"]);
}

#[test]
fn a_config_that_is_huge_is_refused_without_being_read() {
    let run = Run::upload().config("");
    File::create(run.path().join("cohort.yml")).unwrap().set_len(2_000_000_000).unwrap();
    is_refused_at_once(run, &["cohort.yml", "larger than 1 MiB"]);
}

#[rstest]
#[case::device_without_end("/dev/zero", "larger than")]
#[case::empty_device("/dev/null", "missing settings: cohort_id")]
#[case::folder(".", "directory")]
#[case::not_there("no/such.yml", "no/such.yml")]
fn a_config_that_is_no_file_is_refused_at_once(#[case] path: &str, #[case] word: &str) {
    is_refused_at_once(Run::command(&["upload", path]), &[word]);
    is_refused_at_once(Run::command(&["check", path]), &[word]);
    is_refused_at_once(Run::operator(&serde_json::json!({ "config": path })), &[word]);
}

#[test]
fn a_config_that_is_no_text_is_refused() {
    let run = Run::upload().config("").file("cohort.yml", b"cohort_id: \xff\xfe\n");
    is_refused_at_once(run, &["cohort.yml", "UTF-8"]);
}

#[rstest]
#[case::lists("[", 200_000)]
#[case::maps("{\"a\":", 200_000)]
fn parameters_that_are_a_bomb_are_refused_at_once(#[case] open: &str, #[case] depth: usize) {
    let text = format!("{{\"params\": {{\"aliases\": {}", open.repeat(depth));
    is_refused_at_once(Run::operator(&serde_json::Value::Null).file("in.json", text), &["in.json"]);
}

#[test]
fn a_variable_that_is_a_bomb_is_taken_as_text() {
    let run = Run::upload().set("cohort_id", "vip").set("aliases", "${td.x}").env("td", &"[".repeat(50_000));
    is_refused_at_once(run, &["td.x"]);
}
