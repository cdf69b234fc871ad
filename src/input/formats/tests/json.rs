//! Compares JSON lines with `serde_json`.

use proptest::prelude::*;
use rstest::rstest;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::{Cell, Dribble, Read, read, text};
use crate::input::cells::Reason;
use crate::input::formats::format::{Format, FormatHint};
use crate::input::formats::{Fault, RowsError, open};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn json_lines_are_read_as_serde_json_reads_them(
        lines in prop::collection::vec(line(), 0..6), step in prop_oneof![1_usize..4, Just(1000)],
    ) {
        let content = lines.join("\n");
        let expected: Vec<Read> = lines.iter().filter(|line| !line.trim().is_empty()).map(|line| expected(line)).collect();
        match read(content.as_bytes(), step, Format::Jsonl, None) {
            Ok(rows) => prop_assert_eq!(rows, expected),
            Err(RowsError::NoObject { lines }) => {
                prop_assert!(expected.iter().all(Result::is_err));
                prop_assert_eq!(lines, expected.len());
            }
            Err(RowsError::CutOff { line }) => {
                prop_assert_eq!(line, lines.len() as u64);
                prop_assert_eq!(expected.last(), Some(&Err(Fault::NotJson)));
            }
            Err(error) => {
                let first = lines.iter().map(|line| line.trim()).find(|line| !line.is_empty()).unwrap_or_default();
                let is_other = first == "{" || first.starts_with('[') || first.ends_with(',');
                let is_named = matches!(error, RowsError::NotLines);
                prop_assert!(is_other && is_named, "{}", error);
            }
        }
    }
}

/// A line that is an object with the wanted keys, or nearly one, or something else.
fn line() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?[1-9][0-9]{0,30}",
        "-?[0-9](\\.[0-9]|e[0-9])",
        any::<String>().prop_map(|text| Json::from(text).to_string()),
        Just(r#""\u00e9\ud83d\ude00""#.to_owned()),
        Just(r#""\ud83d""#.to_owned()),
        Just(r#"[1,{"id":"x"}]"#.to_owned()),
        Just("{}".to_owned()),
        "[\\[{\"x,:0]{1,3}",
    ];
    let key = prop_oneof![Just("id"), Just("é"), Just("\\u0069d"), Just("x"), Just("idx")];
    let object = prop::collection::vec((key, value), 0..4).prop_map(|members| {
        let members: Vec<_> = members.into_iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
        format!("{{{}}}", members.join(" ,"))
    });
    prop_oneof![6 => object, 1 => "[\\[\\]{} \",:0]{0,4}", 1 => Just("[1]".to_owned()), 1 => Just("\r".to_owned())]
}

/// What `serde_json` makes of the line: a value, which shows whether it is JSON at all, and the members, whose values
/// keep their original text.
fn expected(line: &str) -> Read {
    match serde_json::from_str::<Json>(line) {
        Err(_) => return Err(Fault::NotJson),
        Ok(Json::Object(_)) => {}
        Ok(_) => return Err(Fault::NotARow),
    }
    let members = serde_json::from_str::<Members>(line).unwrap().0;
    let cell = |key: &str| {
        let mut values = members.iter().filter(|(name, _)| name == key).map(|(_, value)| value.get());
        match (values.next(), values.next()) {
            (None, _) => Ok(Cell::Absent),
            (Some(value), None) => Ok(expected_cell(value)),
            (Some(_), Some(_)) => Err(Fault::DuplicateKey),
        }
    };
    Ok(vec![cell("id")?, cell("é")?])
}

fn expected_cell(value: &str) -> Cell {
    match serde_json::from_str(value).unwrap() {
        Json::Null => text(""),
        Json::Bool(_) => Cell::Unfit(Reason::Boolean),
        Json::Number(_) if value.contains(['.', 'e']) => Cell::Unfit(Reason::Float),
        Json::Number(_) => text(value),
        Json::String(content) => text(&content),
        Json::Array(_) | Json::Object(_) => Cell::Unfit(Reason::Nested),
    }
}

struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(All)
    }
}

#[test]
fn numbers_keep_their_digits_and_need_not_fit_into_anything() {
    let content =
        b"{\"id\": 12345678901234567890123}\n{\"id\": -0}\n{\"id\": 1E9999}\n{\"id\": [1e9999], \"x\": -1e9999}\n";
    let rows = read(content, 7, Format::Jsonl, None).unwrap();
    let row = |id: Cell| Ok(vec![id, Cell::Absent]);
    let unfit = [Reason::Float, Reason::Nested].map(Cell::Unfit);
    assert_eq!(
        rows,
        [row(text("12345678901234567890123")), row(text("-0")), row(unfit[0].clone()), row(unfit[1].clone())]
    );
}

