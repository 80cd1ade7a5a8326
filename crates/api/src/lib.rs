//! What goes over the wire: the JSON types of the HTTP interface, and the typed client that the command line uses.
//!
//! The words are the contract's. Nothing here knows the database or a vendor, and no type holds a secret.

pub mod account;
pub mod audience;
pub mod campaign;
pub mod client;
pub mod code;
pub mod event;
pub mod event_webhook;
pub mod halt;
pub mod inbound;
pub mod list;
pub mod message;
pub mod person;
pub mod preview;
pub mod problem;
pub mod report;
pub mod suppression;
pub mod task;
pub mod template;

pub use account::{Account, AccountHealth, Breaker, Sender};
pub use audience::{Audience, AudienceStatus, Rows};
pub use campaign::{
    Campaign, CampaignChange, CampaignState, Canary, Category, NewCampaign, OnUnknown, Priority, Schedule,
    SendingWindow, TaskStarted, TestRequest,
};
pub use code::Code;
pub use event::{VendorEvent, VendorEventKind};
pub use event_webhook::{EventDeadLetter, EventTest, EventWebhook, RedriveRequest, Redriven};
pub use halt::{Halt, HaltScope};
pub use inbound::Inbound;
pub use list::List;
pub use message::{Message, MessageState};
pub use person::PersonErased;
pub use preview::{Cost, CountryCost, Estimate, Preview, PreviewItem, PreviewRequest};
pub use problem::{Problem, ProblemField};
pub use report::{Rates, ReportedError, TaskReport, TaskSummary, TimelineBucket, TimelineStep};
pub use suppression::{NewSuppression, RejectedLine, Suppression, SuppressionReason, SuppressionsImported};
pub use task::{
    CanaryState, Counts, Resolution, ResolveRequest, Resolved, RetriedFailed, Task, TaskCanary, TaskError,
    TaskState, WaitingFor,
};
pub use template::{NewTemplate, Template, TemplateDeleted, TemplateSource, TemplateStatus, TemplatesSynced};
