//! The rule for text ([`crate::input::cells`]) in SQL. Pure.

use super::{ColumnType, literal};
use crate::members::identifier::MAX_BYTES;

/// Unicode's white space and other invisible characters. A cell with only these counts as blank.
const BLANK: &str = r"\0009-\000D \0085\00A0\1680\2000-\200A\2028\2029\202F\205F\3000\00AD\061C\180E\200B-\200F\202A-\202E\2060-\2064\2066-\206F\FEFF";
/// The form of most identifiers. Without this check, the rules below take most of the job's time.
const PLAIN: &str = r"^(?:[A-Za-z_][!-~]*|[0-9]+)\z";
/// The text of a DOUBLE: digits followed by `.0`, or a mantissa with a point and an exponent.
const DOUBLE: &str = "^[-+]?[0-9]+(?:[.]0|[.][0-9]+[eE](?:[-+][0-9]{1,3}|[0-9]{1,4}))$";

/// An expression for a cell's verdict: 0 for blank, 1 for an identifier, 2 for rejected. `cell` is text.
///
/// SQL cannot tell whether text is UTF-8; the engine guarantees it.
pub fn verdict(cell: &str, column_type: ColumnType, null_words: &[String]) -> String {
    let words: Vec<_> = std::iter::once("").chain(null_words.iter().map(String::as_str)).map(literal).collect();
    if column_type == ColumnType::Whole {
        return format!("CASE WHEN {cell} IS NULL OR {cell} IN ({}) THEN 0 ELSE 1 END", words.join(", "));
    }
    format!(
        "CASE
            WHEN {cell} IS NULL OR {cell} IN ({words}) THEN 0
            WHEN length({cell}) <= {MAX_BYTES} AND regexp_like({cell}, '{PLAIN}') THEN 1
            WHEN length(to_utf8({cell})) > {MAX_BYTES} THEN 2
            WHEN regexp_like({cell}, '{DOUBLE}') THEN 2
            WHEN substr({cell}, 1, 1) IN ('[', '{{') AND try(json_parse({cell})) IS NOT NULL THEN 2
            WHEN NOT regexp_like({cell}, U&'[^{BLANK}]') THEN 0
            WHEN regexp_like({cell}, U&'[^ -~\\00A0-\\+10FFFF]') THEN 2
            ELSE 1
          END",
        words = words.join(", ")
    )
}
