//! Writes the inputs of `scripts/bench`, and says what has to arrive.

#![allow(clippy::print_stdout, reason = "what has to arrive is read from standard output")]

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

mod digest;
#[allow(dead_code, reason = "the benchmarks of the parts need more formats")]
mod encode;
mod members;

use members::{WIDE_HEADER, WIDE_IDENTIFIERS};

#[derive(Clone, Copy, ValueEnum)]
enum Shape {
    /// External IDs alone.
    Narrow,
    /// Ten columns, of which four hold identifiers.
    Wide,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Csv,
    CsvGz,
    MsgpackGz,
}

#[derive(Parser)]
struct Arguments {
    shape: Shape,
    format: Format,
    rows: u64,
    path: PathBuf,
}

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { shape, format, rows, path } = Arguments::parse();
    let file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut out: Box<dyn Write> = match format {
        Format::Csv => Box::new(file),
        // Is finished when it is dropped; the check before all measurements would notice if it were not.
        Format::CsvGz | Format::MsgpackGz => Box::new(GzEncoder::new(file, Compression::default())),
    };
    let (header, identifiers): (&[&str], &[usize]) = match shape {
        Shape::Narrow => (&["user_ids"], &[0]),
        Shape::Wide => (&WIDE_HEADER, &WIDE_IDENTIFIERS),
    };
    let header: Vec<_> = header.iter().map(|name| (*name).to_owned()).collect();
    if format != Format::MsgpackGz {
        out.write_all(encode::delimited(&header, ',').as_bytes())?;
    }
    let (mut count, mut sum) = (0_u64, 0_u64);
    for row in 0..rows {
        let cells = match shape {
            Shape::Narrow => members::narrow_row(row),
            Shape::Wide => members::wide_row(row),
        };
        for column in identifiers.iter().filter(|column| !cells[**column].is_empty()) {
            count += 1;
            sum = sum.wrapping_add(digest::digest(&header[*column], &cells[*column]));
        }
        match format {
            Format::MsgpackGz => out.write_all(&encode::msgpack(&cells))?,
            Format::Csv | Format::CsvGz => out.write_all(encode::delimited(&cells, ',').as_bytes())?,
        }
    }
    out.flush()?;
    println!("{}", json!({"rows": rows, "identifiers": count, "digest": format!("{sum:016x}")}));
    Ok(())
}
