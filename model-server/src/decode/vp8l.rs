//! How much memory the Huffman codes of a lossless WebP take, found out before its decoder takes it.
//!
//! A stream may ask for 65,536 groups of five codes, whatever the size of its image, and 140 bytes describe a code whose
//! tables take 68 KiB: 8 MiB would become 4 GiB. How many groups there are stands in an image of its own, so that is
//! decoded here, and what comes before it is passed over. The format is that of RFC 9649, the tables are those of
//! image-webp.

/// First byte of a stream.
pub(super) const SIGNATURE: u8 = 0x2f;

/// Sizes of the five alphabets: green or lengths, red, blue, alpha, distances.
const ALPHABETS: [usize; 5] = [280, 256, 256, 256, 40];
const LITERALS: u16 = 256;
const LENGTHS: u16 = 280;
/// The order in which lengths of the codes of lengths are written.
const ORDER: [usize; 19] = [17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
/// Codes up to this length are found in one table.
const TABLE_BITS: usize = 10;
/// A group of codes itself, in a list that doubles as it grows.
const GROUP: usize = 3 * 5 * 56;
/// What an allocation costs its allocator.
const ALLOCATION: usize = 16;

/// Short distances, by their codes: columns to the left and rows up.
#[rustfmt::skip]
const NEAR: [(i8, i8); 120] = [
    (0, 1),  (1, 0),  (1, 1),  (-1, 1), (0, 2),  (2, 0),  (1, 2),  (-1, 2), (2, 1),  (-2, 1), (2, 2),  (-2, 2),
    (0, 3),  (3, 0),  (1, 3),  (-1, 3), (3, 1),  (-3, 1), (2, 3),  (-2, 3), (3, 2),  (-3, 2), (0, 4),  (4, 0),
    (1, 4),  (-1, 4), (4, 1),  (-4, 1), (3, 3),  (-3, 3), (2, 4),  (-2, 4), (4, 2),  (-4, 2), (0, 5),  (3, 4),
    (-3, 4), (4, 3),  (-4, 3), (5, 0),  (1, 5),  (-1, 5), (5, 1),  (-5, 1), (2, 5),  (-2, 5), (5, 2),  (-5, 2),
    (4, 4),  (-4, 4), (3, 5),  (-3, 5), (5, 3),  (-5, 3), (0, 6),  (6, 0),  (1, 6),  (-1, 6), (6, 1),  (-6, 1),
    (2, 6),  (-2, 6), (6, 2),  (-6, 2), (4, 5),  (-4, 5), (5, 4),  (-5, 4), (3, 6),  (-3, 6), (6, 3),  (-6, 3),
    (0, 7),  (7, 0),  (1, 7),  (-1, 7), (5, 5),  (-5, 5), (7, 1),  (-7, 1), (4, 6),  (-4, 6), (6, 4),  (-6, 4),
    (2, 7),  (-2, 7), (7, 2),  (-7, 2), (3, 7),  (-3, 7), (7, 3),  (-7, 3), (5, 6),  (-5, 6), (6, 5),  (-6, 5),
    (8, 0),  (4, 7),  (-4, 7), (7, 4),  (-7, 4), (8, 1),  (8, 2),  (6, 6),  (-6, 6), (8, 3),  (5, 7),  (-5, 7),
    (7, 5),  (-7, 5), (8, 4),  (6, 7),  (-6, 7), (7, 6),  (-7, 6), (8, 5),  (7, 7),  (-7, 7), (8, 6),  (8, 7),
];

/// Why a stream is not to be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Error {
    /// It is not of the format.
    Broken,
    /// Its codes take more than they may.
    TooLarge,
}

/// Bytes that the tables of a stream's codes take, at most `max`.
pub(super) fn tables(stream: &[u8], max: usize) -> Result<usize, Error> {
    let mut scan = Scan { bits: Bits { bytes: stream, at: 0 }, used: 0, max };
    scan.bits.skip(8)?;
    let (width, height) = (scan.bits.read(14)? as usize + 1, scan.bits.read(14)? as usize + 1);
    scan.bits.skip(4)?;
    let width = scan.transforms(width, height)?;
    let cache = scan.cache()?;
    let mut groups = 1;
    if scan.bits.read(1)? == 1 {
        let bits = scan.bits.read(3)? + 2;
        let image = scan.image(blocks(width, bits), blocks(height, bits))?;
        groups = image.iter().map(|pixel| (pixel >> 8 & 0xffff) as usize + 1).max().unwrap_or(1);
    }
    for _ in 0..groups {
        scan.group(cache)?;
    }
    Ok(scan.used)
}

