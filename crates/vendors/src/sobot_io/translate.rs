//! The canonical message as sobot.io's `{content, from, to, type}` (sobot-io.txt, "Send message").
//!
//! It decides once per task; nothing here runs per recipient. What sobot.io cannot express is refused by field.

use model::{
    FieldError,
    message::{
        Action, ButtonKind, Columns, Component, ComponentKind, Contact, Interactive, Location, Media,
        Message, Node, Parameter, ParameterValue, PhoneForm, Skeleton, Template, Text, TextMessage,
    },
};

/// The whole request body for one recipient: a complete JSON object, sent as it is.
///
/// `from` is the phone-number id; `to` has no plus. `is_authentication` is true when the template's category (synced,
/// else the campaign's) is AUTHENTICATION: a url button's dynamic part is then `text`, else `payload`.
///
/// # Errors
/// What sobot.io cannot express, and columns that the audience lacks, each with its field.
pub fn translate(
    message: &Message,
    columns: &Columns,
    from: &str,
    is_authentication: bool,
) -> Result<Skeleton, Vec<FieldError>> {
    let mut translation = Translation { is_authentication, refused: Vec::new() };
    let content = translation.content(message);
    let kind = match message {
        Message::Text(TextMessage { reply_to: Some(_), .. }) => "replyText",
        _ => message.kind(),
    };
    let body = Node::object([
        ("content", Some(content)),
        ("from", Some(Node::word(from))),
        ("to", Some(Node::Phone(PhoneForm::Digits))),
        ("type", Some(Node::word(kind))),
    ]);
    Skeleton::compile_unless(translation.refused, &body, columns)
}

struct Translation {
    is_authentication: bool,
    refused: Vec<FieldError>,
}

impl Translation {
    fn content(&mut self, message: &Message) -> Node {
        match message {
            Message::Template(template) => self.template(template),
            Message::Text(text) => self.text(text),
            Message::Image(media)
            | Message::Video(media)
            | Message::Audio(media)
            | Message::Sticker(media) => self.media(media, false),
            Message::Document(media) => self.media(media, true),
            Message::Location(location) => self.location(location),
            Message::Contacts(contacts) => {
                let contacts = contacts.iter().map(|contact| self.contact(contact)).collect();
                Node::object([("contacts", Some(Node::Array(contacts)))])
            }
            Message::Interactive(interactive) => self.interactive(interactive),
        }
    }

    fn refuse(&mut self, field: String, message: impl Into<String>) {
        self.refused.push(FieldError::new(field, message));
    }

    fn refuse_text(&mut self, text: Option<&Text>, message: &str) {
        self.refused.extend(text.map(|text| text.refuse(message)));
    }

    /// sobot-io.txt, "1. Send text message" and "12. Send reply message".
    fn text(&mut self, text: &TextMessage) -> Node {
        if text.preview_url == Some(true) {
            self.refuse(
                "message.text.preview_url".to_owned(),
                "sobot_io cannot ask for a preview: leave it out",
            );
        }
        Node::object([
            ("text", Some(Node::text(&text.body))),
            ("replyText", Node::text_opt(text.reply_to.as_ref())),
        ])
    }

    fn media(&mut self, media: &Media, file_name: bool) -> Node {
        self.refuse_text(media.caption.as_ref(), "sobot_io sends media without caption: leave it out");
        let link = match media.link() {
            Ok(link) => Some(Node::text(link)),
            Err(error) => {
                self.refused.push(error);
                None
            }
        };
        let file_name = file_name.then(|| Node::text_opt(media.filename.as_ref())).flatten();
        Node::object([("media_url", link), ("file_name", file_name)])
    }

    /// sobot-io.txt, "7. Send position message": latitude and longitude, nothing else.
    fn location(&mut self, location: &Location) -> Node {
        self.refuse_text(location.name.as_ref(), "sobot_io sends a location without name: leave it out");
        self.refuse_text(
            location.address.as_ref(),
            "sobot_io sends a location without address: leave it out",
        );
        Node::object([
            ("latitude", Some(Node::text(&location.latitude))),
            ("longitude", Some(Node::text(&location.longitude))),
        ])
    }

    /// sobot-io.txt, "8. Send contact message": the name and the numbers, nothing else.
    fn contact(&mut self, contact: &Contact) -> Node {
        let others = [
            ("birthday", contact.birthday.is_some()),
            ("org", contact.org.is_some()),
            ("addresses", !contact.addresses.is_empty()),
            ("emails", !contact.emails.is_empty()),
            ("urls", !contact.urls.is_empty()),
        ];
        for (key, _) in others.into_iter().filter(|(_, is_given)| *is_given) {
            let field = format!("{}.{key}", contact.field);
            self.refuse(field, "sobot_io sends a contact's name and phones only: leave it out");
        }
        let unknown_name =
            contact.name.iter().filter(|(key, _)| !matches!(*key, "formatted_name" | "first_name"));
        let unknown_phone =
            contact.phones.iter().flatten().filter(|(key, _)| !matches!(*key, "phone" | "type"));
        for (_, text) in unknown_name.chain(unknown_phone) {
            self.refuse_text(Some(text), "sobot_io has no such member: leave it out");
        }
        contact.node()
    }

