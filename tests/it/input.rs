//! Inputs, and the result of each row and cell.

use rstest::rstest;

use crate::support::{Run, assert_untouched, braze};

#[test]
fn members_come_in_by_standard_input() {
    let braze = braze();
    let run = Run::upload().to(&braze).arg("--input").arg("-").arg("--json").stdin("user_ids\r\nu1\r\nu2\r\n");
    run.exits(0).report().has(&[("/delivered", 2)]);
    assert_eq!(braze.cohort("vip").unwrap().user_ids, ["u1", "u2"]);
}

#[test]
fn the_flag_wins_over_the_setting() {
    let braze = braze();
    let run = Run::upload().to(&braze).rows("user_ids\nwrong\n").file("other.csv", "user_ids\nright\n");
    run.arg("--input").arg("other.csv").exits(0);
    assert_eq!(braze.cohort("vip").unwrap().user_ids, ["right"]);
}

#[test]
fn paths_are_relative_to_the_working_directory() {
    let braze = braze();
    let run = Run::command(&["upload", "config.d.yml"]).file("m.csv", "user_ids\nu1\n");
    let settings = format!("cohort_id: vip\noperation: add\ninput: ./m.csv\nendpoint: {}\n", braze.endpoint());
    run.file("config.d.yml", settings).exits(0);
    assert_eq!(braze.cohort("vip").unwrap().user_ids, ["u1"]);
}

#[test]
fn a_byte_order_mark_is_fine() {
    let braze = braze();
    Run::upload().to(&braze).rows("\u{feff}user_ids\r\nu1\r\n").exits(0);
    assert_eq!(braze.cohort("vip").unwrap().user_ids, ["u1"]);
}

#[rstest]
#[case::plain("\u{feff}user_ids,email\r\nu,e\r\n")]
#[case::quoted("\u{feff}\"user_ids\",\"email\"\n\"u\",\"e\"\n")]
fn joined_files_have_their_byte_order_marks_and_headers_skipped(#[case] file: &str) {
    let braze = braze();
    let run = Run::upload().to(&braze).set("aliases", "email").rows(file.repeat(3)).arg("--json").exits(0);
    run.report().has(&[("/delivered", 6), ("/rows_rejected", 0), ("/rows_repeating_header", 2)]);
    let cohort = braze.cohort("vip").unwrap();
    assert_eq!((cohort.user_ids, cohort.aliases.len()), (vec!["u".to_owned()], 1));
}

#[test]
fn lines_that_end_with_a_carriage_return_alone_are_counted_and_named() {
    let braze = braze();
    let rows = "user_ids,x\ra,\"1\rb,2\rc,3\"\rd,4,5\re,6\r";
    let run = Run::upload().to(&braze).rows(rows).arg("--json").exits(0);
    let run =
        run.says(&["1 rows span several lines; the longest begins in line 2 and has 3 lines", "line 5: rejected"]);
    run.report().has(&[("/rows_over_lines", 1), ("/delivered", 2)]);
}

#[test]
fn standard_input_that_cannot_be_kept_is_no_fault_of_the_input() {
    let braze = braze();
    let run =
        Run::upload().to(&braze).unset("operation").set("operation_column", "op").env("TMPDIR", "/nowhere/at/all");
    run.arg("--input").arg("-").stdin("user_ids,op\nu1,add\n").exits(73).says(&["TMPDIR", "standard input"]);
    assert_untouched(&braze);
}

#[test]
fn a_null_in_the_only_column_is_a_row_without_identifier() {
    let braze = braze();
    let run = Run::upload().to(&braze).rows("user_ids\r\nu1\r\n\r\n\"\"\r\nu2\r\n\r\n").arg("--json").exits(0);
    let numbers = [("/rows_read", 5), ("/rows_used", 2), ("/rows_without_identifier", 3), ("/cells_blank", 3)];
    run.report().has(&numbers);
    assert_eq!(braze.cohort("vip").unwrap().user_ids, ["u1", "u2"]);
}

#[test]
fn a_header_alone_is_a_success_that_sends_no_member() {
    let braze = braze();
    let run = Run::upload().to(&braze).rows("user_ids\r\n").arg("--json").exits(0);
    run.report().has(&[("/rows_read", 0), ("/identifiers/total", 0), ("/delivered", 0)]);
    assert_eq!(braze.stats().users_requests, 0);
    assert!(!run.stderr.trim().is_empty(), "an empty result needs a clear message");
}

