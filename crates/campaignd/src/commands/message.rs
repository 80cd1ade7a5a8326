//! The options of `send` and `campaign create` that say what to send, and when.

use std::path::PathBuf;

use anyhow::Context as _;
use api::{Canary, Category, NewCampaign, OnUnknown, Priority, Schedule, SendingWindow};
use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::campaign::read;
use crate::context::Usage;

/// What to send.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Message")]
pub struct MessageArgs {
    /// The template's name
    #[arg(long, conflicts_with = "message", requires = "language")]
    template: Option<String>,
    /// The template's language, such as en or hi
    #[arg(long, requires = "template")]
    language: Option<String>,
    /// A body variable: `1=name` fills {{1}} from the column `name`; `1=Hi {{name|friend}}` mixes text and columns
    #[arg(long = "param", value_name = "NUMBER=COLUMN", requires = "template", value_parser = param)]
    params: Vec<Param>,
    /// Any message, as a file with a WhatsApp Cloud API message object; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    message: Option<PathBuf>,
}

/// One body variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    number: usize,
    text: String,
}

fn param(text: &str) -> Result<Param, String> {
    let wanted = "write NUMBER=COLUMN, such as 1=name";
    let (number, column) = text.split_once('=').ok_or(wanted)?;
    let number =
        number.trim().parse().map_err(|_| format!("`{number}` is not the number of a variable: {wanted}"))?;
    if number == 0 {
        return Err("variables are numbered from 1".to_owned());
    }
    if column.trim().is_empty() {
        return Err(format!("the column of variable {number} is missing: {wanted}"));
    }
    let text = if column.contains("{{") { column.to_owned() } else { format!("{{{{{}}}}}", column.trim()) };
    Ok(Param { number, text })
}

impl MessageArgs {
    /// The message in canonical form.
    pub fn message(&self) -> anyhow::Result<Value> {
        if let Some(file) = &self.message {
            let text = read(file)?;
            let message: Value =
                serde_json::from_str(&text).with_context(|| format!("{} is not JSON", file.display()))?;
            anyhow::ensure!(
                message.is_object(),
                "{} must hold one message object: {{\"type\": …}}",
                file.display()
            );
            return Ok(message);
        }
        let (Some(name), Some(language)) = (&self.template, &self.language) else {
            return Err(Usage(
                "say what to send: --template NAME --language CODE, or --message FILE".to_owned(),
            )
            .into());
        };
        let mut params = self.params.clone();
        params.sort_by_key(|param| param.number);
        for (index, param) in params.iter().enumerate() {
            if param.number != index + 1 {
                let sentence = format!("--param: variable {} is missing or named twice", index + 1);
                return Err(Usage(sentence).into());
            }
        }
        let mut template = json!({"name": name, "language": {"code": language}});
        if !params.is_empty() {
            let texts: Vec<Value> =
                params.iter().map(|param| json!({"type": "text", "text": param.text})).collect();
            template["components"] = json!([{"type": "body", "parameters": texts}]);
        }
        Ok(json!({"type": "template", "template": template}))
    }
}

