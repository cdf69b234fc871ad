//! Rows in each format, plain and compressed.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Map, Value};

/// A line of CSV, or of TSV with tabs, as `download_file` writes it.
pub fn delimited(cells: &[String], delimiter: char) -> String {
    let cells: Vec<_> = cells
        .iter()
        .map(|cell| {
            let is_quoted = cell.contains(['"', delimiter, '\r', '\n']);
            if is_quoted { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.clone() }
        })
        .collect();
    cells.join(&delimiter.to_string()) + "\r\n"
}

/// An object a line.
pub fn json_object(header: &[String], cells: &[String]) -> String {
    let object: Map<_, _> =
        header.iter().zip(cells).map(|(name, cell)| (name.clone(), Value::from(cell.as_str()))).collect();
    Value::Object(object).to_string() + "\n"
}

/// A `MessagePack` array; cells are shorter than 64 KiB, and fewer than 16.
pub fn msgpack(cells: &[String]) -> Vec<u8> {
    let mut row = vec![0x90 | u8::try_from(cells.len()).unwrap_or_default()];
    for cell in cells {
        match (u8::try_from(cell.len()), u16::try_from(cell.len()).unwrap_or_default()) {
            (Ok(short @ 0..32), _) => row.push(0xa0 | short),
            (Ok(length), _) => row.extend_from_slice(&[0xd9, length]),
            (Err(_), length) => {
                row.push(0xda);
                row.extend_from_slice(&length.to_be_bytes());
            }
        }
        row.extend_from_slice(cell.as_bytes());
    }
    row
}

/// One member.
pub fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // Writing to a vector cannot fail.
    encoder.write_all(content).and_then(|()| encoder.finish()).unwrap_or_default()
}