#[test]
fn duplicates_are_sent_as_they_are() {
    let braze = braze();
    let run = Run::upload().to(&braze).rows("user_ids\nu1\nu1\nu1\n").arg("--json").exits(0);
    run.report().has(&[("/identifiers/total", 3), ("/delivered", 3)]);
    assert_eq!((braze.stats().batch_sizes, braze.cohort("vip").unwrap().members), (vec![3], 1));
}

#[test]
fn spaces_around_an_identifier_are_sent_and_warned_about_once() {
    let braze = braze();
    let run = Run::upload().to(&braze).rows("user_ids\n u1\nu2 \n").arg("--json").exits(0).says(&["space"]);
    run.report().has(&[("/cells_with_outer_space", 2), ("/delivered", 2)]);
    assert_eq!(run.stderr.lines().filter(|line| line.contains("space")).count(), 1, "{run}");
    assert_eq!(braze.cohort("vip").unwrap().user_ids, [" u1", "u2 "]);
}

#[rstest]
#[case::csv("members.csv", "user_ids,email\nnull,NULL\n\\N,nan\nNaN,None\n<nil>,undefined\nu1,Null\n")]
#[case::json(
    "members.jsonl",
    "{\"user_ids\":\"null\",\"email\":\"NULL\"}\n{\"user_ids\":\"\\\\N\",\"email\":\"nan\"}\n{\"user_ids\":\"NaN\",\"email\":\"None\"}\n\
     {\"user_ids\":\"<nil>\",\"email\":\"undefined\"}\n{\"user_ids\":\"u1\",\"email\":\"Null\"}\n"
)]
fn the_words_for_null_are_blank_and_named_once_and_the_setting_sends_them(#[case] name: &str, #[case] rows: &str) {
    let braze = braze();
    let run = || Run::upload().to(&braze).set("aliases", "[email]").set("input", name).file(name, rows).arg("--json");
    let blank = run().exits(0).says(&["'null'", "null_words: []"]);
    blank.report().has(&[("/null_words", 8), ("/cells_blank", 0), ("/rows_without_identifier", 4), ("/delivered", 2)]);
    assert_eq!(blank.stderr.lines().filter(|line| line.contains("null_words")).count(), 1, "{blank}");
    run().set("null_words", "[]").exits(0).report().has(&[("/null_words", 0), ("/delivered", 10)]);
}

#[test]
fn what_is_plainly_no_identifier_is_rejected_with_its_place_and_a_repeated_header_is_skipped() {
    let braze = braze();
    let rows = "user_ids,email\n12345.0,a@example.com\n7.9155723368987034E17,\"[\"\"u1\"\"]\"\nuser_ids,email\n1.5,12345e67\ntrue,u\u{200b}2\n";
    let run = Run::upload().to(&braze).set("aliases", "[email]").rows(rows).arg("--json").exits(0);
    run.says(&["line 4: it repeats the header", "invisible", "CAST"]).report().has(&[
        ("/rows_read", 4),
        ("/rows_repeating_header", 1),
        ("/cells_rejected/float", 2),
        ("/cells_rejected/nested", 1),
        ("/cells_with_invisible_characters", 1),
        ("/first_rejections/1/line", 3),
        ("/delivered", 5),
    ]);
    assert_eq!(braze.cohort("vip").unwrap().user_ids, ["1.5", "true"]);
}

#[rstest]
#[case::each_cell("user_ids\n1.0\n2.0\n\n", &["of 3 rows", "float 2"])]
#[case::each_row("user_ids,x\n1\n", &["cell_count 1"])]
fn an_input_of_which_nothing_is_left_is_no_success_whatever_the_limit(#[case] rows: &str, #[case] words: &[&str]) {
    let braze = braze();
    Run::upload().to(&braze).set("max_rejected", "100%").rows(rows).exits(3).says(words);
    assert_eq!(braze.stats().users_requests, 0);
}

#[rstest]
#[case::additions_lost("user_ids,change\nu1,remove\n1.0,add\n2.0,ADD\n", &["the operation add", "float 2"])]
#[case::removals_lost("user_ids,change\n1.0,delete\nu2,add\n", &["the operation remove"])]
#[case::unknown_words("user_ids,change\nu1,delete\nu2,insert\nu3,add \nu4,zqx-12345\n", &["3 rows", "\"insert\", \"add \""])]
fn an_operation_that_loses_its_rows_or_is_not_known_is_no_success(#[case] rows: &str, #[case] words: &[&str]) {
    let braze = braze();
    let run = Run::upload().to(&braze).unset("operation").set("operation_column", "change").set("max_rejected", "100%");
    run.rows(rows).exits(3).says(words).hides(&["zqx-12345"]);
    assert!(braze.cohort("vip").is_none_or(|cohort| cohort.user_ids.is_empty()));
}

