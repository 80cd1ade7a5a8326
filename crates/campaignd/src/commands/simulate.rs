//! `simulate`: the stand-ins for the vendors, alone.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use simulator::{Simulator, SimulatorOptions};

use super::{campaign::read, serve::stop_on_signal};
use crate::context::Outcome;

/// Arguments of `simulate`.
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// The port on 127.0.0.1; 0 takes a free one [default: 9090, or the options' port]
    #[arg(long)]
    port: Option<u16>,
    /// Its options, as TOML (`.toml`) or JSON: latencies, faults, shares of statuses, credentials, callback URLs
    #[arg(long, value_name = "FILE")]
    options: Option<PathBuf>,
    /// Print the options with their defaults, as JSON, and end
    #[arg(long)]
    print_options: bool,
}

pub async fn run(args: &SimulateArgs) -> anyhow::Result<Outcome> {
    let options = options(args)?;
    if args.print_options {
        println!("{}", serde_json::to_string_pretty(&options)?);
        return Ok(Outcome::Done);
    }
    let stop = stop_on_signal()?;
    let (exotel, io, inbox) = (
        options.exotel_accounts.first().cloned(),
        options.sobot_io_accounts.first().cloned(),
        options.sobot_in_accounts.first().cloned(),
    );
    let mut simulator = Simulator::start(options).await?;
    println!("stand-ins for the vendors listen at {} (base_url of each account)", simulator.url());
    if let Some(account) = exotel {
        println!(
            "exotel:   account_sid = \"{}\"  api_key = \"{}\"  api_token = \"{}\"",
            account.sid, account.api_key, account.api_token
        );
    }
    if let Some(account) = io {
        println!(
            "sobot_io: app_id = \"{}\"  app_key = \"{}\"  waba_id = any",
            account.app_id, account.app_key
        );
    }
    if let Some(account) = inbox {
        println!(
            "sobot_in: access_key = \"{}\"  secret_key = \"{}\"",
            account.access_key, account.secret_key
        );
    }
    tokio::select! {
        () = simulator.run() => {}
        () = stop.cancelled() => {}
    }
    simulator.shutdown().await;
    Ok(Outcome::Done)
}

fn options(args: &SimulateArgs) -> anyhow::Result<SimulatorOptions> {
    let mut options = match &args.options {
        None => SimulatorOptions { port: 9090, ..SimulatorOptions::default() },
        Some(file) => {
            let text = read(file)?;
            let wrong =
                || format!("{} holds no simulator options (--print-options shows them)", file.display());
            if file.extension().is_some_and(|ending| ending == "toml") {
                toml::from_str(&text).with_context(wrong)?
            } else {
                serde_json::from_str(&text).with_context(wrong)?
            }
        }
    };
    if let Some(port) = args.port {
        options.port = port;
    }
    Ok(options)
}
