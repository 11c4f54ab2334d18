//! The router against scripted servers, a scripted API server, and pods with addresses of their own.

#![allow(clippy::unwrap_used, reason = "all of this is test code, its helpers too")]

mod alone;
mod api_server;
mod clients;
mod deadlines;
mod failures;
mod feedback;
mod grpc;
mod labelled_pairs;
mod limits;
mod mirror;
mod namespace;
mod places;
mod program;
mod rig;
mod servers;
mod smuggling;
mod source;
mod sticky;
mod targets;
mod telemetry;
mod tickets;
mod tls;
mod traffic;
mod trips;
mod wire_http;
