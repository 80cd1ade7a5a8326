//! Interactive messages: reply buttons, lists, products, forms.

use super::{
    media::{Media, MediaMembers},
    node::Node,
    reader::{Errors, Reader, check_count, check_unique},
    text::{Limits, Text},
};

/// An interactive message.
#[derive(Clone, Debug, PartialEq)]
pub struct Interactive {
    /// Where it stands: `message.interactive`.
    pub field: String,
    /// Above the text.
    pub header: Option<Header>,
    /// The text; only a single product may be without.
    pub body: Option<Text>,
    /// Under the text.
    pub footer: Option<Text>,
    /// What the recipient may do.
    pub action: Action,
}

/// Above the text.
#[derive(Clone, Debug, PartialEq)]
pub enum Header {
    /// A line of text.
    Text(Text),
    /// A picture.
    Image(Media),
    /// A film.
    Video(Media),
    /// A file.
    Document(Media),
}

/// What the recipient may do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Press one of up to three buttons.
    Buttons(Vec<Reply>),
    /// Choose from a list.
    List {
        /// What opens the list.
        button: Text,
        /// Its sections.
        sections: Vec<Section>,
    },
    /// Look at a product.
    Product {
        /// The catalogue.
        catalog_id: Option<Text>,
        /// The product within it.
        product_retailer_id: Text,
    },
    /// Look at several products.
    ProductList {
        /// The catalogue.
        catalog_id: Option<Text>,
        /// The products by section.
        sections: Vec<ProductSection>,
    },
    /// Fill in a form.
    Flow(Box<Flow>),
}

/// A reply button.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// Reported when pressed.
    pub id: Text,
    /// Shown on it.
    pub title: Text,
}

/// A section of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// Where it stands.
    pub field: String,
    /// Its heading; needed when there are several.
    pub title: Option<Text>,
    /// Its rows.
    pub rows: Vec<Row>,
}

/// A row of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Reported when chosen.
    pub id: Text,
    /// Shown.
    pub title: Text,
    /// Shown under the title.
    pub description: Option<Text>,
}

/// A section of a list of products.
#[derive(Clone, Debug, PartialEq)]
pub struct ProductSection {
    /// Its heading.
    pub title: Text,
    /// The products' ids.
    pub product_retailer_ids: Vec<Text>,
}

/// A form.
#[derive(Clone, Debug, PartialEq)]
pub struct Flow {
    /// Returned with the answer.
    pub token: Text,
    /// The form's id.
    pub id: Text,
    /// Shown on the button.
    pub cta: Text,
    /// `navigate` or `data_exchange`.
    pub action: &'static str,
    /// The first screen's id and what it gets; with `navigate`.
    pub payload: Option<(Text, Option<Node>)>,
}

const BODY_MAX_CHARS: usize = 1024;
const HEADER_MAX_CHARS: usize = 60;
const FOOTER_MAX_CHARS: usize = 60;
const BUTTON_MAX_CHARS: usize = 20;
const REPLY_ID_MAX_CHARS: usize = 256;
const SECTION_TITLE_MAX_CHARS: usize = 24;
const ROW_ID_MAX_CHARS: usize = 200;
const ROW_TITLE_MAX_CHARS: usize = 24;
const ROW_DESCRIPTION_MAX_CHARS: usize = 72;
const FLOW_MESSAGE_VERSION: &str = "3";

impl Interactive {
    pub(super) fn read(reader: &Reader<'_>) -> Option<Self> {
        let kind = reader.word("type", &["button", "list", "product", "product_list", "flow"])?;
        let header = reader.object_opt("header").and_then(|header| Header::read(&header, kind));
        let body = reader.object_opt("body").and_then(|body| only_text(&body, BODY_MAX_CHARS));
        if body.is_none() && reader.get("body").is_none() && kind != "product" {
            reader.fail("body", "is missing: give {\"text\": …}");
        }
        let footer = reader.object_opt("footer").and_then(|footer| only_text(&footer, FOOTER_MAX_CHARS));
        let action = reader.object("action").and_then(|action| {
            let read = Action::read(&action, kind);
            action.finish();
            read
        });
        reader.finish();
        Some(Self { field: reader.path.clone(), header, body, footer, action: action? })
    }

    /// The message as WhatsApp's object.
    #[must_use]
    pub fn node(&self) -> Node {
        let text = |text: &Text| Node::object([("text", Some(Node::text(text)))]);
        Node::object([
            ("type", Some(Node::word(self.type_name()))),
            ("header", self.header.as_ref().map(Header::node)),
            ("body", self.body.as_ref().map(text)),
            ("footer", self.footer.as_ref().map(text)),
            ("action", Some(self.action.node())),
        ])
    }

