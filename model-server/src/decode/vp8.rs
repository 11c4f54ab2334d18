//! Whether the partitions of a lossy WebP lie within it, found out before its decoder makes room for up to 16 MiB each. How
//! many there are stands in the compressed header (RFC 6386, 9.2 to 9.5), so that is read here up to this place.

/// Size of the header that is not compressed.
const HEAD: usize = 10;

/// Whether a picture's bytes are as many as it says.
pub(super) fn is_whole(picture: &[u8]) -> bool {
    let Some((head, rest)) = picture.split_at_checked(HEAD) else { return false };
    let first = (usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16) >> 5;
    let Some((first, rest)) = rest.split_at_checked(first) else { return false };
    let others = partitions(&mut Bools::new(first)) - 1;
    let Some((sizes, data)) = rest.split_at_checked(3 * others) else { return false };
    let (sizes, _) = sizes.as_chunks();
    let sizes = sizes.iter().map(|[a, b, c]| u32::from_le_bytes([*a, *b, *c, 0]) as usize);
    sizes.sum::<usize>() <= data.len()
}

/// How many partitions there are behind the first one.
fn partitions(bools: &mut Bools<'_>) -> usize {
    // Colour space and clamping.
    bools.number(2);
    if bools.flag() {
        let map = bools.flag();
        if bools.flag() {
            // How values are meant; then quantizers and filter levels of the four segments.
            bools.flag();
            for bits in [7, 7, 7, 7, 6, 6, 6, 6] {
                bools.optional(bits + 1);
            }
        }
        if map {
            for _ in 0..3 {
                bools.optional(8);
            }
        }
    }
    // The filter: its type, level and sharpness.
    bools.number(1 + 6 + 3);
    if bools.flag() && bools.flag() {
        for _ in 0..8 {
            bools.optional(6 + 1);
        }
    }
    1 << bools.number(2)
}

/// The decoder of booleans (RFC 6386, 7), for those that are as often true as not.
struct Bools<'a> {
    rest: &'a [u8],
    value: u32,
    range: u32,
    /// Bits that are shifted out of the lower byte of `value`.
    shifted: u32,
}

impl<'a> Bools<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let mut bools = Self { rest: bytes, value: 0, range: 255, shifted: 0 };
        bools.value = bools.byte() << 8 | bools.byte();
        bools
    }

    /// The next byte; zeros behind the last one.
    fn byte(&mut self) -> u32 {
        let Some((byte, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        u32::from(*byte)
    }

    fn flag(&mut self) -> bool {
        let split = 1 + (((self.range - 1) * 128) >> 8);
        let flag = self.value >= split << 8;
        if flag {
            self.range -= split;
            self.value -= split << 8;
        } else {
            self.range = split;
        }
        while self.range < 128 {
            self.value <<= 1;
            self.range <<= 1;
            self.shifted += 1;
            if self.shifted == 8 {
                self.shifted = 0;
                self.value |= self.byte();
            }
        }
        flag
    }

    /// A number of so many bits.
    fn number(&mut self, bits: u32) -> u32 {
        (0..bits).fold(0, |number, _| number << 1 | u32::from(self.flag()))
    }

    /// A number that is there if a flag says so.
    fn optional(&mut self, bits: u32) {
        if self.flag() {
            self.number(bits);
        }
    }
}
