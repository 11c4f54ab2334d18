//! Texts that clients and servers choose the length of.

/// At most so many bytes of a text, up to a character's border.
pub(crate) fn cut(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("/predict", 256), "/predict");
        assert_eq!(cut(&"é".repeat(200), 256).len(), 256);
        assert_eq!(cut(&format!("/{}", "é".repeat(200)), 256).len(), 255);
        assert_eq!(cut("é", 0), "");
    }
}
