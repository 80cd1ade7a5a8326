//! Templates and vendors' events.

use model::template::{TemplateStatus, body_parameters};
use store::{
    templates::{Known, Template},
    vendor_events::{EventKind, VendorEvent},
};
use vendors::{NewTemplate, VendorTemplate};

use super::{category, category_of};

same_words!(
    template_status,
    template_status_of,
    TemplateStatus,
    ::api::TemplateStatus,
    Pending,
    Approved,
    Rejected,
    Paused,
    Disabled,
    Other
);
same_words!(
    event_kind,
    event_kind_of,
    EventKind,
    ::api::VendorEventKind,
    Template,
    TemplateQuality,
    Number,
    Account,
    Other
);

/// A template.
pub fn template(template: Template) -> ::api::Template {
    let Template { id, account, known, by_hand, synced_at, gone_at, created_at, updated_at } = template;
    let parameters = body_parameters(&known.components);
    ::api::Template {
        id,
        account,
        name: known.name,
        language: known.language,
        category: known.category.map(category),
        status: template_status(known.status),
        vendor_status: known.status_word,
        body_parameters: parameters.and_then(|count| i64::try_from(count).ok()),
        components: known.components,
        quality: known.quality,
        reason: known.reason,
        vendor_id: known.vendor_id,
        source: if by_hand { ::api::TemplateSource::Hand } else { ::api::TemplateSource::Vendor },
        synced_at,
        gone_at,
        created_at,
        updated_at,
    }
}

/// What a vendor lists, as it is kept.
pub fn listed_template(listed: VendorTemplate) -> Known {
    Known {
        name: listed.name,
        language: listed.language,
        category: listed.category,
        status: listed.status,
        status_word: listed.status_word,
        components: listed.components,
        quality: listed.quality,
        reason: listed.reason,
        vendor_id: listed.vendor_id,
    }
}

/// What a vendor is asked to create.
pub fn new_template(new: &::api::NewTemplate) -> NewTemplate {
    NewTemplate {
        name: new.name.clone(),
        language: new.language.clone(),
        category: category_of(new.category),
        components: new.components.clone(),
    }
}

/// Something that a vendor told.
pub fn vendor_event(event: VendorEvent) -> ::api::VendorEvent {
    ::api::VendorEvent {
        id: event.id,
        account: event.account,
        kind: event_kind(event.kind),
        subject: event.subject,
        event: event.event,
        detail: event.detail,
        told_at: event.told_at,
        received_at: event.received_at,
        outcome: event.outcome,
    }
}
