//! Inputs: formats, compression, several files.

mod corpus;
mod memory;
mod several;

use std::collections::BTreeSet;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use indicatif::HumanCount;
use rstest::rstest;
use serde_json::{Value, json};
use td_braze_cohort::sandbox::Sandbox;

use crate::support::{Run, assert_untouched, braze, user_ids};

pub fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

const COLUMNS: [&str; 4] = ["email", "user_ids", "comment", "device_ids"];

/// The rows with 3,000 members. Some cells are NULL, and some need escaping in one of the formats.
fn rows() -> Vec<[Option<String>; 4]> {
    let row = |number: usize| {
        let email = (!number.is_multiple_of(3)).then(|| format!("\"zoë\\{number}\", 😀@例え.jp"));
        let user_id = (!number.is_multiple_of(4)).then(|| format!("00{number}"));
        let device = (!number.is_multiple_of(5)).then(|| format!("D-{number:x}"));
        [email, user_id, Some("says \"no\",\r\nloudly\t!".to_owned()), device]
    };
    let mut rows: Vec<_> = (0..).map(row).take(2000).collect();
    let members = |rows: &[[Option<String>; 4]]| {
        rows.iter().map(|row| [0, 1, 3].iter().filter(|column| row[**column].is_some()).count()).sum::<usize>()
    };
    while members(&rows) > 3000 {
        rows.pop();
    }
    assert_eq!(members(&rows), 3000);
    rows
}

type Members = [BTreeSet<String>; 3];

fn wanted() -> Members {
    let rows = rows();
    [0, 1, 3].map(|column| rows.iter().filter_map(|row| row[column].clone()).collect())
}

fn held(braze: &Sandbox) -> Members {
    let view = braze.cohort("vip").unwrap();
    let emails = view.aliases.into_iter().map(|alias| {
        assert_eq!(alias.alias_label, "email");
        alias.alias_name
    });
    [emails.collect(), view.user_ids.into_iter().collect(), view.device_ids.into_iter().collect()]
}

fn write(format: &str, rows: &[[Option<String>; 4]], with_header: bool) -> Vec<u8> {
    let value = |cell: &Option<String>| cell.clone().map_or(Value::Null, Value::String);
    match format {
        "csv" | "tsv" => {
            let delimiter = if format == "csv" { b',' } else { b'\t' };
            let mut writer = csv::WriterBuilder::new()
                .delimiter(delimiter)
                .terminator(csv::Terminator::CRLF)
                .from_writer(Vec::new());
            if with_header {
                writer.write_record(COLUMNS).unwrap();
            }
            for row in rows {
                writer.write_record(row.iter().map(|cell| cell.as_deref().unwrap_or_default())).unwrap();
            }
            writer.into_inner().unwrap()
        }
        "jsonl" => {
            let object = |row: &[Option<String>; 4]| {
                let members = COLUMNS.iter().zip(row).rev().filter(|(name, cell)| **name != "email" || cell.is_some());
                let members = members.map(|(name, cell)| ((*name).to_owned(), value(cell)));
                Value::Object(members.collect()).to_string() + "\n"
            };
            rows.iter().map(object).collect::<String>().into_bytes()
        }
        "msgpack" => rows
            .iter()
            .flat_map(|row| [vec![0x94], row.iter().flat_map(|cell| msgpack(cell.as_deref())).collect()].concat())
            .collect(),
        other => panic!("{other}"),
    }
}

