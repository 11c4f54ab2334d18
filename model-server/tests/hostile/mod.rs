//! Images that mean no good.
#![allow(dead_code, unreachable_pub, reason = "each test program uses its part of this module")]

use std::io::Cursor;

use flate2::{Compress, Compression, Crc, FlushCompress};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};

pub const MIB: usize = 1 << 20;

/// What they are called, their bytes, and a part of what is said of them; nothing of those that are good.
pub fn images() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let zeros = |mib: usize| zlib(mib);
    let text = |start: &[u8]| [start, &zeros(2000)].concat();
    vec![
        ("zTXt that unpacks to 2 GB", png_with(&[(b"zTXt", &text(b"a\0\0"))]), ""),
        ("iTXt that unpacks to 2 GB", png_with(&[(b"iTXt", &text(b"a\0\x01\0\0\0"))]), ""),
        ("iCCP that unpacks to 2 GB", png_with(&[(b"iCCP", &text(b"a\0\0"))]), ""),
        ("IDAT that unpacks to 2 GB", png_of(&zeros(2000)), ""),
        ("many zTXt", png_with(&vec![(b"zTXt", &[&b"a\0\0"[..], &zeros(4)].concat()[..]); 1000]), ""),
        ("a large eXIf", png_with(&[(b"eXIf", &vec![0; 6 * MIB])]), "needs more than 2097152 bytes beside"),
        (
            "a palette of a colour and a third",
            png_palette(&[1, 2, 3, 4]),
            "its palette has a part of a colour",
        ),
        ("a palette of nothing", png_palette(&[]), "broken"),
        ("a large unknown chunk", png_with(&[(b"abCd", &vec![0; 6 * MIB])]), ""),
        ("a PNG of 2^31 x 2^31", png_size(0x7fff_ffff, 0x7fff_ffff), "2147483647x2147483647 pixels, allowed"),
        ("a PNG of no width", png_size(0, 4), "broken"),
        ("a JPEG of 65535 x 65535", jpeg_size(65535, 65535), "65535x65535 pixels, allowed"),
        ("a JPEG of no height", jpeg_size(8, 0), "its size is 8x0"),
        ("large profiles in a JPEG", jpeg_with(0xe2, b"ICC_PROFILE\0\x01\x64", 100), ""),
        ("large EXIF data in a JPEG", jpeg_with(0xe1, b"Exif\0\0", 100), ""),
        (
            "a canvas of 16384 x 16384",
            webp(&[canvas(16384, 16384, 0), lossless(4, 4)]),
            "its canvas has 16384x16384 pixels",
        ),
        ("a canvas of 2^24 x 2^24", webp(&[canvas(1 << 24, 1 << 24, 0), lossless(4, 4)]), "broken"),
        ("a picture larger than its canvas", webp(&[canvas(4, 4, 0), lossy(16383, 16383)]), "16383x16383"),
        (
            "a lossless picture larger than its canvas",
            webp(&[canvas(4, 4, 0), lossless(16384, 16384)]),
            "16384x16384",
        ),
        ("two pictures", webp(&[lossless(4, 4), lossy(16383, 16383)]), ""),
        ("a picture of 16383 x 16383", webp(&[lossy(16383, 16383)]), "16383x16383 pixels, allowed"),
        ("a picture of nothing", webp(&[chunk(b"VP8 ", &[])]), "picture's header is wrong"),
        (
            "a profile of 8 MiB",
            webp(&[canvas(4, 4, 0x20), chunk(b"ICCP", &vec![0; 8 * MIB]), lossless(4, 4)]),
            "",
        ),
        (
            "EXIF data of 8 MiB",
            webp(&[canvas(4, 4, 8), lossless(4, 4), chunk(b"EXIF", &vec![0; 8 * MIB])]),
            "",
        ),
        ("XMP of 8 MiB", webp(&[canvas(4, 4, 4), lossless(4, 4), chunk(b"XMP ", &vec![0; 8 * MIB])]), ""),
        ("alpha of 8 MiB", webp(&[canvas(4, 4, 16), chunk(b"ALPH", &vec![1; 8 * MIB]), lossless(4, 4)]), ""),
        ("a million chunks", webp(&[lossless(4, 4), chunk(b"abcd", &[]).repeat(1 << 20)]), ""),
        ("a chunk of 4 GiB", webp(&[b"EXIF\xff\xff\xff\xff".to_vec()]), "ends before its end marker"),
        ("an animation", webp(&[canvas(16384, 16384, 2), chunk(b"ANIM", &[0; 6])]), "an animation"),
        ("an animation that hides it", webp(&[canvas(4, 4, 0), chunk(b"ANMF", &[0; 40])]), "an animation"),
        ("codes for 4 GiB", codes(8 * MIB), "its codes need more than"),
        ("codes for 400 MiB", codes(MIB), "its codes need more than"),
    ]
}

