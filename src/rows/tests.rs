//! Every reader of rows against a plain second implementation, which is slow and keeps everything in memory.

use proptest::prelude::*;
use rstest::rstest;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::bytes::tests::Dribble;
use super::format::{Form, Format};
use super::{Fault, Row, RowsError, Value, open};
use crate::identifier::Reason;

/// A cell as it is compared: text, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Cell {
    Text(Vec<u8>),
    Absent,
    Unfit(Reason),
}

fn text(text: &str) -> Cell {
    Cell::Text(text.as_bytes().to_vec())
}

/// A row, or its fault.
type Read = Result<Vec<Cell>, Fault>;

fn cells(row: Row<'_>) -> Read {
    let cell = |column| match row.value(column) {
        Value::Text(text) => Cell::Text(text.to_vec()),
        Value::Absent => Cell::Absent,
        Value::Unfit(reason) => Cell::Unfit(reason),
    };
    row.fault.map_or_else(|| Ok((0..row.len()).map(cell).collect()), Err)
}

fn read(content: &[u8], step: usize, format: Format, columns: Option<&[&str]>) -> Result<Vec<Read>, RowsError> {
    let columns = columns.map(|names| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    let width = columns.as_ref().map_or(0, Vec::len);
    let form = Form { format: Some(format), columns, may_be_empty: true };
    let mut opened = open(Dribble(content, step), "-", &form, vec!["id".to_owned(), "é".to_owned()])?;
    opened.rows.keep(&(0..width).collect::<Vec<_>>());
    let mut rows = Vec::new();
    if let (Some(names), None, true) = (opened.names, form.columns, format != Format::Jsonl) {
        rows.push(Ok(names.iter().map(|name| text(name)).collect()));
    }
    while let Some(row) = opened.rows.next_row()? {
        rows.push(cells(row));
    }
    Ok(rows)
}

/// Comma-separated values (RFC 4180), a letter at a time. Where the standard is silent: CR and LF alone end a line as CRLF
/// does; a quote within a cell that does not begin with one is itself; what stands behind a closing quote belongs to the
/// cell; an empty line is a row where there is one column, and nothing where there are more. None where a quote never ends.
fn reference(content: &str, delimiter: char) -> Option<Vec<Vec<String>>> {
    let content = content.strip_prefix('\u{feff}').unwrap_or(content);
    let (mut rows, mut row, mut cell) = (Vec::<Vec<String>>::new(), Vec::new(), String::new());
    let (mut is_quoted, mut has_begun) = (false, false);
    let mut letters = content.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if is_quoted && letters.peek() == Some(&'"') => cell.push(letters.next().unwrap()),
            '"' if is_quoted => is_quoted = false,
            _ if is_quoted => cell.push(letter),
            '"' if cell.is_empty() && !has_begun => (is_quoted, has_begun) = (true, true),
            '\r' | '\n' => {
                if letter == '\r' {
                    letters.next_if_eq(&'\n');
                }
                let is_empty = row.is_empty() && cell.is_empty() && !has_begun;
                if !is_empty || rows.first().is_some_and(|header| header.len() == 1) {
                    row.push(std::mem::take(&mut cell));
                    rows.push(std::mem::take(&mut row));
                }
                has_begun = false;
            }
            _ if letter == delimiter => {
                row.push(std::mem::take(&mut cell));
                has_begun = false;
            }
            _ => {
                cell.push(letter);
                has_begun = true;
            }
        }
    }
    if is_quoted {
        return None;
    }
    if !row.is_empty() || !cell.is_empty() || has_begun {
        row.push(cell);
        rows.push(row);
    }
    Some(rows)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn delimited_text_is_read_as_the_reference_reads_it(
        content in "[a,\"\r\n é\u{feff}]{0,24}",
        step in prop_oneof![1_usize..4, Just(1000)],
        is_tsv in any::<bool>(),
    ) {
        let (format, delimiter) = if is_tsv { (Format::Tsv, '\t') } else { (Format::Csv, ',') };
        let content = if is_tsv { content.replace(',', "\t") } else { content };
        match (read(content.as_bytes(), step, format, None), reference(&content, delimiter)) {
            (Ok(rows), Some(expected)) => {
                let expected: Vec<_> = expected.iter().map(|row| Ok(row.iter().map(|cell| text(cell)).collect())).collect();
                prop_assert_eq!(rows, expected);
            }
            (Err(RowsError::Empty), Some(expected)) => prop_assert_eq!(expected, Vec::<Vec<String>>::new()),
            (Err(RowsError::UnterminatedQuote { .. }), None) => {}
            (rows, expected) => prop_assert!(false, "{:?} instead of {:?}", rows, expected),
        }
    }

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
            Err(error) => prop_assert!(matches!(error, RowsError::JsonDocument), "{}", error),
        }
    }

    #[test]
    fn msgpack_is_read_as_it_was_written(
        rows in prop::collection::vec(prop::collection::vec(value(3), 0..5), 0..5),
        step in prop_oneof![1_usize..4, Just(1000)],
        cut in any::<prop::sample::Index>(),
    ) {
        let (mut content, mut ends) = (Vec::new(), vec![0]);
        for row in &rows {
            write(&Written::List(row.clone()), &mut content);
            ends.push(content.len());
        }
        let expected: Vec<Read> = rows.iter().map(|row| Ok(row.iter().map(Written::cell).collect())).collect();
        let columns = ["c"; 5];
        prop_assert_eq!(read(&content, step, Format::Msgpack, Some(&columns)).unwrap(), expected);

        let length = cut.index(content.len() + 1);
        let is_whole = ends.contains(&length);
        match read(&content[..length], step, Format::Msgpack, Some(&columns)) {
            Ok(_) => prop_assert!(is_whole),
            Err(error) => prop_assert!(!is_whole && matches!(error, RowsError::CutOff { .. }), "{}", error),
        }
    }

    #[test]
    fn any_bytes_as_msgpack_end_in_rows_or_an_error(content in prop::collection::vec(any::<u8>(), 0..200)) {
        let from_rows = [b"\x95".as_slice(), &content].concat();
        for content in [content, from_rows] {
            match read(&content, 1000, Format::Msgpack, Some(&["a", "b"])) {
                Ok(rows) => prop_assert!(rows.len() <= content.len()),
                Err(error) => {
                    prop_assert!(matches!(error, RowsError::CutOff { .. } | RowsError::NoMsgpack { .. }), "{}", error);
                }
            }
        }
    }
}

