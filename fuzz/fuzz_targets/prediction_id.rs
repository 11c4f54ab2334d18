//! Ids of predictions, as clients send them back: nothing is taken without its signature, and what is signed comes back.

#![no_main]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::Mac;
use libfuzzer_sys::fuzz_target;

// The files alone, with nothing of the router around them.
#[allow(dead_code, reason = "the router uses the rest")]
#[path = "../../router/src/feedback/id.rs"]
mod id;
#[allow(dead_code, reason = "the router uses the rest")]
#[path = "../../router/src/feedback/keys.rs"]
mod keys;

use id::PredictionId;
use keys::{KeyId, Keys};

/// Bytes of the signature.
const SIGNATURE: usize = 16;

fuzz_target!(|input: (&str, &[u8])| {
    let (text, signed) = input;
    let keys = Keys::new(b"a key", [b"the one before".as_slice()]);
    assert!(PredictionId::read(text, &keys).is_err(), "signed by chance or forged");
    // Behind the signature: whoever has the key may write anything, of both versions.
    let (KeyId(id), key) = keys.signing();
    for head in [&[1][..], &[&[2][..], &id.to_be_bytes()].concat()] {
        let signed = [head, signed].concat();
        let signature = key.clone().chain_update(&signed).finalize().into_bytes();
        let text = URL_SAFE_NO_PAD.encode([&signed, &signature[..SIGNATURE]].concat());
        if let Ok(read) = PredictionId::read(&text, &keys)
            && let Some(again) = read.sign(&keys)
        {
            assert_eq!(PredictionId::read(&again, &keys), Ok(read), "what is signed comes back");
            assert!(head[0] == 1 || again == text, "one id, one text");
        }
    }
});
