//! Inputs and settings that cannot be used.

use rstest::rstest;
use serde_json::{Value, json};

use super::{CLIENT_SECRET, PARTNER_KEY, assert_clean, rows, upload, with_keys};
use crate::support::{Run, assert_untouched, braze};

#[rstest]
#[case::ragged("user_ids,x\r\nIDCANARY1,a,IDCANARY2\r\nIDCANARY3\r\nok,b\r\n".as_bytes(), 0)]
#[case::control("user_ids\r\nIDCANARY\u{7}1\r\n\"IDCANARY\r\n2\"\r\nok\r\n".as_bytes(), 0)]
#[case::nul("user_ids\r\nIDCANARY\x001\r\nok\r\n".as_bytes(), 0)]
#[case::not_utf8(b"user_ids\r\nIDCANARY\xff1\r\nok\r\n", 0)]
#[case::outer_space(b"user_ids\r\n IDCANARY1 \r\nok\r\n", 0)]
#[case::unterminated(b"user_ids\r\nok\r\n\"IDCANARY1\r\nIDCANARY2\r\n", 3)]
#[case::quote_amid(b"user_ids\r\nIDCANARY\"1\r\nok\r\n", 0)]
#[case::text_behind_a_quote(b"user_ids\r\nok\r\n\"IDCANARY\"2\r\nIDCANARY3\r\n", 3)]
#[case::utf16(b"\xff\xfeu\0s\0e\0r\0I\0D\0C\0A\0N\0", 3)]
fn no_identifier_of_a_bad_row_leaves(#[case] rows: &[u8], #[case] code: i32) {
    let braze = braze();
    let run = Run::upload().to(&braze).rows(rows).set("failed_file", "failed.csv").arg("--json").exits(code);
    assert_clean(&run.stdout, &run.stderr, run.path());
    let run = Run::upload().to(&braze).rows(rows).arg("--dry-run").exits(code);
    assert_clean(&run.stdout, &run.stderr, run.path());
}

#[test]
fn no_identifier_that_is_too_long_or_too_much_leaves() {
    let braze = braze();
    let long = format!("user_ids\r\n{}\r\nok\r\n", "IDCANARY".repeat(1000));
    let run = Run::upload().to(&braze).rows(long).arg("--json").exits(0);
    assert_clean(&run.stdout, &run.stderr, run.path());
    let many = format!("user_ids,x\r\n{}", "IDCANARY1\r\n".repeat(1500));
    let run = Run::upload().to(&braze).rows(many).arg("--json").exits(3);
    assert_clean(&run.stdout, &run.stderr, run.path());
}

#[test]
fn an_input_given_as_the_config_is_not_shown() {
    for text in [
        "user_ids\nIDCANARY1\nIDCANARY2\n",
        "user_ids,email\nIDCANARY1,idcanary@example.com\n",
        "IDCANARY@example.com: 1\n",
    ] {
        let run = upload().config(text).exits(2);
        assert_clean(&run.stdout, &run.stderr, run.path());
    }
    let run = upload().config("user_ids: IDCANARY1\n").exits(2).says(&["user_ids"]);
    assert_clean(&run.stdout, &run.stderr, run.path());
}

#[rstest]
fn no_key_in_a_setting_leaves(
    #[values(
        "cohort_id",
        "cohort_name",
        "operation",
        "aliases",
        "thread_count",
        "endpoint",
        "allow_endpoint",
        "partner",
        "input",
        "job_id",
        "expected_rows",
        "max_rejected",
        "failed_file",
        "max_outage",
        "max_duration",
        "grace"
    )]
    key: &str,
) {
    let braze = braze();
    for value in
        [CLIENT_SECRET.to_owned(), format!("https://x:{CLIENT_SECRET}@h"), format!("{}{PARTNER_KEY}", "x".repeat(30))]
    {
        let quoted = Value::from(value.as_str()).to_string();
        let run = upload().to(&braze).rows(rows()).set(key, &quoted).exits(2);
        assert_clean(&run.stdout, &run.stderr, run.path());
        let mut parameters = json!({"cohort_id": "vip", "operation": "add", "input": "members.csv"});
        parameters["endpoint"] = braze.endpoint().into();
        parameters[key] = value.into();
        let run = with_keys(Run::operator(&parameters)).rows(rows()).exits(2);
        assert_clean(&run.stdout, &run.stderr, run.path());
    }
    assert_untouched(&braze);
}

#[rstest]
#[case::key_of_the_map(&format!("{}: 1\n", Value::from(CLIENT_SECRET)))]
#[case::text(&Value::from(CLIENT_SECRET).to_string())]
#[case::broken(&format!("cohort_id: [{}\n", Value::from(PARTNER_KEY)))]
#[case::template("cohort_id: \"${BRAZE_CLIENT_SECRET}\"\n")]
#[case::template_that_is_no_name(&format!("cohort_id: {}\n", Value::from(format!("${{{CLIENT_SECRET}}}"))))]
#[case::template_by_another_name("cohort_id: \"${OTHER}\"\n")]
#[case::template_in_a_number("cohort_id: a\noperation: \"${OTHER}\"\n")]
fn no_key_in_a_bad_config_leaves(#[case] text: &str) {
    let run = upload().env("OTHER", CLIENT_SECRET).config(text).exits(2);
    assert_clean(&run.stdout, &run.stderr, run.path());
}
