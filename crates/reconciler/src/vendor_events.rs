//! What vendors tell of templates, numbers and accounts: kept, and acted on in the transaction that keeps it.
//!
//! A repetition does nothing, nor does news that is older than what is known. Whatever is not understood is kept and shown.

use chrono::{DateTime, Utc};
use model::{
    disposition::Scope,
    report::{AccountEvent, Event, Standing, daily_recipients_of_tier},
    template::TemplateStatus,
};
use store::{
    PgConnection,
    effects::{self, Effects, NewHalt},
    halts,
    sender_limits::{self, SenderLimit},
    templates,
    vendor_events::{self, EventKind, Kept, NewEvent},
};
use vendors::codes;

use crate::Shared;

/// A template that the vendor disabled is not lifted by an approval.
const TEMPLATE_DISABLED: &str = "132016";

/// Keeps the events of an account and does what they ask for; whether something may run on.
pub(crate) async fn apply(
    conn: &mut PgConnection,
    shared: &Shared,
    account: &str,
    events: &[(Event, DateTime<Utc>)],
    now: DateTime<Utc>,
) -> store::Result<bool> {
    let mut may_run_on = false;
    for (event, received_at) in events {
        let new = described(event, *received_at);
        let Kept::New(id) = vendor_events::keep(conn, account, &new).await? else { continue };
        tracing::warn!(account.name = account, subject = new.subject, event = new.event, "the vendor tells");
        let mut actor = Actor { conn, shared, account, now };
        let outcome = actor.act(event, *received_at).await?;
        if let Some(outcome) = outcome {
            may_run_on |= outcome.lifts;
            vendor_events::acted(conn, id, &outcome.text).await?;
        }
    }
    Ok(may_run_on)
}

/// An event as it is kept.
fn described(event: &Event, received_at: DateTime<Utc>) -> NewEvent {
    let template = |name: &str, language: &str| match language {
        "" => name.to_owned(),
        language => format!("{name}/{language}"),
    };
    let (kind, subject, word, detail) = match &event.what {
        AccountEvent::Template { name, language, event, reason } => {
            (EventKind::Template, template(name, language), event, reason.clone())
        }
        AccountEvent::TemplateQuality { name, language, quality, previous } => {
            let before = previous.as_ref().map(|previous| format!("was {previous}"));
            (EventKind::TemplateQuality, template(name, language), quality, before)
        }
        AccountEvent::Number { number, event, tier } => {
            (EventKind::Number, number.clone(), event, tier.clone())
        }
        AccountEvent::Account { number, event, detail, .. } => {
            (EventKind::Account, number.clone(), event, detail.clone())
        }
        AccountEvent::Other { field, event } => (EventKind::Other, field.clone(), event, None),
    };
    NewEvent { kind, subject, event: word.clone(), detail, told_at: event.at, received_at }
}

/// What was done about an event.
struct Outcome {
    text: String,
    lifts: bool,
}

impl Outcome {
    fn of(text: impl Into<String>) -> Option<Self> {
        Some(Self { text: text.into(), lifts: false })
    }

    fn lifted() -> Option<Self> {
        Some(Self { text: "the halt was lifted".to_owned(), lifts: true })
    }
}

struct Actor<'a> {
    conn: &'a mut PgConnection,
    shared: &'a Shared,
    account: &'a str,
    now: DateTime<Utc>,
}

