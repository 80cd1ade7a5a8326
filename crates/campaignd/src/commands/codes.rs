//! `codes`: what a vendor's code means, and what is done about it.

use api::Code;
use clap::Args;
use vendors::{CodeEntry, Vendor};

use crate::{
    context::{Context, Outcome, Usage, pages},
    output::Record,
};

/// Arguments of `codes`.
#[derive(Debug, Args)]
pub struct CodesArgs {
    /// The code, or a part of its name
    code: Option<String>,
    /// One vendor's only
    #[arg(long)]
    vendor: Option<String>,
    /// Explain from this program's own table, without the daemon
    #[arg(long)]
    offline: bool,
}

impl Record for Code {
    const COLUMNS: &'static [&'static str] =
        &["vendor", "layer", "code", "name", "meaning", "disposition", "advice"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.vendor.clone(),
            self.layer.clone(),
            self.code.clone(),
            self.name.clone(),
            self.meaning.clone(),
            self.disposition.clone(),
            self.advice.clone(),
        ]
    }
}

pub async fn run(context: &Context, args: &CodesArgs) -> anyhow::Result<Outcome> {
    if let Some(vendor) = &args.vendor
        && Vendor::from_name(vendor).is_none()
    {
        let known: Vec<&str> = Vendor::ALL.iter().map(|vendor| vendor.as_str()).collect();
        return Err(Usage(format!("`{vendor}` is not a vendor: write one of {}", known.join(", "))).into());
    }
    let all = if args.offline {
        vendors::codes::all().map(|entry| of(&entry)).collect()
    } else {
        asked(context).await?
    };
    let found: Vec<Code> = all.into_iter().filter(|code| fits(code, args)).collect();
    match (&args.code, found.as_slice()) {
        (Some(wanted), []) => {
            anyhow::bail!(
                "the code `{wanted}` is in no table: it is kept as it comes, counted and shown, and ends its recipient"
            );
        }
        (Some(_), [code]) => context.output().one(code)?,
        (_, codes) => context.output().list(codes)?,
    }
    Ok(Outcome::Done)
}

async fn asked(context: &Context) -> anyhow::Result<Vec<Code>> {
    let client = context.client()?;
    let client = &client;
    let codes = pages(0, |page| async move { client.codes(&page).await }).await;
    codes
        .map_err(|error| error.context("asking the daemon for its table (--offline asks this program's own)"))
}

fn fits(code: &Code, args: &CodesArgs) -> bool {
    let is_vendors =
        args.vendor.as_ref().is_none_or(|vendor| *vendor == code.vendor || code.vendor.is_empty());
    let is_meant = args.code.as_ref().is_none_or(|wanted| {
        let wanted = wanted.to_lowercase();
        code.code == wanted || (wanted.len() > 2 && code.name.to_lowercase().contains(&wanted))
    });
    is_vendors && is_meant
}

fn of(entry: &CodeEntry) -> Code {
    Code {
        vendor: entry.vendor.map(|vendor| vendor.as_str().to_owned()).unwrap_or_default(),
        layer: entry.layer.as_str().to_owned(),
        code: entry.code.to_owned(),
        name: entry.name.unwrap_or_default().to_owned(),
        meaning: entry.meaning.to_owned(),
        disposition: entry.what_is_done(),
        advice: entry.advice.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(code: &str, vendor: Option<&str>) -> Vec<Code> {
        let args =
            CodesArgs { code: Some(code.to_owned()), vendor: vendor.map(str::to_owned), offline: true };
        vendors::codes::all().map(|entry| of(&entry)).filter(|code| fits(code, &args)).collect()
    }

    #[test]
    fn a_code_is_explained_from_the_own_table() {
        let codes = found("30007", None);
        assert_eq!(codes.len(), 1, "{codes:?}");
        assert_eq!(codes[0].name, "EX_RATE_LIMIT_HIT");
        assert!(codes[0].disposition.starts_with("SlowDown"), "{codes:?}");
        assert_eq!(found("rate_limit_hit", Some("exotel")).len(), 2);
        assert!(found("30007", Some("sobot_in")).is_empty());
    }
}
