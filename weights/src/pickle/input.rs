//! The bytes of a pickle, taken from the front. Nothing is copied, and no length is believed.

use crate::Fault;

/// Bytes of a module's or class's name.
const LINE: usize = 256;

pub(super) struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes that were taken.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..length).ok_or(Fault::Truncated)?;
        self.at += length;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let taken = self.take(N)?;
        Ok(taken.try_into().expect("as many as were asked for"))
    }

    pub(super) fn byte(&mut self) -> Result<u8, Fault> {
        self.array().map(|[b]| b)
    }

    /// As many bytes as the number of `N` bytes before them says.
    pub(super) fn counted<const N: usize>(&mut self) -> Result<&'a [u8], Fault> {
        let mut length = [0; 8];
        length[..N].copy_from_slice(&self.array::<N>()?);
        // No slice is longer than a usize can say.
        self.take(usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX))
    }

    /// A name that ends with a line feed.
    pub(super) fn line(&mut self) -> Result<&'a str, Fault> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().take(LINE).position(|b| *b == b'\n').ok_or(Fault::Truncated)?;
        let line = text(self.take(length)?)?;
        self.take(1)?;
        Ok(line)
    }
}

pub(super) fn text(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|_| Fault::Text)
}
