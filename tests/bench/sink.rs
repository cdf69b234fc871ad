//! A stand-in for Braze that costs as little as it can, so that what is measured is the uploader: it reads a request to its
//! end, waits, and says 201. The sandbox of the program checks everything instead, and costs as much as the uploader itself.
//!
//! Prints its address. Each line on standard input is answered by what it saw since the last one, as a line of JSON; it
//! ends with standard input.

#![allow(clippy::print_stdout, reason = "the script reads standard output")]

use std::error::Error;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use clap::Parser;

#[path = "sink/connection.rs"]
mod connection;
mod digest;
#[path = "sink/seen.rs"]
mod seen;
#[path = "sink/tls.rs"]
mod tls;

use connection::Sink;

fn main() -> Result<(), Box<dyn Error>> {
    let sink = Arc::new(Sink::new(connection::Options::parse()));
    let tls = sink.options.tls.as_deref().map(tls::config).transpose()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    println!("{scheme}://{}", listener.local_addr()?);
    let shared = Arc::clone(&sink);
    thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let (sink, tls) = (Arc::clone(&shared), tls.clone());
            // An error here is the client's leaving, which is its right.
            thread::spawn(move || match tls {
                None => connection::serve(socket, &sink),
                Some(config) => tls::accept(socket, config).and_then(|stream| connection::serve(stream, &sink)),
            });
        }
    });
    for line in io::stdin().lines() {
        line?;
        println!("{}", sink.take_seen());
    }
    Ok(())
}