/// When to send, how fast, how often.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Timing and limits")]
pub struct TimingArgs {
    /// Send at this local time of --time-zone, such as 2026-12-01T09:00:00
    #[arg(long, value_name = "TIME", conflicts_with = "cron")]
    at: Option<String>,
    /// Send again and again by the clock of --time-zone, such as '0 9 * * MON'
    #[arg(long, value_name = "EXPRESSION", requires = "time_zone")]
    cron: Option<String>,
    /// With --cron: not after this local time
    #[arg(long, value_name = "TIME", requires = "cron")]
    until: Option<String>,
    /// The zone of --at, --cron and --window, such as Asia/Kolkata
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// Send at these hours only, such as 09:00-21:00
    #[arg(long, value_name = "FROM-TO", value_parser = window)]
    window: Option<Window>,
    /// With --window: its zone, where it is not --time-zone; `recipient` for the clocks of each recipient
    #[arg(long, value_name = "ZONE", requires = "window")]
    window_zone: Option<String>,
    /// With --window: on these days only, such as mon,tue,wed
    #[arg(long, value_name = "DAYS", value_delimiter = ',', requires = "window")]
    days: Option<Vec<String>>,
    /// At most so many messages a second, below the sender's own limit
    #[arg(long, value_name = "RATE")]
    messages_per_second: Option<f64>,
    /// Send to so many first, and go on only when few of them fail
    #[arg(long, value_name = "RECIPIENTS")]
    canary: Option<i32>,
    /// With --canary: how long their outcomes are waited for
    #[arg(long, value_name = "SECONDS", default_value_t = 300, requires = "canary")]
    canary_wait: i32,
    /// With --canary: the share of failures, 0 to 1, above which the task halts
    #[arg(long, value_name = "SHARE", default_value_t = 0.2, requires = "canary")]
    canary_max_failure_rate: f64,
    /// How often a message is tried at the most [default: 5]
    #[arg(long, value_name = "NUMBER")]
    max_attempts: Option<i32>,
    /// From when on nobody is sent to any more, such as 2026-12-02T00:00:00Z
    #[arg(long, value_name = "TIME")]
    expires_at: Option<DateTime<Utc>>,
    /// What is done with messages that may or may not have reached the vendor; `resend` sends them again once, after 10
    /// minutes, and may reach people twice
    #[arg(long, value_enum)]
    on_unknown: Option<OnUnknownArg>,
    /// What kind of message it is
    #[arg(long, value_enum)]
    category: Option<CategoryArg>,
    /// Which of an account's tasks go first
    #[arg(long, value_enum)]
    priority: Option<PriorityArg>,
}

/// Hours of the day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    from: String,
    to: String,
}

