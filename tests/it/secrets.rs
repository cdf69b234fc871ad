//! Credentials come only from the environment, and go only into requests.

use rstest::rstest;

use crate::support::{PARTNER_KEY, Run, SECRET, assert_untouched, braze, user_ids};

#[rstest]
fn a_credential_that_cannot_be_one_is_named_before_any_request(
    #[values("BRAZE_CLIENT_SECRET", "BRAZE_PARTNER_API_KEY")] variable: &str,
    #[values(None, Some(""), Some("${secret:braze.key}"), Some("hush-\nhush"), Some("hush-hush\n"))] value: Option<
        &str,
    >,
) {
    let braze = braze();
    let run = Run::upload().to(&braze).rows(user_ids(1));
    let run = match value {
        None => run.without_env(variable),
        Some(value) => run.env(variable, value),
    };
    run.exits(2).says(&[variable]).hides(&["hush-"]);
    assert_untouched(&braze);
}

#[test]
fn a_missing_credential_is_named_with_where_to_get_it() {
    let run = || Run::upload().set("endpoint", "US-01").rows(user_ids(1));
    run().without_env("BRAZE_CLIENT_SECRET").exits(2).says(&["Partner Integrations"]);
    run().without_env("BRAZE_PARTNER_API_KEY").exits(2).says(&["Braze"]);
}

#[rstest]
#[case("client_secret")]
#[case("partner_api_key")]
#[case("BRAZE_CLIENT_SECRET")]
#[case("data_import_key")]
fn a_credential_in_yaml_is_refused_and_not_repeated(#[case] key: &str) {
    let braze = braze();
    let run = Run::upload().to(&braze).set(key, "hush-hush-hush").rows(user_ids(1));
    run.exits(2).says(&[key, "environment", "cohort.yml", "line 5"]).hides(&["hush-hush-hush"]);
    assert_untouched(&braze);
}

#[rstest]
#[case(&["--client-secret", "hush-hush-hush"])]
#[case(&["--client-secret=hush-hush-hush"])]
#[case(&["--partner-api-key", "hush-hush-hush"])]
#[case(&["--partner-api-key=hush-hush-hush"])]
fn a_credential_as_a_flag_is_refused_and_not_repeated(#[case] flags: &[&str]) {
    let braze = braze();
    let run = flags.iter().fold(Run::upload().to(&braze).rows(user_ids(1)), |run, flag| run.arg(flag));
    run.exits(2).hides(&["hush-hush-hush"]);
    assert_untouched(&braze);
}

#[rstest]
#[case::client_secret("BRAZE_CLIENT_SECRET", "data import key")]
#[case::partner_key("BRAZE_PARTNER_API_KEY", "artner")]
fn a_wrong_credential_ends_the_run_before_any_member_is_sent(#[case] variable: &str, #[case] word: &str) {
    let braze = braze();
    let run = Run::upload().to(&braze).env(variable, "hush-wrong-one").env("RUST_LOG", "trace");
    let run = run.rows(user_ids(2999) + "member-zqx\r\n").exits(4);
    run.says(&[word]).hides(&["hush-wrong-one", "member-zqx"]);
    let stats = braze.stats();
    assert_eq!((stats.naming_requests, stats.users_requests, stats.statuses[&401]), (1, 0, 1));
}

#[test]
fn a_wrong_credential_ends_a_remove_without_a_name_too() {
    let braze = braze();
    let run = Run::upload().to(&braze).set("operation", "remove").env("BRAZE_CLIENT_SECRET", "hush-wrong-one");
    run.rows(user_ids(3000)).exits(4).hides(&["hush-wrong-one"]);
    let stats = braze.stats();
    assert_eq!((stats.naming_requests, stats.users_requests, stats.identifiers_removed), (0, 1, 0));
}

#[test]
fn even_the_most_talkative_log_holds_neither_credentials_nor_identifiers() {
    let braze = braze();
    let rows = "user_ids,email\nnobody-shall-see-me,nor-me@example.com\n";
    let run = Run::upload().to(&braze).set("aliases", "email").env("RUST_LOG", "trace").rows(rows).exits(0);
    assert!(!run.stderr.is_empty());
    run.hides(&["nobody-shall-see-me", "nor-me@example.com", SECRET, PARTNER_KEY]);
}

#[test]
fn a_key_in_a_wrong_place_is_refused_without_being_shown() {
    let braze = crate::support::braze();
    for (key, value) in [("operation", SECRET), ("cohort_id", SECRET), ("cohort_name", PARTNER_KEY)] {
        Run::upload().to(&braze).set(key, value).rows(user_ids(1)).exits(2).hides(&[SECRET, PARTNER_KEY]);
        Run::upload().to(&braze).set(key, value).rows(user_ids(1)).arg("--dry-run").exits(2).hides(&[SECRET]);
    }
    Run::upload().to(&braze).config(SECRET).exits(2).hides(&[SECRET]);
    Run::upload().to(&braze).arg(SECRET).exits(2).hides(&[SECRET]);
    crate::support::assert_untouched(&braze);
}

#[test]
fn what_braze_says_of_an_identifier_is_logged_without_it() {
    let server = crate::scripted::Scripted::start(|seen| {
        if seen.user_ids().iter().any(|id| id == "member-zqx") {
            crate::scripted::Act::message("400 Bad Request", "user_ids member-zqx is not valid")
        } else {
            crate::scripted::Act::success()
        }
    });
    let run = Run::upload().set("endpoint", server.endpoint()).rows(user_ids(9) + "member-zqx\r\n").exits(5);
    run.hides(&["member-zqx"]).says(&["[identifier] is not valid"]);
}

#[test]
fn a_long_message_that_repeats_identifiers_in_lower_case_costs_nothing_and_shows_none() {
    let server = crate::scripted::Scripted::start(|seen| {
        let repeated = seen.user_ids().join(", ").to_lowercase();
        if seen.user_ids().len() > 100 {
            crate::scripted::Act::message("400 Bad Request", &repeated.chars().cycle().take(60_000).collect::<String>())
        } else {
            crate::scripted::Act::success()
        }
    });
    let rows: Vec<_> = (0..4000).map(|number| format!("Zoe-zqx.{number:04}@Example.com")).collect();
    let began = std::time::Instant::now();
    let run =
        Run::upload().set("endpoint", server.endpoint()).rows(format!("user_ids\n{}\n", rows.join("\n"))).exits(0);
    assert!(began.elapsed() < std::time::Duration::from_secs(20), "{:?}", began.elapsed());
    run.says(&["is split: status 400: [identifier], [identifier]"]).hides(&["zoe-zqx", "Zoe-zqx", "@example.com"]);
}