    /// WhatsApp's word for its type.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self.action {
            Action::Buttons(_) => "button",
            Action::List { .. } => "list",
            Action::Product { .. } => "product",
            Action::ProductList { .. } => "product_list",
            Action::Flow(_) => "flow",
        }
    }
}

fn only_text(reader: &Reader<'_>, max_chars: usize) -> Option<Text> {
    let text = reader.text("text", Limits::REQUIRED.max(max_chars));
    reader.finish();
    text
}

impl Header {
    /// Pictures, films and files head reply buttons only (exotel.txt, "Header Object").
    fn read(reader: &Reader<'_>, kind: &str) -> Option<Self> {
        let allowed: &[&'static str] =
            if kind == "button" { &["text", "image", "video", "document"] } else { &["text"] };
        let media = |key, filename| {
            let members = MediaMembers { filename, ..MediaMembers::default() };
            reader.object(key).and_then(|media| Media::read(&media, members))
        };
        let header = match reader.word("type", allowed)? {
            "text" => Self::Text(reader.text("text", Limits::PART.max(HEADER_MAX_CHARS))?),
            "image" => Self::Image(media("image", false)?),
            "video" => Self::Video(media("video", false)?),
            _ => Self::Document(media("document", true)?),
        };
        reader.finish();
        Some(header)
    }

    fn node(&self) -> Node {
        let (word, inner) = match self {
            Self::Text(text) => ("text", Node::text(text)),
            Self::Image(media) => ("image", media.node()),
            Self::Video(media) => ("video", media.node()),
            Self::Document(media) => ("document", media.node()),
        };
        Node::object([("type", Some(Node::word(word))), (word, Some(inner))])
    }
}

impl Action {
    fn read(reader: &Reader<'_>, kind: &str) -> Option<Self> {
        match kind {
            "button" => read_buttons(reader),
            "list" => read_list(reader),
            "product" => read_product(reader),
            "product_list" => read_product_list(reader),
            _ => Flow::read(reader).map(|flow| Self::Flow(Box::new(flow))),
        }
    }

    fn node(&self) -> Node {
        match self {
            Self::Buttons(buttons) => {
                Node::object([("buttons", Some(Node::array(buttons.iter().map(Reply::node))))])
            }
            Self::List { button, sections } => Node::object([
                ("button", Some(Node::text(button))),
                ("sections", Some(Node::array(sections.iter().map(Section::node)))),
            ]),
            Self::Product { catalog_id, product_retailer_id } => Node::object([
                ("catalog_id", Node::text_opt(catalog_id.as_ref())),
                ("product_retailer_id", Some(Node::text(product_retailer_id))),
            ]),
            Self::ProductList { catalog_id, sections } => Node::object([
                ("catalog_id", Node::text_opt(catalog_id.as_ref())),
                ("sections", Some(Node::array(sections.iter().map(ProductSection::node)))),
            ]),
            Self::Flow(flow) => flow.node(),
        }
    }
}

fn read_buttons(reader: &Reader<'_>) -> Option<Action> {
    let buttons = reader.objects("buttons", |item| {
        item.word("type", &["reply"]);
        let reply = item.object("reply")?;
        let id = reply.text("id", Limits::REQUIRED.max(REPLY_ID_MAX_CHARS));
        let title = reply.text("title", Limits::REQUIRED.max(BUTTON_MAX_CHARS));
        reply.finish();
        let id = id?;
        if id.raw().trim() != id.raw() {
            item.errors.push(id.field(), "may not begin or end with a space: remove it");
        }
        Some(Reply { id, title: title? })
    })?;
    check_count(reader.errors, &reader.at("buttons"), buttons.len(), 1..=3, "buttons");
    check_unique(reader.errors, buttons.iter().map(|reply| &reply.title));
    check_unique(reader.errors, buttons.iter().map(|reply| &reply.id));
    Some(Action::Buttons(buttons))
}

impl Reply {
    fn node(&self) -> Node {
        let reply =
            Node::object([("id", Some(Node::text(&self.id))), ("title", Some(Node::text(&self.title)))]);
        Node::object([("type", Some(Node::word("reply"))), ("reply", Some(reply))])
    }
}

fn read_list(reader: &Reader<'_>) -> Option<Action> {
    let button = reader.text("button", Limits::REQUIRED.max(BUTTON_MAX_CHARS));
    let sections = reader.objects("sections", Section::read)?;
    check_sections(reader.errors, &reader.at("sections"), &sections);
    Some(Action::List { button: button?, sections })
}

fn check_sections(errors: &Errors, field: &str, sections: &[Section]) {
    check_count(errors, field, sections.len(), 1..=10, "sections");
    let rows: usize = sections.iter().map(|section| section.rows.len()).sum();
    check_count(errors, field, rows, 1..=10, "rows in all");
    for section in sections.iter().filter(|section| section.title.is_none() && sections.len() > 1) {
        errors.push(format!("{}.title", section.field), "is missing: several sections need titles");
    }
    check_unique(errors, sections.iter().flat_map(|section| &section.rows).map(|row| &row.id));
}

impl Section {
    fn read(reader: &Reader<'_>) -> Option<Self> {
        let title = reader.text_opt("title", Limits::REQUIRED.max(SECTION_TITLE_MAX_CHARS));
        let rows = reader.objects("rows", |row| {
            let id = row.text("id", Limits::REQUIRED.max(ROW_ID_MAX_CHARS));
            let title = row.text("title", Limits::REQUIRED.max(ROW_TITLE_MAX_CHARS));
            let description = row.text_opt("description", Limits::FREE.max(ROW_DESCRIPTION_MAX_CHARS));
            Some(Row { id: id?, title: title?, description })
        })?;
        Some(Self { field: reader.path.clone(), title, rows })
    }

