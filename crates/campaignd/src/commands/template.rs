//! `template`: the vendors' templates, as they are known here.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use api::{
    NewTemplate, Template, TemplatesSynced,
    client::{Client, TemplateFilter},
};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::message::CategoryArg;
use crate::{
    context::{Context, Outcome, Usage, confirm, new_idempotency_key, pages},
    output::{Output, Record, or_blank, time, time_or_blank},
};

/// What may be asked of templates.
#[derive(Debug, Subcommand)]
pub enum TemplateCommand {
    /// List the templates that are known
    List {
        /// Of this account alone
        #[arg(long)]
        account: Option<String>,
        /// How many; 0: all
        #[arg(long, default_value_t = 0)]
        limit: u32,
    },
    /// Ask the vendors for their templates
    Sync {
        /// Of these accounts; else of all whose vendor lists templates
        #[arg(value_name = "ACCOUNT")]
        accounts: Vec<String>,
    },
    /// Create a template; where the vendor has no call for it, enter what it has approved
    Create(Box<CreateArgs>),
    /// Delete a template in all its languages
    Delete {
        /// The account
        account: String,
        /// The template's name
        name: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Show what a template says, with parameters or with its own examples
    Preview {
        /// The account
        #[arg(long)]
        account: String,
        /// The template's name
        #[arg(long)]
        template: String,
        /// Its language; needed when there are several
        #[arg(long)]
        language: Option<String>,
        /// What fills the body's places, in their order
        #[arg(long = "param", value_name = "TEXT")]
        parameters: Vec<String>,
    },
}

/// Arguments of `template create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// The account
    #[arg(long)]
    account: String,
    /// Small letters, digits and `_`
    #[arg(long)]
    name: String,
    /// A language code of WhatsApp, such as en or pt_BR
    #[arg(long)]
    language: String,
    /// What it is for
    #[arg(long, value_enum)]
    category: CategoryArg,
    /// The text; `{{1}}`, `{{2}}` … are its places
    #[arg(long, required_unless_present = "components", conflicts_with = "components")]
    body: Option<String>,
    /// An example for each place of the text, in their order
    #[arg(long = "example", value_name = "TEXT", requires = "body")]
    examples: Vec<String>,
    /// A text above it
    #[arg(long, requires = "body")]
    header: Option<String>,
    /// A text under it
    #[arg(long, requires = "body")]
    footer: Option<String>,
    /// A button that sends this reply
    #[arg(long = "reply", value_name = "TEXT", requires = "body")]
    replies: Vec<String>,
    /// A file with WhatsApp's list of components, for everything else
    #[arg(long, value_name = "FILE")]
    components: Option<PathBuf>,
}

impl Record for Template {
    const COLUMNS: &'static [&'static str] = &[
        "account",
        "name",
        "language",
        "category",
        "status",
        "parameters",
        "quality",
        "reason",
        "source",
        "synced_at",
        "gone_at",
    ];

    fn cells(&self) -> Vec<String> {
        let category = self.category.and_then(|category| serde_json::to_value(category).ok());
        vec![
            self.account.clone(),
            self.name.clone(),
            self.language.clone(),
            category.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned(),
            self.status.as_str().to_owned(),
            or_blank(self.body_parameters),
            self.quality.clone().unwrap_or_default(),
            self.reason.clone().unwrap_or_default(),
            if self.source == api::TemplateSource::Hand { "hand" } else { "vendor" }.to_owned(),
            time_or_blank(self.synced_at),
            time_or_blank(self.gone_at),
        ]
    }
}

impl Record for TemplatesSynced {
    const COLUMNS: &'static [&'static str] = &["account", "listed", "added", "changed", "gone", "synced_at"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.account.clone(),
            self.listed.to_string(),
            self.added.to_string(),
            self.changed.to_string(),
            self.gone.to_string(),
            time(self.synced_at),
        ]
    }
}

pub async fn run(context: &Context, command: TemplateCommand) -> anyhow::Result<Outcome> {
    let (client, output) = (context.client()?, context.output());
    match command {
        TemplateCommand::List { account, limit } => {
            let mut templates =
                all(&client, &TemplateFilter { account, ..TemplateFilter::default() }, limit).await?;
            templates
                .sort_by(|a, b| (&a.account, &a.name, &a.language).cmp(&(&b.account, &b.name, &b.language)));
            output.list(&templates)?;
        }
        TemplateCommand::Sync { accounts } => return sync(&client, accounts, output).await,
        TemplateCommand::Create(args) => {
            let new = described(*args)?;
            output.one(&client.create_template(&new, Some(&new_idempotency_key())).await?)?;
        }
        TemplateCommand::Delete { account, name, yes } => {
            let question = format!("Delete template {name} of account {account}, in all its languages?");
            if !confirm(&question, yes)? {
                return Ok(Outcome::Failed);
            }
            let deleted = client.delete_template(&account, &name).await?;
            let languages = deleted.languages.join(", ");
            let mut lines = vec![format!("template {name} is deleted ({languages})")];
            lines.extend(deleted.warnings.iter().cloned());
            output.lines_or_json(&lines, &deleted)?;
        }
        TemplateCommand::Preview { account, template, language, parameters } => {
            let filter =
                TemplateFilter { account: Some(account), name: Some(template), ..TemplateFilter::default() };
            let template = one(all(&client, &filter, 0).await?, &filter, language.as_deref())?;
            preview(&template, &parameters, output)?;
        }
    }
    Ok(Outcome::Done)
}