/// A line that is an object with the keys that are looked for, or nearly one, or something else.
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

/// What `serde_json` makes of the line: as a value, which shows whether it is JSON at all, and as members whose values keep
/// the text they were written with.
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

/// A value of `MessagePack`, and which of the ways to write it is taken.
#[derive(Clone, Debug)]
enum Written {
    Nil,
    Bool(bool),
    /// The number, and in how many bytes at least.
    Integer(i128, u32),
    Float(f64),
    Text(String, u32),
    Bytes(Vec<u8>),
    Extension(Vec<u8>),
    List(Vec<Written>),
    Map(Vec<Written>),
}

impl Written {
    fn cell(&self) -> Cell {
        match self {
            Self::Nil => Cell::Text(Vec::new()),
            Self::Bool(_) => Cell::Unfit(Reason::Boolean),
            Self::Integer(number, _) => text(&number.to_string()),
            Self::Float(_) => Cell::Unfit(Reason::Float),
            Self::Text(content, _) => text(content),
            Self::Bytes(bytes) => Cell::Text(bytes.clone()),
            Self::Extension(_) => Cell::Unfit(Reason::Extension),
            Self::List(_) | Self::Map(_) => Cell::Unfit(Reason::Nested),
        }
    }
}

fn value(depth: u32) -> BoxedStrategy<Written> {
    let flat = prop_oneof![
        Just(Written::Nil),
        any::<bool>().prop_map(Written::Bool),
        (prop_oneof![any::<i64>().prop_map(i128::from), any::<u64>().prop_map(i128::from), -200_i128..300], 0..4_u32)
            .prop_map(|(number, size)| Written::Integer(number, size)),
        any::<f64>().prop_map(Written::Float),
        ("[a-zé]{0,40}", 0..3_u32).prop_map(|(content, size)| Written::Text(content, size)),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(Written::Bytes),
        prop::collection::vec(any::<u8>(), 1..20).prop_map(Written::Extension),
    ];
    if depth == 0 {
        return flat.boxed();
    }
    let inner = || prop::collection::vec(value(depth - 1), 0..4);
    prop_oneof![4 => flat, 1 => inner().prop_map(Written::List), 1 => inner().prop_map(Written::Map)].boxed()
}

