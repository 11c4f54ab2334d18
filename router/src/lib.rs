//! The data plane: splits requests over the revisions of a ModelRoute and counts what becomes of them.
//!
//! ```text
//! ModelRoute, EndpointSlices ─> Source ─> Table + endpoints ─> Board (swapped as a whole)
//! client ─> serve ─> Proxy: take the body, choose, attempt … ─> answer
//!                                 └─ Ticket ─> Ledger ─> /evidence, /metrics
//! ```
//!
//! Pure, and therefore where to look first: [`Table`] (what a ModelRoute says), [`choose`] (whom a request is
//! drawn for, R3), `attempts` (what is tried after a failure, R5 and R6), `items` (what an answer's headers
//! say, C3), [`endpoints_of`] (what EndpointSlices say).

mod attempts;
mod board;
mod budget;
mod choose;
mod count;
mod endpoints;
mod items;
mod listen;
mod pages;
mod proxy;
mod source;
mod table;
mod upstream;
mod watched;

pub use board::{Board, RoutePage};
pub use budget::CONNECTIONS;
pub use choose::{Choice, choose, slot_of, slot_of_key};
pub use count::{Collector, Ledger};
pub use endpoints::{Condition, EndpointStatus, Endpoints, endpoints_of};
pub use listen::{Limits, serve};
pub use pages::pages;
pub use proxy::Proxy;
pub use source::Source;
pub use table::{Revision, Table, TableError};