impl Actor<'_> {
    async fn act(&mut self, event: &Event, received_at: DateTime<Utc>) -> store::Result<Option<Outcome>> {
        match &event.what {
            AccountEvent::Template { name, language, event, reason } => {
                self.template((name, language), event, reason.as_deref()).await
            }
            AccountEvent::TemplateQuality { name, language, quality, .. } => {
                templates::set_quality(self.conn, self.account, (name, language), quality, self.now).await?;
                Ok(None)
            }
            AccountEvent::Number { number, event: word, tier } => {
                self.number(number, word, tier.as_deref(), event.at.unwrap_or(received_at)).await
            }
            AccountEvent::Account { event, detail, standing, .. } => {
                self.standing(event, detail.as_deref(), *standing).await
            }
            AccountEvent::Other { .. } => Ok(None),
        }
    }

    /// A template's new status, in one language or, where none is told, in all.
    async fn template(
        &mut self,
        (name, language): (&str, &str),
        word: &str,
        reason: Option<&str>,
    ) -> store::Result<Option<Outcome>> {
        let status = TemplateStatus::from_word(word);
        if status == TemplateStatus::Other {
            return Ok(None);
        }
        let languages = match language {
            "" => templates::languages(self.conn, self.account, name).await?,
            language => vec![language.to_owned()],
        };
        let (mut lifted, mut halted) = (0, 0);
        for language in &languages {
            let told = (word, reason);
            templates::set_status(self.conn, self.account, (name, language), status, told, self.now).await?;
            let template = format!("{name}/{language}");
            if status == TemplateStatus::Approved {
                lifted +=
                    effects::lift_template(self.conn, self.account, &template, TEMPLATE_DISABLED).await?;
            } else if let Some(halt) = self.template_halt(template, status, reason) {
                halted += halts::halt_template(self.conn, &halt, TEMPLATE_DISABLED, self.now).await?;
            }
        }
        Ok(match (lifted, halted) {
            (0, 0) => None,
            (0, _) => Outcome::of("the tasks that use it were halted"),
            _ => Outcome::lifted(),
        })
    }

    fn template_halt(
        &self,
        template: String,
        status: TemplateStatus,
        reason: Option<&str>,
    ) -> Option<NewHalt> {
        let code = match status {
            TemplateStatus::Paused => codes::TEMPLATE_PAUSED,
            TemplateStatus::Rejected => codes::TEMPLATE_REJECTED,
            TemplateStatus::Disabled => TEMPLATE_DISABLED,
            TemplateStatus::Pending | TemplateStatus::Approved | TemplateStatus::Other => return None,
        };
        Some(self.halt(Scope::Template, template, code, reason, None))
    }

    fn halt(
        &self,
        scope: Scope,
        value: String,
        code: &str,
        told: Option<&str>,
        lifts_at: Option<DateTime<Utc>>,
    ) -> NewHalt {
        let vendor = self.shared.vendors.get(self.account);
        let entry = vendor.and_then(|vendor| codes::find(*vendor, code));
        let (meaning, remedy) = entry.map_or((code, ""), |entry| (entry.meaning, entry.advice));
        let reason = told.map_or_else(|| meaning.to_owned(), |told| format!("{meaning}: {told}"));
        let (account, code, remedy) = (self.account.to_owned(), code.to_owned(), remedy.to_owned());
        NewHalt { scope, account, value, code, reason, remedy, lifts_at }
    }

    async fn number(
        &mut self,
        number: &str,
        word: &str,
        tier: Option<&str>,
        told_at: DateTime<Utc>,
    ) -> store::Result<Option<Outcome>> {
        // These speak of the limit alone.
        const NO_QUALITY: [&str; 3] = ["UPGRADE", "DOWNGRADE", "ONBOARDING"];
        let Some(sender) = self.sender(number) else {
            return Ok(Outcome::of("no sender of the configuration has this number"));
        };
        let told = SenderLimit {
            sender: sender.to_owned(),
            daily_recipients: tier.and_then(daily_recipients_of_tier).and_then(|n| i32::try_from(n).ok()),
            tier: tier.map(str::to_owned),
            quality: Some(word).filter(|word| !NO_QUALITY.contains(word)).map(str::to_owned),
            told_at,
        };
        sender_limits::keep(self.conn, self.account, &told).await?;
        Ok(match told.daily_recipients {
            Some(daily) => Outcome::of(format!("{daily} recipients a day for sender {}", told.sender)),
            None => Outcome::of(format!("noted for sender {}", told.sender)),
        })
    }

    fn sender(&self, number: &str) -> Option<&str> {
        self.shared.sender(self.account, number)
    }

    async fn standing(
        &mut self,
        word: &str,
        detail: Option<&str>,
        standing: Standing,
    ) -> store::Result<Option<Outcome>> {
        match standing {
            Standing::Unchanged => Ok(None),
            Standing::Restored => {
                let code = codes::ACCOUNT_RESTRICTED;
                let lifted = halts::lift_account(self.conn, self.account, code).await?;
                Ok(if lifted { Outcome::lifted() } else { None })
            }
            Standing::Restricted { until: Some(until) } if until <= self.now => {
                Ok(Outcome::of("it was over already"))
            }
            Standing::Restricted { until } => {
                let told = detail.map_or_else(|| word.to_owned(), |detail| format!("{word} ({detail})"));
                let value = self.account.to_owned();
                let halt = self.halt(Scope::Account, value, codes::ACCOUNT_RESTRICTED, Some(&told), until);
                let effects = Effects { halts: vec![halt], ..Effects::default() };
                let new = effects::apply(self.conn, &effects, self.now).await?;
                let text =
                    if new > 0 { "the account was halted" } else { "the account stands still already" };
                Ok(Outcome::of(text))
            }
        }
    }
}
