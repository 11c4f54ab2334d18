//! The JSON of `/predict` and the base64 in it: nothing panics, no more texts are held than images are allowed, and what is
//! read is what the base64 crate reads of it.

#![no_main]

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use libfuzzer_sys::fuzz_target;

// The files alone, with nothing of the server around them.
#[allow(dead_code, reason = "the server uses the rest")]
#[path = "../../model-server/src/http"]
mod http {
    mod ask;
    #[path = "base64.rs"]
    mod text;

    const IMAGES: usize = 4;

    pub fn read(body: &[u8]) -> Option<Vec<(String, Result<Vec<u8>, String>)>> {
        let ask = ask::read(body, IMAGES).ok()?;
        let texts = ask.images.map(|images| {
            assert!(images.first.len() <= IMAGES && images.count >= images.first.len());
            images.first
        });
        let texts = texts.into_iter().flatten().chain(ask.image);
        Some(texts.map(|text| (text.clone(), text::decode(text).map(Into::into))).collect())
    }
}

fuzz_target!(|body: &[u8]| {
    for (text, read) in http::read(body).into_iter().flatten() {
        let Ok(bytes) = read else { continue };
        let text = text.trim();
        let text = if text.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("data:")) {
            text.split_once(',').expect("a data URL has a comma").1
        } else {
            text
        };
        let text: String = text.trim().chars().filter(|c| !matches!(c, '\r' | '\n' | '=')).collect();
        assert!(text == STANDARD_NO_PAD.encode(&bytes) || text == URL_SAFE_NO_PAD.encode(&bytes), "{text:?}");
    }
});
