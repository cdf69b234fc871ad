//! How many of a sample Braze knows: `match`, and `min_match` before an upload.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rstest::rstest;
use serde_json::{Value, json};
use td_braze_cohort::sandbox::Sandbox;

use crate::scripted::{Act, Scripted};
use crate::support::{PARTNER_KEY, REST_KEY, Run, assert_untouched, braze_with};

const USERS: &str = "users.csv";

/// A sandbox that knows these users.
fn knowing(users: &str) -> Sandbox {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(USERS);
    fs::write(&path, users).unwrap();
    braze_with(|options| options.users = Some(path))
}

/// 60 external IDs, 30 aliases and 6 devices.
fn rows() -> String {
    let rows = (0..60).map(|number| {
        let email = if number < 30 { format!("Member-Zqx-{number}@example.com") } else { String::new() };
        let device = if number < 6 { format!("device-zqx-{number}") } else { String::new() };
        format!("member-zqx-{number},{email},{device}\n")
    });
    std::iter::once("user_ids,email,device_ids\n".to_owned()).chain(rows).collect()
}

/// 45 of the external IDs, 25 of the aliases in lower case; of the devices 3 of anonymous users and 2 of identified ones.
fn users() -> String {
    let rows = (0..45).map(|number| {
        let email = if number < 25 { format!("member-zqx-{number}@example.com") } else { String::new() };
        let device = if number < 2 { format!("device-zqx-{number}") } else { String::new() };
        format!("member-zqx-{number},{email},{device}\n")
    });
    let anonymous = (2..5).map(|number| format!(",,device-zqx-{number}\n"));
    std::iter::once("external_id,email,device_id\n".to_owned()).chain(rows).chain(anonymous).collect()
}

fn asking(braze: &Sandbox) -> Run {
    Run::asking().to(braze).set("aliases", "email").rows(rows())
}

fn uploading(braze: &Sandbox) -> Run {
    Run::upload().to(braze).env("BRAZE_REST_API_KEY", REST_KEY).set("aliases", "email").rows(rows())
}

const IDENTIFIERS: [&str; 3] = ["member-zqx-", "Member-Zqx-", "device-zqx-"];

#[test]
fn each_kind_is_told_with_its_share_and_with_what_to_change_in_the_query() {
    let braze = knowing(&users());
    let outcome = asking(&braze).exits(0).hides(&IDENTIFIERS).prints(&[
        "If Braze knows no identifier of a kind",
        "user_ids        60 of 60 asked   75.0 % known (75.0 to 75.0)   about 45",
        "email           30 of 30 asked   0.0 % known (0.0 to 0.0)   about 0   25 of the 30 unknown exist in lower case",
        "device_ids       6 of  6 asked   50.0 % anonymous (50.0 to 50.0) (they match), 33.3 % belong to identified users (Braze ignores them), 16.7 % unknown",
        "write LOWER(email) in the query",
    ]);
    assert!(outcome.stdout.starts_with("If Braze knows no identifier of a kind"), "{outcome}");
    // Two for external IDs, one for aliases, one for each device, and for the misses one of aliases and one of devices.
    assert_eq!(braze.stats().statuses, [(201, 2 + 1 + 6 + 1 + 1)].into());
    assert!(braze.cohort("vip").is_none());
}

#[test]
fn the_same_is_there_as_json_and_the_unknown_ones_in_a_file_for_its_owner_alone() {
    let braze = knowing(&users());
    let outcome = asking(&braze).arg("--json").arg("--unknown").arg("unknown.csv").exits(0).hides(&IDENTIFIERS);
    let figures: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(figures["kinds"]["user_ids"]["known"], 45);
    assert_eq!(figures["kinds"]["email"]["exist"], json!({"lower_case": 25}));
    assert_eq!(figures["kinds"]["device_ids"]["of_identified_users"], 2);
    assert_eq!(figures["requests"], 11);
    let path = outcome.path().join("unknown.csv");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let unknown = fs::read_to_string(&path).unwrap();
    assert_eq!(unknown.lines().count(), 1 + 15 + 30 + 1, "{unknown}");
    assert!(
        unknown.contains("member-zqx-59") && !unknown.contains("member-zqx-44") && unknown.contains("device-zqx-5")
    );
}

#[rstest]
#[case::input("members.csv", "it is the input")]
#[case::folder(".", "is a directory")]
#[case::foreign("notes.txt", "not overwritten")]
fn the_file_of_unknown_ones_destroys_nothing(#[case] path: &str, #[case] words: &str) {
    let braze = knowing(&users());
    let run = asking(&braze).file("notes.txt", "keep this").arg("--unknown").arg(path);
    run.exits(73).says(&["--unknown", words]);
    assert_untouched(&braze);
}

#[test]
fn the_sample_does_not_depend_on_the_order_of_the_rows() {
    let braze = knowing(&users());
    let figures = |rows: String| {
        let outcome = asking(&braze).rows(rows).arg("--sample").arg("20").arg("--json").exits(0);
        serde_json::from_str::<Value>(&outcome.stdout).unwrap()
    };
    let mut turned: Vec<_> = rows().lines().map(|line| format!("{line}\n")).collect();
    turned[1..].reverse();
    let (one, other) = (figures(rows()), figures(turned.concat()));
    assert_eq!(one, other);
    assert_eq!(
        (&one["kinds"]["user_ids"]["asked"], &one["kinds"]["user_ids"]["identifiers"]),
        (&json!(20), &json!(60))
    );
}

