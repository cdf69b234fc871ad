//! The formats, and how one is recognised: first by content, then by file name.

use std::fmt;
use std::io::{self, Read};

use memchr::{memchr, memchr2};

use super::RowsError;
use super::bytes::{Bytes, WINDOW};
use super::splitter::Quotes;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated, with a header.
    Csv,
    /// The same with tabs.
    Tsv,
    /// One JSON object per line.
    Jsonl,
    /// One `MessagePack` array per row.
    Msgpack,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 4] = [Self::Csv, Self::Tsv, Self::Jsonl, Self::Msgpack];

    /// The value of the setting `format`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Tsv => "tsv",
            Self::Jsonl => "jsonl",
            Self::Msgpack => "msgpack",
        }
    }

    /// The format with exactly this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// Whether the format has no column names.
    pub fn needs_columns(self) -> bool {
        self == Self::Msgpack
    }

    /// The unit of positions in it, for messages.
    pub fn unit(self) -> &'static str {
        if self == Self::Msgpack { "row" } else { "line" }
    }

    /// By the end of a file name, without the ending of a compression.
    pub fn from_file_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        match name.rsplit_once('.')?.1 {
            "csv" => Some(Self::Csv),
            "tsv" | "tab" => Some(Self::Tsv),
            "jsonl" | "ndjson" | "json" => Some(Self::Jsonl),
            "msgpack" | "mpk" | "mp" => Some(Self::Msgpack),
            _ => None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What is known about an input's rows before any byte is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FormatHint {
    /// The format; recognised if it is not set.
    pub format: Option<Format>,
    /// The column names in order, if there is no header.
    pub columns: Option<Vec<String>>,
    /// Which quotes count in TSV.
    pub quotes: Option<Quotes>,
    /// Whether an empty input is a result without rows: a container or an announced length shows that nothing is
    /// missing. A format with a header is never empty.
    pub may_be_empty: bool,
}

/// The format of the next bytes: by content, then by file name, else CSV. Whatever could be a CSV header with a usable
/// name is CSV. `MessagePack` is not recognised by content, because other text encodings, such as Shift JIS, can look
/// like it.
pub fn recognise<R: Read>(bytes: &mut Bytes<R>, name: &str, columns: Option<&[String]>) -> io::Result<Format> {
    let by_name = Format::from_file_name(name);
    if by_name == Some(Format::Msgpack) {
        return Ok(Format::Msgpack);
    }
    let line = first_line(bytes)?;
    Ok(match json(line) {
        Some(_) => Format::Jsonl,
        None if is_tab_separated(line, columns.map(<[String]>::len)) => Format::Tsv,
        None => by_name.unwrap_or(Format::Csv),
    })
}

