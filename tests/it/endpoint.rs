//! Where the data may go.

use rstest::rstest;

use crate::support::{Run, assert_untouched, braze, user_ids};

#[test]
fn the_endpoint_may_come_from_the_environment() {
    let braze = braze();
    Run::upload().env("BRAZE_ENDPOINT", &braze.endpoint()).rows(user_ids(1)).exits(0);
    assert_eq!(braze.cohort("vip").unwrap().members, 1);
}

#[test]
fn the_setting_wins_over_the_environment() {
    let (right, wrong) = (braze(), braze());
    Run::upload().to(&right).env("BRAZE_ENDPOINT", &wrong.endpoint()).rows(user_ids(1)).exits(0);
    assert_eq!(right.cohort("vip").unwrap().members, 1);
    assert_untouched(&wrong);
}

#[rstest]
#[case::instance("US-03")]
#[case::new_instance("EU-02")]
#[case::url("https://rest.iad-01.braze.com")]
#[case::loopback("https://localhost:8443")]
fn an_endpoint_of_braze_is_taken(#[case] endpoint: &str) {
    Run::upload().set("endpoint", endpoint).rows(user_ids(1)).arg("--dry-run").exits(0);
}

#[rstest]
#[case::plain_http("http://rest.iad-01.braze.com", &["https"])]
#[case::foreign("https://rest.iad-01.braze.com.example.com", &["allow_endpoint"])]
#[case::path("https://rest.iad-01.braze.com/users/track", &["path"])]
#[case::user("https://me:hush-hush@rest.iad-01.braze.com", &["a user name"])]
#[case::dashboard("https://dashboard-03.braze.com", &["rest."])]
#[case::nothing_known("somewhere", &["US-03"])]
#[case::query("https://rest.iad-01.braze.com?to=elsewhere", &["path or a query"])]
#[case::fragment("https://rest.iad-01.braze.com#elsewhere", &["endpoint"])]
#[case::user_that_looks_like_a_host("https://rest.iad-01.braze.com@evil.example", &["a user name"])]
#[case::backslash("https://evil.example\\@rest.iad-01.braze.com", &["endpoint"])]
#[case::letters_that_look_alike("https://rest.i\u{430}d-01.braze.com", &["endpoint"])]
#[case::braze_in_a_path("https://evil.example/.braze.com", &["path"])]
#[case::loopback_in_a_name("http://127.0.0.1.evil.example", &["https"])]
#[case::localhost_in_a_name("http://localhost.evil.example", &["https"])]
#[case::no_scheme("rest.iad-01.braze.com", &["write https:// before it"])]
#[case::behind_an_address("http://[::1].evil.example", &["endpoint"])]
#[case::right_behind_an_address("http://[::1]evil.example", &["endpoint"])]
#[case::an_old_address_in_brackets("http://[127.0.0.1]", &["endpoint"])]
#[case::every_address("http://0.0.0.0:80", &["https"])]
#[case::another_scheme("file:///etc/passwd", &["endpoint"])]
fn an_endpoint_that_is_not_brazes_is_refused(#[case] endpoint: &str, #[case] words: &[&str]) {
    let run = Run::upload().set("endpoint", endpoint).rows(user_ids(1)).exits(2);
    run.says(&["endpoint"]).says(words).hides(&["hush-hush"]);
    let run = Run::upload().env("BRAZE_ENDPOINT", endpoint).rows(user_ids(1)).exits(2);
    run.says(&["BRAZE_ENDPOINT"]).says(words).hides(&["hush-hush"]);
}

#[rstest]
#[case("allow_endpoint", "proxy.example.com")]
#[case("ca_file", "ca.pem")]
fn what_decides_where_the_keys_go_is_never_filled_in(#[case] key: &str, #[case] value: &str) {
    let run = Run::upload().set("endpoint", "https://proxy.example.com").set(key, "${value}").env("value", value);
    run.rows(user_ids(1)).arg("--dry-run").exits(2).says(&[key, "cohort.yml, line 5", "never filled in"]);
}

#[test]
fn another_host_may_be_allowed_by_the_environment() {
    let run = || Run::upload().set("endpoint", "https://proxy.example.com").rows(user_ids(1)).arg("--dry-run");
    run().exits(2);
    run().env("TD_BRAZE_COHORT_ALLOW_ENDPOINT", "a.example, proxy.example.com").exits(0);
    run().env("TD_BRAZE_COHORT_ALLOW_ENDPOINT", "${host}").exits(2).says(&["TD_BRAZE_COHORT_ALLOW_ENDPOINT"]);
}

#[test]
fn another_host_is_allowed_by_name_and_with_https_only() {
    let allowed = |endpoint: &str| {
        let run = Run::upload().set("endpoint", endpoint).set("allow_endpoint", "proxy.example.com");
        run.rows(user_ids(1)).arg("--dry-run")
    };
    allowed("https://proxy.example.com:8443").exits(0);
    allowed("http://proxy.example.com").exits(2);
    allowed("https://other.example.com").exits(2);
}