#[test]
fn a_row_without_operation_is_rejected_alone() {
    let braze = braze();
    let run = Run::upload().to(&braze).unset("operation").set("operation_column", "change").arg("--json");
    let run = run.rows("user_ids,change\nu1,add\nu2,\nu3,null\n").exits(0);
    run.report().has(&[("/rows_malformed/operation", 2), ("/delivered", 1)]);
}

#[rstest]
#[case::ten(10, 0)]
#[case::eleven(11, 3)]
fn ten_rejections_or_one_in_a_hundred_are_fine(#[case] bad: usize, #[case] exit: i32) {
    let braze = braze();
    let rows = format!("user_ids\n{}{}", "1.0\n".repeat(bad), "u\n".repeat(900));
    Run::upload().to(&braze).rows(rows).exits(exit);
}

#[test]
fn rows_without_any_identifier_are_a_success_that_says_so() {
    let braze = braze();
    let run = || Run::upload().to(&braze).rows(format!("user_ids\n{}", "\n".repeat(1000)));
    let said = run().exits(0);
    assert!(said.stdout.contains("1,000 rows, none with an identifier"), "{said}");
    let json = run().arg("--json").exits(0);
    assert!(json.stdout.contains("\"outcome\":\"no_identifiers\""), "{json}");
}

#[test]
fn ragged_rows_are_rejected_and_the_others_are_used() {
    let braze = braze();
    let run = Run::upload().to(&braze).rows("user_ids,x\nu1,1\nu2\nu3,1,2\nu4,1\n").arg("--json").exits(0);
    run.report().has(&[("/rows_read", 4), ("/rows_used", 2), ("/rows_rejected", 2), ("/delivered", 2)]);
    assert_eq!(braze.cohort("vip").unwrap().user_ids, ["u1", "u4"]);
}

#[test]
fn a_cell_that_is_no_identifier_is_rejected_and_the_rest_of_its_row_is_used() {
    let braze = braze();
    let long = "x".repeat(1025);
    let mut rows = format!("user_ids,device_ids\n\"a\nb\",d1\n{long},d2\nc\u{7},\n").into_bytes();
    rows.extend_from_slice(b"bad\xff,d4\nu5,d5\n");
    let run = Run::upload().to(&braze).rows(rows).arg("--json").exits(0);
    run.report().has(&[
        ("/rows_read", 5),
        ("/rows_used", 4),
        ("/rows_rejected", 1),
        ("/cells_rejected/control_character", 2),
        ("/cells_rejected/too_long", 1),
        ("/cells_rejected/invalid_utf8", 1),
        ("/delivered", 5),
    ]);
    let cohort = braze.cohort("vip").unwrap();
    assert_eq!(
        (cohort.user_ids, cohort.device_ids),
        (vec!["u5".to_owned()], ["d1", "d2", "d4", "d5"].map(str::to_owned).to_vec())
    );
}

#[test]
fn an_identifier_of_1024_bytes_is_the_longest() {
    let braze = braze();
    let longest = "é".repeat(512);
    let run = Run::upload().to(&braze).rows(format!("user_ids\n{longest}\n")).arg("--json").exits(0);
    run.report().has(&[("/delivered", 1)]);
    assert_eq!(braze.cohort("vip").unwrap().user_ids, [longest]);
}

#[test]
fn an_alias_that_the_header_lacks_ends_the_run_before_any_request() {
    let braze = braze();
    let run = Run::upload().to(&braze).set("aliases", "[email, phone]").rows("email,Phone \na@example.com,1\n");
    run.exits(3).says(&["no column 'phone', which the settings use", "did you mean 'phone' instead of 'Phone '"]);
    assert_untouched(&braze);
}