#[test]
fn it_can_be_tried_without_any_key() {
    let run = Run::command(&["match", "cohort.yml", "--sandbox", "--users", USERS]).without_credentials();
    let run = run.config("{cohort_id: vip, operation: add, aliases: [email], input: members.csv}").rows(rows());
    run.file(USERS, users()).exits(0).hides(&IDENTIFIERS).prints(&["75.0 % known"]);
}

#[test]
fn no_more_than_200_requests_are_made_and_what_does_not_fit_is_said() {
    let braze = knowing("external_id\nsomebody\n");
    let rows = (0..250).map(|number| format!("device-zqx-{number}\n"));
    let rows: String = std::iter::once("device_ids\n".to_owned()).chain(rows).collect();
    let run = Run::asking().to(&braze).rows(rows).arg("--sample").arg("1000");
    run.exits(0).hides(&IDENTIFIERS).prints(&["device_ids: 50 more of the sample were not asked", "200 of 250 asked"]);
    assert_eq!(braze.stats().statuses, [(201, 200)].into());
}

#[test]
fn a_limit_of_braze_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(USERS), users()).unwrap();
    let braze = braze_with(|options| {
        options.users = Some(folder.path().join(USERS));
        options.rate_limit = Some("6/1".parse().unwrap());
    });
    asking(&braze).exits(0).prints(&["75.0 % known"]);
    assert_eq!(braze.stats().statuses.get(&201), Some(&11));
}

#[rstest]
#[case::wrong("hush-some-other-key-4715", "Invalid API key")]
#[case::without_the_permission(PARTNER_KEY, "Access denied")]
fn a_key_that_is_refused_names_the_permission(#[case] key: &str, #[case] said: &str) {
    let braze = knowing(&users());
    let words = ["BRAZE_REST_API_KEY", "users.export.ids", said];
    asking(&braze).env("BRAZE_REST_API_KEY", key).exits(4).says(&words).hides(&[key]);
    let run = uploading(&braze).set("min_match", "10%").env("BRAZE_REST_API_KEY", key);
    run.exits(4).says(&words).hides(&IDENTIFIERS);
    assert_eq!((braze.stats().naming_requests, braze.stats().users_requests), (0, 0));
}

#[test]
fn a_missing_key_ends_what_needs_it_before_anything_is_asked() {
    let braze = knowing(&users());
    asking(&braze)
        .without_env("BRAZE_REST_API_KEY")
        .exits(2)
        .says(&["BRAZE_REST_API_KEY is missing", "users.export.ids"]);
    let run = uploading(&braze).set("min_match", "10%").without_env("BRAZE_REST_API_KEY");
    run.exits(2).says(&["BRAZE_REST_API_KEY is missing"]);
    assert_untouched(&braze);
    uploading(&braze).without_env("BRAZE_REST_API_KEY").exits(0);
}

#[rstest]
#[case::file(|run: Run| run)]
#[case::standard_input(|run: Run| run.set("input", "'-'").stdin(rows()))]
fn an_upload_of_which_too_few_are_known_is_not_sent(#[case] input: fn(Run) -> Run) {
    let braze = knowing(&users());
    let run = input(uploading(&braze)).set("min_match", "80%").arg("--json").exits(6).hides(&IDENTIFIERS);
    let said = ["Braze knows 75.0 % of ", "below min_match (80 %). Nothing was sent"];
    let outcome = run.says(&said);
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!((&report["match"]["kinds"]["user_ids"]["known"], &report["exit_code"]), (&json!(45), &json!(6)));
    assert_eq!((braze.stats().naming_requests, braze.stats().users_requests), (0, 0));
}

#[rstest]
#[case::file(|run: Run| run)]
#[case::standard_input(|run: Run| run.set("input", "'-'").stdin(lower_case()))]
fn an_upload_of_which_enough_are_known_is_sent_whole(#[case] input: fn(Run) -> Run) {
    let braze = knowing(&users());
    let run = input(uploading(&braze).rows(lower_case())).set("min_match", "50 %").arg("--json");
    let report = run.exits(0).hides(&IDENTIFIERS).report();
    report
        .has(&[
            ("/rows_read", 60),
            ("/rows_used", 60),
            ("/identifiers/total", 96),
            ("/delivered", 96),
            ("/requests", 2),
        ])
        .has(&[("/match/kinds/email/known", 25), ("/match/requests", 2 + 1 + 6)]);
    assert_eq!(braze.cohort("vip").unwrap().members, 45 + 3);
}

fn lower_case() -> String {
    rows().to_lowercase()
}

