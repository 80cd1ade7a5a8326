//! The canonical message as Exotel's Message Object (exotel.txt, "Whatsapp Message Object").
//!
//! It decides once per task; nothing here runs per recipient. What Exotel cannot express is refused by field.

use model::{
    FieldError,
    message::{
        Action, ButtonKind, Columns, Component, ComponentKind, Contact, Header, Interactive, Media, Message,
        Node, Parameter, ParameterValue, PhoneForm, Skeleton, Template, Text, TextMessage,
    },
};

/// Exotel's Message Object for one recipient, **without its closing brace**: `{"from":"+91…","to":"+91…","content":{…}`.
///
/// The client ends it, per recipient, with `,"custom_data":"…"}` (and `,"status_callback":"…"` before the brace when
/// it wants one per message), so that the correlation needs no second copy of the rendered bytes.
/// `from` stands as written; `to` has its plus. `namespace` is sent in template messages when it is configured.
///
/// # Errors
/// What Exotel cannot express, and columns that the audience lacks, each with its field.
pub fn translate(
    message: &Message,
    columns: &Columns,
    from: &str,
    namespace: Option<&str>,
) -> Result<Skeleton, Vec<FieldError>> {
    let mut refused = Vec::new();
    let inner = inner(message, namespace, &mut refused);
    let content = Node::object([
        ("recipient_type", Some(Node::word("individual"))),
        ("type", Some(Node::word(message.kind()))),
        (message.kind(), Some(inner)),
    ]);
    let body = Node::object([
        ("from", Some(Node::word(from))),
        ("to", Some(Node::Phone(PhoneForm::Plus))),
        ("content", Some(content)),
    ]);
    Skeleton::compile_unless(refused, &body, columns).map(Skeleton::without_closing_brace)
}

fn inner(message: &Message, namespace: Option<&str>, refused: &mut Vec<FieldError>) -> Node {
    match message {
        Message::Template(template) => template_node(template, namespace, refused),
        Message::Text(text) => text_node(text, refused),
        Message::Image(media)
        | Message::Video(media)
        | Message::Audio(media)
        | Message::Document(media)
        | Message::Sticker(media) => media_node(media, refused),
        Message::Location(location) => location.node(),
        Message::Contacts(contacts) => {
            refused.extend(contacts.iter().filter_map(name_too_short));
            // The table writes `URL` for a web address; sent is `url`, as in WhatsApp's own contract that it refers to.
            Node::array(contacts.iter().map(Contact::node))
        }
        Message::Interactive(interactive) => interactive_node(interactive, refused),
    }
}

fn text_node(text: &TextMessage, refused: &mut Vec<FieldError>) -> Node {
    if let Some(id) = &text.reply_to {
        refused.push(id.refuse("Exotel cannot send a text as a reply: leave `context` out"));
    }
    Node::object([
        ("preview_url", text.preview_url.map(|flag| Node::Fixed(flag.into()))),
        ("body", Some(Node::text(&text.body))),
    ])
}

/// Exotel's media objects have a link and no id.
fn media_node(media: &Media, refused: &mut Vec<FieldError>) -> Node {
    refused.extend(media.link().err());
    media.node()
}

/// exotel.txt, "Name Object": at least one of the optional parameters beside formatted_name.
fn name_too_short(contact: &Contact) -> Option<FieldError> {
    (contact.name.len() < 2).then(|| {
        let field = format!("{}.name.first_name", contact.field);
        FieldError::new(
            field,
            "Exotel wants one more part of the name, such as first_name, beside formatted_name",
        )
    })
}

fn template_node(template: &Template, namespace: Option<&str>, refused: &mut Vec<FieldError>) -> Node {
    let language = Node::object([
        ("policy", Some(Node::word("deterministic"))),
        ("code", Some(Node::text(&template.language))),
    ]);
    let components =
        template.components.iter().map(|component| component_node(component, refused)).collect::<Vec<_>>();
    Node::object([
        ("namespace", namespace.map(Node::word)),
        ("name", Some(Node::text(&template.name))),
        ("language", Some(language)),
        ("components", Some(Node::Array(components))),
    ])
}

fn component_node(component: &Component, refused: &mut Vec<FieldError>) -> Node {
    let (word, button) = match component.kind {
        ComponentKind::Header => ("header", None),
        ComponentKind::Body => ("body", None),
        ComponentKind::Button { kind, index } => ("button", Some((kind, index))),
    };
    if let Some((ButtonKind::Flow, _)) = button {
        refused.push(FieldError::new(
            format!("{}.sub_type", component.field),
            "Exotel knows the buttons quick_reply and url, no flow",
        ));
    }
    // exotel.txt, "Component Object": up to 3 buttons, index 0 to 2.
    if button.is_some_and(|(_, index)| index > 2) {
        refused.push(FieldError::new(format!("{}.index", component.field), "Exotel takes positions 0 to 2"));
    }
    let parameters =
        component.parameters.iter().map(|parameter| parameter_node(parameter, button, refused)).collect();
    Node::object([
        ("type", Some(Node::word(word))),
        ("sub_type", button.map(|(kind, _)| Node::word(kind.as_str()))),
        ("index", button.map(|(_, index)| Node::word(&index.to_string()))),
        ("parameters", Some(Node::Array(parameters))),
    ])
}

fn parameter_node(
    parameter: &Parameter,
    button: Option<(ButtonKind, u8)>,
    refused: &mut Vec<FieldError>,
) -> Node {
    match &parameter.value {
        // "url: … generated by appending the text parameter to the predefined prefix URL".
        ParameterValue::Payload(text) if matches!(button, Some((ButtonKind::Url, _))) => {
            Node::object([("type", Some(Node::word("text"))), ("text", Some(Node::text(text)))])
        }
        ParameterValue::Image(media) | ParameterValue::Video(media) | ParameterValue::Document(media) => {
            refused.extend(media.link().err());
            refused.extend(media.filename.as_ref().and_then(no_pdf));
            parameter.node()
        }
        ParameterValue::Location(_) => {
            refused.push(FieldError::new(
                format!("{}.type", parameter.field),
                "Exotel fills a header with text, image, video or document, not with a location",
            ));
            parameter.node()
        }
        _ => parameter.node(),
    }
}

/// exotel.txt, "Parameter Object": only PDF documents in media-based templates. A link need not show its type.
fn no_pdf(filename: &Text) -> Option<FieldError> {
    let extension = filename.as_literal()?.rsplit_once('.')?.1;
    let message =
        "Exotel takes only PDF documents in a template's header: give a file name that ends in .pdf";
    (!extension.eq_ignore_ascii_case("pdf")).then(|| filename.refuse(message))
}

fn interactive_node(interactive: &Interactive, refused: &mut Vec<FieldError>) -> Node {
    if !matches!(interactive.action, Action::Buttons(_) | Action::List { .. }) {
        refused.push(FieldError::new(
            format!("{}.type", interactive.field),
            format!("Exotel sends button and list, not {}", interactive.type_name()),
        ));
    }
    if let Some(Header::Image(media) | Header::Video(media) | Header::Document(media)) = &interactive.header {
        refused.extend(media.link().err());
    }
    interactive.node()
}

#[cfg(test)]
mod tests;