fn msgpack(cell: Option<&str>) -> Vec<u8> {
    match cell {
        None => vec![0xc0],
        Some(text) => [&[0xd9, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat(),
    }
}

#[rstest]
#[case::csv("csv", true)]
#[case::csv_without_header("csv", false)]
#[case::tsv("tsv", true)]
#[case::tsv_without_header("tsv", false)]
#[case::jsonl("jsonl", true)]
#[case::msgpack("msgpack", false)]
fn the_same_members_arrive_through_every_format_and_compression(#[case] format: &str, #[case] names_columns: bool) {
    let rows = rows();
    let whole = write(format, &rows, true.min(names_columns));
    let (one, other) = rows.split_at(700);
    let parts = [write(format, one, names_columns), write(format, other, names_columns)];
    let joined = [parts[0].clone(), write(format, other, false)];
    let contents = [whole.clone(), gzip(&whole), [gzip(&joined[0]), gzip(&joined[1]), vec![0; 512]].concat()];
    let several =
        |run: Run| run.file("part-1.gz", gzip(&parts[0])).file("part-2", &parts[1]).set("input", "[part-1.gz, part-2]");
    let from_file = contents.iter().map(|content| Run::upload().rows(content));
    let from_stdin = contents.iter().map(|content| Run::upload().set("input", "\"-\"").stdin(content));
    for (number, run) in from_file.chain(from_stdin).chain([several(Run::upload())]).enumerate() {
        let braze = braze();
        let run = run.to(&braze).set("aliases", "[email]").set("expected_rows", &rows.len().to_string()).arg("--json");
        let run = if names_columns { run } else { run.set("columns", "[email, user_ids, comment, device_ids]") };
        // A first row with line breaks and commas could be of any format, and so could MessagePack.
        let is_unclear = matches!((format, names_columns), ("tsv", false) | ("msgpack", _));
        let run = if is_unclear { run.set("format", format) } else { run };
        // Its cells have several lines.
        let run = if format == "tsv" { run.set("quotes", "standard") } else { run };
        let run = run.exits(0);
        let blank = 3 * rows.len() as u64 - 3000;
        run.report().has(&[("/delivered", 3000), ("/cells_blank", blank), ("/rows_rejected", 0)]);
        assert_eq!(held(&braze), wanted(), "input {number}");
        assert_eq!(run.stderr.contains(&format!("is read as {format}")), format != "csv", "{run}");
    }
}

#[test]
fn integers_keep_their_digits_whatever_their_size() {
    let ids = ["0", "-7", "18446744073709551615", "340282366920938463463374607431768211456"];
    let objects = ids.map(|id| format!("{{\"user_ids\": {id}}}\n")).concat();
    let lines = braze();
    Run::upload().rows(objects).to(&lines).exits(0);
    let held: BTreeSet<_> = lines.cohort("vip").unwrap().user_ids.into_iter().collect();
    assert_eq!(held, ids.map(str::to_owned).into());
    let braze = braze();
    let msgpack: &[u8] =
        b"\x91\x00\x91\xff\x91\xcf\xff\xff\xff\xff\xff\xff\xff\xff\x91\xd3\x80\0\0\0\0\0\0\0\x91\xd0\x80";
    Run::upload().to(&braze).rows(msgpack).set("format", "msgpack").set("columns", "user_ids").exits(0);
    let held: BTreeSet<_> = braze.cohort("vip").unwrap().user_ids.into_iter().collect();
    assert_eq!(held, ["0", "-1", "18446744073709551615", "-9223372036854775808", "-128"].map(str::to_owned).into());
}

#[test]
fn a_key_that_an_object_leaves_out_is_a_null_from_the_first_row_on() {
    let braze = braze();
    let lines = "{\"user_ids\": \"u1\"}\n{\"user_ids\": null, \"email\": \"a@example.com\"}\n{\"user_ids\": \"u3\"}\n";
    let run = Run::upload().to(&braze).set("aliases", "[email, phone]").rows(lines).arg("--json").exits(0);
    run.report().has(&[("/rows_used", 3), ("/cells_blank", 3), ("/delivered", 3), ("/identifiers/aliases/email", 1)]);
    let warnings: Vec<_> = run.stderr.lines().filter(|line| line.contains("no object has the key")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("phone") && !warnings[0].contains("email"), "{run}");
}

#[test]
fn a_set_format_is_not_recognised_another_way() {
    let braze = braze();
    let run = Run::upload().to(&braze).set("format", "csv").rows("{\"user_ids\": \"u1\"}\n").exits(3);
    run.says(&["no identifier column"]);
    assert_untouched(&braze);
}

#[rstest]
#[case::unknown("jsnl", "did you mean 'jsonl'?")]
#[case::like_nothing("parquet", "'csv', 'tsv', 'jsonl' or 'msgpack'")]
#[case::gone("json", "'csv', 'tsv', 'jsonl' or 'msgpack'")]
#[case::no_columns("msgpack", "set columns")]
#[case::a_list("[csv]", "not a list")]
fn a_format_that_cannot_be_used_is_a_wrong_setting(#[case] format: &str, #[case] message: &str) {
    let braze = braze();
    Run::upload().to(&braze).set("format", format).rows("user_ids\nu1\n").exits(2).says(&[message, "cohort.yml, line"]);
    assert_untouched(&braze);
}

#[test]
fn a_recognised_format_without_names_asks_for_columns() {
    let braze = braze();
    let rows: &[u8] = b"\x91\xaamember-zqx\x91\xaamember-zqy";
    let named = Run::upload().to(&braze).file("members.msgpack", rows).set("input", "members.msgpack").exits(3);
    named.says(&["it is msgpack", "set columns"]).hides(&["member-zqx"]);
    Run::upload().to(&braze).rows(rows).exits(3).says(&["not shown"]).hides(&["member-zqx"]);
    let unnamed = Run::upload().to(&braze).rows(rows).set("columns", "user_ids").exits(3);
    unnamed.says(&["set format: msgpack"]).hides(&["member-zqx"]);
    assert_untouched(&braze);
}

/// Other programs' formats are refused before anything is sent: with column names, without, and by the format's name.
#[rstest]
#[case::arrays("[\"member-zqx\",\"x\"]\n[\"u2\",\"y\"]\n", "arrays without column names")]
#[case::of_the_td_command("[[\"member-zqx\",\"x\"],\n[\"u2\",\"y\"]]\n", "arrays without column names")]
#[case::objects_of_the_td_command("[{\"user_ids\":\"member-zqx\"},\n{\"user_ids\":\"u2\"}]\n", "jq -c '.[]'")]
#[case::a_document("[\n{\"user_ids\":\"member-zqx\"},\n{\"user_ids\":\"u2\"}\n]\n", "jq -c '.[]'")]
#[case::lines_with_commas("{\"user_ids\":\"member-zqx\"},\n{\"user_ids\":\"u2\"}\n", "not one object per line")]
fn json_that_is_not_an_object_a_line_is_refused_by_name(#[case] rows: &str, #[case] message: &str) {
    let braze = braze();
    let plain = || Run::upload().to(&braze);
    let named = || plain().set("columns", "[user_ids, name]");
    for run in [
        plain().rows(rows),
        named().rows(rows),
        plain().set("format", "jsonl").rows(rows),
        named().rows(gzip(rows.as_bytes())),
    ] {
        run.exits(3).says(&[message]).hides(&["member-zqx"]);
    }
    assert_untouched(&braze);
}

#[rstest]
#[case::header("user_ids,name\nmember-zqx,a\n", "leave columns out")]
#[case::header_in_another_order("name,user_ids\na,member-zqx\n", "leave columns out")]
#[case::header_of_other_columns("x,user_ids\na,member-zqx\n", "leave columns out")]
#[case::fewer_cells("member-zqx\nu2\n", "has 1 cells, but columns has 2 names")]
#[case::more_cells("member-zqx,a,b\n", "has 3 cells, but columns has 2 names")]
#[case::more_cells_behind_a_bad_row(&format!("{}\nmember-zqx,a,b\n", ",".repeat(10_000)), "has 3 cells, but columns has 2 names")]
fn a_first_row_that_columns_cannot_mean_ends_the_run_before_anything_is_sent(
    #[case] rows: &str,
    #[case] message: &str,
) {
    let braze = braze();
    let run = Run::upload().to(&braze).set("aliases", "name").set("columns", "user_ids, name").rows(rows);
    let run = run.exits(3);
    run.says(&[message]).hides(&["member-zqx"]);
    assert_eq!(braze.stats().users_requests, 0);
}

#[rstest]
#[case::columns("columns", "user_ids", "leave columns out")]
#[case::quotes("quotes", "none", "leave quotes out")]
fn a_setting_that_json_lines_cannot_follow_ends_the_run(#[case] name: &str, #[case] value: &str, #[case] words: &str) {
    let braze = braze();
    let run = Run::upload().to(&braze).rows("{\"user_ids\":\"u1\"}\n").set(name, value);
    run.exits(3).says(&["it is jsonl", words]);
    assert_untouched(&braze);
}

#[test]
fn an_operator_takes_formats_columns_and_lists_of_files_as_parameters() {
    let braze = braze();
    let parameters = json!({
        "cohort_id": "vip", "operation": "add", "endpoint": braze.endpoint(), "input": ["a.txt", "b.txt"],
        "format": "tsv", "columns": ["x", "user_ids"],
    });
    Run::operator(&parameters).file("a.txt", "1\tu1\n").file("b.txt", "2\tu2\n").exits(0);
    assert_eq!(braze.cohort("vip").unwrap().user_ids, ["u1", "u2"]);
}

#[test]
fn a_check_shows_format_and_columns() {
    let braze = braze();
    let run = Run::check().to(&braze).set("aliases", "email");
    let run = run.rows(gzip(b"{\"user_ids\": \"member-zqx\", \"x\": 1, \"email\": null}\n")).exits(0);
    run.prints(&["members.csv (jsonl) has 3 columns, identifiers: user_ids, alias email"]).hides(&["member-zqx"]);
}

#[test]
fn what_was_delivered_before_the_input_broke_off_is_said() {
    let braze = braze();
    let whole = gzip(user_ids(30_000).as_bytes());
    let run = Run::upload().to(&braze).rows(&whole[..whole.len() / 2]).arg("--json").exits(3);
    let report = run.report();
    let delivered = report.number("/delivered");
    assert!(delivered > 0 && delivered < 30_000 && report.0["input_read_to_end"] == false, "{report:?}");
    run.says(&["the gzip data is cut off", &format!("delivered before that: {} identifiers", HumanCount(delivered))]);
    assert_eq!(braze.cohort("vip").unwrap().members as u64, delivered);
}

#[test]
fn a_file_that_is_cut_between_members_is_found_by_the_expected_rows_alone() {
    let braze = braze();
    let first = gzip(b"user_ids\nu1\nu2\n");
    Run::upload().to(&braze).rows(&first).exits(0);
    Run::upload()
        .to(&braze)
        .rows(&first)
        .set("expected_rows", "3")
        .exits(3)
        .says(&["2 rows instead of 3 (expected_rows"]);
}

#[rstest]
#[case::plain(b"".to_vec(), 3)]
#[case::whole_gzip(gzip(b""), 0)]
fn nothing_at_all_is_a_result_only_within_a_container_that_is_whole(#[case] content: Vec<u8>, #[case] code: i32) {
    for (format, columns) in [("msgpack", "[user_ids]"), ("jsonl", "[]"), ("csv", "[user_ids]")] {
        let braze = braze();
        let run = Run::upload().to(&braze).set("format", format).set("columns", columns);
        run.rows(&content).exits(code);
        assert_eq!(braze.stats().users_requests, 0, "{format}");
    }
    Run::upload().to(&braze()).rows(&content).exits(3).says(&["empty"]);
}
