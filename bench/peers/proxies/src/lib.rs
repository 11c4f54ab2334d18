//! What both proxies do: a tenth of the users goes to the candidate, by a hash.

use std::net::{Ipv4Addr, SocketAddrV4};

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Idle connections that are kept to each server: as many as there are clients in the largest run, and more.
pub const KEPT: usize = 512;
/// The server of the old version.
pub const STABLE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 18101);
/// The server of the new one.
pub const CANDIDATE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 18102);

const USER: &str = "x-user-id";
const SLOTS: u64 = 10_000;
const CANDIDATES: u64 = 1_000;

/// Whether a request with these headers is the candidate's.
pub fn is_candidates(headers: &http::HeaderMap) -> bool {
    let user = headers.get(USER).map_or(&[][..], |value| value.as_bytes());
    xxhash_rust::xxh3::xxh3_64(user) % SLOTS < CANDIDATES
}
