//! An image from a stranger: nothing panics, nothing takes more memory than its pixels and its bytes allow, and what is
//! taken has the size that its header says, if turned.

#![no_main]

use libfuzzer_sys::fuzz_target;
use peak_alloc::PeakAlloc;

// The files alone, with nothing of the server around them.
#[allow(dead_code, reason = "the server uses the rest")]
#[path = "../../model-server/src"]
mod server {
    pub mod decode;
}

use server::decode;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const PIXELS: u64 = 1 << 16;

fuzz_target!(|bytes: &[u8]| {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let header = match decode::header(bytes, PIXELS) {
        Ok(header) => header,
        Err(error) => return assert!(!error.to_string().contains("gave up"), "{error}"),
    };
    assert!(header.pixels <= PIXELS);
    let image = header.decode();
    let taken = (MEMORY.peak_usage() - before) as u64;
    let allowed = header.pixels * decode::PER_PIXEL + bytes.len() as u64 * decode::COPIES + decode::BESIDE_PIXELS;
    assert!(taken <= allowed, "{taken} of {allowed} bytes");
    match image {
        Ok(image) => assert_eq!(u64::from(image.width()) * u64::from(image.height()), header.pixels),
        Err(error) => assert!(!error.to_string().contains("gave up"), "{error}"),
    }
});
