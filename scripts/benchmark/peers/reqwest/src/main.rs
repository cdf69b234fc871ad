//! The same upload with csv, serde, tokio and reqwest, as one would write it for good.
//!
//! `peer-reqwest FILE ENDPOINT THREADS`

use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use reqwest::Client;
use serde::Serialize;
use tokio::runtime::Builder;
use tokio::sync::{Mutex, mpsc};

type AnyError = Box<dyn Error + Send + Sync>;

const CAPACITY: usize = 1000;
const TRIES: u32 = 5;

#[derive(Serialize)]
struct Alias {
    alias_label: &'static str,
    alias_name: String,
}

#[derive(Default, Serialize)]
struct Change {
    user_ids: Vec<String>,
    device_ids: Vec<String>,
    aliases: Vec<Alias>,
    should_remove: bool,
}

#[derive(Serialize)]
struct Body<'a> {
    partner_api_key: &'a str,
    client_secret: &'a str,
    cohort_id: &'a str,
    cohort_changes: [&'a Change; 1],
}

impl Change {
    fn len(&self) -> usize {
        self.user_ids.len() + self.device_ids.len() + self.aliases.len()
    }

    fn push(&mut self, column: &str, cell: &str) {
        let mut alias = |alias_label| self.aliases.push(Alias { alias_label, alias_name: cell.to_owned() });
        match column {
            "email" => alias("email"),
            "phone" => alias("phone"),
            "device_ids" => self.device_ids.push(cell.to_owned()),
            "user_ids" => self.user_ids.push(cell.to_owned()),
            _ => {}
        }
    }
}

fn read(path: &str, queue: &mpsc::Sender<Change>) -> Result<(), AnyError> {
    let file = File::open(path)?;
    let input: Box<dyn Read> = if path.ends_with(".gz") { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut rows = csv::Reader::from_reader(input);
    let header = rows.headers()?.clone();
    let mut change = Change::default();
    for row in rows.records() {
        let row = row?;
        for (column, cell) in header.iter().zip(&row).filter(|(_, cell)| !cell.is_empty()) {
            change.push(column, cell);
            if change.len() == CAPACITY {
                queue.blocking_send(std::mem::take(&mut change))?;
            }
        }
    }
    if change.len() > 0 {
        queue.blocking_send(change)?;
    }
    Ok(())
}

async fn send(client: &Client, url: &str, change: &Change) -> Result<(), AnyError> {
    let body = Body {
        partner_api_key: "a partner key",
        client_secret: "a data import key",
        cohort_id: "members",
        cohort_changes: [change],
    };
    let mut tried = 0;
    loop {
        tried += 1;
        let answer = match client.post(url).json(&body).send().await {
            Ok(answer) => answer.error_for_status(),
            Err(error) => Err(error),
        };
        match answer {
            // A connection is kept only if the answer was read to its end.
            Ok(answer) => return Ok(answer.bytes().await.map(drop)?),
            Err(error) if tried == TRIES => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(250) * 2_u32.pow(tried)).await,
        }
    }
}

async fn upload(path: String, endpoint: &str, threads: usize) -> Result<(), AnyError> {
    let client = Client::builder().pool_max_idle_per_host(threads).timeout(Duration::from_secs(60)).build()?;
    let url: Arc<str> = format!("{endpoint}/partners/treasure_data/cohorts/users").into();
    let (to_workers, queue) = mpsc::channel(threads);
    let queue = Arc::new(Mutex::new(queue));
    let reader = tokio::task::spawn_blocking(move || read(&path, &to_workers));
    let workers: Vec<_> = (0..threads)
        .map(|_| {
            let (client, url, queue) = (client.clone(), Arc::clone(&url), Arc::clone(&queue));
            tokio::spawn(async move {
                loop {
                    let next = queue.lock().await.recv().await;
                    let Some(change) = next else { return Ok::<_, AnyError>(()) };
                    send(&client, &url, &change).await?;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await??;
    }
    reader.await?
}

fn main() -> Result<(), AnyError> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [path, endpoint, threads] = arguments.as_slice() else { return Err("FILE ENDPOINT THREADS".into()) };
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(upload(path.clone(), endpoint, threads.parse()?))
}
