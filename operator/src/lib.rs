//! The operator: the only writer of Kubernetes objects.
//!
//! ```text
//! watches ─> world ─> observe ─> validate ─> judge ─> decide ─> act ─> report
//!            (stores)  (stores)   (pure)     (pure)  (crate     (the only writers)
//! routers' pages ─> sampler ────────────────^        rollout)
//! ```
//!
//! [`controller`] is the list of those calls. Where to look: what becomes wanted from a spec in [`validate`];
//! what a revision is in [`revision`]; whether the API server takes its pods in [`rehearsal`]; the manifests in
//! [`resources`], the route table among them; the order
//! of writes in [`act`]; how many model servers there are in [`scaling`]; status, conditions, record and events in [`status`] and [`report`]; who is told of them in
//! [`notify`]. Stages are
//! decided in crate `rollout`, metrics in crate `evidence`.

pub mod act;
pub mod args;
pub mod capacity;
pub mod controller;
pub mod crd;
pub mod decisions;
pub mod fresh;
pub mod herald;
pub mod index;
pub mod judge;
pub mod leader;
pub mod metrics;
pub mod notify;
pub mod observe;
pub mod reference;
pub mod rehearsal;
pub mod report;
pub mod resources;
pub mod retrain;
pub mod revision;
pub mod sampler;
pub mod scaling;
pub mod status;
pub mod validate;
pub mod world;
pub mod write;

mod fetching;
mod run;
mod uninstall;

pub use run::run;
pub use uninstall::release_routers;