    fn interactive(&mut self, interactive: &Interactive) -> Node {
        match &interactive.action {
            // sobot-io.txt, "9. Send button message": type, body and action.
            Action::Buttons(_) => {
                for (key, is_given) in
                    [("header", interactive.header.is_some()), ("footer", interactive.footer.is_some())]
                {
                    if is_given {
                        let field = format!("{}.{key}", interactive.field);
                        self.refuse(field, "sobot_io sends buttons without header and footer: leave it out");
                    }
                }
            }
            Action::List { sections, .. } => {
                for section in sections.iter().filter(|section| section.title.is_none()) {
                    self.refuse(format!("{}.title", section.field), "is missing: sobot_io wants it always");
                }
            }
            Action::Flow(_) => {}
            Action::Product { .. } | Action::ProductList { .. } => self.refuse(
                format!("{}.type", interactive.field),
                format!("sobot_io sends button, list and flow, not {}", interactive.type_name()),
            ),
        }
        Node::object([("interactive", Some(interactive.node()))])
    }

    fn template(&mut self, template: &Template) -> Node {
        let components = template.components.iter().map(|component| self.component(component)).collect();
        let is_flow = template
            .components
            .iter()
            .any(|component| matches!(component.kind, ComponentKind::Button { kind: ButtonKind::Flow, .. }));
        let language = Node::object([("code", Some(Node::text(&template.language)))]);
        let inner = Node::object([
            ("components", Some(Node::Array(components))),
            ("language", Some(language)),
            ("name", Some(Node::text(&template.name))),
        ]);
        // sobot-io.txt, "6. Template message with Flow": only there do these two stand in the content.
        Node::object([
            ("messaging_product", is_flow.then(|| Node::word("whatsapp"))),
            ("recipient_type", is_flow.then(|| Node::word("individual"))),
            ("template", Some(inner)),
        ])
    }

    fn component(&mut self, component: &Component) -> Node {
        let (word, button) = match component.kind {
            ComponentKind::Header => ("header", None),
            ComponentKind::Body => ("body", None),
            ComponentKind::Button { kind, index } => ("button", Some((kind, index))),
        };
        let kind = button.map(|(kind, _)| kind);
        let parameters =
            component.parameters.iter().map(|parameter| self.parameter(parameter, kind)).collect();
        Node::object([
            ("type", Some(Node::word(word))),
            ("sub_type", button.map(|(kind, _)| Node::word(kind.as_str()))),
            ("index", button.map(|(_, index)| Node::word(&index.to_string()))),
            ("parameters", Some(Node::Array(parameters))),
        ])
    }

    fn parameter(&mut self, parameter: &Parameter, button: Option<ButtonKind>) -> Node {
        match &parameter.value {
            ParameterValue::Text(text) | ParameterValue::Payload(text) if button == Some(ButtonKind::Url) => {
                self.url_part(text)
            }
            ParameterValue::Location(location) => header_location(location),
            value @ (ParameterValue::Currency { .. } | ParameterValue::DateTime { .. }) => {
                self.refuse(
                    format!("{}.type", parameter.field),
                    format!(
                        "sobot_io fills a body with text, not with {}: give it as text",
                        value.type_name()
                    ),
                );
                parameter.node()
            }
            _ => parameter.node(),
        }
    }

    /// The end of a url button's address: `payload`, but `text` in the sample for one-time passwords; Chinese in it
    /// is to be encoded ("3. Button variable example").
    fn url_part(&self, text: &Text) -> Node {
        let word = if self.is_authentication { "text" } else { "payload" };
        let part = Node::Text(text.clone().percent_encoded());
        Node::object([("type", Some(Node::word(word))), (word, Some(part))])
    }
}

/// sobot-io.txt, "1.3 Header variable is position": the type alone stands in capitals, and no variable may be empty.
fn header_location(location: &Location) -> Node {
    let required = |text: &Text| Node::Text(text.clone().required());
    let inner = Node::object([
        ("address", location.address.as_ref().map(required)),
        ("latitude", Some(Node::text(&location.latitude))),
        ("name", location.name.as_ref().map(required)),
        ("longitude", Some(Node::text(&location.longitude))),
    ]);
    Node::object([("location", Some(inner)), ("type", Some(Node::word("LOCATION")))])
}

#[cfg(test)]
mod tests;
