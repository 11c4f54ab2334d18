//! Images that people look at: what a server keeps of its answers, and the process in which people say what is right.
//!
//! ```text
//! model server ──> images/<id>, waiting/<id>.json            one image and what was said of it
//! reviewer     ──> untold/<id>-<nonce>                       this label is about to be given
//!              ──> done/<id>.json                            created once: whoever comes first has decided
//!              ──> waiting/<id>.json is removed
//! courier      ──> feedback/accepted|refused/<id>.json       what the router said of the label
//!              ──> untold/<id>-<nonce> is removed
//! ```
//! All of it are files of one folder, and the program may end between any two of them (ADR 27).

mod address;
mod app;
mod courier;
mod desk;
mod id;
mod item;
mod keeping;
mod outbox;
mod process;
mod report;
#[cfg(test)]
mod testing;

pub use crate::media::Media;
pub use address::{Address, AddressError};
pub use app::{App, Doors};
pub use courier::{Courier, Router};
pub use desk::{Desk, Found, LabelError, Page};
pub use id::{IdError, ItemId};
pub use item::{Done, Item, Ranked, Told};
pub(crate) use keeping::Kept;
pub use keeping::{Capturing, Keeping};
pub use outbox::{KeptMetrics, Outbox, Parcel, Room};
pub use process::{Options, ReviewError, run};
