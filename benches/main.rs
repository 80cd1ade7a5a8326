//! `make bench`: every goal of speed and size as a ratio to a reference taken in the same run, on the real daemon.
//!
//! It drives the program over HTTP with durability on, and fails nothing: figures change from machine to machine. It ends
//! with 1 only when a row could not be measured at all.

mod args;
mod bench;
mod callback_load;
mod group_commit;
mod http;
mod machine;
mod null_vendor;
mod people;
mod process;
mod psql;
mod raw_client;
mod reference;
mod report;
mod rows;
mod world;

use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;

use crate::{args::Args, bench::Bench, report::Row};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ended = process::play(&arguments).map(|played| played.map(|()| true));
    match ended.unwrap_or_else(|| measure(Args::read())) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures what was asked for; false when something could not be.
fn measure(args: Args) -> Result<bool> {
    if args.list {
        println!("{}", rows::NAMES.join("\n"));
        return Ok(true);
    }
    // The typed client wants it, as the program does.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let json = args.json.clone();
    let names =
        if args.rows.is_empty() { rows::NAMES.map(str::to_owned).to_vec() } else { args.rows.clone() };
    println!("{}; load {:.2}", machine::describe(), machine::load());
    let begun = machine::now_us();
    let mut bench = Bench::new(args);
    let measured = runtime.block_on(all(&mut bench, &names));
    println!("\n{}", report::table(&measured));
    let seconds = (machine::now_us() - begun) / 1_000_000;
    println!("load {:.2} after {seconds} s", machine::load());
    if let Some(path) = json {
        let rows: Vec<_> = measured.iter().map(Row::json).collect();
        let document = json!({
            "machine": machine::describe(), "durability": bench.durability, "seconds": seconds, "rows": rows,
        });
        std::fs::write(path, serde_json::to_vec_pretty(&document)?)?;
    }
    Ok(measured.iter().all(|row| row.figure != NOT_MEASURED))
}

const NOT_MEASURED: &str = "not measured";

async fn all(bench: &mut Bench, names: &[String]) -> Vec<Row> {
    let mut measured = Vec::new();
    for name in names {
        let before = machine::load();
        let rows = rows::measure(bench, name).await.unwrap_or_else(|error| {
            let figure = NOT_MEASURED.to_owned();
            vec![Row { name: name.clone(), figure, ..Row::default() }.note(format!("{error:#}"))]
        });
        for mut row in rows {
            row.load = (before, machine::load());
            println!("{}", report::line(&row));
            measured.push(row);
        }
    }
    measured
}