#[test]
fn rows_that_say_their_operation_are_asked_about_in_the_pass_that_judges_them() {
    let braze = knowing(&users());
    let operation = |number| if number % 2 == 0 { "add" } else { "remove" };
    let changes: Vec<_> = (0..40).map(|number| format!("member-zqx-{number},{}\n", operation(number))).collect();
    let changes = changes.concat();
    let mixed = || {
        let run = uploading(&braze).unset("operation").unset("aliases").set("operation_column", "change");
        run.set("input", "'-'").stdin(format!("user_ids,change\n{changes}other-zqx,add\n")).arg("--json")
    };
    mixed().set("min_match", "99%").exits(6).says(&["Braze knows 97.6 % of "]);
    assert_eq!(braze.stats().users_requests, 0);
    let report = mixed().set("min_match", "90%").exits(0).report();
    report.has(&[("/rows_read", 41), ("/delivered", 41), ("/match/kinds/user_ids/known", 40)]);
}

#[test]
fn a_dry_run_asks_braze_nothing() {
    let braze = knowing(&users());
    uploading(&braze).set("min_match", "80%").arg("--dry-run").without_env("BRAZE_REST_API_KEY").exits(0);
    assert_untouched(&braze);
}

#[test]
fn the_operator_hands_the_figures_on() {
    let braze = knowing(&users());
    let operator = |min_match: &str| {
        let settings = json!({
            "cohort_id": "vip", "operation": "add", "input": "members.csv", "endpoint": braze.endpoint(), "min_match": min_match,
        });
        Run::operator(&settings).rows(rows()).env("BRAZE_REST_API_KEY", REST_KEY)
    };
    let refused = operator("80%").exits(6).hides(&IDENTIFIERS).output();
    assert_eq!(refused["error"]["class"], "SafetyLimitError");
    let sent = operator("40%").exits(0).output();
    let last_upload = &sent["store_params"]["braze_cohort"]["last_upload"];
    assert_eq!(last_upload["match"]["kinds"]["user_ids"]["known_percent"], 75.0, "{sent}");
}

#[test]
fn check_shows_the_figures_if_the_key_is_there() {
    let braze = knowing(&users());
    let check = || Run::check().to(&braze).set("aliases", "email").rows(rows()).env("BRAZE_REST_API_KEY", REST_KEY);
    check().exits(0).prints(&["match        ok: ", "75.0 % known"]).hides(&IDENTIFIERS);
    check().set("min_match", "80%").exits(6).prints(&["match        FAILED"]).says(&["below min_match (80 %)"]);
    let without = check().without_env("BRAZE_REST_API_KEY").exits(0);
    assert!(!without.stdout.contains("match"), "{without}");
    assert!(braze.cohort("vip").is_none_or(|cohort| cohort.members == 0));
}

/// The same answer to all questions about external IDs.
fn saying(said: Value) -> Scripted {
    Scripted::start(move |_| Act::json("201 Created", &said))
}

#[test]
fn an_answer_that_contradicts_itself_tells_nothing_of_that_identifier() {
    let server = saying(json!({
        "message": "success",
        "users": [{"external_id": "member-zqx-1"}, {"external_id": "member-zqx-2"}],
        "invalid_user_ids": ["member-zqx-2", "member-zqx-3"],
    }));
    let rows = "user_ids\nmember-zqx-1\nmember-zqx-2\nmember-zqx-3\nmember-zqx-4\n";
    let run = || Run::asking().set("endpoint", server.endpoint()).rows(rows);
    run()
        .exits(0)
        .hides(&IDENTIFIERS)
        .prints(&["50.0 % known (25.0 to 75.0)", "user_ids: 2 have contradictory answers from Braze"]);
    let figures: Value = serde_json::from_str(&run().arg("--json").exits(0).stdout).unwrap();
    let of = |key: &str| figures["kinds"]["user_ids"][key].as_u64().unwrap();
    assert_eq!((of("asked"), of("known"), of("unknown"), of("cannot_tell")), (4, 1, 1, 2));
    let sent = server.seen();
    assert_eq!(sent[0].path, "/users/export/ids");
    assert_eq!(sent[0].body["fields_to_export"], json!(["external_id", "user_aliases"]));
}

#[rstest]
#[case::no_users(Act::json("201 Created", &json!({"message": "success"})), 5, "does not list the users that Braze knows")]
#[case::page(Act::answer("200 OK", "text/html", "", "<html>hello</html>"), 5, "web page")]
#[case::bad_request(Act::json("400 Bad Request", &json!({"message": "member-zqx-1 is no ID"})), 5, "[identifier] is no ID")]
#[case::forbidden(Act::json("403 Forbidden", &json!({"message": "Access Denied"})), 4, "users.export.ids")]
#[case::not_there(Act::json("404 Not Found", &json!({"message": "Not Found"})), 5, "does not exist")]
fn what_is_no_answer_ends_the_run(#[case] act: Act, #[case] code: i32, #[case] words: &str) {
    let Act::Write(bytes) = act else { panic!("it is written") };
    let server = Scripted::start(move |_| Act::Write(bytes.clone()));
    let run = Run::asking().set("endpoint", server.endpoint()).rows("user_ids\nmember-zqx-1\n");
    run.exits(code).says(&[words]).hides(&IDENTIFIERS);
}
