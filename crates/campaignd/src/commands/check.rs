//! `check`: whether the daemon would work as configured, before it is started.

use clap::Args;
use futures::future::join_all;
use serde::Serialize;
use vendors::{Account, AccountConfig};

use super::database::Opened;
use crate::{
    config::Config,
    context::{Context, Outcome},
    output::harmless,
    system,
};

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Show the tokens of the callback URLs
    #[arg(long)]
    reveal: bool,
    /// Do not call the vendors
    #[arg(long)]
    offline: bool,
}

/// What was found about one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    subject: String,
    verdict: Verdict,
    message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ok,
    Warning,
    Failed,
}

pub async fn run(context: &Context, args: &CheckArgs) -> anyhow::Result<Outcome> {
    let config = context.config()?;
    let (database, accounts) = tokio::join!(check_database(&config), check_accounts(&config, args));
    let findings: Vec<Finding> =
        [configuration(&config), database, accounts, callbacks(&config, args.reveal), rates(&config)]
            .concat();
    let lines: Vec<String> = findings.iter().map(line).collect();
    context.output().lines_or_json(&lines, &findings)?;
    let has_failed = findings.iter().any(|finding| finding.verdict == Verdict::Failed);
    Ok(if has_failed { Outcome::Failed } else { Outcome::Done })
}

fn line(finding: &Finding) -> String {
    let (word, colour) = match finding.verdict {
        Verdict::Ok => ("ok", console::Color::Green),
        Verdict::Warning => ("warning", console::Color::Yellow),
        Verdict::Failed => ("FAILED", console::Color::Red),
    };
    let word = console::style(format!("{word:8}")).fg(colour);
    format!("{word}{}: {}", harmless(&finding.subject), harmless(&finding.message))
}

fn finding(subject: impl Into<String>, verdict: Verdict, message: impl Into<String>) -> Finding {
    Finding { subject: subject.into(), verdict, message: message.into() }
}

fn configuration(config: &Config) -> Vec<Finding> {
    let source = match &config.file {
        Some(file) => format!("{} is read", file.display()),
        None => "no file; the environment alone".to_owned(),
    };
    let accounts = match config.accounts.len() {
        1 => "1 account".to_owned(),
        count => format!("{count} accounts"),
    };
    let kept = config.retention.messages_days.map_or("for ever".to_owned(), |days| format!("{days} days"));
    let retention = format!("results are kept {kept}, callbacks {} days", config.retention.callbacks_days);
    let mut findings =
        vec![finding("configuration", Verdict::Ok, format!("{source}; {accounts}; {retention}"))];
    findings.extend(
        config.warnings.iter().map(|warning| finding("configuration", Verdict::Warning, warning.as_str())),
    );
    findings
}

async fn check_database(config: &Config) -> Vec<Finding> {
    let is_private = config.database.url.is_none();
    let data_dir = config.database.data_dir.display();
    if is_private && !config.database.data_dir.exists() {
        let message = format!("none yet: `serve` makes a private PostgreSQL under {data_dir}");
        return vec![finding("database", Verdict::Ok, message)];
    }
    let opened = match Opened::open(config).await {
        Ok(opened) => opened,
        Err(error) => return vec![finding("database", Verdict::Failed, format!("{error:#}"))],
    };
    let which = if is_private {
        format!("the private PostgreSQL under {data_dir}")
    } else {
        "the PostgreSQL of the URL".to_owned()
    };
    let found = match super::database::connection(&opened.database).await {
        Err(error) => finding("database", Verdict::Failed, format!("{which}: {error:#}")),
        Ok(_) => match opened.database.schema_is_current().await {
            Ok(true) => finding("database", Verdict::Ok, format!("{which} answers; its schema is current")),
            Ok(false) | Err(_) => {
                let message = format!(
                    "{which} answers; its schema is not current: `serve` or `campaignd migrate` brings it up to date"
                );
                finding("database", Verdict::Warning, message)
            }
        },
    };
    opened.close().await;
    vec![found]
}

async fn check_accounts(config: &Config, args: &CheckArgs) -> Vec<Finding> {
    if args.offline {
        return Vec::new();
    }
    join_all(config.accounts.iter().map(check_account)).await
}

async fn check_account(config: &AccountConfig) -> Finding {
    let subject = format!("account {}", config.name);
    let account = match Account::connect(config, None, system::clock()) {
        Ok(account) => account,
        Err(error) => return finding(subject, Verdict::Failed, error.to_string()),
    };
    match account.check().await {
        Ok(message) => finding(subject, Verdict::Ok, message),
        Err(message) => finding(subject, Verdict::Failed, message),
    }
}