#[rstest]
#[case::at_the_top("\"\\ud83d\"", true)]
#[case::nested("[1, {\"a\": \"]\\ude00\"}]", true)]
#[case::in_a_nested_key("{\"\\ud83d\\ud83d\": 1}", true)]
#[case::an_escaped_backslash("[\"\\\\ud83d\"]", false)]
#[case::a_whole_pair("[\"\\ud83d\\ude00\"]", false)]
fn half_a_surrogate_pair_is_no_json_anywhere(#[case] value: &str, #[case] is_bad: bool) {
    let content = format!("{{\"id\": 1}}\n{{\"id\": 2, \"x\": {value}}}\n{value}\n{{\"id\": {value}}}\n");
    let rows = read(content.as_bytes(), 1000, Format::Jsonl, None).unwrap();
    assert_eq!(rows[1..].iter().map(|row| *row == Err(Fault::NotJson)).collect::<Vec<_>>(), [is_bad; 3], "{rows:?}");
}

#[test]
fn invalid_utf_8_harms_only_its_own_cell() {
    let content =
        b"{\"id\": 1, \"x\": \"\xff\"}\n{\"id\": \"a\xff\", \"\xc3\xa9\": \"b\"}\n{\"id\": \"\xef\xbf\xbd\"}\n";
    let rows = read(content, 3, Format::Jsonl, None).unwrap();
    let unfit = Cell::Unfit(Reason::InvalidUtf8);
    assert_eq!(
        rows,
        [Ok(vec![text("1"), Cell::Absent]), Ok(vec![unfit, text("b")]), Ok(vec![text("\u{fffd}"), Cell::Absent])]
    );
}

#[test]
fn depth_costs_neither_stack_nor_memory() {
    let value = |depth: usize| format!("{{\"id\": {}{}}}\n", "[".repeat(depth), "]".repeat(depth));
    let content = format!("{{}}\n{}{}{}{}", value(127), value(128), value(250_000), "{\"id\":[".repeat(100_000) + "\n");
    let rows = read(content.as_bytes(), 1000, Format::Jsonl, None).unwrap();
    let nested = Ok(vec![Cell::Unfit(Reason::Nested), Cell::Absent]);
    assert_eq!(rows[1..], [nested.clone(), nested.clone(), nested, Err(Fault::NotJson)]);
}

#[test]
fn the_lines_before_the_first_object_are_counted_once_it_is_found() {
    let rows = read(b"oops\n[1]\n{\"id\": 7}\n{\"id\": 8}", 3, Format::Jsonl, None).unwrap();
    let row = |id: &str| Ok(vec![text(id), Cell::Absent]);
    assert_eq!(rows, [Err(Fault::NotJson), Err(Fault::NotARow), row("7"), row("8")]);
    let error = read("oops\n".repeat(1001).as_bytes(), 1000, Format::Jsonl, None).unwrap_err();
    assert!(matches!(error, RowsError::NoObject { lines: 1000 }), "{error}");
}

#[rstest]
#[case::over_lines(b"[\n  {\"id\": 1}\n]\n", "jq -c '.[]'")]
#[case::in_a_line(b"[{\"id\": 1}, {\"id\": 2}]", "jq -c '.[]'")]
#[case::an_object_over_lines(b"{\n  \"id\": 1\n}\n", "jq -c . FILE")]
#[case::a_row_a_line(b"[{\"id\": 1},\n{\"id\": 2}]\n", "jq -c '.[]'")]
#[case::arrays(b"[\"u1\"]\n[\"u2\"]\n", "arrays without column names")]
#[case::an_array_a_row(b"[[\"u1\"],\n[\"u2\"]]\n", "arrays without column names")]
#[case::commas(b"{\"id\": 1},\n{\"id\": 2}\n", "not one object per line")]
fn what_is_not_an_object_a_line_is_said_to_be_so(#[case] content: &[u8], #[case] message: &str) {
    let known = Some(vec!["id".to_owned()]);
    for format_hint in [
        FormatHint { format: Some(Format::Jsonl), ..FormatHint::default() },
        FormatHint::default(),
        FormatHint { columns: known, ..FormatHint::default() },
    ] {
        let error = open(Dribble(content, 5), "-", &format_hint, vec![("id".to_owned(), 0)]).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }
}
