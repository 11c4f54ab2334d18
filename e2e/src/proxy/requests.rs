//! What came by, and what is done to it.

use std::collections::HashSet;
use std::fmt;
use std::time::Instant;

use http::{Method, Uri};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A write that came by.
#[derive(Debug, Clone)]
pub struct Write {
    /// When it came.
    pub at: Instant,
    /// `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: Method,
    /// Plural of the kind, with the name and the subresource if there are any: `modelroutes/digits/status`.
    pub object: String,
    /// Status of the answer; absent while there is none, and when it was not forwarded.
    pub status: Option<u16>,
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.object)
    }
}

/// On which side of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The API server never sees it.
    Before,
    /// It is done, and the operator never learns it.
    After,
}

/// What is done to requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A write is answered with this status, and not forwarded.
    Refuse(u16),
    /// A write is done, and its answer is lost.
    Lose,
}

/// What an operator dies at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// This write from now on, from 1.
    Write(usize),
    /// This write of its Lease from now on, from 1.
    Lease(usize),
}

/// A crash that is to come: how many of such writes there were when it does.
#[derive(Debug, Clone, Copy)]
struct Plan {
    at: At,
    moment: Moment,
}

/// What to do with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// As if there were no proxy. A write has an index.
    Forward(Option<usize>),
    /// Done, but the connection is closed instead of an answer.
    ForwardAndLose(usize),
    /// The process dies before it.
    Die,
    /// It is done, then the process dies. A write has an index.
    DieAfter(Option<usize>),
    /// Refused with this status.
    Refuse(usize, u16),
    /// A watch whose version is too old.
    Gone,
    /// The process is dead: nothing leaves it any more.
    Silence,
}

/// The same in every run.
#[derive(Debug)]
struct Dice(StdRng);

impl Default for Dice {
    fn default() -> Self {
        Self(StdRng::seed_from_u64(7))
    }
}

/// Everything that came by so far.
#[derive(Debug, Default)]
pub(super) struct Requests {
    pub(super) writes: Vec<Write>,
    pub(super) dry_runs: usize,
    /// How many there were of a Lease.
    leases: usize,
    plan: Option<Plan>,
    /// With the share of writes that it meets: every so many-th would always meet the same one of a plan.
    pub(super) fault: Option<(Fault, f64)>,
    dice: Dice,
    dead: bool,
    /// Paths of watches that were told, since they were to expire.
    told: Option<HashSet<String>>,
}

impl Requests {
    pub(super) fn expire(&mut self) {
        self.told = Some(HashSet::new());
    }

    pub(super) fn expired(&self) -> usize {
        self.told.as_ref().map_or(0, HashSet::len)
    }

    /// Plans a crash.
    pub(super) fn crash_at(&mut self, at: At, moment: Moment) {
        let at = match at {
            At::Write(k) => At::Write(self.writes.len() + k),
            At::Lease(k) => At::Lease(self.leases + k),
        };
        self.plan = Some(Plan { at, moment });
    }

    /// Whether the process dies at this write, and how.
    fn death(&mut self, at: At, index: Option<usize>) -> Option<Order> {
        let plan = self.plan.filter(|plan| plan.at == at)?;
        self.dead = true;
        Some(match plan.moment {
            Moment::Before => Order::Die,
            Moment::After => Order::DieAfter(index),
        })
    }

    /// Decides about a request that has just come.
    pub(super) fn order(&mut self, method: &Method, uri: &Uri) -> Order {
        if self.dead {
            return Order::Silence;
        }
        if is_watch_from(uri)
            && let Some(told) = &mut self.told
            && told.insert(uri.path().to_owned())
        {
            return Order::Gone;
        }
        if is_change(method) && uri.path().contains("/leases") {
            self.leases += 1;
            return self.death(At::Lease(self.leases), None).unwrap_or(Order::Forward(None));
        }
        if !is_write(method, uri) {
            self.dry_runs += usize::from(is_dry(uri));
            return Order::Forward(None);
        }
        let index = self.writes.len();
        let (object, method) = (object(uri.path()), method.clone());
        self.writes.push(Write { at: Instant::now(), method, object, status: None });
        if let Some(death) = self.death(At::Write(index + 1), Some(index)) {
            return death;
        }
        let fault = self.fault.filter(|(_, share)| self.dice.0.random_bool(*share));
        match fault.map(|(fault, _)| fault) {
            Some(Fault::Refuse(status)) => Order::Refuse(index, status),
            Some(Fault::Lose) => Order::ForwardAndLose(index),
            None => Order::Forward(Some(index)),
        }
    }
}