/// The first line that is not empty, up to the end of the window.
pub fn first_line<R: Read>(bytes: &mut Bytes<R>) -> io::Result<&[u8]> {
    // Both continue where they stopped, because bytes may come one by one.
    let (mut start, mut searched) = (0, 0);
    let end = loop {
        let at_hand = bytes.at_hand();
        start += at_hand[start..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        searched = searched.max(start);
        let end = memchr2(b'\n', b'\r', &at_hand[searched..]).map(|end| searched + end);
        searched = at_hand.len();
        if end.is_some() || at_hand.len() >= WINDOW || bytes.more()? == 0 {
            break end;
        }
    };
    let at_hand = bytes.at_hand();
    Ok(&at_hand[start..end.unwrap_or(at_hand.len())])
}

/// Whether a first line is JSON, and an error if it is not one object per line. Its first two characters show it; a
/// header may begin with any bracket and a letter. Treasure Data's command line begins with `[row,` on its own line.
pub fn json(line: &[u8]) -> Option<Result<(), RowsError>> {
    let (first, rest) = line.trim_ascii().split_first()?;
    match (first, rest.trim_ascii_start().first()) {
        (b'{', Some(b'"' | b'}')) if !rest.ends_with(b",") => Some(Ok(())),
        (b'{', Some(b'"' | b'}') | None) | (b'[', Some(b'{' | b'[' | b']' | b'"' | b'-' | b'0'..=b'9') | None) => {
            Some(Err(RowsError::NotLines))
        }
        _ => None,
    }
}

/// It has tabs and no comma. If the columns are known, tabs must give that number of cells, and commas must not.
fn is_tab_separated(line: &[u8], columns: Option<usize>) -> bool {
    let cells = |delimiter| line.split(|byte| *byte == delimiter).count();
    match columns {
        None => cells(b'\t') > 1 && memchr(b',', line).is_none(),
        Some(columns) => columns > 1 && cells(b'\t') == columns && cells(b',') != columns,
    }
}

#[cfg(test)]
mod tests {
    use super::super::bytes::tests::Dribble;
    use super::*;
    use rstest::rstest;
    use std::time::{Duration, Instant};

    fn recognised(content: &[u8], name: &str, columns: Option<&[String]>) -> Format {
        let formats =
            [1, 3, 1_000_000].map(|step| recognise(&mut Bytes::new(Dribble(content, step)), name, columns).unwrap());
        assert!(formats.iter().all(|format| *format == formats[0]), "{formats:?}");
        formats[0]
    }

    #[rstest]
    #[case::line_feeds(&b"\n".repeat(WINDOW), Format::Csv)]
    #[case::letters(&b"x".repeat(WINDOW), Format::Csv)]
    #[case::tabs(&b"x\t".repeat(WINDOW / 2), Format::Tsv)]
    #[case::object(&[b"{\"a\": \"".as_slice(), &b"x".repeat(WINDOW)].concat(), Format::Jsonl)]
    fn bytes_that_come_one_by_one_are_looked_at_once(#[case] content: &[u8], #[case] expected: Format) {
        let began = Instant::now();
        let found = recognise(&mut Bytes::new(Dribble(content, 1)), "standard input", None).unwrap();
        // Milliseconds. It takes seconds if each byte restarts the search.
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        assert_eq!(found, expected);
    }

    #[rstest]
    #[case::header(b"user_ids,name\r\nu1,a\r\n", Format::Csv)]
    #[case::one_column(b"user_ids\r\nu1\r\n", Format::Csv)]
    #[case::quoted(b"\"user_ids\",\"a\tb\"\r\n", Format::Csv)]
    #[case::a_brace_in_a_header(b"{id},user_ids\r\n", Format::Csv)]
    #[case::brackets_in_a_header(b"[user_ids],[name]\r\n", Format::Csv)]
    #[case::shift_jis(b"\x96\xbc\x91O,user_ids\r\n\x8aX,u1\r\n", Format::Csv)]
    #[case::shift_jis_of_one_letter(b"\x94\x94,user_ids\r\n1,u1\r\n", Format::Csv)]
    #[case::empty(b"", Format::Csv)]
    #[case::tabs(b"user_ids\tname\nu1\ta, b\n", Format::Tsv)]
    #[case::tabs_and_a_comma(b"user_ids,\"a\tb\"\n", Format::Csv)]
    #[case::object(b"{\"user_ids\": \"u1\"}\n", Format::Jsonl)]
    #[case::spaced_object(b"\n { \"user_ids\" : 1}", Format::Jsonl)]
    #[case::an_object_that_breaks_off(b"{\"user_ids\": \n{\"user_ids\": 1}", Format::Jsonl)]
    #[case::empty_object(b"{}\n", Format::Jsonl)]
    #[case::array(b"[\"u1\",null,3]\n[\"u2\",null,4]\n", Format::Jsonl)]
    #[case::array_without_line_feed(b" [ 1 ]", Format::Jsonl)]
    #[case::array_that_breaks_off(b"[1,\n2]", Format::Jsonl)]
    #[case::msgpack_without_a_name(b"\x92\xa2u1\xc0\x92\xa2u2\x01", Format::Csv)]
    fn the_content_says_what_it_is(#[case] content: &[u8], #[case] expected: Format) {
        assert_eq!(recognised(content, "standard input", None), expected);
    }

    #[rstest]
    #[case("members.tsv", Format::Tsv)]
    #[case("members.TSV.gz", Format::Tsv)]
    #[case("members.ndjson.gz", Format::Jsonl)]
    #[case("members.json", Format::Jsonl)]
    #[case("members.msgpack.gz", Format::Msgpack)]
    #[case("members.gz", Format::Csv)]
    #[case("members.d/jsonl", Format::Csv)]
    fn where_the_content_says_nothing_the_name_does(#[case] name: &str, #[case] expected: Format) {
        assert_eq!(recognised(b"user_ids\n", name, None), expected);
    }

    fn shape(line: &str) -> &'static str {
        match json(line.as_bytes()) {
            None => "no JSON",
            Some(Ok(())) => "objects",
            Some(Err(RowsError::NotLines)) => "not lines",
            Some(Err(error)) => panic!("{error}"),
        }
    }

    #[rstest]
    #[case::objects(&["{\"id\": 1}", "{}", "{\"id\": 1} {", "{\"id\": [1", " { \"id\": 1} "], "objects")]
    #[case::arrays(&["[1]", "[]", "[\"a\", 1]", "[1],", "[1,", "[[1],", "[[\"a\", {}],", "[[1], [2]]", "[["], "not lines")]
    #[case::document(&["[", "{", "[{", "[{\"id\": 1},", "[{\"id\": 1}", "[{\"id\": 1}]", "[ {}, {} ]"], "not lines")]
    #[case::commas(&["{\"id\": 1},", " {} ,", "{\"id\": [1,"], "not lines")]
    #[case::no_json(&["[id],[name]", "{id},", "[oops", "\"a\"", ""], "no JSON")]
    fn a_first_line_says_what_json_it_is(#[case] lines: &[&str], #[case] expected: &str) {
        for line in lines {
            assert_eq!(shape(line), expected, "{line}");
        }
    }

    #[test]
    fn the_content_counts_more_than_the_name() {
        assert_eq!(recognised(b"{\"user_ids\": 1}\n", "members.csv", None), Format::Jsonl);
    }

    #[test]
    fn long_first_rows_are_recognised_by_their_beginning() {
        let long = "x".repeat(2 * WINDOW);
        assert_eq!(recognised(format!("[\"{long}\"]").as_bytes(), "-", None), Format::Jsonl);
        assert_eq!(recognised(format!("{{\"a\": \"{long}\"}}").as_bytes(), "-", None), Format::Jsonl);
        assert_eq!(recognised(format!("user_ids,{long}\n").as_bytes(), "-", None), Format::Csv);
    }

    #[test]
    fn without_a_header_tabs_have_to_make_as_many_cells_as_there_are_columns() {
        let columns = |count: usize| vec!["c".to_owned(); count];
        assert_eq!(recognised(b"a b\tc\n", "-", Some(&columns(2))), Format::Tsv);
        assert_eq!(recognised(b"a, b\tc\n", "-", Some(&columns(2))), Format::Csv);
        assert_eq!(recognised(b"a, b\tc\t\n", "-", Some(&columns(3))), Format::Tsv);
        assert_eq!(recognised(b"a b\tc\n", "-", Some(&columns(1))), Format::Csv);
    }
}
