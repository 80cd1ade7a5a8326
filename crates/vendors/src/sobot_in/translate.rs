//! The canonical message as the body of sobot.in's `POST /message/` (sobot-in.txt, "Free-flow Messages", "Template Messages").
//!
//! It decides once per task; nothing here runs per recipient. What sobot.in cannot express is refused by field.

use std::borrow::Cow;

use model::{
    FieldError,
    message::{
        Action, ButtonKind, Columns, Component, ComponentKind, Header, Interactive, Limits, Location, Media,
        Message, Node, Parameter, ParameterValue, Part, PhoneForm, ProductSection, Reply, Section, Skeleton,
        Template, Text, TextMessage,
    },
};

/// The whole request body for one recipient: a complete JSON object, sent as it is.
///
/// No sender stands in it: the account's keys name it. `customer_number` has no plus. `customer_name` is column
/// `customer_name`, else `name`, else the number.
///
/// # Errors
/// What sobot.in cannot express, and columns that the audience lacks, each with its field.
pub fn translate(message: &Message, columns: &Columns) -> Result<Skeleton, Vec<FieldError>> {
    let mut translation = Translation { refused: Vec::new() };
    let mut members = translation.members(message);
    members.push(("customer_number", Node::Phone(PhoneForm::Digits)));
    members.push(("customer_name", customer_name()));
    let body = Node::Object(members.into_iter().map(|(key, node)| (Cow::Borrowed(key), node)).collect());
    Skeleton::compile_unless(translation.refused, &body, columns)
}

/// The contract: column customer_name, else name, else the number.
fn customer_name() -> Node {
    Node::FirstOf(vec!["customer_name".to_owned(), "name".to_owned()], PhoneForm::Digits)
}

