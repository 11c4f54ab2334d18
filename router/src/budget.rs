//! How much memory clients and servers can make the router use: it must stay within its container's limit.

/// Most connections of clients by default. Few, because each may hold all of the below at the same time.
pub const CONNECTIONS: usize = 500;
/// Largest head of a request, and what is read ahead of a client, in bytes.
pub(crate) const HEAD: usize = 16 * 1024;
/// Largest head of an answer, and what is read ahead of a server, in bytes. A batch of 1,024 items needs it.
pub(crate) const ANSWER: usize = 64 * 1024;
/// Bodies up to this many bytes are always held back so that they can be sent again (R6).
pub(crate) const FREE: u64 = 64 * 1024;
/// Memory for what longer bodies have beyond [`FREE`], over all requests, in KiB; when it is used up they are
/// streamed and not sent again.
pub(crate) const HELD_KIB: usize = 20 * 1024;
/// Memory for the bodies of copies, over all of them, in KiB: from the moment in which they are kept for a copy to the
/// end of its answer. When it is used up, copies are dropped.
pub(crate) const COPIED_KIB: usize = 8 * 1024;
/// What TLS may hold that is not yet written to a client, in bytes: one record, a little more.
pub(crate) const SEALED: usize = 16 * 1024;
/// Most connections of clients that send labels; further ones wait. Each holds a head, a body of 64 KiB, the labels read
/// from it, and an answer of as much.
pub(crate) const LABELLERS: usize = 32;
/// Most copies that wait for an answer at the same time; others are dropped.
pub(crate) const COPIES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// The memory limit of the router's container, as in operator/src/resources/router.rs.
    const CONTAINER_128_MI: usize = 128 << 20;
    /// For the program itself, its tables and counters, and bytes on their way to a client.
    const REST: usize = 24 << 20;

    /// What the container has more where clients come by TLS, as there.
    const TLS_32_MI: usize = 32 << 20;

    #[test]
    fn tls_stays_within_what_it_adds() {
        // A record that is not yet complete, its plain bytes, and what is on its way to the client (twice, as it grows).
        let record = 16 * 1024 + 512;
        assert!(CONNECTIONS * (2 * record + 2 * SEALED) < TLS_32_MI);
    }

    /// What the container has more where labels are taken, as there.
    const LABELS_16_MI: usize = 16 << 20;
    /// What is remembered of the last labels: an index of 2^17 places of 9 bytes, and their order.
    const SEEN: usize = 3 << 20;
    /// What is remembered of copies' answers: an index of 2^17 places of 17 bytes, and their order.
    const SHADOWS: usize = 3 << 20;

    #[test]
    fn labels_stay_within_what_they_add() {
        let connection = HEAD + 4 * 64 * 1024;
        assert!(LABELLERS * connection + SEEN + SHADOWS < LABELS_16_MI);
    }

    #[test]
    fn the_sum_of_all_budgets_stays_below_the_containers_limit() {
        let connection = HEAD + ANSWER + usize::try_from(FREE).unwrap();
        let copies = COPIES * (HEAD + ANSWER) + COPIED_KIB * 1024;
        let sum = CONNECTIONS * connection + HELD_KIB * 1024 + copies;
        assert!(sum < CONTAINER_128_MI - REST, "{} MiB", sum >> 20);
    }
}