/// `mib` MiB of zeros, compressed.
pub fn zlib(mib: usize) -> Vec<u8> {
    // A full flush ends at a byte and forgets what was before, so that one piece can be repeated.
    let mut compress = Compress::new(Compression::best(), true);
    let mut piece = Vec::with_capacity(MIB);
    compress.compress_vec(&vec![0; MIB], &mut piece, FlushCompress::Full).unwrap();
    assert_eq!(compress.total_in(), MIB as u64);
    let (head, piece) = piece.split_at(2);
    [head, &piece.repeat(mib)].concat()
}

fn png_chunk(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = Crc::new();
    crc.update(name);
    crc.update(data);
    [&(data.len() as u32).to_be_bytes()[..], name, data, &crc.sum().to_be_bytes()].concat()
}

fn encode(format: ImageFormat) -> Vec<u8> {
    let mut bytes = vec![];
    let image = DynamicImage::ImageRgb8(RgbImage::from_pixel(4, 4, Rgb([255; 3])));
    image.write_to(&mut Cursor::new(&mut bytes), format).unwrap();
    bytes
}

/// A JPEG whose colours have the largest sampling factors.
pub fn coarse(image: &[u8]) -> Vec<u8> {
    let mut image = image.to_vec();
    if let Some(frame) = image.windows(2).position(|two| matches!(two, [0xff, 0xc0 | 0xc2])) {
        for colour in 0..usize::from(image[frame + 9]) {
            image[frame + 11 + 3 * colour] = 0x44;
        }
    }
    image
}

/// A PNG of 4x4 white pixels with chunks in front of its pixels.
pub fn png_with(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let image = encode(ImageFormat::Png);
    // After the signature (8 bytes) and IHDR (25).
    let (start, end) = image.split_at(33);
    let chunks: Vec<u8> = chunks.iter().flat_map(|(name, data)| png_chunk(name, data)).collect();
    [start, &chunks, end].concat()
}

/// A PNG of 4x4 pixels of this data.
fn png_of(data: &[u8]) -> Vec<u8> {
    let image = encode(ImageFormat::Png);
    [&image[..33], &png_chunk(b"IDAT", data), &png_chunk(b"IEND", &[])].concat()
}

pub fn png_size(width: u32, height: u32) -> Vec<u8> {
    let head = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
    [&encode(ImageFormat::Png)[..8], &png_chunk(b"IHDR", &head), &png_chunk(b"IDAT", &zlib(1))].concat()
}

pub fn jpeg_size(width: u16, height: u16) -> Vec<u8> {
    grown(&encode(ImageFormat::Jpeg), width, height)
}

