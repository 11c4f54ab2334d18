//! What both proxies do: a tenth of the users goes to the candidate, by a hash.

use std::net::SocketAddr;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Idle connections that are kept to each server: as many as there are clients in the largest run, and more.
pub const KEPT: usize = 512;

const STABLE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 18101);
const CANDIDATE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 18102);
const USER: &str = "x-user-id";
const SLOTS: u64 = 10_000;
const CANDIDATES: u64 = 1_000;

/// The server for a request with these headers.
pub fn server(headers: &http::HeaderMap) -> SocketAddr {
    let user = headers.get(USER).map_or(&[][..], |value| value.as_bytes());
    if xxhash_rust::xxh3::xxh3_64(user) % SLOTS < CANDIDATES { CANDIDATE } else { STABLE }
}