/// The URL to register with each vendor, its token hidden unless it may be shown.
fn callbacks(config: &Config, reveal: bool) -> Vec<Finding> {
    let Some(public_url) = &config.server.public_url else { return Vec::new() };
    let of = |account: &AccountConfig| {
        let url = account.callback_url(public_url)?;
        let token = account.webhook_token.as_ref()?;
        let url = if reveal { url } else { url.replace(token.expose(), "****") };
        let how = if account.vendor.takes_callback_url_per_call() {
            "is sent along with each call; register it with the vendor too for what people write"
        } else {
            "register it with the vendor"
        };
        let hint = if reveal { "" } else { " (--reveal shows the token)" };
        Some(finding(
            format!("account {}", account.name),
            Verdict::Ok,
            format!("callback URL {url} {how}{hint}"),
        ))
    };
    config.accounts.iter().filter_map(of).collect()
}

/// Limits that contradict each other.
fn rates(config: &Config) -> Vec<Finding> {
    config.accounts.iter().flat_map(rates_of).collect()
}

fn rates_of(account: &AccountConfig) -> Vec<Finding> {
    let warning = |message: String| finding(format!("account {}", account.name), Verdict::Warning, message);
    let mut findings = Vec::new();
    let wanted: f64 = account.senders.iter().filter_map(|sender| sender.messages_per_second).sum();
    let Some(requests) = account.requests_per_second else { return findings };
    #[expect(clippy::cast_precision_loss, reason = "a batch has 100 messages at the most")]
    let most = requests * account.batch_size as f64;
    if wanted > most {
        findings.push(warning(format!(
            "its senders' {wanted} messages a second cannot be reached: requests_per_second = {requests} carries {most}{}",
            if account.vendor.takes_batches() { " at this batch_size" } else { "" }
        )));
    }
    for sender in &account.senders {
        let Some(rate) = sender.messages_per_second else { continue };
        let half_a_second = (rate / 2.0).max(1.0).floor();
        let needed = (wanted.min(most) / requests).ceil();
        if needed > half_a_second {
            findings.push(warning(format!(
                "sender {}: batches of {needed} messages, more than half a second of its rate, are needed to carry {rate} a second with requests_per_second = {requests}; its pace is uneven by as much",
                sender.from
            )));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Environment;

    fn config(limits: &str, rate: &str) -> Config {
        let text = format!(
            "[server]\npublic_url = \"https://x.example\"\n[[accounts]]\nname = \"a\"\nvendor = \"exotel\"\naccount_sid = \"s\"\n\
             api_key = \"k\"\napi_token = \"t\"\nwebhook_token = \"hush-hush-hush-hush\"\n{limits}\n[[accounts.senders]]\nfrom = \"+91\"\n{rate}\n"
        );
        Config::from_text(&text, Some(Path::new("x.toml")), &Environment::new()).unwrap()
    }

    #[test]
    fn limits_that_contradict_each_other_are_named() {
        let cases = [
            ("", "messages_per_second = 80", ""),
            ("requests_per_second = 50", "messages_per_second = 80", ""),
            (
                "requests_per_second = 1",
                "messages_per_second = 80",
                "batches of 80 messages, more than half a second",
            ),
            (
                "requests_per_second = 2\nbatch_size = 10",
                "messages_per_second = 80",
                "80 messages a second cannot be reached: requests_per_second = 2 carries 20 at this batch_size",
            ),
            ("requests_per_second = 1", "", ""),
        ];
        for (limits, rate, expected) in cases {
            let findings = rates(&config(limits, rate));
            let text: Vec<String> = findings.into_iter().map(|finding| finding.message).collect();
            if expected.is_empty() {
                assert!(text.is_empty(), "{limits} {rate}: {text:?}");
            } else {
                assert!(text.iter().any(|text| text.contains(expected)), "{limits} {rate}: {text:?}");
            }
        }
    }

    #[test]
    fn the_callback_url_shows_its_token_only_when_asked() {
        let hidden = &callbacks(&config("", ""), false)[0].message;
        assert!(
            hidden.starts_with("callback URL https://x.example/webhooks/a/**** is sent along"),
            "{hidden}"
        );
        let shown = &callbacks(&config("", ""), true)[0].message;
        assert!(shown.contains("/webhooks/a/hush-hush-hush-hush "), "{shown}");
    }
}
