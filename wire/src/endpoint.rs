//! Ports and paths that the programs serve. Fixed, so that a pod can be read from its IP alone (K6).

/// Port of prediction requests on a router.
pub const ROUTER_PORT: u16 = 8080;
/// Port of prediction requests on a model server.
pub const SERVER_PORT: u16 = 8000;
/// Port of the administrative endpoints of every program: `/livez`, `/readyz`, `/metrics` and the paths below.
pub const ADMIN_PORT: u16 = 9091;
/// Port of true labels on a router, where the deployment takes them.
pub const FEEDBACK_PORT: u16 = 8081;
/// Router, port of labels: true labels of answers (JSON, posted).
pub const FEEDBACK: &str = "/feedback";
/// Router, admin port: the evidence page (Prometheus text, see [`crate::Page`]).
pub const EVIDENCE: &str = "/evidence";
/// Router, admin port: copies whose answer was another one than the user's (JSON, for people).
pub const DISAGREEMENTS: &str = "/disagreements";
/// Router, admin port: which table it serves (JSON, see [`crate::RouteReport`]).
pub const ROUTE: &str = "/route";
/// Model server, admin port: the reference profile with the digest that was loaded (JSON, [`crate::Profile`]).
pub const PROFILE: &str = "/profile";
/// Largest page that the operator reads from a pod, in bytes.
pub const PAGE_LIMIT: usize = 1 << 20;