type Members = Vec<(&'static str, Node)>;

struct Translation {
    refused: Vec<FieldError>,
}

impl Translation {
    fn members(&mut self, message: &Message) -> Members {
        match message {
            Message::Template(template) => self.template(template),
            Message::Text(text) => self.text(text),
            Message::Image(media) => self.media("image", media, &IMAGE_TYPES),
            Message::Video(media) => self.media("video", media, &VIDEO_TYPES),
            Message::Document(media) => self.media("document", media, &DOCUMENT_TYPES),
            Message::Sticker(media) => self.media("sticker", media, &STICKER_TYPES),
            Message::Location(location) => location_members(location),
            Message::Interactive(interactive) => self.interactive(interactive),
            Message::Audio(_) | Message::Contacts(_) => {
                let known = "template, text, image, video, document, sticker, location and interactive";
                self.refuse("message.type", format!("sobot_in has no {}: it sends {known}", message.kind()));
                Vec::new()
            }
        }
    }

    fn refuse(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.refused.push(FieldError::new(field, message));
    }

    /// Keeps what is right, notes what is refused.
    fn keep<T>(&mut self, result: Result<T, FieldError>) -> Option<T> {
        result.map_err(|error| self.refused.push(error)).ok()
    }

    fn text(&mut self, text: &TextMessage) -> Members {
        if text.preview_url == Some(false) {
            self.refuse(
                "message.text.preview_url",
                "sobot_in always shows previews: leave it out or set it to true",
            );
        }
        if let Some(id) = &text.reply_to {
            self.refused.push(id.refuse("sobot_in cannot send a text as a reply: leave `context` out"));
        }
        vec![("message", Node::text(&text.body)), ("type", Node::word("text"))]
    }

    fn media(&mut self, kind: &'static str, media: &Media, types: &MimeTypes) -> Members {
        let mut members = vec![("type", Node::word(kind))];
        let Some(link) = self.keep(media.link()) else { return members };
        members.push(("url", Node::text(link)));
        if let Some(mime_type) = self.keep(mime_type(media, link, types)) {
            members.push(("mime_type", mime_type));
        }
        if kind == "document"
            && let Some(filename) = self.keep(filename(media, link))
        {
            members.push(("filename", filename));
        }
        members.extend(media.caption.as_ref().map(|caption| ("caption", Node::text(caption))));
        members
    }

    fn template(&mut self, template: &Template) -> Members {
        let params: Vec<Node> =
            template.components.iter().filter_map(|component| self.component(component)).collect();
        let mut members = vec![
            ("template_name", Node::text(&template.name)),
            ("template_lang", Node::text(&template.language)),
        ];
        // "Send Text Message": a template without variables has no params.
        if !params.is_empty() {
            members.push(("params", Node::Array(params)));
        }
        members
    }

    fn component(&mut self, component: &Component) -> Option<Node> {
        let parameters = component
            .parameters
            .iter()
            .filter_map(|parameter| self.parameter(parameter, component.kind))
            .collect::<Vec<_>>();
        let (word, button) = match component.kind {
            ComponentKind::Header => ("header", None),
            ComponentKind::Body => ("body", None),
            ComponentKind::Button { kind: ButtonKind::Url, index } => ("button", Some(index)),
            ComponentKind::Button { kind, .. } => {
                let field = format!("{}.sub_type", component.field);
                let remedy = "leave the component out, the template's own button is shown all the same";
                self.refuse(
                    field,
                    format!("sobot_in fills url buttons only, no {}: {remedy}", kind.as_str()),
                );
                return None;
            }
        };
        // "Send Text Message with CTA": index can be either 0 or 1, and is a number in the sample.
        if button.is_some_and(|index| index > 1) {
            self.refuse(format!("{}.index", component.field), "sobot_in takes positions 0 and 1");
        }
        Some(Node::object([
            ("type", Some(Node::word(word))),
            ("sub_type", button.map(|_| Node::word("url"))),
            ("index", button.map(|index| Node::Fixed(index.into()))),
            ("parameters", Some(Node::Array(parameters))),
        ]))
    }

    /// The parameters that sobot-in.txt shows: text in the body and in a url button, a medium in the header.
    fn parameter(&mut self, parameter: &Parameter, component: ComponentKind) -> Option<Node> {
        let is_header = component == ComponentKind::Header;
        match &parameter.value {
            ParameterValue::Text(text) | ParameterValue::Payload(text) if !is_header => {
                Some(Node::object([("type", Some(Node::word("text"))), ("text", Some(Node::text(text)))]))
            }
            ParameterValue::Image(media) | ParameterValue::Video(media) | ParameterValue::Document(media) => {
                self.keep(media.link())?;
                Some(parameter.node())
            }
            // The button's own kind was refused.
            ParameterValue::Action { .. } => None,
            value => {
                let place =
                    if is_header { "a header with image, video or document" } else { "a body with text" };
                self.refuse(
                    format!("{}.type", parameter.field),
                    format!("sobot_in fills {place}, not with {}", value.type_name()),
                );
                None
            }
        }
    }

    fn interactive(&mut self, interactive: &Interactive) -> Members {
        let mut members = Vec::new();
        if let Some(body) = &interactive.body {
            members.push(("message", Node::text(body)));
        } else {
            self.refuse(format!("{}.body", interactive.field), "is missing: sobot_in wants it always");
        }
        match &interactive.header {
            Some(Header::Text(text)) => members.push(("header", Node::text(text))),
            Some(Header::Image(_) | Header::Video(_) | Header::Document(_)) => self.refuse(
                format!("{}.header.type", interactive.field),
                "sobot_in shows text in a header: give text",
            ),
            None => {}
        }
        members.extend(interactive.footer.as_ref().map(|footer| ("caption", Node::text(footer))));
        members.extend(self.action(interactive));
        members
    }

    fn action(&mut self, interactive: &Interactive) -> Members {
        match &interactive.action {
            Action::Buttons(buttons) => {
                let titles = buttons.iter().map(|button| self.button(button)).collect();
                vec![("type", Node::word("quick_reply")), ("buttons", Node::Array(titles))]
            }
            Action::List { button, sections } => {
                let list = self.list(button, sections);
                vec![("type", Node::word("list")), ("list_obj", list)]
            }
            Action::Product { catalog_id, product_retailer_id } => {
                self.catalogue(catalog_id.as_ref());
                if interactive.header.is_some() {
                    let field = format!("{}.header", interactive.field);
                    self.refuse(field, "sobot_in shows a single product without header: leave it out");
                }
                let list = Node::object([("product_retailer_id", Some(Node::text(product_retailer_id)))]);
                vec![("type", Node::word("product")), ("product_list", list)]
            }
            Action::ProductList { catalog_id, sections } => {
                self.catalogue(catalog_id.as_ref());
                let sections = Node::array(sections.iter().map(ProductSection::node));
                let list = Node::object([("sections", Some(sections))]);
                vec![("type", Node::word("product")), ("product_list", list)]
            }
            Action::Flow(_) => {
                let field = format!("{}.type", interactive.field);
                self.refuse(field, "sobot_in sends button, list, product and product_list, not flow");
                Vec::new()
            }
        }
    }

    /// A button here is its title alone (sobot-in.txt, "Button Message"), so no other id can come back.
    fn button(&mut self, button: &Reply) -> Node {
        if button.id.raw() != button.title.raw() {
            let remedy = "sobot_in reports a button by its title: write the title here too";
            self.refused.push(button.id.refuse(remedy));
        }
        Node::text(&button.title)
    }

    fn list(&mut self, button: &Text, sections: &[Section]) -> Node {
        for section in sections.iter().filter(|section| section.title.is_none()) {
            self.refuse(format!("{}.title", section.field), "is missing: sobot_in wants it always");
        }
        Node::object([
            ("button", Some(Node::text(button))),
            ("sections", Some(Node::array(sections.iter().map(Section::node)))),
        ])
    }

    fn catalogue(&mut self, catalog_id: Option<&Text>) {
        let message = "sobot_in uses the catalogue that is set in its account: leave it out";
        self.refused.extend(catalog_id.map(|id| id.refuse(message)));
    }
}

/// The sample's names, `location_name` and `address`, not the table's.
fn location_members(location: &Location) -> Members {
    let mut members = vec![
        ("type", Node::word("location")),
        ("longitude", Node::text(&location.longitude)),
        ("latitude", Node::text(&location.latitude)),
    ];
    members.extend(location.name.as_ref().map(|name| ("location_name", Node::text(name))));
    members.extend(location.address.as_ref().map(|address| ("address", Node::text(address))));
    members
}

/// The endings of files and the documented MIME types that they have ("Supported Media Types").
type MimeTypes = [(&'static str, &'static str)];

const IMAGE_TYPES: [(&str, &str); 3] = [("jpg", "image/jpeg"), ("jpeg", "image/jpeg"), ("png", "image/png")];
const VIDEO_TYPES: [(&str, &str); 2] = [("mp4", "video/mp4"), ("3gp", "video/3gp")];
const STICKER_TYPES: [(&str, &str); 1] = [("webp", "image/webp")];
const DOCUMENT_TYPES: [(&str, &str); 8] = [
    ("txt", "text/plain"),
    ("pdf", "application/pdf"),
    ("ppt", "application/vnd.ms-powerpoint"),
    ("doc", "application/msword"),
    ("xls", "application/vnd.ms-excel"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
];

/// The contract: given in the media object, else from the link's extension, else refused.
fn mime_type(media: &Media, link: &Text, types: &MimeTypes) -> Result<Node, FieldError> {
    let supported = || {
        let mut names: Vec<&str> = types.iter().map(|(_, name)| *name).collect();
        names.dedup();
        names.join(", ")
    };
    if let Some(given) = &media.mime_type {
        let is_known = given.as_literal().is_none_or(|given| types.iter().any(|(_, name)| *name == given));
        let unsupported = || given.refuse(format!("is not supported by sobot_in here: give {}", supported()));
        return is_known.then(|| Node::text(given)).ok_or_else(unsupported);
    }
    let extension = link_extension(link).map(|extension| extension.to_ascii_lowercase());
    let found = types.iter().find(|(ending, _)| extension.as_deref() == Some(ending));
    found.map(|(_, name)| Node::word(name)).ok_or_else(|| {
        let field = format!("{}.mime_type", media.field);
        FieldError::new(field, format!("cannot be told from the link: give it, one of {}", supported()))
    })
}

/// What stands after the last dot of the link's last segment, when no placeholder has a say in it.
fn link_extension(link: &Text) -> Option<String> {
    let segment = last_segment(link);
    let (_, extension) = segment.rsplit_once('.')?;
    (!extension.contains(PLACEHOLDER)).then(|| extension.to_owned())
}

/// Stands for a placeholder while a link is cut up; no link holds it.
const PLACEHOLDER: char = '\0';

fn last_segment(link: &Text) -> String {
    let shape: String = link
        .parts()
        .iter()
        .map(|part| match part {
            Part::Literal(literal) => literal.clone(),
            Part::Column { .. } => PLACEHOLDER.to_string(),
        })
        .collect();
    let path = shape.split(['?', '#']).next().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

/// sobot-in.txt, "Document Message": filename is mandatory, the name of the file in the link.
fn filename(media: &Media, link: &Text) -> Result<Node, FieldError> {
    if let Some(filename) = &media.filename {
        return Ok(Node::text(filename));
    }
    let field = format!("{}.filename", media.field);
    let segment = last_segment(link);
    if segment.is_empty() || segment.contains(PLACEHOLDER) {
        return Err(FieldError::new(field, "cannot be told from the link: give it"));
    }
    Text::parse(&segment, field, Limits::REQUIRED).map(Node::Text)
}

#[cfg(test)]
mod tests;
