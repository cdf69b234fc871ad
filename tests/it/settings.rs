//! Settings: their sources, and the messages about wrong ones.

use rstest::rstest;

use crate::support::{Run, assert_untouched, braze, user_ids};

#[test]
fn numbers_may_come_as_text_and_ids_as_numbers() {
    let braze = braze();
    let run = Run::upload().to(&braze).set("cohort_id", "4711").set("thread_count", "\"2\"").rows(user_ids(1));
    run.arg("--json").exits(0);
    assert_eq!(braze.cohort("4711").unwrap().user_ids, ["u0"]);
}

#[rstest]
#[case::list("[email, phone]")]
#[case::text("email, phone")]
fn aliases_are_a_list_or_a_text_with_commas(#[case] aliases: &str) {
    let braze = braze();
    Run::upload().to(&braze).set("aliases", aliases).rows("phone,email\n1,a@example.com\n").exits(0);
    let labels: Vec<_> = braze.cohort("vip").unwrap().aliases.into_iter().map(|alias| alias.alias_label).collect();
    assert_eq!(labels, ["email", "phone"]);
}

#[test]
fn templates_are_filled_in_from_the_environment() {
    let braze = braze();
    let run =
        Run::upload().to(&braze).set("cohort_id", "c-${region}").set("expected_rows", "${td.last_job.num_records}");
    let run = run.env("region", "eu").env("td", r#"{"last_job":{"num_records":2}}"#);
    run.rows(user_ids(2)).exits(0);
    assert_eq!(braze.cohort("c-eu").unwrap().members, 2);
}

#[test]
fn a_value_that_was_filled_in_is_no_yaml_and_no_template() {
    let braze = braze();
    let run = || Run::upload().to(&braze).set("cohort_name", "${name}").rows(user_ids(1));
    run().env("name", "a: [b] $c # d").exits(0);
    assert_eq!(braze.cohort("vip").unwrap().name.as_deref(), Some("a: [b] $c # d"));
    run().env("name", "gold_${day}").exits(2).says(&["cohort_name", "cohort.yml, line 5", "contains ${...}"]);
    assert_eq!(braze.cohort("vip").unwrap().name.as_deref(), Some("a: [b] $c # d"));
}

#[test]
fn all_missing_settings_are_named_in_one_message() {
    Run::command(&["upload", "cohort.yml"])
        .file("cohort.yml", "thread_count: 4\n")
        .exits(2)
        .says(&["missing settings: cohort_id, operation, endpoint, input."]);
    let run = Run::command(&["upload", "cohort.yml", "--dry-run", "--input", "members.csv"]).rows(user_ids(1));
    run.file("cohort.yml", "operation_column: what\n").exits(2).says(&["missing settings: cohort_id."]);
}

#[rstest]
#[case("+4912")]
#[case("-0")]
#[case("0x10")]
#[case("1_000")]
#[case("0o17")]
#[case("+0b1")]
#[case("007")]
#[case("1e5")]
fn an_id_is_taken_as_it_is_written(#[case] id: &str) {
    let braze = braze();
    let run = Run::upload().to(&braze).set("cohort_id", id).set("cohort_name", id).set("aliases", &format!("[a{id}]"));
    run.set("mapping", &format!("{{mail: a{id}, {id}: user_ids}}"))
        .rows(format!("{id},mail\nu1,\n,a@example.com\n"))
        .exits(0);
    let cohort = braze.cohort(id).unwrap();
    assert_eq!((cohort.name.as_deref(), cohort.user_ids.as_slice()), (Some(id), ["u1".to_owned()].as_slice()));
    assert_eq!(cohort.aliases[0].alias_label, format!("a{id}"));
    let run = Run::upload().to(&braze).set("cohort_id", "list").set("aliases", &format!("[{id}]"));
    run.rows(format!("{id}\na@example.com\n")).exits(0);
    assert_eq!(braze.cohort("list").unwrap().aliases[0].alias_label, id);
}

#[test]
fn a_value_that_lost_its_letters_on_the_way_is_refused() {
    let braze = braze();
    let run = || Run::upload().to(&braze).set("cohort_id", "${plan}").env("plan", "????").rows(user_ids(1));
    run().exits(2).says(&["cohort.yml", "cohort_id: the value of ${plan}", "LC_ALL: C.UTF-8", "py>"]);
    run().env("LANG", "C").exits(2);
    assert_untouched(&braze);
    run().env("LANG", "C").env("LC_ALL", "C.UTF-8").exits(0);
    run().env("LANG", "C").env("plan", "gold").exits(0);
}

#[test]
fn a_list_may_be_filled_in_as_its_json() {
    let braze = braze();
    let run = Run::upload().to(&braze).set("aliases", "'${labels}'").env("labels", r#"["phone","email"]"#);
    run.rows("phone,email\n1,a@example.com\n").exits(0);
    let run = Run::upload().to(&braze).set("aliases", r#"'["phone","email"]'"#).rows("phone,email\n1,a@example.com\n");
    run.exits(0);
    assert_eq!(braze.cohort("vip").unwrap().aliases.len(), 2);
    let run = Run::upload().to(&braze).set("aliases", "'[phone, email]'").rows(user_ids(1));
    run.exits(2).says(&["aliases begins with [", "line"]);
}

#[rstest]
#[case::unknown("${nowhere}", "nowhere")]
#[case::unknown_inside("${td.last_job.size}", "td.last_job.size")]
#[case::expression("${1 + 1}", "JavaScript")]
#[case::client_secret("${BRAZE_CLIENT_SECRET}", "credential")]
#[case::partner_key("${BRAZE_PARTNER_API_KEY}", "credential")]
#[case::digdag_secret("${secret:braze.client_secret}", "secret")]
fn a_template_that_cannot_be_filled_in_is_an_error(#[case] template: &str, #[case] word: &str) {
    let braze = braze();
    let run = Run::upload().to(&braze).set("cohort_name", &format!("\"{template}\"")).env("td", r#"{"last_job":{}}"#);
    run.rows(user_ids(1)).exits(2).says(&[word]);
    assert_untouched(&braze);
}

#[rstest]
#[case::typo("thread_cuont: 3", &["thread_cuont", "thread_count", "cohort.yml", "line 4"])]
#[case::unknown("colour: red", &["colour", "cohort.yml", "line 4"])]
#[case::twice("operation: add", &["operation", "twice", "cohort.yml", "line 4"])]
#[case::thread_count_is_no_number("thread_count: many", &["thread_count", "cohort.yml", "line 4"])]
#[case::thread_count_zero("thread_count: 0", &["thread_count", "from 1 to 256", "cohort.yml", "line 4"])]
#[case::thread_count_too_high("thread_count: 257", &["thread_count", "from 1 to 256", "line 4"])]
#[case::thread_count_fraction("thread_count: 1.5", &["thread_count", "line 4"])]
#[case::name_is_a_list("cohort_name: [a]", &["cohort_name", "line 4"])]
#[case::name_is_a_map("cohort_name: {a: b}", &["cohort_name", "line 4"])]
#[case::aliases_are_a_map("aliases: {a: b}", &["aliases", "line 4"])]
#[case::expected_rows_is_text("expected_rows: all", &["expected_rows", "line 4"])]
#[case::max_outage_has_no_unit("max_outage: soon", &["max_outage", "line 4"])]
#[case::no_yaml("aliases: [a", &["cohort.yml"])]
fn a_wrong_key_is_named_with_file_and_line(#[case] line: &str, #[case] words: &[&str]) {
    let braze = braze();
    let good = "cohort_id: vip\noperation: add\ninput: members.csv\n";
    let run = Run::upload().env("BRAZE_ENDPOINT", &braze.endpoint()).config(&format!("{good}{line}\n"));
    run.rows(user_ids(1)).exits(2).says(words);
    assert_untouched(&braze);
}

#[rstest]
#[case("cohort_id")]
#[case("operation")]
#[case("input")]
#[case("endpoint")]
fn a_setting_that_is_required_and_missing_is_named(#[case] key: &str) {
    let braze = braze();
    Run::upload().to(&braze).rows(user_ids(1)).unset(key).exits(2).says(&[key]);
    Run::upload().to(&braze).rows(user_ids(1)).set(key, "\"\"").exits(2).says(&[key]);
    assert_untouched(&braze);
}

#[rstest]
#[case("append")]
#[case("ADD")]
#[case("true")]
#[case("\"true\"")]
fn an_operation_is_add_or_remove(#[case] operation: &str) {
    let braze = braze();
    let run = Run::upload().to(&braze).set("operation", operation).rows(user_ids(1));
    run.exits(2).says(&["operation", "add", "remove", "cohort.yml", "line"]);
    assert_untouched(&braze);
}

#[test]
fn a_config_file_that_is_not_there_is_named() {
    Run::command(&["upload", "cohrot.yml"]).exits(2).says(&["cohrot.yml"]);
}

#[test]
fn an_unknown_flag_and_a_missing_command_are_usage() {
    Run::command(&["upload", "cohort.yml", "--jsno"]).exits(2).says(&["--json"]);
    Run::command(&[]).exits(2);
}
