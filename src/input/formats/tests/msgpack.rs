//! Compares `MessagePack` with a writer of every possible form of a value.

use proptest::prelude::*;
use rstest::rstest;

use super::{Cell, Read, read, text};
use crate::input::cells::Reason;
use crate::input::formats::RowsError;
use crate::input::formats::format::Format;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

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
            Err(error) => prop_assert!(!is_whole && matches!(error, RowsError::NoMsgpack { .. }), "{}", error),
        }
    }

    #[test]
    fn any_bytes_as_msgpack_end_in_rows_or_an_error(content in prop::collection::vec(any::<u8>(), 0..200)) {
        let from_rows = [b"\x95".as_slice(), &content].concat();
        for content in [content, from_rows] {
            match read(&content, 1000, Format::Msgpack, Some(&["a", "b"])) {
                Ok(rows) => prop_assert!(rows.len() <= content.len()),
                // What begins as an array must never be taken for compressed data.
                Err(RowsError::Unsupported(_)) => prop_assert!(!matches!(content[0], 0x90..=0x9f | 0xdc | 0xdd)),
                Err(error) => {
                    prop_assert!(matches!(error, RowsError::NoMsgpack { .. }), "{}", error);
                }
            }
        }
    }
}

/// A `MessagePack` value, and the form in which it is written.
#[derive(Clone, Debug)]
enum Written {
    Nil,
    Bool(bool),
    /// The number, and the least number of bytes for it.
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

/// The first form from `wanted` on that the length fits into: one byte that includes the length, then 1, 2, 4 bytes.
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
#[case::text_longer_than_the_input(b"\x91\xdb\xff\xff\xff\xffabc", "row 1 is not a whole MessagePack array")]
#[case::bytes_longer_than_the_input(b"\x91\x01\x91\xc6\xff\xff\xff\xff", "row 2 is not a whole MessagePack array")]
#[case::more_cells_than_bytes(b"\xdd\xff\xff\xff\xff\x01\x01", "row 1 is not a whole MessagePack array")]
#[case::a_map_of_billions(b"\x91\xdf\xff\xff\xff\xff\x01\x01", "row 1 is not a whole MessagePack array")]
#[case::a_byte_that_means_nothing(b"\x91\xc1", "row 1 is not a whole MessagePack array")]
#[case::text_where_a_row_should_be(b"user_ids\nu1\n", "row 1 is not a whole MessagePack array")]
#[case::a_map_where_a_row_should_be(b"\x81\xa1a\x01", "row 1 is not a whole MessagePack array")]
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