/// A JPEG or a lossy WebP that says that it has another size.
pub fn grown(image: &[u8], width: u16, height: u16) -> Vec<u8> {
    let mut image = image.to_vec();
    let place = |start: &[u8]| image.windows(start.len()).position(|part| part == start);
    if let Some(frame) = place(&[0xff, 0xc0]).or(place(&[0xff, 0xc2])) {
        image[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
        image[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
    } else {
        let start = place(&[0x9d, 1, 0x2a]).unwrap() + 3;
        image[start..start + 2].copy_from_slice(&width.to_le_bytes());
        image[start + 2..start + 4].copy_from_slice(&height.to_le_bytes());
    }
    image
}

/// A PNG of 4x4 pixels of a palette.
fn png_palette(palette: &[u8]) -> Vec<u8> {
    let head = [&[0, 0, 0, 4, 0, 0, 0, 4][..], &[8, 3, 0, 0, 0]].concat();
    let chunks = [(b"IHDR", &head[..]), (b"PLTE", palette), (b"IDAT", &zlib(1)), (b"IEND", &[])];
    let chunks: Vec<u8> = chunks.iter().flat_map(|(name, data)| png_chunk(name, data)).collect();
    [&encode(ImageFormat::Png)[..8], &chunks].concat()
}

/// A JPEG with so many of the largest segments.
fn jpeg_with(marker: u8, start: &[u8], count: usize) -> Vec<u8> {
    let image = encode(ImageFormat::Jpeg);
    let segment = [&[0xff, marker, 0xff, 0xff], start, &vec![0; 0xffff - 2 - start.len()]].concat();
    [&image[..2], &segment.repeat(count), &image[2..]].concat()
}

pub fn webp(chunks: &[Vec<u8>]) -> Vec<u8> {
    let body = chunks.concat();
    [b"RIFF", &(body.len() as u32 + 4).to_le_bytes()[..], b"WEBP", &body].concat()
}

pub fn chunk(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let fill = &[0][..data.len() % 2];
    [name, &(data.len() as u32).to_le_bytes()[..], data, fill].concat()
}

pub fn canvas(width: u32, height: u32, flags: u8) -> Vec<u8> {
    let (width, height) = ((width - 1).to_le_bytes(), (height - 1).to_le_bytes());
    chunk(b"VP8X", &[&[flags, 0, 0, 0], &width[..3], &height[..3]].concat())
}

/// A picture that says that it has this size; it ends soon.
pub fn lossy(width: u16, height: u16) -> Vec<u8> {
    let size = [width.to_le_bytes(), height.to_le_bytes()].concat();
    chunk(b"VP8 ", &[&[0x10, 2, 0, 0x9d, 1, 0x2a], &size[..], &[0; 100]].concat())
}

/// A picture whose first partition is longer than it.
fn long_start() -> Vec<u8> {
    let mut picture = lossy(4, 4);
    picture[8..11].copy_from_slice(&[0x10, 0xff, 0xff]);
    picture
}

/// A picture of one colour.
pub fn lossless(width: u32, height: u32) -> Vec<u8> {
    let mut bits = Bits::start(width, height);
    // No transforms, no cache, no groups; five codes of one symbol each.
    bits.write(0, 3);
    for _ in 0..5 {
        bits.single(0);
    }
    chunk(b"VP8L", &bits.bytes())
}

/// A picture of 4x4 pixels with 65,536 groups of codes, each of 190 bytes, for which the decoder makes tables of 68 KiB:
/// cut to a length.
pub fn codes(length: usize) -> Vec<u8> {
    let mut bits = Bits::start(4, 4);
    bits.write(0, 1);
    // A cache of 2^11 colours makes the alphabet of green large: 280 + 2048 symbols.
    bits.write(1, 1);
    bits.write(11, 4);
    // The image of groups: blocks of 4x4 pixels, so there is one. Its red and green are the number of the group.
    bits.write(1, 1);
    bits.write(0, 3);
    bits.write(0, 1);
    for symbol in [255, 255, 0, 0, 0] {
        bits.single(symbol);
    }
    while bits.length() < length {
        group(&mut bits);
    }
    webp(&[chunk(b"VP8L", &bits.bytes())])
}

/// A group in which 2^11 symbols of green have codes of 11 bits.
fn group(bits: &mut Bits) {
    // Codes of lengths: 11, 16, 17 and 18 have two bits each, in this order.
    const LENGTH_11: u32 = 0b00;
    const REPEAT: u32 = 0b10;
    const FEW_ZEROS: u32 = 0b01;
    const ZEROS: u32 = 0b11;
    bits.write(0, 1);
    bits.write(15 - 4, 4);
    for place in [2, 2, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 2] {
        bits.write(place, 3);
    }
    bits.write(0, 1);
    // 280 zeros: 138, 138 and 4.
    for _ in 0..2 {
        bits.write(ZEROS, 2);
        bits.write(127, 7);
    }
    bits.write(FEW_ZEROS, 2);
    bits.write(1, 3);
    // 2048 times 11: 2, and 341 times 6.
    bits.write(LENGTH_11, 2);
    bits.write(LENGTH_11, 2);
    for _ in 0..341 {
        bits.write(REPEAT, 2);
        bits.write(3, 2);
    }
    for _ in 0..4 {
        bits.single(0);
    }
}

struct Bits(Vec<bool>);

impl Bits {
    fn start(width: u32, height: u32) -> Self {
        let mut bits = Self(vec![]);
        bits.write(0x2f, 8);
        bits.write(width - 1, 14);
        bits.write(height - 1, 14);
        bits.write(0, 4);
        bits
    }

    fn write(&mut self, value: u32, count: u32) {
        self.0.extend((0..count).map(|i| value >> i & 1 == 1));
    }

    /// A code of one symbol of 8 bits.
    fn single(&mut self, symbol: u32) {
        self.write(0b101, 3);
        self.write(symbol, 8);
    }

    fn length(&self) -> usize {
        self.0.len() / 8
    }

    fn bytes(&self) -> Vec<u8> {
        let byte = |bits: &[bool]| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
        self.0.chunks(8).map(byte).collect()
    }
}