fn window(text: &str) -> Result<Window, String> {
    let (from, to) = text.split_once('-').ok_or("write FROM-TO, such as 09:00-21:00")?;
    Ok(Window { from: from.trim().to_owned(), to: to.trim().to_owned() })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnUnknownArg {
    /// They stay so until evidence or an operator decides
    Hold,
    /// They are sent again, once, after ten minutes
    Resend,
}

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CategoryArg {
    Marketing,
    Utility,
    Authentication,
}

impl From<CategoryArg> for Category {
    fn from(category: CategoryArg) -> Self {
        match category {
            CategoryArg::Marketing => Self::Marketing,
            CategoryArg::Utility => Self::Utility,
            CategoryArg::Authentication => Self::Authentication,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PriorityArg {
    High,
    Normal,
    Low,
}

impl TimingArgs {
    /// The campaign with what these options say.
    pub fn campaign(self, campaign: NewCampaign) -> Result<NewCampaign, Usage> {
        let is_timed = self.at.is_some() || self.cron.is_some();
        let follows_time_zone = self.window.is_some() && self.window_zone.is_none();
        if self.time_zone.is_some() && !is_timed && !follows_time_zone {
            return Err(Usage("--time-zone says nothing without --at, --cron or --window".to_owned()));
        }
        let zone = self.window_zone.or_else(|| self.time_zone.clone());
        if self.window.is_some() && zone.is_none() {
            let sentence =
                "--window needs --window-zone, such as Asia/Kolkata or `recipient`, or --time-zone";
            return Err(Usage(sentence.to_owned()));
        }
        let schedule = is_timed.then_some(Schedule {
            at: self.at,
            cron: self.cron,
            time_zone: self.time_zone,
            until: self.until,
        });
        Ok(NewCampaign {
            schedule,
            sending_window: self.window.map(|window| SendingWindow {
                from: window.from,
                to: window.to,
                days: self.days,
                time_zone: zone.unwrap_or_default(),
            }),
            messages_per_second: self.messages_per_second,
            canary: self.canary.map(|recipients| Canary {
                recipients,
                wait_seconds: self.canary_wait,
                max_failure_rate: self.canary_max_failure_rate,
            }),
            max_attempts: self.max_attempts,
            expires_at: self.expires_at,
            on_unknown: self.on_unknown.map(|on_unknown| match on_unknown {
                OnUnknownArg::Hold => OnUnknown::Hold,
                OnUnknownArg::Resend => OnUnknown::Resend,
            }),
            category: self.category.map(Category::from),
            priority: self.priority.map(|priority| match priority {
                PriorityArg::High => Priority::High,
                PriorityArg::Normal => Priority::Normal,
                PriorityArg::Low => Priority::Low,
            }),
            ..campaign
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(params: &[&str]) -> MessageArgs {
        MessageArgs {
            template: Some("diwali".to_owned()),
            language: Some("en".to_owned()),
            params: params.iter().map(|text| param(text).unwrap()).collect(),
            message: None,
        }
    }

    #[test]
    fn body_variables_stand_in_order() {
        let message = args(&["2=Code {{code|none}}", "1=first name"]).message().unwrap();
        let expected = json!({"type": "template", "template": {"name": "diwali", "language": {"code": "en"},
            "components": [{"type": "body", "parameters": [
                {"type": "text", "text": "{{first name}}"}, {"type": "text", "text": "Code {{code|none}}"}]}]}});
        assert_eq!(message, expected);
        assert_eq!(args(&[]).message().unwrap()["template"].get("components"), None);
    }

    #[test]
    fn variables_that_are_missing_or_wrong_are_named() {
        for wrong in [&["2=name"][..], &["1=a", "1=b"], &["1=a", "3=b"]] {
            let error = args(wrong).message().unwrap_err();
            assert!(
                error.is::<Usage>() && error.to_string().contains("is missing or named twice"),
                "{error}"
            );
        }
        for wrong in ["name", "x=name", "0=name", "1="] {
            assert!(param(wrong).is_err(), "{wrong}");
        }
    }

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        timing: TimingArgs,
    }

    fn timed(line: &str) -> Result<NewCampaign, String> {
        let line = clap::Parser::try_parse_from(std::iter::once("send").chain(line.split_whitespace()));
        let line: Line = line.map_err(|error| error.to_string())?;
        let bare =
            json!({"name": "Diwali", "account": "main", "from": "+911", "audience_id": 1, "message": {}});
        line.timing.campaign(serde_json::from_value(bare).unwrap()).map_err(|usage| usage.to_string())
    }

    #[test]
    fn a_window_has_the_zone_of_the_start_or_one_of_its_own() {
        let zones = |line: &str| {
            let campaign = timed(line).unwrap();
            (
                campaign.schedule.and_then(|schedule| schedule.time_zone),
                campaign.sending_window.unwrap().time_zone,
            )
        };
        let berlin = || "Europe/Berlin".to_owned();
        assert_eq!(zones("--window 09:00-21:00 --time-zone Europe/Berlin"), (None, berlin()));
        assert_eq!(zones("--window 09:00-21:00 --window-zone recipient"), (None, "recipient".to_owned()));
        let start = "--at 2026-12-01T09:00:00 --time-zone Europe/Berlin --window 09:00-21:00";
        assert_eq!(zones(start), (Some(berlin()), berlin()));
        assert_eq!(
            zones(&format!("{start} --window-zone recipient")),
            (Some(berlin()), "recipient".to_owned())
        );
        for (wrong, what) in [
            ("--window 09:00-21:00", "--window needs --window-zone"),
            ("--window-zone recipient", "--window"),
            (
                "--window 09:00-21:00 --window-zone recipient --time-zone Europe/Berlin",
                "--time-zone says nothing",
            ),
        ] {
            let error = timed(wrong).unwrap_err();
            assert!(error.contains(what), "{wrong}: {error}");
        }
    }

    #[test]
    fn hours_are_read() {
        assert_eq!(window("09:00-21:00").unwrap(), Window { from: "09:00".into(), to: "21:00".into() });
        assert!(window("09:00").is_err());
    }
}
