//! What routers, model servers and the operator agree on.
//!
//! Everything that two programs must spell the same way lives here and nowhere else: header names
//! ([`header`]), ports and paths ([`endpoint`]), the fixed grids on which live traffic and reference
//! profiles are counted ([`Grid`]), the slots of a route table ([`SLOTS`]), how a request is classified
//! ([`Assignment`], [`Outcome`]), and the three documents that travel: the evidence page ([`Page`], with the
//! [`Slots`] of a sticky route, the [`Pairs`] of a mirror and the [`Feedback`] of true labels), the route report ([`RouteReport`]) and the reference
//! profile ([`Profile`]). No I/O, almost no dependencies.

pub mod automation;
pub mod endpoint;
mod feature;
mod feedback;
mod grid;
pub mod header;
mod outcome;
mod page;
mod pairs;
mod profile;
mod route;
mod slots;
pub mod timeout;
mod trip;

pub use automation::{Automation, Decision};
pub use feature::{FEATURES, Feature, LATER_FEATURES};
pub use feedback::{Feedback, RESULTS};
pub use grid::{CELLS, GRID_VERSION, Grid, LATENCY_CELLS, LATENCY_GROWTH};
pub use outcome::{Assignment, Outcome};
pub use page::{Counts, Key, Page, PageError, family};
pub use pairs::{PAIR_LABELS, PairOutcome, Pairs};
pub use profile::{ClassCount, Profile, ProfileError};
pub use route::{EndpointCounts, RouteReport, RouteState, SLOTS, TableSource};
pub use slots::{SlotError, SlotSet, Slots};
pub use trip::Trip;