async fn all(client: &Client, filter: &TemplateFilter, limit: u32) -> anyhow::Result<Vec<Template>> {
    pages(limit, |page| async move { client.templates(&TemplateFilter { page, ..filter.clone() }).await })
        .await
}

/// Syncs each account; one that fails does not keep the others from it.
async fn sync(client: &Client, named: Vec<String>, output: Output) -> anyhow::Result<Outcome> {
    let is_all = named.is_empty();
    let accounts = match is_all {
        true => super::account::all(client).await?.into_iter().map(|account| account.name).collect(),
        false => named,
    };
    let (mut synced, mut failed) = (Vec::new(), false);
    for account in accounts {
        match client.sync_templates(&account).await {
            Ok(one) => synced.push(one),
            Err(api::client::ClientError::Refused(problem)) if is_all && problem.status == 409 => {
                eprintln!("{}", problem.detail);
            }
            Err(error) => {
                failed = true;
                eprintln!("{error}");
            }
        }
    }
    output.list(&synced)?;
    Ok(if failed { Outcome::Failed } else { Outcome::Done })
}

fn described(args: CreateArgs) -> anyhow::Result<NewTemplate> {
    let components = match (&args.components, &args.body) {
        (Some(file), _) => {
            let text =
                std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
            serde_json::from_str(&text).with_context(|| format!("{} is no JSON", file.display()))?
        }
        (None, Some(body)) => components(body, &args),
        (None, None) => {
            return Err(Usage("name the text with --body, or a file with --components".to_owned()).into());
        }
    };
    let (account, name, language, category) = (args.account, args.name, args.language, args.category.into());
    Ok(NewTemplate { account, name, language, category, components, status: None })
}

fn components(body: &str, args: &CreateArgs) -> Value {
    let mut components = Vec::new();
    if let Some(text) = &args.header {
        components.push(json!({"type": "HEADER", "format": "TEXT", "text": text}));
    }
    components.push(match args.examples.is_empty() {
        true => json!({"type": "BODY", "text": body}),
        false => json!({"type": "BODY", "text": body, "example": {"body_text": [args.examples]}}),
    });
    if let Some(text) = &args.footer {
        components.push(json!({"type": "FOOTER", "text": text}));
    }
    if !args.replies.is_empty() {
        let buttons: Vec<Value> =
            args.replies.iter().map(|text| json!({"type": "QUICK_REPLY", "text": text})).collect();
        components.push(json!({"type": "BUTTONS", "buttons": buttons}));
    }
    Value::Array(components)
}

fn one(found: Vec<Template>, filter: &TemplateFilter, language: Option<&str>) -> anyhow::Result<Template> {
    let name = filter.name.as_deref().unwrap_or_default();
    let languages = found.iter().map(|one| one.language.as_str()).collect::<Vec<_>>().join(", ");
    let count = found.len();
    let mut fitting =
        found.into_iter().filter(|one| language.is_none_or(|language| one.language == language));
    match (fitting.next(), language) {
        (Some(only), Some(_)) => Ok(only),
        (Some(only), None) if count == 1 => Ok(only),
        (Some(_), None) => {
            Err(Usage(format!("template {name} is known in {languages}: choose with --language")).into())
        }
        (None, _) if count == 0 => {
            bail!("template {name} is not known: `campaignd template sync` asks the vendor")
        }
        (None, _) => bail!("template {name} is not known in that language, only in {languages}"),
    }
}

fn preview(template: &Template, parameters: &[String], output: Output) -> anyhow::Result<()> {
    let shown = model::template::render(&template.components, parameters);
    let mut lines: Vec<String> =
        shown.header.iter().chain([&shown.body]).chain(&shown.footer).cloned().collect();
    lines.extend(shown.buttons.iter().map(|button| format!("[ {button} ]")));
    let value = json!({"header": shown.header, "body": shown.body, "footer": shown.footer, "buttons": shown.buttons,
                       "left_open": shown.left_open, "left_over": shown.left_over});
    output.lines_or_json(&lines, &value)?;
    if !shown.left_open.is_empty() {
        eprintln!("nothing fills {}: give --param", shown.left_open.join(", "));
    }
    if shown.left_over > 0 {
        eprintln!("the body has no place for {} of the parameters", shown.left_over);
    }
    if template.status != api::TemplateStatus::Approved {
        eprintln!("it is {}, so it cannot be sent now", template.status.as_str());
    }
    Ok(())
}
