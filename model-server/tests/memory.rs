//! What hostile images make the decoders take. A program of its own with one test: it counts what its process allocates.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test program")]

mod hostile;

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use image::codecs::webp::WebPDecoder;
use image::{DynamicImage, ImageDecoder, ImageFormat, Rgba, RgbaImage};
use model_server::decode::{self, BESIDE_PIXELS, COPIES, DecodeError, PER_PIXEL};
use peak_alloc::PeakAlloc;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const MAX_PIXELS: u64 = 1 << 20;

/// What decoding says, and what it takes: no more than it may.
fn decode(what: &str, bytes: &[u8]) -> Result<(), DecodeError> {
    MEMORY.reset_peak_usage();
    let (before, start) = (MEMORY.current_usage(), Instant::now());
    let header = decode::header(bytes, MAX_PIXELS);
    let taken = MEMORY.peak_usage() - before;
    assert!(taken < 100_000, "{what}: {taken} bytes for the header");
    let pixels = header.as_ref().map_or(0, |header| header.pixels);
    let image = header.and_then(|header| header.decode());
    let (taken, time) = (MEMORY.peak_usage() - before, start.elapsed());
    let allowed = pixels * PER_PIXEL + bytes.len() as u64 * COPIES + BESIDE_PIXELS;
    assert!(taken as u64 <= allowed, "{what}: {taken} of {allowed} bytes");
    println!("{what}: {taken} of {allowed} bytes, {time:?}");
    assert!(time < Duration::from_secs(5), "{what}: {time:?}");
    image.map(drop)
}

#[test]
fn no_image_takes_more_than_its_pixels_and_its_bytes() {
    for (what, bytes, message) in hostile::images() {
        let said = decode(what, &bytes).map_err(|error| error.to_string());
        match (message, said) {
            ("", said) => assert_eq!(said, Ok(()), "{what}"),
            (message, said) => {
                let said = said.expect_err(what);
                assert!(said.contains(message), "{what}: {said}");
            }
        }
    }
    large();
    // The same bomb, and what the decoder does that is not asked about its codes first.
    let bomb = hostile::codes(1 << 20);
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let decoder = WebPDecoder::new(Cursor::new(&bomb)).unwrap();
    assert_eq!(decoder.dimensions(), (4, 4));
    DynamicImage::from_decoder(decoder).unwrap_err();
    let taken = MEMORY.peak_usage() - before;
    assert!(taken > 200 << 20, "{taken} bytes: is what is counted before the decoder still needed?");
    damaged();
}

/// As many pixels as are allowed, in the forms that take most.
fn large() {
    let side = 1 << 10;
    let noise = RgbaImage::from_fn(side, side, |x, y| {
        let number = (x * 7919 + y * 104_729 + 1).wrapping_mul(0x9e37_79b9);
        Rgba(number.to_le_bytes())
    });
    let encode = |image: DynamicImage, format| {
        let mut bytes = vec![];
        image.write_to(&mut Cursor::new(&mut bytes), format).unwrap();
        bytes
    };
    let noise = DynamicImage::ImageRgba8(noise);
    decode("a large PNG", &encode(noise.to_rgba16().into(), ImageFormat::Png)).unwrap();
    decode("a large JPEG", &encode(noise.to_rgb8().into(), ImageFormat::Jpeg)).unwrap();
    decode("a large WebP", &encode(noise.to_rgb8().into(), ImageFormat::WebP)).unwrap();
    decode("a large WebP with alpha", &encode(noise, ImageFormat::WebP)).unwrap();
    let turned = fs::read(fixtures().join("turned6.jpg")).unwrap();
    decode("a turned JPEG", &turned).unwrap();
    for name in ["progressive-444.jpg", "cmyk.jpg", "large.webp", "large-progressive.jpg"] {
        let image = fs::read(fixtures().join(name)).unwrap();
        for (width, height) in [(1024, 1024), (16_383, 1), (1, 16_383), (16_383, 64)] {
            let bytes = hostile::grown(&image, width, height);
            // What is not there is grey, or missing.
            let _ = decode(&format!("{name} as if it were {width}x{height}"), &bytes);
            let _ = decode(
                &format!("{name} of coarse colours as if it were {width}x{height}"),
                &hostile::coarse(&bytes),
            );
        }
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/inputs")
}

/// All fixtures, with some bytes changed or cut.
fn damaged() {
    let mut random = StdRng::seed_from_u64(7);
    let (mut good, mut bad) = (0, 0);
    for entry in fs::read_dir(fixtures()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if !name.ends_with(".png") && !name.ends_with(".jpg") && !name.ends_with(".webp") {
            continue;
        }
        let whole = fs::read(&path).unwrap();
        decode(name, &whole).unwrap();
        for _ in 0..200 {
            let mut bytes = whole.clone();
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..bytes.len());
                bytes[at] = random.random();
            }
            match decode(name, &bytes) {
                Ok(()) => good += 1,
                Err(_) => bad += 1,
            }
        }
    }
    assert!(good > 1000 && bad > 1000, "{good} {bad}");
}
