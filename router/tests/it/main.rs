//! The router against scripted servers, a scripted API server, and pods with addresses of their own.

mod api_server;
mod failures;
mod limits;
mod namespace;
mod rig;
mod servers;
mod source;
mod traffic;
mod wire_http;