/// How many blocks of `1 << bits` a side has.
fn blocks(side: usize, bits: u32) -> usize {
    side.div_ceil(1 << bits)
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    /// Up to 24 bits, the first one lowest.
    fn read(&mut self, count: u32) -> Result<u32, Error> {
        let first = self.at / 8;
        let rest = self.bytes.get(first..).unwrap_or_default();
        let word = match rest.first_chunk() {
            Some(four) => u32::from_le_bytes(*four),
            None => rest.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte)),
        };
        let shift = (self.at % 8) as u32;
        self.skip(count as usize)?;
        Ok(word >> shift & ((1 << count) - 1))
    }

    fn skip(&mut self, count: usize) -> Result<(), Error> {
        self.at += count;
        if self.at > self.bytes.len() * 8 { Err(Error::Broken) } else { Ok(()) }
    }
}

/// A canonical Huffman code: how many symbols there are of each length, and all symbols in the order of their codes.
struct Code {
    counts: [u16; 16],
    symbols: Vec<u16>,
}

impl Code {
    fn new(lengths: &[u8]) -> Result<Self, Error> {
        let mut counts = [0; 16];
        for length in lengths {
            counts[usize::from(*length)] += 1;
        }
        counts[0] = 0;
        let mut starts = [0; 16];
        for length in 1..16 {
            starts[length] = starts[length - 1] + counts[length - 1];
        }
        let mut symbols = vec![0; counts.iter().sum::<u16>() as usize];
        for (symbol, length) in lengths.iter().enumerate().filter(|(_, length)| **length > 0) {
            let start = &mut starts[usize::from(*length)];
            symbols[usize::from(*start)] = symbol as u16;
            *start += 1;
        }
        // A code of one symbol takes no bits; others must use all of theirs.
        let used: u32 = (1..16).map(|length| u32::from(counts[length]) << (15 - length)).sum();
        if symbols.is_empty() || symbols.len() > 1 && used != 1 << 15 {
            return Err(Error::Broken);
        }
        Ok(Self { counts, symbols })
    }

    fn read(&self, bits: &mut Bits<'_>) -> Result<u16, Error> {
        if let [only] = self.symbols[..] {
            return Ok(only);
        }
        let (mut code, mut first, mut index) = (0, 0, 0);
        for count in &self.counts[1..] {
            code |= bits.read(1)?;
            let count = u32::from(*count);
            if code < first + count {
                return Ok(self.symbols[(index + code - first) as usize]);
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        Err(Error::Broken)
    }

    /// Bytes of the decoder's tables.
    fn tables(&self) -> usize {
        if self.symbols.len() < 2 {
            return 0;
        }
        let longest = (1..16).rev().find(|length| self.counts[*length] > 0).unwrap_or_default();
        let beyond: u16 = self.counts[TABLE_BITS + 1..].iter().sum();
        (4 << longest.min(TABLE_BITS)) + 2 * 16 * usize::from(beyond).max(2) + 2 * ALLOCATION
    }
}

struct Scan<'a> {
    bits: Bits<'a>,
    used: usize,
    max: usize,
}

impl Scan<'_> {
    fn spend(&mut self, bytes: usize) -> Result<(), Error> {
        self.used += bytes;
        if self.used > self.max { Err(Error::TooLarge) } else { Ok(()) }
    }

    /// Passes over the transforms; the width of the image that is left.
    fn transforms(&mut self, mut width: usize, height: usize) -> Result<usize, Error> {
        let mut seen = [false; 4];
        while self.bits.read(1)? == 1 {
            let kind = self.bits.read(2)? as usize;
            if std::mem::replace(&mut seen[kind], true) {
                return Err(Error::Broken);
            }
            match kind {
                // Predictors, and how colours go together: an image of blocks.
                0 | 1 => {
                    let bits = self.bits.read(3)? + 2;
                    self.image(blocks(width, bits), blocks(height, bits))?;
                }
                2 => {}
                // A palette: of few colours several pixels are in one.
                _ => {
                    let colours = self.bits.read(8)? as usize + 1;
                    self.image(colours, 1)?;
                    let bits = match colours {
                        ..=2 => 3,
                        3..=4 => 2,
                        5..=16 => 1,
                        _ => 0,
                    };
                    width = blocks(width, bits);
                }
            }
        }
        Ok(width)
    }

    /// Bits of the colour cache, if there is one.
    fn cache(&mut self) -> Result<Option<u32>, Error> {
        if self.bits.read(1)? == 0 {
            return Ok(None);
        }
        let bits = self.bits.read(4)?;
        if (1..=11).contains(&bits) { Ok(Some(bits)) } else { Err(Error::Broken) }
    }

    fn group(&mut self, cache: Option<u32>) -> Result<[Code; 5], Error> {
        self.spend(GROUP)?;
        let mut sizes = ALPHABETS;
        sizes[0] += cache.map_or(0, |bits| 1 << bits);
        let mut next = |i: usize| -> Result<Code, Error> {
            let code = self.code(sizes[i])?;
            self.spend(code.tables())?;
            Ok(code)
        };
        Ok([next(0)?, next(1)?, next(2)?, next(3)?, next(4)?])
    }