fn is_change(method: &Method) -> bool {
    [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(method)
}

/// A change of an object that is no Lease: those are renewed by the clock, not by the rollout.
fn is_write(method: &Method, uri: &Uri) -> bool {
    let asks = uri.path().contains("accessreviews");
    is_change(method) && !asks && !is_dry(uri)
}

/// A write that the API server only tries.
fn is_dry(uri: &Uri) -> bool {
    uri.query().unwrap_or_default().contains("dryRun=")
}

fn is_watch_from(uri: &Uri) -> bool {
    let query = uri.query().unwrap_or_default();
    let version = query.split('&').find_map(|pair| pair.strip_prefix("resourceVersion="));
    query.contains("watch=") && version.is_some_and(|version| !["", "0"].contains(&version))
}

/// What follows the namespace, or the group and version of an object without one.
fn object(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let root = if parts.first() == Some(&"api") { 2 } else { 3 };
    let from = if parts.get(root) == Some(&"namespaces") { root + 2 } else { root };
    parts.get(from..).unwrap_or_default().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(requests: &mut Requests, method: &Method, uri: &'static str) -> Order {
        requests.order(method, &Uri::from_static(uri))
    }

    const ROUTE: &str = "/apis/sluice.dev/v1alpha1/namespaces/n/modelroutes/digits?fieldManager=sluice";

    #[test]
    fn writes_are_what_changes_an_object_but_a_lease() {
        let mut requests = Requests::default();
        let lease = "/apis/coordination.k8s.io/v1/namespaces/n/leases/sluice";
        assert_eq!(ask(&mut requests, &Method::PUT, lease), Order::Forward(None));
        assert_eq!(ask(&mut requests, &Method::GET, ROUTE), Order::Forward(None));
        let dry = "/api/v1/namespaces/n/pods?dryRun=All";
        assert_eq!(ask(&mut requests, &Method::POST, dry), Order::Forward(None));
        assert_eq!(ask(&mut requests, &Method::PUT, ROUTE), Order::Forward(Some(0)));
        assert_eq!(ask(&mut requests, &Method::POST, "/api/v1/namespaces/n/pods"), Order::Forward(Some(1)));
        let told: Vec<String> = requests.writes.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["PUT modelroutes/digits", "POST pods"]);
        assert_eq!(requests.dry_runs, 1);
    }

    #[test]
    fn nothing_leaves_a_process_after_its_last_write() {
        let mut requests = Requests::default();
        requests.crash_at(At::Write(2), Moment::After);
        assert_eq!(ask(&mut requests, &Method::PUT, ROUTE), Order::Forward(Some(0)));
        assert_eq!(ask(&mut requests, &Method::PUT, ROUTE), Order::DieAfter(Some(1)));
        assert_eq!(ask(&mut requests, &Method::PUT, ROUTE), Order::Silence);
        assert_eq!(ask(&mut requests, &Method::GET, ROUTE), Order::Silence);
        assert_eq!(requests.writes.len(), 2);
    }

    #[test]
    fn a_lease_can_be_the_last_thing_that_is_written() {
        let mut requests = Requests::default();
        let lease = "/apis/coordination.k8s.io/v1/namespaces/n/leases/sluice";
        ask(&mut requests, &Method::PUT, lease);
        requests.crash_at(At::Lease(2), Moment::Before);
        assert_eq!(ask(&mut requests, &Method::PUT, lease), Order::Forward(None));
        assert_eq!(ask(&mut requests, &Method::PUT, ROUTE), Order::Forward(Some(0)));
        assert_eq!(ask(&mut requests, &Method::GET, lease), Order::Forward(None));
        assert_eq!(ask(&mut requests, &Method::PUT, lease), Order::Die);
        assert_eq!(ask(&mut requests, &Method::PUT, ROUTE), Order::Silence);
    }

    #[test]
    fn a_share_of_the_writes_is_refused() {
        let fault = Some((Fault::Refuse(409), 0.3));
        let mut requests = Requests { fault, ..Default::default() };
        let orders: Vec<Order> = (0..1000).map(|_| ask(&mut requests, &Method::PUT, ROUTE)).collect();
        let refused = orders.iter().filter(|order| matches!(order, Order::Refuse(_, 409))).count();
        assert!((250..350).contains(&refused), "{refused}");
    }

    #[test]
    fn a_watch_that_goes_on_is_told_once_that_its_version_is_gone() {
        let mut requests = Requests::default();
        let watch = "/api/v1/namespaces/n/pods?watch=true&resourceVersion=7";
        assert_eq!(ask(&mut requests, &Method::GET, watch), Order::Forward(None));
        requests.expire();
        assert_eq!(ask(&mut requests, &Method::GET, watch), Order::Gone);
        assert_eq!(ask(&mut requests, &Method::GET, watch), Order::Forward(None));
        assert_eq!(requests.expired(), 1);
    }
}