    /// The section as WhatsApp's object.
    #[must_use]
    pub fn node(&self) -> Node {
        let row = |row: &Row| {
            Node::object([
                ("id", Some(Node::text(&row.id))),
                ("title", Some(Node::text(&row.title))),
                ("description", Node::text_opt(row.description.as_ref())),
            ])
        };
        Node::object([
            ("title", Node::text_opt(self.title.as_ref())),
            ("rows", Some(Node::array(self.rows.iter().map(row)))),
        ])
    }
}

fn read_product(reader: &Reader<'_>) -> Option<Action> {
    let catalog_id = reader.text_opt("catalog_id", Limits::PART);
    let product_retailer_id = reader.text("product_retailer_id", Limits::PART)?;
    Some(Action::Product { catalog_id, product_retailer_id })
}

fn read_product_list(reader: &Reader<'_>) -> Option<Action> {
    let catalog_id = reader.text_opt("catalog_id", Limits::PART);
    let sections = reader.objects("sections", |section| {
        let title = section.text("title", Limits::REQUIRED.max(SECTION_TITLE_MAX_CHARS));
        let product_retailer_ids =
            section.objects("product_items", |item| item.text("product_retailer_id", Limits::PART))?;
        let field = section.at("product_items");
        check_count(section.errors, &field, product_retailer_ids.len(), 1..=30, "products");
        Some(ProductSection { title: title?, product_retailer_ids })
    })?;
    check_count(reader.errors, &reader.at("sections"), sections.len(), 1..=30, "sections");
    let products: usize = sections.iter().map(|section| section.product_retailer_ids.len()).sum();
    check_count(reader.errors, &reader.at("sections"), products, 1..=30, "products in all");
    Some(Action::ProductList { catalog_id, sections })
}

impl ProductSection {
    /// The section as WhatsApp's object.
    #[must_use]
    pub fn node(&self) -> Node {
        let item = |id: &Text| Node::object([("product_retailer_id", Some(Node::text(id)))]);
        Node::object([
            ("title", Some(Node::text(&self.title))),
            ("product_items", Some(Node::array(self.product_retailer_ids.iter().map(item)))),
        ])
    }
}

impl Flow {
    fn read(reader: &Reader<'_>) -> Option<Self> {
        reader.word("name", &["flow"]);
        let parameters = reader.object("parameters")?;
        parameters.word("flow_message_version", &[FLOW_MESSAGE_VERSION]);
        let token = parameters.text("flow_token", Limits::REQUIRED);
        let id = parameters.text("flow_id", Limits::REQUIRED);
        let cta = parameters.text("flow_cta", Limits::REQUIRED);
        let action = parameters.word_opt("flow_action", &["navigate", "data_exchange"]).unwrap_or("navigate");
        let payload = parameters.object_opt("flow_action_payload");
        if payload.is_some() != (action == "navigate") {
            parameters.fail("flow_action_payload", "must be given with flow_action navigate, and only then");
        }
        let payload = payload.and_then(|payload| {
            let screen = payload.text("screen", Limits::REQUIRED);
            let data = super::read_free_object(&payload, "data");
            payload.finish();
            Some((screen?, data))
        });
        parameters.finish();
        Some(Self { token: token?, id: id?, cta: cta?, action, payload })
    }

    fn node(&self) -> Node {
        let payload = self.payload.as_ref().map(|(screen, data)| {
            Node::object([("screen", Some(Node::text(screen))), ("data", data.clone())])
        });
        let parameters = Node::object([
            ("flow_message_version", Some(Node::word(FLOW_MESSAGE_VERSION))),
            ("flow_token", Some(Node::text(&self.token))),
            ("flow_id", Some(Node::text(&self.id))),
            ("flow_cta", Some(Node::text(&self.cta))),
            ("flow_action", Some(Node::word(self.action))),
            ("flow_action_payload", payload),
        ]);
        Node::object([("name", Some(Node::word("flow"))), ("parameters", Some(parameters))])
    }
}
