//! Where artefacts come from: a folder or archive of a web server, or a folder of an object store, becomes a local folder
//! that is complete and has the digest that was asked for, or does not appear at all.
//!
//! | to find out | look at |
//! |---|---|
//! | what an address is | [`Uri`] |
//! | how it becomes a folder | [`fetch()`], [`Request`] |
//! | what an artefact's digest is (I5) | [`digest`] |
//! | what a file may be called | [`names`] |
//! | where images wait for people, and labels are kept | [`Cabinet`] |
//! | how another program is told or asked something | [`Caller`] |
//! | how an archive is unpacked | [`archive`] |

pub mod archive;
mod bucket;
mod cabinet;
mod call;
pub mod digest;
mod download;
mod error;
mod fetch;
mod local;
pub mod names;
mod place;
mod secrets;
mod source;
mod transport;
mod uri;
mod web;
mod work;

pub use cabinet::{Cabinet, CabinetError, open_cabinet};
pub use call::{CallError, Called, Caller};
pub use error::FetchError;
pub use fetch::{Fetched, Limits, Request, Tally, fetch};
pub use transport::Patience;
pub use uri::{Archive, Store, Uri, UriError};