/// The first of the forms from `wanted` on that the length fits into: one byte with the length in it, then 1, 2, 4 bytes.
fn head(length: usize, small: Option<(u8, usize)>, [one, two, four]: [Option<u8>; 3], wanted: u32, out: &mut Vec<u8>) {
    match (small, one, two) {
        (Some((marker, most)), _, _) if wanted == 0 && length <= most => {
            out.push(marker | u8::try_from(length).unwrap());
        }
        (_, Some(marker), _) if wanted <= 1 && length < 0x100 => out.extend([marker, u8::try_from(length).unwrap()]),
        (_, _, Some(marker)) if wanted <= 2 && length < 0x1_0000 => {
            out.push(marker);
            out.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        _ => {
            out.push(four.unwrap());
            out.extend(u32::try_from(length).unwrap().to_be_bytes());
        }
    }
}

fn write(value: &Written, out: &mut Vec<u8>) {
    match value {
        Written::Nil => out.push(0xc0),
        Written::Bool(value) => out.push(0xc2 + u8::from(*value)),
        Written::Float(value) => {
            out.push(0xcb);
            out.extend(value.to_be_bytes());
        }
        Written::Integer(number @ -32..=127, 0) => out.push(number.to_be_bytes()[15]),
        Written::Integer(number, size) => {
            let (first, signed) = if *number < 0 { (0xd0, 1) } else { (0xcc, 0) };
            let fits = |size: u32| {
                let bits = 8 * (1 << size) - signed;
                (if signed == 1 { -(1_i128 << bits) } else { 0 }..1_i128 << bits).contains(number)
            };
            let size = (*size..4).find(|size| fits(*size)).unwrap();
            out.push(first + u8::try_from(size).unwrap());
            out.extend(&number.to_be_bytes()[16 - (1 << size)..]);
        }
        Written::Text(content, size) => {
            head(content.len(), Some((0xa0, 31)), [Some(0xd9), Some(0xda), Some(0xdb)], *size, out);
            out.extend(content.as_bytes());
        }
        Written::Bytes(bytes) => {
            head(bytes.len(), None, [Some(0xc4), Some(0xc5), Some(0xc6)], 0, out);
            out.extend(bytes);
        }
        Written::Extension(bytes) => {
            match bytes.len() {
                length if length.is_power_of_two() && length <= 16 => {
                    out.push(0xd4 + u8::try_from(length.trailing_zeros()).unwrap());
                }
                length => head(length, None, [Some(0xc7), Some(0xc8), Some(0xc9)], 0, out),
            }
            out.push(5);
            out.extend(bytes);
        }
        Written::List(values) => {
            head(values.len(), Some((0x90, 15)), [None, Some(0xdc), Some(0xdd)], 0, out);
            for value in values {
                write(value, out);
            }
        }
        Written::Map(values) => {
            head(values.len(), Some((0x80, 15)), [None, Some(0xde), Some(0xdf)], 0, out);
            for value in values {
                write(value, out);
                write(value, out);
            }
        }
    }
}

#[rstest]
#[case::text_longer_than_the_input(b"\x91\xdb\xff\xff\xff\xffabc", "in the middle of row 1")]
#[case::bytes_longer_than_the_input(b"\x91\x01\x91\xc6\xff\xff\xff\xff", "in the middle of row 2")]
#[case::more_cells_than_bytes(b"\xdd\xff\xff\xff\xff\x01\x01", "in the middle of row 1")]
#[case::a_map_of_billions(b"\x91\xdf\xff\xff\xff\xff\x01\x01", "in the middle of row 1")]
#[case::a_byte_that_means_nothing(b"\x91\xc1", "row 1 is no MessagePack array")]
#[case::text_where_a_row_should_be(b"user_ids\nu1\n", "row 1 is no MessagePack array")]
#[case::a_map_where_a_row_should_be(b"\x81\xa1a\x01", "row 1 is no MessagePack array")]
fn hostile_msgpack_is_an_error_in_little_memory(#[case] content: &[u8], #[case] message: &str) {
    for step in [1, 1000] {
        let error = read(content, step, Format::Msgpack, Some(&["user_ids"])).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn msgpack_of_any_depth_is_passed_over() {
    let deep = [b"\x92".as_slice(), &vec![0x91; 3_000_000], b"\x01\xa2u1\x92\x01\x02"].concat();
    let rows = read(&deep, 1000, Format::Msgpack, Some(&["a", "user_ids"])).unwrap();
    assert_eq!(rows, [Ok(vec![Cell::Unfit(Reason::Nested), text("u1")]), Ok(vec![text("1"), text("2")])]);
    let bottomless = vec![0xdd; 3_000_000];
    assert!(read(&bottomless, 100_000, Format::Msgpack, Some(&["a"])).is_err());
}

#[test]
fn json_rows_that_are_arrays_have_a_cell_a_value() {
    let content = b"[\"u1\", null, 12345678901234567890123]\n\n[1.5, true, []]\n[]\n{}\n[1\n";
    let rows = read(content, 7, Format::Json, Some(&["a", "b", "c"])).unwrap();
    let reasons = [Reason::Float, Reason::Boolean, Reason::Nested].map(Cell::Unfit);
    let expected = [
        Ok(vec![text("u1"), text(""), text("12345678901234567890123")]),
        Ok(reasons.to_vec()),
        Ok(Vec::new()),
        Err(Fault::NotARow),
        Err(Fault::NotJson),
    ];
    assert_eq!(rows, expected);
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
#[case(b"[\n  {\"id\": 1}\n]\n", Format::Json)]
#[case(b"[{\"id\": 1}, {\"id\": 2}]", Format::Json)]
#[case(b"{\n  \"id\": 1\n}\n", Format::Jsonl)]
fn a_document_that_is_not_a_row_a_line_is_said_to_be_one(#[case] content: &[u8], #[case] format: Format) {
    for form in [Form { format: Some(format), ..Form::default() }, Form::default()] {
        let error = open(Dribble(content, 5), "-", &form, vec!["id".to_owned()]).map(|_| ()).unwrap_err();
        assert!(matches!(error, RowsError::JsonDocument), "{error}");
    }
}
