//! The data plane: splits requests over the revisions of a ModelRoute and counts what becomes of them.
//!
//! ```text
//! ModelRoute, EndpointSlices ─> Source ─> Table + endpoints ─> Board (swapped as a whole), Cache (on disk)
//! client ─> serve ─> Proxy: take the body, choose, attempt … ─> answer
//!                                 │                               └─ Draft ─> copy ─> compare
//!                                 └─ Ticket ─> Ledger ─> /evidence, /metrics <───────────┘
//! label ─> Feedback ───────────────────────────┘   (with what the copy beside it answered, for a while)
//! ```
//!
//! Pure, and therefore where to look first: [`Table`] (what a ModelRoute says), [`choose`] (whom a request is
//! drawn for: pin, target, rules, slots, R3) and [`copied_to`] (whether it is copied), `attempts` (what is tried after a
//! failure, R5 and R6), `items` (what an answer's headers say, C3), `compare` (what a copy's say beside it),
//! [`endpoints_of`] (what EndpointSlices say), `tripwire` (when a candidate gets nothing more, R7), `sticky` (whose key it
//! is), `deadline` (when its time is over), `places` (when a revision has enough). For people alone: `disagreements`, and
//! `class_pairs` (bounded counts of which class stood beside which).
//!
//! Copies (`mirror`) have nothing in common with the requests that users wait for but the table: memory, places and
//! connections are their own, they are sent when the user's answer was handed on, never tried elsewhere, and dropped
//! rather than waited with. What is dropped is counted.

mod alarm;
mod attempts;
mod board;
mod budget;
mod cache;
mod choose;
mod class_pairs;
mod compare;
mod count;
mod deadline;
mod disagreements;
mod endpoints;
mod feedback;
mod grpc;
mod items;
mod listen;
mod mirror;
mod pages;
mod places;
mod proxy;
mod source;
mod sticky;
mod table;
mod telemetry;
mod text;
mod tls;
mod tripwire;
mod upstream;
mod watched;

pub use board::{Board, RoutePage};
pub use budget::CONNECTIONS;
pub use cache::Cache;
pub use choose::{Choice, choose, copied_to, slot_of, slot_of_key};
pub use count::{Collector, Ledger};
pub use endpoints::{Condition, EndpointStatus, Endpoints, endpoints_of};
pub use feedback::{Feedback, SecretError, serve_feedback};
pub use listen::{Limits, serve};
pub use pages::pages;
pub use proxy::Proxy;
pub use source::Source;
pub use sticky::StickyRule;
pub use table::{MatchRule, Mirrored, Revision, Table, TableError};
pub use telemetry::{EndpointError, Resource, Telemetry};
pub use tls::{Tls, TlsError};
pub use tripwire::TripWire;
