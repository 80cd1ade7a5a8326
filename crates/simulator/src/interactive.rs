//! Interactive messages, which Exotel and sobot.io take over from WhatsApp: reply buttons, lists and flows,
//! with the limits of Exotel's tables.

use std::collections::HashSet;

use serde_json::Value;

use crate::check::{
    Checked, Object, Wrong, as_object, given, invalid, link, list, object, one_of, optional_text, text,
};

/// Checks an interactive object; `flows` says whether the vendor has flow messages.
pub(crate) fn interactive(interactive: &Object, flows: bool) -> Checked {
    let kind = one_of(interactive, "interactive.type", &["button", "list", "flow"])?;
    if let Some(part) = given(interactive, "interactive.header") {
        header(as_object(part, "interactive.header")?, kind)?;
    }
    text(object(interactive, "interactive.body")?, "interactive.body.text", 1024)?;
    if let Some(part) = given(interactive, "interactive.footer") {
        text(as_object(part, "interactive.footer")?, "interactive.footer.text", 60)?;
    }
    let action = object(interactive, "interactive.action")?;
    match kind {
        "button" => buttons(action),
        "list" => {
            text(action, "interactive.action.button", 20)?;
            sections(list(action, "interactive.action.sections")?, "interactive.action.sections")
        }
        _ if flows => flow(action),
        _ => invalid(Wrong::Value, "interactive.type", "must be button or list"),
    }
}

fn header(header: &Object, kind: &str) -> Checked {
    let allowed: &[&str] = if kind == "button" { &["text", "video", "image", "document"] } else { &["text"] };
    let media = one_of(header, "interactive.header.type", allowed)?;
    if media == "text" {
        return text(header, "interactive.header.text", 60).map(drop);
    }
    link(object(header, &format!("interactive.header.{media}"))?, "interactive.header.link")
}

fn buttons(action: &Object) -> Checked {
    let buttons = list(action, "interactive.action.buttons")?;
    if buttons.is_empty() || buttons.len() > 3 {
        return invalid(Wrong::Value, "interactive.action.buttons", "must have 1 to 3 buttons");
    }
    let mut titles = HashSet::new();
    for button in buttons {
        let button = as_object(button, "interactive.action.buttons")?;
        one_of(button, "buttons.type", &["reply"])?;
        let reply = object(button, "buttons.reply")?;
        let id = text(reply, "buttons.reply.id", 256)?;
        if id.trim() != id {
            return invalid(Wrong::Value, "buttons.reply.id", "must not begin or end with a space");
        }
        if !titles.insert(text(reply, "buttons.reply.title", 20)?) {
            return invalid(Wrong::Value, "buttons.reply.title", "must be unique within the message");
        }
    }
    Ok(())
}

/// Sections of a list: at most 10 of them, with at most 10 rows altogether.
pub(crate) fn sections(sections: &[Value], field: &str) -> Checked {
    if sections.is_empty() || sections.len() > 10 {
        return invalid(Wrong::Value, field, "must have 1 to 10 sections");
    }
    let mut rows_total = 0;
    for section in sections {
        let section = as_object(section, field)?;
        let title = optional_text(section, "sections.title", 24)?;
        if sections.len() > 1 && title.is_none_or(str::is_empty) {
            return invalid(Wrong::Missing, "sections.title", "is mandatory with more than one section");
        }
        let rows = list(section, "sections.rows")?;
        rows_total += rows.len();
        for row in rows {
            let row = as_object(row, "sections.rows")?;
            text(row, "rows.id", 200)?;
            text(row, "rows.title", 24)?;
            optional_text(row, "rows.description", 72)?;
        }
    }
    if rows_total == 0 || rows_total > 10 {
        return invalid(Wrong::Value, "sections.rows", "must be 1 to 10 rows in all sections together");
    }
    Ok(())
}

fn flow(action: &Object) -> Checked {
    one_of(action, "interactive.action.name", &["flow"])?;
    let parameters = object(action, "interactive.action.parameters")?;
    one_of(parameters, "parameters.flow_message_version", &["3"])?;
    for field in ["parameters.flow_token", "parameters.flow_id", "parameters.flow_cta"] {
        text(parameters, field, usize::MAX)?;
    }
    let kind = one_of(parameters, "parameters.flow_action", &["navigate", "data_exchange"])?;
    if kind == "navigate" {
        let payload = object(parameters, "parameters.flow_action_payload")?;
        text(payload, "flow_action_payload.screen", usize::MAX)?;
    }
    Ok(())
}