#[rstest]
#[case::case_and_ids("USER_IDS,email\nu1,a@zqx\n", "\"USER_IDS\" (nearly user_ids)")]
#[case::a_letter("user_id,email\nu1,a@zqx\n", "\"user_id\" (nearly user_ids)")]
#[case::a_space("user_ids ,email\nu1,a@zqx\n", "\"user_ids \" (nearly user_ids)")]
#[case::unseen("user_ids\u{200b},email\nu1,a@zqx\n", "\"user_ids\\u{200b}\" (nearly user_ids)")]
#[case::two_marks("\u{feff}\u{feff}user_ids,email\nu1,a@zqx\n", "\"\\u{feff}user_ids\" (nearly user_ids)")]
#[case::objects(
    "{\"email\": \"a@zqx\"}\n{\"userIds\": \"u1\", \"email\": \"b@zqx\"}\n",
    "\"userIds\" (nearly user_ids)"
)]
fn a_nearly_right_column_next_to_a_right_one_is_named(#[case] rows: &str, #[case] words: &str) {
    let braze = braze();
    let run = || Run::upload().to(&braze).set("aliases", "[email]").rows(rows);
    let ended = run().arg("--json").exits(0).says(&["ignored ", words]);
    assert_eq!(ended.stderr.matches("(nearly").count(), 1, "{ended}");
    assert_eq!(ended.report().0["ignored_columns"].as_array().unwrap().len(), 1);
    run().arg("--dry-run").exits(0).says(&[words]).prints(&["ignored_columns"]);
    if !rows.starts_with('{') {
        Run::check().to(&braze).set("aliases", "[email]").rows(rows).exits(0).prints(&[words]);
    }
}

#[test]
fn rows_over_several_lines_are_counted_and_the_longest_is_named() {
    let rows = "user_ids,note\nu1,\"12 inch\nu2,x\nu3,\"\nu4,\"a\nb\"\n";
    let run = Run::upload().to(&braze()).rows(rows).arg("--json").exits(0);
    run.says(&["2 rows span several lines; the longest begins in line 2 and has 3 lines"])
        .report()
        .has(&[("/rows_over_lines", 2), ("/delivered", 2)]);
}

#[test]
fn in_tsv_a_quote_that_does_not_end_on_its_line_is_plain_text_unless_set_otherwise() {
    let plain = "user_ids\tnote\nu1\t\"12 inch\n5\"\ta\"b\n\"u3\"\tx\n";
    let over_lines = "user_ids\tnote\tmore\nu1\t\"a\nb\"\tc\n";
    let members = |rows: &str, quotes: Option<&str>| {
        let braze = braze();
        let run = Run::upload().to(&braze).set("format", "tsv").rows(rows);
        quotes.iter().fold(run, |run, quotes| run.set("quotes", quotes)).exits(0);
        braze.cohort("vip").unwrap().user_ids
    };
    assert_eq!(members(plain, None), ["5\"", "u1", "u3"]);
    assert_eq!(members(plain, Some("none")), ["\"u3\"", "5\"", "u1"]);
    assert_eq!(members(over_lines, Some("standard")), ["u1"]);
    let braze = braze();
    let run = Run::upload().to(&braze).set("format", "tsv").rows(over_lines).exits(3);
    run.says(&["line 2 has too few cells", "quotes: standard"]);
    Run::upload()
        .to(&braze)
        .set("quotes", "none")
        .rows("user_ids\nu1\n")
        .exits(3)
        .says(&["the setting quotes applies only to tsv"]);
    Run::upload().to(&braze).set("quotes", "single").rows("user_ids\nu1\n").exits(2).says(&["'standard' or 'none'"]);
    assert_eq!(braze.stats().identifiers_added, 0);
}

#[test]
fn a_few_rejected_cells_are_fine_and_more_than_max_rejected_are_not() {
    let braze = braze();
    let rows = "user_ids\n\"a\nb\"\n\"c\nd\"\nu1\n";
    Run::upload().to(&braze).set("max_rejected", "2").rows(rows).exits(0);
    Run::upload().to(&braze).set("max_rejected", "1").rows(rows).exits(3).says(&["max_rejected"]);
}

#[rstest]
#[case::near("User_IDs,name\nu1,n\n", &["User_IDs", "name", "user_ids"])]
#[case::spaces("user_ids ,name\nu1,n\n", &["'user_ids '", "name"])]
#[case::other("id,name\n1,n\n", &["id", "name", "user_ids", "device_ids"])]
fn without_an_identifier_column_nothing_is_sent(#[case] rows: &str, #[case] words: &[&str]) {
    let braze = braze();
    Run::upload().to(&braze).rows(rows).exits(3).says(words);
    assert_untouched(&braze);
}

#[rstest]
#[case::no_bytes(b"", "empty")]
#[case::semicolons(b"user_ids;email\nu1;e1\n", "semicolons")]
#[case::utf_16(b"\xff\xfeu\0s\0e\0r\0", "UTF-16")]
#[case::too_many_columns(&[b"c,".repeat(20_000).as_slice(), b"user_ids\n1\n"].concat(), "10,000 columns")]
#[case::twice(b"user_ids,user_ids\nu1,u2\n", "two columns for 'user_ids'")]
fn an_input_that_cannot_be_used_is_found_before_any_request(#[case] rows: &[u8], #[case] word: &str) {
    let braze = braze();
    Run::upload().to(&braze).rows(rows).exits(3).says(&[word]);
    assert_untouched(&braze);
}

