use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD};
use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn read(text: &str) -> Result<Vec<u8>, String> {
    decode(text.to_owned()).map(Into::into)
}

/// Breaks a text into lines.
fn lines(text: &str, length: usize, end: &str) -> String {
    let lines: Vec<_> =
        text.as_bytes().chunks(length).map(|line| std::str::from_utf8(line).unwrap()).collect();
    lines.join(end)
}

#[rstest]
#[case("")]
#[case(" \r\n\t")]
#[case("data:;base64,")]
#[case("data:image/png;base64, \n")]
fn nothing_is_no_bytes(#[case] text: &str) {
    assert_eq!(read(text), Ok(vec![]));
}

#[rstest]
#[case::space("QUJD REVG", "' ' at 4, allowed: base64 in lines")]
#[case::tab("QUJD\tREVG", "'\\t' at 4")]
#[case::folded("QUJD\r\n REVG", "' ' at 6")]
#[case::other("QUJD*EVG", "'*' at 4")]
#[case::umlaut("QUJDäEVG", "'ä' at 4")]
#[case::long("QUJD\u{10348}", "'\u{10348}' at 4")]
#[case::nul("\0", "'\\0' at 0")]
#[case::percent("data:image/png;base64,QUJD%2B", "'%' at 26")]
#[case::both("ab+d-f_h", "'-' at 4, allowed: one alphabet, + and / or - and _")]
#[case::other_first("  -b+d", "'+' at 4, allowed: one alphabet")]
#[case::behind("QQ==QQ==", "'Q' at 4, allowed: nothing behind the padding")]
#[case::padding_in_lines("QQ==\r\nQQ==", "'Q' at 6, allowed: nothing behind")]
#[case::much_padding("QQ===", "wrong padding at 2")]
#[case::only_padding(" ====", "wrong padding at 1")]
#[case::length("QUJD\nR", "the last character, at 5, is one too many")]
#[case::bits("QUJD\r\nRR==\n", "the last character, at 7, has bits of no whole byte")]
#[case::no_comma("data:image/png;base64", "without a comma in its first 200 characters")]
#[case::no_base64("data:image/png,QUJD", "a data: URL that is not base64, allowed: data:…;base64,…")]
#[case::twice("data:;base64,data:;base64,QUJD", "':' at 17")]
#[case::url("https://example.org/a.png", "':' at 5")]
fn what_else_is_there_is_refused_with_its_place(#[case] text: &str, #[case] message: &str) {
    let error = read(text).unwrap_err();
    assert!(error.starts_with("the image is ") && error.contains(message), "{error}");
}

#[test]
fn a_long_head_is_no_search() {
    let head = format!("data:image/png;{}base64,QUJD", "a=b;".repeat(1 << 20));
    assert!(read(&head).unwrap_err().contains("without a comma"));
}

proptest! {
    #[test]
    fn all_ways_of_writing_are_read(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        way in 0usize..4,
        length in prop::sample::select(vec![1usize, 4, 60, 64, 76, 1000]),
        end in prop::sample::select(vec!["\r\n", "\n", "\r"]),
        around in "[ \t\r\n]{0,3}",
        url in prop::sample::select(vec!["", "data:;base64,", "DATA:image/png;Base64,", "data:image/jpeg;x=\"y\";base64,"]),
        last: bool,
    ) {
        let engine = [BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD][way].clone();
        let text = lines(&engine.encode(&bytes), length, end);
        let last = if last { end } else { "" };
        let text = format!("{around}{url}{around}{text}{last}{around}");
        prop_assert_eq!(read(&text), Ok(bytes), "{:?}", text);
    }

    #[test]
    fn what_is_read_is_what_the_crate_reads(text in "[A-Da+/_=\n -]{0,12}") {
        let plain: String = text.trim_ascii().chars().filter(|c| *c != '\n').collect();
        let both = plain.contains(['+', '/']) && plain.contains(['-', '_']);
        let expected = [&COMMON, &OF_URLS].into_iter().find_map(|engine| engine.decode(&plain).ok());
        prop_assert_eq!(read(&text).ok(), expected.filter(|_| !both), "{:?}", text);
    }
}