    fn code(&mut self, symbols: usize) -> Result<Code, Error> {
        let mut lengths = vec![0; symbols];
        if self.bits.read(1)? == 1 {
            return self.simple(symbols);
        }
        let mut of_lengths = [0; ORDER.len()];
        let count = 4 + self.bits.read(4)? as usize;
        for i in &ORDER[..count] {
            of_lengths[*i] = self.bits.read(3)? as u8;
        }
        let of_lengths = Code::new(&of_lengths)?;
        let mut left = symbols;
        if self.bits.read(1)? == 1 {
            let bits = 2 + 2 * self.bits.read(3)?;
            left = 2 + self.bits.read(bits)? as usize;
        }
        let (mut at, mut before) = (0, 8);
        while at < symbols && left > 0 {
            left -= 1;
            let (length, times) = match of_lengths.read(&mut self.bits)? {
                16 => (before, 3 + self.bits.read(2)?),
                17 => (0, 3 + self.bits.read(3)?),
                18 => (0, 11 + self.bits.read(7)?),
                length => (length as u8, 1),
            };
            lengths.get_mut(at..at + times as usize).ok_or(Error::Broken)?.fill(length);
            at += times as usize;
            if length > 0 {
                before = length;
            }
        }
        Code::new(&lengths)
    }

    /// A code of one or two symbols.
    fn simple(&mut self, symbols: usize) -> Result<Code, Error> {
        let two = self.bits.read(1)? == 1;
        let bits = if self.bits.read(1)? == 1 { 8 } else { 1 };
        let first = self.bits.read(bits)? as u16;
        let mut code = Code { counts: [0; 16], symbols: vec![first] };
        if two {
            code.symbols.push(self.bits.read(8)? as u16);
            code.counts[1] = 2;
        }
        if code.symbols.iter().any(|symbol| usize::from(*symbol) >= symbols) {
            return Err(Error::Broken);
        }
        Ok(code)
    }

    /// An image of one group of codes; each pixel's alpha is highest, then red, green, blue.
    fn image(&mut self, width: usize, height: usize) -> Result<Vec<u32>, Error> {
        let count = width * height;
        let cache_bits = self.cache()?;
        let [green, red, blue, alpha, distances] = self.group(cache_bits)?;
        let mut cache = cache_bits.map_or_else(Vec::new, |bits| vec![0; 1 << bits]);
        let slot =
            |pixel: u32| (0x1e35_a7bd_u32.wrapping_mul(pixel) >> (32 - cache_bits.unwrap_or(1))) as usize;
        let mut pixels: Vec<u32> = Vec::with_capacity(count);
        while pixels.len() < count {
            let symbol = green.read(&mut self.bits)?;
            let start = pixels.len();
            if symbol < LITERALS {
                let [red, blue, alpha] =
                    [red.read(&mut self.bits)?, blue.read(&mut self.bits)?, alpha.read(&mut self.bits)?];
                let part = |value: u16, shift: u32| u32::from(value) << shift;
                pixels.push(part(alpha, 24) | part(red, 16) | part(symbol, 8) | part(blue, 0));
            } else if symbol < LENGTHS {
                let length = self.number(symbol - LITERALS)?;
                let distance = distances.read(&mut self.bits)?;
                let distance = distance_of(self.number(distance)?, width);
                let from = start.checked_sub(distance).ok_or(Error::Broken)?;
                if length > count - start {
                    return Err(Error::Broken);
                }
                for i in from..from + length {
                    pixels.push(pixels[i]);
                }
            } else {
                pixels.push(*cache.get(usize::from(symbol - LENGTHS)).ok_or(Error::Broken)?);
            }
            if cache_bits.is_some() {
                for pixel in &pixels[start..] {
                    cache[slot(*pixel)] = *pixel;
                }
            }
        }
        Ok(pixels)
    }

    /// A length or distance, of which the symbol says how many bits it has.
    fn number(&mut self, symbol: u16) -> Result<usize, Error> {
        if symbol < 4 {
            return Ok(usize::from(symbol) + 1);
        }
        let bits = u32::from(symbol - 2) >> 1;
        let start = (2 + (usize::from(symbol) & 1)) << bits;
        Ok(start + self.bits.read(bits)? as usize + 1)
    }
}

/// A distance in pixels, of its code.
fn distance_of(code: usize, width: usize) -> usize {
    let Some((left, up)) = NEAR.get(code - 1) else { return code - NEAR.len() };
    let distance = isize::from(*left) + isize::from(*up) * width as isize;
    distance.max(1) as usize
}
