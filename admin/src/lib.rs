//! What every program has beside its work: liveness, readiness, metrics, logging, also of single requests, tokens, and the way it
//! stops.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! admin::init_tracing()?;
//! let readiness = admin::Readiness::default();
//! let model = readiness.wait_for("model");
//! let routes = admin::routes(readiness.clone(), prometheus::Registry::new());
//! let listener = tokio::net::TcpListener::bind("0.0.0.0:9091").await?;
//! let server = tokio::spawn(admin::serve(listener, routes, admin::shutdown_signal()));
//! // … load the model …
//! model.done();
//! server.await??;
//! # Ok(())
//! # }
//! ```
//!
//! [`routes`] is a plain axum router: a program merges its own pages (`/evidence`, `/profile`) into it.

mod bearer;
mod lines;
mod logging;
pub mod preface;
pub mod queue;
mod readiness;
mod routes;
mod serve;

pub use bearer::bearer;
pub use lines::Lines;
pub use logging::{LoggingError, init_tracing};
pub use readiness::{Gate, Readiness, Report};
pub use routes::routes;
pub use serve::{serve, shutdown_signal};