/// With a line break after it, it is one rejected row.
#[rstest]
#[case::csv("csv", "user_ids,note\nu1,n\nzqx-2")]
#[case::quoted("csv", "user_ids,note\nu1,n\n\"zqx-2\"")]
#[case::tsv("tsv", "user_ids\tnote\nu1\tn\nzqx-2")]
#[case::jsonl("jsonl", "{\"user_ids\": \"u1\"}\n{\"user_ids\": \"zqx-2\", \"note\": \"n")]
fn a_file_that_is_cut_off_in_its_last_row_is_no_success(#[case] format: &str, #[case] rows: &str) {
    let braze = braze();
    let run = || Run::upload().to(&braze).set("format", format);
    run().rows(rows).exits(3).says(&["cut off", if format == "jsonl" { "line 2" } else { "line 3" }]).hides(&["zqx-2"]);
    assert!(braze.cohort("vip").is_none_or(|cohort| cohort.user_ids.iter().all(|id| id == "u1")));
    let report = run().rows(format!("{rows}\n")).arg("--json").exits(0).report();
    let report = report.has(&[("/delivered", 1), ("/rows_rejected", 1)]);
    let summary = report.at("/summary").as_str().unwrap();
    assert!(summary.contains("delivered except what was rejected in the input; delivered 1 of 1"), "{summary}");
    assert!(summary.ends_with(", rejected cells and rows 1"), "{summary}");
}

#[test]
fn a_missing_file_is_found_before_any_request() {
    let braze = braze();
    Run::upload().to(&braze).exits(3).says(&["members.csv"]);
    assert_untouched(&braze);
}

#[test]
fn of_a_quote_that_never_ends_nothing_is_sent() {
    let braze = braze();
    let run = Run::upload().to(&braze).rows("user_ids\nu1\n\"zqx-2\nzqx-3\nzqx-4\n").exits(3).says(&["line 3"]);
    run.hides(&["zqx-2", "zqx-3", "zqx-4"]);
    let members = braze.cohort("vip").map(|cohort| cohort.user_ids).unwrap_or_default();
    assert!(members.iter().all(|id| id == "u1"), "{members:?}");
}

#[rstest]
#[case::two_lone_quotes("user_ids,note,change\nu1,\"zqx-inch,remove\nu2,x,remove\nu3,\"zqx-inch,add\nu4,y,add\n", 2, 4)]
#[case::three_lone_quotes("user_ids,note,change\nu1,x,add\nu2,\"1,add\nu3,\"2,add\nu4,\"3,add\n", 3, 4)]
#[case::a_tail("user_ids,note,change\nu1,x,add\n\"u2\"zqx-tail,y,add\n", 3, 3)]
#[case::twice_quoted("user_ids,note,change\n\"\"u1\"\",y,add\n", 2, 2)]
#[case::in_the_header("user_ids,\"note,change\nu1,\"x,add\nu2,y,add\n", 1, 2)]
fn text_after_a_closing_quote_ends_the_run_and_nothing_of_its_record_is_sent(
    #[case] rows: &str,
    #[case] begins: u64,
    #[case] breaks: u64,
    #[values("operation", "operation_column")] operation: &str,
) {
    let braze = braze();
    let run = Run::upload().to(&braze).rows(rows);
    let run = if operation == "operation" { run } else { run.unset("operation").set("operation_column", "change") };
    run.exits(3)
        .says(&[&format!("begins in line {begins} is invalid in line {breaks}")])
        .hides(&["zqx-tail", "zqx-inch"]);
    let members = braze.cohort("vip").map(|cohort| cohort.user_ids).unwrap_or_default();
    assert!(members.iter().all(|id| rows.contains(&format!("{id},x,add"))), "{members:?}");
}

#[rstest]
#[case::fewer("3")]
#[case::more("1")]
fn another_number_of_rows_than_expected_is_no_success(#[case] expected: &str) {
    let braze = braze();
    let run = Run::upload().to(&braze).set("expected_rows", expected).rows("user_ids\nu1\nu2\n");
    run.exits(3).says(&[&format!("2 rows instead of {expected} (expected_rows")]);
}

#[test]
fn the_expected_number_of_rows_may_come_as_text() {
    let braze = braze();
    Run::upload().to(&braze).set("expected_rows", "\"2\"").rows("user_ids\nu1\nu2\n").exits(0);
}
